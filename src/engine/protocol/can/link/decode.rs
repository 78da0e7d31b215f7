//! A frame's data → raw bits and texts of samples. No allocation, no panic on any bytes.

use crate::protocol::can::plan::bits::CanData;
use crate::protocol::can::plan::j1939::j1939_special;
use crate::protocol::can::plan::model::{CanCase, CanDecode, CanPlan};
use crate::protocol::no_value::is_finite;
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
        && let Some(status) = j1939_special(raw, decode.place.bits())
        && plan.named[decode.named.start as usize..decode.named.end as usize].binary_search(&raw).is_err()
    {
        return Decoded::Bad(status);
    }
    let check = if decode.is_checked { plan.checks.of_tag(decode.tag) } else { None };
    if check.is_some_and(|check| plan.checks.is_absent(check, decode.place.extended(raw))) {
        return Decoded::Bad(Status::BAD_DATA_UNAVAILABLE);
    }
    let ValueType::Scalar(ty) = decode.ty else { return text(plan, decode, decode.place.extended(raw)) };
    let bits = match ty {
        _ if decode.scaled => decode.scaling.apply(decode.place.number(raw)).to_bits(),
        // A bool has one bit, a float those of its type: only numbers have a sign to extend.
        ScalarType::Bool => raw,
        _ => decode.place.extended(raw),
    };
    let status = match check {
        _ if !is_finite(ty, bits) && !decode.allow_nan => Status::BAD_DATA_UNAVAILABLE,
        Some(check) => check.status(bits),
        None => Status::GOOD,
    };
    if status.is_bad() { Decoded::Bad(status) } else { Decoded::Bits(bits, status) }
}

#[inline(never)]
fn text(plan: &CanPlan, decode: &CanDecode, raw: u64) -> Decoded {
    let texts = &plan.texts[decode.texts.start as usize..decode.texts.end as usize];
    match texts.binary_search_by_key(&raw, |text| text.raw) {
        Ok(at) => Decoded::Text(decode.texts.start + at as u32),
        Err(_) => Decoded::Bad(Status::BAD_DECODING_ERROR),
    }
}
