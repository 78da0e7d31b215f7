//! Headers that count other bytes than they have: the PDU says where a reply ends, and no other unit suffers.

use super::line::unit_tag;
use super::*;
use crate::protocol::modbus::ModbusConfig;

/// The reply with `more` told in its header; and with these bytes behind it.
fn told(mut reply: Vec<u8>, more: u8, behind: &[u8]) -> Vec<u8> {
    reply[5] += more;
    reply.extend(behind);
    reply
}

/// Unit 1 is honest, unit 2 refuses or answers with a length that is wrong; `behind` follows after a while, or at once.
fn beside(more: u8, behind: &'static [u8], after: u64, refuses: bool) -> Bench {
    let script: Script = Box::new(move |request| {
        if request[6] == 1 {
            return vec![(MS / 10, honest(request))];
        }
        let right = if refuses { exception(request, 4) } else { honest(request) };
        if after == 0 {
            return vec![(MS / 10, told(right, more, behind))];
        }
        vec![(MS / 10, told(right, more, &[])), (MS / 10 + after, behind.to_vec())]
    });
    let mut bench = bench_of(&tcp_config(), vec![(vec![unit_tag(1, 3), unit_tag(2, 4)], script)], None);
    bench.run_ms(1_000);
    bench
}

#[test]
fn a_length_that_is_too_long_costs_nobody_a_cycle_whether_or_not_its_bytes_follow() {
    for refuses in [true, false] {
        for (more, behind) in [
            (1, &[][..]),
            (1, &[0]),
            (1, &[0xFF]),
            (2, &[]),
            (2, &[0, 3]),
            (5, &[]),
            (5, &[1, 2, 3, 4, 5]),
            (9, &[0; 9]),
        ] {
            for after in [0, MS / 20, MS] {
                let bench = beside(more, behind, after, refuses);
                let what = format!("{more} more, {behind:?} after {after}, refused: {refuses}");
                let link = bench.counters.link(LinkId(0));
                assert!(bench.closed.is_empty(), "{what}");
                assert_eq!((link.garbage.get(), link.timeouts.get(), link.foreign.get()), (0, 0, 0), "{what}");
                assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0, "{what}");
                assert_eq!(bench.image.read(0).unwrap().value, 3, "{what}");
                assert_eq!((bench.status(0), bench.status(1).is_good()), (Status::GOOD, !refuses), "{what}");
                assert!(link.wrong_lengths.get() > 0 && (refuses || link.wrong_lengths.get() == 100), "{what}");
            }
        }
    }
}

#[test]
fn bytes_behind_a_reply_that_no_header_counts_cost_nobody_a_cycle() {
    for behind in [&[0u8][..], &[0xFF], &[0, 0], &[7, 1], &[0; 4], &[3, 0, 0, 0, 5], &[0; 12], &[0xFF; 16]] {
        for after in [0, MS / 20, MS] {
            let bench = beside(0, behind, after, false);
            let link = bench.counters.link(LinkId(0));
            let what = format!("{behind:?} after {after}");
            assert!(bench.closed.is_empty(), "{what}");
            assert_eq!((link.garbage.get(), link.timeouts.get(), link.foreign.get()), (0, 0, 0), "{what}");
            assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0, "{what}");
            assert_eq!([0, 1].map(|tag| bench.image.read(tag).unwrap().value), [3, 4], "{what}");
        }
    }
}

#[test]
fn with_several_requests_outstanding_none_is_taken_for_another() {
    let mut seed = 1u64;
    let script: Script = Box::new(move |request| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (more, sent) = ((seed >> 33) as u8 % 6, (seed >> 40).is_multiple_of(2));
        let filling: Vec<u8> = (0..more).map(|at| (seed >> (at * 8)) as u8).collect();
        vec![((seed >> 45) % MS, told(honest(request), more, if sent { &filling } else { &[] }))]
    });
    let config = ModbusConfig { pipeline: 4, ..tcp_config() };
    let tags = (0..8).map(|at| tag(0, at * 500)).collect();
    let mut bench = bench_of(&config, vec![(tags, script)], None);
    bench.run_ms(20_000);
    for sample in bench.drain() {
        assert!(sample.has_no_value() || sample.value == u64::from(sample.tag) * 500, "{sample:?}");
    }
    let link = bench.counters.link(LinkId(0));
    assert!(bench.closed.is_empty() && link.garbage.get() == 0);
    assert!(link.replies.get() > 15_000, "{}", link.replies.get());
}

#[test]
fn a_write_is_confirmed_by_a_reply_with_a_wrong_length() {
    let confirmation: Script = Box::new(|request| match request[7] {
        6 | 16 => {
            let mut reply = request[..12].to_vec();
            reply[4..6].copy_from_slice(&[0, 7]);
            vec![(MS / 10, reply)]
        }
        _ => vec![(MS / 10, told(honest(request), 1, &[]))],
    });
    let mut bench = bench_of(&tcp_config(), vec![(vec![super::write::register(20)], confirmation)], None);
    bench.run_ms(50);
    bench.order(20, Value::Uint(7), 500, false);
    bench.run_ms(50);
    let outcomes: Vec<WriteOutcome> = bench.answered().iter().map(|answer| answer.outcome).collect();
    assert_eq!(outcomes, [WriteOutcome::Done]);
    assert_eq!((bench.status(0), bench.counters.scans[0].deadline_misses.get()), (Status::GOOD, 0));
}

#[test]
fn what_cannot_be_told_apart_ends_the_connection_and_never_makes_a_value() {
    // Other bytes than were told, too many, and none of them a frame.
    let script: Script = Box::new(|request| vec![(MS / 10, told(honest(request), 3, &[7; 40]))]);
    let mut bench = bench(vec![(vec![3], script)], None);
    bench.run_ms(100);
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Garbage);
    assert_eq!(bench.counters.link(LinkId(0)).garbage.get(), 1);
    assert!(bench.drain().iter().all(|sample| sample.has_no_value() || sample.value == 3));
}
