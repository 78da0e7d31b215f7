//! What a new plan changes for a link.

use super::model::*;
use crate::tag::{ById, LinkId, Nanos};

/// What becomes of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is read by other requests, over the connection that it has.
    Work,
    /// Its device is somewhere else: a new connection.
    Target,
    /// It was not there before.
    New,
    /// It is not there any more.
    Gone,
}

/// The links that do not stay as they are, ascending.
pub fn changes(old: &Plan, new: &Plan) -> Vec<(LinkId, Change)> {
    let (scans_before, scans_after) = (scans_by_link(old), scans_by_link(new));
    let end = old.links.end().max(new.links.end());
    let change = |at: usize| {
        let id = LinkId(at as u16);
        let change = match (old.links.get(id), new.links.get(id)) {
            (Some(before), Some(after)) if !same_target(before, after) => Change::Target,
            (Some(before), Some(after)) if before != after || scans_before.get(id) != scans_after.get(id) => {
                Change::Work
            }
            (Some(_), Some(_)) | (None, None) => return None,
            (None, Some(_)) => Change::New,
            (Some(_), None) => Change::Gone,
        };
        Some((id, change))
    };
    (0..end).filter_map(change).collect()
}

fn same_target(before: &LinkPlan, after: &LinkPlan) -> bool {
    before.protocol.same_target(&after.protocol)
}

/// Each link's scans, with the periods by which they are served.
fn scans_by_link(plan: &Plan) -> ById<LinkId, Vec<(ScanId, &ScanPlan, Nanos)>> {
    let mut scans: ById<LinkId, Vec<_>> = plan.links.ids().map(|id| (id, Vec::new())).collect();
    for (id, scan) in plan.scans.iter() {
        scans[scan.link].push((id, scan, plan.groups[scan.group].period));
    }
    scans
}
