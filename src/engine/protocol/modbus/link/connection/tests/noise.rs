//! A million frames over a line full of noise: no wrong value, no panic, and the request after the noise is answered.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::line::{rtu_config, unit_tag, with_crc};
use super::*;

/// What the device has said, by register: when it was asked, and the value of that reply alone.
#[derive(Default)]
struct Truth {
    asked: BTreeMap<u16, Vec<(u64, u16)>>,
    /// Requests whose reply arrives as it should.
    clean: u64,
    all: u64,
}

/// One reply as the line makes it; whether it still is one.
fn spoil(reply: Vec<u8>, rng: &mut fastrand::Rng) -> (Vec<(u64, Vec<u8>)>, bool) {
    let at = MS + rng.u64(0..MS);
    let noise = |rng: &mut fastrand::Rng| -> Vec<u8> { (0..rng.usize(1..40)).map(|_| rng.u8(..)).collect() };
    let mut bent = reply.clone();
    match rng.u8(0..16) {
        0 => {
            // One to three bits: the CRC finds them all.
            let mut bits: Vec<usize> = (0..rng.usize(1..4)).map(|_| rng.usize(0..bent.len() * 8)).collect();
            bits.sort_unstable();
            bits.dedup();
            bits.iter().for_each(|bit| bent[bit / 8] ^= 1 << (bit % 8));
            (vec![(at, bent)], false)
        }
        1 => {
            // A burst of up to 16 bits: all found as well.
            let first = rng.usize(0..bent.len() - 1);
            let burst = rng.u16(1..);
            bent[first] ^= burst as u8;
            bent[first + 1] ^= (burst >> 8) as u8;
            (vec![(at, bent)], false)
        }
        2 => (vec![(at, reply[..rng.usize(0..reply.len())].to_vec())], false),
        3 => {
            bent.remove(rng.usize(0..reply.len() - 1));
            (vec![(at, bent)], false)
        }
        4 => {
            // A whole frame too long: its end is behind the place where the reply's should be.
            bent.extend(noise(rng));
            (vec![(at, bent)], false)
        }
        5 => (vec![(at, noise(rng))], false),
        6 => {
            // Another unit's reply.
            bent.truncate(reply.len() - 2);
            bent[0] = 9;
            (vec![(at, with_crc(bent))], false)
        }
        7 => (vec![], false),
        // Late, but within the pause that its unit is given.
        8 => (vec![(rng.u64(34..70) * MS, reply)], false),
        9 => {
            // Noise before it, that is no beginning of it.
            let mut bytes: Vec<u8> = noise(rng).into_iter().map(|byte| byte | 0x80).collect();
            bytes.extend(reply);
            (vec![(at, bytes)], true)
        }
        10 => {
            // Noise behind it, after a while.
            (vec![(at, reply), (at + rng.u64(200_000..3 * MS), noise(rng))], true)
        }
        11 => (reply.into_iter().enumerate().map(|(i, byte)| (at + i as u64 * 95_486, vec![byte])).collect(), true),
        _ => (vec![(at, reply)], true),
    }
}

#[test]
fn a_million_frames_of_noise_bring_no_wrong_value() {
    let seed = std::env::var("FIELDBEAT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4711);
    println!("FIELDBEAT_SEED={seed}");
    let frames = 1_000_000;
    let mut rng = fastrand::Rng::with_seed(seed);
    let truth = Rc::new(RefCell::new(Truth::default()));
    let (shared, clock) = (truth.clone(), Rc::new(std::cell::Cell::new(0u64)));
    let now = clock.clone();
    let script: Script = Box::new(move |request| {
        let mut truth = shared.borrow_mut();
        let register = u16::from_be_bytes([request[2], request[3]]);
        let value = rng.u16(..);
        truth.asked.entry(register).or_default().push((now.get(), value));
        let [high, low] = value.to_be_bytes();
        let (pieces, clean) = spoil(with_crc(vec![request[0], request[1], 2, high, low]), &mut rng);
        truth.all += 1;
        truth.clean += u64::from(clean);
        pieces
    });
    let registers = [3u16, 400];
    let tags = registers.iter().map(|register| unit_tag(1, *register)).collect();
    let mut bench = bench_of(&rtu_config(), vec![(tags, script)], None);
    let mut checked = 0u64;
    while truth.borrow().all < frames {
        for _ in 0..50 {
            clock.set(bench.executor.floor_for_test().world.now);
            bench.executor.turn();
        }
        bench.world_end = bench.executor.floor_for_test().world.now;
        // What was sent is as old as the last requests.
        bench.requests.borrow_mut().clear();
        while bench.reports.pop().is_ok() {}
        let mut truth = truth.borrow_mut();
        for sample in bench.drain().iter().filter(|s| s.status().is_good()) {
            let asked = &truth.asked[&registers[sample.tag as usize]];
            // The request that was under way at the middle of the exchange.
            let (_, value) = asked.iter().rev().find(|(at, _)| *at <= sample.t).unwrap();
            assert_eq!(u64::from(*value), sample.value, "seed {seed}: sample {sample:?}");
            checked += 1;
        }
        for asked in truth.asked.values_mut() {
            let old = asked.len().saturating_sub(64);
            asked.drain(..old);
        }
    }
    let link = bench.counters.link(LinkId(0));
    let truth = truth.borrow();
    println!(
        "{} requests, {} clean, {} accepted; {} broken, {} short, {} garbage, {} foreign, {} late, {} timeouts",
        truth.all,
        truth.clean,
        link.replies.get(),
        link.broken.get(),
        link.short_frames.get(),
        link.garbage.get(),
        link.foreign.get(),
        link.late.get(),
        link.timeouts.get()
    );
    // But for the few that meet noise which reaches into their exchange and looks like their beginning.
    let lost = truth.clean - link.replies.get();
    assert!(lost <= frames / 10_000, "{lost} replies that came whole were not taken");
    assert!(checked >= link.replies.get() - 1);
    let ends = link.replies.get() + link.exceptions.get() + link.timeouts.get() + link.broken.get();
    assert!(link.requests.get() - ends <= 1, "each request has one end");
    for count in [&link.crc_errors, &link.short_frames, &link.garbage, &link.foreign, &link.late] {
        assert!(count.get() > frames / 200, "{}", count.get());
    }
}
