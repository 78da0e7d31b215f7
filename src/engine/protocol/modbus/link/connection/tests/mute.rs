//! Requests that are never answered beside others that are, over TCP.

use super::line::{honest_rtu, rtu_config, unit_tag};
use super::*;
use crate::protocol::modbus::ModbusConfig;

/// 100 ms, as people scan, against a timeout of 200 ms.
const PERIOD: Nanos = Nanos::from_millis(100);

fn slow_config(pipeline: u8) -> ModbusConfig {
    ModbusConfig { timeout: Nanos::from_millis(200), pipeline, ..tcp_config() }
}

fn covers(request: &[u8], register: u16) -> bool {
    let first = u16::from_be_bytes([request[8], request[9]]);
    let count = u16::from_be_bytes([request[10], request[11]]);
    (first..first + count).contains(&register)
}

/// No answer to any request of unit 1 that holds one of these registers.
fn mute_about(registers: &[u16]) -> Script {
    let registers = registers.to_vec();
    Box::new(move |request| {
        let is_mute = request[6] == 1 && registers.iter().any(|register| covers(request, *register));
        if is_mute { vec![] } else { vec![(MS, honest(request))] }
    })
}

/// A hundred registers of unit 1, and one of unit 2: tag 100.
fn two_units() -> Vec<TagConfig> {
    (0..100).map(|register| unit_tag(1, register)).chain([unit_tag(2, 7)]).collect()
}

fn good_of(samples: &[Sample], tag: u32) -> u64 {
    samples.iter().filter(|sample| sample.tag == tag && sample.status().is_good()).count() as u64
}

#[test]
fn one_mute_register_among_a_hundred_costs_the_unit_beside_it_less_than_a_cycle_in_a_hundred() {
    for pipeline in [1, 4] {
        let links = vec![(two_units(), mute_about(&[42]))];
        let mut bench = bench_of_period(&slow_config(pipeline), links, PERIOD);
        let mut samples = bench.run_for_samples(4_000);
        for tag in 0..101 {
            let expected = if tag == 42 { Status::BAD_NO_COMMUNICATION } else { Status::GOOD };
            assert_eq!(bench.status(tag), expected, "tag {tag}");
        }
        samples.extend(bench.run_for_samples(296_000));
        let (scans, timeouts) = (bench.counters.scans[0].cycles.get(), bench.counters.links[0].timeouts.get());
        let beside = good_of(&samples, 100);
        println!("pipeline {pipeline}: {beside} of {scans} scans beside {timeouts} timeouts");
        assert!(beside * 100 >= scans * 99, "{beside} of {scans}");
        assert!(timeouts <= 20, "{timeouts}");
        assert_eq!(bench.counters.links[0].disconnects.get(), 0);
    }
}

#[test]
fn of_what_is_mute_only_the_register_itself_is_missed_and_it_comes_back_in_one_block() {
    let links = vec![(two_units(), good())];
    let mut bench = bench_of_period(&slow_config(1), links, PERIOD);
    bench.run_ms(1_000);
    bench.drain();
    bench.device(0).script = Some(mute_about(&[42]));
    bench.run_ms(10_000);
    let samples = bench.drain();
    let of_tag = |tag: u32| samples.iter().filter(move |sample| sample.tag == tag);
    let told: Vec<Status> = of_tag(42).map(Sample::status).collect();
    let held = [Status::UNCERTAIN_LAST_USABLE, Status::BAD_NO_COMMUNICATION];
    assert_eq!(told.iter().filter(|status| !status.is_good()).copied().collect::<Vec<_>>(), held, "each told once");
    for tag in (0..100).filter(|tag| *tag != 42) {
        assert!(good_of(&samples, tag) > 60, "tag {tag}: {}", good_of(&samples, tag));
    }
    bench.device(0).script = Some(good());
    bench.run_ms(25_000);
    assert_eq!(bench.status(42), Status::GOOD);
    let before = bench.requests.borrow().len();
    bench.run_ms(10_000);
    assert_eq!(bench.requests.borrow().len() - before, 200, "one request a cycle for each unit, as before");
}

