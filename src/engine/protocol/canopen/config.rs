//! CANopen links.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::eds::Eds;
use super::eds::pdo::{Pdo, PdoDirection};
use super::fields::INTERFACE_BYTES_MAX;
use super::model::{
    CanOpenAccess, CanOpenAddress, CanOpenConfig, CanOpenNode, CanOpenSource, MasterHeartbeat, NodeWatching, PdoSource,
};
use super::schema::{CanOpenLink, CanOpenTag};
use super::value::object_number;
use super::{address as canopen_address, fields, tag, value as canopen_value};
use crate::config::beside;
use crate::config::beside::LeftOut;
use crate::config::diagnostic::Report;
use crate::config::fields::words;
use crate::config::kind::{AskedWrite, Link, Protocol, ReadLink};
use crate::config::model::{LinkSettings, TagAddress, TagConfig};
use crate::config::names::quoted;
use crate::config::node::Node;
use crate::config::reader::{Obj, Part, Text, found};
use crate::limits::{CAN_OPEN_TIMEOUT, CANOPEN_NODE_PDOS_MAX};
use crate::tag::{Nanos, Object};

const INTERFACE_ALLOWED: &str = "the name of a CAN interface, such as \"can0\"";

/// CANopen networks.
pub struct CanOpen;

impl Protocol for CanOpen {
    fn words(&self) -> &'static [&'static str] {
        &["canopen"]
    }

    fn link_keys(&self, _word: &str) -> &'static [&'static str] {
        fields::CANOPEN_LINK_KEYS
    }

    fn tag_keys(&self) -> &'static [&'static str] {
        fields::CANOPEN_TAG_KEYS
    }

    fn link_schemas(&self, generator: &mut SchemaGenerator) -> Vec<Schema> {
        vec![generator.subschema_for::<CanOpenLink>()]
    }

    fn tag_schema(&self, generator: &mut SchemaGenerator) -> Option<String> {
        generator.subschema_for::<CanOpenTag>();
        Some(CanOpenTag::schema_name().into_owned())
    }

    fn tag_words(&self, key: &str) -> Vec<&'static str> {
        if key == "data_type" { words(fields::CANOPEN_DATA_TYPE) } else { Vec::new() }
    }

    fn read_link(&self, _word: &str, link: &Obj<'_>) -> ReadLink {
        let (settings, unread_sheets) = read_link(link);
        ReadLink::new(settings, unread_sheets)
    }

    fn check_beside(&self, link: &Obj<'_>, own: &dyn LinkSettings, others: &[Link]) {
        if let Some(own) = own.get::<CanOpenConfig>() {
            check_network(link, &own.interface, others);
        }
    }

    fn read_address(
        &self,
        tag: &Obj<'_>,
        text: Text<'_>,
        parts: &[Part<'_>],
        link: &Link,
    ) -> Option<Box<dyn TagAddress>> {
        let unread: &Vec<u8> = link.notes()?;
        Some(Box::new(canopen_address::read(tag, text, parts, link.config.protocol.get()?, unread)?))
    }

    fn check_write(&self, address: &dyn TagAddress, asked: &AskedWrite<'_>) -> bool {
        address.get().is_none_or(|address| tag::check_write(address, asked))
    }

    fn refuse_write_keys(&self, write: &Obj<'_>) {
        if write.get("via").is_some() {
            write.error(write.span_of("via"), "via on a link that is not CANopen", "remove via");
        }
    }

    fn check(&self, tags: &[TagConfig], links: &mut [Link], report: &Report) {
        check_identifiers(tags, links, report);
    }
}

impl LinkSettings for CanOpenConfig {
    fn protocol(&self) -> &'static str {
        "canopen"
    }

    fn patience(&self) -> Nanos {
        self.connect_timeout
    }
}

/// Two masters on one network would undo each other's work.
fn check_network(link: &Obj<'_>, interface: &str, others: &[Link]) {
    let is_same = |other: &CanOpenConfig| &*other.interface == interface;
    let same = others.iter().find(|other| other.config.protocol.get().is_some_and(is_same));
    if let Some(other) = same.filter(|_| !interface.is_empty()) {
        let message = format!("interface {} is also that of link {}", quoted(interface), quoted(&other.config.name));
        link.error(link.span_of("interface"), message, "a CANopen network has one link that lists all of its nodes");
    }
}

