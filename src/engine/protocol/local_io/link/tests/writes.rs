//! Orders on their way to the thread, and values as their bytes.

use super::*;

#[test]
fn a_write_goes_between_scans_and_is_answered_once() {
    let mut bench = bench(LINK, ONE, answering(3 * MS, vec![Status::GOOD]));
    bench.run_to_ms(50);
    bench.order(1, 200, true);
    bench.order(2, 200, false);
    bench.run_to_ms(70);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::Done), (2, WriteOutcome::Done)]);
    bench.run_to_ms(450);
    assert!(bench.outcomes().is_empty());
    let asked = bench.device.borrow().asked.clone();
    let scans = asked.iter().filter(|(_, bytes)| matches!(wire::asked(bytes), Some(Asked::Scan { .. })));
    assert!(scans.clone().zip(scans.skip(1)).all(|(a, b)| b.0 - a.0 == 100 * MS), "the beat goes on");
}

#[test]
fn a_storm_of_writes_lets_every_second_turn_to_the_scans() {
    // Each write takes 4 ms: twelve of them would take half of a period.
    let mut bench = bench(LINK, ONE, answering(4 * MS, vec![Status::GOOD]));
    bench.run_to_ms(99);
    (0..12).for_each(|id| bench.order(id, 500, false));
    bench.run_to_ms(115);
    let asked = bench.device.borrow().asked.clone();
    let scan = asked.iter().filter(|(_, bytes)| matches!(wire::asked(bytes), Some(Asked::Scan { .. }))).nth(1).unwrap();
    assert!(scan.0 <= 106 * MS, "the scan of 101 ms was sent at {} ns", scan.0);
    bench.run_to_ms(190);
    assert_eq!(bench.outcomes().len(), 12);
}

#[test]
fn writes_that_cannot_be_sent_in_time_are_never_sent() {
    // The thread hangs from the first scan on.
    let mut bench = bench(LINK, ONE, Box::new(|_, _| vec![]));
    bench.run_to_ms(5);
    bench.order(1, 30, false);
    bench.run_to_ms(45);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::NotSent)]);
    bench.order(2, 1_000, false);
    bench.run_to_ms(200);
    assert_eq!(bench.outcomes(), [(2, WriteOutcome::NoConnection)], "given up with the connection");
    bench.order(3, 1_000, false);
    bench.run_to_ms(210);
    assert_eq!(bench.outcomes(), [(3, WriteOutcome::NoConnection)]);
    let is_write = |(_, bytes): &(u64, Vec<u8>)| matches!(wire::asked(bytes), Some(Asked::Write { .. }));
    assert!(!bench.device.borrow().asked.iter().any(is_write));
}

#[test]
fn a_write_that_gets_no_answer_may_have_been_taken() {
    let script: Script = Box::new(|bytes, now| match wire::asked(bytes) {
        Some(Asked::Write { .. }) => vec![],
        _ => answering(MS, vec![Status::GOOD])(bytes, now),
    });
    let mut bench = bench(LINK, ONE, script);
    bench.run_to_ms(10);
    bench.order(1, 30, false);
    bench.run_to_ms(32);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::NoReply)]);
    bench.run_to_ms(400);
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Silent, "nor does the thread come back");
    assert!(bench.outcomes().is_empty());
}

