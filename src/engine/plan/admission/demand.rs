//! The demand of links in the admission calculation.

use crate::plan::scan::ScanId;

use crate::plan::demand::{Costs, LinkDemand};
use crate::plan::model::*;
use crate::tag::{LinkId, Nanos};

/// What each link is asked, by the plan's order of links; `phases` by scan.
pub fn link_demand(plan: &Plan, id: LinkId, phases: &[Nanos], scans: &[ScanId], costs: &Costs) -> LinkDemand {
    let phase = |scan: ScanId| phases.get(scan.index()).copied().unwrap_or_default();
    let mut demand = plan.links[id].protocol.demand(plan, scans, costs);
    demand.scans.iter_mut().for_each(|scan| scan.phase = phase(scan.id));
    // As the link serves them; equal periods by their ids.
    demand.scans.sort_by_key(|scan| scan.period);
    demand.places = demand.pipeline.min(demand.requests()).max(1);
    demand
}

/// The phase of each scan, by its id.
pub fn phases(plan: &Plan) -> Vec<Nanos> {
    let mut phases = vec![Nanos::ZERO; plan.scans.end()];
    for release in plan.lanes.iter().flat_map(|executor| &executor.releases) {
        release.scans.iter().for_each(|scan| phases[scan.index()] = release.phase);
    }
    phases
}
