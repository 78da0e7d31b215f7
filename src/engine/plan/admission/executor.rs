//! What an executor does for its links, beside each one of them.

use std::collections::BTreeMap;

use crate::config::{Config, Guard};
use crate::limits::WRITES_PENDING_MAX;
use crate::plan::demand::{Costs, LinkDemand, Stream};
use crate::plan::model::*;
use crate::tag::{NANOS_PER_SEC, Nanos};

/// What an executor does for all of its links together.
#[derive(Debug, Clone, Default)]
pub struct ExecutorDemand {
    /// Work that comes with each period, releases included.
    by_period: BTreeMap<Nanos, Nanos>,
    /// Everything that can be due at one instant: a release of each group, a step of each link.
    pass: Nanos,
    /// Work that comes at any time, once.
    burst: Nanos,
    /// How late it may be for a reply though it has nothing else to do: it sleeps, or spins before a release.
    pub wake_up: Nanos,
    release: Nanos,
}

/// What an executor does beside the requests of one of its links.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    by_period: BTreeMap<Nanos, Nanos>,
    pub pass: Nanos,
    burst: Nanos,
    pub wake_up: Nanos,
    release: Nanos,
}

impl ExecutorDemand {
    pub fn new(executor: &LanePlan, links: &[&LinkDemand], costs: &Costs, config: &Config) -> ExecutorDemand {
        let guard = match config.realtime.guard {
            // Calibrated to what a wake-up is late.
            Guard::Auto => costs.wake_up,
            Guard::Fixed(guard) => guard,
        };
        let mut demand =
            ExecutorDemand { wake_up: costs.wake_up.max(guard), release: costs.release, ..ExecutorDemand::default() };
        for release in &executor.releases {
            *demand.by_period.entry(release.period).or_default() += costs.release;
            demand.pass += costs.release;
        }
        for link in links {
            demand.pass += link.pass();
            for Stream { interval, work } in link.streams.iter().copied() {
                *demand.by_period.entry(interval).or_default() += work;
            }
            for scan in &link.scans {
                *demand.by_period.entry(scan.period).or_default() += scan.work;
            }
            if let Some(writes) = &link.writes {
                *demand.by_period.entry(writes.spacing).or_default() += writes.work;
            }
        }
        if links.iter().any(|link| link.writes.is_some()) {
            // One is taken each time round the loop, also where its link cannot send it yet: one system call of the
            // three that a request has. As many as a second allows may come together.
            let taken = Nanos(costs.request.0 / 3);
            let per_s = u64::from(config.control.writes_per_s.max(1));
            demand.pass += taken;
            demand.burst = Nanos(taken.0 * per_s.min(WRITES_PENDING_MAX as u64));
            *demand.by_period.entry(Nanos(NANOS_PER_SEC / per_s)).or_default() += taken;
        }
        demand
    }

    pub fn beside(&self, link: &LinkDemand) -> Beside {
        let mut by_period = self.by_period.clone();
        for Stream { interval, work } in &link.streams {
            if let Some(all) = by_period.get_mut(interval) {
                *all = *all - *work;
            }
        }
        for scan in &link.scans {
            if let Some(work) = by_period.get_mut(&scan.period) {
                *work = *work - scan.work;
            }
        }
        if let Some(writes) = &link.writes
            && let Some(work) = by_period.get_mut(&writes.spacing)
        {
            *work = *work - writes.work;
        }
        let (pass, burst) = (self.pass - link.pass(), self.burst);
        Beside { by_period, pass, burst, wake_up: self.wake_up, release: self.release }
    }
}

impl Beside {
    /// Nothing but the link.
    pub fn nothing(wake_up: Nanos) -> Beside {
        Beside { wake_up, ..Beside::default() }
    }

    /// A scan of the link is released at another period.
    pub fn retimed(&self, from: Nanos, to: Nanos) -> Beside {
        let mut beside = self.clone();
        if let Some(work) = beside.by_period.get_mut(&from) {
            *work = *work - self.release;
        }
        *beside.by_period.entry(to).or_default() += self.release;
        beside
    }

    /// The most work that can come within a stretch of time, wherever it begins.
    pub fn within(&self, stretch: Nanos) -> Nanos {
        let of = |(period, work): (&Nanos, &Nanos)| (stretch.0 / period.0 + 1).saturating_mul(work.0);
        self.by_period.iter().map(of).map(Nanos).fold(self.burst, |sum, work| sum + work)
    }
}
