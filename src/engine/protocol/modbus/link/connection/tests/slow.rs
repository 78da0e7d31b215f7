//! Scans from once in ten seconds to once a day: their first value is not waited for, what fails is asked again in between,
//! and nobody is asked more often than that takes.

use std::cell::Cell;
use std::rc::Rc;

use super::*;

const SECOND: u64 = 1_000 * MS;
const PERIODS_S: [u64; 3] = [10, 900, 86_400];

fn of_period(seconds: u64, script: Script) -> Bench {
    bench_of_period(&tcp_config(), vec![(vec![tag(0, 7)], script)], Nanos(seconds * SECOND))
}

impl Bench {
    fn requests(&self) -> usize {
        self.requests.borrow().len()
    }

    fn misses(&self) -> u64 {
        self.counters.scans[0].deadline_misses.get()
    }

    /// Runs until the tag has this status; how long that took, in milliseconds.
    fn until(&mut self, status: Status, within_s: u64) -> u64 {
        let from = self.now();
        while self.status(0) != status {
            self.run_ms(100);
            let took = (self.now() - from) / MS;
            assert!(took < within_s * 1_000, "{:?} for {within_s} s, instead of {status:?}", self.status(0));
        }
        (self.now() - from) / MS
    }
}

/// Answers while the switch is on.
fn switched(on: &Rc<Cell<bool>>) -> Script {
    let on = on.clone();
    Box::new(move |request| if on.get() { vec![(MS, honest(request))] } else { vec![] })
}

#[test]
fn the_first_value_is_there_at_once_and_then_one_a_period() {
    for period in PERIODS_S {
        let mut bench = of_period(period, good());
        bench.run_ms(2_000);
        assert_eq!(bench.drain().len(), 1, "{period} s");
        bench.run_ms(3 * period * 1_000 - 2_000);
        let samples = bench.drain();
        assert_eq!((samples.len(), bench.requests(), bench.misses()), (2, 3, 0), "{period} s");
        assert!(samples.windows(2).all(|pair| pair[1].t - pair[0].t == period * SECOND));
    }
}

#[test]
fn a_device_that_is_connected_late_is_read_then_and_not_a_period_later() {
    for period in PERIODS_S {
        let mut bench = of_period(period, good());
        let late = bench.executor.take_connection_for_test().unwrap();
        bench.run_ms(4_000);
        assert_eq!((bench.requests(), bench.status(0)), (0, Status::BAD_NO_COMMUNICATION), "{period} s");
        bench.drain();
        bench.connected.push(late).unwrap();
        assert!(bench.until(Status::GOOD, 1) <= 200, "{period} s");
        bench.run_ms(period * 1_000);
        assert_eq!(bench.requests(), 2, "once for the start, and its beat: {period} s");
    }
}

#[test]
fn a_lost_reply_costs_a_second_and_no_cycle() {
    for period in PERIODS_S {
        let on = Rc::new(Cell::new(true));
        let mut bench = of_period(period, switched(&on));
        bench.run_ms(period * 1_000 - 500);
        on.set(false);
        bench.until(Status::UNCERTAIN_LAST_USABLE, 2);
        on.set(true);
        let took = bench.until(Status::GOOD, 10);
        assert!((900..1_300).contains(&took), "{took} ms at {period} s");
        bench.run_ms(period * 1_000);
        assert_eq!((bench.requests(), bench.misses()), (4, 0), "asked again once: {period} s");
    }
}

#[test]
fn silence_is_told_within_seconds_and_ended_in_a_part_of_the_period() {
    for (period, back_within_s) in [(10, 16), (900, 226), (86_400, 301)] {
        let on = Rc::new(Cell::new(true));
        let mut bench = of_period(period, switched(&on));
        bench.run_ms(2_000);
        let last = bench.drain()[0].t;
        on.set(false);
        bench.run_ms(period * 1_000 - 2_000);
        bench.until(Status::BAD_NO_COMMUNICATION, 8);
        // For two periods: the connection is given back as silent, and comes again at once.
        let before = bench.requests();
        for _ in 0..2 * period {
            bench.run_ms(1_000);
            if bench.closed.pop().is_ok() {
                bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
            }
        }
        let asked = (bench.requests() - before) as u64;
        assert!(asked <= 2 * period / 10 + 20, "{asked} in two periods of {period} s");
        assert!(bench.drain().iter().all(|sample| sample.t == last), "held with its own time");
        on.set(true);
        let mut waited = 0;
        while bench.status(0) != Status::GOOD {
            bench.run_ms(1_000);
            waited += 1;
            assert!(waited <= back_within_s, "{period} s");
            if bench.closed.pop().is_ok() {
                bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
            }
        }
    }
}

