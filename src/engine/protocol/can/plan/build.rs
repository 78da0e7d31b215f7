//! Addresses → messages, cases and places.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bits::{BitPlace, CAN_DATA_BYTES_MAX};
use super::filters;
use super::j1939::j1939_special;
use super::model::*;
use crate::config::TagConfig;
use crate::limits::{CAN_SILENT_CYCLES, CAN_UNSET_MAX, J1939_SESSIONS_ANY_SOURCE, J1939_SESSIONS_ONE_SOURCE};
use crate::plan::{Checks, Scanning};
use crate::protocol::can::model::{
    CanAddress, CanBits, CanBitsKind, CanCondition, CanConfig, CanFrames, CanSwitch, CanTransmit,
};
use crate::tag::{GroupId, Nanos, Scaling, TagId, ValueType};

/// A tag of the link.
#[derive(Clone, Copy)]
struct Tag<'a> {
    id: TagId,
    group: GroupId,
    scan_at: u16,
    address: &'a CanAddress,
    scaling: Scaling,
    ty: ValueType,
    is_checked: bool,
    allow_nan: bool,
    writable: bool,
}

/// Plans a link.
pub fn plan(config: &CanConfig, tags: &[(TagId, &TagConfig)], scanning: &mut Scanning<'_>) -> CanPlan {
    let mut scans: Vec<CanScan> = Vec::new();
    for (_, tag) in tags {
        let group = scanning.groups[tag.group];
        let id = scanning.scan(group, 0);
        if !scans.iter().any(|scan| scan.id == id) {
            scans.push(CanScan { id, group, beats: 0..0 });
        }
    }
    scans.sort_by_key(|scan| scan.id);
    let mut own = Vec::with_capacity(tags.len());
    for (id, tag) in tags {
        let Some(address) = tag.address.get::<CanAddress>() else { continue };
        let group = scanning.groups[tag.group];
        let scan_at = scans.iter().position(|scan| scan.group == group).unwrap_or(0) as u16;
        let (scaling, ty, writable) = (tag.scaling(), tag.value_type(), tag.write.is_some());
        let (is_checked, allow_nan) = (Checks::has(tag), tag.decoding.allow_nan);
        own.push(Tag { id: *id, group, scan_at, address, scaling, ty, is_checked, allow_nan, writable });
    }
    let mut out = CanPlan {
        config: config.clone(),
        lookup: Lookup::default(),
        messages: Vec::new(),
        cases: Vec::new(),
        conditions: Vec::new(),
        ranges: Vec::new(),
        decodes: Vec::new(),
        texts: Vec::new(),
        text_bytes: Vec::new(),
        named: Vec::new(),
        checks: Checks::of(tags),
        scans,
        beats: Vec::new(),
        transports: Vec::new(),
        filters: Vec::new(),
        transmits: Vec::new(),
        frames: Vec::new(),
        writes: Vec::new(),
    };
    config.transmit.iter().for_each(|transmit| add_transmit(&mut out, transmit));
    add_messages(&mut out, &own);
    let sent = config.transmit.iter().map(|transmit| CanFrames::Id(transmit.id));
    let heard = own.iter().map(|tag| tag.address.frames);
    out.transports = transports(&out);
    out.filters = filters::of(heard.chain(sent), !out.transports.is_empty());
    out.writes =
        own.iter().filter(|tag| tag.writable).filter_map(|tag| write_of(config, &out.transmits, tag)).collect();
    add_beats(&mut out);
    out
}