#[test]
fn a_tag_that_never_had_a_value_has_a_status_after_the_first_miss() {
    let tags = vec![unit_tag(1, 7), unit_tag(1, 900)];
    let mut bench = bench_of_period(&slow_config(1), vec![(tags, mute_about(&[900]))], PERIOD);
    bench.run_ms(350);
    assert_eq!(bench.status(1), Status::BAD_NO_COMMUNICATION);
    let of_mute: Vec<Sample> = bench.drain().into_iter().filter(|sample| sample.tag == 1).collect();
    assert_eq!(of_mute.len(), 1);
    assert!(of_mute[0].has_no_value());
}

#[test]
fn fifty_mute_registers_leave_the_unit_beside_them_its_cycles() {
    let mute: Vec<u16> = (0..100).step_by(2).collect();
    let mut bench = bench_of_period(&slow_config(1), vec![(two_units(), mute_about(&mute))], PERIOD);
    let samples = bench.run_for_samples(240_000);
    let (scans, beside) = (bench.counters.scans[0].cycles.get(), good_of(&samples, 100));
    println!("{beside} of {scans} while they are looked for");
    assert!(beside * 100 >= scans * 75, "{beside} of {scans}");
    for tag in 0..100 {
        let expected = if tag % 2 == 0 { Status::BAD_NO_COMMUNICATION } else { Status::GOOD };
        assert_eq!(bench.status(tag), expected, "tag {tag}");
    }
    let before = bench.counters.scans[0].cycles.get();
    let samples = bench.run_for_samples(300_000);
    let (scans, beside) = (bench.counters.scans[0].cycles.get() - before, good_of(&samples, 100));
    println!("{beside} of {scans} once they are known");
    assert!(beside * 100 >= scans * 97, "{beside} of {scans}");
}

#[test]
fn a_lost_reply_now_and_then_takes_no_block_apart() {
    let mut asked = 0;
    let lossy: Script = Box::new(move |request| {
        asked += 1;
        if asked % 50 == 0 { vec![] } else { vec![(MS, honest(request))] }
    });
    let mut bench = bench_of_period(&slow_config(1), vec![(two_units(), lossy)], PERIOD);
    let samples = bench.run_for_samples(100_000);
    let whole = |bytes: &[u8]| [1, 100].contains(&u16::from_be_bytes([bytes[10], bytes[11]]));
    assert!(bench.requests.borrow().iter().all(|(_, request)| whole(request) || request[6] == 2));
    assert!(samples.iter().all(|sample| !sample.status().is_bad()));
}

#[test]
fn a_block_that_is_too_long_for_a_device_which_then_says_nothing_is_read_in_parts() {
    let script: Script = Box::new(|request| if request[11] > 30 { vec![] } else { vec![(MS, honest(request))] });
    let mut bench = bench_of_period(&slow_config(1), vec![(two_units(), script)], PERIOD);
    bench.run_ms(5_000);
    assert!((0..101).all(|tag| bench.status(tag) == Status::GOOD));
    bench.drain();
    let samples = bench.run_for_samples(300_000);
    assert!(samples.iter().all(|sample| sample.status().is_good()), "the whole is tried, and costs no status");
    for tag in [0, 99, 100] {
        assert!(good_of(&samples, tag) >= 2_970, "tag {tag}: {}", good_of(&samples, tag));
    }
}

#[test]
fn a_unit_that_dies_is_found_as_before_and_no_block_of_it_is_taken_apart() {
    let tags = (0..5).map(|at| unit_tag(1, at * 300)).chain([unit_tag(2, 7)]).collect();
    let mut bench = bench_of_period(&slow_config(1), vec![(tags, good())], PERIOD);
    bench.run_ms(1_000);
    bench.device(0).script =
        Some(Box::new(|request| if request[6] == 1 { vec![] } else { vec![(MS, honest(request))] }));
    bench.run_ms(900);
    assert!((0..5).all(|tag| bench.status(tag) == Status::BAD_NO_COMMUNICATION));
    let timeouts = bench.counters.links[0].timeouts.get();
    assert!((3..=4).contains(&timeouts), "{timeouts}");
    bench.run_ms(60_000);
    let probes = bench.counters.links[0].timeouts.get() - timeouts;
    assert!((6..=9).contains(&probes), "{probes}");
    bench.device(0).script = Some(good());
    bench.run_ms(16_000);
    assert!((0..6).all(|tag| bench.status(tag) == Status::GOOD));
}

