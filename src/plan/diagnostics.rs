//! The gateway's own tags: which value goes to which.

use super::build::Scanning;
use super::model::{GroupPlan, slots_per_s};
use crate::config::{DiagnosticSignal, TagAddress, TagConfig};
use crate::plan::ScanId;
use crate::tag::{ById, GroupId, TagId};

/// What a link of the gateway's own tags tells.
#[derive(Debug, Clone, PartialEq)]
pub struct DiagnosticsPlan {
    pub tags: Vec<DiagnosticTag>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DiagnosticTag {
    pub tag: TagId,
    pub group: GroupId,
    pub scan: ScanId,
    pub signal: DiagnosticSignal,
}

impl DiagnosticsPlan {
    pub(super) fn new(tags: &[(TagId, &TagConfig)], scanning: &mut Scanning<'_>) -> DiagnosticsPlan {
        let mut own = Vec::with_capacity(tags.len());
        for (id, tag) in tags {
            let TagAddress::Diagnostics(signal) = &tag.address else { continue };
            let group = scanning.groups[tag.group];
            own.push(DiagnosticTag { tag: *id, group, scan: scanning.scan(group, 0), signal: signal.clone() });
        }
        DiagnosticsPlan { tags: own }
    }

    pub(super) fn slots_per_s(&self, groups: &ById<GroupId, GroupPlan>) -> u64 {
        self.tags.iter().map(|tag| slots_per_s(1, groups[tag.group].interval())).sum()
    }
}
