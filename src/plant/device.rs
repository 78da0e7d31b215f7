//! The memory of a device: which tag answers at which address, and what was written over it.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::config::FieldType;
use crate::tag::UnitId;
use fieldbeat_engine::protocol::modbus::model::Table;

use super::PlantConfig;
use super::layout::{PlantTag, TAG_REGISTERS_MAX};

/// The units of one device.
#[derive(Debug)]
pub(super) struct DeviceMemory {
    units: Vec<UnitMemory>,
}

impl DeviceMemory {
    pub(super) fn unit(&self, unit: UnitId) -> Option<&UnitMemory> {
        self.units.get(usize::from(unit.0).checked_sub(1)?)
    }
}

/// The four tables of one unit; they end after their last tag.
#[derive(Debug, Default)]
pub(super) struct UnitMemory {
    tags: Vec<PlantTag>,
    /// By [`Table`], then by address.
    tables: [Vec<Cell>; 4],
}

#[derive(Debug)]
struct Cell {
    tag: u32,
    /// Which of the tag's registers.
    word: u8,
    /// What was written, with [`WRITTEN`]; it stays from then on. Each register by itself, as devices have it.
    written: AtomicU32,
}

const WRITTEN: u32 = 1 << 16;

impl Cell {
    fn written(&self) -> Option<u16> {
        let written = self.written.load(Relaxed);
        (written & WRITTEN != 0).then_some(written as u16)
    }
}

impl UnitMemory {
    /// Addresses of a table.
    pub(super) fn len(&self, table: Table) -> usize {
        self.tables[table as usize].len()
    }

    /// Calls `each` with the registers (or bits) from `first`, all of one moment; the range must exist.
    pub(super) fn read(&self, table: Table, first: u16, count: u16, tick: u64, mut each: impl FnMut(u16)) {
        let first = usize::from(first);
        let mut current = u32::MAX;
        let mut words = [0u16; TAG_REGISTERS_MAX];
        for cell in &self.tables[table as usize][first..first + usize::from(count)] {
            if cell.tag != current {
                current = cell.tag;
                words = self.tags[current as usize].registers(tick);
            }
            each(cell.written().unwrap_or(words[usize::from(cell.word)]));
        }
    }

    /// From now on the register (or bit) holds `value`; the address must exist.
    pub(super) fn write(&self, table: Table, address: u16, value: u16) {
        if let Some(cell) = self.tables[table as usize].get(usize::from(address)) {
            cell.written.store(u32::from(value) | WRITTEN, Relaxed);
        }
    }

    pub(super) fn register(&self, table: Table, address: u16, tick: u64) -> Option<u16> {
        let cell = self.tables[table as usize].get(usize::from(address))?;
        if let Some(written) = cell.written() {
            return Some(written);
        }
        Some(self.tags[cell.tag as usize].registers(tick)[usize::from(cell.word)])
    }
}

/// Lays the tags out; they come table by table with rising addresses and no gap, as the layout makes them.
pub(super) fn memories(config: &PlantConfig, tags: &[PlantTag]) -> Vec<DeviceMemory> {
    let mut devices: Vec<DeviceMemory> = (0..config.devices)
        .map(|_| DeviceMemory { units: (0..config.units_per_device).map(|_| UnitMemory::default()).collect() })
        .collect();
    for tag in tags {
        // A bit lies in the register of its status word, which is a tag of its own.
        if matches!(tag.field, FieldType::RegisterBit(_)) {
            continue;
        }
        let unit = &mut devices[tag.device].units[usize::from(tag.unit.0) - 1];
        let index = unit.tags.len() as u32;
        unit.tags.push(tag.clone());
        let table = &mut unit.tables[tag.table as usize];
        debug_assert_eq!(table.len(), usize::from(tag.first));
        table.extend((0..tag.count as u8).map(|word| Cell { tag: index, word, written: AtomicU32::new(0) }));
    }
    devices
}
