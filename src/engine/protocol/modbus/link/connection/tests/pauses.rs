//! Pauses over TCP: after the connection, between two requests, to one unit, and before another.

use super::line::unit_tag;
use super::*;
use crate::protocol::modbus::ModbusConfig;

const SHORT: Nanos = Nanos::from_micros(700);

fn sent(bench: &Bench) -> Vec<(u64, u8)> {
    bench.requests.borrow().iter().map(|(at, request)| (*at, request[6])).collect()
}

fn paused(change: impl FnOnce(&mut ModbusConfig)) -> Bench {
    let mut config = tcp_config();
    change(&mut config);
    let tags = vec![unit_tag(1, 3), unit_tag(1, 500), unit_tag(2, 4), unit_tag(2, 500)];
    let mut bench = bench_of(&config, vec![(tags, good())], None);
    bench.run_ms(1_000);
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    assert_eq!(bench.drain().len(), 400);
    bench
}

/// Between the reply to a request (0.1 ms after it) and the next.
fn gaps(bench: &Bench) -> Vec<(u64, bool)> {
    sent(bench).windows(2).map(|pair| (pair[1].0 - pair[0].0 - MS / 10, pair[0].1 == pair[1].1)).collect()
}

#[test]
fn a_request_follows_a_reply_after_the_turnaround() {
    let bench = paused(|config| config.turnaround = SHORT);
    let least = gaps(&bench).iter().map(|(gap, _)| *gap).min().unwrap();
    assert!((SHORT.0..SHORT.0 + MS / 10).contains(&least), "{least}");
}

#[test]
fn a_unit_is_asked_again_after_its_pause_and_others_meanwhile() {
    let bench = paused(|config| config.unit_pause = SHORT);
    let mut last = [0u64; 3];
    for (at, unit) in sent(&bench) {
        assert!(at >= last[usize::from(unit)] + SHORT.0 || last[usize::from(unit)] == 0);
        last[usize::from(unit)] = at + MS / 10;
    }
    let least = gaps(&bench).iter().map(|(gap, _)| *gap).min().unwrap();
    assert!(least < SHORT.0 / 2, "the other unit does not wait: {least}");
}

#[test]
fn another_unit_is_asked_after_the_pause_for_a_change_and_the_same_at_once() {
    let bench = paused(|config| config.unit_change_pause = SHORT);
    let least = |same: bool| gaps(&bench).iter().filter(|(_, is)| *is == same).map(|(gap, _)| *gap).min().unwrap();
    assert!((SHORT.0..SHORT.0 + MS / 10).contains(&least(false)), "{}", least(false));
    assert!(least(true) < SHORT.0 / 2, "{}", least(true));
}

#[test]
fn the_first_request_of_a_connection_waits_for_the_delay_and_those_behind_it_do_not() {
    let config = ModbusConfig { connect_delay: Nanos::from_millis(25), ..tcp_config() };
    let mut bench = bench_of(&config, vec![(vec![tag(0, 3)], good())], None);
    bench.run_ms(500);
    let first = sent(&bench)[0].0;
    assert!((25 * MS..26 * MS).contains(&first), "connected at 0, asked at {first}");
    assert!(bench.counters.link(LinkId(0)).requests.get() >= 47);
    // The same on a line: an adapter that resets its device when it is opened.
    let config = ModbusConfig { connect_delay: Nanos::from_millis(25), ..super::line::rtu_config() };
    let mut bench = bench_of(&config, vec![(vec![tag(0, 3)], silent())], None);
    bench.run_ms(50);
    let first = bench.requests.borrow()[0].0;
    assert!((25 * MS..27 * MS).contains(&first), "{first}");
}

#[test]
fn a_device_that_loses_what_comes_within_its_pause_is_read_in_every_cycle() {
    // Of a request within 2 ms of its last reply nothing is heard.
    let last = std::rc::Rc::new(std::cell::Cell::new(0u64));
    let config = ModbusConfig { turnaround: Nanos::from_micros(2_100), ..tcp_config() };
    let mut bench = bench_of(&config, vec![(vec![tag(0, 3), tag(0, 500), tag(0, 900)], silent())], None);
    let requests = bench.requests.clone();
    bench.device(0).script = Some(Box::new(move |request| {
        let now = requests.borrow().last().map_or(0, |(at, _)| *at);
        if last.get() > 0 && now < last.get() + 2 * MS {
            return vec![];
        }
        last.set(now + MS / 10);
        vec![(MS / 10, honest(request))]
    }));
    bench.run_ms(1_000);
    assert_eq!((bench.counters.link(LinkId(0)).timeouts.get(), bench.drain().len()), (0, 300));
}
