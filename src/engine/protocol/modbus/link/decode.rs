//! Value bytes of a reply → raw bits of samples. No allocation, no panic on any bytes.

use super::{half, text};
use crate::config::{FieldType, WordOrder};
use crate::protocol::modbus::plan::Decode;
use crate::protocol::no_value::{NoValue, is_finite};
use crate::tag::{ScalarType, ValueType};

/// A block's value bytes, and the address of the first.
#[derive(Debug, Clone, Copy)]
pub struct BlockBytes<'a> {
    /// Registers big-endian, or bits packed from the least significant up.
    pub bytes: &'a [u8],
    /// Offset of the block's first register or bit.
    pub first: u16,
}

/// Reads the scalar that `decode` describes: its 64 raw bits, scaled if it is.
#[inline(always)]
pub fn scalar(decode: &Decode, block: BlockBytes<'_>) -> Result<u64, NoValue> {
    scalar_unless(decode, block, |_| false)
}

/// As [`scalar`]; raw values of which `is_absent` holds are none.
#[inline(always)]
pub fn scalar_unless(decode: &Decode, block: BlockBytes<'_>, is_absent: impl Fn(u64) -> bool) -> Result<u64, NoValue> {
    let ValueType::Scalar(ty) = decode.ty else { return Err(NoValue::Wrong) };
    let at = usize::from(decode.first.wrapping_sub(block.first));
    value(decode, ty, block.bytes, at, is_absent)
}

/// Reads a long value into `out`, and says how many bytes it has. Of a list one of whose elements is none there is none;
/// of a text, `is_absent` is asked whether an empty one is none.
pub fn long(
    decode: &Decode,
    block: BlockBytes<'_>,
    out: &mut [u8],
    is_absent: impl Fn(u64) -> bool,
) -> Result<usize, NoValue> {
    let at = usize::from(decode.first.wrapping_sub(block.first));
    match decode.ty {
        ValueType::Scalar(_) => Err(NoValue::Wrong),
        ValueType::Text { .. } => {
            let len = text::read(decode, block.bytes, at, out)?;
            if len == 0 && is_absent(0) { Err(NoValue::Absent) } else { Ok(len) }
        }
        ValueType::Array { of, len } => {
            for i in 0..usize::from(len) {
                let place = at + i * usize::from(decode.field.registers());
                let value = value(decode, of, block.bytes, place, &is_absent)?;
                out.get_mut(i * 8..i * 8 + 8).ok_or(NoValue::Wrong)?.copy_from_slice(&value.to_le_bytes());
            }
            Ok(usize::from(len) * 8)
        }
    }
}

/// One element in the tag's own type: as it is, or scaled as float64.
#[inline(always)]
fn value(
    decode: &Decode,
    ty: ScalarType,
    bytes: &[u8],
    at: usize,
    is_absent: impl Fn(u64) -> bool,
) -> Result<u64, NoValue> {
    let raw = element(decode.field, decode.order, bytes, at)?;
    if is_absent(raw) {
        return Err(NoValue::Absent);
    }
    // The type first: most tags have their own, and need no look at the factors.
    let bits = match ty {
        ScalarType::Float64 if decode.is_scaled() => rescaled(decode, raw),
        _ => raw,
    };
    if is_finite(ty, bits) || decode.allow_nan { Ok(bits) } else { Err(NoValue::Absent) }
}

