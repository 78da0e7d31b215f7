//! Writes beside the scans: what one takes of its link at most, and how far apart they are begun so that no scan misses
//! a cycle, however many are asked for.
//!
//! A write has turns, each of one exchange where that can be: the write itself, and its read-back. To the scans, turns that
//! begin no closer together than the link's spacing are one more scan, the most urgent: see `response`. The spacing is
//! the shortest of a few steps with which all fits, the other links of the executor included; links keep to it. Where not
//! even one turn fits, the plan does not.

use std::ops::Range;

use super::executor::{Beside, ExecutorDemand};
use super::response;
use crate::config::Config;
use crate::plan::demand::{Costs, LOAD_MAX, LinkDemand, WriteDemand, WriteWay};
use crate::plan::model::*;
use crate::tag::{ById, LinkId, Nanos};

/// What all writes of an executor may take of it when nothing else bounds them.
const EXECUTOR_SHARE: f64 = 0.25;
/// And what is left to them at least; below that, none fits.
const EXECUTOR_SHARE_MIN: f64 = 1e-5;
/// Steps of the spacing, ten in each decade (R10 of ISO 3), so that a small change of a plan changes no other link.
const STEPS_US: [u64; 10] = [100, 125, 160, 200, 250, 315, 400, 500, 630, 800];
/// The last: 80 s.
const STEP_LAST: usize = 59;
/// Where nothing fits, and the plan runs all the same, writes take no more than such a part of their link.
const PART_OF_FULL_LINK: u64 = 10;

/// What a link's writes may take; `None`: it has none, or they cost it nothing that is not reckoned already, as on CAN,
/// where a message is sent no more often than it says.
pub fn of_link(config: &Config, plan: &Plan, link: LinkId, costs: &Costs) -> Option<WriteDemand> {
    let ways = plan.links[link].protocol.write_ways(plan);
    let longest_tag = ways.iter().max_by_key(|way| way.longest_turn())?.tag;
    let turns = || ways.iter().flat_map(|way| &way.turns);
    let (requests, early) = turns().fold((1, 0), |(a, b), turn| (a.max(turn.requests), b.max(turn.early)));
    let rate = |way: &WriteWay| {
        let pause = plan.tags[way.tag].write.as_ref().map_or(Nanos::ZERO, |write| write.interval_min);
        1.0 / pause.max(way.takes()).as_secs_f64().max(1e-6)
    };
    let asked_per_s = ways.iter().map(rate).sum::<f64>().min(f64::from(config.control.writes_per_s));
    Some(WriteDemand {
        tags: ways.len(),
        longest_tag,
        requests,
        line: turns().map(|turn| turn.line).max().unwrap_or(Nanos::ZERO),
        longest: turns().map(|turn| turn.longest).max().unwrap_or(Nanos::ZERO),
        work: Nanos(costs.of_request(1).0 * requests + costs.request.0 * 2 / 3 * early),
        turns: ways.iter().map(|way| way.turns.len() as u64).max().unwrap_or(1),
        takes: ways.iter().map(WriteWay::takes).max().unwrap_or(Nanos::ZERO),
        asked_per_s,
        spacing: Nanos::NEVER,
    })
}

fn step(at: usize) -> Nanos {
    let decade = 10u64.pow((at / STEPS_US.len()) as u32);
    Nanos::from_micros(STEPS_US[at % STEPS_US.len()] * decade)
}

/// The first step that is no shorter.
fn step_from(spacing: Nanos) -> usize {
    (0..STEP_LAST).find(|at| step(*at) >= spacing).unwrap_or(STEP_LAST)
}

/// The first step of `steps` that `fits`, all behind it being as good; `None`: none does.
fn first_that(steps: Range<usize>, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut low, mut high) = (steps.start, steps.end.checked_sub(1)?);
    if low > high || !fits(high) {
        return None;
    }
    while low < high {
        let middle = (low + high) / 2;
        if fits(middle) { high = middle } else { low = middle + 1 }
    }
    Some(high)
}

/// All links with their writes, and what became of them.
pub struct Reckoned {
    /// With writes where they may be written.
    pub demands: ById<LinkId, LinkDemand>,
    /// What its executor does beside each.
    pub beside: ById<LinkId, Beside>,
    /// Links that would fit without writes, and do not with a single one.
    pub without_room: Vec<LinkId>,
}

