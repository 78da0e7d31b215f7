//! A value that is written, as the raw bits of its field, and back: done off the floor.

use crate::protocol::can::model::CanRawFault;
use crate::protocol::can::plan::model::{CanPlan, CanWrite};
use crate::protocol::write::WriteFault;
use crate::rt::WritePayload;
use crate::tag::{ScalarType, TagId, Value, ValueType};

/// The slot and the payload of an order: the raw bits as eight bytes, the least significant first.
///
/// # Errors
/// What is wrong with the value, or that the tag is in no message that is sent.
pub fn encode(plan: &CanPlan, tag: TagId, value: &Value) -> Result<(u32, WritePayload), WriteFault> {
    let slot = plan.writes.iter().position(|write| write.tag == tag).ok_or(WriteFault::NotWritable)?;
    let write = plan.writes.get(slot).ok_or(WriteFault::NotWritable)?;
    let raw = raw_of(write, value)? & u64::MAX >> (64 - u32::from(write.bits.len.clamp(1, 64)));
    let payload = WritePayload::new(&raw.to_le_bytes()).ok_or(WriteFault::NotWritable)?;
    Ok((slot as u32, payload))
}

/// What was read back of a tag, as an engineering value; `None`: it is no value of the tag's type.
pub fn decode_back(plan: &CanPlan, tag: TagId, back: &[u8]) -> Option<Value> {
    let write = plan.writes.iter().find(|write| write.tag == tag)?;
    let raw = u64::from_le_bytes(back.try_into().ok()?);
    let bits = write.place.extended(raw);
    match write.ty {
        ValueType::Text { .. } => {
            let text = write.texts.iter().find(|(known, _)| *known == bits)?;
            Some(Value::Text(text.1.to_string()))
        }
        ValueType::Scalar(ScalarType::Float64) => Some(Value::Float64(write.scaling.apply(write.place.number(raw)))),
        ValueType::Scalar(ty) => Some(Value::from_bits(ty, bits)),
        ValueType::Array { .. } => None,
    }
}

fn raw_of(write: &CanWrite, value: &Value) -> Result<u64, WriteFault> {
    let number = match (value, write.ty) {
        (Value::Text(text), ValueType::Text { .. }) => {
            let known = write.texts.iter().find(|(_, known)| **known == **text);
            return known.map(|(raw, _)| *raw).ok_or_else(|| WriteFault::wrong_type(value, write.ty));
        }
        (Value::Bool(value), ValueType::Scalar(ScalarType::Bool)) => return Ok(u64::from(*value)),
        (_, ValueType::Scalar(ScalarType::Bool) | ValueType::Text { .. }) => {
            return Err(WriteFault::wrong_type(value, write.ty));
        }
        // Exactly, where nothing is scaled: a float64 does not hold all of 64 bits.
        (Value::Int(value), _) if is_whole(write) => return whole(write, i128::from(*value)),
        (Value::Uint(value), _) if is_whole(write) => return whole(write, i128::from(*value)),
        (Value::Int(value), _) => *value as f64,
        (Value::Uint(value), _) => *value as f64,
        (Value::Float32(value), _) => f64::from(*value),
        (Value::Float64(value), _) => *value,
        (Value::Bool(_) | Value::Text(_) | Value::Array(_), _) => return Err(WriteFault::wrong_type(value, write.ty)),
    };
    if is_whole(write) && number.is_finite() && number.fract() != 0.0 {
        return Err(WriteFault::wrong_type(value, write.ty));
    }
    write.bits.raw_of(number, &write.scaling).map_err(|fault| match fault {
        CanRawFault::NotFinite => WriteFault::NotFinite,
        CanRawFault::Range(min, max) => WriteFault::Range { min: Value::Float64(min), max: Value::Float64(max) },
    })
}

/// Whole numbers as they are: nothing is scaled, and it is no float.
fn is_whole(write: &CanWrite) -> bool {
    !matches!(write.ty, ValueType::Scalar(ScalarType::Float32 | ScalarType::Float64))
}