fn add_messages(out: &mut CanPlan, tags: &[Tag<'_>]) {
    let mut frames: BTreeMap<CanFrames, BTreeMap<&[CanCondition], Vec<Tag<'_>>>> = BTreeMap::new();
    for tag in tags {
        let cases = frames.entry(tag.address.frames).or_default();
        cases.entry(&tag.address.conditions).or_default().push(*tag);
    }
    let mut tables = TextTables::default();
    for (frames, cases) in &frames {
        let start = out.cases.len() as u32;
        let mut cycle: Option<Nanos> = None;
        let mut bytes = 0;
        for (conditions, tags) in cases {
            let cycles = tags.iter().filter_map(|tag| tag.address.cycle);
            cycle = cycle.into_iter().chain(cycles).min();
            bytes = tags.iter().map(|tag| tag.address.frame_bytes).fold(bytes, u16::max);
            add_case(out, conditions, tags, &mut tables);
        }
        let message = out.messages.len() as u16;
        let extended = !matches!(frames, CanFrames::Id(id) if !id.extended);
        let is_sent = matches!(frames, CanFrames::Id(id) if out.transmits.iter().any(|sent| sent.id == *id));
        let cases = start..out.cases.len() as u32;
        out.messages.push(CanMessage { frames: *frames, cases, cycle, bytes, extended, is_sent });
        out.lookup.add(*frames, message);
    }
    out.lookup.extended.sort_unstable();
    out.lookup.groups.sort_unstable();
}

impl Lookup {
    fn add(&mut self, frames: CanFrames, message: u16) {
        match frames {
            CanFrames::Id(id) if id.extended => self.extended.push((id.id, message)),
            CanFrames::Id(id) => {
                if self.standard.is_empty() {
                    self.standard = vec![0; 1 << 11];
                }
                if let Some(slot) = self.standard.get_mut(id.id as usize) {
                    *slot = message + 1;
                }
            }
            CanFrames::Group { pgn, source } => {
                let source = source.map_or(GroupKey::ANY_SOURCE, u16::from);
                self.groups.push((GroupKey { pgn, source }, message));
            }
        }
    }
}

/// Where the texts of each value table lie: many tags share one.
type TextTables = std::collections::HashMap<Arc<[(u64, Arc<str>)]>, std::ops::Range<u32>>;

fn add_case(out: &mut CanPlan, conditions: &[CanCondition], tags: &[Tag<'_>], tables: &mut TextTables) {
    let first_condition = out.conditions.len() as u32;
    for condition in conditions {
        let CanSwitch { start, len, big_endian } = condition.switch;
        let bits = CanBits { start, len, big_endian, kind: CanBitsKind::Unsigned };
        // Places are checked where they are read.
        let Some(place) = BitPlace::of(&bits) else { continue };
        let ranges = out.ranges.len() as u32;
        out.ranges.extend(&condition.values);
        out.conditions.push(Condition { place, ranges: ranges..out.ranges.len() as u32 });
    }
    let first_decode = out.decodes.len() as u32;
    let mut cycle: Option<Nanos> = None;
    for tag in tags {
        let Some((base, place)) = place_in_message(&tag.address.bits) else { continue };
        cycle = cycle.into_iter().chain(tag.address.cycle).max();
        let texts = match tag.ty {
            ValueType::Text { .. } => text_range(out, &tag.address.texts, tables),
            _ => 0..0,
        };
        let named = named_range(out, tag.address);
        let scaled = tag.ty == ValueType::Scalar(crate::tag::ScalarType::Float64)
            && !(tag.scaling.is_none() && tag.address.bits.kind == CanBitsKind::Float && place.bits() == 64);
        out.decodes.push(CanDecode {
            tag: tag.id,
            group: tag.group,
            place,
            base,
            bytes_needed: tag.address.bits.bytes_needed() as u16,
            ty: tag.ty,
            code: tag.ty.code(),
            scaled,
            scaling: tag.scaling,
            is_checked: tag.is_checked,
            allow_nan: tag.allow_nan,
            special: tag.address.special,
            named,
            texts,
            scan_at: tag.scan_at,
        });
    }
    let by_cycle = cycle.map(|cycle| Nanos(cycle.0.saturating_mul(CAN_SILENT_CYCLES)));
    out.cases.push(CanCase {
        conditions: first_condition..out.conditions.len() as u32,
        decodes: first_decode..out.decodes.len() as u32,
        silent_after: out.config.silent_after.or(by_cycle).unwrap_or(Nanos::NEVER),
    });
}

/// The place of a field in what follows `base` bytes of its message. `None`: it is wider than any.
fn place_in_message(bits: &CanBits) -> Option<(u16, BitPlace)> {
    let base = if bits.bytes_needed() > CAN_DATA_BYTES_MAX { bits.start / 8 } else { 0 };
    let place = BitPlace::of(&CanBits { start: bits.start - base * 8, ..*bits })?;
    Some((base, place))
}

/// Any parameter group may come in packets.
fn transports(plan: &CanPlan) -> Vec<TransportSlot> {
    let needed = |message: u16| {
        let decodes = plan.messages.get(usize::from(message)).map(|message| plan.decodes_of(message));
        decodes.unwrap_or_default().iter().map(|decode| decode.bytes_needed).max().unwrap_or(0)
    };
    let mut slots = Vec::new();
    for (key, message) in &plan.lookup.groups {
        let any = GroupKey { source: GroupKey::ANY_SOURCE, ..*key };
        let of_any = plan.lookup.groups.iter().find(|(known, _)| *known == any).map_or(0, |(_, any)| needed(*any));
        let bytes = needed(*message).max(of_any).max(CAN_DATA_BYTES_MAX as u16);
        let rooms = if *key == any { J1939_SESSIONS_ANY_SOURCE } else { J1939_SESSIONS_ONE_SOURCE };
        slots.extend(std::iter::repeat_n(TransportSlot { key: *key, bytes }, rooms));
    }
    // Rooms are told apart by 16 bits.
    slots.truncate(usize::from(u16::MAX));
    slots
}

fn text_range(out: &mut CanPlan, table: &Arc<[(u64, Arc<str>)]>, tables: &mut TextTables) -> std::ops::Range<u32> {
    if let Some(range) = tables.get(table) {
        return range.clone();
    }
    let start = out.texts.len() as u32;
    for (raw, text) in table.iter() {
        let at = out.text_bytes.len() as u32;
        out.text_bytes.extend(text.as_bytes());
        out.texts.push(CanText { raw: *raw, start: at, len: text.len() as u32 });
    }
    let range = start..out.texts.len() as u32;
    tables.insert(table.clone(), range.clone());
    range
}

/// Those of the special values that the value table names.
fn named_range(out: &mut CanPlan, address: &CanAddress) -> std::ops::Range<u32> {
    let start = out.named.len() as u32;
    if address.special {
        let names = address.texts.iter().map(|(raw, _)| *raw);
        out.named.extend(names.filter(|raw| j1939_special(*raw, address.bits.len).is_some()));
    }
    start..out.named.len() as u32
}

fn add_transmit(out: &mut CanPlan, transmit: &CanTransmit) {
    let first = out.frames.len() as u32;
    // Bits of the unset ones: those that all frames have, then each branch's.
    let bits = |from: usize, count: usize| {
        (from..from + count).filter(|at| *at < CAN_UNSET_MAX).fold(0, |all, at| all | 1u64 << at)
    };
    let common = bits(0, transmit.unset.len());
    let mut next = transmit.unset.len();
    for branch in &transmit.branches {
        let mut initial = transmit.initial.clone();
        let CanSwitch { start, len, big_endian } = branch.switch;
        CanBits { start, len, big_endian, kind: CanBitsKind::Unsigned }.put(&mut initial, branch.value);
        branch.initial.iter().for_each(|(bits, raw)| bits.put(&mut initial, *raw));
        out.frames.push(CanFramePlan { initial, unset: common | bits(next, branch.unset.len()) });
        next += branch.unset.len();
    }
    if transmit.branches.is_empty() {
        out.frames.push(CanFramePlan { initial: transmit.initial.clone(), unset: common });
    }
    out.transmits.push(CanTransmitPlan {
        id: transmit.id,
        bytes: transmit.bytes,
        fd: transmit.fd,
        frames: first..out.frames.len() as u32,
        period: transmit.period,
        on_change: transmit.on_change,
    });
}

/// `None`: the tag lies in no message that is sent, which has been refused before.
fn write_of(config: &CanConfig, plans: &[CanTransmitPlan], tag: &Tag<'_>) -> Option<CanWrite> {
    let CanFrames::Id(id) = tag.address.frames else { return None };
    let at = config.transmit.iter().position(|transmit| transmit.id == id)?;
    let transmit = config.transmit.get(at)?;
    let branch = transmit.branch_of(&tag.address.conditions)?;
    let (fields, before) = match branch {
        None => (&transmit.unset, 0),
        Some(branch) => {
            let before = transmit.branches.iter().take(branch).map(|branch| branch.unset.len()).sum::<usize>();
            (&transmit.branches.get(branch)?.unset, transmit.unset.len() + before)
        }
    };
    let unset = fields.iter().position(|bits| *bits == tag.address.bits).map(|at| at + before);
    let frame = match branch {
        None => None,
        Some(branch) => Some(plans.get(at)?.frames.start + branch as u32),
    };
    let place = BitPlace::of(&tag.address.bits)?;
    let unset = unset.map_or(0, |at| 1u64.checked_shl(at as u32).unwrap_or(0));
    Some(CanWrite {
        tag: tag.id,
        transmit: at as u16,
        frame,
        place,
        unset,
        bits: tag.address.bits,
        scaling: tag.scaling,
        ty: tag.ty,
        texts: tag.address.texts.clone(),
    })
}

fn add_beats(out: &mut CanPlan) {
    for (at, scan) in out.scans.iter_mut().enumerate() {
        let start = out.beats.len() as u32;
        let of_scan = |(_, decode): &(usize, &CanDecode)| usize::from(decode.scan_at) == at;
        out.beats.extend(out.decodes.iter().enumerate().filter(of_scan).map(|(at, _)| at as u32));
        scan.beats = start..out.beats.len() as u32;
    }
}
