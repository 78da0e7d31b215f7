//! Config → Plan: executors get links, links get block reads, groups get phases.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::admission::{self, Admission, Costs, PlanError, SerialLine};
use super::blocks::{self, Block, BlockLimits, Span};
use super::ids::{Allotted, Base, ScanIds};
use super::model::*;
use super::phases;
use crate::config::{
    Config, GroupConfig, LinkConfig, LinkProtocol, ModbusAddress, ModbusConfig, ReleaseMode, Table, TagAddress,
    TagConfig,
};
use crate::limits;
use crate::tag::{ById, ExecutorId, GroupId, LinkId, Nanos, Sample, TagId, UnitId};

/// Bytes that one more request costs on a Modbus TCP wire: two Ethernet, IP and TCP headers (54 each), the
/// request (12) and the reply's header (9). A gap that is cheaper than this is read along.
const MODBUS_TCP_REQUEST_BYTES: u32 = 2 * 54 + 12 + 9;

/// A plan, and what it will cost.
#[derive(Debug, Clone)]
pub struct Planned {
    pub plan: Plan,
    pub admission: Admission,
}

/// Compiles `config` for executors on `cpus` (at least one).
///
/// # Errors
/// What does not fit the wire, the device or the core, with the asked and the highest possible rate.
pub fn build(config: &Config, cpus: &[u32]) -> Result<Planned, PlanError> {
    build_with(config, cpus, &Costs::default())
}

/// Likewise, by what things cost on this machine.
///
/// # Errors
/// As [`build`].
pub fn build_with(config: &Config, cpus: &[u32], costs: &Costs) -> Result<Planned, PlanError> {
    let cpus = if cpus.is_empty() { &[0] } else { &cpus[..cpus.len().min(limits::EXECUTORS_MAX)] };
    compile(config, cpus, None, costs)
}

/// Compiles `config` to follow a plan that runs: what stays keeps its ids, its executor and its phases.
///
/// # Errors
/// As [`build`]; also when no ids are left for what is new.
pub fn rebuild(config: &Config, base: &Base<'_>) -> Result<Planned, PlanError> {
    rebuild_with(config, base, &Costs::default())
}

/// Likewise, by what things cost on this machine.
///
/// # Errors
/// As [`rebuild`].
pub fn rebuild_with(config: &Config, base: &Base<'_>, costs: &Costs) -> Result<Planned, PlanError> {
    let cpus: Vec<u32> = base.plan.executors.iter().map(|executor| executor.cpu).collect();
    compile(config, &cpus, Some(base), costs).map_err(|mut error| {
        if compile(config, &cpus, None, costs).is_ok() {
            let why = "links stay on their executors while the gateway runs; dealt out anew they fit: restart it";
            error.refusals.push(why.to_owned());
        }
        error
    })
}

fn compile(config: &Config, cpus: &[u32], base: Option<&Base<'_>>, costs: &Costs) -> Result<Planned, PlanError> {
    let ids = Allotted::new(config, base).map_err(PlanError::of_text)?;
    let tags = config.tags.iter().zip(&ids.tags).map(|(tag, id)| (*id, tag_plan(tag, &ids))).collect();
    let group_plan = |g: &GroupConfig| GroupPlan { name: g.name.as_str().into(), period: g.period, release: g.release };
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
        let mut scanning = Scanning { link: id, groups: &ids.groups, ids: &mut scan_ids, scans: &mut scans };
        links.insert(id, link_plan(link, &tags_of_link[at], &mut scanning));
    }
    assign_executors(&mut links, &scans, &groups, cpus.len(), base.map(|b| b.plan));
    let executors = cpus
        .iter()
        .enumerate()
        .map(|(at, &cpu)| {
            let old = base.map(|b| &b.plan.executors[at]);
            executor_plan(ExecutorId(at as u16), cpu, &links, &groups, &scans, old)
        })
        .collect();
    let plan = Plan { tags, groups, links, scans, executors };
    let admission = admission::admit(config, &ids.links, &plan, costs)?;
    Ok(Planned { plan, admission })
}

fn tag_plan(tag: &TagConfig, ids: &Allotted) -> TagPlan {
    TagPlan {
        name: tag.name.as_str().into(),
        link: ids.links[tag.link],
        group: ids.groups[tag.group],
        ty: tag.value_type(),
        unit: tag.unit.as_str().into(),
        description: tag.description.as_str().into(),
        reporting: tag.reporting,
    }
}

/// What the planning of one link needs to make its scans.
struct Scanning<'a> {
    link: LinkId,
    /// By the configuration's order.
    groups: &'a [GroupId],
    ids: &'a mut ScanIds,
    scans: &'a mut ById<ScanId, ScanPlan>,
}

