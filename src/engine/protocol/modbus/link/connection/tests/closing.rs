//! Devices that close their connections: after each reply, when idle, now and then. They lose no cycle for it.

use super::line::unit_tag;
use super::write::{Shared, all_functions, device, tcp};
use super::*;

/// Runs as the connector would: what is given back after something was answered comes again after `connect_us`.
fn run_again(bench: &mut Bench, long_ms: u64, connect_us: u64) -> Vec<Closed> {
    let (mut given_back, mut due) = (Vec::new(), None);
    let step = MS / 20;
    // As the connector does with a connection.
    bench.executor.floor_for_test().world.woken_each = Some(step);
    for _ in 0..long_ms * MS / step {
        bench.world_end += step;
        while bench.executor.floor_for_test().world.now < bench.world_end {
            bench.executor.turn();
        }
        if let Ok(closed) = bench.closed.pop() {
            given_back.push(closed);
            due = Some(bench.world_end + connect_us * 1_000);
        }
        if due.is_some_and(|due| due <= bench.world_end) {
            due = None;
            let now = bench.world_end;
            let device = bench.device(0);
            device.under_way.clear();
            device.arrived.clear();
            (device.closed, device.closes_at) = (false, None);
            if let Some(idle) = device.closes_when_idle {
                device.closes_at = Some(now + idle);
            }
            bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
        }
    }
    given_back
}

fn all_good(bench: &mut Bench) -> usize {
    let samples = bench.drain();
    assert!(samples.iter().all(|sample| sample.status() == Status::GOOD), "{samples:?}");
    samples.len()
}

#[test]
fn a_device_that_closes_after_each_reply_keeps_every_cycle_and_no_status_turns() {
    let mut bench = bench(vec![(vec![3], good())], None);
    bench.device(0).closes_after_reply = true;
    let given_back = run_again(&mut bench, 1_000, 1_000);
    assert!(given_back.len() >= 99, "{}", given_back.len());
    assert!(given_back.iter().all(|c| (c.reason, c.served) == (CloseReason::Ended, Served::Answered)));
    assert_eq!(all_good(&mut bench), 100);
    let link = bench.counters.link(LinkId(0));
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    assert_eq!((link.idle_closes.get(), link.disconnects.get()), (given_back.len() as u64, 0));
    assert_eq!(link.state(), LinkState::Up);
}

#[test]
fn with_several_requests_a_cycle_each_gets_a_connection_of_its_own_and_none_is_asked_in_vain() {
    // Five blocks, each a connection of 1 ms, fit into 10 ms.
    let mut bench = bench(vec![(vec![0, 500, 1000, 1500, 2000], good())], None);
    bench.device(0).closes_after_reply = true;
    run_again(&mut bench, 50, 1_000);
    let link = bench.counters.clone();
    let in_vain = link.link(LinkId(0)).aborted.get();
    assert!(in_vain <= 6, "until it is known, a request is lost with each close: {in_vain}");
    let missed = bench.counters.scans[0].deadline_misses.get();
    let before = bench.drain().len();
    assert!(before > 0);
    run_again(&mut bench, 1_000, 1_000);
    assert_eq!(all_good(&mut bench), 500);
    assert_eq!(link.link(LinkId(0)).aborted.get(), in_vain, "none since");
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), missed);
    // And when it closes no more, that is noticed.
    bench.device(0).closes_after_reply = false;
    run_again(&mut bench, 200, 1_000);
    let connects = link.link(LinkId(0)).connects.get();
    run_again(&mut bench, 500, 1_000);
    assert_eq!(link.link(LinkId(0)).connects.get(), connects);
    assert_eq!(bench.counters.scans[0].deadline_misses.get() - missed, 5, "the wait for its close, once");
}

#[test]
fn a_device_that_closes_what_is_idle_keeps_every_cycle_of_a_slow_scan() {
    for (idle_ms, period_ms) in [(800, 1_000), (300, 1_000), (3_000, 1_000)] {
        let tags = vec![tag(0, 7)];
        let spaced = Some(Nanos::from_millis(period_ms));
        let mut bench = bench_with(&tcp_config(), vec![(tags, good())], None, spaced);
        bench.device(0).closes_when_idle = Some(idle_ms * MS);
        let given_back = run_again(&mut bench, 20_000, 2_000);
        assert!(given_back.iter().all(|closed| closed.reason == CloseReason::Ended), "{given_back:?}");
        assert_eq!(all_good(&mut bench), 20, "idle {idle_ms}");
        assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    }
}

#[test]
fn a_request_that_is_under_way_when_the_device_closes_is_asked_again_in_the_same_cycle() {
    let slow: Script = Box::new(|request| vec![(4 * MS, honest(request))]);
    let mut bench = bench(vec![(vec![3], slow)], None);
    let mut lost = 0;
    for _ in 0..50 {
        // Each connection ends 22 ms after it was made: in the midst of the third request.
        let now = bench.world_end;
        bench.device(0).closes_at = Some(now + 23 * MS);
        lost += run_again(&mut bench, 40, 500).len();
    }
    assert!(lost >= 40, "{lost}");
    assert_eq!(all_good(&mut bench), 200);
    let link = bench.counters.link(LinkId(0));
    assert!(link.disconnects.get() > 20 && link.aborted.get() == link.disconnects.get());
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
}

