//! What happened in a run: a hash over all of it, and the last of it in words.

use std::collections::VecDeque;
use std::fmt;

/// Events that are kept to be shown, unless more are wanted.
pub const KEPT: usize = 30;
/// FNV-1a, 64 bits.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// One event. Its text has a `{}` for each number.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Virtual nanoseconds.
    pub at: u64,
    pub what: &'static str,
    pub numbers: [u64; 4],
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>14.6} s  ", self.at as f64 / 1e9)?;
        let mut numbers = self.numbers.iter();
        for (i, part) in self.what.split("{}").enumerate() {
            if i > 0
                && let Some(number) = numbers.next()
            {
                write!(f, "{number}")?;
            }
            f.write_str(part)?;
        }
        Ok(())
    }
}

/// See the module.
#[derive(Debug)]
pub struct Log {
    hash: u64,
    count: u64,
    kept: usize,
    last: VecDeque<Event>,
}

impl Log {
    /// Keeps so many events.
    pub fn new(kept: usize) -> Log {
        Log { hash: FNV_START, count: 0, kept, last: VecDeque::with_capacity(kept.min(KEPT)) }
    }

    pub fn add(&mut self, at: u64, what: &'static str, numbers: [u64; 4]) {
        let mut hash = self.hash ^ what.len() as u64 ^ u64::from(what.as_bytes()[0]) << 8;
        for word in [at, numbers[0], numbers[1], numbers[2], numbers[3]] {
            // A word at a time: the hash tells runs apart, it guards nothing.
            hash = (hash ^ word).wrapping_mul(FNV_PRIME);
            hash ^= hash >> 29;
        }
        self.hash = hash;
        self.count += 1;
        if self.last.len() >= self.kept {
            self.last.pop_front();
        }
        self.last.push_back(Event { at, what, numbers });
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last events, the oldest first.
    pub fn last(&self) -> Vec<String> {
        self.last.iter().map(Event::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_an_event_counts_in_the_hash() {
        let hash = |at, numbers| {
            let mut log = Log::new(KEPT);
            log.add(at, "a {} b {}", numbers);
            log.hash()
        };
        let base = hash(1, [1, 2, 3, 4]);
        assert_eq!(base, hash(1, [1, 2, 3, 4]));
        for other in [hash(2, [1, 2, 3, 4]), hash(1, [2, 2, 3, 4]), hash(1, [1, 2, 3, 5])] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn the_last_events_are_told_with_their_numbers() {
        let mut log = Log::new(KEPT);
        for n in 0..100 {
            log.add(n, "link {} sent {}", [n, 7, 0, 0]);
        }
        assert_eq!(log.last().len(), KEPT);
        assert!(log.last()[KEPT - 1].ends_with("link 99 sent 7"));
    }
}
