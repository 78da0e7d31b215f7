//! One unit (slave) behind a connection: is it answering, and when is it asked again?

use crate::limits::{PROBE_PAUSE_MAX, PROBE_PAUSE_MIN, SILENT_AFTER_TIMEOUTS};
use crate::tag::Nanos;

/// A unit that stays silent is probed with growing pauses, so that it does not hold the line.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// Answering, or not yet known; so many timeouts and broken replies in a row.
    Talking { timeouts: u32 },
    /// Asked once more at `probe_at`, by one request at a time.
    Silent { probe_at: Nanos, pause: Nanos },
}

impl Default for Unit {
    fn default() -> Unit {
        Unit::Talking { timeouts: 0 }
    }
}

/// What a timeout made of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterTimeout {
    StillTalking,
    BecameSilent,
    StillSilent,
}

impl Unit {
    pub fn is_silent(&self) -> bool {
        matches!(self, Unit::Silent { .. })
    }

    /// When a silent unit is asked next.
    pub fn probe_at(&self) -> Option<Nanos> {
        match self {
            Unit::Talking { .. } => None,
            Unit::Silent { probe_at, .. } => Some(*probe_at),
        }
    }

    /// Whether a request may go out now. Asking for a silent unit's probe takes it: the next is a pause away.
    pub fn may_ask(&mut self, now: Nanos) -> bool {
        match self {
            Unit::Talking { .. } => true,
            Unit::Silent { probe_at, pause } => {
                let due = now >= *probe_at;
                if due {
                    *probe_at = now + *pause;
                }
                due
            }
        }
    }

    /// A new connection: a silent unit is probed at once.
    pub fn reconnected(&mut self, now: Nanos) {
        if let Unit::Silent { probe_at, .. } = self {
            *probe_at = now;
        }
    }

    /// It answered, be it with an exception. True when it had been silent.
    pub fn answered(&mut self) -> bool {
        let was_silent = self.is_silent();
        *self = Unit::Talking { timeouts: 0 };
        was_silent
    }

    /// It answered, but nothing that could be read. It goes on being asked as before. True when that, or silence, has
    /// gone on for so long that it counts as away.
    pub fn answered_badly(&mut self) -> bool {
        match self {
            Unit::Talking { timeouts } => {
                *timeouts = timeouts.saturating_add(1);
                *timeouts >= SILENT_AFTER_TIMEOUTS
            }
            Unit::Silent { .. } => true,
        }
    }

    pub fn timed_out(&mut self, now: Nanos) -> AfterTimeout {
        match self {
            Unit::Talking { timeouts } => {
                *timeouts = timeouts.saturating_add(1);
                if *timeouts < SILENT_AFTER_TIMEOUTS {
                    return AfterTimeout::StillTalking;
                }
                *self = Unit::Silent { probe_at: now + PROBE_PAUSE_MIN, pause: PROBE_PAUSE_MIN };
                AfterTimeout::BecameSilent
            }
            Unit::Silent { probe_at, pause } => {
                *pause = Nanos(pause.0 * 2).min(PROBE_PAUSE_MAX);
                *probe_at = now + *pause;
                AfterTimeout::StillSilent
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_unit_is_probed_with_growing_pauses_until_it_answers() {
        let mut unit = Unit::default();
        let mut now = Nanos::from_millis(1);
        for _ in 1..SILENT_AFTER_TIMEOUTS {
            assert_eq!(unit.timed_out(now), AfterTimeout::StillTalking);
        }
        assert_eq!(unit.timed_out(now), AfterTimeout::BecameSilent);
        let mut pause = PROBE_PAUSE_MIN;
        for _ in 0..10 {
            assert!(!unit.may_ask(now));
            now += pause;
            assert!(unit.may_ask(now) && !unit.may_ask(now), "one probe, not two");
            assert_eq!(unit.timed_out(now), AfterTimeout::StillSilent);
            pause = Nanos(pause.0 * 2).min(PROBE_PAUSE_MAX);
        }
        assert!(unit.answered());
        assert!(unit.may_ask(now) && !unit.answered());
    }
}
