//! Config → Plan: executors get links, links get block reads, groups get phases.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::admission::{self, Admission, PlanError};
use super::blocks::{self, Block, BlockLimits, Span};
use super::model::*;
use crate::config::{
    Config, LinkConfig, LinkProtocol, ModbusAddress, ModbusTcpConfig, ReleaseMode, Table, TagAddress, TagConfig,
};
use crate::limits;
use crate::tag::{ExecutorId, GroupId, LinkId, Nanos, Sample, TagId, UnitId};

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
    let plan = compile(config, cpus);
    let admission = admission::admit(config, &plan)?;
    Ok(Planned { plan, admission })
}

fn compile(config: &Config, cpus: &[u32]) -> Plan {
    let cpus = if cpus.is_empty() { &[0] } else { &cpus[..cpus.len().min(limits::EXECUTORS_MAX)] };
    let tags = config.tags.iter().map(tag_plan).collect();
    let groups: Vec<GroupPlan> = config
        .groups
        .iter()
        .map(|g| GroupPlan { name: g.name.as_str().into(), period: g.period, release: g.release })
        .collect();
    let mut tags_of_link: Vec<Vec<(TagId, &TagConfig)>> = vec![Vec::new(); config.links.len()];
    for (id, tag) in config.tags.iter().enumerate() {
        tags_of_link[tag.link].push((TagId(id as u32), tag));
    }
    let mut scans = Vec::new();
    let mut links = Vec::new();
    for (index, link) in config.links.iter().enumerate() {
        links.push(link_plan(LinkId(index as u16), link, &tags_of_link[index], &mut scans));
    }
    assign_executors(&mut links, &scans, &groups, cpus.len());
    let executors = cpus
        .iter()
        .enumerate()
        .map(|(id, &cpu)| executor_plan(ExecutorId(id as u16), cpu, &links, &groups, &scans))
        .collect();
    Plan { tags, groups, links, scans, executors }
}

fn tag_plan(tag: &TagConfig) -> TagPlan {
    TagPlan {
        name: tag.name.as_str().into(),
        link: LinkId(tag.link as u16),
        group: GroupId(tag.group as u16),
        ty: tag.value_type(),
        unit: tag.unit.as_str().into(),
        description: tag.description.as_str().into(),
    }
}

fn link_plan(id: LinkId, link: &LinkConfig, tags: &[(TagId, &TagConfig)], scans: &mut Vec<ScanPlan>) -> LinkPlan {
    let LinkProtocol::ModbusTcp(config) = &link.protocol;
    LinkPlan {
        name: Arc::from(link.name.as_str()),
        executor: ExecutorId(0),
        protocol: LinkProtocolPlan::ModbusTcp(modbus_tcp_plan(id, config, tags, scans)),
    }
}

/// One (unit, table) of one group: what can share a request.
type BlockKey = (usize, UnitId, Table);

