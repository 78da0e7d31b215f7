//! Values → the bytes of a write: what `decode` reads, turned round. Done off the floor; every register and bit is
//! decided here. A value that does not fit is refused, never cut or wrapped.

use super::decode::{self, BlockBytes, reordered};
use crate::config::FieldType;
use crate::limits::{ARRAY_ELEMENTS_MAX, MODBUS_WRITE_BITS_MAX, WRITE_BYTES_MAX};
use crate::link::write::WriteFault;
use crate::plan::{Decode, ModbusPlan, ModbusWrite};
use crate::rt::WritePayload;
use crate::tag::{ScalarType, TagId, Value, ValueType};

/// The place of a tag's write in the plan, and the value's bytes.
///
/// # Errors
/// What is wrong with the value, or that the tag can't be written.
pub fn encode(plan: &ModbusPlan, tag: TagId, value: &Value) -> Result<(u32, WritePayload), WriteFault> {
    let (slot, write) = write_of(plan, tag).ok_or(WriteFault::NotWritable)?;
    let mut bytes = [0; WRITE_BYTES_MAX];
    let len = value_bytes(&write.place, value, &mut bytes)?;
    let payload = WritePayload::new(&bytes[..len]).ok_or(WriteFault::NotWritable)?;
    Ok((slot, payload))
}

/// What was read back of a tag, as an engineering value; `None`: it is no value of the tag's type.
pub fn decode_back(plan: &ModbusPlan, tag: TagId, back: &[u8]) -> Option<Value> {
    let (_, write) = write_of(plan, tag)?;
    let block = BlockBytes { bytes: back, first: write.place.first };
    if let ValueType::Scalar(ty) = write.place.ty {
        return Some(Value::from_bits(ty, decode::scalar(&write.place, block).ok()?));
    }
    let mut out = [0; LONG_BYTES_MAX];
    let len = decode::long(&write.place, block, &mut out).ok()?;
    Value::from_long(write.place.ty.code(), out.get(..len)?)
}

/// Eight bytes an element.
const LONG_BYTES_MAX: usize = 8 * MODBUS_WRITE_BITS_MAX as usize;
const _: () = assert!(ARRAY_ELEMENTS_MAX <= MODBUS_WRITE_BITS_MAX);

fn write_of(plan: &ModbusPlan, tag: TagId) -> Option<(u32, &ModbusWrite)> {
    let at = plan.writes.binary_search_by_key(&tag, |write| write.place.tag).ok()?;
    Some((at as u32, plan.writes.get(at)?))
}

/// The bytes that a write's payload has, in `out`; how many they are.
///
/// Registers lie as on the wire, bits are packed from the least significant up. One bit of a register is a mask as
/// function 22 has it: the AND mask, then the OR mask.
fn value_bytes(place: &Decode, value: &Value, out: &mut [u8; WRITE_BYTES_MAX]) -> Result<usize, WriteFault> {
    match (place.ty, value) {
        (ValueType::Text { .. }, Value::Text(text)) => write_text(place, text, out),
        (ValueType::Array { of, len }, Value::Array(values)) => {
            if values.len() != usize::from(len) {
                return Err(WriteFault::Length { found: values.len(), wanted: usize::from(len) });
            }
            let mut bytes = 0;
            for (at, value) in values.iter().enumerate() {
                bytes = write_element(place, of, value, at, out)?;
            }
            Ok(bytes)
        }
        (ValueType::Scalar(ty), value) => write_element(place, ty, value, 0, out),
        (wanted, value) => Err(WriteFault::wrong_type(value, wanted)),
    }
}

