//! How late an executor wakes on its CPU, measured as the gateway does at its start, and the guard it would choose.

use std::collections::BTreeSet;

use super::{Check, Visit};
use crate::config::{Config, Guard, ReleaseMode};
use crate::limits::PACK_RELEASES_MAX;
use crate::rt::thread::{self, GUARD_MAX, WakeUp};

const WAKE_UP: &str = "A release is as late as the wake-up; the guard covers that time by spinning, up to 200 µs.";

/// Wake-ups of an executor when no configuration says how many: one group at 100 Hz.
const WAKE_UPS_PER_S: f64 = 100.0;

/// Measures on the visited CPUs, some 70 ms each, and adds what was found.
pub fn measure(visit: &mut Visit, config: Option<&Config>) {
    let priority = config.map_or(super::rights::PRIORITY_DEFAULT, |config| config.realtime.priority);
    let executors = visit.executor_cpus.len().max(1) as f64;
    let wake_ups_per_s = config.map_or(WAKE_UPS_PER_S, |config| wake_ups_per_s(config) / executors);
    for cpu in visit.executor_cpus.clone() {
        let measured = std::thread::Builder::new().stack_size(thread::STACK_BYTES).spawn(move || {
            let complete = thread::enter(cpu, priority).is_empty();
            (thread::measure_wake_up(thread::CALIBRATION_ROUNDS), complete)
        });
        let check = match measured.map(std::thread::JoinHandle::join) {
            Ok(Ok((late, complete))) => judge(cpu, late, complete, wake_ups_per_s, config),
            _ => Check::unknown("wake_up", WAKE_UP, format!("CPU {cpu}: cannot start a thread")),
        };
        visit.worst = visit.worst.max(check.state);
        visit.checks.push(check);
    }
}

/// Of a group that is spread, some links share a wake-up.
fn wake_ups_per_s(config: &Config) -> f64 {
    let pairs: BTreeSet<(usize, usize)> = config.tags.iter().map(|t| (t.group, t.link)).collect();
    let of_group = |(index, group): (usize, &crate::config::GroupConfig)| {
        let links = pairs.iter().filter(|(of, _)| *of == index).count();
        let packs =
            if group.release == ReleaseMode::Together { links.min(1) } else { links.div_ceil(PACK_RELEASES_MAX) };
        packs as f64 / group.interval().as_secs_f64()
    };
    config.groups.iter().enumerate().map(of_group).sum()
}

fn judge(cpu: u32, late: WakeUp, complete: bool, wake_ups_per_s: f64, config: Option<&Config>) -> Check {
    let us = |time: crate::tag::Nanos| time.0 as f64 / 1000.0;
    let guard = match config.map(|config| config.realtime.guard) {
        Some(Guard::Fixed(guard)) => format!("guard {:.0} µs as configured", us(guard)),
        _ => format!("guard {:.0} µs", us(thread::guard_for(late, wake_ups_per_s))),
    };
    let ordinary = if complete { "" } else { ", measured without FIFO or pinning" };
    let found = format!(
        "CPU {cpu}: 95 % of wake-ups within {:.1} µs{ordinary}; {guard} at {wake_ups_per_s:.0} wake-ups a second",
        us(late.p95)
    );
    if late.p95 > GUARD_MAX {
        let mend = "fix the findings above first: isolation, sleep states, PREEMPT_RT";
        return Check::warn("wake_up", WAKE_UP, found, mend);
    }
    Check::ok("wake_up", WAKE_UP, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use crate::tag::Nanos;

    #[test]
    fn the_guard_is_shown_and_late_wake_ups_are_a_warning() {
        let late =
            |p95| WakeUp { p10: Nanos::from_micros(2), p50: Nanos::from_micros(2), p95: Nanos::from_micros(p95) };
        let good = judge(3, late(8), true, 100.0, None);
        assert_eq!(good.state, State::Ok);
        assert!(good.found.contains("CPU 3: 95 % of wake-ups within 8.0 µs; guard 10 µs at 100"), "{good:?}");
        let bad = judge(3, late(900), false, 100.0, None);
        assert!(bad.state == State::Warn && bad.found.contains("without FIFO"), "{bad:?}");
    }
}
