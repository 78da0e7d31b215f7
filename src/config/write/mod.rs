//! `"write"` of a tag: that it may be written, and within which limits.

mod canopen;
pub(super) mod schema;

use super::fields::{self, keys};
use super::model::{
    FieldType, LinkProtocol, ModbusAddress, ModbusConfig, ModbusTransport, SensorConfig, Table, TagAddress, WriteConfig,
};
use super::node::{Kind, Node};
use super::reader::{Obj, found};
use super::text::Span;
use crate::limits::{MODBUS_READ_WRITE_REGISTERS_MAX, MODBUS_WRITE_BITS_MAX, MODBUS_WRITE_REGISTERS_MAX};
use crate::tag::{Nanos, ScalarType, Scaling, ValueType};

/// Writes registers and reads them back.
const READ_WRITE_REGISTERS: u8 = 23;
const ALLOWED: &str = "true, false, or an object such as {\"min\": 0, \"max\": 100}";

/// Where the tag lies, and how its numbers are scaled.
pub(super) struct Place<'a> {
    pub link: &'a LinkProtocol,
    pub address: &'a TagAddress,
    pub scale: f64,
    pub offset: f64,
    pub sensor: Option<&'a SensorConfig>,
}

/// `None`: the tag is only read. `place` is `None` when it could not be read, which has been reported.
pub(super) fn read(tag: &Obj<'_>, place: Option<Place<'_>>) -> Option<WriteConfig> {
    let node = tag.get("write")?;
    let (write, mut limits) = match &node.kind {
        Kind::Bool(false) => return None,
        Kind::Bool(true) => (None, defaults()),
        Kind::Object(_) => {
            let write = Obj::open(tag.cx, node, tag.subject.clone(), keys::WRITE)?;
            let limits = read_limits(&write);
            (Some(write), limits)
        }
        _ => {
            tag.error(node.span, format!("write is {}", found(node)), format!("allowed: {ALLOWED}"));
            return None;
        }
    };
    if let Some(place) = place {
        if let Some(sensor) = place.sensor {
            keep_in_signal(tag, node, sensor, write.as_ref(), &mut limits);
        }
        check_place(tag, node, &place, write.as_ref(), &limits);
    }
    Some(limits)
}

/// What drives an output of a standard signal stays within the signal: beyond its ends, it would tell of a fault.
fn keep_in_signal(
    tag: &Obj<'_>,
    node: &Node<'_>,
    sensor: &SensorConfig,
    write: Option<&Obj<'_>>,
    limits: &mut WriteConfig,
) {
    let [one, other] = sensor.range;
    let (low, high) = (one.min(other), one.max(other));
    for (key, limit) in [("min", limits.min), ("max", limits.max)] {
        if let Some(limit) = limit.filter(|limit| !(low..=high).contains(limit)) {
            let at = write.map_or(node.span, |write| write.span_of(key));
            tag.error(
                at,
                format!("{key} is {limit}, and the signal's range is {low} to {high}"),
                "allowed: what lies in it",
            );
        }
    }
    limits.min.get_or_insert(low);
    limits.max.get_or_insert(high);
}

fn defaults() -> WriteConfig {
    WriteConfig {
        min: None,
        max: None,
        step_max: None,
        interval_min: Nanos::from_millis(fields::MIN_INTERVAL_MS.default),
        read_back: false,
        timeout: Nanos::from_millis(fields::WRITE_TIMEOUT_MS.default),
        read_write_in_one: false,
        function: None,
        by_pdo: false,
    }
}

