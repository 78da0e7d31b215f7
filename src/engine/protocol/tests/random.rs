//! Any bytes: findings, never a panic. And the time that much input takes.

use std::time::Duration;

use proptest::prelude::*;

use super::{MINIMAL, tag_file};
use crate::config::{files, paths, read};
use crate::protocol::load_parts;
use crate::protocol::modbus::model::ModbusAddress;

/// Pieces that get past the parsers more often than random characters do.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just("=".to_owned()),
        Just(".".to_owned()),
        Just("\n".to_owned()),
        Just("\"".to_owned()),
        Just("'''".to_owned()),
        Just("\\".to_owned()),
        Just("\\u00e9\\ud83d".to_owned()),
        Just("#é°".to_owned()),
        Just("null".to_owned()),
        Just("1e999".to_owned()),
        Just("-0".to_owned()),
        Just("99999999999999999999999999999999999999999999".to_owned()),
        Just(
            "{\"links\": [{\"name\": \"plc1\", \"protocol\": \"modbus_tcp\", \"host\": \"a\"}], \"tags\": [".to_owned()
        ),
        Just(
            "{\"name\": \"t\", \"address\": \"plc1:1:3:40001:2\", \"data_type\": \"float32\", \"scan_rate_ms\": 10}"
                .to_owned()
        ),
        Just("[outputs.é]\ntype = \"mqtt\"\nurl = \"mqtt://".to_owned()),
        Just("[gateway]\nid = \"x\"\n".to_owned()),
        Just("\n[a]\n".to_owned()),
        Just("\n[[a]]\n".to_owned()),
        Just("\n[a.b]\n".to_owned()),
        Just("\na.b = 1\n".to_owned()),
        Just("\na = {b.c = 1".to_owned()),
        proptest::sample::select(crate::protocol::kinds::PROTOCOLS.tag_keys()).prop_map(|key| format!("\"{key}\": ")),
        proptest::sample::select(crate::config::fields::keys::MQTT).prop_map(|key| format!("{key} = ")),
        any::<i64>().prop_map(|number| number.to_string()),
        ".{0,8}",
    ]
}

fn pieces() -> impl Strategy<Value = String> {
    proptest::collection::vec(piece(), 0..40).prop_map(|pieces| pieces.concat())
}

