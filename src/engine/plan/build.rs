//! Config → Plan: executors get links, links get block reads, groups get phases.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::admission::{Admission, PlanError};
use super::demand::Costs;
use super::ids::{Allotted, Base, ScanIds};
use super::model::*;
use super::{admission, phases};
use crate::config::{Config, GroupConfig, LinkConfig, ReleaseMode, TagConfig};
use crate::limits;
use crate::plan::scan::ScanId;
use crate::tag::{ById, GroupId, LaneId, LinkId, Nanos, TagId};

/// A plan, and what it will cost.
#[derive(Debug, Clone)]
pub struct Planned {
    pub plan: Plan,
    pub admission: Admission,
}

/// Compiles `config` for executors on `cpus` (at least one), by what things cost on this machine.
///
/// # Errors
/// What does not fit the wire, the device or the core, with the asked and the highest possible rate.
pub fn build(config: &Config, cpus: &[u32], costs: &Costs, plan_link: PlanLink) -> Result<Planned, PlanError> {
    compile(config, used(cpus), None, costs, plan_link)
}

/// The CPUs that get an executor.
fn used(cpus: &[u32]) -> &[u32] {
    if cpus.is_empty() { &[0] } else { &cpus[..cpus.len().min(limits::EXECUTORS_MAX)] }
}

/// How many lanes a plan of `config` has on `cpus`: those of executors, and those of sources.
pub fn lanes_of(config: &Config, cpus: &[u32]) -> usize {
    owners(config, used(cpus), None).len()
}

/// Compiles `config` to follow a plan that runs: what stays keeps its ids, its executor and its phases.
///
/// # Errors
/// As [`build`]; also when no ids are left for what is new.
pub fn rebuild(config: &Config, base: &Base<'_>, costs: &Costs, plan_link: PlanLink) -> Result<Planned, PlanError> {
    let cpus: Vec<u32> = base.plan.executors().map(|(_, cpu, _)| cpu).collect();
    compile(config, &cpus, Some(base), costs, plan_link).map_err(|mut error| {
        if compile(config, &cpus, None, costs, plan_link).is_ok() {
            let why = "links stay on their executors while the gateway runs; after a restart they are redistributed \
                and fit: restart the gateway";
            error.refusals.push(why.to_owned());
        }
        error
    })
}

fn compile(
    config: &Config,
    cpus: &[u32],
    base: Option<&Base<'_>>,
    costs: &Costs,
    plan_link: PlanLink,
) -> Result<Planned, PlanError> {
    super::pace::check(config)?;
    let ids = Allotted::new(config, base).map_err(PlanError::of_text)?;
    let tags = config.tags.iter().zip(&ids.tags).map(|(tag, id)| (*id, tag_plan(tag, &ids))).collect();
    let group_plan = |g: &GroupConfig| GroupPlan { name: g.name.as_str().into(), pace: g.pace, release: g.release };
    let groups: ById<GroupId, GroupPlan> =
        config.groups.iter().zip(&ids.groups).map(|(g, id)| (*id, group_plan(g))).collect();
    let mut tags_of_link: Vec<Vec<(TagId, &TagConfig)>> = vec![Vec::new(); config.links.len()];
    for (tag, id) in config.tags.iter().zip(&ids.tags) {
        tags_of_link[tag.link].push((*id, tag));
    }
    let mut scans = ById::new();
    let mut scan_ids = ScanIds::new(base);
    let mut links = ById::new();
    for (at, link) in config.links.iter().enumerate() {
        let id = ids.links[at];
        let priority = config.realtime.priority;
        let mut scanning = Scanning { link: id, groups: &ids.groups, ids: &mut scan_ids, scans: &mut scans, priority };
        links.insert(id, link_plan(link, &tags_of_link[at], &mut scanning, plan_link));
    }
    let owners = owners(config, cpus, base.map(|b| b.plan));
    assign_lanes(&mut links, &scans, &groups, &owners, base.map(|b| b.plan));
    let lane_of = |(at, owner): (usize, &LaneOwner)| {
        let id = LaneId(at as u16);
        match owner {
            LaneOwner::Executor { cpu } => {
                executor_plan(id, *cpu, &links, &groups, &scans, base.map(|b| &b.plan.lanes[at]))
            }
            LaneOwner::Source(kind) => source_plan(id, *kind, &links, &groups),
        }
    };
    let lanes = owners.iter().enumerate().map(lane_of).collect();
    let mut plan = Plan { tags, groups, links, scans, lanes };
    let admission = admission::admit(config, &ids.links, &plan, costs)?;
    for (id, link) in plan.links.iter_mut() {
        let writes = admission.links.get(id).and_then(|link| link.writes);
        link.write_spacing = writes.map_or(Nanos::ZERO, |writes| writes.spacing);
    }
    Ok(Planned { plan, admission })
}

fn tag_plan(tag: &TagConfig, ids: &Allotted) -> TagPlan {
    TagPlan {
        name: tag.name.as_str().into(),
        link: ids.links[tag.link],
        group: ids.groups[tag.group],
        ty: tag.value_type(),
        unit: tag.unit.as_str().into(),
        texts: tag.decoding.texts.clone(),
        description: tag.description.as_str().into(),
        range: tag.range,
        reporting: tag.reporting,
        write: tag.write.clone(),
    }
}

/// What the planning of one link needs to make its scans.
pub struct Scanning<'a> {
    pub link: LinkId,
    /// By the configuration's order.
    pub groups: &'a [GroupId],
    ids: &'a mut ScanIds,
    pub scans: &'a mut ById<ScanId, ScanPlan>,
    /// Of the executors.
    pub priority: u8,
}