fn modbus_tcp_plan(
    id: LinkId,
    config: &ModbusTcpConfig,
    tags: &[(TagId, &TagConfig)],
    scans: &mut Vec<ScanPlan>,
) -> ModbusTcpPlan {
    let mut areas: BTreeMap<BlockKey, Vec<(TagId, &TagConfig, &ModbusAddress)>> = BTreeMap::new();
    for &(tag_id, tag) in tags {
        let TagAddress::Modbus(address) = &tag.address;
        areas.entry((tag.group, address.unit, address.table)).or_default().push((tag_id, tag, address));
    }
    let mut units: Vec<UnitId> = areas.keys().map(|key| key.1).collect();
    units.sort();
    units.dedup();

    let mut out =
        ModbusTcpPlan { config: config.clone(), units, requests: Vec::new(), block_count: 0, decodes: Vec::new() };
    // Spans and the block each request was made from, to cut halves out of them afterwards.
    let mut origins: Vec<(Arc<[Span]>, Block, u32)> = Vec::new();
    let mut group_of_scan = None;
    for ((group, unit, table), mut members) in areas {
        members.sort_by_key(|(tag_id, _, address)| (address.first, address.count, *tag_id));
        let group_id = GroupId(group as u16);
        if group_of_scan != Some(group_id) {
            let start = out.requests.len() as u32;
            scans.push(ScanPlan { group: group_id, link: id, requests: start..start });
            group_of_scan = Some(group_id);
        }
        let scan = ScanId(scans.len() as u32 - 1);
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
        if let Some(last) = scans.last_mut() {
            last.requests.end = out.requests.len() as u32;
        }
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

fn unreadable(config: &ModbusTcpConfig, unit: UnitId, table: Table) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = config
        .unreadable
        .iter()
        .filter(|r| r.table == table && r.unit.is_none_or(|u| u == unit))
        .map(|r| r.first as u32..r.last as u32 + 1)
        .collect();
    ranges.sort_by_key(|r| r.start);
    ranges
}

fn block_limits(config: &ModbusTcpConfig, table: Table) -> BlockLimits {
    if table.is_bits() {
        BlockLimits { count_max: config.bits_max as u32, gap_max: MODBUS_TCP_REQUEST_BYTES * 8 }
    } else {
        BlockLimits { count_max: config.registers_max as u32, gap_max: MODBUS_TCP_REQUEST_BYTES / 2 }
    }
}

/// Heaviest link first, each to the executor with the least work so far.
fn assign_executors(links: &mut [LinkPlan], scans: &[ScanPlan], groups: &[GroupPlan], executors: usize) {
    let mut load_of_link = vec![0.0f64; links.len()];
    for scan in scans {
        let requests = scan.requests.len() as f64;
        load_of_link[scan.link.index()] += requests / groups[scan.group.index()].period.as_secs_f64();
    }
    let mut order: Vec<usize> = (0..links.len()).collect();
    order.sort_by(|a, b| load_of_link[*b].total_cmp(&load_of_link[*a]));
    let mut load = vec![0.0f64; executors];
    for link in order {
        let lightest = (0..executors).min_by(|a, b| load[*a].total_cmp(&load[*b])).unwrap_or(0);
        links[link].executor = ExecutorId(lightest as u16);
        load[lightest] += load_of_link[link];
    }
}

fn executor_plan(
    id: ExecutorId,
    cpu: u32,
    links: &[LinkPlan],
    groups: &[GroupPlan],
    scans: &[ScanPlan],
) -> ExecutorPlan {
    let own: Vec<LinkId> = (0..links.len()).filter(|&i| links[i].executor == id).map(|i| LinkId(i as u16)).collect();
    let own_scans: Vec<ScanId> =
        (0..scans.len() as u32).map(ScanId).filter(|s| links[scans[s.index()].link.index()].executor == id).collect();
    let mut releases = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let group_id = GroupId(index as u16);
        let members: Vec<ScanId> = own_scans.iter().copied().filter(|s| scans[s.index()].group == group_id).collect();
        let release = |scans| ReleasePlan { group: group_id, period: group.period, phase: Nanos::ZERO, scans };
        match group.release {
            _ if members.is_empty() => {}
            ReleaseMode::Together => releases.push(release(members)),
            ReleaseMode::Spread => releases.extend(members.into_iter().map(|scan| release(vec![scan]))),
        }
    }
    releases.sort_by_key(|r| r.period);
    spread_phases(&mut releases);
    let slots_per_s = own.iter().map(|l| slots_per_s(&links[l.index()], groups)).sum();
    ExecutorPlan { cpu, links: own, releases, slots_per_s }
}

/// Releases of equal period are spread evenly over it. Those of different periods start half a step apart
/// from the faster ones, so that common multiples do not meet at every beat.
fn spread_phases(releases: &mut [ReleasePlan]) {
    let mut start = 0;
    let mut classes = 0u64;
    while start < releases.len() {
        let period = releases[start].period;
        let len = releases[start..].iter().take_while(|r| r.period == period).count();
        let step = period.0 / len as u64;
        let shift = if classes == 0 { 0 } else { step / (classes + 1) };
        for (i, release) in releases[start..start + len].iter_mut().enumerate() {
            release.phase = Nanos((step * i as u64 + shift) % period.0);
        }
        classes += 1;
        start += len;
    }
}

fn slots_per_s(link: &LinkPlan, groups: &[GroupPlan]) -> u64 {
    let LinkProtocolPlan::ModbusTcp(modbus) = &link.protocol;
    modbus
        .blocks()
        .iter()
        .map(|request| {
            let decodes = &modbus.decodes[request.decodes.start as usize..request.decodes.end as usize];
            let slots: u64 =
                decodes.iter().map(|d| 1 + d.ty.long_bytes_max().div_ceil(Sample::PAYLOAD_BYTES) as u64).sum();
            (slots as f64 / groups[request.group.index()].period.as_secs_f64()).ceil() as u64
        })
        .sum()
}
