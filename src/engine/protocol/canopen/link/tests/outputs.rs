//! Writes by PDO: what is sent, when, and what never is.

use super::*;

/// Two outputs of an I/O module, the mode of a drive: one RPDO of 4 bytes.
const ENTRIES: &[u32] = &[0x6200_0108, 0x6200_0208, 0x6040_0010];
const TAGS: &str = r#"
    {"name": "a", "address": "co0:5:0x6200:1", "data_type": "uint8", "scan_rate_ms": 100, "write": {"via": "pdo", "min": 0, "max": 255}},
    {"name": "lamp", "address": "co0:5:0x6200:2", "bit": 3, "scan_rate_ms": 100, "write": {"via": "pdo"}},
    {"name": "control", "address": "co0:5:0x6040:0", "data_type": "uint16", "scan_rate_ms": 100, "write": {"min": 0, "max": 65535}}"#;

fn link(more: &str) -> String {
    format!(r#""timeout_ms": 50, {more} "nodes": [{{"id": 5, "pdos": "node", "rpdos": 1, "heartbeat_ms": 100}}]"#)
}

/// It holds 0x11, 0x22 and 0x0006.
fn module(kind: u8, times: [u16; 2]) -> Device {
    Device::new(5).with_rpdo(0x205, kind, times, ENTRIES).with(0x6200, 1, &[0x11]).with(0x6200, 2, &[0x22]).with(
        0x6040,
        0,
        &[6, 0],
    )
}

fn running(link: &str, module: Device) -> Bench {
    let mut bench = bench(&config(link, TAGS, &[]), vec![module]);
    bench.run_ms(500);
    assert_eq!(bench.events(), [NodeEvent::Ready]);
    assert!(bench.network().device(5).taken.is_empty(), "nothing is sent before something is written");
    bench
}

fn taken(bench: &mut Bench) -> Vec<Vec<u8>> {
    bench.network().device(5).taken.drain(..).map(|(_, data)| data).collect()
}

#[test]
fn a_value_goes_at_once_and_the_other_objects_of_its_pdo_keep_theirs() {
    let mut bench = running(&link(""), module(255, [0, 0]));
    bench.order(1, "a", &Value::Uint(0x5A), false);
    bench.run_ms(1);
    assert_eq!(taken(&mut bench), [[0x5A, 0x22, 6, 0]]);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::Unconfirmed)]);
    bench.order(2, "lamp", &Value::Bool(true), true);
    bench.run_ms(30);
    assert_eq!(taken(&mut bench), [[0x5A, 0x2A, 6, 0]]);
    assert_eq!(bench.outcomes(), [(2, WriteOutcome::Done)], "read back");
    // What goes by SDO is in the PDO from then on.
    bench.order(3, "control", &Value::Uint(0x000F), false);
    bench.run_ms(10);
    bench.order(4, "a", &Value::Uint(0), false);
    bench.run_ms(10);
    assert_eq!(taken(&mut bench), [[0, 0x2A, 0x0F, 0]]);
    assert_eq!(bench.outcomes(), [(3, WriteOutcome::Done), (4, WriteOutcome::Unconfirmed)]);
    bench.run_ms(200);
    bench.assert_good("a", 0);
    bench.assert_good("lamp", 1);
}

#[test]
fn what_was_only_read_follows_the_node() {
    let mut bench = running(&link(""), module(255, [0, 0]));
    bench.network().device(5).objects.insert((0x6040, 0), vec![0x37, 2]);
    bench.run_ms(150);
    bench.order(1, "a", &Value::Uint(1), false);
    bench.run_ms(10);
    assert_eq!(taken(&mut bench), [[1, 0x22, 0x37, 2]]);
}

#[test]
fn a_synchronous_pdo_goes_before_the_next_sync_and_is_read_back_behind_it() {
    let mut bench = running(&link(r#""sync_ms": 50,"#), module(1, [0, 0]));
    let last = bench.sent(0x80).last().unwrap().0;
    bench.order(1, "a", &Value::Uint(7), true);
    bench.order(2, "lamp", &Value::Bool(true), true);
    bench.run_ms(5);
    let sent = bench.sent(0x205);
    assert_eq!(sent.last().unwrap().1.bytes(), [7, 0x2A, 6, 0]);
    assert!(sent.last().unwrap().0 < last + 50 * MS);
    assert!(bench.outcomes().is_empty(), "the node has not taken it yet");
    bench.run_ms(100);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::Done), (2, WriteOutcome::Done)]);
}

fn wait_for(bench: &mut Bench, has_come: impl Fn(&Bench) -> bool) {
    for _ in 0..200 {
        if has_come(bench) {
            return;
        }
        // No further than that: the world's time jumps from event to event.
        bench.executor.turn();
    }
    panic!("it does not come");
}

