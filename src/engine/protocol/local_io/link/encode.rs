//! Values → the bytes of a write: what `thread::formula` reads, turned round. Done off the floor.

use super::thread::formula::{self, Convert, Number};
use crate::protocol::local_io::model::{Field, FieldKind, Formula};
use crate::protocol::local_io::plan::{LocalIoItem, LocalIoPlan, LocalIoSource, LocalIoWrite};
use crate::protocol::write::WriteFault;
use crate::rt::WritePayload;
use crate::tag::{ScalarType, Status, TagId, Value, ValueType};

/// The place of a tag's write in the plan, and the value's bytes.
///
/// # Errors
/// What is wrong with the value, or that the tag can't be written.
pub fn encode(plan: &LocalIoPlan, tag: TagId, value: &Value) -> Result<(u32, WritePayload), WriteFault> {
    let (slot, write, item) = write_of(plan, tag).ok_or(WriteFault::NotWritable)?;
    let wrong = || WriteFault::wrong_type(value, ValueType::Scalar(item.ty));
    let payload = match (write, item.source) {
        (LocalIoWrite::Line(_), _) => {
            let Value::Bool(level) = value else { return Err(wrong()) };
            WritePayload::new(&[u8::from(*level)])
        }
        (LocalIoWrite::Register { write, .. }, LocalIoSource::Register { formula: Formula::Field(field), .. }) => {
            let bits = bits(&field, item, value)?;
            let mut bytes = bits.to_be_bytes();
            let bytes = bytes.get_mut(8 - usize::from(write.width.min(8))..).ok_or(WriteFault::NotWritable)?;
            if write.little_endian {
                bytes.reverse();
            }
            WritePayload::new(bytes)
        }
        (LocalIoWrite::Channel(_), _) => WritePayload::new(&raw(item, value)?.to_ne_bytes()),
        _ => None,
    };
    Ok((slot, payload.ok_or(WriteFault::NotWritable)?))
}

/// What was read back of a tag, as an engineering value; `None`: it is no value of the tag's type.
pub fn decode_back(plan: &LocalIoPlan, tag: TagId, back: &[u8]) -> Option<Value> {
    let (_, write, item) = write_of(plan, tag)?;
    match (write, item.source) {
        (LocalIoWrite::Line(_), _) => back.first().map(|level| Value::Bool(*level != 0)),
        (LocalIoWrite::Register { .. }, LocalIoSource::Register { formula, .. }) => {
            let LocalIoItem { ty, scaling, .. } = *item;
            let (number, status) = formula::value(&formula, &[], back).ok()?;
            // Whatever a transmitter's signal says of it: this is what the register holds.
            let how = Convert { ty, scaling, sensor: None };
            let (bits, _) = formula::convert(number, status, &how).ok()?;
            debug_assert!(status == Status::GOOD);
            Some(Value::from_bits(ty, bits))
        }
        (LocalIoWrite::Channel(_), _) => {
            let LocalIoItem { ty, scaling, .. } = *item;
            let number = Number::Float(f64::from_ne_bytes(back.try_into().ok()?));
            let how = Convert { ty, scaling, sensor: None };
            let (bits, _) = formula::convert(number, Status::GOOD, &how).ok()?;
            Some(Value::from_bits(ty, bits))
        }
        _ => None,
    }
}

fn write_of(plan: &LocalIoPlan, tag: TagId) -> Option<(u32, &LocalIoWrite, &LocalIoItem)> {
    let slot = plan.writes.iter().position(|known| *known == tag)?;
    let item = plan.tags.iter().position(|known| known.tag == tag)?;
    Some((slot as u32, plan.setup.writes.get(slot)?, plan.setup.items.get(item)?))
}

/// The register's bits.
fn bits(field: &Field, item: &LocalIoItem, value: &Value) -> Result<u64, WriteFault> {
    let wrong = || WriteFault::wrong_type(value, ValueType::Scalar(item.ty));
    let is_scaled = is_scaled(item);
    let whole = match value {
        Value::Int(number) if !is_scaled => Some(i128::from(*number)),
        Value::Uint(number) if !is_scaled => Some(i128::from(*number)),
        _ => None,
    };
    let raw = raw(item, value)?;
    let width = u32::from(field.width) * 8;
    let (min, max) = match field.kind {
        FieldKind::Float32 => {
            let single = raw as f32;
            let edge = f64::from(f32::MAX);
            let fits = single.is_finite();
            return if fits { Ok(single.to_bits().into()) } else { Err(out_of_range(item, -edge, edge)) };
        }
        FieldKind::Float64 => return Ok(raw.to_bits()),
        FieldKind::Signed { .. } => (-(1i128 << (width - 1)), (1i128 << (width - 1)) - 1),
        FieldKind::Unsigned | FieldKind::Bool => (0, (1i128 << width) - 1),
    };
    // A fraction is no value of a register that holds whole numbers, unless the scale makes it one.
    if whole.is_none() && !is_scaled && item.ty != ScalarType::Float64 && raw.fract() != 0.0 {
        return Err(wrong());
    }
    let rounded = whole.unwrap_or(raw.round().clamp(-1e30, 1e30) as i128);
    if !(min..=max).contains(&rounded) {
        return Err(out_of_range(item, min as f64, max as f64));
    }
    Ok(rounded as u64 & u64::MAX >> (64 - width))
}

/// The value before it is scaled.
fn raw(item: &LocalIoItem, value: &Value) -> Result<f64, WriteFault> {
    let number = match value {
        Value::Int(number) => *number as f64,
        Value::Uint(number) => *number as f64,
        Value::Float32(number) => f64::from(*number),
        Value::Float64(number) => *number,
        Value::Bool(_) | Value::Text(_) | Value::Array(_) => {
            return Err(WriteFault::wrong_type(value, ValueType::Scalar(item.ty)));
        }
    };
    let raw = if is_scaled(item) { item.scaling.undo(number) } else { number };
    if raw.is_finite() { Ok(raw) } else { Err(WriteFault::NotFinite) }
}

fn is_scaled(item: &LocalIoItem) -> bool {
    !item.scaling.is_none() || item.sensor.is_some()
}

/// The bounds of the raw value, as engineering values.
fn out_of_range(item: &LocalIoItem, min: f64, max: f64) -> WriteFault {
    let value = |raw: f64| Value::Float64(item.scaling.apply(raw));
    WriteFault::Range { min: value(min), max: value(max) }.in_order()
}
