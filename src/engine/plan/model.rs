//! The plan: everything an executor needs, decided before it runs; and what the work of a link has to answer, whatever its
//! protocol: all that is shared (ids, phases, admission, change of plan) asks it here, and knows no protocol.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use super::demand::{Costs, Finding, LinkDemand, WriteWay};
use super::place::Place;
use super::scan::ScanId;
use crate::config::{Pace, ReleaseMode, Reporting, WriteConfig};
use crate::limits::PERIOD_QUICK_MAX;
use crate::tag::{ById, GroupId, LaneId, LinkId, Nanos, Sample, TagId, Texts, ValueType, kept};

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
                    if group.interval() < known.pace.interval() {
                        known.pace = group.pace;
                    }
                }
                None => named.push(NamedGroup { name: &group.name, first, ids: vec![id], pace: group.pace }),
            }
        }
        named
    }

    /// A group as messages name it, in quotes: with its period where several have its name.
    pub fn group_called(&self, id: GroupId) -> String {
        let Some(group) = self.groups.get(id) else { return "\"\"".to_owned() };
        let has_others = self.groups.values().filter(|other| other.name == group.name).count() > 1;
        let period = if has_others { format!(" ({} ms)", group.interval().0 as f64 / 1e6) } else { String::new() };
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
    /// The quickest.
    pub pace: Pace,
}

/// A group keeps its id as long as its name and, where several have that name, its period stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlan {
    pub name: Arc<str>,
    pub pace: Pace,
    pub release: ReleaseMode,
}

impl GroupPlan {
    /// The period of a polled group, as those of all executors' links are; see [`Pace::interval`].
    pub fn interval(&self) -> Nanos {
        self.pace.interval()
    }
}

/// A link keeps its id, and its lane, as long as its name stays.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkPlan {
    pub name: Arc<str>,
    pub lane: LaneId,
    /// From the beginning of a write's turn to that of the next at least, so that no scan misses a cycle for writes: see
    /// `plan::admission`.
    pub write_spacing: Nanos,
    pub protocol: Box<dyn LinkWork>,
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

/// Slots of the ring that so many fill in a second, when they come once a period. What comes more rarely than once a second
/// still comes at once, and must find its room.
pub fn slots_per_s(slots: u64, period: Nanos) -> u64 {
    (slots as f64 / period.min(PERIOD_QUICK_MAX).as_secs_f64().max(1e-9)).ceil() as u64
}

/// Slots of the ring that values of these types fill, each once.
pub fn ring_slots(types: impl Iterator<Item = ValueType>) -> u64 {
    types.map(|ty| 1 + ty.long_bytes_max().div_ceil(Sample::PAYLOAD_BYTES) as u64).sum()
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

/// The work of one link: what is asked of its device, and how values are made of the answers.
pub trait LinkWork: Any + Debug + Send + Sync + KeptWork {
    /// The family of protocols.
    fn name(&self) -> &'static str;

    /// How many things its link keeps a state of: a measure of what a change of plan takes.
    fn parts(&self) -> usize;

    /// Which source serves it; `None`: an executor does.
    fn source(&self) -> Option<SourceKind> {
        None
    }

    /// Whether the same connection serves both.
    fn same_target(&self, other: &dyn LinkWork) -> bool;

    /// Where its device is reached, and how long an attempt may take for each address that the host has. `None`: there is
    /// nothing to connect to.
    fn place(&self) -> Option<(Place, Nanos)> {
        None
    }

    /// Slots of the ring that it fills in a second when all goes well.
    fn slots_per_s(&self, groups: &ById<GroupId, GroupPlan>) -> u64;

    /// What the link is asked, and what that takes of it and of its executor; `scans` are the link's.
    fn demand(&self, plan: &Plan, scans: &[ScanId], costs: &Costs) -> LinkDemand;

    /// How each tag that may be written is written. Empty: nothing may be, or it costs the link nothing that is not
    /// reckoned already.
    fn write_ways(&self, _plan: &Plan) -> Vec<WriteWay> {
        Vec::new()
    }

    /// How long nothing is asked for after a connection is made.
    fn connect_delay(&self) -> Nanos {
        Nanos::ZERO
    }

    /// The unit or node that each tag is read of, where there are such.
    fn units(&self) -> Vec<(TagId, u8)> {
        Vec::new()
    }

    /// What it asks for in each scan, request by request; empty: its devices speak by themselves, or it keeps no such list.
    fn requests(&self) -> Vec<PlannedRequest> {
        Vec::new()
    }

    /// Each request is answered or lost by itself: one that is lost says nothing of the next.
    fn is_polled(&self) -> bool {
        false
    }

    /// The share of its time that its requests take if each reply takes so long.
    fn load_with(&self, _plan: &Plan, _reply: Nanos) -> Option<f64> {
        None
    }

    /// As if that time were declared: see [`LinkWork::observed`].
    fn expect_reply(&mut self, _expected: Nanos) {}

    /// Its devices speak by themselves: a tag waits for its message, however well the connection is.
    fn listens(&self) -> bool {
        false
    }

    /// It is on a CAN bus, whose controller counts errors.
    fn is_on_can(&self) -> bool {
        false
    }

    /// The key by which people declare how long its device takes, and what helps to find that out.
    fn reply_key(&self) -> &'static str {
        "expected_reply_ms (`fieldbeat check --learn` shows it)"
    }

    /// Why nothing confirms a write that it has sent.
    fn unconfirmed(&self) -> &'static str {
        "sent to all devices of the line; nothing is confirmed"
    }

    /// What to say of a link that does not fit.
    fn refusal(&self, demand: &LinkDemand) -> Refusal;

    /// What the times of its replies say against what was declared: `None` while that holds, or while there is room all
    /// the same. `p99`: the 99th percentile of received − sent.
    fn observed(&self, _plan: &Plan, _p99: Nanos) -> Option<Finding> {
        None
    }
}

kept!(LinkWork, KeptWork);

/// One request of a scan, as `check` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRequest {
    pub group: GroupId,
    pub unit: u8,
    /// What is asked, in the protocol's own terms.
    pub what: String,
    pub tags: usize,
    /// Of the request and its reply.
    pub wire_bytes: usize,
}

/// What a refusal of a link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The bus is full whatever is asked for: what is to be said behind the link's name.
    Full(String),
    /// The group with the most requests has to give way.
    Requests {
        /// Behind the time that one request takes: on what, or how many at once.
        each: String,
        /// What helps beside other rates, and what to set if the device is faster than was declared.
        helps: &'static str,
        or_correct: &'static str,
    },
}