/// Neither a panic nor a refusal that says nothing.
fn holds(result: Result<super::Loaded, super::Diagnostics>) {
    if let Err(diagnostics) = result {
        assert!(diagnostics.errors() > 0);
        assert!(diagnostics.iter().all(|found| !found.message.is_empty()));
        assert!(diagnostics.to_string().len() < 1 << 20);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(toml in pieces(), tags in pieces()) {
        holds(load_parts(("fieldbeat.toml", &toml), &[("tags/a.json", &tags)]));
    }

    #[test]
    fn any_bytes_are_read_or_refused(toml in proptest::collection::vec(any::<u8>(), 0..200), tags in proptest::collection::vec(any::<u8>(), 0..200)) {
        let input = |name: &str, bytes| files::Input { name: name.into(), bytes };
        let inputs = files::Inputs { gateway: Some(input("f", toml)), tags: vec![input("t", tags)], incomplete: false };
        let base = paths::Base { dir: std::path::Path::new(""), look_at_files: false };
        holds(read(inputs, base, crate::config::files::Beside::Parts(&[]), crate::protocol::kinds::PROTOCOLS, crate::config::diagnostic::Report::default()));
    }

    /// One change to a right file: a byte replaced, a piece put in, an end cut off.
    #[test]
    fn a_damaged_file_is_read_or_refused(at in any::<prop::sample::Index>(), piece in piece(), cut in any::<bool>()) {
        let good = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tags/boiler.json")).unwrap();
        let at = good.floor_char_boundary(at.index(good.len()));
        let tail = if cut { "" } else { &good[at..] };
        let damaged = format!("{}{piece}{tail}", &good[..at]);
        let result = load_parts(("fieldbeat.toml", MINIMAL), &[("tags/a.json", &damaged)]);
        if cut {
            prop_assert!(result.is_err() || at + 3 >= good.len(), "half a file must never be adopted");
        }
        holds(result);
    }

    #[test]
    fn a_damaged_gateway_file_is_read_or_refused(at in any::<prop::sample::Index>(), piece in piece(), drop in 0usize..4) {
        let good = super::accepted::FULL;
        let at = good.floor_char_boundary(at.index(good.len()));
        let end = good.floor_char_boundary((at + drop).min(good.len())).max(at);
        let damaged = format!("{}{piece}{}", &good[..at], &good[end..]);
        holds(load_parts(("fieldbeat.toml", &damaged), &[("tags/a.json", "{}")]));
    }

    #[test]
    fn any_address_type_and_count_is_read_or_refused(
        address in "(plc1|x)?(:[0-9]{0,7}){0,5}",
        data_type in proptest::sample::select(vec!["bool", "int16", "float64", "bcd32", "string"]),
        array in 0u32..3000,
        bit in 0u32..20,
    ) {
        let array = if array < 1500 { String::new() } else { format!(", \"array\": {}", array - 1500) };
        let bit = if bit < 10 { String::new() } else { format!(", \"bit\": {bit}") };
        let tag = format!(
            r#"{{"name": "t", "address": "{address}", "data_type": "{data_type}", "scan_rate_ms": 10{array}{bit}}}"#
        );
        let result = load_parts(("fieldbeat.toml", MINIMAL), &[("tags/a.json", &tag_file(&[&tag]))]);
        if let Ok(loaded) = &result {
            let a = loaded.config.tags[0].address.get::<ModbusAddress>().unwrap();
            prop_assert!(u32::from(a.first) + u32::from(a.count) <= 65_536);
            let most = if a.table.is_bits() { 2000 } else { 125 };
            prop_assert!(a.count >= 1 && a.count <= most);
            let elements = a.array.unwrap_or(1);
            prop_assert!(a.field.registers() == 0 || a.count == elements * a.field.registers());
        }
        holds(result);
    }
}

#[test]
fn deep_nesting_is_refused_before_it_can_exhaust_the_stack() {
    let deep = "[".repeat(5_000_000);
    let found = super::lines(&super::refused(MINIMAL, &[("tags/a.json", &deep)]));
    assert_eq!(found, ["tags/a.json:1:33: error: nested deeper than 32 levels; a configuration needs four levels"]);
    for toml in [
        "a.".repeat(400_000) + "a = 1",
        format!("a = {}", "[".repeat(900_000)),
        format!("[{}a]", "a.".repeat(400_000)),
        "a = {".repeat(150_000),
        "'\n".to_owned() + &"a.".repeat(400_000) + "a = 1",
    ] {
        let found = super::toml_fault(&toml);
        assert!(found.contains("nested deeper than 32 levels"), "{found}");
    }
}

#[test]
fn many_values_and_many_errors_stay_bounded() {
    let found = super::refused(MINIMAL, &[("tags/a.json", &format!("[{}0]", "0,".repeat(3_000_000)))]);
    assert!(found.to_string().contains("more than 2000000 values"), "{found}");
    let tags = vec![r#"{"nmae": 1}"#; 10_000];
    let found = super::refused(MINIMAL, &[("tags/a.json", &tag_file(&tags))]);
    assert_eq!(found.errors(), 50_000, "unknown key, no name, data type, address, rate");
    assert_eq!(found.iter().count(), 200);
    assert!(found.to_string().ends_with("\nand 49800 more\n50000 errors"));
}

#[test]
fn five_thousand_tags_load_in_well_under_a_tenth_of_a_second() {
    let tags: Vec<String> = (0..5000)
        .map(|n| {
            let (unit, register) = (n / 1000 + 1, 40_001 + n % 1000 * 2);
            format!(
                r#"{{"name": "line.tag_{n}", "protocol": "modbus_tcp", "address": "plc1:{unit}:3:{register}:2", "data_type": "float32", "scan_rate_ms": 10, "scale": 1.0, "offset": 0.0, "unit": "°C", "description": "flow temperature"}}"#
            )
        })
        .collect();
    let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
    // On one line as well, where columns are long to count. Processor time, the best of five: other tests run beside.
    for text in [tag_file(&tags), tag_file(&tags).replace('\n', " ")] {
        let took = (0..5)
            .map(|_| {
                let start = processor_time();
                let loaded = super::loaded(MINIMAL, &[("tags/a.json", &text)]);
                assert_eq!(loaded.config.tags.len(), 5000);
                processor_time() - start
            })
            .min()
            .unwrap();
        println!("5000 tags, {} bytes: {took:?}", text.len());
        assert!(took.as_millis() < 100, "{took:?}");
    }
}

fn processor_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}
