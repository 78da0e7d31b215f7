//! ReportFilter over TCP: of a block, of a unit as a whole, and those that ask for patience.

use std::cell::Cell;
use std::rc::Rc;

use super::line::unit_tag;
use super::*;
use crate::protocol::modbus::{ModbusAddress, Table};

fn covers(request: &[u8], register: u16) -> bool {
    let first = u16::from_be_bytes([request[8], request[9]]);
    let count = u16::from_be_bytes([request[10], request[11]]);
    (first..first + count).contains(&register)
}

fn refuses(code: u8, registers: &[u16]) -> Script {
    let registers = registers.to_vec();
    Box::new(move |request| {
        let is_refused = registers.iter().any(|register| covers(request, *register));
        vec![(MS / 10, if is_refused { exception(request, code) } else { honest(request) })]
    })
}

fn refuses_all(code: u8) -> Script {
    Box::new(move |request| vec![(MS / 10, exception(request, code))])
}

fn asked_since(bench: &Bench, since_ms: u64) -> usize {
    bench.requests.borrow().iter().filter(|(at, _)| *at >= since_ms * MS).count()
}

#[test]
fn a_register_that_is_refused_by_any_code_stands_alone_within_a_cycle() {
    for code in 1..=4 {
        for refused in [vec![0], vec![63], vec![99], vec![3, 50, 51, 98], (40..60).collect()] {
            let mut bench = bench(vec![((0..100).collect(), refuses(code, &refused))], None);
            bench.run_ms(3_000);
            let status = if code == 4 { Status::BAD_DEVICE_FAILURE } else { Status::BAD_CONFIGURATION_ERROR };
            for tag in 0..100 {
                let expected = if refused.contains(&tag) { status } else { Status::GOOD };
                assert_eq!(bench.status(usize::from(tag)), expected, "code {code}, tag {tag} of {refused:?}");
            }
            assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
            if refused.len() == 1 {
                let samples = bench.drain();
                let bad = samples.iter().filter(|sample| !sample.status().is_good()).count();
                assert_eq!(bad, 1, "code {code}: its neighbours have no bad sample, and it has one");
            }
        }
    }
}

#[test]
fn what_is_refused_is_asked_again_after_a_second_and_then_less_and_less() {
    let mut bench = bench(vec![((0..100).collect(), refuses(2, &[42]))], None);
    bench.run_ms(100_000);
    let alone = |(_, bytes): &&(u64, Vec<u8>)| bytes[8..12] == [0, 42, 0, 1];
    let asked: Vec<u64> = bench.requests.borrow().iter().filter(alone).map(|(at, _)| at / MS / 1000).collect();
    assert_eq!(asked, [0, 1, 3, 7, 15, 31, 61, 91]);
    bench.device(0).script = Some(good());
    bench.run_ms(31_000);
    assert_eq!(bench.status(42), Status::GOOD);
    let before = bench.requests.borrow().len();
    bench.run_ms(1_000);
    assert_eq!(bench.requests.borrow().len() - before, 100, "in one block again");
}

#[test]
fn the_largest_block_that_a_unit_takes_is_remembered() {
    let short: Script =
        Box::new(|request| vec![(MS / 10, if request[11] > 30 { exception(request, 3) } else { honest(request) })]);
    let mut bench = bench(vec![((0..100).collect(), short)], None);
    bench.run_ms(100);
    assert!((0..100).all(|tag| bench.status(tag) == Status::GOOD));
    assert!(bench.drain().iter().all(|sample| sample.status().is_good()));
    let samples = bench.run_for_samples(100_000);
    let exceptions = bench.counters.links[0].exceptions.get();
    // The whole and both halves at first, then the halves with growing pauses.
    assert!((10..=22).contains(&exceptions), "{exceptions}");
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    let of_first = samples.iter().filter(|sample| sample.tag == 0).count();
    assert_eq!(of_first, 10_000, "each cycle, also those in which the whole was tried");
    bench.device(0).script = Some(good());
    bench.run_ms(62_000);
    let before = bench.requests.borrow().len();
    bench.run_ms(1_000);
    assert_eq!(bench.requests.borrow().len() - before, 100, "the whole is taken again");
}

#[test]
fn what_was_learned_outlives_a_connection_that_is_made_anew_at_once() {
    let mut bench = bench(vec![((0..100).collect(), refuses(2, &[42]))], None);
    bench.run_ms(500);
    let exceptions = bench.counters.links[0].exceptions.get();
    bench.device(0).closed = true;
    bench.run_ms(11);
    assert!(bench.closed.pop().is_ok());
    bench.device(0).closed = false;
    bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
    bench.run_ms(300);
    assert_eq!(bench.counters.links[0].exceptions.get(), exceptions);
    assert_eq!((bench.status(41), bench.status(42)), (Status::GOOD, Status::BAD_CONFIGURATION_ERROR));
}

#[test]
fn what_was_learned_outlives_a_change_of_plan() {
    let mut bench = bench(vec![((0..100).collect(), refuses(2, &[42]))], None);
    bench.run_ms(500);
    let exceptions = bench.counters.link(LinkId(0)).exceptions.get();
    bench.config.tags.push(tag(0, 500));
    bench.change(1);
    drop(bench.adopted());
    bench.run_ms(300);
    assert_eq!(bench.counters.link(LinkId(0)).exceptions.get(), exceptions);
    let [well, refused, new] = ["plc0.r41", "plc0.r42", "plc0.r500"].map(|name| bench.status(bench.id_of(name)));
    assert_eq!([well, refused, new], [Status::GOOD, Status::BAD_CONFIGURATION_ERROR, Status::GOOD]);
}

