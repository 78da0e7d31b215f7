//! What the peers' servers hold, as tags, and whether they were read right.

#![allow(dead_code, reason = "each test binary uses its own part")]

use fieldbeat::tag::{Status, Value};
use serde_json::{Value as Json, json};

use crate::rig::Stored;

/// The tags of `contents.json` on a link, without what is expected of them.
pub fn tags_of(link: &str, contents: &Json) -> Vec<Json> {
    let own = |tag: &Json| {
        let mut tag = tag.clone();
        let fields = tag.as_object_mut().unwrap();
        fields.remove("expected");
        fields.remove("status");
        let name = format!("{link}.{}", fields["name"].as_str().unwrap());
        let address = format!("{link}:{}", fields["address"].as_str().unwrap());
        fields.insert("name".into(), name.into());
        fields.insert("address".into(), address.into());
        fields.insert("scan_rate_ms".into(), 250.into());
        tag
    };
    contents["tags"].as_array().unwrap().iter().map(own).collect()
}

pub fn one_register(name: String, link: &str, unit: u8, function: u8, register: usize) -> Json {
    let bits = function < 3;
    json!({ "name": name, "address": format!("{link}:{unit}:{function}:{register}"),
            "data_type": if bits { "bool" } else { "uint16" }, "scan_rate_ms": 250 })
}

pub fn is_of_unit(tag: &Json, unit: u8) -> bool {
    tag["address"].as_str().is_some_and(|address| address.starts_with(&format!("{unit}:")))
}

fn same(found: &Value, expected: &Json) -> bool {
    // The JSON reader is a bit off in the last place of a double.
    let near = |a: f64, b: f64| a == b || a.to_bits().abs_diff(b.to_bits()) <= 1;
    match found {
        Value::Bool(v) => expected.as_bool() == Some(*v),
        Value::Int(v) => expected.as_i64() == Some(*v),
        Value::Uint(v) => expected.as_u64() == Some(*v),
        Value::Float32(v) => expected.as_f64().is_some_and(|e| e as f32 == *v),
        Value::Float64(v) => expected.as_f64().is_some_and(|e| near(*v, e)),
        Value::Text(v) => expected.as_str() == Some(v),
        Value::Array(values) => expected
            .as_array()
            .is_some_and(|all| all.len() == values.len() && values.iter().zip(all).all(|(v, e)| same(v, e))),
    }
}

/// Every tag of the contents, or only those of one unit, is stored as it is expected.
pub fn assert_contents(link: &str, contents: &Json, unit: Option<u8>, stored: &Stored) {
    let mut wrong = Vec::new();
    let tags = contents["tags"].as_array().unwrap();
    assert_eq!(tags.len(), 2604);
    let tags = tags.iter().filter(|tag| unit.is_none_or(|unit| is_of_unit(tag, unit)));
    for tag in tags {
        let name = format!("{link}.{}", tag["name"].as_str().unwrap());
        let seen = stored.last(&name);
        let right = match tag["status"].as_str() {
            Some(status) => seen.status.name() == status,
            None => {
                seen.status == Status::GOOD && seen.value.as_ref().is_some_and(|found| same(found, &tag["expected"]))
            }
        };
        if !right {
            wrong.push(format!("{name}: {seen:?} instead of {}", tag["expected"]));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