/// What writes are measured against.
pub struct Scans<'a> {
    pub config: &'a Config,
    pub plan: &'a Plan,
    pub costs: &'a Costs,
    pub demands: &'a ById<LinkId, LinkDemand>,
    /// Links that do not fit, writes or no writes.
    pub late: &'a [LinkId],
    /// By executor, of its time.
    pub loads: &'a [f64],
}

/// Finds each link's spacing; `None`: nothing may be written.
pub fn reckon(scans: &Scans<'_>) -> Option<Reckoned> {
    let Scans { config, plan, costs, demands, .. } = scans;
    let writes: ById<LinkId, Option<WriteDemand>> =
        demands.ids().map(|link| (link, of_link(config, plan, link, costs))).collect();
    writes.values().any(Option::is_some).then_some(())?;
    let mut share = EXECUTOR_SHARE;
    loop {
        let reckoned = with_share(scans, &writes, share);
        if reckoned.without_room.is_empty() || share <= EXECUTOR_SHARE_MIN {
            return Some(reckoned);
        }
        share /= 8.0;
    }
}

/// When the writes of an executor take no more than `share` of it.
fn with_share(scans: &Scans<'_>, writes: &ById<LinkId, Option<WriteDemand>>, share: f64) -> Reckoned {
    let Scans { config, plan, costs, demands, late, loads } = *scans;
    let shortest: ById<LinkId, usize> = writes
        .iter()
        .map(|(id, write)| {
            let executor = &plan.lanes[plan.links[id].lane.index()];
            let writers = executor.links.iter().filter(|link| writes[**link].is_some()).count().next_power_of_two();
            let work = write.map_or(0.0, |write| write.work.0 as f64) * writers as f64;
            // Reads have half of the link at least.
            let of_link = write.map_or(0, |write| (write.line.0 * 2 / demands[id].pipeline).max(write.line.0));
            (id, step_from(Nanos(((work / share) as u64).max(of_link))))
        })
        .collect();
    let with = |id: LinkId, at: usize| match writes[id] {
        Some(write) => demands[id].with_writes(WriteDemand { spacing: step(at), ..write }, costs),
        None => demands[id].clone(),
    };
    let mut reckoned = Reckoned {
        demands: demands.ids().map(|id| (id, with(id, shortest[id]))).collect(),
        beside: ById::new(),
        without_room: Vec::new(),
    };
    for (_, _, executor) in plan.executors() {
        let links: Vec<&LinkDemand> = executor.links.iter().map(|link| &reckoned.demands[*link]).collect();
        let executor_demand = ExecutorDemand::new(executor, &links, costs, config);
        for link in &executor.links {
            reckoned.beside.insert(*link, executor_demand.beside(&reckoned.demands[*link]));
        }
    }
    let mut found: Vec<(LinkId, LinkDemand)> = Vec::new();
    for id in demands.ids().filter(|id| !late.contains(id)) {
        let executor = plan.links[id].lane.index();
        let beside = &reckoned.beside[id];
        let room = loads[executor] + share <= LOAD_MAX || loads[executor] > LOAD_MAX;
        let fits = |at: usize| room && fits(&with(id, at), beside);
        match (writes[id], first_that(shortest[id]..STEP_LAST + 1, fits)) {
            (Some(_), Some(at)) => found.push((id, with(id, at))),
            (Some(_), None) => reckoned.without_room.push(id),
            (None, _) if !response::fits(&demands[id], beside) => reckoned.without_room.push(id),
            (None, _) => {}
        }
    }
    for id in late.iter().chain(&reckoned.without_room) {
        let line = writes[*id].map_or(0, |write| write.line.0 * PART_OF_FULL_LINK);
        found.push((*id, with(*id, shortest[*id].max(step_from(Nanos(line))))));
    }
    found.into_iter().for_each(|(id, demand)| reckoned.demands[id] = demand);
    reckoned
}

fn fits(demand: &LinkDemand, beside: &Beside) -> bool {
    demand.load() <= LOAD_MAX && response::fits(demand, beside)
}
