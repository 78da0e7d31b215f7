//! Admission: does the load fit? The time of each link and each executor: per second, in the worst slot of
//! the plan's own phases, and at the worst phase that there could be.
//!
//! Over TCP a request takes the link's expected reply time, and until the executor has seen to it. What takes more
//! than there is, and what cannot have its replies before its next release, is refused with the highest possible
//! rate; a load above 70 % is worth a warning.
//!
//! | file | subject |
//! |---|---|
//! | `demand` | what links are asked to do |
//! | `executor` | what executors do for their links |
//! | `response` | the longest time to the last reply, whatever the phases |
//! | `writes` | how far apart writes are begun, so that no scan misses a cycle for them |
//! | `slots` | the worst slot of the phases that the plan gives |
//! | `refusal` | what is said of what does not fit |
//! | `observed` | whether devices answer as fast as was declared |

mod demand;
mod executor;
mod observed;
mod refusal;
mod response;
mod slots;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod write_tests;
mod writes;

use std::fmt;

use crate::plan::demand::{Costs, LOAD_MAX, LOAD_WARNING};
use crate::plan::scan::ScanId;

use self::executor::{Beside, ExecutorDemand};
use super::model::*;
use crate::config::{AdmissionRule, Config};
use crate::tag::{ById, LinkId, Nanos};

pub use self::observed::observed;
pub use self::slots::Slot;
pub use super::demand::{Finding, LinkDemand, ScanDemand, Stream, WriteLoad, WriteTurn, WriteWay};

/// The reckoning of a whole plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Admission {
    /// What was reckoned with.
    pub costs: Costs,
    pub links: ById<LinkId, LinkLoad>,
    /// By LaneId.
    pub executors: Vec<ExecutorLoad>,
    /// Links and executors above [`LOAD_WARNING`], and what runs though it does not fit.
    pub warnings: Vec<String>,
    /// How much does not fit and runs all the same ([`AdmissionRule::Warn`]).
    pub excesses: usize,
}

/// One link's work.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LinkLoad {
    pub requests_per_s: f64,
    /// Requests and replies with their TCP, IP and Ethernet headers.
    pub wire_bytes_per_s: f64,
    /// Share of the time that the link is waiting for replies: 1.0 is full.
    pub load: f64,
    /// The worst slot that the plan's phases give; `None` without requests.
    pub slot: Option<Slot>,
    /// That slot's group's longest time to its last reply at the worst phase, writes included; [`Nanos::NEVER`] when it
    /// does not fit.
    pub worst_phase: Nanos,
    /// What may be written; `None`: nothing, or nothing that the link is asked for beside its scans.
    pub writes: Option<WriteLoad>,
}

/// One executor's work.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ExecutorLoad {
    pub requests_per_s: f64,
    pub samples_per_s: f64,
    /// Share of the CPU: 1.0 is full.
    pub load: f64,
    /// The largest backlog; `None` without releases.
    pub slot: Option<Slot>,
}

/// Why a plan is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanError {
    pub refusals: Vec<String>,
    /// The whole reckoning, for the table.
    pub admission: Box<Admission>,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for refusal in &self.refusals {
            writeln!(f, "error: {refusal}")?;
        }
        write!(f, "{} that cannot fit; nothing was started", self.refusals.len())
    }
}

impl std::error::Error for PlanError {}

impl PlanError {
    /// For what has nothing to do with time.
    pub fn of_text(refusal: String) -> PlanError {
        PlanError { refusals: vec![refusal], admission: Box::default() }
    }
}

