//! Writes the gateway's configuration that fits a plant: `fieldbeat.toml` and `tags/*.json`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Serialize;

use super::Plant;
use super::layout::PlantTag;
use crate::config::{FieldType, WordOrder, type_name};
use crate::tag::Nanos;

/// What stands in `fieldbeat.toml` beside the plant's links and tags; `None` leaves the gateway's default.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewaySettings {
    pub id: String,
    /// CPUs of the executors.
    pub cores: Option<Vec<u32>>,
    pub priority: Option<u8>,
    /// Microseconds.
    pub guard_us: Option<u32>,
    /// Runs what cannot all be in time, too.
    pub overload: bool,
    pub journal_path: Option<PathBuf>,
    pub journal_bytes_max: Option<u64>,
    pub commit_ms: Option<u32>,
    /// Address and port, or `off`.
    pub metrics_listen: Option<String>,
    /// Time from request to reply that a link allows.
    pub timeout: Nanos,
    /// More TOML, appended as it is: outputs, for one.
    pub more: String,
}

impl Default for GatewaySettings {
    fn default() -> GatewaySettings {
        GatewaySettings {
            id: "plant".into(),
            cores: None,
            priority: None,
            guard_us: None,
            overload: false,
            journal_path: None,
            journal_bytes_max: None,
            commit_ms: None,
            metrics_listen: None,
            timeout: Nanos::from_millis(200),
            more: String::new(),
        }
    }
}

#[derive(Serialize)]
struct TagFile<'a> {
    links: [Link<'a>; 1],
    tags: Vec<Tag<'a>>,
}

#[derive(Serialize)]
struct Link<'a> {
    name: &'a str,
    protocol: &'static str,
    host: String,
    port: u16,
    expected_reply_ms: f64,
    timeout_ms: u64,
    /// A large device has offsets that would read as Modicon references.
    addressing: &'static str,
}

#[derive(Serialize)]
pub(super) struct Tag<'a> {
    name: &'a str,
    protocol: &'static str,
    address: String,
    data_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    byte_order: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bit: Option<u8>,
    scan_rate_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<f64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    unit: &'a str,
    description: &'a str,
}

impl Plant {
    /// Writes `fieldbeat.toml` and one tag file a device, each with its link, into `dir`; older files of the
    /// same names are replaced.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn write_config(&self, dir: &Path, settings: &GatewaySettings) -> io::Result<()> {
        let tags = dir.join("tags");
        fs::create_dir_all(&tags)?;
        fs::write(dir.join("fieldbeat.toml"), gateway_file(settings))?;
        for (device, address) in self.addresses().iter().enumerate() {
            let link = format!("dev{device}");
            let file = TagFile {
                links: [Link {
                    name: &link,
                    protocol: "modbus_tcp",
                    host: address.ip().to_string(),
                    port: address.port(),
                    expected_reply_ms: self.reply_expected(device).min(settings.timeout).0 as f64 / 1e6,
                    timeout_ms: settings.timeout.0 / 1_000_000,
                    addressing: "raw",
                }],
                tags: self.tags().iter().filter(|t| t.device == device).map(|t| tag_entry(&link, t)).collect(),
            };
            fs::write(tags.join(format!("{link}.json")), serde_json::to_vec_pretty(&file)?)?;
        }
        Ok(())
    }
}

fn gateway_file(settings: &GatewaySettings) -> String {
    // JSON's strings are TOML's basic strings.
    let text = |s: &str| serde_json::Value::from(s).to_string();
    let mut out = format!("[gateway]\nid = {}\n", text(&settings.id));
    let mut section = |name: &str, lines: &[Option<String>]| {
        if lines.iter().any(Option::is_some) {
            let _ = writeln!(out, "\n[{name}]");
            for line in lines.iter().flatten() {
                let _ = writeln!(out, "{line}");
            }
        }
    };
    section(
        "realtime",
        &[
            settings.cores.as_ref().map(|cores| format!("cores = {cores:?}")),
            settings.priority.map(|n| format!("priority = {n}")),
            settings.guard_us.map(|us| format!("guard_us = {us}")),
            settings.overload.then(|| "admission = \"warn\"".to_owned()),
        ],
    );
    section(
        "journal",
        &[
            settings.journal_path.as_ref().map(|p| format!("path = {}", text(&p.to_string_lossy()))),
            settings.journal_bytes_max.map(|n| format!("max_bytes = {n}")),
            settings.commit_ms.map(|ms| format!("commit_ms = {ms}")),
        ],
    );
    section("metrics", &[settings.metrics_listen.as_ref().map(|l| format!("listen = {}", text(l)))]);
    if !settings.more.is_empty() {
        let _ = writeln!(out, "\n{}", settings.more);
    }
    out
}

pub(super) fn tag_entry<'a>(link: &str, tag: &'a PlantTag) -> Tag<'a> {
    let function = tag.table.read_function();
    Tag {
        name: &tag.name,
        protocol: "modbus_tcp",
        address: format!("{link}:{}:{function}:{}:{}", tag.unit.0, tag.first, tag.count),
        data_type: type_name(tag.field),
        byte_order: match tag.order {
            WordOrder::Abcd => None,
            WordOrder::Dcba => Some("DCBA"),
            WordOrder::Badc => Some("BADC"),
            WordOrder::Cdab => Some("CDAB"),
        },
        bit: match tag.field {
            FieldType::RegisterBit(bit) => Some(bit),
            _ => None,
        },
        scan_rate_ms: tag.period.0 / 1_000_000,
        scale: (tag.scale != 1.0).then_some(tag.scale),
        unit: tag.unit_text,
        description: &tag.description,
    }
}