#[test]
fn a_unit_that_fails_as_a_whole_is_not_torn_apart_and_is_read_in_the_cycle_in_which_it_is_well() {
    let mut bench = bench(vec![([0..100, 300..400, 600..700].into_iter().flatten().collect(), good())], None);
    bench.run_ms(1_000);
    bench.device(0).script = Some(refuses_all(4));
    bench.run_ms(60_000);
    let tags = 0..300;
    assert!(tags.clone().all(|tag| bench.status(tag) == Status::BAD_DEVICE_FAILURE));
    let (asked, cycles) = (asked_since(&bench, 1_000), 6_000);
    // Three blocks a cycle, and single values with growing pauses.
    assert!((3 * cycles..3 * cycles + 60).contains(&asked), "{asked}");
    bench.device(0).script = Some(good());
    bench.run_ms(20);
    assert!(tags.clone().all(|tag| bench.status(tag) == Status::GOOD));
    let before = bench.requests.borrow().len();
    bench.run_ms(1_000);
    assert_eq!(bench.requests.borrow().len() - before, 300);
}

#[test]
fn a_device_that_boots_is_asked_little_and_is_good_soon_after() {
    for (boot_ms, code) in [(3_000, 2), (3_000, 1), (10_000, 2), (700, 3)] {
        let booting: Script = refuses_all(code);
        let mut bench = bench(vec![((0..100).collect(), booting)], None);
        bench.run_ms(boot_ms);
        assert!((0..100).all(|tag| bench.status(tag) == Status::BAD_CONFIGURATION_ERROR));
        assert!(asked_since(&bench, 0) <= 12, "{}", asked_since(&bench, 0));
        bench.device(0).script = Some(good());
        bench.run_ms(boot_ms + 1_000);
        assert!((0..100).all(|tag| bench.status(tag) == Status::GOOD), "{boot_ms}");
    }
}

#[test]
fn a_table_that_a_unit_has_not_is_not_asked_for_value_by_value() {
    let input = |register| {
        let mut tag = unit_tag(1, register);
        tag.name = format!("input{register}");
        let Some(address) = tag.address.get_mut::<ModbusAddress>() else { unreachable!() };
        address.table = Table::InputRegisters;
        tag
    };
    let tags = (0..100).map(|register| unit_tag(1, register)).chain((0..100).map(input)).collect();
    let no_inputs: Script =
        Box::new(|request| vec![(MS / 10, if request[7] == 4 { exception(request, 1) } else { honest(request) })]);
    let mut bench = bench_of(&tcp_config(), vec![(tags, no_inputs)], None);
    bench.run_ms(100_000);
    let refused = bench.counters.links[0].exceptions.get();
    assert!(refused <= 30, "{refused}");
    for tag in 0..200 {
        let expected = if tag < 100 { Status::GOOD } else { Status::BAD_CONFIGURATION_ERROR };
        assert_eq!(bench.status(tag), expected);
    }
}

#[test]
fn the_few_values_of_a_block_that_are_served_are_found_in_the_end() {
    for code in [2, 4] {
        // Single values tell little where most are refused.
        let refused: Vec<u16> = (0..100).filter(|register| !(70..80).contains(register)).collect();
        let mut bench = bench(vec![((0..100).collect(), refuses(code, &refused))], None);
        bench.run_ms(1_500_000);
        assert!((70..80).all(|tag| bench.status(tag) == Status::GOOD), "code {code}");
    }
}

#[test]
fn a_busy_device_is_asked_again_within_the_cycle_and_its_values_stay_good() {
    for code in [5, 6] {
        let mut asked = 0;
        let busy: Script = Box::new(move |request| {
            asked += 1;
            vec![(MS / 10, if asked % 3 == 0 { exception(request, code) } else { honest(request) })]
        });
        let mut bench = bench(vec![(vec![7, 500], busy)], None);
        bench.run_ms(10_000);
        assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
        let samples = bench.drain();
        assert!(samples.iter().all(|sample| sample.status().is_good()));
        assert_eq!(samples.len(), 2_000);
    }
}

#[test]
fn a_busy_device_is_uncertain_only_when_it_goes_on_and_is_good_at_once_when_it_ends() {
    let is_busy = Rc::new(Cell::new(false));
    let busy = is_busy.clone();
    let script: Script = Box::new(move |request| {
        vec![(MS / 10, if busy.get() && request[6] == 1 { exception(request, 6) } else { honest(request) })]
    });
    let mut bench = bench_of(&tcp_config(), vec![(vec![unit_tag(1, 7), unit_tag(2, 7)], script)], None);
    bench.run_ms(100);
    is_busy.set(true);
    bench.run_ms(25);
    assert_eq!(bench.status(0), Status::GOOD);
    bench.run_ms(2_000);
    assert_eq!(bench.status(0), Status::UNCERTAIN_LAST_USABLE);
    let asked = bench.counters.links[0].exceptions.get();
    assert!(asked <= 14, "{asked}: it is asked less and less");
    is_busy.set(false);
    bench.run_ms(1_100);
    assert_eq!(bench.status(0), Status::GOOD);
    let samples = bench.drain();
    let beside = samples.iter().filter(|sample| sample.tag == 1 && sample.status().is_good()).count() as u64;
    assert_eq!(beside, bench.counters.scans[0].cycles.get(), "the unit beside it loses nothing");
}

#[test]
fn a_device_that_is_busy_from_the_start_leaves_no_tag_without_a_status() {
    let mut bench = bench(vec![((0..20).collect(), refuses_all(6))], None);
    bench.run_ms(1_000);
    assert!((0..20).all(|tag| bench.status(tag) == Status::BAD_NO_COMMUNICATION));
    assert!(bench.drain().iter().all(Sample::has_no_value));
}
