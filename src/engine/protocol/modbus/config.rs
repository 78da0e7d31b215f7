//! Modbus links of the tag files.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::fields::Addressing;
use super::model::{HostPort, ModbusConfig, ModbusTransport, Table, Tolerance, UnreadableRange};
use super::schema::{ModbusRtuLink, ModbusRtuTcpLink, ModbusTag, ModbusTcpLink};
use super::{address as modbus_address, fields, overlap, registers as address, serial, tag};
use crate::config::diagnostic::Report;
use crate::config::host;
use crate::config::kind::{AskedWrite, Link, Protocol, ReadLink};
use crate::config::model::{LinkSettings, TagAddress, TagConfig};
use crate::config::names::quoted;
use crate::config::node::Kind;
use crate::config::reader::{Obj, Part, Text, found, nanos_of_millis};
use crate::limits::SERIAL_OPEN_TIMEOUT;
use crate::tag::{Nanos, UnitId};

/// Modbus over TCP, on serial lines, and through serial servers.
pub struct Modbus;

impl Protocol for Modbus {
    fn words(&self) -> &'static [&'static str] {
        &["modbus_tcp", "modbus_rtu", "modbus_rtu_tcp"]
    }

    fn link_keys(&self, word: &str) -> &'static [&'static str] {
        match Transport::of(word) {
            Transport::Tcp => fields::MODBUS_TCP_LINK_KEYS,
            Transport::Serial => fields::MODBUS_RTU_LINK_KEYS,
            Transport::RtuTcp => fields::MODBUS_RTU_TCP_LINK_KEYS,
        }
    }

    fn tag_keys(&self) -> &'static [&'static str] {
        fields::MODBUS_TAG_KEYS
    }

    fn needs_data_type(&self) -> bool {
        true
    }

    fn link_schemas(&self, generator: &mut SchemaGenerator) -> Vec<Schema> {
        vec![
            generator.subschema_for::<ModbusTcpLink>(),
            generator.subschema_for::<ModbusRtuLink>(),
            generator.subschema_for::<ModbusRtuTcpLink>(),
        ]
    }

    fn tag_schema(&self, generator: &mut SchemaGenerator) -> Option<String> {
        generator.subschema_for::<ModbusTag>();
        Some(ModbusTag::schema_name().into_owned())
    }

    fn read_link(&self, word: &str, link: &Obj<'_>) -> ReadLink {
        let addressing = link.choice("addressing", fields::ADDRESSING).unwrap_or(Addressing::Modicon);
        ReadLink::new(read_link(link, Transport::of(word), addressing), addressing)
    }

    fn check_beside(&self, link: &Obj<'_>, own: &dyn LinkSettings, others: &[Link]) {
        if let Some(own) = own.get() {
            check_port(link, own, others);
            check_host(link, own, others);
        }
    }

    fn read_address(
        &self,
        tag: &Obj<'_>,
        text: Text<'_>,
        parts: &[Part<'_>],
        link: &Link,
    ) -> Option<Box<dyn TagAddress>> {
        let (settings, addressing) = (link.config.protocol.get()?, *link.notes()?);
        Some(Box::new(modbus_address::read(tag, text, parts, settings, addressing)?))
    }

    fn check_write(&self, address: &dyn TagAddress, asked: &AskedWrite<'_>) -> bool {
        if let Some(address) = address.get() {
            tag::check_write(address, asked);
        }
        true
    }

    fn refuse_keys(&self, tag: &Obj<'_>, protocol: &str) {
        for key in ["byte", "encoding"].into_iter().filter(|key| tag.get(key).is_some()) {
            let message = format!("{key} on a {protocol} link");
            tag.error(tag.span_of(key), message, "remove it: only Modbus links have registers");
        }
    }

    fn refuse_write_keys(&self, write: &Obj<'_>) {
        if write.get("function").is_some() {
            write.error(write.span_of("function"), "function on a link that is not Modbus", "remove it");
        }
    }

    fn check(&self, tags: &[TagConfig], links: &mut [Link], report: &Report) {
        overlap::check(tags, links, report);
    }
}

impl LinkSettings for ModbusConfig {
    fn protocol(&self) -> &'static str {
        match self.transport {
            ModbusTransport::Tcp(_) => "modbus_tcp",
            ModbusTransport::Serial(_) => "modbus_rtu",
            ModbusTransport::RtuOverTcp(_) => "modbus_rtu_tcp",
        }
    }

    /// Until it counts as silent.
    fn patience(&self) -> Nanos {
        self.connect_timeout + self.connect_delay + Nanos(self.timeout.0 * 4)
    }

    fn reply_expected(&self) -> Option<Nanos> {
        Some(self.reply_expected)
    }

    fn expect_reply(&mut self, expected: Nanos) {
        self.reply_expected = expected;
    }
}

