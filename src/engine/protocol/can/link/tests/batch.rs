//! Frames that come at once: what is taken of them in a step, and that it makes no difference.

use proptest::prelude::*;

use super::*;
use crate::limits::CAN_FRAMES_PER_STEP;

/// Puts frames of 0x123 with these bytes on the bus, all at the same instant.
fn burst(bench: &mut Bench, bytes: std::ops::Range<u8>) {
    bytes.for_each(|byte| bench.frame(0, 0x123, &[byte]));
}

fn error_frame(classes: u32) -> Vec<u8> {
    let (mut bytes, n) = encode(0, false, false, &[0; 8]);
    bytes[..4].copy_from_slice(&(classes | ERROR).to_ne_bytes());
    bytes[..n].to_vec()
}

#[test]
fn of_any_number_of_frames_at_once_each_is_a_sample_and_none_waits_for_another() {
    let step = CAN_FRAMES_PER_STEP as u8;
    let mut bench = bench(r#", "sampling": "every""#, &[("0x123:0:8", "")]);
    bench.run_ms(2);
    for frames in [0, 1, step - 1, step, step + 1, 2 * step, 100] {
        burst(&mut bench, 0..frames);
        bench.run_ms(1);
        let told: Vec<u64> = bench.drain().iter().map(|sample| sample.value).collect();
        assert_eq!(told, (0..u64::from(frames)).collect::<Vec<_>>());
        assert!(bench.world().receives_max <= u32::from(step));
    }
}

#[test]
fn a_controller_that_leaves_the_bus_and_returns_within_a_step_is_noticed_both_times() {
    let mut bench = bench(r#", "sampling": "every""#, &[("0x123:0:8", ""), ("0x124:0:8", "")]);
    bench.frame(2, 0x124, &[9]);
    bench.run_ms(5);
    bench.drain();
    // All of them wait when the link looks, each with a time of its own.
    let (start, frame) = (4 * MS, |byte| encode(0x123, false, false, &[byte]));
    let data = |bytes: std::ops::Range<u8>| bytes.map(|byte| frame(byte).0[..frame(byte).1].to_vec());
    let first = data(1..4).chain([error_frame(0x40)]);
    let second = [0x100, 0x40, 0x100].map(error_frame).into_iter().chain(data(4..7));
    for (n, bytes) in first.enumerate() {
        bench.world().coming.push_back((start + n as u64, bytes, None, 0));
    }
    bench.run_ms(1);
    assert_eq!((bench.link().state(), bench.status(0)), (LinkState::BusOff, Status::UNCERTAIN_LAST_USABLE));
    for (n, bytes) in second.enumerate() {
        bench.world().coming.push_back((start + MS + n as u64, bytes, None, 0));
    }
    bench.run_ms(1);
    assert_eq!((bench.link().state(), bench.link().can.bus_offs.get()), (LinkState::Up, 2));
    assert_eq!([bench.status(0), bench.status(1)], [Status::GOOD, Status::UNCERTAIN_LAST_USABLE]);
    let good = bench.drain().into_iter().filter(|sample| sample.status() == Status::GOOD);
    assert_eq!(good.map(|sample| sample.value).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn frames_before_the_end_of_an_interface_are_taken_first() {
    let mut bench = bench(r#", "sampling": "every""#, &[("0x123:0:8", "")]);
    bench.run_ms(2);
    bench.drain();
    burst(&mut bench, 0..40);
    bench.world().closed = true;
    bench.run_ms(2);
    assert_eq!((bench.link().state(), bench.link().can.received.get()), (LinkState::Down, 40));
    let told = bench.drain();
    let held = told.iter().filter(|sample| sample.flags & flags::HELD != 0).count();
    assert_eq!((told.len(), held, bench.status(0)), (41, 1, Status::UNCERTAIN_LAST_USABLE));
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Lost);
}

#[test]
fn drops_that_grow_within_a_step_are_counted_once_each() {
    let mut bench = bench("", &[("0x123:0:8", "")]);
    for (n, dropped) in [0, 0, 3, 3, 10, 10, 10, 11].into_iter().enumerate() {
        let (bytes, size) = encode(0x123, false, false, &[n as u8]);
        bench.world().coming.push_back((2 * MS, bytes[..size].to_vec(), None, dropped));
    }
    bench.run_ms(4);
    assert_eq!((bench.link().can.received.get(), bench.link().can.dropped.get()), (8, 11));
    // Counted by the kernel in 32 bits.
    let (bytes, size) = encode(0x123, false, false, &[8]);
    for dropped in [u32::MAX, 4] {
        bench.world().coming.push_back((5 * MS, bytes[..size].to_vec(), None, dropped));
    }
    bench.run_ms(4);
    assert_eq!(bench.link().can.dropped.get(), (1 << 32) + 4);
}

/// Any frame: of messages that are expected, of others, too short ones, errors, remote and malformed ones. A controller
/// does not leave the bus: what its tags are told between the steps is another thing.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![Just(0x100u32), Just(0x101), Just(0x8CF0_0421), Just(0x7FF), Just(0x100 | REMOTE)];
    let data = (id, prop::collection::vec(any::<u8>(), 0..=8)).prop_map(|(id, data)| {
        let (mut bytes, n) = encode(0, false, false, &data);
        bytes[..4].copy_from_slice(&id.to_ne_bytes());
        bytes[..n].to_vec()
    });
    let error = prop::sample::select(vec![0x100, 0x04, 0xAA]).prop_map(error_frame);
    // Noise that is no error frame, which could be one of those that leave the bus.
    let noise = prop::collection::vec(any::<u8>(), 1..30).prop_map(|mut bytes| {
        bytes.iter_mut().skip(3).take(1).for_each(|byte| *byte &= !0x20);
        bytes
    });
    prop_oneof![12 => data, 1 => error, 1 => noise]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn frames_taken_together_leave_what_frames_taken_singly_leave(
        frames in prop::collection::vec((any_frame(), 0u64..40, any::<bool>()), 1..150), every: bool,
    ) {
        let mut arrivals = frames;
        arrivals.sort_by_key(|(_, at, _)| *at);
        let sampling = if every { r#", "sampling": "every""# } else { "" };
        let tags = [
            ("Motor.Speed", ""), ("Motor.Gear", r#", "data_type": "string""#), ("Muxed.A", ""), ("Muxed.B", ""),
            ("pgn:0xF004:24:16", ""),
        ];
        let [together, singly] = [false, true].map(|one_by_one| {
            let mut bench = bench(sampling, &tags);
            bench.world().one_by_one = one_by_one;
            let mut dropped = 0;
            for (bytes, at, drops) in &arrivals {
                dropped += u32::from(*drops);
                // Between releases, which come at whole milliseconds.
                bench.world().coming.push_back((2 * MS + at * MS + MS / 2, bytes.clone(), None, dropped));
            }
            bench.run_ms(60);
            let can = &bench.link().can;
            let counts = [
                &can.received, &can.dropped, &can.remote, &can.overflows, &can.bus_errors, &can.passives,
                &bench.link().garbage, &bench.link().foreign, &bench.link().short_frames,
            ].map(Count::get);
            let image: Vec<_> = (0..tags.len()).map(|tag| bench.image.read(tag)).collect();
            (counts, image, bench.link().state(), bench.drain())
        });
        prop_assert_eq!(together, singly);
    }
}
