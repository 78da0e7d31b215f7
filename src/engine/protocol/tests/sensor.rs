//! `"sensor"` of tags: on which it stands, what it makes of them, what is refused.

use super::{MINIMAL, lines, loaded, refused};
use crate::config::*;
use crate::tag::{ScalarType, ValueType};

const LINKS: &str = r#""links": [
    {"name": "plc", "protocol": "modbus_tcp", "host": "10.0.0.1"},
    {"name": "can0", "protocol": "can", "interface": "can0", "dbc": "io.dbc"},
    {"name": "co0", "protocol": "canopen", "interface": "can1", "nodes": [{"id": 5}]},
    {"name": "i2c", "protocol": "i2c", "bus": "/dev/i2c-1"},
    {"name": "gpio", "protocol": "gpio", "chip": "/dev/gpiochip0"},
    {"name": "adc", "protocol": "iio", "device": "iio:device0"}]"#;
/// A module that says its input in steps of a µA.
const DBC: &str = "BU_: X\nBO_ 256 Inputs: 8 X\n SG_ Ain0 : 0|16@1+ (0.001,0) [0|65] \"mA\" X\n";
const TANK: &str = r#""sensor": {"type": "4-20mA", "raw_min": 0, "raw_max": 27648, "range": [0, 150]}"#;

fn file(tag: &str) -> String {
    format!("{{{LINKS}, \"tags\": [\n{{\"name\": \"t\", \"scan_rate_ms\": 100, {tag}}}]}}")
}

fn read(tag: &str) -> Loaded {
    loaded(MINIMAL, &[("tags/a.json", &file(tag)), ("tags/io.dbc", DBC)])
}

fn accepted(tag: &str) -> TagConfig {
    let loaded = read(tag);
    let of_tags = |warning: &&Diagnostic| warning.to_string().contains("tag \"t\"");
    assert_eq!(loaded.warnings.iter().filter(of_tags).count(), 0, "{:?}", loaded.warnings);
    loaded.config.tags[0].clone()
}

/// The only fault, with its place.
fn fault(tag: &str) -> String {
    let all = lines(&refused(MINIMAL, &[("tags/a.json", &file(tag)), ("tags/io.dbc", DBC)]));
    let mut errors: Vec<String> = all.iter().filter(|line| line.contains(": error: ")).cloned().collect();
    assert_eq!(errors.len(), 1, "{all:#?}");
    errors.remove(0)
}

