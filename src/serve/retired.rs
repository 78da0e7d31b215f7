//! The plan that runs, and what was counted for scans that are no longer in it: the totals of a group never fall while the
//! process lives, whatever is taken out of its configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::lane::Counters;
use crate::plan::{Plan, ScanId};

/// Cycles, skipped cycles and deadline misses.
pub type ScanTotals = [u64; 3];

/// See the module. Both change in one step, so that nothing is counted twice or not at all.
#[derive(Debug, Clone, Default)]
pub struct Current {
    pub plan: Arc<Plan>,
    /// By the group's name.
    retired: Arc<BTreeMap<Arc<str>, ScanTotals>>,
}

/// The totals of one scan.
pub fn totals_of(counters: &Counters, scan: ScanId) -> ScanTotals {
    let counts = counters.scan(scan);
    [counts.cycles.get(), counts.skipped.get(), counts.deadline_misses.get()]
}

impl Current {
    pub fn new(plan: Arc<Plan>) -> Current {
        Current { plan, retired: Arc::default() }
    }

    /// Another plan runs: every executor has adopted it, so that nobody counts for what is gone.
    pub fn followed_by(&self, plan: Arc<Plan>, counters: &Counters) -> Current {
        let group_of = |plan: &Plan, id: ScanId| plan.scans.get(id).map(|scan| plan.groups[scan.group].name.clone());
        let mut retired = BTreeMap::clone(&self.retired);
        for id in self.plan.scans.ids() {
            let before = group_of(&self.plan, id);
            let Some(group) = before.filter(|group| group_of(&plan, id).as_ref() != Some(group)) else { continue };
            let totals = retired.entry(group).or_default();
            totals.iter_mut().zip(totals_of(counters, id)).for_each(|(total, count)| *total += count);
        }
        Current { plan, retired: Arc::new(retired) }
    }

    /// What was counted for a group's scans that are gone.
    pub fn retired(&self, group: &str) -> ScanTotals {
        self.retired.get(group).copied().unwrap_or_default()
    }
}