/// What carries the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp,
    Serial,
    RtuTcp,
}

impl Transport {
    fn of(word: &str) -> Transport {
        match word {
            "modbus_rtu" => Transport::Serial,
            "modbus_rtu_tcp" => Transport::RtuTcp,
            _ => Transport::Tcp,
        }
    }
}

fn read_link(link: &Obj<'_>, transport: Transport, addressing: Addressing) -> ModbusConfig {
    let (timeout, reply) = match transport {
        Transport::Tcp => (&fields::TIMEOUT_MS, &fields::EXPECTED_REPLY_MS),
        Transport::Serial => (&fields::TIMEOUT_MS, &fields::EXPECTED_REPLY_SERIAL_MS),
        Transport::RtuTcp => (&fields::TIMEOUT_RTU_TCP_MS, &fields::EXPECTED_REPLY_RTU_TCP_MS),
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
    let line = transport != Transport::Tcp;
    let pauses = [&fields::TURNAROUND_MS, &fields::UNIT_PAUSE_MS, &fields::UNIT_CHANGE_PAUSE_MS];
    let [turnaround, unit_pause, unit_change_pause] = pauses.map(|field| nanos_of_millis(link.real(field)));
    let any_transaction = !line && link.flag("any_transaction_id");
    let pipeline = if line { 1 } else { link.int(&fields::PIPELINE) as u8 };
    if pipeline > 1 {
        let set = pauses.iter().zip([turnaround, unit_pause, unit_change_pause]);
        let set = set.filter(|(_, pause)| *pause > Nanos::ZERO).map(|(field, _)| field.key);
        set.chain(any_transaction.then_some("any_transaction_id")).for_each(|key| {
            let message = format!("{key} with a pipeline of {pipeline} requests");
            link.error(link.span_of(key), message, "allowed: with \"pipeline\": 1, one request at a time");
        });
    }
    ModbusConfig {
        transport: match transport {
            Transport::Tcp => ModbusTransport::Tcp(read_host(link)),
            Transport::RtuTcp => ModbusTransport::RtuOverTcp(read_host(link)),
            Transport::Serial => ModbusTransport::Serial(serial::read(link)),
        },
        timeout,
        connect_timeout: match transport {
            Transport::Serial => SERIAL_OPEN_TIMEOUT,
            _ => Nanos::from_millis(link.int(&fields::CONNECT_TIMEOUT_MS)),
        },
        pipeline,
        reply_expected,
        turnaround,
        unit_pause,
        unit_change_pause,
        connect_delay: Nanos::from_millis(link.int(&fields::CONNECT_DELAY_MS)),
        tolerance: Tolerance {
            any_unit: link.flag("any_unit_id"),
            any_transaction,
            any_function: link.flag("any_read_function"),
            longer_replies: link.flag("longer_replies"),
        },
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
        let Some(range) = Obj::open(link.cx, node, subject, fields::UNREADABLE_KEYS) else { continue };
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
            range.error(range.span_of("from"), "from is above to", "allowed: from is at most to; both are included");
        }
        ranges.push(UnreadableRange { unit, table, first, last });
    }
    ranges
}

/// Two links on one serial port would talk over each other; the second would never get it.
fn check_port(link: &Obj<'_>, modbus: &ModbusConfig, others: &[Link]) {
    let ModbusTransport::Serial(serial) = &modbus.transport else { return };
    let same = others.iter().find(|other| {
        let other = other.config.protocol.get::<ModbusConfig>().map(|other| &other.transport);
        matches!(other, Some(ModbusTransport::Serial(other)) if other.port == serial.port)
    });
    if let Some(other) = same.filter(|_| !serial.port.as_os_str().is_empty()) {
        let message = format!(
            "port {} is also that of link {}",
            quoted(&serial.port.to_string_lossy()),
            quoted(&other.config.name)
        );
        link.error(link.span_of("port"), message, "a serial line has one link; the address selects the unit");
    }
}

/// Two links to one device share it as two masters would; many devices have room for one connection alone, and each
/// then takes it from the other.
fn check_host(link: &Obj<'_>, modbus: &ModbusConfig, others: &[Link]) {
    let Some(own) = modbus.transport.host().filter(|own| !own.host.is_empty()) else { return };
    let same = others.iter().find(|other| {
        let other = other.config.protocol.get::<ModbusConfig>().and_then(|other| other.transport.host());
        other.is_some_and(|other| other.port == own.port && other.host.eq_ignore_ascii_case(&own.host))
    });
    if let Some(other) = same {
        let message = format!(
            "{}:{} is also that of link {}: some devices accept one connection only, and close it when the next one \
             connects",
            own.host,
            own.port,
            quoted(&other.config.name)
        );
        let help = "for such a device, put all tags on one link; the address selects the unit";
        link.warning(link.span_of("host"), message, help);
    }
}
