//! Runs new seeds on every core, each once, and keeps the failures.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::broken::{Broken, Kind};
use super::memory::mix;
use super::parts::RealParts;
use super::run::run;
use super::scenario::Scenario;

/// Seeds below are looked at by tests and by hand, again and again.
pub const FIXED_BELOW: u64 = 1 << 20;
/// Where seeds are drawn from that nobody has named; the numbers from a base on are all still seeds.
const FRESH_FROM: u64 = 1 << 32;
const FRESH_BITS: u32 = 62;
/// How often it is told how far the hunt is.
const PROGRESS: Duration = Duration::from_secs(10);

/// What is hunted for, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Hunt {
    /// The first seed.
    pub base: u64,
    /// Virtual hours of trouble; else as long as the seed says.
    pub hours: Option<f64>,
    /// No seed is begun after so long, or after so many.
    pub time: Option<Duration>,
    pub seeds: Option<u64>,
    pub threads: usize,
}

/// A seed that breaks something.
#[derive(Debug, Clone)]
pub struct Find {
    pub seed: u64,
    pub broken: Broken,
    /// The last events before.
    pub last: Vec<String>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    pub seeds: u64,
    pub broken: u64,
    pub virtual_ns: u64,
    pub after: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Bag {
    pub progress: Progress,
    pub finds: BTreeMap<Kind, Vec<u64>>,
}

/// A first seed from whatever is never the same twice; never one of the fixed ones.
pub fn fresh_base(entropy: u64) -> u64 {
    FRESH_FROM + (mix(entropy) >> (u64::BITS - FRESH_BITS))
}

fn try_seed(seed: u64, hours: Option<f64>) -> Result<u64, Find> {
    let scenario = catch_unwind(|| Scenario::of_seed(seed, hours));
    let broken = match scenario.unwrap_or_else(|_| Err("a panic while the scenario was made".to_owned())) {
        Ok(scenario) => {
            let outcome = run(&scenario, &RealParts);
            match outcome.broken {
                None => return Ok(outcome.virtual_ns),
                Some(broken) => broken,
            }
        }
        Err(error) => (Kind::Unrunnable.says(error), Vec::new()),
    };
    Err(Find { seed, broken: broken.0, last: broken.1 })
}

/// Hunts, and tells of each find and of how far it is.
pub fn hunt(hunt: &Hunt, mut find: impl FnMut(&Find), mut progress: impl FnMut(&Progress)) -> Bag {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let (tell, told) = mpsc::channel();
    let mut bag = Bag::default();
    std::thread::scope(|scope| {
        for _ in 0..hunt.threads.max(1) {
            let (tell, next) = (tell.clone(), &next);
            scope.spawn(move || {
                loop {
                    let n = next.fetch_add(1, Relaxed);
                    let over = hunt.time.is_some_and(|time| began.elapsed() >= time);
                    let Some(seed) = hunt.base.checked_add(n) else { return };
                    if over || hunt.seeds.is_some_and(|seeds| n >= seeds) {
                        return;
                    }
                    if tell.send(try_seed(seed, hunt.hours)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        let mut next_progress = PROGRESS;
        loop {
            let wait = next_progress.saturating_sub(began.elapsed());
            let one = match told.recv_timeout(wait) {
                Ok(one) => Some(one),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            if let Some(one) = one {
                bag.progress.seeds += 1;
                match one {
                    Ok(virtual_ns) => bag.progress.virtual_ns += virtual_ns,
                    Err(found) => {
                        bag.progress.broken += 1;
                        bag.finds.entry(found.broken.kind).or_default().push(found.seed);
                        find(&found);
                    }
                }
            }
            bag.progress.after = began.elapsed();
            if bag.progress.after >= next_progress {
                next_progress = bag.progress.after + PROGRESS;
                progress(&bag.progress);
            }
        }
    });
    bag.progress.after = began.elapsed();
    bag.finds.values_mut().for_each(|seeds| seeds.sort_unstable());
    bag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_seeds_are_never_fixed_ones_nor_the_same_twice() {
        let bases: std::collections::BTreeSet<u64> = (0..10_000).map(fresh_base).collect();
        assert_eq!(bases.len(), 10_000);
        assert!(bases.iter().all(|base| *base >= FIXED_BELOW && base.checked_add(1 << 40).is_some()));
    }

    #[test]
    fn a_hunt_runs_each_seed_once_and_as_many_as_it_was_told() {
        let (base, hours) = (FRESH_FROM, Some(0.0));
        let bag = hunt(&Hunt { base, hours, time: None, seeds: Some(6), threads: 2 }, |_| {}, |_| {});
        assert_eq!(bag.progress.seeds, 6);
        assert_eq!(bag.progress.broken, bag.finds.values().map(|seeds| seeds.len() as u64).sum::<u64>());
    }
}
