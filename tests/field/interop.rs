//! Against the servers of pymodbus and libmodbus: every function code, type and order, refused addresses, units
//! that are not there.

use fieldbeat::tag::{Status, Value};
use serde_json::{Value as Json, json};

use crate::peers::{self, Server};
use crate::rig::{Site, Stored};

const TOML: &str = "[gateway]\nid = \"interop\"\n[journal]\npath = \"journal\"\nmax_bytes = \"256MiB\"\n\
                    [metrics]\nlisten = \"off\"\n";

fn link(name: &str, port: u16) -> Json {
    json!({ "name": name, "protocol": "modbus_tcp", "host": "127.0.0.1", "port": port, "timeout_ms": 500,
            "expected_reply_ms": 2, "addressing": "raw" })
}

/// The tags of `contents.json` on a link, without what is expected of them.
fn tags_of(link: &str, contents: &Json) -> Vec<Json> {
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

fn one_register(name: String, link: &str, unit: u8, function: u8, register: usize) -> Json {
    let bits = function < 3;
    json!({ "name": name, "address": format!("{link}:{unit}:{function}:{register}"),
            "data_type": if bits { "bool" } else { "uint16" }, "scan_rate_ms": 250 })
}

/// For each table of unit 1: the last address it has, and two that it has not, which share a block with it.
fn edges(link: &str, contents: &Json) -> Vec<Json> {
    let tables = ["coils", "discrete_inputs", "holding_registers", "input_registers"];
    let mut tags = Vec::new();
    for (function, table) in (1..).zip(tables) {
        let end = contents["units"]["1"][table].as_array().unwrap().len();
        tags.push(one_register(format!("{link}.edge.{table}.last"), link, 1, function, end - 1));
        tags.push(one_register(format!("{link}.edge.{table}.beyond0"), link, 1, function, end));
        tags.push(one_register(format!("{link}.edge.{table}.beyond5"), link, 1, function, end + 5));
    }
    tags
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

fn assert_contents(link: &str, contents: &Json, stored: &Stored) {
    let mut wrong = Vec::new();
    let tags = contents["tags"].as_array().unwrap();
    assert_eq!(tags.len(), 1624);
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

/// `read` prints of every tag what the journal has of it.
fn assert_read_says_the_same(site: &Site, names: &[String], stored: &Stored) {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (code, out, err) = site.command("read", &names);
    assert_eq!(code, 1, "some tags are bad: {err}");
    assert_eq!(out.lines().count(), names.len());
    for (line, name) in out.lines().zip(names) {
        let seen = stored.last(name);
        let (head, age) = line.rsplit_once("  ").unwrap();
        let (head, status) = head.rsplit_once("  ").unwrap();
        assert_eq!(status, seen.status.name(), "{line}");
        if seen.status.is_good() {
            let value = seen.value.as_ref().unwrap().to_string();
            assert_eq!(head.strip_prefix(name).map(str::trim_start), Some(&*value), "{line}");
            assert!(age.ends_with(" ms ago"), "{line}");
        }
    }
}

#[test]
fn pymodbus_and_libmodbus_are_read_right_in_every_type_order_and_table() {
    let contents = peers::contents();
    let (py, silent, lib) = (Server::pymodbus(), Server::pymodbus_silent(), Server::libmodbus());
    let servers = [("py", py.port), ("silent", silent.port), ("lib", lib.port)];
    let mut tags = Vec::new();
    for (name, _) in servers {
        tags.extend(tags_of(name, &contents));
        tags.extend(edges(name, &contents));
        for function in 1..=4 {
            tags.push(one_register(format!("{name}.nobody.f{function}"), name, 77, function, 0));
        }
    }
    let names: Vec<String> = tags.iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect();
    let links: Vec<Json> = servers.iter().map(|(name, port)| link(name, *port)).collect();
    let site = Site::with_tags(TOML, &json!({ "links": links, "tags": tags }));
    let ended = site.run(&["--seconds", "6"]).end();
    ended.assert_clean();
    let stored = site.samples();
    assert_eq!(stored.samples, ended.samples("stored"));
    for (name, _) in servers {
        assert_contents(name, &contents, &stored);
        for table in ["coils", "discrete_inputs", "holding_registers", "input_registers"] {
            let status = |at: &str| stored.last(&format!("{name}.edge.{table}.{at}")).status;
            assert_eq!(status("last"), Status::GOOD, "{name} {table}");
            assert_eq!(status("beyond0"), Status::BAD_CONFIGURATION_ERROR, "{name} {table}");
            assert_eq!(status("beyond5"), Status::BAD_CONFIGURATION_ERROR, "{name} {table}");
        }
        for function in 1..=4 {
            let seen = stored.last(&format!("{name}.nobody.f{function}"));
            assert_eq!((seen.status, &seen.value), (Status::BAD_NO_COMMUNICATION, &None), "{name} {function}");
        }
    }
    let of = |link: &str, key: &str| ended.report["links"][link][key].as_u64().unwrap();
    assert_eq!((of("py", "timeouts"), of("lib", "timeouts")), (0, 0), "their missing unit is told by an exception");
    assert!(of("silent", "timeouts") >= 3);
    let good: Vec<String> = names.iter().filter(|n| !n.starts_with("silent.")).cloned().collect();
    assert_read_says_the_same(&site, &good, &stored);
}