impl Scanning<'_> {
    /// The scan of a group on this link; with its first request at `request` if it is a new one.
    pub fn scan(&mut self, group: GroupId, request: u32) -> ScanId {
        let scan = self.ids.of(group, self.link);
        if !self.scans.contains(scan) {
            self.scans.insert(scan, ScanPlan { group, link: self.link, requests: request..request });
        }
        scan
    }
}

fn link_plan(
    link: &LinkConfig,
    tags: &[(TagId, &TagConfig)],
    scanning: &mut Scanning<'_>,
    plan_link: PlanLink,
) -> LinkPlan {
    let protocol = plan_link(link, tags, scanning);
    LinkPlan { name: Arc::from(link.name.as_str()), lane: LaneId(0), write_spacing: Nanos::ZERO, protocol }
}

/// Who makes samples: an executor on each CPU, and the sources that the gateway's own file asks for. They stay as they are
/// for as long as the gateway runs.
fn owners(config: &Config, cpus: &[u32], old: Option<&Plan>) -> Vec<LaneOwner> {
    if let Some(old) = old {
        return old.lanes.iter().map(|lane| lane.owner).collect();
    }
    let executors = cpus.iter().map(|cpu| LaneOwner::Executor { cpu: *cpu });
    let sources = config.diagnostics.iter().map(|_| LaneOwner::Source(SourceKind::Diagnostics));
    executors.chain(sources).collect()
}

/// A link stays where it was; a source's link goes to its source. The others go, the heaviest first, to the executor with
/// the least work so far.
fn assign_lanes(
    links: &mut ById<LinkId, LinkPlan>,
    scans: &ById<ScanId, ScanPlan>,
    groups: &ById<GroupId, GroupPlan>,
    owners: &[LaneOwner],
    old: Option<&Plan>,
) {
    let executors = owners.iter().filter(|owner| owner.cpu().is_some()).count();
    let mut load_of_link: ById<LinkId, f64> = links.ids().map(|id| (id, 0.0)).collect();
    for scan in scans.values() {
        load_of_link[scan.link] += scan.requests.len() as f64 / groups[scan.group].interval().as_secs_f64();
    }
    let mut load = vec![0.0f64; executors];
    let mut rest = Vec::new();
    for (id, link) in links.iter_mut() {
        if let Some(source) = link.protocol.source() {
            let lane = owners.iter().position(|owner| owner.source() == Some(source));
            link.lane = LaneId(lane.unwrap_or_default() as u16);
            continue;
        }
        match old.and_then(|old| old.links.get(id)) {
            Some(old) => {
                link.lane = old.lane;
                load[old.lane.index()] += load_of_link[id];
            }
            None => rest.push(id),
        }
    }
    rest.sort_by(|a, b| load_of_link[*b].total_cmp(&load_of_link[*a]));
    for id in rest {
        let lightest = (0..executors).min_by(|a, b| load[*a].total_cmp(&load[*b])).unwrap_or(0);
        links[id].lane = LaneId(lightest as u16);
        load[lightest] += load_of_link[id];
    }
}

fn source_plan(
    id: LaneId,
    kind: SourceKind,
    links: &ById<LinkId, LinkPlan>,
    groups: &ById<GroupId, GroupPlan>,
) -> LanePlan {
    let own: Vec<LinkId> = links.iter().filter(|(_, link)| link.lane == id).map(|(id, _)| id).collect();
    let slots_per_s = own.iter().map(|l| links[*l].protocol.slots_per_s(groups)).sum();
    LanePlan { owner: LaneOwner::Source(kind), links: own, releases: Vec::new(), slots_per_s }
}

fn executor_plan(
    id: LaneId,
    cpu: u32,
    links: &ById<LinkId, LinkPlan>,
    groups: &ById<GroupId, GroupPlan>,
    scans: &ById<ScanId, ScanPlan>,
    old: Option<&LanePlan>,
) -> LanePlan {
    let own: Vec<LinkId> = links.iter().filter(|(_, link)| link.lane == id).map(|(id, _)| id).collect();
    let mut scans_of_group: BTreeMap<GroupId, Vec<ScanId>> = BTreeMap::new();
    for (scan_id, scan) in scans.iter().filter(|(_, scan)| links[scan.link].lane == id) {
        scans_of_group.entry(scan.group).or_default().push(scan_id);
    }
    let mut releases = Vec::new();
    for (group_id, members) in scans_of_group {
        let group = &groups[group_id];
        let release = |scans| ReleasePlan { group: group_id, period: group.interval(), phase: Nanos::ZERO, scans };
        match group.release {
            ReleaseMode::Together => releases.push(release(members)),
            ReleaseMode::Spread => releases.extend(members.into_iter().map(|scan| release(vec![scan]))),
        }
    }
    releases.sort_by_key(|r| r.period);
    phases::spread(&mut releases, old.map_or(&[], |old| &old.releases), |scan| scans[scan].link);
    let slots_per_s = own.iter().map(|l| links[*l].protocol.slots_per_s(groups)).sum();
    LanePlan { owner: LaneOwner::Executor { cpu }, links: own, releases, slots_per_s }
}

/// Plans the work of one link: which of the protocols does it, the caller knows.
pub type PlanLink = fn(&LinkConfig, &[(TagId, &TagConfig)], &mut Scanning<'_>) -> Box<dyn LinkWork>;
