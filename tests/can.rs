//! CAN frames as cantools decodes them: of a random DBC file, and of files as they are in the field.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod peers;
#[path = "can/real_files.rs"]
mod real_files;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use fieldbeat::config::Config;
use fieldbeat::protocol;
use fieldbeat::protocol::can::link::pure::{Buffer, Decoded, Head, applies, encode, value};
use fieldbeat::protocol::can::plan::model::{CanDecode, CanPlan};
use fieldbeat::protocol::load_parts;
use fieldbeat::tag::{LinkId, Status, Value, ValueType};

const TOML: (&str, &str) = ("fieldbeat.toml", "[gateway]\nid = \"t\"\n");

/// Frames that are compared.
const FRAMES: usize = 100_000;

fn config(dbc: &str, names: &[&str]) -> Config {
    let tag = |name: &&str| format!(r#"{{ "name": "{name}", "address": "bus:{name}", "scan_rate_ms": 100 }}"#);
    let tags: Vec<String> = names.iter().map(tag).collect();
    let file = format!(
        r#"{{ "links": [ {{ "name": "bus", "protocol": "can", "interface": "can0", "fd": true, "dbc": "random.dbc" }} ],
             "tags": [ {} ] }}"#,
        tags.join(",")
    );
    let files = [("tags/bus.json", &*file), ("tags/random.dbc", dbc)];
    load_parts(TOML, &files).unwrap_or_else(|error| panic!("{error}")).config
}

/// A frame as the kernel hands it over, and its bytes.
fn buffer_of(id: u32, extended: bool, data: &[u8]) -> (Buffer, usize) {
    let (frame, n) = encode(id, extended, data.len() > 8, data);
    let mut buffer = Buffer::new();
    buffer.as_mut()[..n].copy_from_slice(&frame[..n]);
    (buffer, n)
}

/// What the link would make of a frame of a message.
fn decode_all(plan: &CanPlan, message: usize, buffer: &Buffer, len: u8, mut take: impl FnMut(&CanDecode, Decoded)) {
    let message = &plan.messages[message];
    let cases = &plan.cases[message.cases.start as usize..message.cases.end as usize];
    for case in cases.iter().filter(|case| applies(plan, case, buffer.data(), len)) {
        let decodes = &plan.decodes[case.decodes.start as usize..case.decodes.end as usize];
        for decode in decodes.iter().filter(|decode| len >= decode.place.bytes_needed) {
            take(decode, value(plan, decode, buffer.data()));
        }
    }
}

fn number_of(decode: &CanDecode, value: Decoded) -> Value {
    match (value, decode.ty) {
        (Decoded::Bits(bits, _), ValueType::Scalar(ty)) => Value::from_bits(ty, bits),
        // What is not a number, or infinite, is no value.
        (Decoded::Bad(Status::BAD_DATA_UNAVAILABLE), ValueType::Scalar(_)) => Value::Float64(f64::NAN),
        _ => panic!("no number: {decode:?}"),
    }
}

fn text_of(plan: &CanPlan, at: u32) -> String {
    let text = plan.texts[at as usize];
    let bytes = &plan.text_bytes[text.start as usize..(text.start + text.len) as usize];
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The same of any frame, by the tag's index.
fn decoded(plan: &CanPlan, buffer: &Buffer, n: usize) -> BTreeMap<usize, Value> {
    let Head::Data { id, extended, len } = buffer.head(n) else { panic!("no data frame") };
    let message = plan.lookup.message(id, extended).expect("an unknown identifier");
    let mut out = BTreeMap::new();
    decode_all(plan, usize::from(message), buffer, len, |decode, value| {
        out.insert(decode.tag.index(), number_of(decode, value));
    });
    out
}

fn hexadecimal(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// `0x1.8p+3`, as Python and C write floats; `inf`, `nan`.
fn float(text: &str) -> f64 {
    let (sign, rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let magnitude = match rest {
        "inf" => f64::INFINITY,
        "nan" => f64::NAN,
        hex => {
            let (mantissa, exponent) = hex.strip_prefix("0x").unwrap().split_once('p').unwrap();
            let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
            let bits = u64::from_str_radix(&format!("{whole}{part}"), 16).unwrap();
            let exponent: i32 = exponent.parse::<i32>().unwrap() - 4 * part.len() as i32;
            // In two steps, so that the smallest numbers do not vanish on the way.
            bits as f64 * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
        }
    };
    sign * magnitude
}

fn agrees(ours: &Value, theirs: &str) -> bool {
    match ours {
        Value::Bool(value) => theirs == if *value { "1" } else { "0" },
        Value::Int(value) => theirs.parse() == Ok(*value),
        Value::Uint(value) => theirs.parse() == Ok(*value),
        Value::Float32(value) => same(f64::from(*value), number(theirs)),
        Value::Float64(value) => same(*value, number(theirs)),
        Value::Text(_) | Value::Array(_) => false,
    }
}

fn number(text: &str) -> f64 {
    text.parse::<i128>().map_or_else(|_| float(text), |whole| whole as f64)
}

/// Of whole numbers of more than 53 bits the last one may be rounded.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= a.abs() * 2.3e-16 || a.is_nan() && !b.is_finite()
}

#[test]
fn random_frames_of_a_random_dbc_file_are_decoded_as_by_cantools() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".venv/bin/python");
    assert!(python.exists(), "cantools is missing: run sh tests/setup.sh");
    let dir = tempfile::tempdir().unwrap();
    let seed = std::env::var("FIELDBEAT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u32 = seed.unwrap_or_else(|| fastrand::u32(..));
    println!("FIELDBEAT_SEED={seed}");
    let made = Command::new(python)
        .arg(root.join("tests/can/vectors.py"))
        .arg(dir.path())
        .args([seed.to_string(), FRAMES.to_string()])
        .status()
        .unwrap();
    assert!(made.success());
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let (dbc, signals, frames) = (read("random.dbc"), read("signals.txt"), read("frames.txt"));
    let names: Vec<&str> = signals.lines().collect();
    let config = config(&dbc, &names);
    let planned = protocol::build(&config, &[0]).unwrap().plan;
    let Some(can) = planned.links[LinkId(0)].protocol.get::<CanPlan>() else { panic!("a CAN link") };
    let names_by_id: Vec<&str> =
        planned.tags.values().map(|tag| tag.name.split_once('.').map_or("", |(_, signal)| signal)).collect();
    let (mut lines, mut values) = (0, 0);
    for line in frames.lines() {
        let mut words = line.split(' ');
        let (id, kind, data) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let (buffer, n) = buffer_of(u32::from_str_radix(id, 16).unwrap(), kind == "x", &hexadecimal(data));
        let ours = decoded(can, &buffer, n);
        let ours: BTreeMap<&str, &Value> = ours.iter().map(|(tag, value)| (names_by_id[*tag], value)).collect();
        let theirs: BTreeMap<&str, &str> =
            words.filter(|word| !word.is_empty()).map(|word| word.split_once('=').unwrap()).collect();
        let equal = ours.len() == theirs.len()
            && ours.iter().all(|(name, value)| theirs.get(name).is_some_and(|theirs| agrees(value, theirs)));
        assert!(equal, "seed {seed}, {line}:\n{ours:?}\n{theirs:?}");
        lines += 1;
        values += ours.len();
    }
    assert_eq!(lines, FRAMES);
    println!("{values} values of {lines} frames");
}
