//! The beat's invariants: the phase is kept, each release comes once a period and never out of its time.

use crate::lane::Counters;
use crate::plan::{Plan, ReleasePlan, ScanId};
use crate::rt::Report;
use crate::tag::{LaneId, Nanos};

/// One release of the plan as it was seen.
struct Seen {
    group: u16,
    first: u64,
    period: u64,
    last: Option<u64>,
    /// Each with what its counters had beyond the slots of this release.
    scans: Vec<(usize, i128)>,
}

impl Seen {
    fn slots(&self) -> u64 {
        self.last.map_or(0, |last| (last - self.first) / self.period + 1)
    }
}

/// Of one executor.
pub struct Beat {
    releases: Vec<Seen>,
    executor: LaneId,
    start: Nanos,
}

fn counted(counters: &Counters, scan: usize) -> u64 {
    counters.scans[scan].cycles.get() + counters.scans[scan].skipped.get()
}

impl Beat {
    pub fn new(plan: &Plan, executor: LaneId, start: Nanos) -> Beat {
        let seen = |r: &ReleasePlan| Seen {
            group: r.group.0,
            first: (start + r.phase).0,
            period: r.period.0,
            last: None,
            scans: r.scans.iter().map(|s| (s.index(), 0)).collect(),
        };
        Beat { releases: plan.lanes[executor.index()].releases.iter().map(seen).collect(), executor, start }
    }

    /// The executor took up `new` in place of `old` at `at`: the beat of what stays goes on.
    ///
    /// # Errors
    /// What the change broke.
    pub fn change(&mut self, old: &Plan, new: &Plan, at: u64, counters: &Counters) -> Result<(), String> {
        self.slots_are_counted(counters)?;
        let before = &old.lanes[self.executor.index()].releases;
        let mut releases = Vec::new();
        for release in &new.lanes[self.executor.index()].releases {
            let first_at_all = (self.start + release.phase).0;
            let slots_gone = (at + 1).saturating_sub(first_at_all).div_ceil(release.period.0);
            let fresh = (first_at_all + slots_gone * release.period.0, None);
            let same = |b: &ReleasePlan| {
                b.group == release.group
                    && b.period == release.period
                    && b.scans.iter().any(|scan| release.scans.contains(scan))
            };
            let (first, last) = match before.iter().position(same) {
                Some(place) if before[place].phase != release.phase => {
                    return Err(format!("group {}: a release that stays got another phase", release.group.0));
                }
                Some(place) => (self.releases[place].first, self.releases[place].last),
                None => fresh,
            };
            let mut seen = Seen { group: release.group.0, first, period: release.period.0, last, scans: Vec::new() };
            let slots = i128::from(seen.slots());
            let beyond = |scan: &ScanId| (scan.index(), i128::from(counted(counters, scan.index())) - slots);
            seen.scans = release.scans.iter().map(beyond).collect();
            releases.push(seen);
        }
        self.releases = releases;
        Ok(())
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

    fn slots_are_counted(&self, counters: &Counters) -> Result<(), String> {
        for release in &self.releases {
            let slots = release.slots();
            for (scan, beyond) in &release.scans {
                let counted = i128::from(counted(counters, *scan)) - beyond;
                if counted != i128::from(slots) {
                    return Err(format!("scan {scan}: {slots} slots passed, {counted} were released or counted"));
                }
            }
        }
        Ok(())
    }

    /// Every slot up to the last was released or counted as skipped, and the last is not long ago.
    ///
    /// # Errors
    /// What is missing.
    pub fn close(&self, counters: &Counters, now: u64) -> Result<(), String> {
        self.slots_are_counted(counters)?;
        for release in &self.releases {
            let next = release.last.map_or(release.first, |last| last + release.period);
            if next + release.period < now {
                return Err(format!("group {}: the release of {next} has not run at {now}", release.group));
            }
        }
        Ok(())
    }
}
