//! The plan: everything an executor needs, decided before it runs.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

pub use super::bus::{BusItem, BusPlan, BusRequest, BusSetup, BusSource, BusTag, BusWrite};
pub use super::can::CanPlan;
pub use super::canopen::{
    BootStep, CanOpenDecode, CanOpenItem, CanOpenNodePlan, CanOpenPlan, CanOpenScan, CanOpenWrite, RpdoPlan, TpdoPlan,
    Way,
};
pub use super::diagnostics::{DiagnosticTag, DiagnosticsPlan};
pub use super::modbus::{Decode, ModbusPlan, ModbusRequest, ModbusWrite};
use crate::config::{ReleaseMode, Reporting, WriteConfig};
use crate::limits::PERIOD_QUICK_MAX;
use crate::tag::{ById, GroupId, Id, LaneId, LinkId, Nanos, Sample, TagId, Texts, ValueType};

/// A gateway's whole work.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub tags: ById<TagId, TagPlan>,
    pub groups: ById<GroupId, GroupPlan>,
    pub links: ById<LinkId, LinkPlan>,
    pub scans: ById<ScanId, ScanPlan>,
    /// By LaneId: the executors', then the sources'; the same ones for as long as the gateway runs.
    pub lanes: Vec<LanePlan>,
}

impl Plan {
    /// The lanes of executors, with their CPUs.
    pub fn executors(&self) -> impl Iterator<Item = (LaneId, u32, &LanePlan)> {
        let own = self.lanes.iter().enumerate();
        own.filter_map(|(at, lane)| Some((LaneId(at as u16), lane.owner.cpu()?, lane)))
    }

    /// The lanes of sources.
    pub fn sources(&self) -> impl Iterator<Item = (LaneId, SourceKind, &LanePlan)> {
        let own = self.lanes.iter().enumerate();
        own.filter_map(|(at, lane)| Some((LaneId(at as u16), lane.owner.source()?, lane)))
    }

    /// Of each group the first one of its name: tags that name no group share one, whatever their scan rates, and each rate has
    /// an id of its own.
    pub fn first_of_name(&self) -> ById<GroupId, GroupId> {
        let mut known: HashMap<&str, GroupId> = HashMap::new();
        self.groups.iter().map(|(id, group)| (id, *known.entry(&group.name).or_insert(id))).collect()
    }

    /// The groups as they are called, each once: its first id, all of its ids, and the shortest of its periods.
    pub fn named_groups(&self) -> Vec<NamedGroup<'_>> {
        let first = self.first_of_name();
        let mut named: Vec<NamedGroup<'_>> = Vec::new();
        let mut at: HashMap<GroupId, usize> = HashMap::new();
        for (id, group) in self.groups.iter() {
            let first = first.get(id).copied().unwrap_or(id);
            let at = *at.entry(first).or_insert(named.len());
            match named.get_mut(at) {
                Some(known) => {
                    known.ids.push(id);
                    known.period = known.period.min(group.period);
                }
                None => named.push(NamedGroup { name: &group.name, first, ids: vec![id], period: group.period }),
            }
        }
        named
    }

    /// A group as messages name it, in quotes: with its period where several have its name.
    pub fn group_called(&self, id: GroupId) -> String {
        let Some(group) = self.groups.get(id) else { return "\"\"".to_owned() };
        let has_others = self.groups.values().filter(|other| other.name == group.name).count() > 1;
        let period = if has_others { format!(" ({} ms)", group.period.0 as f64 / 1e6) } else { String::new() };
        format!("\"{}\"{period}", group.name)
    }

    /// The links that executors serve.
    pub fn field_links(&self) -> impl Iterator<Item = (LinkId, &LinkPlan)> {
        self.links.iter().filter(|(_, link)| link.protocol.source().is_none())
    }
}

/// A tag keeps its id as long as its name, link, type and unit stay.
#[derive(Debug, Clone, PartialEq)]
pub struct TagPlan {
    pub name: Arc<str>,
    pub link: LinkId,
    pub group: GroupId,
    pub ty: ValueType,
    pub unit: Arc<str>,
    /// What its values are called.
    pub texts: Texts,
    pub description: Arc<str>,
    /// The lowest and the highest value that are usual, or that a transmitter is made for.
    pub range: Option<[f64; 2]>,
    /// Which samples are told; `None`: every one.
    pub reporting: Option<Reporting>,
    /// Within which limits it may be written; `None`: it is only read.
    pub write: Option<WriteConfig>,
}

/// All groups of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedGroup<'p> {
    pub name: &'p Arc<str>,
    pub first: GroupId,
    pub ids: Vec<GroupId>,
    /// The shortest.
    pub period: Nanos,
}

/// A group keeps its id as long as its name and, where several have that name, its period stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlan {
    pub name: Arc<str>,
    pub period: Nanos,
    pub release: ReleaseMode,
}

/// A link keeps its id, and its lane, as long as its name stays.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkPlan {
    pub name: Arc<str>,
    pub lane: LaneId,
    /// From the beginning of a write's turn to that of the next at least, so that no scan misses a cycle for writes: see
    /// `plan::admission`.
    pub write_spacing: Nanos,
    pub protocol: LinkProtocolPlan,
}

#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "there is one of a link, and few links")]
pub enum LinkProtocolPlan {
    Modbus(ModbusPlan),
    Can(CanPlan),
    CanOpen(CanOpenPlan),
    Bus(BusPlan),
    Diagnostics(DiagnosticsPlan),
}

/// Who makes the samples of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneOwner {
    /// A thread of the real-time floor, pinned to a CPU.
    Executor { cpu: u32 },
    /// An ordinary thread.
    Source(SourceKind),
}