fn link_plan(link: &LinkConfig, tags: &[(TagId, &TagConfig)], scanning: &mut Scanning<'_>) -> LinkPlan {
    let LinkProtocol::Modbus(config) = &link.protocol;
    LinkPlan {
        name: Arc::from(link.name.as_str()),
        executor: ExecutorId(0),
        protocol: LinkProtocolPlan::Modbus(modbus_plan(config, tags, scanning)),
    }
}

/// One (unit, table) of one group: what can share a request. By ids, so that a link whose tags stay as they are
/// is planned as it was, in whatever order files are read.
type BlockKey = (GroupId, UnitId, Table);

fn modbus_plan(config: &ModbusConfig, tags: &[(TagId, &TagConfig)], scanning: &mut Scanning<'_>) -> ModbusPlan {
    let mut areas: BTreeMap<BlockKey, Vec<(TagId, &TagConfig, &ModbusAddress)>> = BTreeMap::new();
    for &(tag_id, tag) in tags {
        let TagAddress::Modbus(address) = &tag.address;
        areas
            .entry((scanning.groups[tag.group], address.unit, address.table))
            .or_default()
            .push((tag_id, tag, address));
    }
    let mut units: Vec<UnitId> = areas.keys().map(|key| key.1).collect();
    units.sort();
    units.dedup();

    let mut out =
        ModbusPlan { config: config.clone(), units, requests: Vec::new(), block_count: 0, decodes: Vec::new() };
    // Spans and the block each request was made from, to cut halves out of them afterwards.
    let mut origins: Vec<(Arc<[Span]>, Block, u32)> = Vec::new();
    for ((group_id, unit, table), mut members) in areas {
        members.sort_by_key(|(tag_id, _, address)| (address.first, address.count, *tag_id));
        let scan = scanning.ids.of(group_id, scanning.link);
        if !scanning.scans.contains(scan) {
            let start = out.requests.len() as u32;
            scanning.scans.insert(scan, ScanPlan { group: group_id, link: scanning.link, requests: start..start });
        }
        let spans: Arc<[Span]> =
            members.iter().map(|(_, _, a)| Span { first: a.first as u32, count: a.count as u32 }).collect();
        let decodes_start = out.decodes.len() as u32;
        out.decodes.extend(members.iter().map(|(tag_id, tag, address)| decode(*tag_id, tag, address)));
        let unit_index = out.units.iter().position(|u| *u == unit).unwrap_or(0) as u16;
        for block in blocks::merge(&spans, &unreadable(config, unit, table), block_limits(config, table)) {
            out.requests.push(ModbusRequest {
                scan,
                group: group_id,
                unit: unit_index,
                table,
                first: block.first as u16,
                count: block.count as u16,
                decodes: decode_range(decodes_start, &block),
                halves: None,
            });
            origins.push((spans.clone(), block, decodes_start));
        }
        scanning.scans[scan].requests.end = out.requests.len() as u32;
    }
    out.block_count = out.requests.len() as u32;
    add_halves(&mut out.requests, origins);
    out
}

/// Appends the halves of every block, and theirs, down to single tags.
fn add_halves(requests: &mut Vec<ModbusRequest>, mut origins: Vec<(Arc<[Span]>, Block, u32)>) {
    let mut at = 0;
    while at < requests.len() {
        let (spans, block, decodes_start) = origins[at].clone();
        if let Some((left, right)) = blocks::split(&spans, &block) {
            let next = requests.len() as u32;
            requests[at].halves = Some([next, next + 1]);
            for half in [left, right] {
                requests.push(ModbusRequest {
                    first: half.first as u16,
                    count: half.count as u16,
                    decodes: decode_range(decodes_start, &half),
                    halves: None,
                    ..requests[at].clone()
                });
                origins.push((spans.clone(), half, decodes_start));
            }
        }
        at += 1;
    }
}

fn decode_range(start: u32, block: &Block) -> Range<u32> {
    start + block.spans.start as u32..start + block.spans.end as u32
}

fn decode(tag_id: TagId, tag: &TagConfig, address: &ModbusAddress) -> Decode {
    let len = match address.array {
        Some(len) => len,
        None if address.field.registers() == 0 => address.count,
        None => 1,
    };
    Decode {
        tag: tag_id,
        first: address.first,
        len,
        field: address.field,
        order: address.order,
        ty: tag.value_type(),
        scale: tag.scale,
        offset: tag.offset,
    }
}

