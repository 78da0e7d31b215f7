//! Records a run as a case that repeats it.

use std::collections::{BTreeMap, BTreeSet};

use super::case::Case;
use super::scenario::Scenario;
use super::script::{DeviceKind, Listed, Series, TagChange, Timed, Write};

/// Of a run that has ended.
pub struct Recorded {
    /// Virtual time.
    pub reached: u64,
    /// Every host, and what it was expected to be.
    pub places: BTreeSet<(u32, DeviceKind)>,
    pub writes: Vec<Write>,
    pub changes: Vec<TagChange>,
    /// When each change was begun.
    pub changed_at: Vec<u64>,
}

impl Recorded {
    /// The run as a case: nothing that would have come later is in it.
    pub fn case(&self, scenario: &Scenario) -> Result<Case, serde_json::Error> {
        let (ends, seed, script) = (scenario.ends(), scenario.seed, &scenario.script);
        let executors = 0..scenario.plan.executors().count() as u16;
        let mut kinds: BTreeMap<u32, Vec<DeviceKind>> = BTreeMap::new();
        self.places.iter().for_each(|(host, kind)| kinds.entry(*host).or_default().push(*kind));
        let hosts = kinds.iter().map(|(host, kinds)| scenario.hosts.list(*host, kinds, ends.trouble, self.reached));
        let has_journal = scenario.commit_ns > 0;
        let crashes = if has_journal { self.past(script.crashes(seed, ends)) } else { Vec::new() };
        let journal_faults = if has_journal { self.past(script.journal_faults(seed, ends)) } else { Vec::new() };
        Ok(Case {
            about: String::new(),
            seed,
            executors: executors.end,
            fast: scenario.fast,
            source: scenario.source,
            calm: scenario.calm,
            trouble_ns: scenario.trouble_ns,
            recovery_ns: scenario.recovery_ns,
            hub_period_ns: scenario.hub_period_ns,
            ring_slots: scenario.ring_slots,
            journal_batches: scenario.journal_batches,
            commit_ns: scenario.commit_ns,
            tags: serde_json::from_str(&scenario.tags)?,
            events: Listed {
                hosts: hosts.collect(),
                stalls: self.all(executors.clone().map(|id| script.stalls(seed, id, ends))),
                storms: self.all(executors.map(|id| script.storms(seed, id, ends))),
                consumer_stops: self.past(script.consumer_stops(seed, ends)),
                clock_steps: self.past(script.clock_steps(seed, ends)),
                crashes,
                journal_faults,
                log_stalls: self.past(script.log_stalls(seed, ends)),
                writes: self.writes.clone(),
                changes: self.changes.clone(),
            },
        })
    }

    fn past<T: Timed>(&self, mut series: Series<T>) -> Vec<T> {
        std::iter::from_fn(|| series.due(self.reached)).collect()
    }

    fn all<T: Timed>(&self, each: impl Iterator<Item = Series<T>>) -> Vec<T> {
        let mut all: Vec<T> = each.flat_map(|series| self.past(series)).collect();
        all.sort_by_key(Timed::at);
        all
    }
}
