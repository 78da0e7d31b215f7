//! What becomes of writes when something goes wrong: each has one answer in time, and nothing is sent afterwards.

use super::line::rtu_config;
use super::write::{Shared, answer_to, device, register, tcp, writable};
use super::*;
use crate::protocol::modbus::{ModbusAddress, ModbusConfig, ModbusTransport, Table};

/// One writable register at 20, over TCP, on a device that answers after 1 ms.
fn one(memory: &Shared) -> Bench {
    let mut bench = bench_of(&tcp(1), vec![(vec![register(20)], device(memory, MS))], None);
    bench.run_ms(20);
    bench
}

/// When each write was put on the wire.
fn writes_sent(bench: &Bench) -> Vec<u64> {
    bench.requests.borrow().iter().filter(|(_, bytes)| bytes[7] > 4).map(|(t, _)| *t).collect()
}

#[test]
fn a_confirmation_of_something_else_is_a_wrong_reply() {
    let memory = Shared::default();
    let mut bench = one(&memory);
    let script: Script = Box::new(move |request| {
        let mut reply = answer_to(&memory, request);
        let last = reply.len() - 1;
        reply[last] ^= u8::from(request[7] == 6);
        vec![(MS, reply)]
    });
    bench.device(0).script = Some(script);
    assert_eq!(bench.outcome(20, Value::Uint(1)), WriteOutcome::WrongReply);
    bench.run_ms(50);
    assert_eq!(bench.status(0), Status::GOOD, "the reads go on");
}

#[test]
fn a_reply_of_another_unit_or_function_is_not_taken_for_the_confirmation() {
    let memory = Shared::default();
    let mut bench = one(&memory);
    let script: Script = Box::new(move |request| {
        let reply = answer_to(&memory, request);
        if request[7] != 6 {
            return vec![(MS, reply)];
        }
        let (mut unit, mut function) = (reply.clone(), reply.clone());
        unit[6] = 9;
        function[7] = 5;
        vec![(MS, unit), (2 * MS, function), (3 * MS, reply)]
    });
    bench.device(0).script = Some(script);
    assert_eq!(bench.outcome(20, Value::Uint(1)), WriteOutcome::Done);
    assert_eq!(bench.counters.link(LinkId(0)).foreign.get(), 2);
}