#[inline(always)]
fn element(field: FieldType, order: WordOrder, bytes: &[u8], at: usize) -> Result<u64, NoValue> {
    match field {
        FieldType::Float32 | FieldType::Uint32 => registers::<2>(bytes, at, order),
        FieldType::Uint16 => registers::<1>(bytes, at, order),
        FieldType::Int16 => registers::<1>(bytes, at, order).map(|v| v as i16 as i64 as u64),
        FieldType::Int32 => registers::<2>(bytes, at, order).map(|v| v as i32 as i64 as u64),
        FieldType::Int64 | FieldType::Uint64 | FieldType::Float64 => registers::<4>(bytes, at, order),
        FieldType::Bit => {
            let byte = bytes.get(at / 8).ok_or(NoValue::Wrong)?;
            Ok(u64::from(byte >> (at % 8) & 1))
        }
        FieldType::RegisterBit(bit) => registers::<1>(bytes, at, order).map(|v| v >> (bit & 15) & 1),
        FieldType::Byte { signed, high } => registers::<1>(bytes, at, order).map(|v| {
            let byte = if high { (v >> 8) as u8 } else { v as u8 };
            if signed { byte as i8 as i64 as u64 } else { u64::from(byte) }
        }),
        FieldType::Uint24 => registers::<2>(bytes, at, order).map(|v| v & 0xFF_FFFF),
        FieldType::Int24 => registers::<2>(bytes, at, order).map(|v| ((v as i64) << 40 >> 40) as u64),
        FieldType::Float16 => registers::<1>(bytes, at, order).map(|v| u64::from(half::to_float32(v as u16).to_bits())),
        FieldType::Bcd { registers: 1 } => registers::<1>(bytes, at, order).and_then(bcd),
        FieldType::Bcd { registers: 2 } => registers::<2>(bytes, at, order).and_then(bcd),
        FieldType::Bcd { .. } => registers::<4>(bytes, at, order).and_then(bcd),
        FieldType::Int128 | FieldType::Uint128 | FieldType::Date(_) | FieldType::Text(_) => Err(NoValue::Wrong),
    }
}