#[test]
fn a_request_that_ends_each_connection_is_not_asked_without_end() {
    // Register 500 is never answered: the device closes instead.
    let hit = std::rc::Rc::new(std::cell::Cell::new(false));
    let hits = hit.clone();
    let mut bench = bench(vec![(vec![0, 500, 1000], good())], None);
    bench.device(0).script = Some(Box::new(move |request| {
        hits.set(request[8..10] == [1, 244]);
        if hits.get() { vec![] } else { vec![(MS / 10, honest(request))] }
    }));
    for _ in 0..4_000 {
        bench.device(0).closed |= hit.take();
        bench.world_end += MS / 4;
        while bench.executor.floor_for_test().world.now < bench.world_end {
            bench.executor.turn();
        }
        if bench.closed.pop().is_ok() {
            bench.device(0).closed = false;
            bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
        }
    }
    let asked = bench.requests.borrow().iter().filter(|(_, request)| request[8..10] == [1, 244]).count();
    assert!(asked <= 101 * 4, "{asked} in 100 cycles");
    let good = bench.drain().iter().filter(|s| s.tag == 0 && s.status() == Status::GOOD).count();
    assert!(good >= 50, "the others are read: {good}");
    assert_ne!(bench.status(1), Status::GOOD);
}

#[test]
fn a_device_that_closes_and_does_not_come_back_is_told_as_before() {
    let mut bench = bench(vec![(vec![3], good())], None);
    bench.run_ms(95);
    bench.device(0).closed = true;
    bench.run_ms(6);
    assert_eq!(bench.status(0), Status::GOOD, "nothing was missed yet");
    bench.run_ms(20);
    assert_eq!(bench.status(0), Status::UNCERTAIN_LAST_USABLE);
    assert_eq!(bench.counters.link(LinkId(0)).state(), LinkState::Down);
    bench.run_ms(250);
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
    // Back with the next connection.
    bench.device(0).closed = false;
    bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
    bench.run_ms(30);
    assert_eq!((bench.status(0), bench.counters.link(LinkId(0)).state()), (Status::GOOD, LinkState::Up));
}

#[test]
fn what_is_known_of_a_device_outlives_the_connections_that_it_closes() {
    // Unit 2 never answers, register 9 of unit 1 is refused: both are asked as rarely as on one long connection.
    let script: Script = Box::new(|request| match (request[6], request[8..12] == [0, 9, 0, 1], request[11]) {
        (2, ..) => vec![],
        (_, true, _) => vec![(MS / 10, exception(request, 2))],
        (_, _, count) if count > 1 => vec![(MS / 10, exception(request, 2))],
        _ => vec![(MS / 10, honest(request))],
    });
    let tags = vec![unit_tag(1, 8), unit_tag(1, 9), unit_tag(2, 5)];
    let mut bench = bench_of(&tcp_config(), vec![(tags, script)], None);
    run_again(&mut bench, 200, 500);
    bench.device(0).closes_after_reply = true;
    run_again(&mut bench, 10_000, 500);
    let asked = |wanted: &dyn Fn(&[u8]) -> bool| bench.requests.borrow().iter().filter(|(_, r)| wanted(r)).count();
    assert!(asked(&|r| r[6] == 2) < 20, "{}", asked(&|r| r[6] == 2));
    assert!(asked(&|r| r[6] == 1 && r[9] == 9) < 10);
    assert_eq!(bench.status(0), Status::GOOD);
}

#[test]
fn writes_wait_for_the_next_connection_of_a_device_that_closes_after_each_reply() {
    let memory = Shared::default();
    let mut bench = bench_of(&tcp(1), vec![(all_functions(), device(&memory, MS / 10))], None);
    bench.device(0).closes_after_reply = true;
    run_again(&mut bench, 100, 500);
    for value in 0..10 {
        bench.order(20, Value::Uint(value), 500, true);
        run_again(&mut bench, 100, 500);
        let outcomes: Vec<WriteOutcome> = bench.answered().iter().map(|answer| answer.outcome).collect();
        assert_eq!(outcomes, [WriteOutcome::Done], "{value}");
        assert_eq!(u64::from(memory.borrow().register(20)), value);
    }
}

#[test]
fn a_write_for_a_device_that_does_not_come_back_ends_in_its_time() {
    let memory = Shared::default();
    let mut bench = bench_of(&tcp(1), vec![(all_functions(), device(&memory, MS / 10))], None);
    bench.run_ms(95);
    bench.device(0).closed = true;
    bench.run_ms(4);
    bench.order(20, Value::Uint(1), 50, false);
    bench.run_ms(60);
    let outcomes: Vec<WriteOutcome> = bench.answered().iter().map(|answer| answer.outcome).collect();
    assert_eq!(outcomes, [WriteOutcome::NotSent]);
    assert!(!memory.borrow().registers.contains_key(&20));
}