/// A link, and the nodes whose data sheet cannot be read, which is reported.
fn read_link(link: &Obj<'_>) -> (CanOpenConfig, Vec<u8>) {
    let interface = link.required_text("interface", INTERFACE_ALLOWED);
    if let Some(text) = interface
        && (text.value.is_empty()
            || text.value.len() > INTERFACE_BYTES_MAX
            || text.value.chars().any(|c| c == '/' || c.is_whitespace() || c.is_control()))
    {
        link.error(text.span, format!("interface is {}", quoted(text.value)), format!("allowed: {INTERFACE_ALLOWED}"));
    }
    let timeout = Nanos::from_millis(link.int(&fields::SDO_TIMEOUT_MS));
    let reply_expected = Nanos((link.real(&fields::SDO_REPLY_MS) * 1e6) as u64);
    if reply_expected > timeout {
        let message = format!("expected_reply_ms is longer than the timeout of {} ms", timeout.0 / 1_000_000);
        link.error(link.span_of("expected_reply_ms"), message, "allowed: at most timeout_ms");
    }
    let mut nodes: Vec<CanOpenNode> = Vec::new();
    let mut unread = Vec::new();
    let list = link.list("nodes", "nodes");
    if list.is_empty() {
        link.error(link.span_of("nodes"), "no nodes", "allowed: a list of nodes, such as \"nodes\": [{\"id\": 5}]");
    }
    for (index, node) in list.iter().enumerate() {
        let Some((read, is_unread)) = read_node(link, node, index) else { continue };
        unread.extend(is_unread.then_some(read.id));
        if nodes.iter().any(|other| other.id == read.id) {
            link.error(node.span, format!("node {} is declared twice", read.id), "");
            continue;
        }
        nodes.push(read);
    }
    nodes.sort_by_key(|node| node.id);
    let sync = link.opt_int(&fields::SYNC_MS).map(Nanos::from_millis);
    let config = CanOpenConfig {
        interface: interface.map(|text| text.value).unwrap_or_default().into(),
        connect_timeout: CAN_OPEN_TIMEOUT,
        bit_rate: link.int(&fields::CAN_BITRATE) as u32,
        sync,
        heartbeat: read_heartbeat(link, &nodes),
        timeout,
        reply_expected,
        nodes,
    };
    (config, unread)
}

fn read_heartbeat(link: &Obj<'_>, nodes: &[CanOpenNode]) -> Option<MasterHeartbeat> {
    let id = link.opt_int(&fields::MASTER_ID).map(|id| id as u8);
    let period = link.opt_int(&fields::MASTER_HEARTBEAT_MS).map(Nanos::from_millis);
    if let Some(id) = id.filter(|id| nodes.iter().any(|node| node.id == *id)) {
        link.error(link.span_of("master_id"), format!("master_id {id} is also that of a node"), "");
    }
    match (id, period) {
        (Some(id), Some(period)) => Some(MasterHeartbeat { id, period }),
        (None, None) => None,
        _ => {
            let (there, missing) =
                if id.is_some() { ("master_id", "heartbeat_ms") } else { ("heartbeat_ms", "master_id") };
            let message = format!("{there} without {missing}");
            link.error(
                link.span_of(there),
                message,
                "the heartbeat of the master needs both; each node has its own heartbeat_ms",
            );
            None
        }
    }
}

