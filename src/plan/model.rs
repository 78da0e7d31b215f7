//! The plan: everything an executor needs, decided before it runs.

use std::ops::Range;
use std::sync::Arc;

use crate::config::{FieldType, ModbusConfig, ReleaseMode, Reporting, Table, WordOrder};
use crate::tag::{ById, ExecutorId, GroupId, Id, LinkId, Nanos, TagId, UnitId, ValueType};

/// A gateway's whole work.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub tags: ById<TagId, TagPlan>,
    pub groups: ById<GroupId, GroupPlan>,
    pub links: ById<LinkId, LinkPlan>,
    pub scans: ById<ScanId, ScanPlan>,
    /// By ExecutorId; the same ones for as long as the gateway runs.
    pub executors: Vec<ExecutorPlan>,
}

/// A tag keeps its id as long as its name, link, type and unit stay.
#[derive(Debug, Clone, PartialEq)]
pub struct TagPlan {
    pub name: Arc<str>,
    pub link: LinkId,
    pub group: GroupId,
    pub ty: ValueType,
    pub unit: Arc<str>,
    pub description: Arc<str>,
    /// Which samples are told; `None`: every one.
    pub reporting: Option<Reporting>,
}

/// A group keeps its id as long as its name stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlan {
    pub name: Arc<str>,
    pub period: Nanos,
    pub release: ReleaseMode,
}

/// A link keeps its id, and its executor, as long as its name stays.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkPlan {
    pub name: Arc<str>,
    pub executor: ExecutorId,
    pub protocol: LinkProtocolPlan,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LinkProtocolPlan {
    Modbus(ModbusPlan),
}

impl LinkProtocolPlan {
    /// How many requests it knows, halves of blocks counted.
    pub fn requests(&self) -> usize {
        let LinkProtocolPlan::Modbus(modbus) = self;
        modbus.requests.len()
    }
}

/// The work of one Modbus TCP connection.
#[derive(Debug, Clone, PartialEq)]
pub struct ModbusPlan {
    pub config: ModbusConfig,
    /// Units in use; requests hold indices into it.
    pub units: Vec<UnitId>,
    /// First the blocks of all scans, then the halves they may fall into.
    pub requests: Vec<ModbusRequest>,
    /// How many of the requests are blocks; the rest are halves.
    pub block_count: u32,
    /// Sorted by scan and address; a request and its halves share theirs.
    pub decodes: Vec<Decode>,
}

impl ModbusPlan {
    /// What is asked as long as the device refuses no address.
    pub fn blocks(&self) -> &[ModbusRequest] {
        &self.requests[..self.block_count as usize]
    }
}

/// One read of a block.
///
/// A block of several tags carries its two halves: when the device refuses the block's addresses (exception
/// 02), the link goes on with the halves, down to the single tag that is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModbusRequest {
    pub scan: ScanId,
    pub group: GroupId,
    /// Index into [`ModbusPlan::units`].
    pub unit: u16,
    pub table: Table,
    pub first: u16,
    pub count: u16,
    /// Into [`ModbusPlan::decodes`].
    pub decodes: Range<u32>,
    /// Indices of the two halves in [`ModbusPlan::requests`].
    pub halves: Option<[u32; 2]>,
}

impl ModbusRequest {
    /// Bytes of values in the reply.
    pub fn value_bytes(&self) -> usize {
        if self.table.is_bits() { (self.count as usize).div_ceil(8) } else { self.count as usize * 2 }
    }
}

/// How one tag is cut out of a reply's value bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decode {
    pub tag: TagId,
    /// Offset from 0 of its first register (or bit); a block's own first is subtracted when it is read.
    pub first: u16,
    /// Registers of text; else elements (1 for a scalar).
    pub len: u16,
    pub field: FieldType,
    pub order: WordOrder,
    pub ty: ValueType,
    pub scale: f64,
    pub offset: f64,
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

/// One pinned thread.
#[derive(Debug, Clone)]
pub struct ExecutorPlan {
    pub cpu: u32,
    /// The links it owns, ascending.
    pub links: Vec<LinkId>,
    /// Sorted by period, then phase.
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
