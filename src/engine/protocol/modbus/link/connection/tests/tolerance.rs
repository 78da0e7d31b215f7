//! Replies that are not quite as they should be: refused and counted by what differs, or taken where a key says so.

use super::line::{rtu_config, unit_tag, with_crc};
use super::*;
use crate::protocol::modbus::{HostPort, ModbusConfig, ModbusTransport, Tolerance};

fn bent(bend: fn(&mut Vec<u8>)) -> Script {
    Box::new(move |request| {
        let mut reply = honest(request);
        bend(&mut reply);
        vec![(MS / 10, reply)]
    })
}

/// Three registers in two blocks, so that one reply could be taken for the other.
fn run(tolerance: Tolerance, script: Script) -> Bench {
    let config = ModbusConfig { tolerance, ..tcp_config() };
    let mut bench = bench_of(&config, vec![(vec![tag(0, 3), tag(0, 4), tag(0, 900)], script)], None);
    bench.run_ms(500);
    bench
}

fn differs(bench: &Bench) -> [u64; 4] {
    let link = bench.counters.link(LinkId(0));
    [&link.other_unit, &link.other_transaction, &link.other_function, &link.other_length].map(Count::get)
}

fn one_register_more(reply: &mut Vec<u8>) {
    reply.extend([0xAB, 0xCD]);
    reply[5] += 2;
    reply[8] += 2;
}

const STRICT: Tolerance = Tolerance::STRICT;

#[test]
fn each_difference_is_counted_as_what_it_is_and_taken_only_with_its_key() {
    type Case = (fn(&mut Vec<u8>), usize, Tolerance);
    let cases: [Case; 4] = [
        (|reply| reply[6] = 255, 0, Tolerance { any_unit: true, ..STRICT }),
        (|reply| reply[..2].fill(0), 1, Tolerance { any_transaction: true, ..STRICT }),
        (|reply| reply[7] = 4, 2, Tolerance { any_function: true, ..STRICT }),
        (one_register_more, 3, Tolerance { longer_replies: true, ..STRICT }),
    ];
    for (bend, at, tolerance) in cases {
        let mut refused = run(STRICT, bent(bend));
        let counts = differs(&refused);
        assert!(counts[at] > 0, "{counts:?}");
        assert_eq!(counts.iter().sum::<u64>(), counts[at], "{at}: {counts:?}");
        assert_eq!(refused.counters.link(LinkId(0)).foreign.get(), counts[at]);
        assert!(refused.drain().iter().all(|sample| sample.has_no_value()), "{at}");
        let mut taken = run(tolerance, bent(bend));
        assert_eq!(differs(&taken), [0; 4]);
        assert_eq!(taken.counters.scans[0].deadline_misses.get(), 0, "{at}");
        let samples = taken.drain();
        assert_eq!(samples.len(), 150);
        assert!(samples.iter().all(|s| s.status() == Status::GOOD && s.value == [3, 4, 900][s.tag as usize]), "{at}");
    }
}

#[test]
fn with_any_unit_a_reply_that_is_late_for_a_change_of_plan_is_nobodys() {
    // Two units on a line, of which none says which it is; the first answers late, and leaves the plan meanwhile.
    for (goes, after_ms) in (0..60).map(|at| (at % 2 == 0, at)) {
        let script: Script = Box::new(move |request| {
            let value = if request[0] == 1 { 111 } else { 222u16 };
            let reply = [&[255, 3, 2][..], &value.to_be_bytes()].concat();
            vec![(if request[0] == 1 { 50 * MS } else { MS }, with_crc(reply))]
        });
        let tolerance = Tolerance { any_unit: true, ..STRICT };
        let config = ModbusConfig { tolerance, ..rtu_config() };
        let tags = vec![unit_tag(1, 10), unit_tag(2, 20), unit_tag(1, 900)];
        let mut bench = bench_of(&config, vec![(tags, script)], None);
        bench.run_ms(after_ms);
        // Either the whole unit, or one of its tags.
        bench.config.tags.retain(|tag| tag.name != "u1.r10" && (!goes || tag.name != "u1.r900"));
        let mut later = bench.change(1);
        drop(bench.adopted());
        bench.run_ms(300);
        let second = bench.id_of("u2.r20") as u32;
        let before = bench.drain();
        let all = before.into_iter().chain(std::iter::from_fn(|| later.pop().ok()));
        let wrong = all.filter(|sample| sample.tag == second && sample.status() == Status::GOOD && sample.value != 222);
        assert_eq!(wrong.count(), 0, "{after_ms} ms, the unit goes: {goes}");
    }
}

#[test]
fn with_any_transaction_a_late_or_doubled_reply_is_never_taken_for_the_next() {
    // Two registers of one block size, each held in its own request; now and then a reply is late, or comes twice.
    for echoes in [true, false] {
        let mut asked = 0u64;
        let script: Script = Box::new(move |request| {
            asked += 1;
            let mut reply = honest(request);
            if !echoes {
                reply[..2].copy_from_slice(&[0, 0]);
            }
            match asked % 7 {
                3 => vec![(34 * MS, reply)],
                5 if echoes => vec![(MS / 10, reply.clone()), (MS / 10 + 1, reply)],
                _ => vec![(MS / 10, reply)],
            }
        });
        let tolerance = Tolerance { any_transaction: true, ..STRICT };
        let config = ModbusConfig { tolerance, ..tcp_config() };
        let mut bench = bench_of(&config, vec![(vec![tag(0, 3), tag(0, 900)], script)], None);
        for _ in 0..2_000 {
            bench.run_ms(1);
            if let Ok(closed) = bench.closed.pop() {
                assert_eq!((closed.reason, closed.served), (CloseReason::Doubtful, Served::Answered));
                // What was under way on it never comes.
                bench.device(0).under_way.clear();
                bench.device(0).arrived.clear();
                bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
            }
        }
        let samples = bench.drain();
        assert!(samples.iter().filter(|s| s.status() == Status::GOOD).count() > 100);
        assert!(samples.iter().all(|s| s.has_no_value() || s.value == [3, 900][s.tag as usize]), "echoes: {echoes}");
        assert!(bench.counters.link(LinkId(0)).disconnects.get() > 10);
    }
}

#[test]
fn trailing_nul_and_ff_on_a_line_are_no_noise_also_when_they_come_a_moment_later() {
    use super::line::{honest_rtu, rtu_config};
    for (padding, after) in [(&[0u8][..], 0), (&[0xFF, 0], 0), (&[0], MS / 10), (&[0xFF], MS)] {
        let transport = ModbusTransport::RtuOverTcp(HostPort { host: "127.0.0.1".into(), port: 502 });
        let config = ModbusConfig { transport, ..rtu_config() };
        let script: Script = Box::new(move |request| {
            let mut reply = honest_rtu(request);
            if after == 0 {
                reply.extend(padding);
                return vec![(MS / 10, reply)];
            }
            vec![(MS / 10, reply), (MS / 10 + after, padding.to_vec())]
        });
        let mut bench = bench_of(&config, vec![(vec![tag(0, 3)], script)], None);
        bench.run_ms(1_000);
        let link = bench.counters.link(LinkId(0));
        assert_eq!((link.garbage.get(), link.broken.get(), link.timeouts.get()), (0, 0, 0), "{padding:?} {after}");
        assert_eq!((bench.counters.scans[0].deadline_misses.get(), bench.status(0)), (0, Status::GOOD));
    }
}
