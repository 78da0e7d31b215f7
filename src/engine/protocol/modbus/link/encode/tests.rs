//! What was encoded is decoded again, in every type and order; what does not fit is refused.

use proptest::prelude::*;

use super::*;
use crate::config::{DateFormat, WordOrder};
use crate::tag::{Encoding, Scaling};

const ORDERS: [WordOrder; 4] = [WordOrder::Abcd, WordOrder::Dcba, WordOrder::Badc, WordOrder::Cdab];

fn place(field: FieldType, order: WordOrder) -> Decode {
    let ty = ValueType::Scalar(field.scalar());
    let scaling = Scaling::NONE;
    Decode {
        tag: TagId(0),
        first: 0,
        len: 1,
        field,
        order,
        ty,
        scaling,
        is_checked: false,
        is_scale: false,
        allow_nan: false,
    }
}

fn scaled(field: FieldType, scale: f64, offset: f64) -> Decode {
    let ty = ValueType::Scalar(ScalarType::Float64);
    Decode { ty, scaling: Scaling::new(scale, offset), ..place(field, WordOrder::Abcd) }
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
            let n = decode::long(place, block, &mut out, |_| false).unwrap();
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
    let text = Decode {
        len: 3,
        ty: ValueType::Text { bytes_max: 6 },
        ..place(FieldType::Text(Encoding::Unstated), WordOrder::Badc)
    };
    assert_eq!(bytes(&text, &Value::Text("abc".into())), Ok(b"ba\0c\0\0".to_vec()));
}

