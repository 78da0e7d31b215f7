//! Events of a seed. Each kind has a generator to itself, so that none depends on how many there are of another.

use fastrand::Rng;

use super::super::memory::mix;
use super::events::{ClockStep, Crash, JournalFault, JournalTrouble, Span, Stall, Storm, Write};

const MS: u64 = 1_000_000;

/// A generator for one part of a run, of one executor where there are several.
pub fn rng_of(seed: u64, part: &str, executor: u16) -> Rng {
    let part = part.bytes().fold(u64::from(executor), |part, byte| mix(part << 8 ^ u64::from(byte)));
    Rng::with_seed(mix(seed ^ part))
}

pub fn stalls(seed: u64, executor: u16, length_max: u64, end: u64) -> impl Iterator<Item = Stall> {
    let mut rng = rng_of(seed, "stalls", executor);
    let mut at_ns = rng.u64(..5_000 * MS);
    let stalls = std::iter::from_fn(move || {
        let stall = Stall { executor, at_ns, length_ns: rng.u64(..length_max.max(1)) };
        at_ns += stall.length_ns + rng.u64(100 * MS..20_000 * MS);
        Some(stall)
    });
    stalls.take_while(move |stall| length_max > 0 && stall.at_ns < end)
}

pub fn storms(seed: u64, executor: u16, end: u64) -> impl Iterator<Item = Storm> {
    let mut rng = rng_of(seed, "storms", executor);
    let mut at = rng.u64(..10_000 * MS);
    let storms = std::iter::from_fn(move || {
        let at_ns = at;
        at += rng.u64(100 * MS..30_000 * MS);
        Some(Storm { executor, at_ns })
    });
    storms.take_while(move |storm| storm.at_ns < end)
}

pub fn consumer_stops(seed: u64, end: u64) -> impl Iterator<Item = Span> {
    let mut rng = rng_of(seed, "consumer", 0);
    let mut at = 0;
    let stops = std::iter::from_fn(move || {
        let from_ns = at;
        let until_ns = from_ns + rng.u64(..8_000 * MS);
        at = until_ns + rng.u64(..15_000 * MS);
        Some(Span { from_ns, until_ns: until_ns.min(end) })
    });
    stops.take_while(move |span| span.from_ns < end)
}

pub fn clock_steps(seed: u64, end: u64) -> impl Iterator<Item = ClockStep> {
    let mut rng = rng_of(seed, "clock", 0);
    let mut at = 1_000 * MS;
    let steps = std::iter::from_fn(move || {
        let step = ClockStep { at_ns: at, by_ns: rng.i64(-5_000_000_000..5_000_000_000) };
        at += rng.u64(1_000 * MS..30_000 * MS);
        Some(step)
    });
    steps.take_while(move |step| step.at_ns < end)
}

pub fn crashes(seed: u64, end: u64) -> impl Iterator<Item = Crash> {
    let mut rng = rng_of(seed, "crashes", 0);
    let mut at = rng.u64(..60_000 * MS);
    let crashes = std::iter::from_fn(move || {
        let at_ns = at;
        at += rng.u64(..120_000 * MS);
        Some(Crash { at_ns })
    });
    crashes.take_while(move |crash| crash.at_ns < end)
}

/// Half of the journals are spared.
pub fn journal_faults(seed: u64, end: u64) -> impl Iterator<Item = JournalFault> {
    let mut rng = rng_of(seed, "journal faults", 0);
    let spared = rng.bool();
    let pause_max = (end / 8).clamp(200 * MS, 60_000 * MS);
    let mut at = rng.u64(..pause_max);
    let faults = std::iter::from_fn(move || {
        let what = JournalTrouble::ALL[rng.usize(..JournalTrouble::ALL.len())];
        let length_ns = if what.lasts() { rng.u64(..pause_max.min(10_000 * MS)) } else { 0 };
        let fault = JournalFault { at_ns: at, what, length_ns, draw: rng.u64(..) };
        at += rng.u64(..pause_max);
        Some(fault)
    });
    faults.take_while(move |fault| !spared && fault.at_ns < end)
}

/// When the log's reader takes nothing: a third of the logs have one that never stalls.
pub fn log_stalls(seed: u64, end: u64) -> impl Iterator<Item = Span> {
    let mut rng = rng_of(seed, "log", 0);
    let reads_on = rng.u8(..3) == 0;
    let length_max = (end / 4).max(1);
    let mut at = 0;
    let stalls = std::iter::from_fn(move || {
        let from_ns = at + rng.u64(..length_max);
        let until_ns = from_ns + rng.u64(..length_max);
        at = until_ns;
        Some(Span { from_ns, until_ns: until_ns.min(end) })
    });
    stalls.take_while(move |span| !reads_on && span.from_ns < end)
}

/// `eager`: one after the other.
pub fn writes(seed: u64, executor: u16, eager: bool, end: u64) -> impl Iterator<Item = Write> {
    let mut rng = rng_of(seed, "writes", executor);
    let mut at = if eager { 0 } else { rng.u64(..3_000 * MS) };
    let writes = std::iter::from_fn(move || {
        let orders = if rng.u8(..20) == 0 { 40 } else { 1 };
        let pause_max = if eager || rng.u8(..4) == 0 { 20 * MS } else { 3_000 * MS };
        let write = Write { executor, at_ns: at, draw: rng.u64(..), orders, tag: None };
        at += rng.u64(..pause_max);
        Some(write)
    });
    writes.take_while(move |write| write.at_ns < end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_seed_draws_comes_in_order_and_again_the_same() {
        let end = 600_000 * MS;
        let draw = || -> (Vec<u64>, Vec<u64>, Vec<u64>) {
            (
                stalls(3, 1, 3_000 * MS, end).map(|stall| stall.at_ns).collect(),
                storms(3, 0, end).map(|storm| storm.at_ns).collect(),
                writes(3, 0, false, end).map(|write| write.at_ns).collect(),
            )
        };
        let (stalls, storms, writes) = draw();
        for times in [&stalls, &storms, &writes] {
            assert!(times.len() > 20 && times.is_sorted() && times[times.len() - 1] < end);
        }
        assert_eq!((stalls, storms, writes), draw());
    }
}
