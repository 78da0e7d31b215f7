//! What a simulated device holds, and what a tag must therefore read.
//!
//! Every value depends on its place and on when the device answered, so that bytes of another unit, another
//! address, another link or another time show. The reading here shares no code with the gateway's decoder.

use crate::config::{FieldType, TagConfig, WordOrder};
use crate::protocol::modbus::model::{ModbusAddress, Table};
use crate::tag::ScalarType;

/// The memory changes after so many nanoseconds.
const EPOCH_NS: u64 = 50_000_000;

/// A device's memory.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub seed: u64,
}

/// A place to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    pub unit: u8,
    pub table: Table,
    pub first: u16,
    pub count: u16,
}

impl Area {
    /// Whether all of `tag` lies in it.
    pub fn holds(&self, tag: &TagConfig) -> bool {
        let Some(address) = tag.address.get::<ModbusAddress>() else { return false };
        let end = |first: u16, count: u16| u32::from(first) + u32::from(count);
        address.unit.0 == self.unit
            && address.table == self.table
            && self.first <= address.first
            && end(address.first, address.count) <= end(self.first, self.count)
    }
}

/// What a tag must read.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    Scalar(u64),
    Long(Vec<u8>),
}

/// The epoch that a time lies in.
pub fn epoch(now: u64) -> u64 {
    now / EPOCH_NS
}

/// Spreads a number's bits.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

impl Memory {
    fn cell(self, unit: u8, table: Table, at: u16, epoch: u64) -> u64 {
        let place = u64::from(unit) << 24 | u64::from(table.read_function()) << 16 | u64::from(at);
        mix(self.seed ^ mix(place) ^ epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Input registers hold letters, so that texts can lie there.
    fn register(self, unit: u8, table: Table, at: u16, epoch: u64) -> [u8; 2] {
        let cell = self.cell(unit, table, at, epoch);
        match table {
            Table::InputRegisters => [b'a' + (cell % 26) as u8, b'A' + (cell / 26 % 26) as u8],
            _ => (cell as u16).to_be_bytes(),
        }
    }

    /// The value bytes of a reply.
    pub fn read(self, area: Area, epoch: u64) -> Vec<u8> {
        let Area { unit, table, first, count } = area;
        if !table.is_bits() {
            return (0..count).flat_map(|i| self.register(unit, table, first + i, epoch)).collect();
        }
        let mut bytes = vec![0u8; usize::from(count).div_ceil(8)];
        for i in 0..count {
            bytes[usize::from(i) / 8] |= ((self.cell(unit, table, first + i, epoch) & 1) as u8) << (i % 8);
        }
        bytes
    }

    /// What `tag` must read from an answer of that epoch; `None`: what is there is no value of its type.
    pub fn expected(self, tag: &TagConfig, epoch: u64) -> Option<Expected> {
        let address = tag.address.get::<ModbusAddress>()?;
        let unit = address.unit.0;
        if matches!(address.field, FieldType::Text(_)) {
            let mut bytes = self.read(area(address, unit), epoch);
            if matches!(address.order, WordOrder::Badc | WordOrder::Dcba) {
                bytes.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
            }
            return Some(Expected::Long(bytes));
        }
        let width = address.field.registers();
        let element = |i: u16| self.element(address, unit, address.first + i * width, epoch);
        let scaled = |raw: u64| {
            if tag.scale == 1.0 && tag.offset == 0.0 { raw } else { rescale(tag, address.field.scalar(), raw) }
        };
        match address.array {
            None => Some(Expected::Scalar(scaled(element(0)?))),
            Some(len) => {
                let mut bytes = Vec::new();
                for i in 0..len {
                    bytes.extend(scaled(element(i)?).to_le_bytes());
                }
                Some(Expected::Long(bytes))
            }
        }
    }

    fn element(self, address: &ModbusAddress, unit: u8, at: u16, epoch: u64) -> Option<u64> {
        let mut bytes: Vec<u8> = match address.field {
            FieldType::Bit => return Some(self.cell(unit, address.table, at, epoch) & 1),
            field => (0..field.registers()).flat_map(|i| self.register(unit, address.table, at + i, epoch)).collect(),
        };
        match address.order {
            WordOrder::Abcd => {}
            WordOrder::Badc => bytes.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1)),
            WordOrder::Dcba => bytes.reverse(),
            WordOrder::Cdab => {
                bytes.reverse();
                bytes.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
            }
        }
        let number = bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        Some(match address.field {
            FieldType::RegisterBit(bit) => number >> bit & 1,
            FieldType::Int16 => number as u16 as i16 as i64 as u64,
            FieldType::Int32 => number as u32 as i32 as i64 as u64,
            FieldType::Bcd { .. } => format!("{number:x}").parse().ok()?,
            FieldType::Float32 if !f32::from_bits(number as u32).is_finite() => return None,
            FieldType::Float64 if !f64::from_bits(number).is_finite() => return None,
            _ => number,
        })
    }
}

fn area(address: &ModbusAddress, unit: u8) -> Area {
    Area { unit, table: address.table, first: address.first, count: address.count }
}

fn rescale(tag: &TagConfig, from: ScalarType, raw: u64) -> u64 {
    let number = match from {
        ScalarType::Int16 | ScalarType::Int32 | ScalarType::Int64 => i128::from(raw as i64),
        _ => i128::from(raw),
    };
    // A float64 does not hold all of 64 bits.
    decimal(number as f64 as i128, tag.scale, tag.offset).to_bits()
}

/// raw × scale + offset as a person reckons it, with the digits that the two numbers are written with.
pub fn decimal(raw: i128, scale: f64, offset: f64) -> f64 {
    let digits = |number: f64| {
        let text = number.to_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        (format!("{whole}{fraction}").parse::<i128>().unwrap_or_default(), fraction.len() as u32)
    };
    let ((scale, behind), (offset, behind_offset)) = (digits(scale), digits(offset));
    let power = behind.max(behind_offset);
    let sum = raw * scale * 10i128.pow(power - behind) + offset * 10i128.pow(power - behind_offset);
    format!("{sum}e-{power}").parse().unwrap_or(f64::NAN)
}