/// Whether the node was told by SDO what the drive is to do.
fn is_controlled(bench: &Bench) -> bool {
    bench.network().device(5).written.iter().any(|(object, _)| *object == (0x6040, 0))
}

#[test]
fn a_pdo_waits_while_one_of_its_objects_is_being_written_by_sdo() {
    let mut bench = running(&link(""), module(255, [0, 0]));
    bench.network().device(5).answers_in = 45 * MS;
    // One order a turn: the second comes while the first is on its way.
    bench.order(1, "control", &Value::Uint(0x0F), false);
    bench.order(2, "a", &Value::Uint(1), false);
    bench.run_ms(100);
    let asked = bench.sent(0x605).iter().find(|(_, m)| m.bytes()[..3] == [0x2B, 0x40, 0x60]).unwrap().0;
    assert!(bench.sent(0x205)[0].0 >= asked + 45 * MS, "whether the node has taken it, was not known before");
    assert_eq!(taken(&mut bench), [[1, 0x22, 0x0F, 0]]);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::Done), (2, WriteOutcome::Unconfirmed)]);
}

#[test]
fn a_write_by_sdo_waits_for_the_sync_with_which_the_node_takes_a_pdo_of_its_object() {
    let mut bench = running(&link(r#""sync_ms": 50,"#), module(1, [0, 0]));
    let before = bench.sent(0x80).len();
    wait_for(&mut bench, |bench| bench.sent(0x80).len() > before);
    bench.order(1, "a", &Value::Uint(7), false);
    bench.run_ms(5);
    bench.order(2, "control", &Value::Uint(0x0F), false);
    bench.run_ms(10);
    assert_eq!(bench.sent(0x205).len(), 1);
    assert!(!is_controlled(&bench), "the PDO would undo it");
    let turns = bench.counters.lanes[0].loops.get();
    bench.run_ms(20);
    assert!(bench.counters.lanes[0].loops.get() - turns < 100, "it sleeps meanwhile");
    bench.run_ms(40);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::Unconfirmed), (2, WriteOutcome::Done)]);
    assert_eq!(bench.network().device(5).objects[&(0x6040, 0)], [0x0F, 0], "it is still there");
    bench.order(3, "a", &Value::Uint(8), false);
    bench.run_ms(10);
    assert_eq!(bench.sent(0x205).last().unwrap().1.bytes(), [8, 0x22, 0x0F, 0]);
}

#[test]
fn writes_within_the_inhibit_time_go_together_when_it_is_over() {
    let mut bench = running(&link(""), module(255, [200, 0]));
    for (id, tag, value) in
        [(1, "a", Value::Uint(1)), (2, "a", Value::Uint(2)), (3, "lamp", Value::Bool(true)), (4, "a", Value::Uint(3))]
    {
        bench.order(id, tag, &value, false);
    }
    bench.run_ms(100);
    let sent = bench.network().device(5).taken.clone();
    let data: Vec<&[u8]> = sent.iter().map(|(_, data)| &data[..]).collect();
    assert_eq!(data, [[1, 0x22, 6, 0], [2, 0x2A, 6, 0], [3, 0x2A, 6, 0]], "of one object each in its turn");
    assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 20 * MS), "{sent:?}");
    assert_eq!(bench.outcomes().len(), 4);
}

#[test]
fn a_node_that_watches_for_its_pdo_gets_it_again_and_none_before_the_first_write() {
    let mut bench = running(&link(""), module(255, [0, 100]));
    bench.order(1, "a", &Value::Uint(9), false);
    bench.run_ms(1_000);
    let sent = taken(&mut bench);
    assert!((19..=21).contains(&sent.len()) && sent.iter().all(|data| *data == [9, 0x22, 6, 0]), "{sent:?}");
    bench.network().device(5).state = 127;
    bench.run_ms(100);
    bench.network().device(5).taken.clear();
    let before = bench.sent(0x205).len();
    bench.run_ms(100);
    assert_eq!(bench.sent(0x205).len(), before, "not to one that is not operational");
}

#[test]
fn a_node_that_is_not_operational_gets_nothing_and_nothing_later() {
    let mut bench = running(&link(""), module(255, [5_000, 0]));
    bench.order(1, "a", &Value::Uint(1), false);
    bench.run_ms(10);
    bench.order(2, "a", &Value::Uint(2), false);
    bench.run_ms(1);
    // The second waits for the inhibit time of half a second, when the node stops.
    bench.network().device(5).state = 4;
    bench.run_ms(120);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::Unconfirmed), (2, WriteOutcome::NotOperational)]);
    bench.order(3, "a", &Value::Uint(3), false);
    bench.run_ms(2);
    assert_eq!(bench.outcomes(), [(3, WriteOutcome::NotOperational)], "at once");
    bench.run_ms(3_000);
    assert_eq!(bench.network().device(5).state, 5, "it was started again");
    assert_eq!(bench.sent(0x205).len(), 1, "and got nothing of before");
    bench.order(4, "a", &Value::Uint(4), false);
    bench.run_ms(10);
    assert_eq!(bench.outcomes(), [(4, WriteOutcome::Unconfirmed)]);
}