fn whole(write: &CanWrite, value: i128) -> Result<u64, WriteFault> {
    let len = u32::from(write.bits.len.clamp(1, 64));
    let signed = write.bits.kind == crate::protocol::can::model::CanBitsKind::Signed;
    let (min, max) = if signed { (-(1i128 << (len - 1)), (1i128 << (len - 1)) - 1) } else { (0, (1i128 << len) - 1) };
    if (min..=max).contains(&value) {
        return Ok(value as u64);
    }
    let shown = |bound: i128| u64::try_from(bound).map_or(Value::Int(bound as i64), Value::Uint);
    Err(WriteFault::Range { min: shown(min), max: shown(max) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::can::model::{CanBits, CanBitsKind};
    use crate::protocol::can::plan::bits::BitPlace;
    use crate::tag::Scaling;
    use std::sync::Arc;

    fn written(value: Value, ty: ValueType, kind: CanBitsKind, len: u8, scale: f64) -> Result<u64, WriteFault> {
        let bits = CanBits { start: 0, len, big_endian: false, kind };
        let place = BitPlace::of(&bits).unwrap();
        let texts: Arc<[(u64, Arc<str>)]> = vec![(0, "off".into()), (3, "on".into())].into();
        let (tag, scaling) = (TagId(0), Scaling::new(scale, 0.0));
        let write = CanWrite { tag, transmit: 0, frame: None, place, unset: 0, bits, scaling, ty, texts };
        raw_of(&write, &value)
    }

    #[test]
    fn values_become_raw_bits_or_are_refused() {
        let scalar = ValueType::Scalar;
        let unsigned = CanBitsKind::Unsigned;
        assert_eq!(written(Value::Float64(12.34), scalar(ScalarType::Float64), unsigned, 16, 0.1), Ok(123));
        assert_eq!(
            written(Value::Int(-5), scalar(ScalarType::Int16), CanBitsKind::Signed, 12, 1.0),
            Ok((-5i64) as u64)
        );
        assert_eq!(written(Value::Uint(u64::MAX), scalar(ScalarType::Uint64), unsigned, 64, 1.0), Ok(u64::MAX));
        assert_eq!(written(Value::Bool(true), scalar(ScalarType::Bool), unsigned, 1, 1.0), Ok(1));
        assert_eq!(written(Value::Text("on".into()), ValueType::Text { bytes_max: 3 }, unsigned, 2, 1.0), Ok(3));
        let float = written(Value::Float64(1.5), scalar(ScalarType::Float32), CanBitsKind::Float, 32, 1.0);
        assert_eq!(float, Ok(u64::from(1.5f32.to_bits())));
        for (value, ty, kind, len) in [
            (Value::Int(16), scalar(ScalarType::Uint16), unsigned, 4),
            (Value::Int(-1), scalar(ScalarType::Uint16), unsigned, 4),
            (Value::Int(8), scalar(ScalarType::Int16), CanBitsKind::Signed, 4),
            (Value::Float64(1e6), scalar(ScalarType::Float64), unsigned, 16),
        ] {
            assert!(matches!(written(value.clone(), ty, kind, len, 1.0), Err(WriteFault::Range { .. })), "{value}");
        }
        for (value, ty) in [
            (Value::Text("x".into()), scalar(ScalarType::Uint16)),
            (Value::Text("maybe".into()), ValueType::Text { bytes_max: 3 }),
            (Value::Int(1), scalar(ScalarType::Bool)),
            (Value::Float64(0.5), scalar(ScalarType::Uint16)),
        ] {
            let fault = written(value.clone(), ty, unsigned, 1, 1.0);
            assert!(matches!(fault, Err(WriteFault::WrongType { .. })), "{value}: {fault:?}");
        }
        let nan = written(Value::Float64(f64::NAN), scalar(ScalarType::Float64), unsigned, 16, 0.1);
        assert_eq!(nan, Err(WriteFault::NotFinite));
    }
}
