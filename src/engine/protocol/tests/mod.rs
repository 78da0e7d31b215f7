//! Whole configurations, right and wrong.

mod accepted;
mod can;
mod canopen;
mod directories;
mod gateway_faults;
mod influx;
mod local_io;
mod random;
mod reporting;
mod schema;
mod sensor;
mod side_files;
mod tag_faults;
mod topics;
mod values;
mod writes;

use crate::config::{Config, Diagnostics, Loaded};
use crate::protocol::load_parts;

const MINIMAL: &str = "[gateway]\nid = \"line-4\"\n";

const LINK: &str = r#""links": [{"name": "plc1", "protocol": "modbus_tcp", "host": "10.0.0.1"}]"#;

/// A tag file with the link `plc1` in line 1 and one tag a line from line 2 on, each written from column 1.
fn tag_file(tags: &[&str]) -> String {
    format!("{{{LINK}, \"tags\": [\n{}\n]}}", tags.join(",\n"))
}

fn loaded(toml: &str, tags: &[(&str, &str)]) -> Loaded {
    load_parts(("fieldbeat.toml", toml), tags).unwrap_or_else(|errors| panic!("{errors}"))
}

fn config(tags: &str) -> Config {
    let loaded = loaded(MINIMAL, &[("tags/a.json", tags)]);
    assert_eq!(loaded.warnings, [], "no warnings");
    loaded.config
}

fn refused(toml: &str, tags: &[(&str, &str)]) -> Diagnostics {
    load_parts(("fieldbeat.toml", toml), tags).expect_err("must be refused")
}

/// The findings, one a line.
fn lines(diagnostics: &Diagnostics) -> Vec<String> {
    diagnostics.iter().map(ToString::to_string).collect()
}

/// The findings on a file of these tags with a right gateway file.
fn faults(tags: &[&str]) -> Vec<String> {
    lines(&refused(MINIMAL, &[("tags/a.json", &tag_file(tags))]))
}

/// The one finding on one tag.
fn fault(tag: &str) -> String {
    let mut all = faults(&[tag]);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// The one finding on a gateway file, with right tags beside it.
fn toml_fault(toml: &str) -> String {
    let tag = r#"{"name": "t", "address": "plc1:1:3:40001", "data_type": "int16", "scan_rate_ms": 10}"#;
    let mut all = lines(&refused(toml, &[("tags/a.json", &tag_file(&[tag]))]));
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}