/// Reckons, and refuses what cannot fit, unless it is to run all the same. `ids` are those of the configuration's links.
pub fn admit(config: &Config, ids: &[LinkId], plan: &Plan, costs: &Costs) -> Result<Admission, PlanError> {
    let demands = demands(plan, costs);
    let mut admission = Admission { costs: *costs, ..Admission::default() };
    let mut refusals = Vec::new();
    let mut late = Vec::new();
    let executors: Vec<ExecutorDemand> = plan
        .executors()
        .map(|(_, _, executor)| {
            let links: Vec<&LinkDemand> = executor.links.iter().map(|link| &demands[*link]).collect();
            ExecutorDemand::new(executor, &links, costs, config)
        })
        .collect();
    for (id, link) in ids.iter().copied().zip(&config.links).filter(|(id, _)| demands.contains(*id)) {
        let demand = &demands[id];
        let beside = executors[plan.links[id].lane.index()].beside(demand);
        let responses = response::worst_responses(demand, &beside);
        let load = link_load(demand, &responses, &beside);
        if load.load > LOAD_MAX || responses.contains(&Nanos::NEVER) {
            late.push(id);
            refusals.push(refusal::of_link(plan, (id, &link.source), demand, &beside, &responses));
        } else if load.load > LOAD_WARNING {
            let name = &plan.links[id].name;
            admission.warnings.push(format!("link \"{name}\" is at {:.0} % of its time", load.load * 100.0));
        }
        admission.links.insert(id, load);
        admission.warnings.extend(connect_warning(plan, id));
    }
    for (id, cpu, executor) in plan.executors() {
        let index = id.index();
        let load = executor_load(plan, executor, &demands, costs);
        if load.load > LOAD_MAX {
            refusals.push(refusal::of_executor(index, cpu, &load));
        } else if load.load > LOAD_WARNING {
            admission.warnings.push(format!(
                "executor {index} on CPU {} is at {:.0} % of its time",
                cpu,
                load.load * 100.0
            ));
        }
        let flood: f64 = executor.links.iter().map(|link| demands[*link].flood).sum();
        if load.load <= LOAD_MAX && flood > 0.0 && load.load + flood > LOAD_MAX {
            admission.warnings.push(format!(
                "executor {index} on CPU {} needs {:.0} % of it if its CAN buses are full of frames that it reads; \
                 frames beyond that are dropped and counted",
                cpu,
                (load.load + flood) * 100.0
            ));
        }
        admission.executors.push(load);
    }
    let loads: Vec<f64> = admission.executors.iter().map(|executor| executor.load).collect();
    let scans = writes::Scans { config, plan, costs, demands: &demands, late: &late, loads: &loads };
    if let Some(reckoned) = writes::reckon(&scans) {
        add_writes(config, ids, plan, &reckoned, &mut admission, &mut refusals);
    }
    if !refusals.is_empty() && config.realtime.admission == AdmissionRule::Refuse {
        return Err(PlanError { refusals, admission: Box::new(admission) });
    }
    admission.excesses = refusals.len();
    let tolerated = |refusal| format!("{refusal} (it runs anyway and late scans are counted: realtime.admission)");
    admission.warnings.extend(refusals.into_iter().map(tolerated));
    Ok(admission)
}

/// What a device needs after each connection is no part of its load, since nobody knows how often it is connected anew;
/// but cycles that are shorter are missed each time.
fn connect_warning(plan: &Plan, id: LinkId) -> Option<String> {
    let delay = plan.links[id].protocol.connect_delay();
    let groups = plan.scans.values().filter(|scan| scan.link == id).map(|scan| scan.group);
    let group = groups.min_by_key(|group| plan.groups[*group].interval())?;
    let period = Some(plan.groups[group].interval()).filter(|period| *period <= delay)?;
    Some(format!(
        "link \"{}\": after each reconnect, polling pauses for {} ms (connect_delay_ms), and group {} misses {} \
         cycles; this is not part of the load above",
        plan.links[id].name,
        delay.0 / 1_000_000,
        plan.group_called(group),
        delay.0 / period.0.max(1)
    ))
}