/// Once all tags are known: what two nodes would both send could not be told apart, which is an error where a tag is read
/// from it.
fn check_identifiers(tags: &[TagConfig], links: &[Link], report: &Report) {
    for (at, link) in links.iter().enumerate() {
        let Some(config) = link.config.protocol.get::<CanOpenConfig>() else { continue };
        let of_node = |node: &CanOpenNode| match (node.pdos, &node.eds) {
            (PdoSource::Eds, Some(eds)) => eds.pdos(PdoDirection::Transmit, node.id).read,
            _ => Vec::new(),
        };
        let pdos: Vec<Vec<Pdo>> = config.nodes.iter().map(of_node).collect();
        let read: BTreeSet<(usize, u16)> =
            tags.iter().filter(|tag| tag.link == at).filter_map(|tag| pdo_of(tag, &pdos)).collect();
        let mut taken: BTreeMap<u16, (usize, u16)> = BTreeMap::new();
        for (node, pdo) in pdos.iter().enumerate().flat_map(|(node, pdos)| pdos.iter().map(move |pdo| (node, pdo))) {
            let Some(other) = taken.insert(pdo.cob_id, (node, pdo.number)).filter(|(other, _)| *other != node) else {
                continue;
            };
            let id = |node: usize| config.nodes.get(node).map_or(0, |node| node.id);
            let message = format!(
                "TPDO {} of node {} has the identifier 0x{:03X}, as TPDO {} of node {}",
                pdo.number,
                id(node),
                pdo.cob_id,
                other.1,
                id(other.0)
            );
            let (subject, source) = (format!("link {}", quoted(&link.config.name)), link.config.source.clone());
            let help = "correct it in the DCF of one of them, or read their tags with \"access\": \"sdo\"";
            match read.contains(&other) || read.contains(&(node, pdo.number)) {
                true => report.error(source, &subject, message, help),
                false => report.warning(source, &subject, message, help),
            }
        }
    }
}

/// The PDO that a tag is read from, as the plan takes the first that carries its object.
fn pdo_of(tag: &TagConfig, pdos: &[Vec<Pdo>]) -> Option<(usize, u16)> {
    let address = tag.address.get::<CanOpenAddress>()?;
    let CanOpenSource::Object(object) = address.source else { return None };
    if address.access == CanOpenAccess::Sdo || address.array.is_some() {
        return None;
    }
    let carries = |pdo: &&Pdo| pdo.fields.iter().any(|field| field.object == object);
    pdos.get(address.node)?.iter().find(carries).map(|pdo| (address.node, pdo.number))
}

/// A node, and whether it has a data sheet that cannot be read.
fn read_node(link: &Obj<'_>, node: &Node<'_>, index: usize) -> Option<(CanOpenNode, bool)> {
    let subject = format!("{}: node #{}", link.subject, index + 1);
    let node = Obj::open(link.cx, node, subject, fields::CANOPEN_NODE_KEYS)?;
    node.words("description", fields::DESCRIPTION_BYTES_MAX);
    let id = node.required_int(&fields::NODE_ID).map(|id| id as u8);
    let named = node.text("eds", "the name of an EDS or DCF file");
    let file = named.and_then(|text| beside::read(&node, "eds", text, &[".eds", ".dcf"]));
    let eds = file.as_ref().and_then(|file| read_eds(&node, file));
    let is_unread = named.is_some() && eds.is_none();
    let pdos = read_pdos(&node, named.is_some());
    let read = CanOpenNode {
        id: id?,
        watching: read_watching(&node),
        start: node.opt_flag("start").unwrap_or(true),
        reset: node.flag("reset"),
        verify: node.opt_flag("verify").unwrap_or(true),
        pdos,
        boot: read_boot(&node, eds.as_deref(), is_unread),
        block: node.opt_flag("block").unwrap_or(true),
        eds,
    };
    if read.pdos == PdoSource::Eds
        && let (Some(eds), Some(file)) = (&read.eds, &file)
    {
        let mut left_out = LeftOut::default();
        for (direction, kind) in [(PdoDirection::Transmit, "TPDO"), (PdoDirection::Receive, "RPDO")] {
            for pdo in eds.pdos(direction, read.id).left_out {
                left_out.add(format!("{kind} {} of node {}", pdo.number, read.id), pdo.why);
            }
        }
        left_out.warn(node.cx.report, &file.name, &link.subject);
    }
    Some((read, is_unread))
}

