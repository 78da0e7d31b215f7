//! Messages out: on their beat, on change, and writes with their answers.

use super::*;
use crate::protocol::can::model::{CanAddress, CanConfig};

/// A message whose signals all have a value.
const CYCLIC: &str =
    r#", "transmit": [ { "message": "Command", "period_ms": 20, "initial": { "Target": 50, "Enable": 0 } } ]"#;
const ON_CHANGE: &str = r#", "transmit": [ { "message": "Command", "on_change": true, "min_distance_ms": 5, "initial": { "Target": 50, "Enable": 0 } } ]"#;
const TAGS: [(&str, &str); 2] = [("Command.Target", ""), ("Command.Enable", "")];

/// With tags that may be written.
fn writable(link: &str) -> Bench {
    let mut config = config_of(link, &TAGS);
    config.tags.iter_mut().for_each(|tag| tag.write = Some(WriteConfig::default()));
    bench_of(config)
}

/// The same, where no signal has a value at first.
fn unset(link: &str) -> Bench {
    let mut config = config_of(link, &TAGS);
    config.tags.iter_mut().for_each(|tag| tag.write = Some(WriteConfig::default()));
    let bits: Vec<_> = config.tags.iter().map(|tag| tag.address.get::<CanAddress>().unwrap().bits).collect();
    let Some(can) = config.links[0].protocol.get_mut::<CanConfig>() else { panic!("a CAN link") };
    can.transmit[0].unset = bits;
    bench_of(config)
}

#[test]
fn a_message_is_sent_on_its_beat_with_its_initial_values() {
    let mut bench = writable(CYCLIC);
    bench.run_ms(101);
    let sent = bench.sent_data(0x200);
    // 50 / 0.1 = 500.
    assert!(sent.iter().all(|(_, data)| *data == [0xF4, 0x01, 0, 0]), "{sent:?}");
    let gaps: Vec<u64> = sent.windows(2).map(|w| w[1].0 - w[0].0).collect();
    assert!(sent.len() >= 5 && gaps.iter().all(|gap| gap.abs_diff(20 * MS) <= LOOK), "{gaps:?}");
    assert_eq!(bench.link().can.sent.get(), sent.len() as u64);
}

#[test]
fn a_write_to_a_cyclic_message_goes_out_with_its_next_beat() {
    let mut bench = writable(CYCLIC);
    bench.run_ms(5);
    let id = bench.order(0, 1000, 100, false);
    bench.run_ms(5);
    assert_eq!(bench.answers(), [], "its turn has not come");
    bench.run_ms(20);
    assert_eq!(bench.answers(), [(id, WriteOutcome::Done)]);
    bench.run_ms(40);
    let sent: Vec<Vec<u8>> = bench.sent_data(0x200).into_iter().map(|(_, data)| data).collect();
    assert_eq!(sent, [vec![0xF4, 1, 0, 0], vec![0xE8, 3, 0, 0], vec![0xE8, 3, 0, 0], vec![0xE8, 3, 0, 0]]);
}

#[test]
fn a_write_is_sent_at_once_but_not_sooner_than_the_distance() {
    let mut bench = writable(ON_CHANGE);
    bench.run_ms(4);
    assert_eq!(bench.sent_data(0x200), [], "nothing has changed");
    let first = bench.order(0, 1, 50, false);
    let second = bench.order(1, 1, 50, false);
    bench.run_ms(2);
    assert_eq!(bench.answers(), [(first, WriteOutcome::Done)]);
    bench.run_ms(10);
    assert_eq!(bench.answers(), [(second, WriteOutcome::Done)]);
    let sent = bench.sent_data(0x200);
    let data: Vec<&[u8]> = sent.iter().map(|(_, data)| &data[..]).collect();
    assert_eq!(data, [&[1, 0, 0, 0], &[1, 0, 1, 0]]);
    assert!(sent[1].0 - sent[0].0 == 5 * MS && sent[0].0 < 6 * MS, "{sent:?}");
}

#[test]
fn with_read_back_the_bus_has_to_confirm() {
    let mut bench = writable(ON_CHANGE);
    bench.run_ms(2);
    let silent = bench.order(0, 7, 20, true);
    bench.run_ms(30);
    assert_eq!(bench.answers(), [(silent, WriteOutcome::NoReply)], "it may have been sent or not");
    bench.world().echo = true;
    let heard = bench.order(0, 9, 20, true);
    bench.run_ms(10);
    assert_eq!(bench.answers(), [(heard, WriteOutcome::Done)]);
    assert_eq!((bench.float(0), bench.status(0)), (0.9, Status::GOOD), "the tag shows what was on the bus");
}

