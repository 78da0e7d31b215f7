//! `"links"` of the tag files.

use std::collections::HashMap;

use super::address;
use super::fields::{self, Addressing, Protocol, keys};
use super::host;
use super::model::{HostPort, LinkConfig, LinkProtocol, ModbusConfig, ModbusTransport, Source, Table, UnreadableRange};
use super::names::{Letters, fault, quoted};
use super::node::{Kind, Node};
use super::reader::{Cx, Obj, found, subject};
use super::serial;
use crate::limits::{LINKS_MAX, SERIAL_OPEN_TIMEOUT};
use crate::tag::{Nanos, UnitId};

/// The links of all files.
#[derive(Default)]
pub(super) struct Links {
    pub list: Vec<Link>,
    by_name: HashMap<String, usize>,
}

/// A link, and what its tags need to know to be read.
pub(super) struct Link {
    pub config: LinkConfig,
    pub addressing: Addressing,
    /// Its protocol could not be read, so nothing is known about its tags' addresses.
    pub broken: bool,
    pub used: bool,
}

impl Links {
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|link| &*link.config.name)
    }

    /// Reads one entry of `"links"`.
    pub fn read<'c>(&mut self, cx: Cx<'c>, node: &'c Node<'c>, index: usize) {
        let subject = subject("link", node, index);
        // Of a protocol that is not known, no other key can be judged.
        if let Some(text) = node.member("protocol").and_then(Node::as_text)
            && !fields::PROTOCOLS.iter().any(|(name, _)| *name == text)
        {
            let known: Vec<&str> = fields::PROTOCOLS.iter().map(|(name, _)| *name).collect();
            let guess = super::names::guess(text, known.iter().copied());
            let span = node.member("protocol").map_or(node.span, |protocol| protocol.span);
            let help = format!("allowed: {}{guess}", known.join(", "));
            cx.report.error(cx.source(span), &subject, format!("protocol {} is unknown", quoted(text)), help);
            if let Some(name) = node.member("name").and_then(Node::as_text) {
                let config = LinkConfig {
                    name: name.to_owned(),
                    source: cx.source(node.span),
                    protocol: LinkProtocol::Modbus(modbus_defaults()),
                };
                self.add(Link { config, addressing: Addressing::Modicon, broken: true, used: true });
            }
            return;
        }
        let written = node.member("protocol").and_then(Node::as_text);
        let protocol = fields::PROTOCOLS.iter().find(|(name, _)| written == Some(*name)).map(|(_, protocol)| *protocol);
        let keys = match protocol {
            Some(Protocol::Tcp) | None => keys::MODBUS_TCP_LINK,
            Some(Protocol::Rtu) => keys::MODBUS_RTU_LINK,
            Some(Protocol::RtuTcp) => keys::MODBUS_RTU_TCP_LINK,
        };
        let Some(link) = Obj::open(cx, node, subject, keys) else { return };
        let name = read_name(&link, Letters::Ascii);
        let known = link.required_choice("protocol", fields::PROTOCOLS).is_some();
        let addressing = link.choice("addressing", fields::ADDRESSING).unwrap_or(Addressing::Modicon);
        let modbus = read_modbus(&link, protocol.unwrap_or(Protocol::Tcp), addressing);
        self.check_port(&link, &modbus);
        let protocol = LinkProtocol::Modbus(modbus);
        let Some(name) = name else { return };
        if let Some(first) = self.find(&name).and_then(|at| self.list.get(at)) {
            already(&link, &first.config.source);
            return;
        }
        if self.list.len() == LINKS_MAX {
            link.error(link.span, format!("more than {LINKS_MAX} links"), "");
            return;
        }
        let config = LinkConfig { name, source: cx.source(link.span), protocol };
        self.add(Link { config, addressing, broken: !known, used: false });
    }

    /// Two links on one serial port would talk over each other; the second would never get it.
    fn check_port(&self, link: &Obj<'_>, modbus: &ModbusConfig) {
        let ModbusTransport::Serial(serial) = &modbus.transport else { return };
        let same = self.list.iter().find(|other| match &other.config.protocol {
            LinkProtocol::Modbus(other) => {
                matches!(&other.transport, ModbusTransport::Serial(other) if other.port == serial.port)
            }
        });
        if let Some(other) = same.filter(|_| !serial.port.as_os_str().is_empty()) {
            let message = format!(
                "port {} is that of link {}, too",
                quoted(&serial.port.to_string_lossy()),
                quoted(&other.config.name)
            );
            link.error(link.span_of("port"), message, "a line has one link; its units are told apart by the address");
        }
    }

    fn add(&mut self, link: Link) {
        if !self.by_name.contains_key(&link.config.name) && self.list.len() < LINKS_MAX {
            self.by_name.insert(link.config.name.clone(), self.list.len());
            self.list.push(link);
        }
    }
}

/// Reads `"name"`; the same for links, groups and tags. A name with a fault is handed out all the same, so that
/// what refers to it is not reported as well.
pub(super) fn read_name(object: &Obj<'_>, letters: Letters) -> Option<String> {
    let name = object.required_text("name", "a name")?;
    if let Some(fault) = fault(name.value, letters) {
        object.error(name.span, format!("the name {fault}"), letters.allowed());
    }
    Some(name.value.to_owned())
}

/// Reports a name that was given before.
pub(super) fn already(object: &Obj<'_>, first: &Source) {
    let message = format!("declared twice; the first stands at {}:{}:{}", first.file, first.line, first.column);
    object.error(object.span_of("name"), message, "rename or remove one of the two");
}

