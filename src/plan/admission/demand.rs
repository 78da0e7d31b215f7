//! What links are asked to do, in the terms of the reckoning.

use std::collections::BTreeMap;

use super::Costs;
use super::writes::WriteDemand;
use crate::plan::model::*;
use crate::tag::{GroupId, LinkId, Nanos};

/// One group's requests on a link.
#[derive(Debug, Clone)]
pub struct ScanDemand {
    pub id: ScanId,
    pub group: GroupId,
    pub period: Nanos,
    pub phase: Nanos,
    pub requests: u64,
    /// What a cycle takes of the link's time, and its longest request.
    pub line: Nanos,
    pub longest: Nanos,
    /// Units that need a pause after each request: what a cycle takes of each one's time. Empty where none does.
    pub units: Vec<(u16, Nanos)>,
    /// What a cycle costs the executor, without the release.
    pub work: Nanos,
}

/// One link's scans in the order in which they are served: the faster first.
#[derive(Debug, Clone)]
pub struct LinkDemand {
    pub scans: Vec<ScanDemand>,
    /// Requests that may be outstanding.
    pub pipeline: u64,
    /// The same, and never more than there are requests.
    pub places: u64,
    /// What the longest request takes of the link's time: from request to reply by the device, and on a serial line
    /// the exact time of all that is on the wire, silences included.
    pub reply: Nanos,
    /// What the costliest reply keeps the executor busy, with the request that follows it.
    pub handling: Nanos,
    pub samples_per_s: f64,
    pub wire_bytes_per_s: f64,
    /// Share of the wire's time that is taken whatever the scans ask.
    pub wire_load: f64,
    /// What comes without being asked for, as often as it is said to.
    pub streams: Vec<Stream>,
    /// Share of the executor's time that it takes when the wire is full of it, which nobody said.
    pub flood: f64,
    /// What is written to it, so far as that is reckoned with.
    pub writes: Option<WriteDemand>,
}

/// Things that come by themselves, one each interval, and what each costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stream {
    pub interval: Nanos,
    pub work: Nanos,
}

impl LinkDemand {
    /// Of a link that nothing is asked of, yet.
    pub fn nothing(pipeline: u64) -> LinkDemand {
        LinkDemand {
            scans: Vec::new(),
            pipeline,
            places: 1,
            reply: Nanos::ZERO,
            handling: Nanos::ZERO,
            samples_per_s: 0.0,
            wire_bytes_per_s: 0.0,
            wire_load: 0.0,
            streams: Vec::new(),
            flood: 0.0,
            writes: None,
        }
    }

    /// Of a link that asks nothing: its device sends by itself, and a release takes what came. `scans`: with their groups
    /// and how many tags each has.
    pub fn sampled(plan: &Plan, scans: &[(ScanId, GroupId, usize)], costs: &Costs) -> LinkDemand {
        let mut demand = LinkDemand::nothing(1);
        for (id, group, tags) in scans {
            let period = plan.groups[*group].period;
            demand.samples_per_s += *tags as f64 / period.as_secs_f64();
            demand.scans.push(ScanDemand {
                id: *id,
                group: *group,
                period,
                phase: Nanos::ZERO,
                requests: 0,
                line: Nanos::ZERO,
                longest: Nanos::ZERO,
                units: Vec::new(),
                work: Nanos(costs.sample.0 * *tags as u64),
            });
        }
        demand
    }

    /// The same, with writes.
    pub fn with_writes(&self, writes: WriteDemand, costs: &Costs) -> LinkDemand {
        let mut demand = LinkDemand {
            reply: self.reply.max(writes.longest),
            handling: self.handling.max(costs.of_request(1)),
            writes: Some(writes),
            ..self.clone()
        };
        demand.places = demand.pipeline.min(demand.side_by_side()).max(1);
        demand
    }

    /// Requests that may want a place at once: a write is one at a time.
    pub fn side_by_side(&self) -> u64 {
        self.requests() + u64::from(self.writes.is_some())
    }

    /// Of one cycle of every scan.
    pub fn requests(&self) -> u64 {
        self.scans.iter().map(|s| s.requests).sum()
    }

    pub fn requests_per_s(&self) -> f64 {
        self.scans.iter().map(|s| s.requests as f64 / s.period.as_secs_f64()).sum()
    }

    /// Share of the time that the device is busy with it.
    pub fn load(&self) -> f64 {
        let line: f64 = self.scans.iter().map(|s| s.line.as_secs_f64() / s.period.as_secs_f64()).sum();
        // All may be of the busiest unit.
        let writes = self.writes.map_or(0.0, |w| w.line.as_secs_f64() / w.spacing.as_secs_f64());
        let busiest = self.load_of_busiest_unit();
        let of_unit = if busiest > 0.0 { busiest + writes } else { 0.0 };
        ((line + writes) / self.pipeline as f64).max(of_unit) + self.wire_load
    }

    /// Where units are to be left alone after each request: the share of its time that the busiest is taken.
    fn load_of_busiest_unit(&self) -> f64 {
        let mut load_of_unit: BTreeMap<u16, f64> = BTreeMap::new();
        for scan in &self.scans {
            for (unit, time) in &scan.units {
                *load_of_unit.entry(*unit).or_default() += time.as_secs_f64() / scan.period.as_secs_f64();
            }
        }
        load_of_unit.into_values().fold(0.0, f64::max)
    }

    /// What a step of the link costs its executor at most: every reply that may be there at once.
    pub fn pass(&self) -> Nanos {
        Nanos(self.places * self.handling.0)
    }

    /// What a place is taken for by one request: the device's time, until the executor is awake, and until it has
    /// handled all that may have come with the reply.
    pub fn turn(&self, wake_up: Nanos) -> Nanos {
        self.reply + wake_up + self.pass()
    }

    /// The same, of a scan's longest request.
    pub fn turn_of(&self, at: usize, wake_up: Nanos) -> Nanos {
        self.scans[at].longest + wake_up + self.pass()
    }
}

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
