//! Planted faults are found, each for what it is.

use super::super::script::Script;
use super::super::{RealParts, Scenario, run};
use super::planted::{Fault, Planted};

/// Seeds that are tried; that they hold without a fault is a test of its own.
const TRIED: u64 = 300;

/// The first seed that finds the fault must say what is wrong.
fn is_found(fault: Fault, words: &[&str]) {
    is_found_as(fault, words, words);
}

/// Some seed breaks with one of the words, and what breaks by other seeds has one of the others. Without the fault, that
/// seed holds as far as it went. Seeds that have what the fault concerns from the beginning come first.
fn is_found_as(fault: Fault, words: &[&str], others: &[&str]) {
    for first in [true, false] {
        for seed in 0..TRIED {
            let mut scenario = Scenario::of_seed(seed, None).unwrap();
            if fault.concerns(&scenario) != first {
                continue;
            }
            write_only(fault, &mut scenario);
            let is_quiet = scenario.calm && matches!(&scenario.script, Script::Drawn(drawn) if drawn.changes.is_none());
            // Where nothing else keeps a unit from being read.
            if fault.needs_quiet() && !is_quiet {
                continue;
            }
            // Those that are fast are short, too.
            if fault == Fault::Unread && scenario.fast {
                continue;
            }
            let outcome = run(&scenario, &Planted::new(fault));
            let Some((broken, _)) = outcome.broken else { continue };
            let what = &broken.what;
            let is_one_of = |words: &[&str]| words.iter().any(|word| what.contains(word));
            if !is_one_of(words) {
                assert!(is_one_of(others), "{fault:?} by seed {seed}, but as: {what}");
                continue;
            }
            println!("{fault:?}: seed {seed}: {what}");
            let mut well = Scenario::of_seed(seed, Some(outcome.virtual_ns as f64 / 3.6e12)).unwrap();
            write_only(fault, &mut well);
            let without = run(&well, &RealParts).broken;
            assert!(without.is_none(), "seed {seed} breaks without {fault:?}: {without:?}");
            return;
        }
    }
    panic!("{fault:?} is not found");
}

/// Nothing is written unless the fault is one of writes.
fn write_only(fault: Fault, scenario: &mut Scenario) {
    let Script::Drawn(drawn) = &mut scenario.script else { unreachable!() };
    drawn.writes = fault.is_of_writes();
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
    is_found(Fault::Denied, &["reported as not sent, but the device has it"]);
}

#[test]
fn a_status_for_which_nothing_happened_is_found() {
    is_found(Fault::Slander, &["nothing happened that gives this status", "the device gave"]);
}

#[test]
fn a_modbus_value_that_stays_good_though_nobody_reads_it_is_found() {
    is_found_as(Fault::Forgetful, &["is said to be good"], &["is not read beside unit"]);
}

#[test]
fn an_executor_that_waits_for_the_wire_is_found() {
    is_found(Fault::Blocking, &["its device always answered in time", "missed or skipped", "a new plan waits"]);
}

#[test]
fn a_drop_that_is_not_counted_is_found() {
    is_found(Fault::Uncounted, &["samples made", "reported as missing"]);
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
    let others = [
        "its device always answered in time",
        "requests outstanding",
        "cycles of scan",
        "did not come back",
        "is said to be good",
    ];
    is_found_as(Fault::Neighbour, &["the device answered"], &others);
}

#[test]
fn samples_under_the_names_of_an_earlier_plan_are_found() {
    is_found(
        Fault::OldNames,
        &["under a plan that ended", "names of a plan", "a sample of no tag", "reported under another"],
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
    is_found_as(Fault::Waiting, &["is not read beside unit"], &["is said to be good", "did not come back"]);
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

#[test]
fn a_controllers_time_that_is_taken_as_it_is_or_not_at_all_is_found() {
    is_found(Fault::AsStamped, &["the device gave nothing with that time", "the device gave", "the image has"]);
    is_found(Fault::Unclocked, &["the device gave nothing with that time"]);
}

#[test]
fn a_register_on_spi_that_is_written_in_place_of_another_is_found() {
    is_found(
        Fault::NextRegister,
        &["without an open order", "a thread got the order to write", "names a write of its plan"],
    );
}

#[test]
fn a_value_of_a_branch_that_is_not_in_the_frame_is_found() {
    is_found(Fault::AnyBranch, &["the device gave", "the image has"]);
}

#[test]
fn a_value_that_is_sent_in_another_branch_is_found() {
    is_found(Fault::NextBranch, &["a frame that no order allows"]);
}

#[test]
fn a_message_that_lacks_a_packet_and_is_taken_for_whole_is_found() {
    is_found(Fault::AnyPacket, &["the device gave", "the image has"]);
}

#[test]
fn a_parameter_group_that_is_taken_from_another_node_is_found() {
    is_found(Fault::AnySource, &["the device gave", "the image has"]);
}

#[test]
fn a_parameter_that_says_it_has_no_value_and_is_taken_for_one_is_found() {
    is_found(Fault::NoIndicator, &["the device gave"]);
}

#[test]
fn outputs_that_change_beside_the_one_that_is_written_are_found() {
    is_found(Fault::OtherOutputs, &["bits of a PDO that no order allows"]);
}

#[test]
fn a_value_that_is_said_to_be_sent_by_pdo_and_is_not_is_found() {
    is_found(Fault::Swallowed, &["but never sent", "never confirmed"]);
}

#[test]
fn a_drop_of_a_source_that_is_not_counted_is_found() {
    is_found(Fault::SourceUncounted, &["samples made", "reported as missing"]);
}

#[test]
fn backfill_that_is_shown_as_the_latest_value_is_found() {
    is_found(Fault::BackfillShown, &["backfill apart"]);
}

#[test]
fn samples_of_a_source_that_change_places_are_found() {
    is_found(Fault::Swapped, &["its source never gave"]);
}

#[test]
fn a_message_that_names_another_sample_than_came_before_it_is_found() {
    is_found(Fault::PrevAhead, &["is the last"]);
    is_found(Fault::PrevBehind, &["is between"]);
}

#[test]
fn a_line_that_lets_a_dead_unit_cost_the_others_their_cycles_is_found() {
    is_found(Fault::Dawdling, &["is not read beside unit"]);
}
