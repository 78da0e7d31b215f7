//! The beat's invariants: the phase is kept, each release comes once a period and never out of its time.

use crate::plan::Plan;
use crate::rt::{Counters, Report};
use crate::tag::{ExecutorId, Nanos};

/// One release of the plan as it was seen.
struct Seen {
    group: u16,
    first: u64,
    period: u64,
    last: Option<u64>,
    scans: Vec<usize>,
}

/// Of one executor.
pub struct Beat {
    releases: Vec<Seen>,
}

impl Beat {
    pub fn new(plan: &Plan, executor: ExecutorId, start: Nanos) -> Beat {
        let seen = |r: &crate::plan::ReleasePlan| Seen {
            group: r.group.0,
            first: (start + r.phase).0,
            period: r.period.0,
            last: None,
            scans: r.scans.iter().map(|s| s.index()).collect(),
        };
        Beat { releases: plan.executors[executor.index()].releases.iter().map(seen).collect() }
    }

    /// A report of a step that began at `step` in true time.
    ///
    /// # Errors
    /// What it breaks.
    pub fn check(&mut self, report: &Report, step: u64) -> Result<(), String> {
        match *report {
            Report::Released { group, due, nominal, actual } => self.released(group.0, [due, nominal, actual], step),
            Report::Issued { nominal, sent, .. } if sent < nominal => {
                Err(format!("a request of the release at {} was sent at {}, before it", nominal.0, sent.0))
            }
            Report::Finished { sent, received, .. } if received < sent => {
                Err(format!("a request sent at {} ended at {}, before it", sent.0, received.0))
            }
            _ => Ok(()),
        }
    }

    fn released(&mut self, group: u16, at: [Nanos; 3], step: u64) -> Result<(), String> {
        let [due, nominal, actual] = at.map(|at| at.0);
        if actual < nominal {
            return Err(format!("group {group}: the release of {nominal} ran at {actual}, too early"));
        }
        let fits =
            |r: &&mut Seen| r.group == group && nominal >= r.first && (nominal - r.first).is_multiple_of(r.period);
        let mut on_phase = false;
        for release in self.releases.iter_mut().filter(fits) {
            on_phase = true;
            if release.last.is_some_and(|last| last >= nominal) {
                continue;
            }
            if nominal + release.period <= step {
                return Err(format!(
                    "group {group}: the release of {nominal} ran {} ns late, whole periods: it was to be skipped",
                    step - nominal
                ));
            }
            let first_missed = release.last.map_or(release.first, |last| last + release.period);
            if due != first_missed {
                return Err(format!(
                    "group {group}: the release of {nominal} says that it was due at {due}, and was at {first_missed}"
                ));
            }
            release.last = Some(nominal);
            return Ok(());
        }
        Err(if on_phase {
            format!("group {group}: the slot {nominal} was released again")
        } else {
            format!("group {group}: a release at {nominal} is off its phase")
        })
    }

    /// Every slot up to the last was released or counted as skipped, and the last is not long ago.
    ///
    /// # Errors
    /// What is missing.
    pub fn close(&self, counters: &Counters, now: u64) -> Result<(), String> {
        for release in &self.releases {
            let slots = release.last.map_or(0, |last| (last - release.first) / release.period + 1);
            for scan in &release.scans {
                let counted = counters.scans[*scan].cycles.get() + counters.scans[*scan].skipped.get();
                if counted != slots {
                    return Err(format!("scan {scan}: {slots} slots passed, {counted} were released or counted"));
                }
            }
            let next = release.last.map_or(release.first, |last| last + release.period);
            if next + release.period < now {
                return Err(format!("group {}: the release of {next} has not run at {now}", release.group));
            }
        }
        Ok(())
    }
}
