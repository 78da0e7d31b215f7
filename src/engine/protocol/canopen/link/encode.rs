//! Values that people write → their bytes as an SDO, or the bits of a PDO, has them, and what was read back → values. Off the floor.

use super::values;
use crate::limits::WRITE_BYTES_MAX;
use crate::protocol::canopen::model::CanOpenField;
use crate::protocol::canopen::plan::{CanOpenDecode, CanOpenPlan, CanOpenWrite};
use crate::protocol::write::WriteFault;
use crate::rt::WritePayload;
use crate::tag::{ScalarType, TagId, Value, ValueType};

/// The place of a tag's write in the plan, and the value's bytes.
///
/// # Errors
/// What is wrong with the value, or that the tag can't be written.
pub fn encode(plan: &CanOpenPlan, tag: TagId, value: &Value) -> Result<(u32, WritePayload), WriteFault> {
    let (slot, write) = write_of(plan, tag).ok_or(WriteFault::NotWritable)?;
    let bytes = value_bytes(&write.decode, value)?;
    if bytes.len() > WRITE_BYTES_MAX {
        return Err(WriteFault::TooLong { bytes: bytes.len(), bytes_max: WRITE_BYTES_MAX });
    }
    let payload = WritePayload::new(&bytes).filter(|_| !bytes.is_empty()).ok_or(WriteFault::NotWritable)?;
    Ok((slot, payload))
}

/// What was read back of a tag, as an engineering value; `None`: it is no value of the tag's type.
pub fn decode_back(plan: &CanOpenPlan, tag: TagId, back: &[u8]) -> Option<Value> {
    let decode = write_of(plan, tag)?.1.decode;
    if let ValueType::Scalar(ty) = decode.ty {
        return Some(Value::from_bits(ty, values::scalar(&decode, back, false).ok()?));
    }
    let mut out = vec![0; decode.ty.long_bytes_max()];
    let len = values::long(&plan.checks, &decode, back, &mut out).ok()?;
    Value::from_long(decode.ty.code(), out.get(..len)?)
}

fn write_of(plan: &CanOpenPlan, tag: TagId) -> Option<(u32, &CanOpenWrite)> {
    let at = plan.writes.binary_search_by_key(&tag, |write| write.decode.tag).ok()?;
    Some((at as u32, plan.writes.get(at)?))
}

fn value_bytes(decode: &CanOpenDecode, value: &Value) -> Result<Vec<u8>, WriteFault> {
    match (decode.ty, value) {
        (ValueType::Text { bytes_max }, Value::Text(text)) => {
            if text.len() > usize::from(bytes_max) {
                return Err(WriteFault::TooLong { bytes: text.len(), bytes_max: bytes_max.into() });
            }
            if text.contains('\0') {
                return Err(WriteFault::Nul);
            }
            Ok(text.as_bytes().to_vec())
        }
        (ValueType::Array { of, len }, Value::Array(values)) => {
            if values.len() != usize::from(len) {
                return Err(WriteFault::Length { found: values.len(), wanted: usize::from(len) });
            }
            let mut bytes = Vec::new();
            for value in values {
                bytes.extend(element(decode, of, value)?);
            }
            Ok(bytes)
        }
        (ValueType::Scalar(ty), value) => element(decode, ty, value),
        (wanted, value) => Err(WriteFault::wrong_type(value, wanted)),
    }
}

fn element(decode: &CanOpenDecode, ty: ScalarType, value: &Value) -> Result<Vec<u8>, WriteFault> {
    let wrong = || WriteFault::wrong_type(value, ValueType::Scalar(ty));
    let is_scaled = decode.is_scaled();
    let (bytes, min, max) = match decode.field {
        CanOpenField::Bool | CanOpenField::Bit(_) => match value {
            Value::Bool(on) => return Ok(vec![u8::from(*on)]),
            _ => return Err(wrong()),
        },
        CanOpenField::Text(_) => return Err(WriteFault::NotWritable),
        CanOpenField::Real32 | CanOpenField::Real64 => {
            return real(decode, value, is_scaled).map_err(|e| e.unwrap_or_else(wrong));
        }
        CanOpenField::Signed(bytes) => {
            let half = 1i128 << (8 * u32::from(bytes.clamp(1, 8)) - 1);
            (bytes, -half, half - 1)
        }
        CanOpenField::Unsigned(bytes) => (bytes, 0, (1i128 << (8 * u32::from(bytes.clamp(1, 8)))) - 1),
    };
    let whole = match value {
        Value::Int(number) => i128::from(*number),
        Value::Uint(number) => i128::from(*number),
        Value::Float32(_) | Value::Float64(_) if is_scaled => 0,
        _ => return Err(wrong()),
    };
    let number = if is_scaled {
        let raw = decode.scaling.undo(as_f64(value).ok_or_else(wrong)?);
        if !raw.is_finite() {
            return Err(WriteFault::NotFinite);
        }
        // Beyond any of the types, and it would not fit an i128.
        raw.round().clamp(-1e20, 1e20) as i128
    } else {
        whole
    };
    if !(min..=max).contains(&number) {
        let told = |number: i128| match i64::try_from(number) {
            _ if is_scaled => Value::Float64(decode.scaling.apply(number as f64)),
            Ok(number) => Value::Int(number),
            Err(_) => Value::Uint(number as u64),
        };
        return Err(WriteFault::Range { min: told(min), max: told(max) }.in_order());
    }
    Ok(number.to_le_bytes().into_iter().take(usize::from(bytes.clamp(1, 8))).collect())
}