#[test]
fn a_value_is_encoded_as_it_is_read_and_refused_when_it_does_not_fit() {
    use crate::protocol::kinds::{decode, encode};
    use crate::protocol::write::WriteFault;
    let tags = [
        r#""address": "l:0x30:0x10:2", "data_type": "int16""#,
        r#""address": "l:0x30:0x12:2", "byte_order": "DCBA""#,
        r#""address": "l:0x30:0x14:2", "data_type": "int16", "scale": 0.5, "offset": 5"#,
        r#""address": "l:0x30:0x16:4", "data_type": "float32""#,
        r#""address": "l:0x30:0x1A:1""#,
        r#""address": "l:0x30:0x1B:2", "shift": 4"#,
    ];
    let plan = planned_for_test(LINK, &tags);
    for (tag, value, bytes) in [
        (0, Value::Int(-2), &[0xFF, 0xFE][..]),
        (1, Value::Uint(0x1234), &[0x34, 0x12]),
        (2, Value::Float64(25.0), &[0, 40]),
        (3, Value::Float32(1.5), &[0x3F, 0xC0, 0, 0]),
        (4, Value::Uint(255), &[255]),
    ] {
        let tag = TagId(tag);
        let encoded = encode(&plan, tag, &value).unwrap();
        assert_eq!((encoded.slot, encoded.payload.bytes()), (tag.0, bytes));
        assert_eq!(decode(&plan, tag, &encoded.payload), Some(value));
    }
    let range = |min, max| Err(WriteFault::Range { min: Value::Float64(min), max: Value::Float64(max) });
    assert_eq!(encode(&plan, TagId(0), &Value::Int(40_000)), range(-32_768.0, 32_767.0));
    assert_eq!(encode(&plan, TagId(2), &Value::Float64(1e9)), range(-16_379.0, 16_388.5));
    assert_eq!(encode(&plan, TagId(4), &Value::Int(-1)), range(0.0, 255.0));
    assert_eq!(encode(&plan, TagId(3), &Value::Float64(f64::NAN)), Err(WriteFault::NotFinite));
    let wrong = |tag, value: &Value| matches!(encode(&plan, TagId(tag), value), Err(WriteFault::WrongType { .. }));
    assert!(wrong(0, &Value::Bool(true)) && wrong(0, &Value::Float64(1.5)) && wrong(0, &Value::Text("1".into())));
    assert_eq!(encode(&plan, TagId(5), &Value::Uint(1)), Err(WriteFault::NotWritable), "a part of a register");
    let gpio = r#""protocol": "gpio", "chip": "/dev/gpiochip0""#;
    let lines = planned_for_test(gpio, &[r#""address": "l:4", "direction": "out""#, r#""address": "l:5""#]);
    assert_eq!(encode(&lines, TagId(0), &Value::Bool(true)).unwrap().payload.bytes(), [1]);
    assert_eq!(encode(&lines, TagId(1), &Value::Bool(true)), Err(WriteFault::NotWritable), "an input");
}

#[test]
fn an_output_is_encoded_in_the_kernel_s_unit_through_scale_or_signal() {
    use crate::protocol::kinds::{decode, encode};
    use crate::protocol::write::WriteFault;
    let signal = r#""sensor": {"type": "2-10V", "raw_min": 2000, "raw_max": 10000, "range": [0, 100]}"#;
    let tags = [
        r#""address": "l:out_voltage0", "scale": 0.001"#.to_owned(),
        r#""address": "l:out_voltage1", "data_type": "int16""#.to_owned(),
        format!(r#""address": "l:out_voltage2", {signal}"#),
        r#""address": "l:in_voltage0""#.to_owned(),
    ];
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let plan = planned_for_test(r#""protocol": "iio", "device": "dac""#, &tags);
    for (tag, value, millivolts) in
        [(0, Value::Float64(2.5), 2500.0), (1, Value::Int(-40), -40.0), (2, Value::Float64(50.0), 6000.0)]
    {
        let encoded = encode(&plan, TagId(tag), &value).unwrap();
        let payload: [u8; 8] = encoded.payload.bytes().try_into().unwrap();
        assert!((f64::from_ne_bytes(payload) - millivolts).abs() < 1e-9, "{value}");
        assert_eq!(decode(&plan, TagId(tag), &encoded.payload), Some(value));
    }
    assert_eq!(encode(&plan, TagId(0), &Value::Float64(f64::NAN)), Err(WriteFault::NotFinite));
    assert!(matches!(encode(&plan, TagId(0), &Value::Bool(true)), Err(WriteFault::WrongType { .. })));
    assert_eq!(encode(&plan, TagId(3), &Value::Float64(1.0)), Err(WriteFault::NotWritable), "an input");
}
