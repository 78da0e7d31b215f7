//! A controller's clock on ours: the smallest distance that was seen between the two is the one without delays.

use crate::tag::{NANOS_PER_SEC, Nanos};

/// How long a smallest distance counts: quartzes drift apart by some 100 µs in so long.
const WINDOW: Nanos = Nanos(NANOS_PER_SEC);
/// No frame waits so long between controller and kernel: beyond it, the controller's clock was set.
const DELAY_MAX: u64 = NANOS_PER_SEC;

/// Maps a controller's times to CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy)]
pub struct HardwareClock {
    /// Since when the present window runs.
    since: Nanos,
    /// Software time − hardware time, the smallest of this window and of the one before.
    present: i64,
    before: i64,
    /// The last time that was given. Frames overtake each other in controllers with several mailboxes, and some have no
    /// stamp: a tag's time goes forward all the same, and no two of its values have the same.
    last: Nanos,
}

impl HardwareClock {
    pub fn new() -> HardwareClock {
        HardwareClock { since: Nanos::ZERO, present: i64::MAX, before: i64::MAX, last: Nanos::ZERO }
    }

    /// A frame came that the controller gave no stamp.
    #[inline]
    pub fn without_stamp(&mut self, software: Nanos) -> Nanos {
        if self.present == i64::MAX && self.before == i64::MAX {
            // None has one: the kernel's own times are in order.
            return software;
        }
        self.forward(software)
    }

    /// When a frame came that the controller stamped with `hardware`, and the kernel took at `software`.
    #[inline]
    pub fn on_monotonic(&mut self, hardware: Nanos, software: Nanos) -> Nanos {
        let time = self.estimate(hardware, software);
        self.forward(time)
    }

    #[inline]
    fn forward(&mut self, time: Nanos) -> Nanos {
        self.last = time.max(self.last + Nanos(1));
        self.last
    }

    fn estimate(&mut self, hardware: Nanos, software: Nanos) -> Nanos {
        let distance = (software.0 as i64).wrapping_sub(hardware.0 as i64);
        if software.since(self.since) >= WINDOW {
            (self.since, self.before, self.present) = (software, self.present, i64::MAX);
        }
        let smallest = self.present.min(self.before);
        if smallest != i64::MAX && distance.abs_diff(smallest) > DELAY_MAX {
            (self.since, self.before, self.present) = (software, i64::MAX, distance);
            return software;
        }
        self.present = self.present.min(distance);
        let delay = distance.saturating_sub(self.present.min(self.before));
        Nanos(software.0.saturating_sub(delay.max(0) as u64))
    }
}

impl Default for HardwareClock {
    fn default() -> HardwareClock {
        HardwareClock::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn delays_of_the_software_fall_away() {
        let mut clock = HardwareClock::new();
        // The controller started 5 s later than we did.
        let ours = |hardware: u64| Nanos(hardware + 5_000 * MS);
        assert_eq!(clock.on_monotonic(Nanos(10 * MS), ours(10 * MS) + Nanos(40_000)), ours(10 * MS) + Nanos(40_000));
        assert_eq!(clock.on_monotonic(Nanos(20 * MS), ours(20 * MS) + Nanos(10_000)), ours(20 * MS) + Nanos(10_000));
        for (at, late) in [(30, 900_000), (40, 12_000), (50, 10_000)] {
            let time = clock.on_monotonic(Nanos(at * MS), ours(at * MS) + Nanos(late));
            assert_eq!(time, ours(at * MS) + Nanos(10_000));
        }
    }

    #[test]
    fn times_always_go_forward() {
        let mut clock = HardwareClock::new();
        let mut last = Nanos::ZERO;
        // The first frames waited long, then one that did not shows how long; one in between has no stamp.
        for (wire, waited, stamped) in
            [(10, 5_000_000, true), (16, 10_000, true), (17, 900_000, false), (18, 5_000, true)]
        {
            let software = Nanos(wire * MS + waited);
            let time =
                if stamped { clock.on_monotonic(Nanos(wire * MS), software) } else { clock.without_stamp(software) };
            assert!(time > last && time <= software, "{time:?} after {last:?}");
            last = time;
        }
        // Learned before: its own time would be earlier than that of the one that waited.
        assert_eq!(clock.on_monotonic(Nanos(18 * MS + 1), Nanos(18 * MS + 6_000)), Nanos(18 * MS + 5_001));
        // One that another has overtaken in the controller.
        let mut clock = HardwareClock::new();
        let first = clock.on_monotonic(Nanos(11 * MS), Nanos(11 * MS + 5_000));
        let overtaken = clock.on_monotonic(Nanos(10 * MS), Nanos(11 * MS + 6_000));
        assert_eq!(overtaken, first + Nanos(1), "its own would be 10.005 ms");
    }

    #[test]
    fn a_drift_is_followed_and_no_time_lies_in_the_future() {
        // 100 ppm apart, either way.
        for sign in [1i64, -1] {
            let mut clock = HardwareClock::new();
            for at in 0..20_000u64 {
                let software = (100_000 + at) * MS;
                let hardware = (at * MS).saturating_add_signed(sign * (at * 100) as i64);
                let time = clock.on_monotonic(Nanos(hardware), Nanos(software));
                assert!(time.0 <= software && software - time.0 < 250_000, "{sign} {at}: {}", software - time.0);
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_begins_anew() {
        let mut clock = HardwareClock::new();
        clock.on_monotonic(Nanos(10 * MS), Nanos(1_000 * MS));
        assert_eq!(clock.on_monotonic(Nanos(9_000_000 * MS), Nanos(1_010 * MS)), Nanos(1_010 * MS));
        assert_eq!(clock.on_monotonic(Nanos(9_000_010 * MS), Nanos(1_025 * MS)), Nanos(1_020 * MS));
    }
}
