//! Time as the gateway knows it: monotonic nanoseconds on the floor, UTC only where people read it.

use std::ops::{Add, AddAssign, Sub};

/// Nanoseconds in a second.
pub const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A point on CLOCK_MONOTONIC or a length of time, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    pub const ZERO: Nanos = Nanos(0);
    /// Later than everything that happens.
    pub const NEVER: Nanos = Nanos(u64::MAX);

    pub const fn from_millis(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }

    pub const fn from_micros(us: u64) -> Nanos {
        Nanos(us * 1_000)
    }

    /// `self − earlier`, zero when `earlier` is later.
    #[inline]
    pub const fn since(self, earlier: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }

    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_SEC as f64
    }
}

impl Add for Nanos {
    type Output = Nanos;
    #[inline]
    fn add(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Nanos {
    #[inline]
    fn add_assign(&mut self, other: Nanos) {
        *self = *self + other;
    }
}

impl Sub for Nanos {
    type Output = Nanos;
    #[inline]
    fn sub(self, other: Nanos) -> Nanos {
        self.since(other)
    }
}

/// One instant read on both clocks, so that monotonic stamps can be told in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockPair {
    /// CLOCK_MONOTONIC.
    pub mono: Nanos,
    /// CLOCK_REALTIME, nanoseconds since 1970-01-01T00:00:00Z.
    pub utc_ns: i64,
}

impl ClockPair {
    /// The UTC time of a monotonic stamp, nanoseconds since the Unix epoch.
    pub fn utc_ns_of(&self, mono: Nanos) -> i64 {
        let distance = mono.0 as i128 - self.mono.0 as i128;
        (self.utc_ns as i128 + distance).clamp(i64::MIN as i128, i64::MAX as i128) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_before_the_pair_lies_before_it_in_utc() {
        let pair = ClockPair { mono: Nanos(1_000), utc_ns: 5_000 };
        assert_eq!(pair.utc_ns_of(Nanos(400)), 4_400);
        assert_eq!(pair.utc_ns_of(Nanos(1_600)), 5_600);
    }

    #[test]
    fn a_length_is_never_negative() {
        assert_eq!(Nanos(3) - Nanos(5), Nanos::ZERO);
        assert_eq!(Nanos::NEVER + Nanos(1), Nanos::NEVER);
    }
}
