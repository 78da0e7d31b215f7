//! Frames in: values, statuses, samples.

use proptest::prelude::*;

use super::*;

#[test]
fn a_frame_is_in_the_image_at_once_and_in_the_ring_on_the_beat() {
    let mut bench = bench("", &[("Motor.Speed", ""), ("Motor.Torque", ""), ("Motor.Running", "")]);
    bench.run_ms(3);
    bench.drain();
    // 0x0190 × 0.25 − 100 = 0; −2; bit 4 of byte 4.
    bench.frame(1, 0x100, &[0x90, 0x01, 0xFF, 0xFE, 0x10, 0, 0, 0]);
    bench.run_ms(2);
    assert_eq!((bench.float(0), bench.status(0)), (0.0, Status::GOOD));
    let torque = bench.image.read(1).unwrap();
    assert_eq!((torque.value as i64, torque.t), (-2, 4 * MS));
    assert_eq!(bench.image.read(2).unwrap().value, 1);
    assert!(bench.drain().is_empty(), "the next beat is at 11 ms");
    bench.run_ms(10);
    let samples = bench.drain();
    assert_eq!(samples.len(), 3);
    assert!(samples.iter().all(|s| s.t == 4 * MS && s.status() == Status::GOOD));
    bench.run_ms(10);
    assert!(bench.drain().is_empty(), "nothing came since");
}

#[test]
fn of_several_frames_between_beats_the_newest_is_told() {
    let mut bench = bench("", &[("0x123:0:16", "")]);
    bench.run_ms(12);
    for n in 0..8u8 {
        bench.frame(u64::from(n), 0x123, &[n, 0]);
    }
    bench.run_ms(20);
    let told: Vec<u64> = bench.drain().iter().map(|sample| sample.value).collect();
    assert_eq!(told, [7]);
}

