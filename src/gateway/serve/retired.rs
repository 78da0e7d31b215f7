//! The plan that runs, and what was counted for links, scans and groups that are no longer in it: no counter falls while the
//! process lives, whatever leaves the configuration and comes again under its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::lane::{Counters, GroupCounters, LinkCounters};
use crate::limits::RETIRED_NAMES_MAX;
use crate::plan::{Plan, ScanId};
use crate::tag::{ById, Id};

/// Cycles, skipped cycles and deadline misses.
pub type ScanTotals = [u64; 3];

/// Samples produced, dropped and suppressed.
pub type SampleTotals = [u64; 3];

/// See the module. All of it changes in one step, so that nothing is counted twice or not at all.
#[derive(Debug, Clone, Default)]
pub struct Current {
    pub plan: Arc<Plan>,
    retired: Arc<Retired>,
}

/// By name.
#[derive(Debug, Clone, Default)]
struct Retired {
    scans: BTreeMap<Arc<str>, ScanTotals>,
    /// By lane, too.
    groups: BTreeMap<Arc<str>, Vec<SampleTotals>>,
    links: BTreeMap<Arc<str>, Arc<LinkCounters>>,
}

/// The totals of one scan.
pub fn totals_of(counters: &Counters, scan: ScanId) -> ScanTotals {
    let counts = counters.scan(scan);
    [counts.cycles.get(), counts.skipped.get(), counts.deadline_misses.get()]
}

/// The totals of one lane's part of a group.
pub fn samples_of(counts: &GroupCounters) -> SampleTotals {
    let suppressed = counts.suppressed_at_ring.get() + counts.suppressed_at_journal.get();
    [counts.produced.get(), counts.dropped.get(), suppressed]
}

fn add(sums: &mut [u64; 3], counts: [u64; 3]) {
    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}

/// Where a name's totals are kept; `None`: there are too many names.
fn place<'m, T: Default>(of: &'m mut BTreeMap<Arc<str>, T>, name: &Arc<str>) -> Option<&'m mut T> {
    (of.len() < RETIRED_NAMES_MAX || of.contains_key(name)).then(|| of.entry(name.clone()).or_default())
}

/// Ids of things that another plan does not have, or has under another name.
fn gone<'p, I: Id, T>(
    old: &'p ById<I, T>,
    new: &'p ById<I, T>,
    name: fn(&T) -> &Arc<str>,
) -> impl Iterator<Item = (I, &'p Arc<str>)> {
    old.iter().map(move |(id, thing)| (id, name(thing))).filter(move |(id, old)| new.get(*id).map(name) != Some(*old))
}

impl Current {
    pub fn new(plan: Arc<Plan>) -> Current {
        Current { plan, retired: Arc::default() }
    }

    /// Another plan runs: every executor has adopted it, so that nobody counts for what is gone.
    pub fn followed_by(&self, plan: Arc<Plan>, counters: &Counters) -> Current {
        let group_of = |plan: &Plan, id: ScanId| plan.scans.get(id).map(|scan| plan.groups[scan.group].name.clone());
        let mut retired = Retired::clone(&self.retired);
        for id in self.plan.scans.ids() {
            let before = group_of(&self.plan, id);
            let Some(group) = before.filter(|group| group_of(&plan, id).as_ref() != Some(group)) else { continue };
            if let Some(totals) = place(&mut retired.scans, &group) {
                add(totals, totals_of(counters, id));
            }
        }
        for (id, name) in gone(&self.plan.groups, &plan.groups, |group| &group.name) {
            let Some(lanes) = place(&mut retired.groups, name) else { continue };
            lanes.resize(counters.groups.len().max(lanes.len()), SampleTotals::default());
            for (totals, groups) in lanes.iter_mut().zip(&counters.groups) {
                add(totals, samples_of(&groups[id.index()]));
            }
        }
        for (id, name) in gone(&self.plan.links, &plan.links, |link| &link.name) {
            let Some(place) = place(&mut retired.links, name) else { continue };
            // Others may still read what was there.
            let sum = LinkCounters::default();
            sum.absorb(place);
            sum.absorb(counters.link(id));
            *place = Arc::new(sum);
        }
        Current { plan, retired: Arc::new(retired) }
    }

    /// What was counted for a group's scans that are gone.
    pub fn retired(&self, group: &str) -> ScanTotals {
        self.retired.scans.get(group).copied().unwrap_or_default()
    }

    /// What was counted for a group of this name before it left.
    pub fn retired_samples(&self, lane: usize, group: &str) -> SampleTotals {
        self.retired.groups.get(group).and_then(|lanes| lanes.get(lane)).copied().unwrap_or_default()
    }

    /// What was counted for a link of this name before it left.
    pub fn retired_link(&self, link: &str) -> Option<&LinkCounters> {
        self.retired.links.get(link).map(|counters| &**counters)
    }
}
