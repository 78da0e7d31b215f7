//! The gateway's own tags: which value goes to which.

use super::build::Scanning;
use super::demand::{Costs, LinkDemand};
use super::model::{GroupPlan, LinkWork, Plan, Refusal, SourceKind, slots_per_s};
use super::scan::ScanId;
use crate::config::{DiagnosticSignal, TagConfig};
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
    pub fn new(tags: &[(TagId, &TagConfig)], scanning: &mut Scanning<'_>) -> DiagnosticsPlan {
        let mut own = Vec::with_capacity(tags.len());
        for (id, tag) in tags {
            let Some(signal) = tag.address.get::<DiagnosticSignal>() else { continue };
            let group = scanning.groups[tag.group];
            own.push(DiagnosticTag { tag: *id, group, scan: scanning.scan(group, 0), signal: signal.clone() });
        }
        DiagnosticsPlan { tags: own }
    }
}

impl LinkWork for DiagnosticsPlan {
    fn name(&self) -> &'static str {
        "diagnostics"
    }

    fn parts(&self) -> usize {
        self.tags.len()
    }

    fn source(&self) -> Option<SourceKind> {
        Some(SourceKind::Diagnostics)
    }

    fn same_target(&self, other: &dyn LinkWork) -> bool {
        other.is::<DiagnosticsPlan>()
    }

    fn slots_per_s(&self, groups: &ById<GroupId, GroupPlan>) -> u64 {
        self.tags.iter().map(|tag| slots_per_s(1, groups[tag.group].interval())).sum()
    }

    /// An ordinary thread's: it takes nothing of an executor, and is no field link.
    fn demand(&self, _plan: &Plan, _scans: &[ScanId], _costs: &Costs) -> LinkDemand {
        LinkDemand::nothing(1)
    }

    fn refusal(&self, _demand: &LinkDemand) -> Refusal {
        Refusal::Full("it does not fit".to_owned())
    }
}