#[test]
fn with_sampling_every_each_frame_is_a_sample() {
    let mut bench = bench(r#", "sampling": "every""#, &[("0x123:0:16", "")]);
    bench.run_ms(2);
    for n in 0..200u8 {
        bench.frame(u64::from(n / 20), 0x123, &[n, 0]);
    }
    bench.run_ms(40);
    let told: Vec<u64> = bench.drain().iter().map(|sample| sample.value).collect();
    assert_eq!(told, (0..200).collect::<Vec<_>>());
    assert_eq!(bench.link().can.received.get(), 200);
    assert!(bench.world().receives_max <= 16, "a step takes no more: {}", bench.world().receives_max);
}

#[test]
fn multiplexed_signals_change_only_with_their_own_frames() {
    let mut bench = bench("", &[("Muxed.A", ""), ("Muxed.B", "")]);
    bench.frame(2, 0x101, &[1, 0x34, 0x12, 0, 0, 0, 0, 0]);
    bench.frame(3, 0x101, &[3, 0xFF, 0xFF, 0, 0, 0, 0, 0]);
    bench.run_ms(5);
    assert_eq!((bench.image.read(0).unwrap().value, bench.status(0)), (0x1234, Status::GOOD));
    assert_eq!(bench.status(1), Status::BAD_WAITING_FOR_INITIAL_DATA);
    bench.frame(0, 0x101, &[2, 0xFE, 0xFF, 0, 0, 0, 0, 0]);
    bench.run_ms(2);
    assert_eq!((bench.image.read(0).unwrap().value, bench.image.read(1).unwrap().value as i64), (0x1234, -2));
}

#[test]
fn texts_and_numbers_come_from_one_signal() {
    let mut bench = bench("", &[("Motor.Gear", r#", "data_type": "string""#), ("Motor.Gear", "")]);
    let text = |bench: &Bench| {
        let mut out = [0; 16];
        let reading = bench.image.read_long(0, &mut out).unwrap();
        (String::from_utf8(out[..reading.value as usize].to_vec()).unwrap(), Status(reading.status))
    };
    bench.frame(2, 0x100, &[0, 0, 0, 0, 0x0F, 0, 0, 0]);
    bench.run_ms(4);
    assert_eq!((text(&bench), bench.image.read(1).unwrap().value), (("reverse".into(), Status::GOOD), 15));
    bench.frame(0, 0x100, &[0, 0, 0, 0, 0x07, 0, 0, 0]);
    bench.run_ms(10);
    assert_eq!(text(&bench), ("reverse".into(), Status::BAD_DECODING_ERROR), "7 has no text");
    assert_eq!((bench.image.read(1).unwrap().value, bench.status(1)), (7, Status::GOOD));
    let slots = bench.drain();
    let told: Vec<(u32, u32)> = slots.iter().filter(|s| s.ty != 0).map(|s| (s.tag, s.status)).collect();
    assert!(told.contains(&(0, Status::BAD_DECODING_ERROR.0)), "{told:?}");
}

#[test]
fn short_remote_and_malformed_frames_give_no_value() {
    let mut bench = bench("", &[("Motor.Speed", ""), ("Motor.Running", "")]);
    bench.frame(2, 0x100, &[0x90, 0x01, 0, 0, 0x10, 0, 0, 0]);
    bench.run_ms(3);
    // Long enough for the speed, too short for the bit behind it.
    bench.frame(0, 0x100, &[0x94, 0x01]);
    bench.run_ms(1);
    assert_eq!((bench.float(0), bench.status(0)), (1.0, Status::GOOD));
    assert_eq!((bench.image.read(1).unwrap().value, bench.status(1)), (1, Status::UNCERTAIN_LAST_USABLE));
    assert_eq!(bench.link().short_frames.get(), 1);
    let (mut remote, n) = encode(0x100, false, false, &[]);
    remote[..4].copy_from_slice(&(0x100 | REMOTE).to_ne_bytes());
    bench.raw(0, &remote[..n]);
    bench.raw(0, &[1, 2, 3]);
    bench.frame(0, 0x7FF, &[1]);
    bench.run_ms(2);
    let link = bench.link();
    assert_eq!((link.can.remote.get(), link.garbage.get(), link.foreign.get()), (1, 1, 1));
    assert_eq!(bench.float(0), 1.0);
}

#[test]
fn parameter_groups_come_from_any_node_or_from_one() {
    let mut bench = bench(
        "",
        &[("EEC1.EngineSpeed", ""), ("pgn:0xF004:24:16", ""), ("pgn:0xF004:0x21:24:16", ""), ("0x18F00499:24:16", "")],
    );
    let extended = 1 << 31;
    bench.frame(2, 0x0CF0_0405 | extended, &[0, 0, 0, 0x40, 0x1F, 0, 0, 0]);
    bench.run_ms(4);
    assert_eq!((bench.float(0), bench.image.read(1).unwrap().value), (1000.0, 8000));
    assert_eq!(bench.status(2), Status::BAD_WAITING_FOR_INITIAL_DATA);
    bench.frame(0, 0x18F0_0421 | extended, &[0, 0, 0, 0x40, 0xFF, 0, 0, 0]);
    bench.run_ms(2);
    assert_eq!([0, 1, 2].map(|tag| bench.status(tag)), [Status::BAD_DATA_UNAVAILABLE; 3]);
    assert_eq!(bench.float(0), 1000.0, "the last value is held");
    bench.frame(0, 0x18F0_0421 | extended, &[0, 0, 0, 0x40, 0xFE, 0, 0, 0]);
    bench.run_ms(2);
    assert_eq!(bench.status(1), Status::BAD_SENSOR_FAILURE);
    assert_eq!(bench.status(3), Status::BAD_WAITING_FOR_INITIAL_DATA);
    bench.frame(0, 0x18F0_0499 | extended, &[0, 0, 0, 1, 0xFF, 0, 0, 0]);
    bench.run_ms(2);
    assert_eq!((bench.image.read(3).unwrap().value, bench.status(3)), (0xFF01, Status::GOOD), "bits are just bits");
}

#[test]
fn what_the_value_table_names_is_a_value_and_the_other_special_ones_are_none() {
    let string = r#", "data_type": "string""#;
    let off = r#", "j1939_special_values": false"#;
    let tags = [
        ("EEC1.Gear", ""),
        ("EEC1.Regeneration", ""),
        ("EEC1.Fmi", ""),
        ("EEC1.Gear", string),
        ("EEC1.Gear", off),
        ("pgn:0xF004:0:8", ""),
    ];
    let mut bench = bench("", &tags);
    let id = 0x18F0_0421 | 1 << 31;
    let read = |bench: &Bench| [0, 1, 2, 3, 4, 5].map(|tag| bench.status(tag));
    bench.frame(2, id, &[251, 0b10, 31, 0, 0, 0, 0, 0]);
    bench.run_ms(4);
    let good = Status::GOOD;
    // Without a DBC file, nothing names 251: it is a reserved one.
    assert_eq!(read(&bench), [good, good, good, good, good, Status::BAD_DECODING_ERROR]);
    let numbers =
        (bench.float(0), bench.image.read(1).unwrap().value, bench.image.read(2).unwrap().value, bench.float(4));
    assert_eq!(numbers, (126.0, 2, 31, 126.0));
    let mut text = [0; 16];
    let reading = bench.image.read_long(3, &mut text).unwrap();
    assert_eq!(&text[..reading.value as usize], b"park");
    bench.frame(0, id, &[255, 0b11, 30, 0, 0, 0, 0, 0]);
    bench.run_ms(2);
    let (none, failed) = (Status::BAD_DATA_UNAVAILABLE, Status::BAD_SENSOR_FAILURE);
    assert_eq!(read(&bench), [none, none, failed, none, good, none]);
    assert_eq!((bench.float(0), bench.float(4)), (126.0, 130.0));
    bench.frame(0, id, &[254, 0b01, 0, 0, 0, 0, 0, 0]);
    bench.run_ms(2);
    assert_eq!(read(&bench), [failed, good, good, failed, good, failed]);
}

#[test]
fn a_flood_holds_no_release_and_all_of_it_is_accounted_for() {
    let mut bench = bench("", &[("0x123:0:32", "")]);
    for n in 0..20_000u32 {
        let (bytes, size) = encode(0x123, false, false, &n.to_le_bytes());
        let dropped = if n >= 10_000 { 500 } else { 0 };
        bench.world().coming.push_back((2 * MS, bytes[..size].to_vec(), None, dropped));
    }
    bench.run_ms(100);
    assert_eq!((bench.link().can.received.get(), bench.link().can.dropped.get()), (20_000, 500));
    let scan = &bench.counters.scans[0];
    assert_eq!((scan.cycles.get(), scan.skipped.get()), (10, 0));
    assert_eq!(bench.image.read(0).unwrap().value, 19_999);
    assert_eq!(bench.counters.produced(), bench.drain().len() as u64);
}

#[test]
fn a_controllers_clock_takes_the_delays_out() {
    let mut bench = bench(r#", "timestamps": "hardware""#, &[("0x123:0:8", "")]);
    let hardware = |ms: u64| Some(Nanos(777 * MS + ms * MS));
    for (at, late) in [(5u64, 0u64), (6, 400_000), (7, 900_000)] {
        let (bytes, n) = encode(0x123, false, false, &[at as u8]);
        bench.world().coming.push_back((at * MS + late, bytes[..n].to_vec(), hardware(at), 0));
        bench.run_ms(at + 2 - bench.end / MS);
        assert_eq!(bench.image.read(0).unwrap().t, at * MS);
    }
}

#[test]
fn frames_of_can_fd_are_read_to_their_end() {
    let mut bench = bench(r#", "fd": true"#, &[("0x123:504:8", ""), ("0x123:8:8", "")]);
    let mut data = [0; 64];
    (data[63], data[1]) = (0xAB, 0xCD);
    bench.frame(2, 0x123, &data);
    bench.run_ms(4);
    assert_eq!([0, 1].map(|tag| bench.image.read(tag).unwrap().value), [0xAB, 0xCD]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_frames_make_it_panic_or_lose_count(
        frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 72), 0usize..75, 0u64..20), 1..200),
    ) {
        let tags = [("Motor.Speed", ""), ("Muxed.A", ""), ("pgn:0xF004:24:16", ""), ("Motor.Gear", r#", "data_type": "string""#)];
        let mut bench = bench(r#", "sampling": "every", "fd": true"#, &tags);
        let count = frames.len() as u64;
        for (mut bytes, n, after) in frames {
            // Identifiers that are expected now and then.
            if bytes[70] % 2 == 0 {
                let id = [0x100u32, 0x101, 0x8CF0_0400][usize::from(bytes[71]) % 3];
                bytes[..4].copy_from_slice(&id.to_ne_bytes());
                bytes[4] %= 65;
            }
            let n = match n { 0..=30 => 16, 31..=60 => 72, other => other - 60 };
            bench.raw(after, &bytes[..n]);
        }
        bench.run_ms(100);
        let link = bench.link();
        let errors = link.can.received.get() + link.can.remote.get() + link.garbage.get();
        prop_assert!(errors <= count);
        let produced = bench.counters.produced();
        let headers = bench.drain();
        let mut at = 0;
        let mut seen = 0;
        while at < headers.len() {
            at += 1 + headers[at].payload_slots();
            seen += 1;
        }
        prop_assert_eq!(produced, seen);
    }
}

#[test]
fn a_transmitter_s_signal_tells_a_broken_wire_on_arrival_and_on_the_beat() {
    // An input module of the bus that says micro-amperes.
    let sensor = r#", "sensor": {"type": "4-20mA", "raw_min": 4000, "raw_max": 20000, "range": [0, 100]}"#;
    for sampling in ["latest", "every"] {
        let mut bench = bench(&format!(r#", "sampling": "{sampling}""#), &[("0x123:0:16", sensor)]);
        let mut told = Vec::new();
        for (micro_amperes, status) in [
            (12_000u16, Status::GOOD),
            (20_500, Status::GOOD),
            (20_700, Status::UNCERTAIN_UNITS_EXCEEDED),
            (21_000, Status::BAD_SENSOR_FAILURE),
            (3_600, Status::BAD_SENSOR_FAILURE),
            (3_800, Status::GOOD),
        ] {
            bench.frame(1, 0x123, &micro_amperes.to_le_bytes());
            bench.run_ms(2);
            assert_eq!(bench.status(0), status, "{micro_amperes} µA");
            bench.run_ms(10);
            told.extend(
                bench.drain().iter().filter(|s| !s.has_no_value()).map(|s| (f64::from_bits(s.value), s.status())),
            );
        }
        told.dedup();
        let doubt = Status::UNCERTAIN_UNITS_EXCEEDED;
        let last = 104.375;
        let wanted = [
            (50.0, Status::GOOD),
            (103.125, Status::GOOD),
            (last, doubt),
            (last, Status::BAD_SENSOR_FAILURE),
            (-1.25, Status::GOOD),
        ];
        assert_eq!(told, wanted, "{sampling}");
    }
}
