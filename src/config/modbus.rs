//! Modbus links of the tag files.

use super::address;
use super::fields::{self, Addressing, keys};
use super::host;
use super::model::{HostPort, ModbusConfig, ModbusTransport, Table, Tolerance, UnreadableRange};
use super::names::quoted;
use super::node::Kind;
use super::reader::{Obj, found};
use super::serial;
use crate::limits::SERIAL_OPEN_TIMEOUT;
use crate::tag::{Nanos, UnitId};

/// What carries the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Serial,
    RtuTcp,
}

pub(super) fn defaults() -> ModbusConfig {
    ModbusConfig {
        transport: ModbusTransport::Tcp(HostPort { host: String::new(), port: fields::PORT.default as u16 }),
        timeout: Nanos::from_millis(fields::TIMEOUT_MS.default),
        connect_timeout: Nanos::from_millis(fields::CONNECT_TIMEOUT_MS.default),
        pipeline: fields::PIPELINE.default as u8,
        reply_expected: nanos_of_millis(fields::EXPECTED_REPLY_MS.default),
        turnaround: Nanos::ZERO,
        unit_pause: Nanos::ZERO,
        unit_change_pause: Nanos::ZERO,
        connect_delay: Nanos::ZERO,
        tolerance: Tolerance::STRICT,
        registers_max: fields::MAX_REGISTERS.default as u16,
        bits_max: fields::MAX_BITS.default as u16,
        unreadable: Vec::new(),
    }
}

/// Milliseconds with a fraction, rounded to nanoseconds.
pub(super) fn nanos_of_millis(ms: f64) -> Nanos {
    Nanos((ms * 1e6).round() as u64)
}

pub(super) fn read_link(link: &Obj<'_>, transport: Transport, addressing: Addressing) -> ModbusConfig {
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
