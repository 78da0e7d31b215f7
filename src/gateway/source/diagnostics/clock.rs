//! The system clock: how far it moved against the monotonic one, and what the kernel's time discipline says of it.

use super::values::{Was, float};
use crate::config::GatewaySignal;
use crate::hub::clock_pair;
use crate::tag::ClockPair;

/// Less than this is how finely both clocks can be read at once.
const STEP_MIN_NS: i64 = 100_000;

/// As `adjtimex(2)` tells.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Discipline {
    pub offset_s: f64,
    pub error_s: f64,
    pub is_synchronised: bool,
}

/// Follows the clock from look to look.
pub struct ClockWatch {
    last: ClockPair,
    /// Over the last interval.
    pub step_s: f64,
    /// `None`: the kernel does not tell.
    pub discipline: Option<Discipline>,
}

impl ClockWatch {
    pub fn new() -> ClockWatch {
        ClockWatch { last: clock_pair(), step_s: 0.0, discipline: None }
    }

    /// What it tells of the clock; `None`: the signal is another's.
    pub fn tells(&self, what: GatewaySignal) -> Option<Was> {
        let kept = |of: fn(&Discipline) -> f64| self.discipline.as_ref().map_or(Was::Never, |clock| float(of(clock)));
        Some(match what {
            GatewaySignal::ClockOffset => kept(|clock| clock.offset_s),
            GatewaySignal::ClockError => kept(|clock| clock.error_s),
            GatewaySignal::ClockStep => float(self.step_s),
            _ => return None,
        })
    }

    pub fn look(&mut self) {
        self.follow(clock_pair());
        self.discipline = Discipline::now();
    }

    fn follow(&mut self, now: ClockPair) {
        let moved = now.utc_ns.saturating_sub(self.last.utc_ns_of(now.mono));
        self.step_s = if moved.abs() < STEP_MIN_NS { 0.0 } else { moved as f64 / 1e9 };
        self.last = now;
    }
}

impl Discipline {
    /// `None`: the kernel does not tell.
    pub fn now() -> Option<Discipline> {
        // SAFETY: all zeroes are a valid `timex`, and ask for nothing to be changed.
        let mut timex: libc::timex = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is that of a live struct.
        let state = unsafe { libc::adjtimex(&raw mut timex) };
        (state >= 0).then(|| Discipline::of(&timex))
    }

    fn of(timex: &libc::timex) -> Discipline {
        let unit = if timex.status & libc::STA_NANO != 0 { 1e-9 } else { 1e-6 };
        Discipline {
            offset_s: timex.offset as f64 * unit,
            error_s: timex.maxerror as f64 * 1e-6,
            is_synchronised: timex.status & libc::STA_UNSYNC == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Nanos;

    #[test]
    fn what_the_kernel_tells_of_the_clock_is_in_seconds_and_says_whether_a_server_keeps_it() {
        // SAFETY: all zeroes are a valid `timex`.
        let mut timex: libc::timex = unsafe { std::mem::zeroed() };
        (timex.offset, timex.maxerror, timex.status) = (-250_000, 16_000, libc::STA_PLL);
        let kept = Discipline { offset_s: -0.25, error_s: 0.016, is_synchronised: true };
        assert_eq!(Discipline::of(&timex), kept);
        timex.status = libc::STA_UNSYNC | libc::STA_NANO;
        let (offset_s, is_synchronised) = (-250e-6, false);
        assert_eq!(Discipline::of(&timex), Discipline { offset_s, is_synchronised, ..kept });
    }

    #[test]
    fn each_signal_of_the_clock_tells_its_own_figure() {
        let last = ClockPair { mono: Nanos(0), utc_ns: 0 };
        let discipline = Discipline { offset_s: -0.25, error_s: 0.016, is_synchronised: true };
        let mut watch = ClockWatch { last, step_s: 2.5, discipline: Some(discipline) };
        assert_eq!(watch.tells(GatewaySignal::ClockOffset), Some(float(-0.25)));
        assert_eq!(watch.tells(GatewaySignal::ClockError), Some(float(0.016)));
        assert_eq!(watch.tells(GatewaySignal::ClockStep), Some(float(2.5)));
        assert_eq!(watch.tells(GatewaySignal::Uptime), None);
        watch.discipline = None;
        assert_eq!(watch.tells(GatewaySignal::ClockOffset), Some(Was::Never));
    }

    #[test]
    fn a_step_shows_once_and_what_cannot_be_measured_not_at_all() {
        let at = |seconds: u64, utc_ns| ClockPair { mono: Nanos(seconds * 1_000_000_000), utc_ns };
        let mut watch = ClockWatch { last: at(1, 1_000_000_000), step_s: 0.0, discipline: None };
        let mut steps = Vec::new();
        for pair in [at(2, 2_000_050_000), at(3, 5_000_050_000), at(4, 6_000_050_000), at(5, 6_500_050_000)] {
            watch.follow(pair);
            steps.push(watch.step_s);
        }
        assert_eq!(steps, [0.0, 2.0, 0.0, -0.5]);
    }
}