#[test]
fn a_silent_unit_fails_a_write_in_bounded_time_and_the_next_at_once() {
    let memory = Shared::default();
    let quiet = |memory: &Shared| -> Script {
        let memory = memory.clone();
        Box::new(move |request| if request[6] == 1 { vec![(MS, answer_to(&memory, request))] } else { vec![] })
    };
    let mut away = register(90);
    let Some(address) = away.address.get_mut::<ModbusAddress>() else { unreachable!() };
    address.unit = UnitId(2);
    let mut bench = bench_of(&tcp(2), vec![(vec![register(20), away], quiet(&memory))], None);
    let before = bench.now();
    let id = bench.order(90, Value::Uint(1), 500, false);
    bench.run_ms(60);
    let answers = bench.answered();
    assert_eq!((answers.len(), answers[0].id, answers[0].outcome), (1, id, WriteOutcome::NoReply));
    // The link's timeout is 30 ms, and a read may go first.
    assert!(answers[0].at.0 - before < 45 * MS, "{answers:?}");
    bench.run_ms(2_000);
    assert_eq!(bench.status(1), Status::BAD_NO_COMMUNICATION);
    let sent = writes_sent(&bench).len();
    // Its next probe is further away than the deadline.
    let mut failed_at_once = 0;
    for _ in 0..40 {
        let now = bench.now();
        bench.order(90, Value::Uint(2), 100, false);
        bench.run_ms(200);
        let answers = bench.answered();
        assert_eq!(answers.len(), 1);
        match answers[0].outcome {
            WriteOutcome::NotSent => failed_at_once += u32::from(answers[0].at.0 - now < 21 * MS),
            WriteOutcome::NoReply => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(failed_at_once > 25, "{failed_at_once}");
    assert!(writes_sent(&bench).len() - sent < 10, "a dead unit's writes do not fill the line");
    assert_eq!(bench.outcome(20, Value::Uint(5)), WriteOutcome::Done, "the other unit does not notice");
    // It is there again: found by a probe, be it a read or a write.
    bench.device(0).script = Some(device(&memory, MS));
    bench.run_ms(16_000);
    assert_eq!(bench.outcome(90, Value::Uint(7)), WriteOutcome::Done);
    assert_eq!(memory.borrow().register(90), 7);
}

#[test]
fn a_write_goes_out_as_the_probe_of_a_silent_unit() {
    let memory = Shared::default();
    // Scanned each second, so that the write comes before the next read.
    let ModbusTransport::Serial(_) = rtu_config().transport else { panic!() };
    let mut bench = bench_of(&rtu_config(), vec![(vec![register(20)], silent())], None);
    bench.run_ms(1_200);
    assert_eq!(bench.counters.link(LinkId(0)).state(), LinkState::Silent);
    bench.device(0).script = Some(device(&memory, MS));
    // A scan's read takes the probe at a release; what is ordered just after its time has come takes it instead.
    bench.order(20, Value::Uint(7), 15_000, false);
    bench.run_ms(15_000);
    let answers = bench.answered();
    assert_eq!((answers.len(), answers[0].outcome), (1, WriteOutcome::Done));
    assert_eq!(memory.borrow().register(20), 7);
}

#[test]
fn a_write_that_waits_too_long_is_never_sent() {
    let memory = Shared::default();
    // A read takes 25 ms, and there are many.
    let tags: Vec<TagConfig> = [20, 300, 600].map(register).to_vec();
    let mut bench = bench_of(&tcp(1), vec![(tags, device(&memory, 25 * MS))], None);
    bench.run_ms(55);
    let ids: Vec<u64> = (0..8).map(|i| bench.order(20, Value::Uint(i), 100, false)).collect();
    let deadline = bench.now() + 100 * MS;
    bench.run_ms(105);
    let answers = bench.answered();
    assert_eq!(answers.len(), 8, "all are answered");
    assert!(ids.iter().all(|id| answers.iter().filter(|answer| answer.id == *id).count() == 1));
    assert!(answers.iter().all(|answer| answer.at.0 <= deadline + MS));
    let not_sent = answers.iter().filter(|answer| answer.outcome == WriteOutcome::NotSent).count();
    let sent = writes_sent(&bench);
    assert!(not_sent >= 4 && sent.len() == 8 - not_sent, "{not_sent} were not sent, {} were", sent.len());
    bench.run_ms(1_000);
    assert_eq!(writes_sent(&bench), sent, "nothing later");
    assert!(sent.iter().all(|t| *t < deadline));
}

#[test]
fn a_deadline_before_the_timeout_is_kept_and_the_late_reply_is_nobodys() {
    for read_back in [false, true] {
        let memory = Shared::default();
        let mut bench = one(&memory);
        bench.device(0).script = Some(device(&memory, 25 * MS));
        let start = bench.now();
        bench.order(20, Value::Uint(3), 12, read_back);
        bench.run_ms(13);
        let answers = bench.answered();
        assert_eq!(answers.len(), 1);
        assert!(matches!(answers[0].outcome, WriteOutcome::NoReply | WriteOutcome::NotSent), "{answers:?}");
        assert!(answers[0].at.0 <= start + 12 * MS + 100_000);
        bench.device(0).script = Some(device(&memory, MS));
        bench.run_ms(200);
        assert!(bench.answered().is_empty());
        assert_eq!(bench.status(0), Status::GOOD);
        assert_eq!(bench.outcome(20, Value::Uint(4)), WriteOutcome::Done);
    }
}

#[test]
fn without_a_connection_a_write_fails_at_once() {
    let memory = Shared::default();
    let mut bench = one(&memory);
    bench.device(0).closed = true;
    bench.run_ms(20);
    assert_eq!(bench.outcome(20, Value::Uint(1)), WriteOutcome::NoConnection);
    bench.device(0).closed = false;
    bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
    bench.run_ms(30);
    assert_eq!(memory.borrow().registers.len(), 0, "it was not kept for later");
    assert_eq!(bench.outcome(20, Value::Uint(1)), WriteOutcome::Done);
}

#[test]
fn a_lost_connection_answers_the_write_under_way_and_those_that_wait() {
    let memory = Shared::default();
    let mut bench = one(&memory);
    bench.device(0).script = Some(silent());
    bench.run_ms(15);
    for i in 0..3 {
        bench.order(20, Value::Uint(i), 500, false);
    }
    // The read in flight gives way after its 30 ms; the first write is then on the wire.
    bench.run_ms(35);
    assert!(bench.answered().is_empty());
    assert_eq!(writes_sent(&bench).len(), 1);
    bench.device(0).closed = true;
    bench.run_ms(20);
    let outcomes: Vec<WriteOutcome> = bench.answered().iter().map(|answer| answer.outcome).collect();
    assert_eq!(outcomes, [WriteOutcome::Lost, WriteOutcome::NoConnection, WriteOutcome::NoConnection]);
}

#[test]
fn what_a_choked_connection_did_not_take_in_time_is_taken_back() {
    let memory = Shared::default();
    let mut bench = one(&memory);
    bench.run_ms(2);
    bench.device(0).takes = Some(0);
    // It comes before the next release, and so before the next read.
    let deadline = bench.now() + 15 * MS;
    bench.order(20, Value::Uint(1), 15, false);
    bench.run_ms(17);
    let answers = bench.answered();
    assert_eq!((answers.len(), answers[0].outcome), (1, WriteOutcome::NotSent));
    assert!(answers[0].at.0 <= deadline + MS);
    bench.device(0).takes = None;
    bench.run_ms(200);
    assert_eq!(memory.borrow().registers.len(), 0, "it never came");
    assert_eq!(bench.counters.link(LinkId(0)).disconnects.get(), 0);
    assert_eq!(bench.status(0), Status::GOOD);
}

#[test]
fn a_write_that_waits_for_the_socket_through_a_stall_never_leaves() {
    for stall_from in (0..25).map(|ms| ms * MS) {
        let memory = Shared::default();
        let mut bench = one(&memory);
        bench.run_ms(2);
        bench.device(0).takes = Some(0);
        bench.order(20, Value::Uint(1), 15, false);
        bench.run_ms(1);
        bench.device(0).takes = None;
        bench.executor.floor_for_test().world.stall = Some((bench.now() + stall_from, 100 * MS));
        bench.run_ms(300);
        let answers = bench.answered();
        assert_eq!(answers.len(), 1);
        let written = memory.borrow().registers.len();
        let in_time = answers[0].outcome == WriteOutcome::Done;
        assert_eq!(written, usize::from(in_time), "{:?}, stalled after {stall_from} ns", answers[0].outcome);
    }
}

#[test]
fn half_a_write_at_its_deadline_ends_the_connection() {
    // Taken in part by the socket; or all of it, but not by the device.
    for (takes, unsent) in [(Some(5), 0), (None, 12)] {
        let memory = Shared::default();
        let mut bench = one(&memory);
        bench.run_ms(2);
        let device = bench.device(0);
        (device.takes, device.unsent, device.script) = (takes, unsent, Some(silent()));
        bench.order(20, Value::Uint(1), 15, false);
        bench.run_ms(17);
        let answers = bench.answered();
        assert_eq!((answers.len(), answers[0].outcome), (1, WriteOutcome::Lost), "{takes:?}");
        let closed = bench.closed.pop().unwrap();
        assert_eq!(closed.reason, CloseReason::Silent);
        assert!(bench.device(0).aborted, "so that the rest is not delivered later");
    }
    // But not a reply that is merely late.
    let memory = Shared::default();
    let mut bench = one(&memory);
    bench.run_ms(2);
    bench.device(0).script = Some(silent());
    bench.order(20, Value::Uint(1), 15, false);
    bench.run_ms(17);
    assert_eq!(bench.answered()[0].outcome, WriteOutcome::NoReply);
    assert!(bench.closed.pop().is_err());
}

#[test]
fn more_writes_than_a_link_holds_are_refused_at_once() {
    let memory = Shared::default();
    let mut bench = one(&memory);
    bench.device(0).script = Some(device(&memory, 20 * MS));
    for i in 0..40 {
        bench.order(20, Value::Uint(i), 450, false);
    }
    bench.run_ms(20);
    let busy = bench.answered().iter().filter(|answer| answer.outcome == WriteOutcome::Busy).count();
    assert!((20..=24).contains(&busy), "{busy}");
    bench.run_ms(500);
    assert_eq!(bench.answered().len() + busy, 40);
}

#[test]
fn an_order_of_another_plan_or_for_nothing_is_refused() {
    let memory = Shared::default();
    let mut bench = one(&memory);
    bench.generation = 1;
    assert_eq!(bench.outcome(20, Value::Uint(1)), WriteOutcome::PlanChanged, "a plan that is not yet here");
    bench.generation = 0;
    bench.config.tags.push(register(300));
    let _ring = bench.change(1);
    drop(bench.adopted());
    assert_eq!(bench.outcome(20, Value::Uint(1)), WriteOutcome::PlanChanged, "a plan that is no longer here");
    bench.generation = 1;
    assert_eq!(bench.outcome(20, Value::Uint(1)), WriteOutcome::Done);
    let order = WriteOrder {
        id: 9,
        link: LinkId(0),
        slot: 77,
        generation: 1,
        deadline: Nanos::NEVER,
        read_back: false,
        payload: WritePayload::default(),
    };
    bench.orders.push(order).unwrap();
    bench.orders.push(WriteOrder { id: 10, slot: 0, ..order }).unwrap();
    bench.orders.push(WriteOrder { id: 11, link: LinkId(5), ..order }).unwrap();
    bench.run_ms(100);
    let answers: Vec<_> = bench.answered().iter().map(|answer| (answer.id, answer.outcome)).collect();
    assert_eq!(
        answers,
        [(9, WriteOutcome::NotWritable), (10, WriteOutcome::NotWritable), (11, WriteOutcome::PlanChanged)],
        "an unknown place, a payload that is none, a link that is not there"
    );
}

#[test]
fn a_change_of_plan_answers_what_is_under_way_and_its_late_reply_is_nobodys() {
    let memory = Shared::default();
    // Slow answers: the link is never idle, so the change comes while something is in flight.
    let mut bench = bench_of(&tcp(1), vec![(vec![register(20)], device(&memory, 9_990_000))], None);
    bench.run_ms(50);
    let mut answers = Vec::new();
    let mut ordered = 0;
    bench.config.tags.push(register(500));
    let _ring = bench.change(1);
    for i in 0..400 {
        if i % 5 == 0 {
            bench.order(20, Value::Uint(i), 60, false);
            ordered += 1;
        }
        bench.run_ms(1);
        answers.extend(bench.answered());
        if bench.adopted.pop().is_ok() {
            break;
        }
    }
    bench.run_ms(200);
    answers.extend(bench.answered());
    assert_eq!(answers.len(), ordered);
    let of = |outcome| answers.iter().filter(|answer| answer.outcome == outcome).count();
    assert!(of(WriteOutcome::Done) > 2 && of(WriteOutcome::PlanChanged) + of(WriteOutcome::NoReply) > 0, "{answers:?}");
    let link = bench.counters.link(LinkId(0));
    assert_eq!((link.foreign.get(), link.disconnects.get()), (0, 0));
    bench.generation = 1;
    assert_eq!(bench.outcome(500, Value::Uint(1)), WriteOutcome::Done);
}

#[test]
fn the_end_of_the_executor_answers_all() {
    let memory = Shared::default();
    let mut bench = one(&memory);
    bench.device(0).script = Some(silent());
    for i in 0..30 {
        bench.order(20, Value::Uint(i), 500, false);
    }
    bench.run_ms(2);
    bench.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    bench.executor.run();
    let answers = bench.answered();
    assert_eq!(answers.len(), 30);
    assert!(answers.iter().all(|answer| !answer.outcome.is_done()));
}

#[test]
fn a_broadcast_is_sent_to_all_and_the_line_waits_for_them() {
    let memory = Shared::default();
    let mut all = register(20);
    let Some(address) = all.address.get_mut::<ModbusAddress>() else { unreachable!() };
    address.unit = UnitId(0);
    let tags = vec![all, register(90), writable(Table::Coils, 3, 1, FieldType::Bit)];
    let mut bench = bench_of(&rtu_config(), vec![(tags, device(&memory, 2 * MS))], None);
    bench.run_ms(50);
    let answer = bench.write(20, Value::Uint(77), true);
    assert_eq!(answer.outcome, WriteOutcome::Unconfirmed);
    assert!(answer.outcome.is_done() && answer.outcome.is_unknown());
    bench.run_ms(300);
    assert_eq!(memory.borrow().register(20), 77);
    let requests = bench.requests.borrow();
    let to_all: Vec<usize> = (0..requests.len()).filter(|at| requests[*at].1[0] == 0).collect();
    assert_eq!(to_all.len(), 1, "it is not read");
    let (at, next) = (requests[to_all[0]].0, requests[to_all[0] + 1].0);
    // Eight characters of 11 bits at 115200 baud, and the pause.
    assert!((100 * MS..103 * MS).contains(&(next - at)), "{}", next - at);
    assert_eq!(bench.counters.link(LinkId(0)).timeouts.get(), 0);
}

#[test]
fn a_broken_confirmation_on_a_line_is_a_wrong_reply() {
    let memory = Shared::default();
    let mut bench = bench_of(&rtu_config(), vec![(vec![register(20)], device(&memory, 2 * MS))], None);
    bench.run_ms(30);
    let other = memory.clone();
    let script: Script = Box::new(move |request| {
        let mut reply = answer_to(&other, request);
        reply[3] ^= u8::from(request[1] == 6);
        vec![(2 * MS, reply)]
    });
    bench.device(0).script = Some(script);
    assert_eq!(bench.outcome(20, Value::Uint(1)), WriteOutcome::WrongReply);
    assert_eq!(bench.counters.link(LinkId(0)).crc_errors.get(), 1);
}

/// Silence, late replies, half replies, broken replies; else the right one.
fn troubled(memory: &Shared, mut rng: fastrand::Rng) -> Script {
    let memory = memory.clone();
    Box::new(move |request| {
        let after = rng.u64(MS / 2..4 * MS);
        let mut reply = answer_to(&memory, request);
        match rng.u8(0..12) {
            0 => vec![],
            1 => vec![(rng.u64(20 * MS..80 * MS), reply)],
            2 => {
                reply.truncate(rng.usize(..reply.len()));
                vec![(after, reply)]
            }
            3 => {
                let last = reply.len() - 3;
                reply[last] ^= 1;
                vec![(after, reply)]
            }
            _ => vec![(after, reply)],
        }
    })
}

/// What each order writes: no two the same, and nothing that a register holds from the start.
fn value_of(id: u64) -> u16 {
    1_000 + id as u16
}

/// Whatever the device does, each order has one answer in time; nothing is sent after its deadline, or that was answered
/// as not sent; and what was done is held by the device.
#[test]
fn every_order_has_one_answer_in_time_whatever_the_device_does() {
    let mut met = [Vec::new(), Vec::new()];
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let memory = Shared::default();
        let config = if seed % 3 == 0 { rtu_config() } else { tcp(1 + (seed % 4) as u8) };
        let tags = [20, 300].map(register).to_vec();
        // A full line has no place for a spacing.
        let spaced = (seed % 3 == 1).then_some(Nanos::from_millis(PERIOD_MS));
        let mut bench = bench_with(&config, vec![(tags, troubled(&memory, rng.fork()))], None, spaced);
        let (mut open, mut deadlines, mut outcomes) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        for _ in 0..600 {
            if rng.u8(..3) == 0 {
                let (at, within, id) = ([20, 300][rng.usize(..2)], rng.u64(1..120), deadlines.len() as u64);
                bench.next_id = Some(id);
                deadlines.push(bench.now() + within * MS);
                bench.order(at, Value::Uint(value_of(id).into()), within, rng.bool());
                open.insert(id, ());
            }
            if rng.u8(..200) == 0 {
                bench.device(0).closed = true;
            }
            if let Ok(closed) = bench.closed.pop() {
                let device = bench.device(0);
                (device.closed, device.arrived) = (false, Vec::new());
                device.under_way.clear();
                bench.connected.push(Connected { link: LinkId(0), conn: closed.conn, target: 0 }).unwrap();
            }
            bench.run_ms(1);
            for WriteAnswer { id, outcome, at, .. } in bench.answered() {
                assert!(open.remove(&id).is_some(), "seed {seed}: a second answer");
                // An order is looked at when the executor wakes, which here nobody does for it.
                let looked_at = deadlines[id as usize] + PERIOD_MS * MS;
                assert!(at.0 <= looked_at, "seed {seed}: {outcome:?} at {at:?}");
                assert!(
                    outcome != WriteOutcome::Done || memory.borrow().written.contains(&value_of(id)),
                    "seed {seed}"
                );
                outcomes.insert(id, outcome);
            }
        }
        bench.run_ms(200);
        for answer in bench.answered() {
            assert!(open.remove(&answer.id).is_some(), "seed {seed}");
            outcomes.insert(answer.id, answer.outcome);
        }
        assert!(open.is_empty(), "seed {seed}: {open:?} without an answer");
        let mut sent = BTreeMap::new();
        for (t, bytes) in bench.requests.borrow().iter() {
            let pdu = if config.transport == rtu_config().transport { &bytes[1..] } else { &bytes[7..] };
            if pdu[0] == 6 {
                let id = u64::from(u16::from_be_bytes([pdu[3], pdu[4]]) - 1_000);
                assert!(*t < deadlines[id as usize], "seed {seed}: sent after its deadline");
                assert!(sent.insert(id, *t).is_none(), "seed {seed}: sent twice");
            }
        }
        for (id, outcome) in &outcomes {
            assert_eq!(outcome.was_sent(), sent.contains_key(id), "seed {seed}: {outcome:?}");
        }
        met[usize::from(seed % 3 == 0)].extend(outcomes.into_values());
    }
    for (met, on) in met.iter().zip(["TCP", "a line"]) {
        for wanted in [WriteOutcome::Done, WriteOutcome::NoReply, WriteOutcome::NotSent] {
            assert!(met.contains(&wanted), "no {wanted:?} was met on {on}");
        }
    }
}

/// On a line, the reply to the read-back would pass for that to any read of the same shape.
#[test]
fn the_late_reply_to_a_read_back_is_no_value_of_another_tag_after_a_change() {
    let memory = Shared::default();
    let tags = vec![register(20), register(400)];
    // Longer than a change waits for what is under way.
    let config = ModbusConfig { timeout: Nanos::from_millis(300), ..rtu_config() };
    let mut bench = bench_of_period(&config, vec![(tags, device(&memory, MS))], Nanos::from_millis(1_000));
    bench.run_ms(2_500);
    let slow = memory.clone();
    let mut is_written = false;
    bench.device(0).script = Some(Box::new(move |request| {
        // The read-back's reply comes when the next cycle's first request is out.
        let after = if std::mem::replace(&mut is_written, request[1] == 6) { 305 * MS } else { 8 * MS };
        vec![(after, answer_to(&slow, request))]
    }));
    let of_cycle = bench.requests.borrow().iter().rev().nth(1).unwrap().0;
    let before_next = of_cycle + 690 * MS - bench.now();
    bench.run_ms(before_next / MS);
    bench.order(20, Value::Uint(7_777), 5_000, true);
    bench.run_ms(30);
    assert_eq!(bench.requests.borrow().iter().rev().nth(1).unwrap().1[1], 6, "the last is the read-back");
    bench.config.tags.retain(|tag| !tag.name.ends_with(".20"));
    let mut samples = bench.change(1);
    drop(bench.adopted());
    bench.run_ms(3_000);
    assert_eq!(bench.answered().len(), 1);
    let mut count = 0;
    while let Ok(sample) = samples.pop() {
        assert!(sample.value != 7_777, "{sample:?}");
        count += 1;
    }
    assert!(count > 0);
}
