//! Values → the bytes of a write: what `decode` reads, turned round. Done off the floor; every register and bit is
//! decided here. A value that does not fit is refused, never cut or wrapped.

#[cfg(test)]
mod tests;

use super::decode::{self, BlockBytes, reordered};
use super::{half, text};
use crate::config::FieldType;
use crate::limits::{ARRAY_ELEMENTS_MAX, MODBUS_WRITE_BITS_MAX, WRITE_BYTES_MAX};
use crate::protocol::modbus::plan::{Decode, ModbusPlan, ModbusWrite};
use crate::protocol::write::WriteFault;
use crate::rt::WritePayload;
use crate::tag::{ScalarType, TagId, Value, ValueType};

/// The place of a tag's write in the plan, and the value's bytes.
///
/// # Errors
/// What is wrong with the value, or that the tag can't be written.
pub fn encode(plan: &ModbusPlan, tag: TagId, value: &Value) -> Result<(u32, WritePayload), WriteFault> {
    let (slot, write) = write_of(plan, tag).ok_or(WriteFault::NotWritable)?;
    let mut bytes = [0; WRITE_BYTES_MAX];
    let len = value_bytes(&write.place, value, &mut bytes)?;
    let payload = WritePayload::new(&bytes[..len]).ok_or(WriteFault::NotWritable)?;
    Ok((slot, payload))
}

/// What was read back of a tag, as an engineering value; `None`: it is no value of the tag's type.
pub fn decode_back(plan: &ModbusPlan, tag: TagId, back: &[u8]) -> Option<Value> {
    let (_, write) = write_of(plan, tag)?;
    let block = BlockBytes { bytes: back, first: write.place.first };
    if let ValueType::Scalar(ty) = write.place.ty {
        return Some(Value::from_bits(ty, decode::scalar(&write.place, block).ok()?));
    }
    let mut out = [0; LONG_BYTES_MAX];
    let len = decode::long(&write.place, block, &mut out, |_| false).ok()?;
    Value::from_long(write.place.ty.code(), out.get(..len)?)
}

/// Eight bytes an element.
const LONG_BYTES_MAX: usize = 8 * MODBUS_WRITE_BITS_MAX as usize;
const _: () = assert!(ARRAY_ELEMENTS_MAX <= MODBUS_WRITE_BITS_MAX);

fn write_of(plan: &ModbusPlan, tag: TagId) -> Option<(u32, &ModbusWrite)> {
    let at = plan.writes.binary_search_by_key(&tag, |write| write.place.tag).ok()?;
    Some((at as u32, plan.writes.get(at)?))
}

/// The bytes that a write's payload has, in `out`; how many they are.
///
/// Registers lie as on the wire, bits are packed from the least significant up. A part of a register is a mask as
/// function 22 has it: the AND mask, then the OR mask.
fn value_bytes(place: &Decode, value: &Value, out: &mut [u8; WRITE_BYTES_MAX]) -> Result<usize, WriteFault> {
    match (place.ty, value) {
        (ValueType::Text { .. }, Value::Text(value)) => text::write(place, value, out),
        (ValueType::Array { of, len }, Value::Array(values)) => {
            if values.len() != usize::from(len) {
                return Err(WriteFault::Length { found: values.len(), wanted: usize::from(len) });
            }
            let mut bytes = 0;
            for (at, value) in values.iter().enumerate() {
                bytes = write_element(place, of, value, at, out)?;
            }
            Ok(bytes)
        }
        (ValueType::Scalar(ty), value) => write_element(place, ty, value, 0, out),
        (wanted, value) => Err(WriteFault::wrong_type(value, wanted)),
    }
}

/// Puts element `at` where it belongs; returns the bytes up to its end.
fn write_element(
    place: &Decode,
    ty: ScalarType,
    value: &Value,
    at: usize,
    out: &mut [u8; WRITE_BYTES_MAX],
) -> Result<usize, WriteFault> {
    let raw = raw(place, ty, value)?;
    let mut put = |at: usize, bytes: &[u8]| {
        let slot = out.get_mut(at..at + bytes.len()).ok_or(WriteFault::NotWritable)?;
        slot.copy_from_slice(bytes);
        Ok(at + bytes.len())
    };
    match place.field {
        FieldType::Bit => {
            let byte = out.get_mut(at / 8).ok_or(WriteFault::NotWritable)?;
            *byte = *byte & !(1 << (at % 8)) | (raw as u8 & 1) << (at % 8);
            Ok(at / 8 + 1)
        }
        FieldType::RegisterBit(_) | FieldType::Byte { .. } => {
            let (mask, shift) = match place.field {
                FieldType::RegisterBit(bit) => (1, bit & 15),
                FieldType::Byte { high: true, .. } => (0xFF, 8),
                _ => (0xFF, 0),
            };
            let [mask, or] =
                [mask << shift, (raw & mask) << shift].map(|bits| reordered::<1>(bits, place.order) as u16);
            let [and, or] = [!mask, or].map(u16::to_be_bytes);
            put(0, &[and[0], and[1], or[0], or[1]])
        }
        field => match field.registers() {
            1 => put(at * 2, &(reordered::<1>(raw & 0xFFFF, place.order) as u16).to_be_bytes()),
            2 => put(at * 4, &(reordered::<2>(raw & 0xFFFF_FFFF, place.order) as u32).to_be_bytes()),
            _ => put(at * 8, &reordered::<4>(raw, place.order).to_be_bytes()),
        },
    }
}