#[test]
fn another_nodes_frame_confirms_nothing_that_differs() {
    let mut bench = writable(ON_CHANGE);
    bench.run_ms(2);
    let id = bench.order(0, 7, 20, true);
    bench.frame(2, 0x200, &[8, 0, 0, 0]);
    bench.run_ms(30);
    assert_eq!(bench.answers(), [(id, WriteOutcome::NoReply)]);
}

#[test]
fn nothing_is_sent_before_every_signal_has_a_value() {
    let mut bench = unset(
        r#", "transmit": [ { "message": "Command", "period_ms": 10, "on_change": true, "initial": { "Target": 0, "Enable": 0 } } ]"#,
    );
    bench.run_ms(50);
    assert_eq!(bench.sent_data(0x200), []);
    let alone = bench.order(0, 3, 20, false);
    bench.run_ms(40);
    assert_eq!(bench.answers(), [(alone, WriteOutcome::NotSent)]);
    assert_eq!(bench.sent_data(0x200), [], "what was given up is not sent later");
    let both = [bench.order(1, 1, 30, false), bench.order(0, 4, 30, false)];
    bench.run_ms(30);
    assert_eq!(bench.answers(), [(both[0], WriteOutcome::Done), (both[1], WriteOutcome::Done)]);
    assert_eq!(bench.sent_data(0x200)[0].1, [4, 0, 1, 0]);
    assert!(bench.sent_data(0x200).len() > 1, "and then on the beat");
}

#[test]
fn a_full_queue_is_tried_again_and_a_late_write_never_sent() {
    let mut bench = writable(ON_CHANGE);
    bench.run_ms(2);
    bench.world().full = true;
    let late = bench.order(0, 3, 10, false);
    bench.run_ms(20);
    assert_eq!(bench.answers(), [(late, WriteOutcome::NotSent)]);
    let retries = bench.link().can.send_retries.get();
    assert!((5..=25).contains(&retries), "{retries}");
    bench.world().full = false;
    bench.run_ms(50);
    assert!(bench.sent_data(0x200).iter().all(|(_, data)| data[0] != 3), "{:?}", bench.sent_data(0x200));
}

#[test]
fn a_message_on_its_beat_carries_no_write_whose_time_ran_out_in_a_stall() {
    let mut bench = writable(CYCLIC);
    bench.run_ms(21);
    let late = bench.order(0, 3, 2, false);
    bench.run_ms(1);
    // The beat, the next release and the deadline pass together.
    bench.world().now += 30 * MS;
    bench.run_ms(60);
    assert_eq!(bench.answers(), [(late, WriteOutcome::NotSent)]);
    assert!(bench.sent_data(0x200).iter().all(|(_, data)| data[0] != 3), "{:?}", bench.sent_data(0x200));
}

#[test]
fn beats_that_a_full_queue_swallows_are_counted_and_not_made_up_for() {
    let mut bench = writable(CYCLIC);
    bench.run_ms(5);
    bench.world().full = true;
    bench.run_ms(100);
    bench.world().full = false;
    let before = bench.sent_data(0x200).len();
    assert!((4..=5).contains(&bench.link().can.unsent.get()), "{}", bench.link().can.unsent.get());
    bench.run_ms(60);
    let after = bench.sent_data(0x200).len();
    assert!((3..=4).contains(&(after - before)), "{}", after - before);
}

#[test]
fn what_cannot_be_sent_is_answered() {
    let mut bench = writable(ON_CHANGE);
    bench.run_ms(2);
    let unknown = bench.order(99, 1, 20, false);
    bench.run_ms(2);
    assert_eq!(bench.answers(), [(unknown, WriteOutcome::NotWritable)]);
    // Off the bus, a write waits: nothing goes into a queue that would be sent whenever.
    bench.trouble(0, 0x40, 0);
    bench.run_ms(2);
    let off = bench.order(0, 1, 20, false);
    bench.run_ms(30);
    assert_eq!(bench.answers(), [(off, WriteOutcome::NotSent)]);
    assert_eq!(bench.sent_data(0x200), []);
    bench.trouble(0, 0x100, 0);
    bench.run_ms(2);
    let waiting = bench.order(0, 1, 20, true);
    bench.run_ms(2);
    bench.world().closed = true;
    bench.run_ms(5);
    assert_eq!(bench.answers(), [(waiting, WriteOutcome::Lost)]);
    let gone = bench.order(0, 1, 20, false);
    bench.run_ms(2);
    assert_eq!(bench.answers(), [(gone, WriteOutcome::NoConnection)]);
}

