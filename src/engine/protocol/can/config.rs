//! CAN links.

use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::dbc::Dbc;
use super::model::{CanConfig, CanTimestamps};
use super::names::{CanDbc, LinkDbc};
use super::schema::{CanLink, CanTag};
use super::{address as can_address, fields, sent as can_sent, transmit as can_transmit};
use crate::config::beside;
use crate::config::diagnostic::Report;
use crate::config::fields::words;
use crate::config::kind::{Link, Protocol, ReadLink};
use crate::config::model::{LinkSettings, Sampling, TagAddress, TagConfig};
use crate::config::names::quoted;
use crate::config::reader::{Obj, Part, Text};
use crate::limits::{CAN_OPEN_TIMEOUT, CAN_TRANSMITS_MAX};
use crate::tag::Nanos;

/// CAN interfaces.
pub struct Can;

impl Protocol for Can {
    fn words(&self) -> &'static [&'static str] {
        &["can"]
    }

    fn link_keys(&self, _word: &str) -> &'static [&'static str] {
        fields::CAN_LINK_KEYS
    }

    fn tag_keys(&self) -> &'static [&'static str] {
        fields::CAN_TAG_KEYS
    }

    fn link_schemas(&self, generator: &mut SchemaGenerator) -> Vec<Schema> {
        vec![generator.subschema_for::<CanLink>()]
    }

    fn tag_schema(&self, generator: &mut SchemaGenerator) -> Option<String> {
        generator.subschema_for::<CanTag>();
        Some(CanTag::schema_name().into_owned())
    }

    fn tag_words(&self, key: &str) -> Vec<&'static str> {
        if key == "byte_order" { words(fields::CAN_BYTE_ORDER) } else { Vec::new() }
    }

    fn read_link(&self, _word: &str, link: &Obj<'_>) -> ReadLink {
        let (settings, dbc) = read_link(link);
        ReadLink::new(settings, dbc)
    }

    fn read_address(
        &self,
        tag: &Obj<'_>,
        text: Text<'_>,
        parts: &[Part<'_>],
        link: &Link,
    ) -> Option<Box<dyn TagAddress>> {
        Some(Box::new(can_address::read(tag, text, parts, link.config.protocol.get()?, link.notes()?)?))
    }

    fn refuse_keys(&self, tag: &Obj<'_>, protocol: &str) {
        if tag.get("j1939_special_values").is_some() {
            let message = format!("j1939_special_values on a {protocol} link");
            tag.error(tag.span_of("j1939_special_values"), message, "remove it: only CAN links have J1939");
        }
    }

    fn check(&self, tags: &[TagConfig], links: &mut [Link], report: &Report) {
        can_sent::check(tags, links, report);
    }
}

impl LinkSettings for CanConfig {
    fn protocol(&self) -> &'static str {
        "can"
    }

    fn patience(&self) -> Nanos {
        self.connect_timeout
    }
}

fn read_link(link: &Obj<'_>) -> (CanConfig, LinkDbc) {
    let interface = link.required_text("interface", "the name of a CAN interface, such as \"can0\"");
    if let Some(interface) = interface {
        check_interface(link, interface);
    }
    let fd = link.flag("fd");
    let data_bitrate = link.opt_int(&fields::DATA_BITRATE);
    let bitrate = link.int(&fields::BITRATE);
    if data_bitrate.is_some() && !fd {
        link.error(link.span_of("data_bitrate"), "data_bitrate without fd", "set \"fd\": true, or remove it");
    }
    if data_bitrate.is_some_and(|data| data < bitrate) {
        let message = format!("data_bitrate is below the bitrate of {bitrate}");
        link.error(link.span_of("data_bitrate"), message, "allowed: at least bitrate");
    }
    let dbc = match link.text("dbc", "the name of a DBC file") {
        Some(text) => read_dbc(link, text),
        None => LinkDbc::None,
    };
    let mut config = CanConfig {
        interface: interface.map(|text| text.value).unwrap_or_default().into(),
        connect_timeout: CAN_OPEN_TIMEOUT,
        fd,
        bitrate: bitrate as u32,
        data_bitrate: data_bitrate.unwrap_or(fields::DATA_BITRATE.default.max(bitrate)) as u32,
        timestamps: link.choice("timestamps", fields::TIMESTAMPS).unwrap_or(CanTimestamps::Software),
        sampling: link.choice("sampling", fields::SAMPLING).unwrap_or(Sampling::Latest),
        j1939_special_values: link.opt_flag("j1939_special_values").unwrap_or(true),
        silent_after: link.opt_int(&fields::SILENT_AFTER_MS).map(Nanos::from_millis),
        transmit: Vec::new(),
    };
    let nodes = link.list("transmit", "messages");
    if nodes.len() > CAN_TRANSMITS_MAX {
        let message = format!("{} messages to send", nodes.len());
        link.error(link.span_of("transmit"), message, format!("allowed: {CAN_TRANSMITS_MAX}"));
    }
    for (index, node) in nodes.iter().enumerate().take(CAN_TRANSMITS_MAX) {
        let subject = format!("{}: transmit #{}", link.subject, index + 1);
        let Some(object) = Obj::open(link.cx, node, subject, fields::CAN_TRANSMIT_KEYS) else { continue };
        let Some(transmit) = can_transmit::read(&object, &config, &dbc) else { continue };
        if config.transmit.iter().any(|other| other.id == transmit.id) {
            object.error(object.span, "another entry already sends this message", "remove one of the two");
            continue;
        }
        config.transmit.push(transmit);
    }
    (config, dbc)
}

fn check_interface(link: &Obj<'_>, interface: Text<'_>) {
    let name = interface.value;
    let usable = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    if name.is_empty() || name.len() > fields::INTERFACE_BYTES_MAX || !name.chars().all(usable) || name.starts_with('.')
    {
        let help = format!("allowed: a network interface's name of 1 to {} characters", fields::INTERFACE_BYTES_MAX);
        link.error(interface.span, format!("interface is {}", quoted(name)), help);
    }
}

fn read_dbc(link: &Obj<'_>, text: Text<'_>) -> LinkDbc {
    let Some(file) = beside::read(link, "dbc", text, &[".dbc"]) else { return LinkDbc::Broken };
    match Dbc::read(&file.bytes) {
        Ok(dbc) => {
            dbc.left_out.warn(link.cx.report, &file.name, &link.subject);
            LinkDbc::Read(CanDbc { name: file.name.as_str().into(), dbc: Arc::new(dbc) })
        }
        Err(faults) => {
            beside::refuse(link.cx.report, &file.name, &link.subject, faults);
            LinkDbc::Broken
        }
    }
}
