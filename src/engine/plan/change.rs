//! What a new plan changes for a link.

use super::model::*;
use crate::config::{Pace, Reporting};
use crate::limits::PERIOD_QUICK_MAX;
use crate::plan::scan::ScanId;
use crate::tag::{ById, LaneId, LinkId, TagId, Texts};

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
    before.protocol.same_target(&*after.protocol)
}

/// Whether a lane's thread has the same to do under both plans; `changes` are its links'.
pub fn lane_stays(lane: LaneId, changes: &[(LinkId, Change)], old: &Plan, new: &Plan) -> bool {
    let at = lane.index();
    changes.is_empty() && old.lanes[at].releases == new.lanes[at].releases && told(lane, old).eq(told(lane, new))
}

/// Which samples of its tags an executor tells, as far as not all, and what their values are called.
fn told(lane: LaneId, plan: &Plan) -> impl Iterator<Item = (TagId, Option<Reporting>, &Texts)> {
    let own = move |tag: &TagPlan| plan.links[tag.link].lane == lane;
    let says = |tag: &TagPlan| tag.reporting.is_some() || !tag.texts.is_empty();
    let tags = plan.tags.iter().filter(move |(_, tag)| own(tag) && says(tag));
    tags.map(|(id, tag)| (id, tag.reporting, &tag.texts))
}

/// Whether nothing is read of a link as often as once a second: its connection may be left for later.
pub fn is_slow(plan: &Plan, link: LinkId) -> bool {
    plan.scans
        .values()
        .filter(|scan| scan.link == link)
        .all(|scan| plan.groups[scan.group].interval() > PERIOD_QUICK_MAX)
}

/// Each link's scans, with the periods by which they are served.
fn scans_by_link(plan: &Plan) -> ById<LinkId, Vec<(ScanId, &ScanPlan, Pace)>> {
    let mut scans: ById<LinkId, Vec<_>> = plan.links.ids().map(|id| (id, Vec::new())).collect();
    for (id, scan) in plan.scans.iter() {
        scans[scan.link].push((id, scan, plan.groups[scan.group].pace));
    }
    scans
}
