//! Threads of devices, with fakes behind the traits where the kernel has no stub.

mod channels;
mod fake;
mod iio_buffer;
mod lines;
mod open;
mod registers;
mod samples;
mod thread;

use std::sync::Arc;

use crate::plan::demand::Costs;
use crate::protocol;
use crate::protocol::load_parts;
use crate::protocol::local_io::model::LocalIoAddress;
use crate::protocol::local_io::plan::{LocalIoPlan, LocalIoSetup};
use crate::tag::{ScalarType, Status, Value};

/// A link, and its tags as they would stand in a file, planned.
pub fn planned(link: &str, tags: &[&str]) -> LocalIoPlan {
    let tags: Vec<String> = tags
        .iter()
        .enumerate()
        .map(|(at, tag)| format!(r#"{{"name": "t{at}", "scan_rate_ms": 100, {tag}}}"#))
        .collect();
    let text = format!(r#"{{"links": [{{"name": "l", {link}}}], "tags": [{}]}}"#, tags.join(",\n"));
    let loaded = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", &text)]);
    let mut config = loaded.unwrap_or_else(|errors| panic!("{errors}")).config;
    for tag in &mut config.tags {
        let Some(address) = tag.address.get::<LocalIoAddress>() else { continue };
        if address.is_writable() {
            tag.write = Some(crate::config::WriteConfig::default());
        }
    }
    let plan = protocol::build_with(&config, &[0], &Costs::default()).unwrap_or_else(|error| panic!("{error}")).plan;
    let Some(bus) = plan.links.values().next().unwrap().protocol.get::<LocalIoPlan>() else { panic!() };
    bus.clone()
}

pub fn setup(link: &str, tags: &[&str]) -> Arc<LocalIoSetup> {
    planned(link, tags).setup
}

/// The values of a scan.
fn scanned(reader: &mut dyn super::Reader, setup: &LocalIoSetup) -> Vec<Result<(f64, Status), Status>> {
    let mut answers = Vec::new();
    reader.scan(0, &mut answers).unwrap();
    assert_eq!(answers.len(), setup.items.len());
    let value = |ty: ScalarType, bits| match Value::from_bits(ty, bits) {
        Value::Bool(v) => f64::from(u8::from(v)),
        Value::Int(v) => v as f64,
        Value::Uint(v) => v as f64,
        Value::Float32(v) => v.into(),
        Value::Float64(v) => v,
        other => panic!("{other:?}"),
    };
    let pairs = answers.iter().zip(&setup.items);
    pairs.map(|(answer, item)| answer.result.map(|(bits, status)| (value(item.ty, bits), status))).collect()
}
