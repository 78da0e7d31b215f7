//! What people write: where, what, and by when, from a number.

use fastrand::Rng;

use super::memory::{Area, mix};
use crate::config::FieldType;
use crate::plan::{LinkWork, Plan};
use crate::protocol::kinds::FieldWork;
use crate::protocol::local_io::plan::LocalIoWrite;
use crate::protocol::modbus::plan::{ModbusPlan, ModbusWrite};
use crate::rt::WritePayload;
use crate::tag::{LinkId, TagId};

const MS: u64 = 1_000_000;

/// How an order is given.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// From now to its deadline.
    pub within: u64,
    /// Made by an earlier plan.
    pub old: bool,
    pub read_back: bool,
}

impl Manner {
    pub fn of(draw: u64) -> Manner {
        let mut rng = Rng::with_seed(mix(draw ^ 1));
        let longest = [20, 100, 500, 3_000][rng.usize(..4)] * MS;
        Manner { within: rng.u64(MS..longest), old: rng.u8(..12) == 0, read_back: rng.bool() }
    }
}

/// The link and the slot at which a tag is written.
pub fn place_of(name: &str, plan: &Plan, links: &[LinkId]) -> Option<(LinkId, usize)> {
    let (id, tag) = plan.tags.iter().find(|(_, tag)| &*tag.name == name)?;
    let protocol = &*plan.links.get(tag.link).filter(|_| links.contains(&tag.link))?.protocol;
    let slot = (0..slots(protocol)).find(|slot| tag_of(protocol, *slot) == Some(id))?;
    Some((tag.link, slot))
}

/// Any link of those, and any of its writes.
pub fn any_place(draw: u64, plan: &Plan, links: &[LinkId]) -> Option<(LinkId, usize)> {
    if links.is_empty() {
        return None;
    }
    let mut rng = Rng::with_seed(mix(draw ^ 2));
    let link = links[rng.usize(..links.len())];
    let slots = slots(&*plan.links[link].protocol);
    (slots > 0).then(|| (link, rng.usize(..slots)))
}

/// The name of the tag that is written at a slot.
pub fn name_of(plan: &Plan, link: LinkId, slot: usize) -> Option<&str> {
    let tag = tag_of(&*plan.links.get(link)?.protocol, slot)?;
    Some(&*plan.tags.get(tag)?.name)
}

fn slots(protocol: &dyn LinkWork) -> usize {
    match FieldWork::of(protocol) {
        Some(FieldWork::Modbus(modbus)) => modbus.writes.len(),
        Some(FieldWork::LocalIo(bus)) => bus.setup.writes.len(),
        Some(FieldWork::CanOpen(canopen)) => canopen.writes.len(),
        Some(FieldWork::Can(can)) => can.writes.len(),
        None => 0,
    }
}

fn tag_of(protocol: &dyn LinkWork, slot: usize) -> Option<TagId> {
    match FieldWork::of(protocol) {
        Some(FieldWork::Modbus(modbus)) => Some(modbus.writes.get(slot)?.place.tag),
        Some(FieldWork::LocalIo(bus)) => bus.writes.get(slot).copied(),
        Some(FieldWork::CanOpen(canopen)) => Some(canopen.writes.get(slot)?.decode.tag),
        Some(FieldWork::Can(can)) => Some(can.writes.get(slot)?.tag),
        None => None,
    }
}

/// Of a write to Modbus: where it goes, and whether it is a bit of a register.
pub fn area(protocol: &dyn LinkWork, slot: usize) -> (Option<Area>, bool) {
    let Some(modbus) = protocol.get::<ModbusPlan>() else { return (None, false) };
    let Some(write) = modbus.writes.get(slot) else { return (None, false) };
    let unit = modbus.units[usize::from(write.unit)].0;
    let area = Area { unit, table: write.table, first: write.place.first, count: write.count };
    (Some(area), write.place.field.is_part_of_register())
}

/// What is written.
pub fn payload(draw: u64, protocol: &dyn LinkWork, slot: usize) -> Option<WritePayload> {
    let mut rng = Rng::with_seed(mix(draw ^ 3));
    match FieldWork::of(protocol) {
        Some(FieldWork::Modbus(modbus)) => Some(of_modbus(modbus.writes.get(slot)?, &mut rng)),
        Some(FieldWork::LocalIo(bus)) => {
            let bytes: Vec<u8> = match bus.setup.writes.get(slot)? {
                LocalIoWrite::Line(_) => vec![rng.u8(..2)],
                LocalIoWrite::Register { write, .. } => (0..write.width).map(|_| rng.u8(..)).collect(),
                LocalIoWrite::Channel(_) => rng.f64().to_le_bytes().to_vec(),
            };
            WritePayload::new(&bytes)
        }
        Some(FieldWork::CanOpen(canopen)) => {
            let bytes = usize::from(canopen.writes.get(slot)?.decode.field.bytes());
            let bytes: Vec<u8> = (0..bytes).map(|_| rng.u8(..)).collect();
            WritePayload::new(&bytes)
        }
        Some(FieldWork::Can(can)) => {
            let raw = rng.u64(..) & ((1 << can.writes.get(slot)?.bits.len) - 1);
            WritePayload::new(&raw.to_le_bytes())
        }
        None => None,
    }
}

fn of_modbus(write: &ModbusWrite, rng: &mut Rng) -> WritePayload {
    let count = usize::from(write.count);
    let mut bytes: Vec<u8> = match write.place.field {
        FieldType::RegisterBit(bit) => {
            let (mask, on) = (1u16 << bit, rng.bool());
            [(!mask).to_be_bytes(), if on { mask } else { 0 }.to_be_bytes()].concat()
        }
        _ if write.table.is_bits() => (0..count.div_ceil(8)).map(|_| rng.u8(..)).collect(),
        _ => (0..count * 2).map(|_| rng.u8(..)).collect(),
    };
    if write.table.is_bits()
        && !count.is_multiple_of(8)
        && let Some(last) = bytes.last_mut()
    {
        *last &= (1 << (count % 8)) - 1;
    }
    WritePayload::new(&bytes).unwrap_or_default()
}
