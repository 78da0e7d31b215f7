//! InfluxDB line protocol, written by hand: `measurement,tag=value field=value time`.
//!
//! Names are escaped as the specification says: comma, space and, but for measurements, the equals sign. It has no form for a
//! backslash before one of these or at a name's end, nor for a line's end: in names, backslashes and control characters are
//! written as `_`. A string field may hold anything; quotation marks and backslashes are escaped.

use crate::tag::{ScalarType, Status};

/// The most bytes of a number with its suffix: `-1.7976931348623157e+308` has 24, `18446744073709551615u` 21.
pub(super) const NUMBER_BYTES_MAX: usize = 26;

pub(super) fn measurement(out: &mut Vec<u8>, name: &str) {
    escaped(out, name, |c| matches!(c, ',' | ' '));
}

/// A tag's key, a tag's value or a field's key.
pub(super) fn key(out: &mut Vec<u8>, name: &str) {
    escaped(out, name, |c| matches!(c, ',' | ' ' | '='));
}

fn escaped(out: &mut Vec<u8>, name: &str, is_special: impl Fn(char) -> bool) {
    for c in name.chars() {
        let c = if c == '\\' || c.is_control() { '_' } else { c };
        if is_special(c) {
            out.push(b'\\');
        }
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// A string field. Bytes that are no UTF-8 become U+FFFD.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in String::from_utf8_lossy(text).as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// What is written of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsigned {
    /// uint64 has a type of its own (InfluxDB 2).
    Own,
    /// It is written as a signed one, as far as it reaches (InfluxDB 1).
    Signed,
}

/// Whether the value has a form: what is not a number, the infinities, and in InfluxDB 1 what is beyond 63 bits have none. The
/// form depends on the tag's type alone, never on the value: a field has one type for ever.
pub(super) fn scalar(out: &mut Vec<u8>, ty: Option<ScalarType>, bits: u64, unsigned: Unsigned) -> bool {
    match ty {
        Some(ScalarType::Bool) => out.extend_from_slice(if bits != 0 { b"true" } else { b"false" }),
        Some(ScalarType::Uint64) if unsigned == Unsigned::Own => {
            integer(out, bits);
            out.push(b'u');
        }
        Some(ScalarType::Uint64) if bits > i64::MAX as u64 => return false,
        Some(ScalarType::Float32) => return float(out, f32::from_bits(bits as u32), f32::is_finite),
        Some(ScalarType::Float64) => return float(out, f64::from_bits(bits), f64::is_finite),
        Some(_) => {
            integer(out, bits as i64);
            out.push(b'i');
        }
        None => return false,
    }
    true
}

pub(super) fn status(out: &mut Vec<u8>, status: Status) {
    integer(out, status.0);
    out.push(b'i');
}

pub(super) fn integer<T: serde::Serialize>(out: &mut Vec<u8>, value: T) {
    if serde_json::to_writer(&mut *out, &value).is_err() {
        // Numbers into memory do not fail; were it so, the line stays whole.
        out.push(b'0');
    }
}

/// The shortest form that reads back to the same number.
fn float<T: serde::Serialize + Copy>(out: &mut Vec<u8>, value: T, is_finite: impl Fn(T) -> bool) -> bool {
    // serde_json writes numbers into memory without fail, and what is not finite as `null`.
    is_finite(value) && serde_json::to_writer(&mut *out, &value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn number(ty: ScalarType, bits: u64, unsigned: Unsigned) -> Option<String> {
        let mut out = Vec::new();
        let told = scalar(&mut out, Some(ty), bits, unsigned);
        assert!(out.len() <= NUMBER_BYTES_MAX && told != out.is_empty());
        told.then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn names_are_escaped_as_the_specification_says() {
        assert_eq!(written(|out| measurement(out, "my meas,a=b")), "my\\ meas\\,a=b");
        assert_eq!(written(|out| key(out, "my key,a=b")), "my\\ key\\,a\\=b");
        assert_eq!(written(|out| key(out, "C:\\a\nb\\")), "C:_a_b_", "what has no form");
        assert_eq!(written(|out| key(out, "größe")), "größe");
    }

    #[test]
    fn strings_hold_anything_and_escape_what_ends_them() {
        assert_eq!(written(|out| string(out, b"say \"hi\"\\ a=b, c\n\xff")), "\"say \\\"hi\\\"\\\\ a=b, c\n\u{fffd}\"");
    }

    #[test]
    fn a_number_has_the_form_of_its_type_whatever_its_value() {
        let of = |ty, bits| number(ty, bits, Unsigned::Own);
        assert_eq!(of(ScalarType::Int16, (-5i64) as u64).as_deref(), Some("-5i"));
        assert_eq!(of(ScalarType::Uint32, u64::from(u32::MAX)).as_deref(), Some("4294967295i"));
        assert_eq!(of(ScalarType::Int64, i64::MIN as u64).as_deref(), Some("-9223372036854775808i"));
        assert_eq!(of(ScalarType::Uint64, u64::MAX).as_deref(), Some("18446744073709551615u"));
        assert_eq!(of(ScalarType::Bool, 1).as_deref(), Some("true"));
        assert_eq!(of(ScalarType::Float32, u64::from(0.1f32.to_bits())).as_deref(), Some("0.1"));
        assert_eq!(of(ScalarType::Float32, u64::from(5f32.to_bits())).as_deref(), Some("5.0"), "a float has a point");
        assert_eq!(of(ScalarType::Float64, (-f64::MAX).to_bits()).as_deref(), Some("-1.7976931348623157e+308"));
        assert_eq!(of(ScalarType::Float64, f64::NAN.to_bits()), None);
        assert_eq!(of(ScalarType::Float32, u64::from(f32::INFINITY.to_bits())), None);
        let v1 = |bits| number(ScalarType::Uint64, bits, Unsigned::Signed);
        assert_eq!(v1(7).as_deref(), Some("7i"));
        assert_eq!(v1(1 << 63), None);
    }
}