fn read_eds(node: &Obj<'_>, file: &beside::SideFile) -> Option<Arc<Eds>> {
    match Eds::read(&file.bytes) {
        Ok(eds) => {
            eds.left_out.warn(node.cx.report, &file.name, &node.subject);
            Some(Arc::new(eds))
        }
        Err(faults) => {
            beside::refuse(node.cx.report, &file.name, &node.subject, faults);
            None
        }
    }
}

fn read_pdos(node: &Obj<'_>, has_sheet: bool) -> PdoSource {
    let tpdos = node.opt_int(&fields::TPDOS).map(|n| n as u8);
    let rpdos = node.opt_int(&fields::RPDOS).map(|n| n as u8);
    let source = node.choice("pdos", fields::PDOS);
    for key in ["tpdos", "rpdos"] {
        if node.get(key).is_some() && !matches!(source, Some(PdoSource::Node { .. })) {
            node.error(node.span_of(key), format!("{key} without \"pdos\": \"node\""), "remove it");
        }
    }
    match source {
        Some(PdoSource::Eds) if !has_sheet => {
            node.error(
                node.span_of("pdos"),
                "pdos is eds, but eds is missing",
                "add \"eds\" with the name of a file, or use \"node\"",
            );
            PdoSource::None
        }
        Some(PdoSource::Node { tpdos: sent, rpdos: received }) => {
            PdoSource::Node { tpdos: tpdos.unwrap_or(sent), rpdos: rpdos.unwrap_or(received) }
        }
        Some(source) => source,
        None if has_sheet => PdoSource::Eds,
        None => PdoSource::None,
    }
}

fn read_watching(node: &Obj<'_>) -> NodeWatching {
    let heartbeat = node.opt_int(&fields::NODE_HEARTBEAT_MS);
    if let Some(guarding) = node.get("guarding") {
        if heartbeat.is_some_and(|ms| ms > 0) {
            node.error(
                node.span_of("guarding"),
                "guarding and heartbeat_ms",
                "a node uses one of the two (CiA 301, 7.2.8.3.2)",
            );
        }
        let subject = format!("{}: guarding", node.subject);
        let Some(guarding) = Obj::open(node.cx, guarding, subject, fields::GUARDING_KEYS) else {
            return NodeWatching::Nothing;
        };
        let period = guarding.required_int(&fields::GUARD_TIME_MS).map(Nanos::from_millis);
        let life = guarding.int(&fields::LIFE) as u8;
        return period.map_or(NodeWatching::Nothing, |period| NodeWatching::Guarding { period, life });
    }
    match heartbeat.unwrap_or(fields::NODE_HEARTBEAT_MS.default) {
        0 => NodeWatching::Nothing,
        ms => NodeWatching::Heartbeat(Nanos::from_millis(ms)),
    }
}

fn read_boot(node: &Obj<'_>, eds: Option<&Eds>, is_unread: bool) -> Vec<(Object, Vec<u8>)> {
    let mut boot = Vec::new();
    for (at, entry) in node.list("boot", "objects to write").iter().enumerate() {
        let subject = format!("{}: boot #{}", node.subject, at + 1);
        let Some(entry) = Obj::open(node.cx, entry, subject, fields::BOOT_KEYS) else { continue };
        let index = entry.required("index", "an index such as \"0x6040\"").and_then(|value| {
            let index = object_number(value, 0xFFFF);
            if index.is_none() {
                entry.error(value.span, format!("index is {}", found(value)), "allowed: \"0x0001\" to \"0xFFFF\"");
            }
            index
        });
        let sub = entry.int(&fields::SUB_INDEX) as u8;
        let (Some(index), Some(value)) = (index, entry.required("value", "what is written")) else { continue };
        let object = Object { index, sub };
        // The data sheet may say what is missing here.
        if is_unread && entry.get("data_type").is_none() {
            continue;
        }
        if let Some(bytes) = canopen_value::encode(&entry, object, value, eds) {
            boot.push((object, bytes));
        }
    }
    boot
}

const _: () = assert!(fields::TPDOS.max as usize <= CANOPEN_NODE_PDOS_MAX);
const _: () = assert!(fields::RPDOS.max as usize <= CANOPEN_NODE_PDOS_MAX);
