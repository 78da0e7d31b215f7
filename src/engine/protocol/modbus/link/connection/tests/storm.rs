//! As many writes as there can be: no scan misses a cycle for them.

use super::line::rtu_config;
use super::write::{Shared, device, register, tcp, writable};
use super::*;
use crate::protocol::modbus::{ModbusAddress, ModbusConfig, ModbusTransport, Table};

/// What two seconds of a storm of writes made of a link's scan: cycles that were missed, and writes that were done. The
/// device takes `after` for each reply.
fn storm(
    config: &ModbusConfig,
    tags: &[TagConfig],
    lacks: &[u8],
    after: u64,
    spaced: Option<Nanos>,
) -> (u64, u64, Bench) {
    let memory = Shared::default();
    memory.borrow_mut().lacks.extend(lacks);
    let mut bench = bench_with(config, vec![(tags.to_vec(), device(&memory, after))], None, spaced);
    bench.run_ms(20);
    let mut done = 0;
    for round in 0..2_000u64 {
        let address = tags[round as usize % tags.len()].address.get::<ModbusAddress>().unwrap();
        let is_bit = matches!(address.field, FieldType::RegisterBit(_));
        while bench.orders.slots() > 250 {
            let value = if is_bit { Value::Bool(round % 2 == 0) } else { Value::Uint(round % 1000) };
            bench.order(address.first, value, 400, round % 3 == 0);
        }
        bench.run_ms(1);
        for answer in bench.answered() {
            use WriteOutcome::{Busy, Done, NotReadBack, NotSent};
            assert!(matches!(answer.outcome, Done | Busy | NotSent | NotReadBack), "{answer:?}");
            done += u64::from(answer.outcome == Done);
        }
    }
    let scan = &bench.counters.scans[0];
    (scan.deadline_misses.get() + scan.skipped.get(), done, bench)
}

#[test]
fn a_storm_of_writes_loses_no_cycle_of_a_link_whose_scans_take_most_of_its_time() {
    // Five reads of 1.5 ms in a cycle of 10 ms: with a write before each they would take 15 ms.
    let tags: Vec<TagConfig> = (0..5).map(|at| register(at * 300)).collect();
    for (pipeline, after) in [(1, 1_500_000), (4, 3_000_000)] {
        let config = ModbusConfig { reply_expected: Nanos(after), ..tcp(pipeline) };
        let (missed, done, bench) = storm(&config, &tags, &[], after, Some(Nanos::from_millis(PERIOD_MS)));
        let spacing = bench.plan.links[LinkId(0)].write_spacing;
        println!("pipeline {pipeline}: {done} writes in 2 s, {spacing:?} apart");
        assert_eq!(missed, 0, "pipeline {pipeline}");
        assert!(done > 50 && done <= 2_020_000_000 / spacing.0 + 1, "{done} writes, {spacing:?}");
        let requests = bench.requests.borrow();
        let begun: Vec<u64> = requests.iter().filter(|(_, bytes)| bytes[7] > 4).map(|(at, _)| *at).collect();
        assert!(begun.windows(2).all(|pair| pair[1] - pair[0] >= spacing.0), "the spacing is kept");
        if pipeline == 1 {
            let (missed, ..) = storm(&config, &tags, &[], after, None);
            assert!(missed > 50, "without the spacing cycles are lost: {missed}");
        }
    }
}

#[test]
fn a_storm_on_a_serial_line_loses_no_cycle_also_where_registers_are_read_and_written_back() {
    let ModbusTransport::Serial(serial) = rtu_config().transport else { panic!() };
    let transport = ModbusTransport::Serial(SerialConfig { baud_rate: 1_000_000, ..serial });
    // With silences of 1.75 ms before and behind its reply, an exchange takes some 3.7 ms: two reads 74 % of 10 ms, and a
    // register that is read and written back as long.
    let config = ModbusConfig { transport, ..rtu_config() };
    let mut tags: Vec<TagConfig> = [0, 300].map(register).to_vec();
    tags.push(writable(Table::HoldingRegisters, 2, 1, FieldType::RegisterBit(3)));
    for lacks in [&[][..], &[6, 22]] {
        let period = Nanos::from_millis(20);
        let (missed, done, bench) = storm(&config, &tags, lacks, 1_900_000, Some(period));
        let spacing = bench.plan.links[LinkId(0)].write_spacing;
        println!("without {lacks:?}: {done} writes in 2 s, {spacing:?} apart");
        assert_eq!(missed, 0, "{lacks:?}");
        assert!(done > 20, "{done}");
    }
}