#[test]
fn a_write_whose_time_is_over_within_the_inhibit_time_is_never_sent() {
    let mut bench = running(&link(""), module(255, [5_000, 0]));
    bench.order(1, "a", &Value::Uint(1), false);
    bench.run_ms(10);
    bench.order(2, "a", &Value::Uint(2), false);
    bench.run_ms(2_000);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::Unconfirmed), (2, WriteOutcome::NotSent)]);
    assert_eq!(taken(&mut bench), [[1, 0x22, 6, 0]]);
}

#[test]
fn a_full_interface_is_waited_for_and_no_pdo_is_sent_after_its_time() {
    let mut bench = running(&link(""), module(255, [0, 0]));
    bench.network().full = true;
    bench.order(1, "a", &Value::Uint(1), false);
    bench.run_ms(20);
    bench.network().full = false;
    bench.run_ms(20);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::Unconfirmed)]);
    bench.network().full = true;
    bench.order(2, "a", &Value::Uint(2), false);
    let turns = bench.counters.lanes[0].loops.get();
    bench.run_ms(250);
    assert!(bench.counters.lanes[0].loops.get() - turns < 400);
    bench.network().full = false;
    bench.run_ms(1_000);
    assert_eq!(bench.outcomes(), [(2, WriteOutcome::NotSent)]);
    assert_eq!(taken(&mut bench), [[1, 0x22, 6, 0]]);
}

#[test]
fn a_node_that_starts_anew_is_read_anew_before_anything_is_sent_to_it() {
    let mut bench = running(&link(""), module(255, [0, 0]));
    bench.order(1, "a", &Value::Uint(0x5A), false);
    bench.run_ms(10);
    let boot_up = {
        let mut network = bench.network();
        let now = network.now;
        let device = network.device(5);
        device.objects.insert((0x6200, 1), vec![0]);
        device.objects.insert((0x6200, 2), vec![0]);
        device.taken.clear();
        device.power_on(now)
    };
    bench.network().post(vec![boot_up]);
    bench.run_ms(300);
    bench.outcomes();
    bench.order(2, "lamp", &Value::Bool(true), false);
    bench.run_ms(10);
    assert_eq!(taken(&mut bench), [[0, 8, 6, 0]], "what was written before the restart is gone");
}

#[test]
fn while_an_object_of_the_pdo_is_not_known_the_others_are_not_written() {
    let mut module = module(255, [0, 0]);
    module.objects.remove(&(0x6040, 0));
    let mut bench = bench(&config(&link(""), TAGS, &[]), vec![module]);
    bench.run_ms(500);
    let object = crate::tag::Object { index: 0x6040, sub: 0 };
    assert_eq!(bench.events(), [NodeEvent::Untold { object }, NodeEvent::Ready]);
    bench.order(1, "a", &Value::Uint(1), false);
    bench.run_ms(250);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::NotWritable)]);
    assert!(bench.sent(0x205).is_empty());
}

#[test]
fn what_no_rpdo_of_the_node_carries_is_told_and_not_written() {
    let mut module = module(255, [0, 0]);
    module.objects.insert((0x1600, 0), vec![1]);
    let mut bench = bench(&config(&link(""), TAGS, &[]), vec![module]);
    bench.run_ms(500);
    let object = crate::tag::Object { index: 0x6200, sub: 2 };
    assert_eq!(bench.events(), [NodeEvent::NotMapped { object }, NodeEvent::Ready]);
    bench.order(1, "lamp", &Value::Bool(true), false);
    bench.run_ms(10);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::NotWritable)]);
}

#[test]
fn a_new_plan_keeps_what_was_written() {
    let mut bench = running(&link(""), module(255, [0, 0]));
    bench.order(1, "a", &Value::Uint(0x5A), false);
    bench.run_ms(10);
    let more = format!(
        r#"{TAGS}, {{"name": "type", "address": "co0:5:0x1000:0", "data_type": "uint32", "scan_rate_ms": 50}}"#
    );
    bench.adopt(&config(&link(""), &more, &[]));
    bench.run_ms(100);
    assert!(bench.adopted.pop().is_ok());
    bench.network().device(5).taken.clear();
    bench.network().device(5).objects.insert((0x6200, 1), vec![0x77]);
    let mut order = bench.made(2, "lamp", &Value::Bool(true), false);
    order.generation = 1;
    bench.orders.push(order).unwrap();
    bench.run_ms(10);
    assert_eq!(taken(&mut bench), [[0x5A, 0x2A, 6, 0]]);
}
