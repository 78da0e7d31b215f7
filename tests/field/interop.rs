//! Against the servers of pymodbus and libmodbus: every function code, type and order, refused addresses, units
//! that are not there.

use fieldbeat::tag::Status;
use serde_json::{Value as Json, json};

use crate::contents::{assert_contents, one_register, tags_of};
use crate::peers::{self, Server};
use crate::rig::{Site, Stored};

const TOML: &str = "[gateway]\nid = \"interop\"\n[journal]\npath = \"journal\"\nmax_bytes = \"256MiB\"\n\
                    [metrics]\nlisten = \"off\"\n";

fn link(name: &str, port: u16) -> Json {
    json!({ "name": name, "protocol": "modbus_tcp", "host": "127.0.0.1", "port": port, "timeout_ms": 500,
            "expected_reply_ms": 2, "addressing": "raw" })
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
        assert_contents(name, &contents, None, &stored);
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
