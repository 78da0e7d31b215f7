//! The work of a link to the machine's own inputs and outputs.

use super::build::Scanning;
use super::model::{GroupPlan, ScanId, ring_slots};
use crate::config::{BusConfig, TagConfig};
use crate::tag::{ById, GroupId, TagId, ValueType};

/// The work of a link to the machine's own inputs and outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct BusPlan {
    pub config: BusConfig,
    /// The scans of its groups, each with the tags that its release samples.
    pub scans: Vec<(ScanId, GroupId, Vec<(TagId, ValueType)>)>,
}

impl BusPlan {
    pub(super) fn new(config: &BusConfig, tags: &[(TagId, &TagConfig)], scanning: &mut Scanning<'_>) -> BusPlan {
        let mut plan = BusPlan { config: config.clone(), scans: Vec::new() };
        for (id, tag) in tags {
            let group = scanning.groups[tag.group];
            let scan = scanning.scan(group, 0);
            match plan.scans.iter_mut().find(|(known, ..)| *known == scan) {
                Some((_, _, tags)) => tags.push((*id, tag.value_type())),
                None => plan.scans.push((scan, group, vec![(*id, tag.value_type())])),
            }
        }
        plan
    }

    pub(super) fn same_target(&self, other: &BusPlan) -> bool {
        self.config.device == other.config.device && self.config.kind == other.config.kind
    }

    pub(super) fn slots_per_s(&self, groups: &ById<GroupId, GroupPlan>) -> u64 {
        let of_scan = |(_, group, tags): &(ScanId, GroupId, Vec<(TagId, ValueType)>)| {
            let slots = ring_slots(tags.iter().map(|(_, ty)| *ty));
            (slots as f64 / groups[*group].period.as_secs_f64()).ceil() as u64
        };
        self.scans.iter().map(of_scan).sum()
    }
}