#[test]
fn a_bit_of_a_register_is_the_masks_of_function_22() {
    let masks = |bit, order, on| bytes(&place(FieldType::RegisterBit(bit), order), &Value::Bool(on)).unwrap();
    assert_eq!(masks(0, WordOrder::Abcd, true), [0xFF, 0xFE, 0x00, 0x01]);
    assert_eq!(masks(15, WordOrder::Abcd, false), [0x7F, 0xFF, 0x00, 0x00]);
    assert_eq!(masks(0, WordOrder::Badc, true), [0xFE, 0xFF, 0x01, 0x00]);
    // (Current AND mask) OR (OR mask AND NOT AND mask): the rest of the register stays.
    for (order, bit, on) in ORDERS.into_iter().flat_map(|o| (0..16).flat_map(move |b| [(o, b, true), (o, b, false)])) {
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
        (Byte { signed: true, high: false }, Value::Int(-129), Value::Int(-128), Value::Int(127), Value::Int(128)),
        (Byte { signed: false, high: true }, Value::Int(-1), Value::Int(0), Value::Int(255), Value::Uint(256)),
        (Uint24, Value::Int(-1), Value::Int(0), Value::Int(16_777_215), Value::Uint(1 << 24)),
        (Int24, Value::Int(-8_388_609), Value::Int(-8_388_608), Value::Int(8_388_607), Value::Int(1 << 23)),
        (Uint64, Value::Int(-1), Value::Int(0), Value::Uint(u64::MAX), Value::Int(i64::MIN)),
        (Bcd { registers: 1 }, Value::Int(-1), Value::Int(0), Value::Int(9_999), Value::Uint(10_000)),
        (Bcd { registers: 4 }, Value::Int(-1), Value::Int(0), Value::Int(9_999_999_999_999_999), Value::Uint(u64::MAX)),
    ] {
        refused(plain(field), too_little, min.clone(), max.clone());
        refused(plain(field), too_much, min.clone(), max.clone());
        for edge in [min, max] {
            let taken = bytes(&plain(field), &edge).unwrap();
            let taken = if field.is_part_of_register() { taken[2..].to_vec() } else { taken };
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
    refused(plain(Float16), Value::Float32(65_520.0), Value::Float64(-65_504.0), Value::Float64(65_504.0));
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
    let text = Decode { len: 2, ty: ValueType::Text { bytes_max: 4 }, ..plain(FieldType::Text(Encoding::Unstated)) };
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
fn a_byte_of_a_register_leaves_the_other_one() {
    let low = place(FieldType::Byte { signed: true, high: false }, WordOrder::Abcd);
    assert_eq!(bytes(&low, &Value::Int(-2)), Ok(vec![0xFF, 0x00, 0x00, 0xFE]));
    let high = place(FieldType::Byte { signed: false, high: true }, WordOrder::Abcd);
    assert_eq!(bytes(&high, &Value::Uint(0x12)), Ok(vec![0x00, 0xFF, 0x12, 0x00]));
    let swapped = Decode { order: WordOrder::Badc, ..high };
    assert_eq!(bytes(&swapped, &Value::Uint(0x12)), Ok(vec![0xFF, 0x00, 0x00, 0x12]));
}

#[test]
fn a_text_goes_in_its_encoding_and_what_that_lacks_is_refused() {
    let text = |field: FieldType| Decode { len: 2, ty: field.text(2).unwrap(), ..place(field, WordOrder::Abcd) };
    let of = |encoding| text(FieldType::Text(encoding));
    let value = |text: &str| Value::Text(text.into());
    assert_eq!(bytes(&of(Encoding::Latin1), &value("21°C")), Ok(b"21\xB0C".to_vec()));
    assert_eq!(bytes(&of(Encoding::Windows1252), &value("5 €")), Ok(b"5 \x80\0".to_vec()));
    let lacks = WriteFault::NoSuchCharacter { found: '€', encoding: "iso-8859-1" };
    assert_eq!(bytes(&of(Encoding::Latin1), &value("5 €")), Err(lacks));
    assert_eq!(bytes(&of(Encoding::Latin1), &value("°°°°°")), Err(WriteFault::TooLong { bytes: 5, bytes_max: 4 }));
    let refused = |field: FieldType, text_value: &str| {
        assert!(matches!(bytes(&text(field), &value(text_value)), Err(WriteFault::Unreadable { .. })), "{text_value}");
    };
    refused(FieldType::Uint128, "-1");
    refused(FieldType::Uint128, "340282366920938463463374607431768211456");
    refused(FieldType::Int128, "1.5");
    refused(FieldType::Date(DateFormat::Unix32), "tomorrow");
    refused(FieldType::Date(DateFormat::Bcd), "2026-11-21T08:15:10Z");
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
        FieldType::Float32 => any::<f32>().prop_map(|v| Value::Float32(if v.is_finite() { v } else { 0.5 })).boxed(),
        FieldType::Float64 => any::<f64>().prop_map(|v| Value::Float64(if v.is_finite() { v } else { 0.5 })).boxed(),
        FieldType::Bcd { registers } => (0..10u64.pow(4 * u32::from(registers))).prop_map(Value::Uint).boxed(),
        FieldType::Byte { signed: true, .. } => any::<i8>().prop_map(|v| Value::Int(v.into())).boxed(),
        FieldType::Byte { .. } => any::<u8>().prop_map(|v| Value::Uint(v.into())).boxed(),
        FieldType::Int24 => (-(1i64 << 23)..1 << 23).prop_map(Value::Int).boxed(),
        FieldType::Uint24 => (0u64..1 << 24).prop_map(Value::Uint).boxed(),
        FieldType::Float16 => (-65_504i32..65_505)
            .prop_map(|v| Value::Float32(half::to_float32(half::of_float64(f64::from(v) / 7.0).unwrap())))
            .boxed(),
        FieldType::Int128 => any::<i128>().prop_map(|v| Value::Text(v.to_string())).boxed(),
        FieldType::Uint128 => any::<u128>().prop_map(|v| Value::Text(v.to_string())).boxed(),
        FieldType::Date(format) => (0u8..28, 0u8..24, 0u8..60, 0u16..1000)
            .prop_map(move |(day, hour, minute, millis)| {
                let fraction = if format.has_millis() { format!(".{millis:03}") } else { String::new() };
                let zone = if format.is_utc() { "Z" } else { "" };
                Value::Text(format!("2031-02-{:02}T{hour:02}:{minute:02}:07{fraction}{zone}", day + 1))
            })
            .boxed(),
        FieldType::Text(Encoding::Latin1) => "([a-zµ]([a-zß ]{0,9}[a-zß])?)?".prop_map(Value::Text).boxed(),
        FieldType::Text(Encoding::Windows1252) => "([a-z€]([a-zß ]{0,9}[a-z€])?)?".prop_map(Value::Text).boxed(),
        FieldType::Text(_) => "([a-zäß]([a-zß ]{0,3}[a-zß])?)?".prop_map(Value::Text).boxed(),
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
            FieldType::Int24,
            FieldType::Uint24,
            FieldType::Float16,
            FieldType::Int128,
            FieldType::Uint128,
            FieldType::Text(Encoding::Unstated),
            FieldType::Text(Encoding::Latin1),
            FieldType::Text(Encoding::Windows1252),
            FieldType::Date(DateFormat::Unix32),
            FieldType::Date(DateFormat::Unix64Ms),
            FieldType::Date(DateFormat::Iec60870),
            FieldType::Date(DateFormat::Registers),
            FieldType::Date(DateFormat::Bytes),
            FieldType::Date(DateFormat::Bcd),
            FieldType::Date(DateFormat::S7),
        ]),
        (any::<bool>(), any::<bool>()).prop_map(|(signed, high)| FieldType::Byte { signed, high }),
        prop::sample::select(vec![1u8, 2, 4]).prop_map(|registers| FieldType::Bcd { registers }),
    ];
    (field, prop::sample::select(ORDERS.to_vec()), 0u16..30).prop_flat_map(|(field, order, len)| {
        let single = place(field, order);
        match field {
            _ if field.is_text() => {
                let text = Decode { len: 6, ty: field.text(6).unwrap(), ..single };
                any_value(field).prop_map(move |value| (text, value)).boxed()
            }
            _ if field.is_part_of_register() => any_value(field).prop_map(move |value| (single, value)).boxed(),
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
            field if field.is_part_of_register() => written[2..4].to_vec(),
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
        place.scaling = Scaling::new(if scale == 0.0 { 1.0 } else { scale }, 0.0);
        place.len = len;
        if let ValueType::Array { of, .. } = place.ty {
            place.ty = ValueType::Array { of, len: place.len };
        }
        let _ = bytes(&place, &value);
    }
}