/// Puts what writes make of it into the reckoning.
fn add_writes(
    config: &Config,
    ids: &[LinkId],
    plan: &Plan,
    reckoned: &writes::Reckoned,
    admission: &mut Admission,
    refusals: &mut Vec<String>,
) {
    for (id, link) in ids.iter().copied().zip(&config.links).filter(|(id, _)| reckoned.demands.contains(*id)) {
        let (demand, beside) = (&reckoned.demands[id], &reckoned.beside[id]);
        let responses = response::worst_responses(demand, beside);
        let fits = !responses.contains(&Nanos::NEVER) && !reckoned.without_room.contains(&id);
        let load = &mut admission.links[id];
        load.worst_phase = worst_of_slot(demand, load.slot, &responses);
        load.writes = demand.writes.map(|writes| writes.load(fits));
        if reckoned.without_room.contains(&id) {
            refusals.push(refusal::of_writes(plan, (id, &link.source), demand, beside));
        } else if let Some(writes) = load.writes.filter(|writes| fits && writes.asked_per_s > writes.possible_per_s()) {
            admission.warnings.push(format!(
                "link \"{}\": its tags allow {:.0} writes/s; with read-back, {:.1} a second fit beside the scans, \
                 further writes wait, up to their timeout",
                plan.links[id].name,
                writes.asked_per_s,
                writes.possible_per_s()
            ));
        }
    }
}

/// What each link is asked to do.
fn demands(plan: &Plan, costs: &Costs) -> ById<LinkId, LinkDemand> {
    let phases = demand::phases(plan);
    let mut scans: ById<LinkId, Vec<ScanId>> = plan.field_links().map(|(id, _)| (id, Vec::new())).collect();
    plan.scans.iter().for_each(|(id, scan)| scans.get_mut(scan.link).into_iter().for_each(|scans| scans.push(id)));
    scans.iter().map(|(id, scans)| (id, demand::link_demand(plan, id, &phases, scans, costs))).collect()
}

fn link_load(demand: &LinkDemand, responses: &[Nanos], beside: &Beside) -> LinkLoad {
    let slot = slots::of_link(demand, beside.wake_up);
    LinkLoad {
        requests_per_s: demand.requests_per_s(),
        wire_bytes_per_s: demand.wire_bytes_per_s,
        load: demand.load(),
        slot,
        worst_phase: worst_of_slot(demand, slot, responses),
        writes: None,
    }
}

fn worst_of_slot(demand: &LinkDemand, slot: Option<Slot>, responses: &[Nanos]) -> Nanos {
    let of_slot = slot.and_then(|slot| demand.scans.iter().position(|scan| scan.group == slot.group));
    of_slot.map_or(Nanos::ZERO, |at| responses[at])
}

fn executor_load(plan: &Plan, executor: &LanePlan, demands: &ById<LinkId, LinkDemand>, costs: &Costs) -> ExecutorLoad {
    let links = || executor.links.iter().map(|link| &demands[*link]);
    let requests_per_s: f64 = links().map(LinkDemand::requests_per_s).sum();
    let samples_per_s = links().map(|link| link.samples_per_s).sum();
    let releases_per_s: f64 = executor.releases.iter().map(|r| 1.0 / r.period.as_secs_f64()).sum();
    let scans = || links().flat_map(|link| &link.scans);
    let load = scans().map(|scan| scan.work.as_secs_f64() / scan.period.as_secs_f64()).sum::<f64>()
        + releases_per_s * costs.release.as_secs_f64()
        + links().flat_map(|link| &link.streams).map(|s| s.work.as_secs_f64() / s.interval.as_secs_f64()).sum::<f64>();
    let mut work = vec![Nanos::ZERO; plan.scans.end()];
    scans().for_each(|scan| work[scan.id.index()] = scan.work);
    let cost = |release: &ReleasePlan| release.scans.iter().fold(costs.release, |sum, scan| sum + work[scan.index()]);
    ExecutorLoad { requests_per_s, samples_per_s, load, slot: slots::of_executor(executor, cost) }
}
