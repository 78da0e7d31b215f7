//! Bytes of objects → raw bits of samples. Little endian; no allocation, no panic on any bytes.

use crate::config::CanOpenField;
use crate::plan::{CanOpenDecode, Sensors};
use crate::tag::{ScalarType, Status, ValueType};

/// The bytes are no value of the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAValue;

/// The number in up to eight bytes.
pub fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 8 {
        return None;
    }
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// A scalar out of an SDO's value. `is_unsized`: the node left open how many of the four bytes count.
pub fn scalar(decode: &CanOpenDecode, bytes: &[u8], is_unsized: bool) -> Result<u64, NotAValue> {
    let wanted = usize::from(decode.field.bytes());
    let bytes = match bytes.len() {
        _ if wanted == 0 => bytes,
        len if len == wanted => bytes,
        len if is_unsized && len > wanted => bytes.get(..wanted).ok_or(NotAValue)?,
        _ => return Err(NotAValue),
    };
    number(bytes).map(|raw| of_number(decode, raw)).ok_or(NotAValue)
}

/// A scalar out of the bits that an object has in a PDO, as a number without sign.
#[inline]
pub fn of_number(decode: &CanOpenDecode, raw: u64) -> u64 {
    let raw = extended(decode.field, raw);
    if decode.ty != ValueType::Scalar(ScalarType::Float64) || !decode.is_scaled() {
        return raw;
    }
    rescaled(decode, raw)
}

#[inline]
fn extended(field: CanOpenField, raw: u64) -> u64 {
    match field {
        CanOpenField::Bool => u64::from(raw != 0),
        CanOpenField::Bit(bit) => raw >> u32::from(bit.min(63)) & 1,
        CanOpenField::Signed(bytes) => {
            let unused = 64 - 8 * u32::from(bytes.clamp(1, 8));
            ((raw << unused) as i64 >> unused) as u64
        }
        CanOpenField::Unsigned(_) | CanOpenField::Real32 | CanOpenField::Real64 | CanOpenField::Text(_) => raw,
    }
}

fn rescaled(decode: &CanOpenDecode, raw: u64) -> u64 {
    let number = match decode.field {
        CanOpenField::Signed(_) => raw as i64 as f64,
        CanOpenField::Real32 => f64::from(f32::from_bits(raw as u32)),
        CanOpenField::Real64 => f64::from_bits(raw),
        _ => raw as f64,
    };
    (number * decode.scale + decode.offset).to_bits()
}

/// What is to be thought of a scalar: a transmitter's signal says it.
#[inline]
pub fn status(sensors: &Sensors, decode: &CanOpenDecode, bits: u64) -> Status {
    if decode.has_sensor { sensors.status(decode.tag, bits) } else { Status::GOOD }
}

/// A long value into `out`; how many bytes it has.
pub fn long(decode: &CanOpenDecode, bytes: &[u8], out: &mut [u8]) -> Result<usize, NotAValue> {
    match decode.ty {
        ValueType::Scalar(_) => Err(NotAValue),
        ValueType::Text { bytes_max } => {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            let text = bytes.get(..end).filter(|text| text.len() <= usize::from(bytes_max)).ok_or(NotAValue)?;
            std::str::from_utf8(text).map_err(|_| NotAValue)?;
            out.get_mut(..end).ok_or(NotAValue)?.copy_from_slice(text);
            Ok(end)
        }
        ValueType::Array { of, len } => {
            let size = usize::from(decode.field.bytes());
            if size == 0 || bytes.len() != size * usize::from(len) {
                return Err(NotAValue);
            }
            for (element, slot) in bytes.chunks_exact(size).zip(out.chunks_exact_mut(8)) {
                let raw = number(element).ok_or(NotAValue)?;
                let element = CanOpenDecode { ty: ValueType::Scalar(of), ..*decode };
                slot.copy_from_slice(&of_number(&element, raw).to_le_bytes());
            }
            Ok(usize::from(len) * 8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::TagId;
    use proptest::prelude::*;

    fn decode(field: CanOpenField, array: Option<u16>) -> CanOpenDecode {
        let (ty, len) = (field.value_type(array), array.unwrap_or(1));
        CanOpenDecode { tag: TagId(0), field, len, ty, scale: 1.0, offset: 0.0, has_sensor: false }
    }

    #[test]
    fn numbers_are_little_endian_and_keep_their_sign() {
        let read = |field, bytes: &[u8]| scalar(&decode(field, None), bytes, false);
        assert_eq!(read(CanOpenField::Signed(2), &[0xFE, 0xFF]), Ok(-2i64 as u64));
        assert_eq!(read(CanOpenField::Signed(3), &[0xFF, 0xFF, 0x7F]), Ok(0x7F_FFFF));
        assert_eq!(read(CanOpenField::Signed(8), &[0xFF; 8]), Ok(-1i64 as u64));
        assert_eq!(read(CanOpenField::Unsigned(4), &[1, 0, 0, 0x80]), Ok(0x8000_0001));
        assert_eq!(read(CanOpenField::Bool, &[2]), Ok(1));
        assert_eq!(read(CanOpenField::Bit(9), &[0, 2]), Ok(1));
        assert_eq!(read(CanOpenField::Real32, &1.5f32.to_le_bytes()), Ok(u64::from(1.5f32.to_bits())));
    }

    #[test]
    fn a_value_of_another_size_is_none() {
        let wanted = decode(CanOpenField::Unsigned(4), None);
        assert_eq!(scalar(&wanted, &[1, 0], false), Err(NotAValue));
        let wanted = decode(CanOpenField::Unsigned(2), None);
        assert_eq!(scalar(&wanted, &[1, 0, 9, 9], false), Err(NotAValue));
        assert_eq!(scalar(&wanted, &[1, 0, 9, 9], true), Ok(1), "the node did not say how many count");
    }

    #[test]
    fn texts_and_arrays_fit_their_room() {
        let mut out = [0; 16];
        let text = decode(CanOpenField::Text(5), None);
        assert_eq!(long(&text, b"drive", &mut out), Ok(5));
        assert_eq!(long(&text, b"ab\0xyzuvw", &mut out), Ok(2));
        assert_eq!(long(&text, b"drives", &mut out), Err(NotAValue));
        assert_eq!(long(&text, &[0xC3], &mut out), Err(NotAValue));
        let array = decode(CanOpenField::Signed(1), Some(2));
        assert_eq!(long(&array, &[1, 0xFF], &mut out), Ok(16));
        assert_eq!(out[8..], (-1i64).to_le_bytes());
        assert_eq!(long(&array, &[1], &mut out), Err(NotAValue));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), size in 1u8..=8, bit in any::<u8>(), u in any::<bool>()) {
            for field in [CanOpenField::Signed(size), CanOpenField::Unsigned(size), CanOpenField::Bit(bit), CanOpenField::Real64] {
                let _ = scalar(&decode(field, None), &bytes, u);
                let _ = long(&decode(field, Some(3)), &bytes, &mut [0; 24]);
            }
            let _ = long(&decode(CanOpenField::Text(9), None), &bytes, &mut [0; 9]);
        }
    }
}