/// Puts element `at` where it belongs; returns the bytes up to its end.
fn write_element(
    place: &Decode,
    ty: ScalarType,
    value: &Value,
    at: usize,
    out: &mut [u8; WRITE_BYTES_MAX],
) -> Result<usize, WriteFault> {
    let raw = raw(place, ty, value)?;
    let mut put = |at: usize, bytes: &[u8]| {
        let slot = out.get_mut(at..at + bytes.len()).ok_or(WriteFault::NotWritable)?;
        slot.copy_from_slice(bytes);
        Ok(at + bytes.len())
    };
    match place.field {
        FieldType::Bit => {
            let byte = out.get_mut(at / 8).ok_or(WriteFault::NotWritable)?;
            *byte = *byte & !(1 << (at % 8)) | (raw as u8 & 1) << (at % 8);
            Ok(at / 8 + 1)
        }
        FieldType::RegisterBit(bit) => {
            let mask = reordered::<1>(1 << (bit & 15), place.order) as u16;
            let [and, or] = [!mask, if raw == 0 { 0 } else { mask }].map(u16::to_be_bytes);
            put(0, &[and[0], and[1], or[0], or[1]])
        }
        FieldType::Text => Err(WriteFault::NotWritable),
        field => match field.registers() {
            1 => put(at * 2, &(reordered::<1>(raw & 0xFFFF, place.order) as u16).to_be_bytes()),
            2 => put(at * 4, &(reordered::<2>(raw & 0xFFFF_FFFF, place.order) as u32).to_be_bytes()),
            _ => put(at * 8, &reordered::<4>(raw, place.order).to_be_bytes()),
        },
    }
}

/// What the registers hold for `value`, as a number of the field's width.
fn raw(place: &Decode, ty: ScalarType, value: &Value) -> Result<u64, WriteFault> {
    let wrong = || WriteFault::wrong_type(value, ValueType::Scalar(ty));
    if let ScalarType::Bool = ty {
        return if let Value::Bool(on) = value { Ok(u64::from(*on)) } else { Err(wrong()) };
    }
    let is_scaled = place.is_scaled();
    if !is_scaled && let Some(range) = Range::of(place.field) {
        let number = match value {
            Value::Int(number) => i128::from(*number),
            Value::Uint(number) => i128::from(*number),
            _ => return Err(wrong()),
        };
        return range.check(place, number);
    }
    let number = match value {
        Value::Int(number) => *number as f64,
        Value::Uint(number) => *number as f64,
        // With all its bits, where they are what the registers hold.
        Value::Float32(number) if !is_scaled && place.field == FieldType::Float32 && number.is_finite() => {
            return Ok(u64::from(number.to_bits()));
        }
        Value::Float32(number) => f64::from(*number),
        Value::Float64(number) => *number,
        _ => return Err(wrong()),
    };
    if !number.is_finite() {
        return Err(WriteFault::NotFinite);
    }
    let number = if is_scaled { (number - place.offset) / place.scale } else { number };
    match (Range::of(place.field), place.field) {
        (Some(range), _) => {
            let rounded = number.round();
            // Beyond any of the types, and it would not fit an i128.
            if !(-1e20..=1e20).contains(&rounded) {
                return Err(range.fault(place));
            }
            range.check(place, rounded as i128)
        }
        (None, FieldType::Float32) => {
            let narrow = number as f32;
            let most = f64::from(f32::MAX);
            if narrow.is_finite() {
                Ok(u64::from(narrow.to_bits()))
            } else {
                Err(WriteFault::Range { min: engineering(place, -most), max: engineering(place, most) })
            }
        }
        (None, _) if number.is_finite() => Ok(number.to_bits()),
        (None, _) => Err(WriteFault::Range { min: Value::Float64(f64::MIN), max: Value::Float64(f64::MAX) }),
    }
}

/// The whole numbers that a field holds.
struct Range {
    min: i128,
    max: i128,
}

impl Range {
    fn of(field: FieldType) -> Option<Range> {
        let (min, max) = match field {
            FieldType::Int16 => (i16::MIN.into(), i16::MAX.into()),
            FieldType::Uint16 => (0, u16::MAX.into()),
            FieldType::Int32 => (i32::MIN.into(), i32::MAX.into()),
            FieldType::Uint32 => (0, u32::MAX.into()),
            FieldType::Int64 => (i64::MIN.into(), i64::MAX.into()),
            FieldType::Uint64 => (0, u64::MAX.into()),
            FieldType::Bcd { registers } => (0, 10i128.pow(4 * u32::from(registers.min(4))) - 1),
            FieldType::Bit | FieldType::RegisterBit(_) | FieldType::Float32 | FieldType::Float64 | FieldType::Text => {
                return None;
            }
        };
        Some(Range { min, max })
    }