/// `N` registers (1, 2 or 4) as one number, the most significant byte A first after the order is undone.
#[inline(always)]
fn registers<const N: usize>(bytes: &[u8], at: usize, order: WordOrder) -> Result<u64, NoValue> {
    let bytes = bytes.get(at * 2..at * 2 + N * 2).ok_or(NoValue::Wrong)?;
    // One load of the whole width; the usual order is then done, the others are a swap away.
    let value = match *bytes {
        [a, b] => u64::from(u16::from_be_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => return Err(NoValue::Wrong),
    };
    Ok(reordered::<N>(value, order))
}

/// A number of `N` registers from the wire's order to the usual one, or back.
#[inline(always)]
pub(super) fn reordered<const N: usize>(mut value: u64, order: WordOrder) -> u64 {
    if order.swaps_words() {
        value = words_reversed::<N>(value);
    }
    if order.swaps_bytes() {
        value = (value & 0xFF00_FF00_FF00_FF00) >> 8 | (value & 0x00FF_00FF_00FF_00FF) << 8;
    }
    value
}

/// The lowest `N` 16-bit words in the opposite order.
#[inline]
fn words_reversed<const N: usize>(value: u64) -> u64 {
    (0..N).fold(0, |out, word| out << 16 | (value >> (16 * word)) & 0xFFFF)
}

/// Packed BCD, the most significant digit first. A digit above 9 is no value.
fn bcd(packed: u64) -> Result<u64, NoValue> {
    let mut value = 0u64;
    for shift in (0..16).rev() {
        let digit = packed >> (shift * 4) & 0xF;
        if digit > 9 {
            return Err(NoValue::Wrong);
        }
        value = value * 10 + digit;
    }
    Ok(value)
}

#[inline(never)]
fn rescaled(decode: &Decode, raw: u64) -> u64 {
    let number = match decode.field.scalar() {
        ScalarType::Int16 | ScalarType::Int32 | ScalarType::Int64 => raw as i64 as f64,
        ScalarType::Float32 => f64::from(f32::from_bits(raw as u32)),
        ScalarType::Float64 => f64::from_bits(raw),
        ScalarType::Bool | ScalarType::Uint16 | ScalarType::Uint32 | ScalarType::Uint64 => raw as f64,
    };
    decode.scaling.apply(number).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DateFormat;
    use crate::tag::{Encoding, Scaling, TagId};
    use proptest::prelude::*;

    fn decode(field: FieldType, order: WordOrder) -> Decode {
        Decode {
            tag: TagId(0),
            first: 0,
            len: 1,
            field,
            order,
            ty: ValueType::Scalar(field.scalar()),
            scaling: Scaling::NONE,
            is_checked: false,
            is_scale: false,
            allow_nan: false,
        }
    }

    fn read(field: FieldType, order: WordOrder, bytes: &[u8]) -> Result<u64, NoValue> {
        scalar(&decode(field, order), BlockBytes { bytes, first: 0 })
    }

    #[test]
    fn each_order_puts_its_bytes_where_its_name_says() {
        for (order, bytes) in [
            (WordOrder::Abcd, [0x0A, 0x0B, 0x0C, 0x0D]),
            (WordOrder::Dcba, [0x0D, 0x0C, 0x0B, 0x0A]),
            (WordOrder::Badc, [0x0B, 0x0A, 0x0D, 0x0C]),
            (WordOrder::Cdab, [0x0C, 0x0D, 0x0A, 0x0B]),
        ] {
            assert_eq!(read(FieldType::Uint32, order, &bytes), Ok(0x0A0B_0C0D), "{order:?}");
        }
        assert_eq!(read(FieldType::Uint64, WordOrder::Cdab, &[7, 8, 5, 6, 3, 4, 1, 2]), Ok(0x0102_0304_0506_0708));
    }

    #[test]
    fn integers_keep_their_sign() {
        assert_eq!(read(FieldType::Int16, WordOrder::Abcd, &[0xFF, 0xFE]), Ok((-2i64) as u64));
        assert_eq!(read(FieldType::Int32, WordOrder::Abcd, &[0xFF, 0xFF, 0xFF, 0xFE]), Ok((-2i64) as u64));
    }

    #[test]
    fn bcd_reads_digits_and_refuses_others() {
        assert_eq!(read(FieldType::Bcd { registers: 2 }, WordOrder::Abcd, &[0x12, 0x34, 0x56, 0x78]), Ok(12_345_678));
        assert_eq!(read(FieldType::Bcd { registers: 1 }, WordOrder::Abcd, &[0x12, 0x3A]), Err(NoValue::Wrong));
    }

    #[test]
    fn bits_are_counted_from_the_least_significant() {
        let coil = Decode { first: 13, ..decode(FieldType::Bit, WordOrder::Abcd) };
        assert_eq!(scalar(&coil, BlockBytes { bytes: &[0, 0b0000_1000], first: 2 }), Ok(1));
        assert_eq!(read(FieldType::RegisterBit(15), WordOrder::Abcd, &[0x80, 0]), Ok(1));
        assert_eq!(read(FieldType::RegisterBit(0), WordOrder::Abcd, &[0x80, 0]), Ok(0));
    }

    #[test]
    fn a_scaled_value_is_float64() {
        let scaled = Decode {
            scaling: Scaling::new(0.1, -40.0),
            ty: ValueType::Scalar(ScalarType::Float64),
            ..decode(FieldType::Int16, WordOrder::Abcd)
        };
        let bits = scalar(&scaled, BlockBytes { bytes: &[0xFF, 0x9C], first: 0 }).unwrap();
        assert_eq!(f64::from_bits(bits), -50.0);
    }

    fn read_text(decode: &Decode, bytes: &[u8]) -> Result<String, NoValue> {
        let mut out = [0; 64];
        let n = long(decode, BlockBytes { bytes, first: 0 }, &mut out, |_| false)?;
        Ok(std::str::from_utf8(&out[..n]).unwrap().to_owned())
    }

    fn of_text(encoding: Encoding, order: WordOrder) -> Decode {
        let field = FieldType::Text(encoding);
        Decode { len: 3, ty: field.text(3).unwrap(), ..decode(field, order) }
    }

    #[test]
    fn text_ends_at_the_first_nul_in_its_order_and_its_encoding() {
        let text = of_text(Encoding::Unstated, WordOrder::Abcd);
        assert_eq!(read_text(&text, b"ab\xC3\xBCd\0").as_deref(), Ok("abüd"));
        assert_eq!(read_text(&text, b"21\xB0C  ").as_deref(), Ok("21°C"));
        assert_eq!(read_text(&of_text(Encoding::Unstated, WordOrder::Badc), b"badc\0e").as_deref(), Ok("abcde"));
        assert_eq!(read_text(&of_text(Encoding::Latin1, WordOrder::Cdab), b"\xB5m\0\0\0\0").as_deref(), Ok("µm"));
        assert_eq!(read_text(&of_text(Encoding::Utf8, WordOrder::Abcd), b"21\xB0C  "), Err(NoValue::Wrong));
        assert_eq!(read_text(&text, &[0xFF; 6]), Err(NoValue::Wrong));
        let mut out = [0; 64];
        let block = BlockBytes { bytes: &[0; 6], first: 0 };
        assert_eq!(long(&text, block, &mut out, |_| false), Ok(0));
        assert_eq!(long(&text, block, &mut out, |_| true), Err(NoValue::Absent));
    }

    #[test]
    fn a_byte_of_a_register_and_three_of_two_are_numbers() {
        let byte = |signed, high| FieldType::Byte { signed, high };
        for (field, order, bytes, value) in [
            (byte(false, false), WordOrder::Abcd, &[0xFE, 0x80][..], 0x80),
            (byte(false, true), WordOrder::Abcd, &[0xFE, 0x80], 0xFE),
            (byte(true, true), WordOrder::Abcd, &[0xFE, 0x80], -2),
            (byte(true, false), WordOrder::Abcd, &[0xFE, 0x80], -128),
            (byte(true, false), WordOrder::Badc, &[0xFE, 0x80], -2),
            (FieldType::Uint24, WordOrder::Abcd, &[0x99, 0xFF, 0xFF, 0xFE], 0xFF_FFFE),
            (FieldType::Int24, WordOrder::Abcd, &[0x99, 0xFF, 0xFF, 0xFE], -2),
            (FieldType::Int24, WordOrder::Cdab, &[0xFF, 0xFE, 0, 0x7F], 0x7F_FFFE),
        ] {
            assert_eq!(read(field, order, bytes), Ok(value as u64), "{field:?} {order:?}");
        }
        let half = read(FieldType::Float16, WordOrder::Badc, &[0x48, 0x42]);
        assert_eq!(half, Ok(u64::from(3.140_625f32.to_bits())));
    }

    #[test]
    fn numbers_of_128_bits_and_dates_are_texts() {
        let of = |field: FieldType, order| Decode { ty: field.text(0).unwrap(), ..decode(field, order) };
        let most = of(FieldType::Uint128, WordOrder::Abcd);
        assert_eq!(read_text(&most, &[0xFF; 16]).as_deref(), Ok("340282366920938463463374607431768211455"));
        let least = of(FieldType::Int128, WordOrder::Abcd);
        let bytes = i128::MIN.to_be_bytes();
        assert_eq!(read_text(&least, &bytes).as_deref(), Ok("-170141183460469231731687303715884105728"));
        let small = of(FieldType::Uint128, WordOrder::Dcba);
        assert_eq!(read_text(&small, &1234u128.to_le_bytes()).as_deref(), Ok("1234"));
        assert_eq!(read_text(&small, &[0; 16]).as_deref(), Ok("0"));
        // CP56Time2a as the standard has its bytes, two a register.
        let date = of(FieldType::Date(DateFormat::Iec60870), WordOrder::Dcba);
        let bytes = [0x8B, 0x27, 15, 8, 21, 11, 26, 0];
        assert_eq!(read_text(&date, &bytes).as_deref(), Ok("2026-11-21T08:15:10.123"));
        let date = of(FieldType::Date(DateFormat::Unix32), WordOrder::Cdab);
        assert_eq!(read_text(&date, &[0x53, 0x0E, 0x6B, 0x01]).as_deref(), Ok("2026-11-21T08:15:10Z"));
    }

    #[test]
    fn what_is_not_a_number_is_no_value_unless_it_may_be_one() {
        for (field, bytes) in [
            (FieldType::Float32, &f32::NAN.to_be_bytes()[..]),
            (FieldType::Float32, &f32::NEG_INFINITY.to_be_bytes()),
            (FieldType::Float64, &f64::INFINITY.to_be_bytes()),
            (FieldType::Float64, &f64::NAN.to_be_bytes()),
            (FieldType::Float16, &[0x7E, 0]),
        ] {
            assert_eq!(read(field, WordOrder::Abcd, bytes), Err(NoValue::Absent), "{field:?}");
            let allowed = Decode { allow_nan: true, ..decode(field, WordOrder::Abcd) };
            assert!(scalar(&allowed, BlockBytes { bytes, first: 0 }).is_ok());
        }
        let double = ValueType::Scalar(ScalarType::Float64);
        let scaled =
            Decode { scaling: Scaling::new(1e300, 0.0), ty: double, ..decode(FieldType::Float64, WordOrder::Abcd) };
        assert_eq!(scalar(&scaled, BlockBytes { bytes: &1e300f64.to_be_bytes(), first: 0 }), Err(NoValue::Absent));
        let list = Decode {
            len: 2,
            ty: ValueType::Array { of: ScalarType::Float32, len: 2 },
            ..decode(FieldType::Float32, WordOrder::Abcd)
        };
        let bytes = [1.5f32.to_be_bytes(), f32::NAN.to_be_bytes()].concat();
        assert_eq!(long(&list, BlockBytes { bytes: &bytes, first: 0 }, &mut [0; 16], |_| false), Err(NoValue::Absent));
    }

    #[test]
    fn a_raw_value_that_says_so_is_none() {
        let signed = decode(FieldType::Int16, WordOrder::Abcd);
        let absent = |raw: u64| raw == i16::MIN as i64 as u64;
        let read = |bytes: &[u8]| scalar_unless(&signed, BlockBytes { bytes, first: 0 }, absent);
        assert_eq!(read(&[0x80, 0]), Err(NoValue::Absent));
        assert_eq!(read(&[0x80, 1]), Ok(-32_767i64 as u64));
    }

    #[test]
    fn an_array_is_read_element_by_element() {
        let array = Decode {
            len: 2,
            first: 1,
            ty: ValueType::Array { of: ScalarType::Int16, len: 2 },
            ..decode(FieldType::Int16, WordOrder::Abcd)
        };
        let mut out = [0u8; 16];
        let n = long(&array, BlockBytes { bytes: &[9, 9, 0xFF, 0xFF, 0, 2], first: 0 }, &mut out, |_| false).unwrap();
        assert_eq!(n, 16);
        assert_eq!(i64::from_le_bytes(out[..8].try_into().unwrap()), -1);
        assert_eq!(i64::from_le_bytes(out[8..].try_into().unwrap()), 2);
    }

    fn any_field() -> impl Strategy<Value = FieldType> {
        prop_oneof![
            Just(FieldType::Bit),
            (0u8..16).prop_map(FieldType::RegisterBit),
            (any::<bool>(), any::<bool>()).prop_map(|(signed, high)| FieldType::Byte { signed, high }),
            Just(FieldType::Int24),
            Just(FieldType::Uint24),
            Just(FieldType::Float16),
            Just(FieldType::Int16),
            Just(FieldType::Uint16),
            Just(FieldType::Int32),
            Just(FieldType::Uint32),
            Just(FieldType::Int64),
            Just(FieldType::Uint64),
            Just(FieldType::Float32),
            Just(FieldType::Float64),
            prop::sample::select(vec![1u8, 2, 4]).prop_map(|registers| FieldType::Bcd { registers }),
        ]
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..260), first: u16, block_first: u16, len in 0u16..200,
            field in any_field(), order in prop::sample::select(vec![WordOrder::Abcd, WordOrder::Dcba, WordOrder::Badc, WordOrder::Cdab]),
            scale in -10.0f64..10.0,
        ) {
            let block = BlockBytes { bytes: &bytes, first: block_first };
            let mut out = [0u8; 1000];
            let scalar_decode = Decode { first, scaling: Scaling::new(scale, 0.0), ..decode(field, order) };
            let _ = scalar(&scalar_decode, block);
            let mut texts = vec![FieldType::Int128, FieldType::Uint128, FieldType::Date(DateFormat::Iec60870)];
            texts.push(FieldType::Text(Encoding::Unstated));
            for field in texts {
                let text = Decode { len, ty: field.text(len).unwrap(), field, ..scalar_decode };
                let _ = long(&text, block, &mut out, |_| false);
                let _ = long(&text, block, &mut out[..5], |_| false);
            }
            let _ = long(&Decode { len, ty: ValueType::Array { of: field.scalar(), len }, ..scalar_decode }, block, &mut out, |_| false);
        }
    }
}
