//! Which function a write is done with: by key, and by another where the first is refused.

use super::write::{Memory, Shared, answer_to, device, register, tcp, writable};
use super::*;
use crate::protocol::modbus::Table;

fn with(function: u8, mut tag: TagConfig) -> TagConfig {
    tag.write.as_mut().unwrap().function = Some(function);
    tag
}

fn bench(tags: Vec<TagConfig>, memory: &Shared) -> Bench {
    bench_of(&tcp(1), vec![(tags, device(memory, MS))], None)
}

fn coil() -> TagConfig {
    writable(Table::Coils, 3, 1, FieldType::Bit)
}

fn bit() -> TagConfig {
    writable(Table::HoldingRegisters, 50, 1, FieldType::RegisterBit(12))
}

fn writes(memory: &Shared) -> Vec<u8> {
    let asked = std::mem::take(&mut memory.borrow_mut().asked);
    asked.into_iter().map(|(function, _)| function).filter(|function| ![1, 3].contains(function)).collect()
}

/// Refuses these functions with this exception; `None`: everything is done.
fn refusing(memory: &Shared, functions: &'static [u8], code: u8) -> Script {
    let memory = memory.clone();
    Box::new(move |request| {
        if functions.contains(&request[7]) {
            memory.borrow_mut().asked.push((request[7], 0));
            return vec![(MS, exception(request, code))];
        }
        vec![(MS, answer_to(&memory, request))]
    })
}

#[test]
fn a_tag_is_written_with_the_function_that_its_key_names() {
    let two = |function| with(function, writable(Table::HoldingRegisters, 30, 2, FieldType::Float32));
    for (tag, at, value, functions) in [
        (with(5, coil()), 3, Value::Bool(true), vec![5]),
        (with(15, coil()), 3, Value::Bool(true), vec![15]),
        (with(6, register(20)), 20, Value::Uint(7), vec![6]),
        (with(16, register(20)), 20, Value::Uint(7), vec![16]),
        (two(16), 30, Value::Float32(1.5), vec![16]),
        (with(22, bit()), 50, Value::Bool(true), vec![22]),
        (with(6, bit()), 50, Value::Bool(true), vec![6]),
        (with(16, bit()), 50, Value::Bool(true), vec![16]),
    ] {
        let memory = Shared::default();
        let mut bench = bench(vec![tag], &memory);
        bench.run_ms(100);
        memory.borrow_mut().asked.clear();
        assert_eq!(bench.outcome(at, value), WriteOutcome::Done);
        assert_eq!(writes(&memory), functions);
        let held = memory.borrow();
        let is_there = match at {
            3 => held.coils[&3],
            20 => held.register(20) == 7,
            30 => held.register(30) == 0x3FC0,
            // The other bits stay.
            _ => held.register(50) == 50 | 1 << 12,
        };
        assert!(is_there, "{at}: {functions:?}");
    }
}

#[test]
fn a_refusal_that_can_mean_the_function_is_answered_by_the_other_one_and_that_is_remembered() {
    for code in [1, 2, 3] {
        let memory = Shared::default();
        let mut bench =
            bench_of(&tcp(1), vec![(vec![coil(), register(20), register(21)], refusing(&memory, &[5, 6], code))], None);
        bench.run_ms(100);
        writes(&memory);
        assert_eq!(bench.outcome(20, Value::Uint(42)), WriteOutcome::Done, "{code}");
        assert_eq!(bench.outcome(21, Value::Uint(43)), WriteOutcome::Done);
        assert_eq!(bench.outcome(3, Value::Bool(true)), WriteOutcome::Done);
        assert_eq!(bench.outcome(3, Value::Bool(false)), WriteOutcome::Done);
        assert_eq!(writes(&memory), [6, 16, 16, 5, 15, 15], "by exception {code}");
        assert_eq!((memory.borrow().register(20), memory.borrow().register(21)), (42, 43));
        assert!(!memory.borrow().coils[&3]);
    }
}

#[test]
fn what_both_functions_are_refused_is_told_as_the_first_was_and_teaches_nothing() {
    let memory = Shared::default();
    memory.borrow_mut().refused.insert(20);
    let mut bench = bench(vec![register(20), register(21)], &memory);
    bench.run_ms(100);
    writes(&memory);
    assert_eq!(bench.outcome(20, Value::Uint(42)), WriteOutcome::Refused(2));
    assert_eq!(bench.outcome(21, Value::Uint(42)), WriteOutcome::Done);
    assert_eq!(writes(&memory), [6, 16, 6], "the function itself is there");
    // A unit without the second function says 01 to it: what the first said counts.
    memory.borrow_mut().lacks.insert(16);
    assert_eq!(bench.outcome(20, Value::Uint(42)), WriteOutcome::Refused(2));
}

#[test]
fn what_may_have_been_done_is_not_done_again_by_another_function() {
    for code in [4, 5, 6, 7, 10, 11] {
        let memory = Shared::default();
        let mut bench = bench_of(&tcp(1), vec![(vec![register(20)], refusing(&memory, &[6], code))], None);
        bench.run_ms(100);
        writes(&memory);
        assert_eq!(bench.outcome(20, Value::Uint(42)), WriteOutcome::Refused(code.into()));
        assert_eq!(writes(&memory), [6], "exception {code}");
    }
    // No reply at all.
    let memory = Shared::default();
    let asked = memory.clone();
    let script: Script = Box::new(move |request| {
        if request[7] == 6 {
            asked.borrow_mut().asked.push((6, 0));
            return vec![];
        }
        vec![(MS, answer_to(&asked, request))]
    });
    let mut bench = bench_of(&tcp(1), vec![(vec![register(20)], script)], None);
    bench.run_ms(100);
    writes(&memory);
    assert_eq!(bench.outcome(20, Value::Uint(42)), WriteOutcome::NoReply);
    bench.run_ms(1_000);
    assert_eq!(writes(&memory), [6]);
}

#[test]
fn a_mask_write_by_key_is_one_step_or_none_and_without_key_the_register_is_read_and_written_back() {
    for code in [1, 2, 3] {
        let run = |tag: TagConfig| {
            let memory = Shared::default();
            let mut bench = bench_of(&tcp(1), vec![(vec![tag], refusing(&memory, &[22], code))], None);
            bench.run_ms(100);
            writes(&memory);
            let outcome = bench.outcome(50, Value::Bool(true));
            (outcome, writes(&memory), memory.borrow().register(50))
        };
        assert_eq!(run(with(22, bit())), (WriteOutcome::Refused(code.into()), vec![22], 50));
        assert_eq!(run(bit()), (WriteOutcome::Done, vec![22, 6], 50 | 1 << 12));
    }
    // Nor does a broadcast or a default know of what was never asked.
    assert!(Memory::default().lacks.is_empty());
}