impl LaneOwner {
    pub fn cpu(self) -> Option<u32> {
        if let LaneOwner::Executor { cpu } = self { Some(cpu) } else { None }
    }

    pub fn source(self) -> Option<SourceKind> {
        if let LaneOwner::Source(kind) = self { Some(kind) } else { None }
    }
}

/// What an ordinary thread gets its samples from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// The gateway itself: the tags whose names begin with `$`.
    Diagnostics,
}

impl SourceKind {
    pub fn name(self) -> &'static str {
        match self {
            SourceKind::Diagnostics => "diagnostics",
        }
    }

    /// What its thread is called.
    pub fn thread_name(self) -> &'static str {
        match self {
            SourceKind::Diagnostics => "fb-diag",
        }
    }
}

impl LinkProtocolPlan {
    /// The family of protocols.
    pub fn name(&self) -> &'static str {
        match self {
            LinkProtocolPlan::Modbus(_) => "modbus",
            LinkProtocolPlan::Can(_) => "can",
            LinkProtocolPlan::CanOpen(_) => "canopen",
            LinkProtocolPlan::Bus(_) => "bus",
            LinkProtocolPlan::Diagnostics(_) => "diagnostics",
        }
    }

    /// How many things its link keeps a state of: a measure of what a change of plan takes.
    pub fn parts(&self) -> usize {
        match self {
            LinkProtocolPlan::Modbus(modbus) => modbus.requests.len(),
            LinkProtocolPlan::Can(can) => can.decodes.len() + can.cases.len(),
            LinkProtocolPlan::CanOpen(canopen) => canopen.items.len() + canopen.nodes.len(),
            LinkProtocolPlan::Bus(bus) => bus.tags.len(),
            LinkProtocolPlan::Diagnostics(own) => own.tags.len(),
        }
    }

    /// Which source serves it; `None`: an executor does.
    pub fn source(&self) -> Option<SourceKind> {
        matches!(self, LinkProtocolPlan::Diagnostics(_)).then_some(SourceKind::Diagnostics)
    }

    pub fn modbus(&self) -> Option<&ModbusPlan> {
        if let LinkProtocolPlan::Modbus(modbus) = self { Some(modbus) } else { None }
    }

    pub fn modbus_mut(&mut self) -> Option<&mut ModbusPlan> {
        if let LinkProtocolPlan::Modbus(modbus) = self { Some(modbus) } else { None }
    }

    /// Whether the same connection serves both.
    pub(super) fn same_target(&self, other: &LinkProtocolPlan) -> bool {
        match (self, other) {
            (LinkProtocolPlan::Modbus(a), LinkProtocolPlan::Modbus(b)) => a.same_target(b),
            (LinkProtocolPlan::Can(a), LinkProtocolPlan::Can(b)) => a.same_target(b),
            (LinkProtocolPlan::CanOpen(a), LinkProtocolPlan::CanOpen(b)) => a.same_target(b),
            (LinkProtocolPlan::Bus(a), LinkProtocolPlan::Bus(b)) => a.same_target(b),
            (LinkProtocolPlan::Diagnostics(_), LinkProtocolPlan::Diagnostics(_)) => true,
            _ => false,
        }
    }

    /// Slots of the ring that it fills in a second when all goes well.
    pub(super) fn slots_per_s(&self, groups: &ById<GroupId, GroupPlan>) -> u64 {
        match self {
            LinkProtocolPlan::Modbus(modbus) => modbus.slots_per_s(groups),
            LinkProtocolPlan::Can(can) => can.slots_per_s(groups),
            LinkProtocolPlan::CanOpen(canopen) => canopen.slots_per_s(groups),
            LinkProtocolPlan::Bus(bus) => bus.slots_per_s(groups),
            LinkProtocolPlan::Diagnostics(own) => own.slots_per_s(groups),
        }
    }
}

/// Slots of the ring that so many fill in a second, when they come once a period. What comes more rarely than once a second
/// still comes at once, and must find its room.
pub(super) fn slots_per_s(slots: u64, period: Nanos) -> u64 {
    (slots as f64 / period.min(PERIOD_QUICK_MAX).as_secs_f64().max(1e-9)).ceil() as u64
}

/// Slots of the ring that values of these types fill, each once.
pub(super) fn ring_slots(types: impl Iterator<Item = ValueType>) -> u64 {
    types.map(|ty| 1 + ty.long_bytes_max().div_ceil(Sample::PAYLOAD_BYTES) as u64).sum()
}

/// A scan: one group's requests on one link; it keeps its id as long as both do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ScanId(pub u32);

impl ScanId {
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Id for ScanId {
    fn index(self) -> usize {
        self.0 as usize
    }

    fn from_index(index: usize) -> ScanId {
        ScanId(index as u32)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanPlan {
    pub group: GroupId,
    pub link: LinkId,
    /// Of the link's requests.
    pub requests: Range<u32>,
}

/// One stream of samples, and the thread that makes them.
#[derive(Debug, Clone)]
pub struct LanePlan {
    pub owner: LaneOwner,
    /// The links it owns, ascending.
    pub links: Vec<LinkId>,
    /// Sorted by period, then phase. A source keeps its own time, and has none.
    pub releases: Vec<ReleasePlan>,
    /// Samples a second when all goes well (array and text slots counted).
    pub slots_per_s: u64,
}

/// Scans that start at one instant, every period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasePlan {
    pub group: GroupId,
    pub period: Nanos,
    /// From the executor's first instant; below the period.
    pub phase: Nanos,
    pub scans: Vec<ScanId>,
}