#[test]
fn a_transmitter_makes_a_float_of_any_number_on_any_link() {
    for (address, more) in [
        ("plc:1:4:30001", r#""data_type": "int16""#),
        ("plc:1:4:30001:2", r#""data_type": "float32""#),
        ("can0:0x123:0:16", r#""data_type": "int16""#),
        ("co0:5:0x6401:1", r#""data_type": "int16""#),
        ("i2c:0x48:0x00:2", r#""data_type": "int16""#),
        ("adc:in_voltage0", r#""description": """#),
    ] {
        let tag = accepted(&format!(r#""address": "{address}", {more}, {TANK}"#));
        let wanted = SensorConfig { signal: Signal::Current4To20, raw: [0.0, 27_648.0], range: [0.0, 150.0] };
        assert_eq!((tag.sensor, tag.value_type()), (Some(wanted), ValueType::Scalar(ScalarType::Float64)), "{address}");
        assert_eq!((tag.scale * 27_648.0 + tag.offset, tag.offset), (150.0, 0.0), "{address}");
    }
    let tag = accepted(r#""address": "adc:in_voltage0", "sensor": {"type": "0-10V", "range": [-1.5, 8]}"#);
    assert_eq!(tag.sensor.unwrap().raw, [0.0, 10.0], "in the signal's own unit");
    let same = accepted(
        r#""address": "plc:1:3:40001:2", "data_type": "float32", "sensor": {"type": "4-20mA", "range": [4, 20]}"#,
    );
    assert_eq!(same.value_type(), ValueType::Scalar(ScalarType::Float64), "though nothing is scaled");
}

#[test]
fn of_a_dbc_file_the_signal_is_what_the_file_makes_of_it_but_not_the_unit() {
    let tag = accepted(r#""address": "can0:Inputs.Ain0", "sensor": {"type": "4-20mA", "range": [0, 16]}"#);
    assert_eq!((tag.sensor.unwrap().raw, tag.unit.as_str()), ([4.0, 20.0], ""));
    assert_eq!(accepted(r#""address": "can0:Inputs.Ain0""#).unit, "mA");
}

#[test]
fn an_input_that_cannot_show_a_broken_wire_is_warned_of() {
    let warning = |rest: &str| {
        let warnings = read(rest).warnings;
        let mut lines: Vec<String> =
            warnings.iter().map(ToString::to_string).filter(|w| w.contains("sensor")).collect();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        lines.remove(0)
    };
    let broken = warning(&format!(r#""address": "plc:1:4:30001", "data_type": "uint16", {TANK}"#));
    assert!(
        broken.contains("a broken wire cannot be detected: it reads -691.2 or less, the uint16 ends at 0"),
        "{broken}"
    );
    assert!(broken.starts_with("tags/a.json:8:"), "{broken}");
    let wide = r#""sensor": {"type": "1-5V", "raw_min": 13107, "raw_max": 65535, "range": [0, 1]}"#;
    let high = warning(&format!(r#""address": "plc:1:4:30001", "data_type": "uint16", {wide}"#));
    assert!(
        high.contains(
            "too high a signal cannot be detected: it reads 68811.8 or more, the uint16 ends at \
        65535"
        ),
        "{high}"
    );
    // Micro-amperes have room on both sides.
    let micro = r#""sensor": {"type": "4-20mA", "raw_min": 4000, "raw_max": 20000, "range": [0, 1]}"#;
    accepted(&format!(r#""address": "plc:1:4:30001", "data_type": "uint16", {micro}"#));
}

#[test]
fn an_output_of_a_standard_signal_is_written_within_its_range() {
    let tag = |write: &str| format!(r#""address": "plc:1:3:40001", "data_type": "int16", "write": {write}, {TANK}"#);
    let write = accepted(&tag("true")).write.unwrap();
    assert_eq!((write.min, write.max), (Some(0.0), Some(150.0)));
    let write = accepted(&tag(r#"{"max": 100}"#)).write.unwrap();
    assert_eq!((write.min, write.max), (Some(0.0), Some(100.0)));
    let found = fault(&tag(r#"{"max": 155}"#));
    assert!(found.contains("max is 155, and the signal's range is 0 to 150"), "{found}");
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_is_allowed() {
    let sensor = r#""sensor": {"type": "4-20mA", "range": [0, 1]}"#;
    for (rest, said) in [
        (format!(r#""address": "plc:1:1:1", "data_type": "bool", {sensor}"#), "sensor on a bool; remove it"),
        (format!(r#""address": "plc:1:3:40001:4", "data_type": "string", {sensor}"#), "sensor on a string; remove it"),
        (
            format!(r#""address": "plc:1:3:40001:4", "data_type": "int16", "array": 4, {sensor}"#),
            "sensor on an array; allowed: one tag for each input",
        ),
        (format!(r#""address": "can0:0x123:5:1", {sensor}"#), "sensor on a bool; remove it"),
        (format!(r#""address": "co0:5:state", {sensor}"#), "sensor on what the link knows of a node; remove it"),
        (
            format!(r#""address": "gpio:3", "edge": "both", "data_type": "uint32", {sensor}"#),
            "sensor on a count of edges; remove it",
        ),
        (
            format!(r#""address": "plc:1:3:40001", "data_type": "int16", "offset": 1, {sensor}"#),
            "offset beside sensor; remove it",
        ),
        (
            r#""address": "plc:1:3:40001", "data_type": "int16", "sensor": {"type": "4-20mA", "raw_min": 0, "raw_max": 65535, "range": [0, 1]}"#.to_owned(),
            "raw_max is 65535, and the int16 holds -32768 to 32767; allowed: -32768 to 32767",
        ),
        (
            r#""address": "can0:0x123:0:4", "sensor": {"type": "4-20mA", "range": [0, 1]}"#.to_owned(),
            "the signal in mA or V goes to 20, and the signal of 4 bits holds 0 to 15",
        ),
        (
            r#""address": "adc:in_voltage0", "sensor": {"type": "4-20mA", "raw_min": 1e300, "raw_max": 1.1e300, "range": [0, 1e-300]}"#.to_owned(),
            "too far apart to be scaled",
        ),
        (r#""address": "adc:in_voltage0", "sensor": "4-20mA""#.to_owned(), "sensor"),
        (
            r#""address": "adc:in_voltage0", "sensor": {"type": "4-20 mA", "range": [0, 1]}"#.to_owned(),
            "type \"4-20 mA\" is unknown; allowed: 4-20mA",
        ),
        (
            r#""address": "adc:in_voltage0", "sensor": {"type": "4-20mA", "range": [1, 1]}"#.to_owned(),
            "range has 2 entries that are not two different numbers",
        ),
        (
            r#""address": "adc:in_voltage0", "sensor": {"type": "4-20mA", "raw_min": 1, "range": [0, 1]}"#.to_owned(),
            "only one of raw_min and raw_max",
        ),
        (
            r#""address": "adc:in_voltage0", "sensor": {"type": "4-20mA", "raw_min": 1, "raw_max": 1, "range": [0, 1]}"#.to_owned(),
            "raw_min and raw_max are the same",
        ),
        (
            r#""address": "adc:in_voltage0", "scale": 2, "sensor": {"type": "4-20mA", "range": [0, 1]}"#.to_owned(),
            "scale beside sensor; remove it",
        ),
        (r#""address": "gpio:3", "sensor": {"type": "4-20mA", "range": [0, 1]}"#.to_owned(), "sensor on a bool; remove it"),
    ] {
        let found = fault(&rest);
        assert!(found.contains(said), "{rest}\nfound:  {found}\nwanted: {said}");
        assert!(found.starts_with("tags/a.json:8:"), "{found}");
    }
}
