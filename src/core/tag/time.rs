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

/// When a value was read, in the 64 bits of a sample: on CLOCK_MONOTONIC, or the source's own UTC, which no step of this
/// machine's clock moves and which may lie before its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The highest bit: the others are UTC. Nanoseconds of neither clock need it before the year 2262.
    const UTC: u64 = 1 << 63;

    /// On this machine's CLOCK_MONOTONIC.
    #[inline]
    pub const fn mono(t: Nanos) -> Stamp {
        Stamp(t.0 & !Stamp::UTC)
    }

    /// Of a source that has a clock: nanoseconds since the Unix epoch; what is before that counts as the epoch.
    pub const fn utc(utc_ns: i64) -> Stamp {
        let utc_ns = if utc_ns < 0 { 0 } else { utc_ns as u64 };
        Stamp(utc_ns | Stamp::UTC)
    }

    /// Whether it is the source's own time.
    #[inline]
    pub const fn is_utc(self) -> bool {
        self.0 & Stamp::UTC != 0
    }

    /// In UTC, nanoseconds since the Unix epoch.
    #[inline]
    pub fn utc_ns(self, clock: &ClockPair) -> i64 {
        if self.is_utc() { (self.0 & !Stamp::UTC) as i64 } else { clock.utc_ns_of(Nanos(self.0)) }
    }

    /// How long before `now`, as far as the clocks tell; zero of what lies ahead.
    pub fn age(self, now: Nanos, clock: &ClockPair) -> Nanos {
        if !self.is_utc() {
            return now.since(Nanos(self.0));
        }
        let utc_now = clock.utc_ns_of(now);
        Nanos(u64::try_from(utc_now.saturating_sub(self.utc_ns(clock))).unwrap_or(0))
    }
}

impl From<Nanos> for Stamp {
    #[inline]
    fn from(t: Nanos) -> Stamp {
        Stamp::mono(t)
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
    fn the_time_of_a_source_is_not_moved_by_this_machines_clocks() {
        let pair = ClockPair { mono: Nanos(1_000), utc_ns: 5_000 };
        let early = Stamp::utc(3);
        assert!(early.is_utc() && !Stamp::mono(Nanos(400)).is_utc());
        assert_eq!((early.utc_ns(&pair), Stamp::mono(Nanos(400)).utc_ns(&pair)), (3, 4_400));
        assert_eq!(Stamp::utc(-1).utc_ns(&pair), 0);
        assert_eq!(
            (early.age(Nanos(1_500), &pair), Stamp::mono(Nanos(400)).age(Nanos(1_500), &pair)),
            (Nanos(5_497), Nanos(1_100))
        );
        assert_eq!(Stamp::utc(i64::MAX).age(Nanos(1_500), &pair), Nanos::ZERO);
    }

    #[test]
    fn a_length_is_never_negative() {
        assert_eq!(Nanos(3) - Nanos(5), Nanos::ZERO);
        assert_eq!(Nanos::NEVER + Nanos(1), Nanos::NEVER);
    }
}