fn read_limits(write: &Obj<'_>) -> WriteConfig {
    let (min, max) = (write.finite("min"), write.finite("max"));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        write.error(write.span_of("min"), format!("min {min} is above max {max}"), "allowed: min up to max");
    }
    let step_max = write.finite("max_step");
    if let Some(step) = step_max.filter(|step| *step <= 0.0) {
        let help = "allowed: a number above 0, or no max_step";
        write.error(write.span_of("max_step"), format!("max_step is {step}"), help);
    }
    let function = write.opt_int(&fields::WRITE_FUNCTION).map(|function| function as u8);
    WriteConfig {
        min,
        max,
        step_max,
        interval_min: Nanos::from_millis(write.int(&fields::MIN_INTERVAL_MS)),
        read_back: write.flag("read_back"),
        timeout: Nanos::from_millis(write.int(&fields::WRITE_TIMEOUT_MS)),
        read_write_in_one: function == Some(READ_WRITE_REGISTERS),
        function: function.filter(|function| *function != READ_WRITE_REGISTERS),
        by_pdo: write.choice("via", fields::WRITE_VIA).unwrap_or(false),
    }
}

/// What depends on where the tag lies and on its type.
fn check_place(tag: &Obj<'_>, node: &Node<'_>, place: &Place<'_>, write: Option<&Obj<'_>>, limits: &WriteConfig) {
    let Place { link, address, scale, offset, .. } = place;
    if let (TagAddress::Modbus(modbus), LinkProtocol::Modbus(config)) = (address, link) {
        if let Some(write) = write.filter(|write| write.get("function").is_some()) {
            check_function(write, modbus, config, limits);
        }
        check_modbus(tag, node.span, modbus, limits);
    } else if let Some(write) = write.filter(|write| write.get("function").is_some()) {
        write.error(write.span_of("function"), "function on a link that is not Modbus", "remove it");
    }
    if let (TagAddress::CanOpen(own), LinkProtocol::CanOpen(link)) = (address, link) {
        if !canopen::check(tag, node.span, own, link, limits) {
            return;
        }
    } else if let Some(write) = write.filter(|write| write.get("via").is_some()) {
        write.error(write.span_of("via"), "via on a link that is not CANopen", "remove via");
    }
    if let TagAddress::Bus(bus) = address
        && !bus.is_writable()
    {
        let help = "allowed: lines of \"direction\": \"out\"; registers on I2C as a whole, without shift and mask, on SPI \
                    with \"write_command\"; IIO channels out_…";
        tag.error(node.span, "write on a tag that is only read", help);
        return;
    }
    let numeric = is_numeric(address);
    if let Some(write) = write.filter(|_| !numeric) {
        for key in ["min", "max", "max_step"].into_iter().filter(|key| write.get(key).is_some()) {
            let help = "remove it: only numbers have a range";
            write.error(write.span_of(key), format!("{key} on a bool or a string"), help);
        }
        return;
    }
    if !numeric {
        return;
    }
    if limits.min.is_none() || limits.max.is_none() {
        let missing = match (limits.min, limits.max) {
            (None, None) => "min and max",
            (None, _) => "min",
            _ => "max",
        };
        let help = "set what the machine behind it bears; without it, every number of the type is written";
        tag.warning(node.span, format!("a number that may be written without {missing}"), help);
    }
    let Some((low, high)) = raw_range(address) else { return };
    let ends = [low, high].map(|raw| Scaling::new(*scale, *offset).apply(raw));
    let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
    for (key, limit) in [("min", limits.min), ("max", limits.max)] {
        if let (Some(limit), Some(write)) = (limit, write)
            && !(low..=high).contains(&limit)
        {
            let message = format!("{key} is {limit}, and the tag holds {low} to {high}");
            write.error(write.span_of(key), message, format!("allowed: {low} to {high}"));
        }
    }
}

fn check_modbus(tag: &Obj<'_>, at: Span, address: &ModbusAddress, limits: &WriteConfig) {
    let function = address.table.read_function();
    if matches!(address.table, Table::DiscreteInputs | Table::InputRegisters) {
        let message = format!("write on a tag of function {function}: Modbus only reads it");
        tag.error(at, message, "allowed: tags of function 1 (coils) and 3 (holding registers)");
        return;
    }
    let (most, entries) = match address.table.is_bits() {
        true => (MODBUS_WRITE_BITS_MAX, "coils"),
        false if limits.read_write_in_one => (MODBUS_READ_WRITE_REGISTERS_MAX, "registers"),
        false => (MODBUS_WRITE_REGISTERS_MAX, "registers"),
    };
    if address.count > most {
        let message = format!("{} {entries} do not fit one write", address.count);
        tag.error(at, message, format!("allowed: at most {most} {entries}"));
    }
}

