//! The work of a CANopen link.

use super::build::Scanning;
use super::model::{GroupPlan, ScanId, ring_slots};
use crate::config::{CanOpenConfig, TagConfig};
use crate::tag::{ById, GroupId, TagId, ValueType};

/// The work of a CANopen link.
#[derive(Debug, Clone, PartialEq)]
pub struct CanOpenPlan {
    pub config: CanOpenConfig,
    /// The scans of its groups, each with the tags that its release samples.
    pub scans: Vec<(ScanId, GroupId, Vec<(TagId, ValueType)>)>,
}

impl CanOpenPlan {
    pub(super) fn new(
        config: &CanOpenConfig,
        tags: &[(TagId, &TagConfig)],
        scanning: &mut Scanning<'_>,
    ) -> CanOpenPlan {
        let mut plan = CanOpenPlan { config: config.clone(), scans: Vec::new() };
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

    pub(super) fn same_target(&self, other: &CanOpenPlan) -> bool {
        self.config.interface == other.config.interface
    }

    pub(super) fn slots_per_s(&self, groups: &ById<GroupId, GroupPlan>) -> u64 {
        let of_scan = |(_, group, tags): &(ScanId, GroupId, Vec<(TagId, ValueType)>)| {
            let slots = ring_slots(tags.iter().map(|(_, ty)| *ty));
            (slots as f64 / groups[*group].period.as_secs_f64()).ceil() as u64
        };
        self.scans.iter().map(of_scan).sum()
    }
}
