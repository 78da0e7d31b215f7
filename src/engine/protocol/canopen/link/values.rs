//! Bytes of objects → raw bits of samples. Little endian; no allocation, no panic on any bytes.

use crate::plan::Checks;
use crate::protocol::canopen::model::CanOpenField;
use crate::protocol::canopen::plan::CanOpenDecode;
use crate::protocol::no_value::{NoValue, is_finite};
use crate::tag::{Status, ValueType};

/// The number in up to eight bytes.
pub fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 8 {
        return None;
    }
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The number in an SDO's value, without sign. `is_unsized`: the node left open how many of the four bytes count.
pub fn raw(decode: &CanOpenDecode, bytes: &[u8], is_unsized: bool) -> Result<u64, NoValue> {
    let wanted = usize::from(decode.field.bytes());
    let bytes = match bytes.len() {
        _ if wanted == 0 => bytes,
        len if len == wanted => bytes,
        len if is_unsized && len > wanted => bytes.get(..wanted).ok_or(NoValue::Wrong)?,
        _ => return Err(NoValue::Wrong),
    };
    number(bytes).ok_or(NoValue::Wrong)
}

/// A scalar out of an SDO's value, whatever it says.
pub fn scalar(decode: &CanOpenDecode, bytes: &[u8], is_unsized: bool) -> Result<u64, NoValue> {
    raw(decode, bytes, is_unsized).map(|raw| of_number(decode, raw))
}

/// A scalar out of the bits that an object has in a PDO, as a number without sign.
#[inline]
pub fn of_number(decode: &CanOpenDecode, raw: u64) -> u64 {
    let raw = extended(decode.field, raw);
    if decode.is_scaled() { rescaled(decode, raw) } else { raw }
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
    decode.scaling.apply(number).to_bits()
}

/// A scalar, and what is to be thought of it: of a number without sign.
#[inline]
pub fn judged(checks: &Checks, decode: &CanOpenDecode, raw: u64) -> (u64, Status) {
    let bits = of_number(decode, raw);
    let check = if decode.is_checked { checks.of_tag(decode.tag) } else { None };
    let is_none = check.is_some_and(|check| checks.is_absent(check, extended(decode.field, raw)));
    let ValueType::Scalar(ty) = decode.ty else { return (bits, Status::BAD_DECODING_ERROR) };
    let status = match check {
        _ if is_none || !decode.allow_nan && !is_finite(ty, bits) => NoValue::Absent.status(),
        Some(check) => check.status(bits),
        None => Status::GOOD,
    };
    (bits, status)
}

/// A long value into `out`; how many bytes it has.
pub fn long(checks: &Checks, decode: &CanOpenDecode, bytes: &[u8], out: &mut [u8]) -> Result<usize, NoValue> {
    match decode.ty {
        ValueType::Scalar(_) => Err(NoValue::Wrong),
        ValueType::Text { bytes_max } => {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            let text = bytes.get(..end).filter(|text| text.len() <= usize::from(bytes_max)).ok_or(NoValue::Wrong)?;
            std::str::from_utf8(text).map_err(|_| NoValue::Wrong)?;
            out.get_mut(..end).ok_or(NoValue::Wrong)?.copy_from_slice(text);
            Ok(end)
        }
        ValueType::Array { of, len } => {
            let size = usize::from(decode.field.bytes());
            if size == 0 || bytes.len() != size * usize::from(len) {
                return Err(NoValue::Wrong);
            }
            for (element, slot) in bytes.chunks_exact(size).zip(out.chunks_exact_mut(8)) {
                let raw = number(element).ok_or(NoValue::Wrong)?;
                let element = CanOpenDecode { ty: ValueType::Scalar(of), ..*decode };
                let (bits, status) = judged(checks, &element, raw);
                if status.is_bad() {
                    return Err(NoValue::Absent);
                }
                slot.copy_from_slice(&bits.to_le_bytes());
            }
            Ok(usize::from(len) * 8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::{Scaling, TagId};
    use proptest::prelude::*;

    fn decode(field: CanOpenField, array: Option<u16>) -> CanOpenDecode {
        let (ty, len) = (field.value_type(array), array.unwrap_or(1));
        let scaling = Scaling::NONE;
        CanOpenDecode { tag: TagId(0), field, len, ty, scaling, is_checked: false, allow_nan: false }
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
        assert_eq!(scalar(&wanted, &[1, 0], false), Err(NoValue::Wrong));
        let wanted = decode(CanOpenField::Unsigned(2), None);
        assert_eq!(scalar(&wanted, &[1, 0, 9, 9], false), Err(NoValue::Wrong));
        assert_eq!(scalar(&wanted, &[1, 0, 9, 9], true), Ok(1), "the node did not say how many count");
    }

    #[test]
    fn what_is_not_a_number_is_no_value_unless_it_may_be_one() {
        let real = decode(CanOpenField::Real32, None);
        let nan = u64::from(f32::NAN.to_bits());
        let status = |decode: &CanOpenDecode| judged(&Checks::default(), decode, nan).1;
        assert_eq!(status(&real), Status::BAD_DATA_UNAVAILABLE);
        assert_eq!(status(&CanOpenDecode { allow_nan: true, ..real }), Status::GOOD);
        let list = decode(CanOpenField::Real32, Some(1));
        assert_eq!(long(&Checks::default(), &list, &f32::NAN.to_le_bytes(), &mut [0; 8]), Err(NoValue::Absent));
    }

    #[test]
    fn texts_and_arrays_fit_their_room() {
        let mut out = [0; 16];
        let text = decode(CanOpenField::Text(5), None);
        assert_eq!(long(&Checks::default(), &text, b"drive", &mut out), Ok(5));
        assert_eq!(long(&Checks::default(), &text, b"ab\0xyzuvw", &mut out), Ok(2));
        assert_eq!(long(&Checks::default(), &text, b"drives", &mut out), Err(NoValue::Wrong));
        assert_eq!(long(&Checks::default(), &text, &[0xC3], &mut out), Err(NoValue::Wrong));
        let array = decode(CanOpenField::Signed(1), Some(2));
        assert_eq!(long(&Checks::default(), &array, &[1, 0xFF], &mut out), Ok(16));
        assert_eq!(out[8..], (-1i64).to_le_bytes());
        assert_eq!(long(&Checks::default(), &array, &[1], &mut out), Err(NoValue::Wrong));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), size in 1u8..=8, bit in any::<u8>(), u in any::<bool>()) {
            for field in [CanOpenField::Signed(size), CanOpenField::Unsigned(size), CanOpenField::Bit(bit), CanOpenField::Real64] {
                let _ = scalar(&decode(field, None), &bytes, u);
                let _ = long(&Checks::default(), &decode(field, Some(3)), &bytes, &mut [0; 24]);
            }
            let _ = long(&Checks::default(), &decode(CanOpenField::Text(9), None), &bytes, &mut [0; 9]);
        }
    }
}
