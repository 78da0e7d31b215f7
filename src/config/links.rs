//! `"links"` of the tag files.

use std::collections::HashMap;

use super::bus::BusKind;
use super::can::LinkDbc;
use super::fields::{self, Addressing, Protocol, keys};
use super::modbus::{self, Transport};
use super::model::{BusDevice, LinkConfig, LinkProtocol, ModbusConfig, ModbusTransport, Source};
use super::names::{Letters, fault, quoted};
use super::node::Node;
use super::reader::{Cx, Obj, subject};
use super::{bus, can, canopen};
use crate::limits::LINKS_MAX;

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
    /// Of a CAN link.
    pub dbc: LinkDbc,
    /// Of a CANopen link: nodes whose data sheet cannot be read, which is reported.
    pub unread_sheets: Vec<u8>,
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
                    protocol: LinkProtocol::Modbus(modbus::defaults()),
                };
                let dbc = LinkDbc::None;
                let (addressing, unread_sheets) = (Addressing::Modicon, Vec::new());
                self.add(Link { config, addressing, dbc, unread_sheets, broken: true, used: true });
            }
            return;
        }
        let written = node.member("protocol").and_then(Node::as_text);
        let protocol = fields::PROTOCOLS.iter().find(|(name, _)| written == Some(*name)).map(|(_, protocol)| *protocol);
        let keys = match protocol {
            Some(Protocol::ModbusTcp) | None => keys::MODBUS_TCP_LINK,
            Some(Protocol::ModbusRtu) => keys::MODBUS_RTU_LINK,
            Some(Protocol::ModbusRtuTcp) => keys::MODBUS_RTU_TCP_LINK,
            Some(Protocol::Can) => keys::CAN_LINK,
            Some(Protocol::CanOpen) => keys::CANOPEN_LINK,
            Some(Protocol::Gpio) => keys::GPIO_LINK,
            Some(Protocol::I2c) => keys::I2C_LINK,
            Some(Protocol::Spi) => keys::SPI_LINK,
            Some(Protocol::Iio) => keys::IIO_LINK,
        };
        let Some(link) = Obj::open(cx, node, subject, keys) else { return };
        let name = read_name(&link, Letters::Ascii);
        let known = link.required_choice("protocol", fields::PROTOCOLS).is_some();
        let addressing = match protocol {
            Some(protocol) if !protocol.is_modbus() => Addressing::Raw,
            _ => link.choice("addressing", fields::ADDRESSING).unwrap_or(Addressing::Modicon),
        };
        link.words("description", fields::DESCRIPTION_BYTES_MAX);
        let mut dbc = LinkDbc::None;
        let mut unread_sheets = Vec::new();
        let protocol = match protocol.unwrap_or(Protocol::ModbusTcp) {
            Protocol::ModbusTcp => LinkProtocol::Modbus(modbus::read_link(&link, Transport::Tcp, addressing)),
            Protocol::ModbusRtu => LinkProtocol::Modbus(modbus::read_link(&link, Transport::Serial, addressing)),
            Protocol::ModbusRtuTcp => LinkProtocol::Modbus(modbus::read_link(&link, Transport::RtuTcp, addressing)),
            Protocol::Can => {
                let (config, read) = can::read_link(&link);
                dbc = read;
                LinkProtocol::Can(config)
            }
            Protocol::CanOpen => {
                let (config, unread) = canopen::read_link(&link);
                unread_sheets = unread;
                LinkProtocol::CanOpen(config)
            }
            Protocol::Gpio => LinkProtocol::Bus(bus::read_link(&link, BusKind::Gpio)),
            Protocol::I2c => LinkProtocol::Bus(bus::read_link(&link, BusKind::I2c)),
            Protocol::Spi => LinkProtocol::Bus(bus::read_link(&link, BusKind::Spi)),
            Protocol::Iio => LinkProtocol::Bus(bus::read_link(&link, BusKind::Iio)),
        };
        if let LinkProtocol::Modbus(modbus) = &protocol {
            self.check_port(&link, modbus);
        }
        if let LinkProtocol::CanOpen(own) = &protocol {
            self.check_network(&link, &own.interface);
        }
        if let LinkProtocol::Bus(own) = &protocol {
            self.check_device(&link, &own.device);
        }
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
        self.add(Link { config, addressing, dbc, unread_sheets, broken: !known, used: false });
    }

    /// Two links on one serial port would talk over each other; the second would never get it.
    fn check_port(&self, link: &Obj<'_>, modbus: &ModbusConfig) {
        let ModbusTransport::Serial(serial) = &modbus.transport else { return };
        let same = self.list.iter().find(|other| {
            let other = other.config.protocol.modbus().map(|other| &other.transport);
            matches!(other, Some(ModbusTransport::Serial(other)) if other.port == serial.port)
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

    /// A device has one thread: the second would never get it, or would break into what chips are told in several steps.
    fn check_device(&self, link: &Obj<'_>, device: &BusDevice) {
        let Some(path) = device.path().filter(|path| !path.as_os_str().is_empty()) else { return };
        let same = self.list.iter().find(
            |other| matches!(&other.config.protocol, LinkProtocol::Bus(other) if other.device.path() == Some(path)),
        );
        if let Some(other) = same {
            let name = quoted(&path.to_string_lossy());
            let message = format!("{name} is that of link {}, too", quoted(&other.config.name));
            link.error(link.span, message, "a device has one link; its chips or lines are told apart by the address");
        }
    }

    /// Two masters on one network would undo each other's work.
    fn check_network(&self, link: &Obj<'_>, interface: &str) {
        let same = self.list.iter().find(
            |other| matches!(&other.config.protocol, LinkProtocol::CanOpen(other) if &*other.interface == interface),
        );
        if let Some(other) = same.filter(|_| !interface.is_empty()) {
            let message =
                format!("interface {} is that of link {}, too", quoted(interface), quoted(&other.config.name));
            link.error(link.span_of("interface"), message, "a CANopen network has one link; its nodes are in its list");
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