    fn check(&self, place: &Decode, number: i128) -> Result<u64, WriteFault> {
        if !(self.min..=self.max).contains(&number) {
            return Err(self.fault(place));
        }
        let raw = number as u64;
        Ok(if matches!(place.field, FieldType::Bcd { .. }) { packed(raw) } else { raw })
    }

    /// What is allowed, in the terms of whoever writes.
    fn fault(&self, place: &Decode) -> WriteFault {
        if !place.is_scaled() {
            let value = |number: i128| match i64::try_from(number) {
                Ok(number) => Value::Int(number),
                Err(_) => Value::Uint(number as u64),
            };
            return WriteFault::Range { min: value(self.min), max: value(self.max) };
        }
        WriteFault::Range { min: engineering(place, self.min as f64), max: engineering(place, self.max as f64) }
            .in_order()
    }
}

fn engineering(place: &Decode, raw: f64) -> Value {
    Value::Float64(raw * place.scale + place.offset)
}

/// Packed BCD, the most significant digit first.
fn packed(mut number: u64) -> u64 {
    let mut out = 0;
    for shift in 0..16 {
        out |= (number % 10) << (shift * 4);
        number /= 10;
    }
    out
}

/// Two characters a register, NUL to the end of the place.
fn write_text(place: &Decode, text: &str, out: &mut [u8; WRITE_BYTES_MAX]) -> Result<usize, WriteFault> {
    let room = usize::from(place.len) * 2;
    if text.len() > room {
        return Err(WriteFault::TooLong { bytes: text.len(), bytes_max: room });
    }
    if text.contains('\0') {
        return Err(WriteFault::Nul);
    }
    let out = out.get_mut(..room).ok_or(WriteFault::NotWritable)?;
    out.fill(0);
    for (slot, byte) in out.iter_mut().zip(text.bytes()) {
        *slot = byte;
    }
    if place.order.swaps_bytes() {
        for pair in out.chunks_exact_mut(2) {
            pair.swap(0, 1);
        }
    }
    Ok(room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WordOrder;
    use proptest::prelude::*;

    const ORDERS: [WordOrder; 4] = [WordOrder::Abcd, WordOrder::Dcba, WordOrder::Badc, WordOrder::Cdab];

    fn place(field: FieldType, order: WordOrder) -> Decode {
        let ty = ValueType::Scalar(field.scalar());
        Decode { tag: TagId(0), first: 0, len: 1, field, order, ty, scale: 1.0, offset: 0.0, has_sensor: false }
    }

    fn scaled(field: FieldType, scale: f64, offset: f64) -> Decode {
        let ty = ValueType::Scalar(ScalarType::Float64);
        Decode { ty, scale, offset, ..place(field, WordOrder::Abcd) }
    }

    fn array(len: u16, of: Decode) -> Decode {
        let ValueType::Scalar(ty) = of.ty else { panic!("of scalars") };
        Decode { len, ty: ValueType::Array { of: ty, len }, ..of }
    }

    fn bytes(place: &Decode, value: &Value) -> Result<Vec<u8>, WriteFault> {
        let mut out = [0; WRITE_BYTES_MAX];
        value_bytes(place, value, &mut out).map(|n| out[..n].to_vec())
    }

    /// What a device that took these bytes is read as.
    fn read(place: &Decode, bytes: &[u8]) -> Value {
        let block = BlockBytes { bytes, first: 0 };
        match place.ty {
            ValueType::Scalar(ty) => Value::from_bits(ty, decode::scalar(place, block).unwrap()),
            _ => {
                let mut out = [0; 4000];
                let n = decode::long(place, block, &mut out).unwrap();
                Value::from_long(place.ty.code(), &out[..n]).unwrap()
            }
        }
    }

    #[test]
    fn each_order_puts_its_bytes_where_its_name_says() {
        for (order, expected) in [
            (WordOrder::Abcd, [0x0A, 0x0B, 0x0C, 0x0D]),
            (WordOrder::Dcba, [0x0D, 0x0C, 0x0B, 0x0A]),
            (WordOrder::Badc, [0x0B, 0x0A, 0x0D, 0x0C]),
            (WordOrder::Cdab, [0x0C, 0x0D, 0x0A, 0x0B]),
        ] {
            let place = place(FieldType::Uint32, order);
            assert_eq!(bytes(&place, &Value::Uint(0x0A0B_0C0D)), Ok(expected.to_vec()), "{order:?}");
        }
        let long = place(FieldType::Uint64, WordOrder::Cdab);
        assert_eq!(bytes(&long, &Value::Uint(0x0102_0304_0506_0708)), Ok(vec![7, 8, 5, 6, 3, 4, 1, 2]));
        let bcd = place(FieldType::Bcd { registers: 2 }, WordOrder::Abcd);
        assert_eq!(bytes(&bcd, &Value::Uint(12_345_678)), Ok(vec![0x12, 0x34, 0x56, 0x78]));
        let text = Decode { len: 3, ty: ValueType::Text { bytes_max: 6 }, ..place(FieldType::Text, WordOrder::Badc) };
        assert_eq!(bytes(&text, &Value::Text("abc".into())), Ok(b"ba\0c\0\0".to_vec()));
    }

    #[test]
    fn a_bit_of_a_register_is_the_masks_of_function_22() {
        let masks = |bit, order, on| bytes(&place(FieldType::RegisterBit(bit), order), &Value::Bool(on)).unwrap();
        assert_eq!(masks(0, WordOrder::Abcd, true), [0xFF, 0xFE, 0x00, 0x01]);
        assert_eq!(masks(15, WordOrder::Abcd, false), [0x7F, 0xFF, 0x00, 0x00]);
        assert_eq!(masks(0, WordOrder::Badc, true), [0xFE, 0xFF, 0x01, 0x00]);
        // (Current AND mask) OR (OR mask AND NOT AND mask): the rest of the register stays.
        for (order, bit, on) in
            ORDERS.into_iter().flat_map(|o| (0..16).flat_map(move |b| [(o, b, true), (o, b, false)]))
        {
            let masks = masks(bit, order, on);
            let [and, or] = [[masks[0], masks[1]], [masks[2], masks[3]]].map(u16::from_be_bytes);
            let before = 0xA53C_u16;
            let after = before & and | or & !and;
            for other in 0..16 {
                let place = place(FieldType::RegisterBit(other), order);
                let expected = if other == bit { on } else { read(&place, &before.to_be_bytes()) == Value::Bool(true) };
                assert_eq!(read(&place, &after.to_be_bytes()), Value::Bool(expected), "{order:?} {bit} {other}");
            }
        }
    }

    #[test]
    fn what_the_registers_cannot_hold_is_refused_and_never_wrapped() {
        let refused = |place: Decode, value: Value, min: Value, max: Value| {
            assert_eq!(bytes(&place, &value), Err(WriteFault::Range { min, max }), "{place:?} {value:?}");
        };
        let plain = |field| place(field, WordOrder::Abcd);
        use FieldType::*;
        for (field, too_little, min, max, too_much) in [
            (Int16, Value::Int(-32_769), Value::Int(-32_768), Value::Int(32_767), Value::Int(32_768)),
            (Uint16, Value::Int(-1), Value::Int(0), Value::Int(65_535), Value::Uint(65_536)),
            (
                Int32,
                Value::Int(-2_147_483_649),
                Value::Int(-2_147_483_648),
                Value::Int(2_147_483_647),
                Value::Uint(1 << 31),
            ),
            (Uint32, Value::Int(-1), Value::Int(0), Value::Int(4_294_967_295), Value::Uint(1 << 32)),
            (Uint64, Value::Int(-1), Value::Int(0), Value::Uint(u64::MAX), Value::Int(i64::MIN)),
            (Bcd { registers: 1 }, Value::Int(-1), Value::Int(0), Value::Int(9_999), Value::Uint(10_000)),
            (
                Bcd { registers: 4 },
                Value::Int(-1),
                Value::Int(0),
                Value::Int(9_999_999_999_999_999),
                Value::Uint(u64::MAX),
            ),
        ] {
            refused(plain(field), too_little, min.clone(), max.clone());
            refused(plain(field), too_much, min.clone(), max.clone());
            for edge in [min, max] {
                let taken = bytes(&plain(field), &edge).unwrap();
                assert_eq!(read(&plain(field), &taken).to_string(), edge.to_string());
            }
        }
        refused(plain(Int64), Value::Uint(1 << 63), Value::Int(i64::MIN), Value::Int(i64::MAX));
        let tenths = scaled(Uint16, 0.1, -40.0);
        let (min, max) = (Value::Float64(-40.0), Value::Float64(6513.5));
        for value in [-40.06, 6513.6, 1e300, -1e300] {
            refused(tenths, Value::Float64(value), min.clone(), max.clone());
        }
        refused(scaled(Uint16, -1.0, 0.0), Value::Float64(1.0), Value::Float64(-65_535.0), Value::Float64(-0.0));
        // 2^63 is the nearest float to i64's largest, and one too much.
        assert!(bytes(&scaled(Int64, 1.0, 0.5), &Value::Float64(9.223372036854776e18)).is_err());
        assert!(bytes(&plain(Float32), &Value::Float64(1e39)).is_err());
        assert!(bytes(&scaled(Float64, 1e-300, 0.0), &Value::Float64(1e300)).is_err());
    }

    #[test]
    fn no_number_and_the_wrong_type_are_refused() {
        let plain = |field| place(field, WordOrder::Abcd);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for place in [plain(FieldType::Float32), plain(FieldType::Float64), scaled(FieldType::Int16, 2.0, 0.0)] {
                assert_eq!(bytes(&place, &Value::Float64(value)), Err(WriteFault::NotFinite));
                assert_eq!(bytes(&place, &Value::Float32(value as f32)), Err(WriteFault::NotFinite));
            }
        }
        let text = Decode { len: 2, ty: ValueType::Text { bytes_max: 4 }, ..plain(FieldType::Text) };
        let two = array(2, plain(FieldType::Int16));
        for (place, value) in [
            (plain(FieldType::Int16), Value::Float64(1.0)),
            (plain(FieldType::Int16), Value::Bool(true)),
            (plain(FieldType::Int16), Value::Array(vec![Value::Int(1)])),
            (plain(FieldType::Float32), Value::Text("1".into())),
            (plain(FieldType::RegisterBit(3)), Value::Int(1)),
            (plain(FieldType::Bit), Value::Uint(0)),
            (text, Value::Int(1)),
            (two, Value::Int(1)),
            (two, Value::Array(vec![Value::Int(1), Value::Bool(true)])),
        ] {
            assert!(matches!(bytes(&place, &value), Err(WriteFault::WrongType { .. })), "{place:?} {value:?}");
        }
        let one = Value::Array(vec![Value::Int(1)]);
        assert_eq!(bytes(&two, &one), Err(WriteFault::Length { found: 1, wanted: 2 }));
        assert_eq!(bytes(&text, &Value::Text("äöü".into())), Err(WriteFault::TooLong { bytes: 6, bytes_max: 4 }));
        assert_eq!(bytes(&text, &Value::Text("a\0b".into())), Err(WriteFault::Nul));
    }

    #[test]
    fn a_scaled_value_goes_to_the_nearest_raw_one() {
        let tenths = scaled(FieldType::Int16, 0.1, 0.0);
        for (value, raw) in [(12.34, 123), (12.36, 124), (-12.36, -124), (0.04, 0), (-0.04, 0)] {
            assert_eq!(bytes(&tenths, &Value::Float64(value)), Ok((raw as i16).to_be_bytes().to_vec()), "{value}");
        }
        let narrow = place(FieldType::Float32, WordOrder::Abcd);
        assert_eq!(bytes(&narrow, &Value::Float64(0.1)), Ok(0.1f32.to_be_bytes().to_vec()));
    }

    #[test]
    fn coils_are_packed_from_the_least_significant_bit() {
        let coils = array(10, place(FieldType::Bit, WordOrder::Abcd));
        let values = [1, 0, 1, 1, 0, 0, 1, 1, 1, 0].map(|bit| Value::Bool(bit == 1));
        // The example of the Application Protocol Specification V1.1b3, section 6.11: CD 01.
        assert_eq!(bytes(&coils, &Value::Array(values.to_vec())), Ok(vec![0xCD, 0x01]));
    }

    fn any_value(field: FieldType) -> BoxedStrategy<Value> {
        match field {
            FieldType::Bit | FieldType::RegisterBit(_) => any::<bool>().prop_map(Value::Bool).boxed(),
            FieldType::Int16 => any::<i16>().prop_map(|v| Value::Int(v.into())).boxed(),
            FieldType::Uint16 => any::<u16>().prop_map(|v| Value::Uint(v.into())).boxed(),
            FieldType::Int32 => any::<i32>().prop_map(|v| Value::Int(v.into())).boxed(),
            FieldType::Uint32 => any::<u32>().prop_map(|v| Value::Uint(v.into())).boxed(),
            FieldType::Int64 => any::<i64>().prop_map(Value::Int).boxed(),
            FieldType::Uint64 => any::<u64>().prop_map(Value::Uint).boxed(),
            FieldType::Float32 => {
                any::<f32>().prop_map(|v| Value::Float32(if v.is_finite() { v } else { 0.5 })).boxed()
            }
            FieldType::Float64 => {
                any::<f64>().prop_map(|v| Value::Float64(if v.is_finite() { v } else { 0.5 })).boxed()
            }
            FieldType::Bcd { registers } => (0..10u64.pow(4 * u32::from(registers))).prop_map(Value::Uint).boxed(),
            FieldType::Text => "[a-zäß ]{0,5}".prop_map(Value::Text).boxed(),
        }
    }

    fn any_place() -> impl Strategy<Value = (Decode, Value)> {
        let field = prop_oneof![
            Just(FieldType::Bit),
            (0u8..16).prop_map(FieldType::RegisterBit),
            prop::sample::select(vec![
                FieldType::Int16,
                FieldType::Uint16,
                FieldType::Int32,
                FieldType::Uint32,
                FieldType::Int64,
                FieldType::Uint64,
                FieldType::Float32,
                FieldType::Float64,
                FieldType::Text,
            ]),
            prop::sample::select(vec![1u8, 2, 4]).prop_map(|registers| FieldType::Bcd { registers }),
        ];
        (field, prop::sample::select(ORDERS.to_vec()), 0u16..30).prop_flat_map(|(field, order, len)| {
            let single = place(field, order);
            match field {
                FieldType::Text => {
                    let text = Decode { len: 6, ty: ValueType::Text { bytes_max: 12 }, ..single };
                    any_value(field).prop_map(move |value| (text, value)).boxed()
                }
                FieldType::RegisterBit(_) => any_value(field).prop_map(move |value| (single, value)).boxed(),
                _ if len == 0 => any_value(field).prop_map(move |value| (single, value)).boxed(),
                _ => prop::collection::vec(any_value(field), usize::from(len))
                    .prop_map(move |values| (array(len, single), Value::Array(values)))
                    .boxed(),
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read((place, value) in any_place()) {
            let written = bytes(&place, &value).unwrap();
            let held = match place.field {
                FieldType::RegisterBit(_) => written[2..4].to_vec(),
                _ => written,
            };
            prop_assert_eq!(read(&place, &held), value);
        }

        #[test]
        fn a_scaled_value_is_read_within_half_a_step(
            raw in any::<i32>(), scale in prop_oneof![0.001f64..100.0, -100.0f64..-0.001], offset in -1e6f64..1e6, part in -0.49f64..0.49,
        ) {
            let place = scaled(FieldType::Int32, scale, offset);
            let value = (f64::from(raw) + part) * scale + offset;
            match bytes(&place, &Value::Float64(value)) {
                Ok(written) => {
                    let Value::Float64(back) = read(&place, &written) else { panic!("a float") };
                    prop_assert!((back - value).abs() <= scale.abs() * 0.501 + 1e-6, "{value} was read as {back}");
                }
                Err(_) => prop_assert!(raw.unsigned_abs() >= i32::MAX as u32),
            }
        }

        #[test]
        fn no_value_makes_it_panic((mut place, _) in any_place(), (_, value) in any_place(), scale in any::<f64>(), len in any::<u16>()) {
            place.scale = if scale == 0.0 { 1.0 } else { scale };
            place.len = len;
            if let ValueType::Array { of, .. } = place.ty {
                place.ty = ValueType::Array { of, len: place.len };
            }
            let _ = bytes(&place, &value);
        }
    }
}