fn modbus_defaults() -> ModbusConfig {
    ModbusConfig {
        transport: ModbusTransport::Tcp(HostPort { host: String::new(), port: fields::PORT.default as u16 }),
        timeout: Nanos::from_millis(fields::TIMEOUT_MS.default),
        connect_timeout: Nanos::from_millis(fields::CONNECT_TIMEOUT_MS.default),
        pipeline: fields::PIPELINE.default as u8,
        reply_expected: nanos_of_millis(fields::EXPECTED_REPLY_MS.default),
        turnaround: Nanos::ZERO,
        unit_pause: Nanos::ZERO,
        registers_max: fields::MAX_REGISTERS.default as u16,
        bits_max: fields::MAX_BITS.default as u16,
        unreadable: Vec::new(),
    }
}

/// Milliseconds with a fraction, rounded to nanoseconds.
pub(super) fn nanos_of_millis(ms: f64) -> Nanos {
    Nanos((ms * 1e6).round() as u64)
}

fn read_modbus(link: &Obj<'_>, protocol: Protocol, addressing: Addressing) -> ModbusConfig {
    link.words("description", fields::DESCRIPTION_BYTES_MAX);
    let (timeout, reply) = match protocol {
        Protocol::Tcp => (&fields::TIMEOUT_MS, &fields::EXPECTED_REPLY_MS),
        Protocol::Rtu => (&fields::TIMEOUT_MS, &fields::EXPECTED_REPLY_SERIAL_MS),
        Protocol::RtuTcp => (&fields::TIMEOUT_RTU_TCP_MS, &fields::EXPECTED_REPLY_RTU_TCP_MS),
    };
    let timeout = Nanos::from_millis(link.int(timeout));
    let mut reply_expected = nanos_of_millis(link.real(reply));
    if link.get("expected_reply_ms").is_none() {
        reply_expected = reply_expected.min(timeout);
    }
    if reply_expected > timeout {
        let message = format!("expected_reply_ms is longer than the timeout of {} ms", timeout.0 / 1_000_000);
        link.error(link.span_of("expected_reply_ms"), message, "allowed: at most timeout_ms");
    }
    let line = protocol != Protocol::Tcp;
    let pause = |field| if line { nanos_of_millis(link.real(field)) } else { Nanos::ZERO };
    ModbusConfig {
        transport: match protocol {
            Protocol::Tcp => ModbusTransport::Tcp(read_host(link)),
            Protocol::RtuTcp => ModbusTransport::RtuOverTcp(read_host(link)),
            Protocol::Rtu => ModbusTransport::Serial(serial::read(link)),
        },
        timeout,
        connect_timeout: match protocol {
            Protocol::Rtu => SERIAL_OPEN_TIMEOUT,
            _ => Nanos::from_millis(link.int(&fields::CONNECT_TIMEOUT_MS)),
        },
        pipeline: if line { 1 } else { link.int(&fields::PIPELINE) as u8 },
        reply_expected,
        turnaround: pause(&fields::TURNAROUND_MS),
        unit_pause: pause(&fields::UNIT_PAUSE_MS),
        registers_max: link.int(&fields::MAX_REGISTERS) as u16,
        bits_max: link.int(&fields::MAX_BITS) as u16,
        unreadable: read_unreadable(link, addressing),
    }
}

fn read_host(link: &Obj<'_>) -> HostPort {
    let host = link.required_text("host", "a host name or an IP address");
    if let Some(host) = host
        && let Some((wrong, help)) = host::fault(host.value)
    {
        link.error(host.span, format!("host {} {wrong}", quoted(host.value)), help);
    }
    HostPort { host: host.map(|host| host.value.to_owned()).unwrap_or_default(), port: link.int(&fields::PORT) as u16 }
}

fn read_unreadable(link: &Obj<'_>, addressing: Addressing) -> Vec<UnreadableRange> {
    let mut ranges = Vec::new();
    for (index, node) in link.list("unreadable", "ranges").iter().enumerate() {
        let subject = format!("{}: unreadable #{}", link.subject, index + 1);
        let Some(range) = Obj::open(link.cx, node, subject, keys::UNREADABLE) else { continue };
        let unit = range.opt_int(&fields::UNIT).map(|unit| UnitId(unit as u8));
        let table = range.required_int(&fields::FUNCTION).and_then(|f| Table::from_read_function(f as u8));
        let end = |key: &str| {
            let node = range.required(key, "a register number")?;
            let table = table?;
            let text = match &node.kind {
                Kind::Int(number) => number.to_string(),
                // Leading zeros, which references to coils have, survive only in a text.
                Kind::Text(text) => text.to_string(),
                _ => {
                    range.error(node.span, format!("{key} is {}", found(node)), "allowed: a register number");
                    return None;
                }
            };
            match address::register(&text, table, addressing) {
                Ok(register) => Some(register.offset),
                Err(fault) => {
                    range.error(node.span, format!("{key}: {}", fault.message), fault.help);
                    None
                }
            }
        };
        let (first, last) = (end("from"), end("to"));
        let (Some(table), Some(first), Some(last)) = (table, first, last) else { continue };
        if first > last {
            range.error(range.span_of("from"), "from lies behind to", "allowed: from at most to, both are included");
        }
        ranges.push(UnreadableRange { unit, table, first, last });
    }
    ranges
}
