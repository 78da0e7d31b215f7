//! Fieldbeat's wake-up probe: the real executor on each CPU, with a scan rate and no device.
//!
//! Thread, priority, pinning, locked memory, calibration, the way of waiting and the loop are those of the gateway,
//! because they are the gateway's.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fieldbeat::config::{Guard, ReleaseMode};
use fieldbeat::plan::{GroupPlan, LaneOwner, LanePlan, Pace, Plan, ReleasePlan};
use fieldbeat::rt::Report;
use fieldbeat::rt::thread::lock_memory;
use fieldbeat::supervise::floor::{self, Scheduling};
use fieldbeat::tag::{GroupId, Nanos};

use crate::child::Pause;
use crate::cyclictest::ByCpu;
use crate::histogram::Latencies;
use crate::options::PERIOD_US;

/// Steps in which latencies are counted.
pub const UNIT_NS: u64 = 100;
/// How often the reports are taken out of their ring, which holds those of sixteen seconds.
const DRAIN: Duration = Duration::from_millis(100);

/// What one run gave.
#[derive(Debug, Clone)]
pub struct Measured {
    pub by_cpu: ByCpu,
    /// By CPU, as calibrated or set.
    pub guards: BTreeMap<u32, Nanos>,
    /// CPU time that each executor used, by CPU.
    pub cpu_time: BTreeMap<u32, Nanos>,
    /// What the machine did not give.
    pub missing: Vec<String>,
}

/// Measures for `seconds`. `None`: interrupted.
///
/// # Errors
/// When the floor can't be built, or an executor ended by itself, or reports were lost.
pub fn run(cpus: &[u32], priority: u8, guard: Guard, seconds: u64, pause: &Pause) -> io::Result<Option<Measured>> {
    let mut prepared = floor::prepare(Arc::new(idle_plan(cpus)), Scheduling::RealTime { priority, guard })?;
    let mut missing: Vec<String> = prepared.floor_mut().missing.iter().map(ToString::to_string).collect();
    missing.extend(lock_memory().map(|missing| missing.to_string()));
    let mut floor = prepared.start();
    let mut latencies: Vec<Latencies> = cpus.iter().map(|_| Latencies::new(UNIT_NS)).collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if pause(left.min(DRAIN)) {
            return Ok(None);
        }
        let is_over = Instant::now() >= end;
        if is_over {
            floor.stop();
        } else if floor.has_lost_an_executor() {
            return Err(io::Error::other("the probe's executor ended unexpectedly"));
        }
        for (ring, latencies) in floor.reports.iter_mut().zip(&mut latencies) {
            while let Ok(report) = ring.pop() {
                record(report, latencies);
            }
        }
        if is_over {
            break;
        }
    }
    if floor.counters.lanes.iter().any(|executor| executor.reports_dropped.get() > 0) {
        return Err(io::Error::other("the probe's reports were not read in time; was this process stopped?"));
    }
    let cpu_time = floor.counters.lanes.iter().map(|executor| Nanos(executor.cpu_ns.get()));
    Ok(Some(Measured {
        cpu_time: cpus.iter().copied().zip(cpu_time).collect(),
        by_cpu: cpus.iter().copied().zip(latencies).collect(),
        guards: cpus.iter().copied().zip(floor.guards.iter().copied()).collect(),
        missing,
    }))
}

/// One executor a CPU, each with one release a period and no link.
fn idle_plan(cpus: &[u32]) -> Plan {
    let period = Nanos::from_micros(PERIOD_US);
    let release = ReleasePlan { group: GroupId(0), period, phase: Nanos::ZERO, scans: vec![] };
    let executor = |cpu: &u32| LanePlan {
        owner: LaneOwner::Executor { cpu: *cpu },
        links: vec![],
        releases: vec![release.clone()],
        slots_per_s: 0,
    };
    Plan {
        groups: [GroupPlan { name: Arc::from("idle"), pace: Pace::Every(period), release: ReleaseMode::Together }]
            .into_iter()
            .collect(),
        lanes: cpus.iter().map(executor).collect(),
        ..Plan::default()
    }
}

/// An executor that is late by whole periods skips those; cyclictest counts from the first that was missed. So is it
/// here.
fn record(report: Report, latencies: &mut Latencies) {
    if let Report::Released { due, actual, .. } = report {
        latencies.record(actual.since(due).0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_came_three_beats_late_counts_from_the_first_missed() {
        let mut latencies = Latencies::new(UNIT_NS);
        let mut released = |due_us, nominal_us, actual_us| {
            let [due, nominal, actual] = [due_us, nominal_us, actual_us].map(Nanos::from_micros);
            record(Report::Released { group: GroupId(0), due, nominal, actual }, &mut latencies);
        };
        released(5_000, 5_000, 5_002);
        released(6_000, 6_000, 6_003);
        released(7_000, 10_000, 10_040);
        released(11_000, 11_000, 11_001);
        assert_eq!(latencies.by_us().into_iter().collect::<Vec<_>>(), [(1, 1), (2, 1), (3, 1), (3_040, 1)]);
        assert_eq!(latencies.missed(1_000_000), 3);
    }

    #[test]
    fn a_second_of_the_real_floor_is_a_thousand_beats_with_rights_or_without() {
        let sleep = |time| {
            std::thread::sleep(time);
            false
        };
        let cpu = fieldbeat::rt::thread::default_cpus()[0];
        let measured = run(&[cpu], 80, Guard::Auto, 1, &sleep).unwrap().unwrap();
        let latencies = &measured.by_cpu[&cpu];
        let beats = latencies.count() + latencies.missed(1_000_000);
        assert!((900..=1010).contains(&beats), "{beats} beats");
        let cpu_share = measured.cpu_time[&cpu].as_secs_f64();
        assert!(cpu_share > 0.0 && cpu_share < 0.5, "{cpu_share} of a CPU");
        assert!(measured.guards[&cpu] >= Nanos::from_micros(5));
    }

    #[test]
    fn an_interrupt_ends_it() {
        assert!(run(&[0], 80, Guard::Auto, 600, &|_| true).unwrap().is_none());
    }
}
