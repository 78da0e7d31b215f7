//! Value bytes of a reply → raw bits of samples. No allocation, no panic on any bytes.

use crate::config::{FieldType, WordOrder};
use crate::plan::Decode;
use crate::tag::{ScalarType, ValueType};

/// The bytes are no value of the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAValue;

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
pub fn scalar(decode: &Decode, block: BlockBytes<'_>) -> Result<u64, NotAValue> {
    let ValueType::Scalar(ty) = decode.ty else { return Err(NotAValue) };
    let at = usize::from(decode.first.wrapping_sub(block.first));
    let raw = element(decode.field, decode.order, block.bytes, at)?;
    Ok(scaled(decode, ty, raw))
}

/// Reads a long value into `out`, and says how many bytes it has.
pub fn long(decode: &Decode, block: BlockBytes<'_>, out: &mut [u8]) -> Result<usize, NotAValue> {
    let at = usize::from(decode.first.wrapping_sub(block.first));
    match decode.ty {
        ValueType::Scalar(_) => Err(NotAValue),
        ValueType::Text { .. } => text(decode, block.bytes, at, out),
        ValueType::Array { of, len } => {
            for i in 0..usize::from(len) {
                let place = at + i * usize::from(decode.field.registers());
                let raw = element(decode.field, decode.order, block.bytes, place)?;
                let slot = out.get_mut(i * 8..i * 8 + 8).ok_or(NotAValue)?;
                slot.copy_from_slice(&scaled(decode, of, raw).to_le_bytes());
            }
            Ok(usize::from(len) * 8)
        }
    }
}

#[inline(always)]
fn element(field: FieldType, order: WordOrder, bytes: &[u8], at: usize) -> Result<u64, NotAValue> {
    match field {
        FieldType::Float32 | FieldType::Uint32 => registers::<2>(bytes, at, order),
        FieldType::Uint16 => registers::<1>(bytes, at, order),
        FieldType::Int16 => registers::<1>(bytes, at, order).map(|v| v as i16 as i64 as u64),
        FieldType::Int32 => registers::<2>(bytes, at, order).map(|v| v as i32 as i64 as u64),
        FieldType::Int64 | FieldType::Uint64 | FieldType::Float64 => registers::<4>(bytes, at, order),
        FieldType::Bit => {
            let byte = bytes.get(at / 8).ok_or(NotAValue)?;
            Ok(u64::from(byte >> (at % 8) & 1))
        }
        FieldType::RegisterBit(bit) => registers::<1>(bytes, at, order).map(|v| v >> (bit & 15) & 1),
        FieldType::Bcd { registers: 1 } => registers::<1>(bytes, at, order).and_then(bcd),
        FieldType::Bcd { registers: 2 } => registers::<2>(bytes, at, order).and_then(bcd),
        FieldType::Bcd { .. } => registers::<4>(bytes, at, order).and_then(bcd),
        FieldType::Text => Err(NotAValue),
    }
}