fn as_f64(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Uint(number) => Some(*number as f64),
        Value::Float32(number) => Some(f64::from(*number)),
        Value::Float64(number) => Some(*number),
        _ => None,
    }
}

/// `Err(None)`: the value is of the wrong type.
fn real(decode: &CanOpenDecode, value: &Value, is_scaled: bool) -> Result<Vec<u8>, Option<WriteFault>> {
    let number = as_f64(value).ok_or(None)?;
    let raw = if is_scaled { decode.scaling.undo(number) } else { number };
    if !raw.is_finite() {
        return Err(Some(WriteFault::NotFinite));
    }
    if decode.field == CanOpenField::Real64 {
        return Ok(raw.to_le_bytes().to_vec());
    }
    let narrow = raw as f32;
    if !narrow.is_finite() {
        let told = |raw: f32| Value::Float64(decode.scaling.apply(f64::from(raw)));
        return Err(Some(WriteFault::Range { min: told(f32::MIN), max: told(f32::MAX) }.in_order()));
    }
    Ok(narrow.to_le_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Scaling;
    use proptest::prelude::*;

    fn decode(field: CanOpenField, scale: f64) -> CanOpenDecode {
        let ty = if scale == 1.0 { field.value_type(None) } else { ValueType::Scalar(ScalarType::Float64) };
        let scaling = Scaling::new(scale, 0.0);
        CanOpenDecode { tag: TagId(0), field, len: 1, ty, scaling, is_checked: false, allow_nan: false }
    }

    #[test]
    fn what_the_object_cannot_hold_is_refused_and_never_wrapped() {
        let bytes = |field, value| value_bytes(&decode(field, 1.0), &value);
        assert_eq!(bytes(CanOpenField::Signed(2), Value::Int(-2)), Ok(vec![0xFE, 0xFF]));
        assert_eq!(bytes(CanOpenField::Unsigned(3), Value::Int(0x010203)), Ok(vec![3, 2, 1]));
        let range = WriteFault::Range { min: Value::Int(-128), max: Value::Int(127) };
        assert_eq!(bytes(CanOpenField::Signed(1), Value::Int(128)), Err(range));
        assert!(matches!(bytes(CanOpenField::Unsigned(8), Value::Int(-1)), Err(WriteFault::Range { .. })));
        assert_eq!(bytes(CanOpenField::Unsigned(8), Value::Uint(u64::MAX)), Ok(vec![0xFF; 8]));
        assert!(matches!(bytes(CanOpenField::Unsigned(1), Value::Float64(1.0)), Err(WriteFault::WrongType { .. })));
        assert_eq!(bytes(CanOpenField::Real64, Value::Float64(f64::NAN)), Err(WriteFault::NotFinite));
        assert!(matches!(bytes(CanOpenField::Real32, Value::Float64(1e300)), Err(WriteFault::Range { .. })));
        assert_eq!(bytes(CanOpenField::Bit(3), Value::Bool(true)), Ok(vec![1]));
        assert_eq!(bytes(CanOpenField::Bool, Value::Bool(true)), Ok(vec![1]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(number in any::<i64>(), size in 1u8..=8, scale in prop::sample::select(vec![1.0, 0.5, -3.0])) {
            for field in [CanOpenField::Signed(size), CanOpenField::Unsigned(size)] {
                let place = decode(field, scale);
                let number = if scale == 1.0 { number } else { number >> 16 };
                if let Ok(bytes) = value_bytes(&place, &Value::Int(number)) {
                    let bits = values::scalar(&place, &bytes, false).unwrap();
                    let ValueType::Scalar(ty) = place.ty else { unreachable!("a scalar") };
                    let back = as_f64(&Value::from_bits(ty, bits)).unwrap();
                    prop_assert!((back - number as f64).abs() <= scale.abs() / 2.0, "{back} {number}");
                }
            }
        }
    }
}
