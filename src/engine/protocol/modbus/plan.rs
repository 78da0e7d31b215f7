//! The work of a Modbus link: tags merged into block reads, and how each is cut out of a reply.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::blocks::{self, Block, BlockLimits, Span};
use super::line_time::SerialLine;
use super::model::{ModbusAddress, ModbusConfig, ModbusTransport, Table};
use crate::config::{FieldType, TagConfig, WordOrder};
use crate::limits;
use crate::plan::{Checks, ScanId, Scanning};
use crate::tag::{GroupId, ScalarType, Scaling, TagId, UnitId, ValueType};

/// Bytes that one more request costs on a Modbus TCP wire: two Ethernet, IP and TCP headers (54 each), the
/// request (12) and the reply's header (9). A gap that is cheaper than this is read along.
const MODBUS_TCP_REQUEST_BYTES: u32 = 2 * 54 + 12 + 9;

/// The work of one Modbus connection.
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
    /// What values of some tags have to pass.
    pub checks: Checks,
    /// By tag, ascending: what may be written. An order says which by its place.
    pub writes: Vec<ModbusWrite>,
}

impl ModbusPlan {
    /// Block reads for the tags of one link.
    pub fn new(config: &ModbusConfig, tags: &[(TagId, &TagConfig)], scanning: &mut Scanning<'_>) -> ModbusPlan {
        plan(config, tags, scanning)
    }

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

/// How one tag is written.
///
/// Which function does it follows from this: 5 or 15 for coils, 6 or 16 for registers, 22 for one bit of a register,
/// 23 with `in_one`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModbusWrite {
    /// Index into [`ModbusPlan::units`].
    pub unit: u16,
    /// Coils or holding registers: the others are only read.
    pub table: Table,
    /// Registers or coils, from `place.first` on.
    pub count: u16,
    /// Where the value lies, and how: as it is read.
    pub place: Decode,
    /// Written and read back by one request.
    pub in_one: bool,
    /// The function that was asked for: 5, 6, 15, 16 or 22.
    pub function: Option<u8>,
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
    pub scaling: Scaling,
    /// The tag is one of [`ModbusPlan::checks`].
    pub is_checked: bool,
    /// It is the scale of other tags: of a reply, it is read before them.
    pub is_scale: bool,
    /// A float that is not a number, or infinite, is a value.
    pub allow_nan: bool,
}

impl Decode {
    /// The sample is the scaled raw value, as a float64.
    pub fn is_scaled(&self) -> bool {
        let (ValueType::Scalar(of) | ValueType::Array { of, .. }) = self.ty else { return false };
        of == ScalarType::Float64 && !(self.scaling.is_none() && self.field.scalar() == ScalarType::Float64)
    }
}

/// One (unit, table) of one group: what can share a request. By ids, so that a link whose tags stay as they are
/// is planned as it was, in whatever order files are read.
type BlockKey = (GroupId, UnitId, Table);

fn plan(config: &ModbusConfig, tags: &[(TagId, &TagConfig)], scanning: &mut Scanning<'_>) -> ModbusPlan {
    let mut areas: BTreeMap<BlockKey, Vec<(TagId, &TagConfig, &ModbusAddress)>> = BTreeMap::new();
    for &(tag_id, tag) in tags {
        let Some(address) = tag.address.get::<ModbusAddress>() else { continue };
        if is_broadcast(config, address.unit) {
            continue;
        }
        areas
            .entry((scanning.groups[tag.group], address.unit, address.table))
            .or_default()
            .push((tag_id, tag, address));
    }
    let mut units: Vec<UnitId> =
        tags.iter().filter_map(|(_, tag)| tag.address.get::<ModbusAddress>()).map(|a| a.unit).collect();
    units.sort();
    units.dedup();

    let mut out = ModbusPlan {
        config: config.clone(),
        checks: Checks::of(tags),
        writes: writes(tags, &units),
        units,
        requests: Vec::new(),
        block_count: 0,
        decodes: Vec::new(),
    };
    // Spans and the block each request was made from, to cut halves out of them afterwards.
    let mut origins: Vec<(Arc<[Span]>, Block, u32)> = Vec::new();
    for ((group_id, unit, table), mut members) in areas {
        members.sort_by_key(|(tag_id, _, address)| (address.first, address.count, *tag_id));
        let scan = scanning.scan(group_id, out.requests.len() as u32);
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
    for tag in out.checks.scales() {
        out.decodes.iter_mut().filter(|decode| decode.tag == tag).for_each(|decode| decode.is_scale = true);
    }
    out.block_count = out.requests.len() as u32;
    add_halves(&mut out.requests, origins);
    out
}

/// Unit 0 of a serial line is all of its devices: they can be written to, and none may answer a read (Modbus over
/// Serial Line V1.02, section 2.1).
fn is_broadcast(config: &ModbusConfig, unit: UnitId) -> bool {
    unit.0 == 0 && !matches!(config.transport, ModbusTransport::Tcp(_))
}

fn writes(tags: &[(TagId, &TagConfig)], units: &[UnitId]) -> Vec<ModbusWrite> {
    let write = |(id, tag): &(TagId, &TagConfig)| {
        let (address, write) = (tag.address.get::<ModbusAddress>()?, tag.write.as_ref()?);
        let most = match address.table {
            Table::Coils => limits::MODBUS_WRITE_BITS_MAX,
            Table::HoldingRegisters => limits::MODBUS_WRITE_REGISTERS_MAX,
            Table::DiscreteInputs | Table::InputRegisters => return None,
        };
        (address.count <= most).then_some(ModbusWrite {
            unit: units.binary_search(&address.unit).ok()? as u16,
            table: address.table,
            count: address.count,
            place: decode(*id, tag, address),
            in_one: write.read_write_in_one,
            function: write.function,
        })
    };
    let mut writes: Vec<ModbusWrite> = tags.iter().filter_map(write).collect();
    writes.sort_by_key(|write| write.place.tag);
    writes
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
        None if matches!(address.field, FieldType::Text(_)) => address.count,
        None => 1,
    };
    Decode {
        tag: tag_id,
        first: address.first,
        len,
        field: address.field,
        order: address.order,
        ty: tag.value_type(),
        scaling: tag.scaling(),
        is_checked: Checks::has(tag),
        is_scale: false,
        allow_nan: tag.decoding.allow_nan,
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
