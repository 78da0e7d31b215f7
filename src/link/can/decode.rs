//! A frame's data → raw bits and texts of samples. No allocation, no panic on any bytes.

use crate::plan::can::{CanCase, CanData, CanDecode, CanPlan};
use crate::tag::{ScalarType, Status, ValueType};

/// What a field says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decoded {
    /// A scalar's 64 bits; good or uncertain.
    Bits(u64, Status),
    /// Index into the plan's texts.
    Text(u32),
    /// There is no value, and why.
    Bad(Status),
}

/// Whether a case's fields are in the frame: its switches have its values. `len` is the frame's length in bytes.
#[inline]
pub fn applies(plan: &CanPlan, case: &CanCase, data: &CanData, len: u8) -> bool {
    plan.conditions[case.conditions.start as usize..case.conditions.end as usize].iter().all(|condition| {
        let raw = condition.place.raw(data);
        len >= condition.place.bytes_needed
            && plan.ranges[condition.ranges.start as usize..condition.ranges.end as usize]
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&raw))
    })
}

/// Reads a field; the frame is long enough.
#[inline(always)]
pub fn value(plan: &CanPlan, decode: &CanDecode, data: &CanData) -> Decoded {
    let raw = decode.place.raw(data);
    if decode.special
        && let Some(status) = special(raw, decode.place.bits())
    {
        return Decoded::Bad(status);
    }
    if decode.scaled {
        let bits = (decode.place.number(raw) * decode.scale + decode.offset).to_bits();
        let status = if decode.has_sensor { plan.sensors.status(decode.tag, bits) } else { Status::GOOD };
        return if status.is_bad() { Decoded::Bad(status) } else { Decoded::Bits(bits, status) };
    }
    if let ValueType::Scalar(ty) = decode.ty {
        // A bool has one bit, a float those of its type: only numbers have a sign to extend.
        let bits = if ty == ScalarType::Bool { raw } else { decode.place.extended(raw) };
        return Decoded::Bits(bits, Status::GOOD);
    }
    text(plan, decode, decode.place.extended(raw))
}

#[inline(never)]
fn text(plan: &CanPlan, decode: &CanDecode, raw: u64) -> Decoded {
    let texts = &plan.texts[decode.texts.start as usize..decode.texts.end as usize];
    match texts.binary_search_by_key(&raw, |text| text.raw) {
        Ok(at) => Decoded::Text(decode.texts.start + at as u32),
        Err(_) => Decoded::Bad(Status::BAD_DECODING_ERROR),
    }
}

/// J1939-71, section 5.1.4: what the highest raw values of a parameter say. One bit has no room for it.
fn special(raw: u64, bits: u8) -> Option<Status> {
    // Of wider parameters, the most significant byte says it.
    let top = match bits {
        0 | 1 => return None,
        2..=7 => {
            let all = (1 << bits) - 1;
            return match all - raw {
                0 => Some(Status::BAD_DATA_UNAVAILABLE),
                1 => Some(Status::BAD_SENSOR_FAILURE),
                _ => None,
            };
        }
        _ => raw >> (bits - 8),
    };
    match top {
        0xFF => Some(Status::BAD_DATA_UNAVAILABLE),
        0xFE => Some(Status::BAD_SENSOR_FAILURE),
        // Indicators of a parameter, and values that are reserved.
        0xFB..=0xFD => Some(Status::BAD_DECODING_ERROR),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_values_of_a_parameter_are_no_values() {
        for (raw, bits, status) in [
            (0xFF, 8, Some(Status::BAD_DATA_UNAVAILABLE)),
            (0xFE, 8, Some(Status::BAD_SENSOR_FAILURE)),
            (0xFB, 8, Some(Status::BAD_DECODING_ERROR)),
            (0xFA, 8, None),
            (0xFF00, 16, Some(Status::BAD_DATA_UNAVAILABLE)),
            (0xFEFF, 16, Some(Status::BAD_SENSOR_FAILURE)),
            (0xFAFF, 16, None),
            (0xFF00_0000, 32, Some(Status::BAD_DATA_UNAVAILABLE)),
            (0b11, 2, Some(Status::BAD_DATA_UNAVAILABLE)),
            (0b10, 2, Some(Status::BAD_SENSOR_FAILURE)),
            (0b01, 2, None),
            (1, 1, None),
        ] {
            assert_eq!(special(raw, bits), status, "{raw:#x} of {bits} bits");
        }
    }
}