/// Which function a tag may be written with depends on what lies there.
fn check_function(write: &Obj<'_>, address: &ModbusAddress, link: &ModbusConfig, limits: &WriteConfig) {
    let at = write.span_of("function");
    let function = if limits.read_write_in_one { READ_WRITE_REGISTERS } else { limits.function.unwrap_or_default() };
    let is_one = address.count == 1;
    let is_part = address.field.is_part_of_register();
    let (allowed, of): (&[u8], &str) = match address.table {
        Table::Coils if is_one => (&[5, 15], "one coil"),
        Table::Coils => (&[15], "several coils"),
        Table::HoldingRegisters if is_part => (&[22, 6, 16], "a part of a register"),
        Table::HoldingRegisters if is_one => (&[6, 16, 23], "one register"),
        Table::HoldingRegisters => (&[16, 23], "several registers"),
        // Said elsewhere: they are only read.
        Table::DiscreteInputs | Table::InputRegisters => return,
    };
    if !allowed.contains(&function) {
        let allowed: Vec<String> = allowed.iter().map(u8::to_string).collect();
        let help = format!("allowed: {} for {of}; without it, the right one is taken", allowed.join(", "));
        write.error(at, format!("function is {function}"), help);
    } else if is_part && function != 22 && address.unit.0 == 0 && !matches!(link.transport, ModbusTransport::Tcp(_)) {
        let help = "allowed: 22; a register of all devices cannot be read to write it back";
        write.error(at, format!("function {function} for a part of a register of unit 0"), help);
    }
}

fn is_numeric(address: &TagAddress) -> bool {
    match scalar(address) {
        None | Some(ScalarType::Bool) => false,
        Some(_) => true,
    }
}

/// The type of one element before it is scaled; `None`: text.
fn scalar(address: &TagAddress) -> Option<ScalarType> {
    let of = |ty: &ValueType| match ty {
        ValueType::Scalar(ty) | ValueType::Array { of: ty, .. } => Some(*ty),
        ValueType::Text { .. } => None,
    };
    match address {
        TagAddress::Modbus(address) if address.field.is_text() => None,
        TagAddress::Modbus(address) => Some(address.field.scalar()),
        TagAddress::Can(address) => of(&address.ty),
        TagAddress::CanOpen(address) => of(&address.ty),
        TagAddress::Bus(address) => of(&address.ty),
        TagAddress::Diagnostics(signal) => Some(signal.ty()),
    }
}

/// The numbers that the device can hold there, before they are scaled.
fn raw_range(address: &TagAddress) -> Option<(f64, f64)> {
    if let TagAddress::Modbus(ModbusAddress { field: FieldType::Bcd { registers }, .. }) = address {
        return Some((0.0, 10f64.powi(4 * i32::from(*registers)) - 1.0));
    }
    if let TagAddress::Modbus(address) = address {
        match (address.field, address.field.whole_bits()) {
            (FieldType::Float16, _) => return Some((-65_504.0, 65_504.0)),
            (_, Some((bits, true))) => {
                return Some((-(2f64.powi(i32::from(bits) - 1)), 2f64.powi(i32::from(bits) - 1) - 1.0));
            }
            (_, Some((bits, false))) => return Some((0.0, 2f64.powi(bits.into()) - 1.0)),
            _ => {}
        }
    }
    Some(match scalar(address)? {
        ScalarType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        ScalarType::Uint16 => (0.0, u16::MAX.into()),
        ScalarType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        ScalarType::Uint32 => (0.0, u32::MAX.into()),
        ScalarType::Int64 => (i64::MIN as f64, i64::MAX as f64),
        ScalarType::Uint64 => (0.0, u64::MAX as f64),
        ScalarType::Float32 => (f32::MIN.into(), f32::MAX.into()),
        ScalarType::Float64 | ScalarType::Bool => return None,
    })
}