fn unreadable(config: &ModbusConfig, unit: UnitId, table: Table) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = config
        .unreadable
        .iter()
        .filter(|r| r.table == table && r.unit.is_none_or(|u| u == unit))
        .map(|r| r.first as u32..r.last as u32 + 1)
        .collect();
    ranges.sort_by_key(|r| r.start);
    ranges
}

fn block_limits(config: &ModbusConfig, table: Table) -> BlockLimits {
    let request_bytes = request_bytes(config);
    if table.is_bits() {
        BlockLimits { count_max: config.bits_max as u32, gap_max: request_bytes * 8 }
    } else {
        BlockLimits { count_max: config.registers_max as u32, gap_max: request_bytes / 2 }
    }
}

/// What one more request costs, in bytes that could be read along instead.
fn request_bytes(config: &ModbusConfig) -> u32 {
    let Some(line) = SerialLine::of(config) else { return MODBUS_TCP_REQUEST_BYTES };
    // All of a read but its values: characters, the device's time, silences.
    let empty = line.line_time(Table::HoldingRegisters, 0);
    let byte = line.characters(if line.ascii { 2 } else { 1 });
    (empty.0 / byte.0.max(1)).min(u64::from(limits::MODBUS_REGISTERS_MAX) * 2) as u32
}

/// A link stays where it was. The others go, the heaviest first, to the executor with the least work so far.
fn assign_executors(
    links: &mut ById<LinkId, LinkPlan>,
    scans: &ById<ScanId, ScanPlan>,
    groups: &ById<GroupId, GroupPlan>,
    executors: usize,
    old: Option<&Plan>,
) {
    let mut load_of_link: ById<LinkId, f64> = links.ids().map(|id| (id, 0.0)).collect();
    for scan in scans.values() {
        load_of_link[scan.link] += scan.requests.len() as f64 / groups[scan.group].period.as_secs_f64();
    }
    let mut load = vec![0.0f64; executors];
    let mut rest = Vec::new();
    for (id, link) in links.iter_mut() {
        match old.and_then(|old| old.links.get(id)) {
            Some(old) => {
                link.executor = old.executor;
                load[old.executor.index()] += load_of_link[id];
            }
            None => rest.push(id),
        }
    }
    rest.sort_by(|a, b| load_of_link[*b].total_cmp(&load_of_link[*a]));
    for id in rest {
        let lightest = (0..executors).min_by(|a, b| load[*a].total_cmp(&load[*b])).unwrap_or(0);
        links[id].executor = ExecutorId(lightest as u16);
        load[lightest] += load_of_link[id];
    }
}

fn executor_plan(
    id: ExecutorId,
    cpu: u32,
    links: &ById<LinkId, LinkPlan>,
    groups: &ById<GroupId, GroupPlan>,
    scans: &ById<ScanId, ScanPlan>,
    old: Option<&ExecutorPlan>,
) -> ExecutorPlan {
    let own: Vec<LinkId> = links.iter().filter(|(_, link)| link.executor == id).map(|(id, _)| id).collect();
    let mut scans_of_group: BTreeMap<GroupId, Vec<ScanId>> = BTreeMap::new();
    for (scan_id, scan) in scans.iter().filter(|(_, scan)| links[scan.link].executor == id) {
        scans_of_group.entry(scan.group).or_default().push(scan_id);
    }
    let mut releases = Vec::new();
    for (group_id, members) in scans_of_group {
        let group = &groups[group_id];
        let release = |scans| ReleasePlan { group: group_id, period: group.period, phase: Nanos::ZERO, scans };
        match group.release {
            ReleaseMode::Together => releases.push(release(members)),
            ReleaseMode::Spread => releases.extend(members.into_iter().map(|scan| release(vec![scan]))),
        }
    }
    releases.sort_by_key(|r| r.period);
    phases::spread(&mut releases, old.map_or(&[], |old| &old.releases));
    let slots_per_s = own.iter().map(|l| slots_per_s(&links[*l], groups)).sum();
    ExecutorPlan { cpu, links: own, releases, slots_per_s }
}

fn slots_per_s(link: &LinkPlan, groups: &ById<GroupId, GroupPlan>) -> u64 {
    let LinkProtocolPlan::Modbus(modbus) = &link.protocol;
    modbus
        .blocks()
        .iter()
        .map(|request| {
            let decodes = &modbus.decodes[request.decodes.start as usize..request.decodes.end as usize];
            let slots: u64 =
                decodes.iter().map(|d| 1 + d.ty.long_bytes_max().div_ceil(Sample::PAYLOAD_BYTES) as u64).sum();
            (slots as f64 / groups[request.group].period.as_secs_f64()).ceil() as u64
        })
        .sum()
}