#[test]
fn a_register_that_is_refused_while_its_device_boots_is_there_soon_after_and_one_for_good_is_left_alone() {
    for period in PERIODS_S {
        let boots = Rc::new(Cell::new(true));
        let booting = boots.clone();
        let script = Box::new(move |request: &[u8]| {
            vec![(MS, if booting.get() { exception(request, 2) } else { honest(request) })]
        });
        let mut bench = of_period(period, script);
        bench.run_ms(20_000);
        assert_eq!(bench.status(0), Status::BAD_CONFIGURATION_ERROR);
        boots.set(false);
        let took = bench.until(Status::GOOD, 100);
        assert!(took <= 3_000.max(period * 250).min(85_000), "{took} ms at {period} s");
        boots.set(true);
        bench.run_ms(period * 1_000);
        let before = bench.requests();
        bench.run_ms(period * 1_000 * 2);
        let asked = bench.requests() - before;
        assert!(asked <= 60, "{asked} in two periods of {period} s");
    }
}

#[test]
fn a_connection_that_the_device_closes_when_idle_is_made_again_for_the_next_release() {
    for (period, idle) in [(10, 1), (900, 30), (86_400, 60)] {
        let mut bench = of_period(period, good());
        bench.device(0).closes_when_idle = Some(idle * SECOND);
        let mut due = None;
        let (mut closes, mut unused) = (0, 0);
        let end = 3 * period * SECOND + 5 * SECOND;
        while bench.now() < end {
            bench.run_ms(50);
            let now = bench.now();
            if let Ok(closed) = bench.closed.pop() {
                closes += 1;
                unused += u32::from(closed.served != Served::Answered);
                assert_eq!(closed.reason, CloseReason::Ended);
                // As the connector does.
                due = Some(closed.again_at.0.saturating_sub(100 * MS).max(now));
            }
            if due.is_some_and(|due| due <= now) {
                due = None;
                let device = bench.device(0);
                (device.closed, device.closes_at) = (false, Some(now + idle * SECOND));
                bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
            }
        }
        assert_eq!((bench.requests(), bench.misses(), unused), (4, 0, 0), "{period} s");
        assert!(closes <= 4, "{closes} closes in three periods of {period} s");
        assert!(bench.drain().iter().all(|sample| sample.status() == Status::GOOD));
        assert_eq!(bench.counters.link(LinkId(0)).state(), LinkState::Up);
    }
}

#[test]
fn where_something_may_be_written_or_is_read_often_the_connection_does_not_rest() {
    let written = |mut tag: TagConfig| {
        tag.write = Some(crate::config::WriteConfig::default());
        tag
    };
    let second = Nanos(SECOND);
    let quarter = Nanos(900 * SECOND);
    let tags = [
        (vec![written(tag(0, 7))], vec![quarter]),
        (vec![tag(0, 7), TagConfig { group: 1, ..tag(0, 900) }], vec![quarter, second]),
    ];
    for (tags, periods) in tags {
        let mut bench = bench_of_periods(&tcp_config(), vec![(tags, good())], &periods);
        bench.run_ms(3_500);
        bench.device(0).closed = true;
        bench.run_ms(50);
        let closed = bench.closed.pop().unwrap();
        assert_eq!((closed.reason, closed.again_at), (CloseReason::Ended, Nanos::ZERO));
    }
}

#[test]
fn a_tag_that_is_added_to_a_slow_scan_is_read_at_once_and_the_beat_stays() {
    for period in PERIODS_S {
        let mut bench = of_period(period, good());
        bench.run_ms(3_000);
        bench.drain();
        bench.config.tags.push(tag(0, 900));
        let mut later = bench.change(1);
        drop(bench.adopted());
        bench.run_ms(500);
        let new = bench.id_of("plc0.r900");
        assert_eq!(bench.status(new), Status::GOOD, "{period} s");
        let at_once = std::iter::from_fn(|| later.pop().ok()).count();
        assert_eq!(at_once, 2, "all of the scan");
        bench.run_ms(period * 1_000 - 2_000);
        let on_beat: Vec<Sample> = std::iter::from_fn(|| later.pop().ok()).collect();
        assert_eq!(on_beat.len(), 2, "{period} s");
        assert!(on_beat.iter().all(|sample| sample.t / SECOND == period), "{on_beat:?}");
    }
}

#[test]
fn a_connection_that_breaks_again_and_again_does_not_make_a_slow_scan_a_fast_one() {
    let mut bench = of_period(900, good());
    for _ in 0..200 {
        bench.run_ms(1_000);
        // In the midst of nothing, and not as devices do that are well.
        bench.device(0).arrived = vec![0xFF; 300];
        bench.run_ms(10);
        if bench.closed.pop().is_ok() {
            bench.device(0).arrived.clear();
            bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
        }
    }
    let (asked, connects) = (bench.requests() as u64, bench.counters.link(LinkId(0)).connects.get());
    assert!(connects >= 5 && (5..=21).contains(&asked), "in two hundred seconds, {connects} connections: {asked}");
}

#[test]
fn a_busy_device_is_asked_for_less_often_the_rarer_its_scan() {
    for (period, most) in [(10, 300), (900, 50), (86_400, 50)] {
        let mut bench = of_period(period, Box::new(|request| vec![(MS, exception(request, 6))]));
        bench.run_ms(300_000);
        assert!(bench.requests() <= most, "{} at {period} s", bench.requests());
    }
}
