//! Tags on channels of chips that are known, on I2C and SPI, and how the chips are set.

use std::sync::Arc;

use super::super::model::LocalIoPoint;
use super::chips::{self, Chip, FULL_SCALES_V, Settings};
use super::point::{I2C_ALLOWED, Point, SPI_ALLOWED};
use crate::config::names::{guess, quoted};
use crate::config::reader::{Obj, Part, Text, list, span};
use crate::protocol::local_io::fields;
use crate::tag::ScalarType;

/// `chip.channel`.
pub fn read_chip(
    tag: &Obj<'_>,
    text: Text<'_>,
    part: Part<'_>,
    address: Option<u8>,
    written: Option<ScalarType>,
) -> Option<Point> {
    let (name, channel) = part.text.split_once('.').unwrap_or((part.text, ""));
    let on_i2c = address.is_some();
    let at = span(text, part);
    let Some(chip) = chips::find(name, on_i2c) else {
        let known: Vec<&str> = chips::names(on_i2c).collect();
        let guess = guess(name, known.iter().copied());
        let form = if on_i2c { I2C_ALLOWED } else { SPI_ALLOWED };
        let help = format!("allowed: {}{guess}; or a register, {form}", known.join(", "));
        tag.error(at, format!("the chip {} is unknown", quoted(name)), help);
        return None;
    };
    let Some(which) = chip.channel(channel) else {
        let channels: Vec<&str> = chip.channels.iter().map(|(name, _)| *name).collect();
        let guess = guess(channel, channels.iter().copied());
        let help = format!("allowed: {}{guess}", list(&channels));
        tag.error(at, format!("{name} has no channel {}", quoted(channel)), help);
        return None;
    };
    if let (Some(address), Some(range)) = (address, &chip.addresses)
        && !range.contains(&address)
    {
        let message = format!("a {name} cannot have the address {address:#04x}");
        tag.error(at, message, format!("allowed: {:#04x} to {:#04x}", range.start(), range.end()));
        return None;
    }
    for key in ["command", "delay_us", "at", "width", "shift", "mask", "bit", "byte_order", "write_command"] {
        if tag.get(key).is_some() {
            tag.error(
                tag.span_of(key),
                format!("{key} with a known chip"),
                "remove it: the chip's register map \
                defines it",
            );
        }
    }
    let settings = read_settings(tag, chip)?;
    let (program, formula) = chip.program(address.unwrap_or(0), which, &settings);
    let ty = written.unwrap_or(chip.scalar());
    if (ty == ScalarType::Bool) != (chip.scalar() == ScalarType::Bool) {
        let message = format!("{name}.{channel} is not a {}", ty.name());
        tag.error(tag.span_of("data_type"), message, format!("allowed: {}, or none", chip.scalar().name()));
        return None;
    }
    Some((LocalIoPoint::Register { program: Arc::new(program), formula, write: None }, ty))
}

/// "chip": what can be set of it.
fn read_settings(tag: &Obj<'_>, chip: &Chip) -> Option<Settings> {
    let mut settings = chip.defaults();
    let Some(node) = tag.get("chip") else { return Some(settings) };
    let object = Obj::open(tag.cx, node, format!("{}: chip", tag.subject), fields::CHIP_KEYS)?;
    if let Some(key) = fields::CHIP_KEYS.iter().find(|key| object.get(key).is_some() && !chip.settings.contains(key)) {
        let allowed = if chip.settings.is_empty() { "nothing".to_owned() } else { list(chip.settings) };
        object.error(object.span_of(key), format!("{} has no {key}", chip.name), format!("allowed: {allowed}"));
        return None;
    }
    settings.shunt_ohm =
        if object.get("shunt_ohm").is_some() { object.real(&fields::SHUNT_OHM) } else { settings.shunt_ohm };
    if object.get("reference_v").is_some() {
        settings.reference_v = object.real(&fields::REFERENCE_V);
    }
    if object.get("full_scale_v").is_some() {
        let volts = object.finite("full_scale_v")?;
        if !FULL_SCALES_V.contains(&volts) {
            let allowed: Vec<String> = FULL_SCALES_V.iter().map(f64::to_string).collect();
            let message = format!("full_scale_v is {volts}");
            object.error(object.span_of("full_scale_v"), message, format!("allowed: {}", allowed.join(", ")));
            return None;
        }
        settings.full_scale_v = volts;
    }
    if object.get("rate_sps").is_some() {
        let rate = object.opt_int(&fields::RATE_SPS)?;
        if !chip.rates().contains(&rate) {
            let allowed: Vec<String> = chip.rates().iter().map(u64::to_string).collect();
            let message = format!("rate_sps is {rate}");
            object.error(object.span_of("rate_sps"), message, format!("allowed: {}", allowed.join(", ")));
            return None;
        }
        settings.rate_sps = rate;
    }
    Some(settings)
}
