//! What is made of values: types of registers, encodings, values that are none, scales in other tags, names of values.

use super::{LINK, MINIMAL, config, fault, faults, lines, refused};
use crate::config::{DateFormat, FieldType, TagConfig};
use crate::protocol::modbus::model::ModbusAddress;
use crate::tag::{Encoding, ScalarType, ValueType};

fn tag(data_type: &str, more: &str) -> String {
    let count = if data_type == "string" { ":4" } else { "" };
    format!(
        r#"{{"name": "t", "address": "plc1:1:3:40001{count}", "data_type": "{data_type}", "scan_rate_ms": 10{more}}}"#
    )
}

fn read(data_type: &str, more: &str) -> TagConfig {
    config(&super::tag_file(&[&tag(data_type, more)])).tags.remove(0)
}

fn field(data_type: &str, more: &str) -> (FieldType, u16, ValueType) {
    let tag = read(data_type, more);
    let address = tag.address.get::<ModbusAddress>().unwrap();
    (address.field, address.count, tag.value_type())
}

#[test]
fn each_type_knows_its_registers_and_what_it_becomes() {
    let scalar = ValueType::Scalar;
    let text = |bytes_max| ValueType::Text { bytes_max };
    let byte = |signed, high| FieldType::Byte { signed, high };
    let date = FieldType::Date;
    for (data_type, more, expected) in [
        ("int8", "", (byte(true, false), 1, scalar(ScalarType::Int16))),
        ("uint8", r#", "byte": "high""#, (byte(false, true), 1, scalar(ScalarType::Uint16))),
        ("uint8", r#", "scale": 0.1"#, (byte(false, false), 1, scalar(ScalarType::Float64))),
        ("int24", "", (FieldType::Int24, 2, scalar(ScalarType::Int32))),
        ("uint24", "", (FieldType::Uint24, 2, scalar(ScalarType::Uint32))),
        ("float16", "", (FieldType::Float16, 1, scalar(ScalarType::Float32))),
        ("int128", "", (FieldType::Int128, 8, text(40))),
        ("uint128", r#", "byte_order": "CDAB""#, (FieldType::Uint128, 8, text(40))),
        ("string", "", (FieldType::Text(Encoding::Unstated), 4, text(24))),
        ("string", r#", "encoding": "iso-8859-1""#, (FieldType::Text(Encoding::Latin1), 4, text(16))),
        ("string", r#", "encoding": "windows-1252""#, (FieldType::Text(Encoding::Windows1252), 4, text(24))),
        ("string", r#", "encoding": "utf-8""#, (FieldType::Text(Encoding::Utf8), 4, text(8))),
        ("string", r#", "encoding": "ascii""#, (FieldType::Text(Encoding::Ascii), 4, text(8))),
        ("datetime_unix32", "", (date(DateFormat::Unix32), 2, text(24))),
        ("datetime_iec60870", "", (date(DateFormat::Iec60870), 4, text(24))),
        ("datetime_registers", "", (date(DateFormat::Registers), 6, text(24))),
        ("datetime_bcd", "", (date(DateFormat::Bcd), 3, text(24))),
    ] {
        assert_eq!(field(data_type, more), expected, "{data_type} {more}");
    }
}

#[test]
fn values_that_are_none_are_raw_values_of_the_type() {
    let none = |data_type: &str, value: &str| {
        read(data_type, &format!(r#", "not_available": {value}"#)).decoding.not_available.to_vec()
    };
    assert_eq!(none("int16", "-32768"), [i64::from(i16::MIN) as u64]);
    assert_eq!(none("int16", r#""0x8000""#), [i64::from(i16::MIN) as u64]);
    assert_eq!(none("int16", r#""sunspec""#), [i64::from(i16::MIN) as u64]);
    assert_eq!(none("uint16", r#"["0xFFFF", 0, 65535, 9999]"#), [0, 9999, 65535]);
    assert_eq!(none("uint32", r#""sunspec""#), [u64::from(u32::MAX)]);
    assert_eq!(none("int32", r#""sunspec""#), [i64::from(i32::MIN) as u64]);
    assert_eq!(none("uint64", r#""sunspec""#), [u64::MAX]);
    assert_eq!(none("int64", r#""sunspec""#), [1 << 63]);
    assert_eq!(none("int8", "-1"), [u64::MAX]);
    assert_eq!(none("bcd16", "9999"), [9999]);
    assert_eq!(none("float32", "[-1, 9999.5]"), [u64::from(9999.5f32.to_bits()), u64::from((-1f32).to_bits())]);
    assert_eq!(none("float32", r#""sunspec""#), [u64::from(f32::NAN.to_bits())]);
    assert_eq!(none("float64", "1e6"), [1e6f64.to_bits()]);
    assert_eq!(none("string", r#""sunspec""#), [0]);
    // Before the scale.
    assert_eq!(read("int16", r#", "not_available": -1, "scale": 0.1"#).decoding.not_available.to_vec(), [u64::MAX]);
}

#[test]
fn names_of_values_are_by_the_value_that_the_tag_has() {
    let texts = |data_type: &str, more: &str| read(data_type, more).decoding.texts;
    let states = texts("uint16", r#", "values": {"0": "Off", "1": "On", "0x10": "Störung"}"#);
    assert_eq!(
        [states.of(0), states.of(1), states.of(16), states.of(2)],
        [Some("Off"), Some("On"), Some("Störung"), None]
    );
    assert_eq!(texts("int16", r#", "values": {"-1": "none"}"#).of(u64::MAX), Some("none"));
    let scaled = texts("int16", r#", "scale": 0.1, "values": {"1500.3": "full speed"}"#);
    assert_eq!(scaled.of(1500.3f64.to_bits()), Some("full speed"));
    let bit = texts("bool", r#", "bit": 3, "values": {"false": "closed", "1": "open"}"#);
    assert_eq!((bit.of(0), bit.of(1)), (Some("closed"), Some("open")));
}

#[test]
fn a_scale_is_another_tag_of_the_link() {
    let scale = r#"{"name": "meter.sf", "address": "plc1:1:3:40002", "data_type": "int16", "scan_rate_ms": 10}"#;
    let config = config(&super::tag_file(&[&tag("uint16", r#", "scale_from": "meter.sf""#), scale]));
    assert_eq!(config.tags[0].decoding.scale_from.as_deref(), Some("meter.sf"));
    assert_eq!(config.tags[0].value_type(), ValueType::Scalar(ScalarType::Float64));
    let on = |scale: &str| {
        let mut found = faults(&[&tag("uint16", r#", "scale_from": "meter.sf""#), scale]);
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    };
    let found = on(&scale.replace("meter.sf", "meter.sg"));
    assert!(
        found.contains("tags/a.json:2:") && found.contains("scale_from is \"meter.sf\", which is not a tag"),
        "{found}"
    );
    assert!(found.contains("did you mean \"meter.sg\""), "{found}");
    for wrong in [scale.replace("int16", "float32"), scale.replace("\"scan", "\"scale\": 2, \"scan")] {
        assert!(on(&wrong).contains("which is not an unscaled whole number"), "{wrong}");
    }
    let two = LINK.replace('}', r#"}, {"name": "plc2", "protocol": "modbus_tcp", "host": "10.0.0.2"}"#);
    let there = scale.replace("plc1", "plc2");
    let file = format!("{{{two}, \"tags\": [{}, {there}]}}", tag("uint16", r#", "scale_from": "meter.sf""#));
    let found = lines(&refused(MINIMAL, &[("tags/a.json", &file)]));
    assert!(found.iter().any(|found| found.contains("which is on another link")), "{found:#?}");
}

#[test]
fn what_does_not_go_together_is_told_with_what_is_allowed() {
    for (data_type, more, message, help) in [
        ("int16", r#", "byte": "high""#, "byte with data_type int16", "set data_type to int8 and uint8"),
        ("int16", r#", "encoding": "ascii""#, "encoding with data_type int16", "set data_type to string"),
        (
            "string",
            r#", "encoding": "latin1""#,
            "encoding \"latin1\" is unknown",
            "utf-8, ascii, iso-8859-1, windows-1252",
        ),
        ("uint8", r#", "array": 4"#, "array of uint8", "whole registers"),
        ("uint128", r#", "array": 2"#, "array of uint128", "whole registers"),
        ("datetime_bcd", r#", "scale": 2"#, "scale on a bool or a string", "remove it"),
        ("int16", r#", "not_available": 32768"#, "not_available is 32768", "from -32768 to 32767"),
        ("int16", r#", "not_available": "0x18000""#, "not_available is the string \"0x18000\"", "its bits such as"),
        ("bcd16", r#", "not_available": "0xFFFF""#, "not_available is the string", "from 0 to 9999"),
        ("uint8", r#", "not_available": "sunspec""#, "not_available is the string \"sunspec\"", "from 0 to 255"),
        ("string", r#", "not_available": 0"#, "not_available is 0", "\"sunspec\""),
        ("uint16", r#", "not_available": []"#, "not_available has 0 values", "1 to 32"),
        ("bool", r#", "bit": 1, "not_available": 1"#, "not_available on a tag of another kind", "remove it"),
        ("int16", r#", "allow_nan": true"#, "allow_nan on a tag that is not a float", "remove it"),
        ("uint16", r#", "values": {"x": "Off"}"#, "values has \"x\"", "whole numbers of its type"),
        ("uint16", r#", "values": {"65536": "Off"}"#, "values has \"65536\"", "whole numbers of its type"),
        ("uint16", r#", "values": {"1": "a", "0x1": "b"}"#, "values has \"0x1\" twice", "one name for each value"),
        ("uint16", r#", "values": {"1": ""}"#, "the name of a value is the string \"\"", "1 to 256 bytes"),
        ("uint16", r#", "values": {"1": 2}"#, "the name of a value is 2", "1 to 256 bytes"),
        ("string", r#", "values": {"1": "a"}"#, "values on a string or a list", "remove it"),
        ("string", r#", "scale_from": "t""#, "scale_from on a string", "remove it"),
        (
            "int16",
            r#", "scale_from": "t", "write": {"min": 0, "max": 1}"#,
            "scale_from on a writable tag",
            "remove write",
        ),
    ] {
        let all = faults(&[&tag(data_type, more)]);
        let found = all.iter().find(|found| found.contains(message) && found.contains(help));
        assert!(found.is_some(), "{data_type} {more}: {all:#?}");
    }
    let can = r#"{"name": "x", "address": "plc1:1:3:40001", "data_type": "int16", "scan_rate_ms": 10, "write": {"function": 23, "min": 0, "max": 1}}"#;
    let byte = can.replace("int16", "int8");
    assert!(fault(&byte).contains("function is 23; allowed: 22, 6, 16 for a part of a register"));
    assert!(
        fault(&byte.replace("\"function\": 23, ", "").replace("\"max\": 1", "\"max\": 300"))
            .contains("holds -128 to 127")
    );
}