#[test]
fn a_mute_request_that_is_scanned_faster_than_the_others_does_not_make_their_unit_silent() {
    // The mute one is scanned ten times between two scans of the other, and would be missed three times in a row.
    let mut slow = unit_tag(1, 500);
    slow.group = 1;
    let mut bench = bench_of_periods(
        &slow_config(1),
        vec![(vec![unit_tag(1, 7), slow], mute_about(&[7]))],
        &[PERIOD, Nanos::from_millis(1_000)],
    );
    bench.run_ms(120_000);
    assert_eq!((bench.status(0), bench.status(1)), (Status::BAD_NO_COMMUNICATION, Status::GOOD));
    let good = good_of(&bench.drain(), 1);
    assert!(good >= 118, "{good} of 120 scans");
    assert_eq!(bench.counters.links[0].disconnects.get(), 0);
}

#[test]
fn a_half_open_connection_is_found_though_one_request_was_mute_before() {
    let tags = vec![unit_tag(1, 7), unit_tag(1, 900)];
    let mut bench = bench_of_period(&slow_config(1), vec![(tags, mute_about(&[900]))], PERIOD);
    bench.run_ms(60_000);
    bench.device(0).script = Some(silent());
    bench.run_ms(1_500);
    assert_eq!(bench.closed.pop().map(|closed| closed.reason), Ok(CloseReason::Silent));
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
}

#[test]
fn a_unit_behind_a_gateway_that_says_so_is_silent_alone_and_its_connection_lives() {
    let script: Script = Box::new(|request| match request[6] {
        1 => vec![(5 * MS, exception(request, 0x0B))],
        2 => vec![(MS, honest(request))],
        _ => vec![],
    });
    let tags = vec![unit_tag(1, 7), unit_tag(2, 7), unit_tag(3, 7)];
    let mut bench = bench_of_period(&slow_config(1), vec![(tags, script)], PERIOD);
    bench.run_ms(30_000);
    assert_eq!(
        [0, 1, 2].map(|tag| bench.status(tag)),
        [Status::BAD_NO_COMMUNICATION, Status::GOOD, Status::BAD_NO_COMMUNICATION]
    );
    // All targets are away, and the gateway says so: its connection lives.
    bench.device(0).script = Some(Box::new(|request| vec![(5 * MS, exception(request, 0x0A))]));
    bench.run_ms(120_000);
    assert_eq!(bench.counters.links[0].disconnects.get(), 0);
    assert_eq!(bench.status(1), Status::BAD_NO_COMMUNICATION);
}

#[test]
fn on_a_serial_line_a_mute_register_stands_alone_and_the_unit_beside_it_goes_on() {
    let script: Script = Box::new(|request| {
        let word = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
        let is_mute = request[0] == 1 && (word(2)..word(2) + word(4)).contains(&42);
        if is_mute { vec![] } else { vec![(2 * MS, honest_rtu(request))] }
    });
    let config = ModbusConfig { timeout: Nanos::from_millis(200), ..rtu_config() };
    let mut bench = bench_of_period(&config, vec![(two_units(), script)], Nanos::from_millis(500));
    let samples = bench.run_for_samples(300_000);
    for tag in 0..101 {
        let expected = if tag == 42 { Status::BAD_NO_COMMUNICATION } else { Status::GOOD };
        assert_eq!(bench.status(tag), expected, "tag {tag}");
    }
    let (scans, beside) = (bench.counters.scans[0].cycles.get(), good_of(&samples, 100));
    assert!(beside * 100 >= scans * 99, "{beside} of {scans}");
}
