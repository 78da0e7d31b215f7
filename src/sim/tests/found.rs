//! Planted faults are found, each for what it is.

use super::super::script::Script;
use super::super::{Scenario, run};
use super::must_hold;
use super::planted::{Fault, Planted};

/// The first seed that finds the fault must hold without it, and say what is wrong.
fn is_found(fault: Fault, words: &[&str]) {
    for seed in 0..300 {
        let mut scenario = Scenario::of_seed(seed, None).unwrap();
        let Script::Drawn(drawn) = &mut scenario.script else { unreachable!() };
        drawn.writes = fault.is_of_writes();
        let is_quiet = scenario.calm && drawn.changes.is_none();
        if fault.needs_quiet() && !is_quiet {
            continue;
        }
        // Those that are fast are short, too.
        if fault == Fault::Unread && scenario.fast {
            continue;
        }
        let Some((broken, _)) = run(&scenario, &Planted::new(fault)).broken else { continue };
        let what = &broken.what;
        assert!(words.iter().any(|word| what.contains(word)), "{fault:?} by seed {seed}, but as: {what}");
        must_hold(seed, None);
        println!("{fault:?}: seed {seed}: {what}");
        return;
    }
    panic!("{fault:?} is not found");
}

#[test]
fn a_burst_after_a_stall_is_found() {
    // Or it takes the wait for a reply for shorter than it was.
    is_found(Fault::Burst, &["it was to be skipped", "requests outstanding"]);
}

#[test]
fn a_link_that_takes_any_transaction_id_is_found() {
    is_found(Fault::AnyTransaction, &["the device answered", "requests outstanding", "did not come back"]);
}

#[test]
fn writes_that_are_done_twice_never_or_too_late_are_found() {
    is_found(Fault::TwiceWritten, &["answered twice"]);
    is_found(Fault::Unwritten, &["has no answer"]);
    is_found(Fault::Overdue, &["has no answer", "too late"]);
}

#[test]
fn a_write_that_was_done_and_is_told_as_not_sent_is_found() {
    is_found(Fault::Denied, &["told as not sent, and the device has it"]);
}

#[test]
fn a_status_for_which_nothing_happened_is_found() {
    is_found(Fault::Slander, &["nothing happened that gives this status", "the device gave"]);
}

#[test]
fn a_modbus_value_that_stays_good_though_nobody_reads_it_is_found() {
    is_found(Fault::Forgetful, &["is said to be good"]);
}

#[test]
fn an_executor_that_waits_for_the_wire_is_found() {
    is_found(Fault::Blocking, &["missed or skipped", "its device always answered in time", "a new plan waits"]);
}

#[test]
fn a_drop_that_is_not_counted_is_found() {
    is_found(Fault::Uncounted, &["samples made", "told as missing"]);
}

#[test]
fn a_link_that_asks_beyond_its_allowance_is_found() {
    is_found(Fault::Greedy, &["requests outstanding"]);
}

#[test]
fn a_held_value_with_a_new_time_is_found() {
    is_found(Fault::Restamped, &["a held value keeps", "the device answered nothing at that time"]);
}

#[test]
fn a_batch_that_goes_astray_is_found() {
    is_found(Fault::Astray, &["samples made"]);
}

#[test]
fn a_change_that_drops_connections_is_found() {
    is_found(Fault::Reconnects, &["dropped by a change"]);
}

#[test]
fn an_answer_that_a_change_gives_to_another_request_is_found() {
    let words = [
        "its device always answered in time",
        "the device answered",
        "requests outstanding",
        "cycles of scan",
        "did not come back",
        "is said to be good",
    ];
    is_found(Fault::Neighbour, &words);
}

#[test]
fn samples_under_the_names_of_an_earlier_plan_are_found() {
    is_found(
        Fault::OldNames,
        &["under a plan that ended", "names of a plan", "a sample of no tag", "told under another"],
    );
}

#[test]
fn ids_that_mean_something_else_at_once_are_found() {
    is_found(Fault::IdsAtOnce, &["too soon after another", "too soon"]);
}

#[test]
fn a_cursor_that_passes_what_was_not_acknowledged_is_found() {
    is_found(Fault::CursorAhead, &["which never arrived"]);
}

#[test]
fn a_silence_that_is_too_short_is_found() {
    is_found(Fault::ShortSilence, &["of silence are due"]);
}

#[test]
fn a_reply_of_another_unit_that_is_taken_is_found() {
    is_found(Fault::AnyUnit, &["the device answered"]);
}

#[test]
fn a_line_that_never_finds_back_into_step_is_found() {
    is_found(Fault::OutOfStep, &["did not come back after the trouble", "the device answered"]);
}

#[test]
fn a_late_reply_that_is_taken_for_the_next_is_found() {
    is_found(Fault::Hasty, &["the device answered", "requests outstanding", "always answered in time"]);
}

#[test]
fn a_link_that_lets_a_dead_unit_hold_up_the_others_is_found() {
    is_found(Fault::Waiting, &["is not read beside unit"]);
}

#[test]
fn a_link_that_takes_a_close_after_a_reply_for_trouble_is_found() {
    is_found(Fault::SulksAfterReply, &["is not read though its device only closes"]);
}

#[test]
fn a_link_that_takes_the_close_of_an_idle_connection_for_trouble_is_found() {
    is_found(Fault::SulksWhenIdle, &["is not read though its device only closes"]);
}

#[test]
fn a_link_that_ends_a_connection_for_a_wrong_length_is_found() {
    is_found(Fault::ByLength, &["is not read though its device only closes"]);
}

#[test]
fn a_tag_that_stays_without_a_status_is_found() {
    is_found(Fault::Unread, &["has no status"]);
}

#[test]
fn a_link_that_waits_for_a_reply_without_end_is_found() {
    is_found(Fault::Endless, &["has no status", "is not read beside unit", "did not come back"]);
}

#[test]
fn a_local_input_that_is_taken_for_its_neighbour_is_found() {
    is_found(Fault::NextItem, &["the device gave", "wrong group or type"]);
}

#[test]
fn a_broken_local_input_that_is_taken_for_good_is_found() {
    is_found(Fault::AllGood, &["the device gave"]);
}

#[test]
fn a_local_input_that_stays_good_though_nothing_is_read_is_found() {
    is_found(Fault::Patient, &["is said to be good", "did not come back"]);
}

#[test]
fn a_can_field_that_is_taken_for_its_neighbour_is_found() {
    is_found(Fault::NextField, &["the device gave", "the image has"]);
}

#[test]
fn a_can_value_that_stays_good_though_its_message_comes_no_more_is_found() {
    is_found(Fault::Unwatched, &["is said to be good"]);
}

#[test]
fn frames_that_are_dropped_and_not_counted_are_found() {
    is_found(Fault::Undropped, &["frames were dropped"]);
}

#[test]
fn an_object_of_a_canopen_node_that_is_taken_for_another_is_found() {
    is_found(Fault::NextObject, &["the device gave"]);
}

#[test]
fn an_answer_of_a_canopen_node_that_is_older_than_its_request_is_found() {
    is_found(Fault::Unstamped, &["the device gave"]);
}