#[test]
fn more_writes_than_there_is_room_for_are_told_so() {
    let mut bench = writable(CYCLIC);
    bench.run_ms(5);
    bench.world().full = true;
    let ids: Vec<u64> = (0..20).map(|raw| bench.order(0, raw, 200, false)).collect();
    // One order a turn of the executor.
    (0..40).for_each(|_| bench.run_ms(1));
    bench.world().full = false;
    bench.run_ms(30);
    let mut answers = bench.answers();
    answers.sort_by_key(|(id, _)| *id);
    assert_eq!(answers.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids, "each is answered once");
    let busy = answers.iter().filter(|(_, outcome)| *outcome == WriteOutcome::Busy).count();
    assert_eq!(busy, 4);
    let last = bench.sent_data(0x200).pop().unwrap();
    assert_eq!(last.1[0], 15, "the last that was taken");
}

const SETUP: [(&str, &str); 3] = [("Setup.A", ""), ("Setup.B", ""), ("Setup.Common", "")];

/// A multiplexed message of three branches; the third has no value before it is written, and none writes it.
fn multiplexed(how: &str, initial: &str) -> Bench {
    let link = format!(r#", "transmit": [ {{ "message": "Setup", {how}, "initial": {{ {initial} }} }} ]"#);
    let tags = SETUP.map(|(address, _)| (address, r#", "write": {"min": 0, "max": 9999}"#));
    bench_of(config_of(&link, &tags))
}

fn data_of(bench: &Bench) -> Vec<Vec<u8>> {
    bench.sent_data(0x210).into_iter().map(|(_, data)| data).collect()
}

#[test]
fn on_the_beat_the_branches_that_have_values_go_in_turn() {
    let mut bench = multiplexed(r#""period_ms": 10"#, r#""A": 258, "Common": 5"#);
    bench.run_ms(35);
    assert_eq!(data_of(&bench), vec![vec![1, 2, 1, 5]; 4], "the second has no value yet");
    let id = bench.order(1, 0x0304, 100, false);
    bench.run_ms(40);
    assert_eq!(bench.answers(), [(id, WriteOutcome::Done)]);
    assert_eq!(data_of(&bench)[4..], [[2, 4, 3, 5], [1, 2, 1, 5], [2, 4, 3, 5], [1, 2, 1, 5]]);
    let gaps: Vec<u64> = bench.sent_data(0x210).windows(2).map(|w| w[1].0 - w[0].0).collect();
    assert!(gaps.iter().all(|gap| gap.abs_diff(10 * MS) <= LOOK), "{gaps:?}");
    // What all frames have is in all of them from then on.
    bench.order(2, 8, 100, false);
    bench.run_ms(30);
    assert_eq!(data_of(&bench)[8..], [[2, 4, 3, 8], [1, 2, 1, 8], [2, 4, 3, 8]]);
}

#[test]
fn a_change_sends_its_own_branch_and_several_one_after_the_other() {
    let mut bench = multiplexed(r#""on_change": true, "min_distance_ms": 5"#, r#""A": 0, "B": 0, "Common": 5"#);
    bench.world().echo = true;
    bench.run_ms(3);
    let ids = [bench.order(1, 7, 100, true), bench.order(0, 9, 100, true), bench.order(1, 8, 100, false)];
    bench.run_ms(30);
    assert_eq!(data_of(&bench), [[2, 7, 0, 5], [1, 9, 0, 5], [2, 8, 0, 5]]);
    assert_eq!(bench.answers().len(), ids.len());
    let sent = bench.sent_data(0x210);
    assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 5 * MS), "{sent:?}");
    assert_eq!(bench.image.read(1).unwrap().value, 8, "heard of the bus");
}

#[test]
fn a_change_beside_the_beat_does_not_take_its_turn() {
    let mut bench =
        multiplexed(r#""period_ms": 20, "on_change": true, "min_distance_ms": 1"#, r#""A": 0, "B": 0, "Common": 5"#);
    bench.run_ms(5);
    bench.order(0, 3, 100, false);
    bench.run_ms(50);
    assert_eq!(data_of(&bench), [[1, 0, 0, 5], [1, 3, 0, 5], [2, 0, 0, 5], [1, 3, 0, 5]]);
}