/// `N` registers (1, 2 or 4) as one number, the most significant byte A first after the order is undone.
#[inline(always)]
fn registers<const N: usize>(bytes: &[u8], at: usize, order: WordOrder) -> Result<u64, NotAValue> {
    let bytes = bytes.get(at * 2..at * 2 + N * 2).ok_or(NotAValue)?;
    // One load of the whole width; the usual order is then done, the others are a swap away.
    let value = match *bytes {
        [a, b] => u64::from(u16::from_be_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => return Err(NotAValue),
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
fn bcd(packed: u64) -> Result<u64, NotAValue> {
    let mut value = 0u64;
    for shift in (0..16).rev() {
        let digit = packed >> (shift * 4) & 0xF;
        if digit > 9 {
            return Err(NotAValue);
        }
        value = value * 10 + digit;
    }
    Ok(value)
}

/// Raw bits → the tag's own type: as they are, or `raw × scale + offset` as float64.
#[inline(always)]
fn scaled(decode: &Decode, ty: ScalarType, raw: u64) -> u64 {
    // The type first: most tags have their own, and need no look at the factors.
    if ty != ScalarType::Float64 || !decode.is_scaled() {
        return raw;
    }
    rescaled(decode, raw)
}

#[inline(never)]
fn rescaled(decode: &Decode, raw: u64) -> u64 {
    let number = match decode.field.scalar() {
        ScalarType::Int16 | ScalarType::Int32 | ScalarType::Int64 => raw as i64 as f64,
        ScalarType::Float32 => f64::from(f32::from_bits(raw as u32)),
        ScalarType::Float64 => f64::from_bits(raw),
        ScalarType::Bool | ScalarType::Uint16 | ScalarType::Uint32 | ScalarType::Uint64 => raw as f64,
    };
    (number * decode.scale + decode.offset).to_bits()
}

/// Two characters a register, up to the first NUL; must be UTF-8. The order says which of the two is first;
/// registers of text are in reading order in every device.
fn text(decode: &Decode, bytes: &[u8], at: usize, out: &mut [u8]) -> Result<usize, NotAValue> {
    let len = usize::from(decode.len) * 2;
    let bytes = bytes.get(at * 2..at * 2 + len).ok_or(NotAValue)?;
    let out = out.get_mut(..len).ok_or(NotAValue)?;
    for i in 0..usize::from(decode.len) {
        let (mut first, mut second) = (bytes[i * 2], bytes[i * 2 + 1]);
        if decode.order.swaps_bytes() {
            (first, second) = (second, first);
        }
        (out[i * 2], out[i * 2 + 1]) = (first, second);
    }
    let end = out.iter().position(|b| *b == 0).unwrap_or(len);
    match std::str::from_utf8(&out[..end]) {
        Ok(_) => Ok(end),
        Err(_) => Err(NotAValue),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::TagId;
    use proptest::prelude::*;

    fn decode(field: FieldType, order: WordOrder) -> Decode {
        Decode {
            tag: TagId(0),
            first: 0,
            len: 1,
            field,
            order,
            ty: ValueType::Scalar(field.scalar()),
            scale: 1.0,
            offset: 0.0,
            has_sensor: false,
        }
    }

    fn read(field: FieldType, order: WordOrder, bytes: &[u8]) -> Result<u64, NotAValue> {
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
        assert_eq!(read(FieldType::Bcd { registers: 1 }, WordOrder::Abcd, &[0x12, 0x3A]), Err(NotAValue));
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
            scale: 0.1,
            offset: -40.0,
            ty: ValueType::Scalar(ScalarType::Float64),
            ..decode(FieldType::Int16, WordOrder::Abcd)
        };
        let bits = scalar(&scaled, BlockBytes { bytes: &[0xFF, 0x9C], first: 0 }).unwrap();
        assert_eq!(f64::from_bits(bits), -50.0);
    }

    #[test]
    fn text_ends_at_the_first_nul_and_must_be_utf8() {
        let text = Decode { len: 3, ty: ValueType::Text { bytes_max: 6 }, ..decode(FieldType::Text, WordOrder::Abcd) };
        let mut out = [0u8; 6];
        let n = long(&text, BlockBytes { bytes: b"ab\xC3\xBCd\0", first: 0 }, &mut out).unwrap();
        assert_eq!(&out[..n], "abüd".as_bytes());
        let swapped = Decode { order: WordOrder::Badc, ..text };
        let n = long(&swapped, BlockBytes { bytes: b"badc\0e", first: 0 }, &mut out).unwrap();
        assert_eq!(&out[..n], b"abcde");
        assert_eq!(long(&text, BlockBytes { bytes: b"\xFF\xFFab\0\0", first: 0 }, &mut out), Err(NotAValue));
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
        let n = long(&array, BlockBytes { bytes: &[9, 9, 0xFF, 0xFF, 0, 2], first: 0 }, &mut out).unwrap();
        assert_eq!(n, 16);
        assert_eq!(i64::from_le_bytes(out[..8].try_into().unwrap()), -1);
        assert_eq!(i64::from_le_bytes(out[8..].try_into().unwrap()), 2);
    }

    fn any_field() -> impl Strategy<Value = FieldType> {
        prop_oneof![
            Just(FieldType::Bit),
            (0u8..16).prop_map(FieldType::RegisterBit),
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
            let scalar_decode = Decode { first, scale, ..decode(field, order) };
            let _ = scalar(&scalar_decode, block);
            let _ = long(&Decode { len, ty: ValueType::Text { bytes_max: len * 2 }, field: FieldType::Text, ..scalar_decode }, block, &mut out);
            let _ = long(&Decode { len, ty: ValueType::Array { of: field.scalar(), len }, ..scalar_decode }, block, &mut out);
        }
    }
}