/// What the registers hold for `value`, as a number of the field's width.
fn raw(place: &Decode, ty: ScalarType, value: &Value) -> Result<u64, WriteFault> {
    let wrong = || WriteFault::wrong_type(value, ValueType::Scalar(ty));
    if let ScalarType::Bool = ty {
        return if let Value::Bool(on) = value { Ok(u64::from(*on)) } else { Err(wrong()) };
    }
    let is_scaled = place.is_scaled();
    if !is_scaled && let Some(range) = Range::of(place.field) {
        let number = match value {
            Value::Int(number) => i128::from(*number),
            Value::Uint(number) => i128::from(*number),
            _ => return Err(wrong()),
        };
        return range.check(place, number);
    }
    let number = match value {
        Value::Int(number) => *number as f64,
        Value::Uint(number) => *number as f64,
        // With all its bits, where they are what the registers hold.
        Value::Float32(number) if !is_scaled && place.field == FieldType::Float32 && number.is_finite() => {
            return Ok(u64::from(number.to_bits()));
        }
        Value::Float32(number) => f64::from(*number),
        Value::Float64(number) => *number,
        _ => return Err(wrong()),
    };
    if !number.is_finite() {
        return Err(WriteFault::NotFinite);
    }
    let number = if is_scaled { place.scaling.undo(number) } else { number };
    match (Range::of(place.field), place.field) {
        (Some(range), _) => {
            let rounded = number.round();
            // Beyond any of the types, and it would not fit an i128.
            if !(-1e20..=1e20).contains(&rounded) {
                return Err(range.fault(place));
            }
            range.check(place, rounded as i128)
        }
        (None, FieldType::Float16) => half::of_float64(number).map(u64::from).ok_or_else(|| {
            let most = f64::from(half::to_float32(HALF_MAX));
            WriteFault::Range { min: engineering(place, -most), max: engineering(place, most) }.in_order()
        }),
        (None, FieldType::Float32) => {
            let narrow = number as f32;
            let most = f64::from(f32::MAX);
            if narrow.is_finite() {
                Ok(u64::from(narrow.to_bits()))
            } else {
                Err(WriteFault::Range { min: engineering(place, -most), max: engineering(place, most) })
            }
        }
        (None, _) if number.is_finite() => Ok(number.to_bits()),
        (None, _) => Err(WriteFault::Range { min: Value::Float64(f64::MIN), max: Value::Float64(f64::MAX) }),
    }
}

/// 65504, the greatest that there is.
const HALF_MAX: u16 = 0x7BFF;

/// The whole numbers that a field holds.
struct Range {
    min: i128,
    max: i128,
}

impl Range {
    fn of(field: FieldType) -> Option<Range> {
        let (min, max) = match (field, field.whole_bits()) {
            (FieldType::Bcd { registers }, _) => (0, 10i128.pow(4 * u32::from(registers.min(4))) - 1),
            (_, Some((bits, true))) => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
            (_, Some((bits, false))) => (0, (1i128 << bits) - 1),
            (_, None) => return None,
        };
        Some(Range { min, max })
    }

    fn check(&self, place: &Decode, number: i128) -> Result<u64, WriteFault> {
        if !(self.min..=self.max).contains(&number) {
            return Err(self.fault(place));
        }
        let raw = number as u64;
        Ok(if matches!(place.field, FieldType::Bcd { .. }) { packed(raw) } else { raw })
    }

    /// What is allowed, in the terms of whoever writes.
    fn fault(&self, place: &Decode) -> WriteFault {
        if !place.is_scaled() {
            let value = |number: i128| match i64::try_from(number) {
                Ok(number) => Value::Int(number),
                Err(_) => Value::Uint(number as u64),
            };
            return WriteFault::Range { min: value(self.min), max: value(self.max) };
        }
        WriteFault::Range { min: engineering(place, self.min as f64), max: engineering(place, self.max as f64) }
            .in_order()
    }
}

fn engineering(place: &Decode, raw: f64) -> Value {
    Value::Float64(place.scaling.apply(raw))
}

/// Packed BCD, the most significant digit first.
fn packed(mut number: u64) -> u64 {
    let mut out = 0;
    for shift in 0..16 {
        out |= (number % 10) << (shift * 4);
        number /= 10;
    }
    out
}
