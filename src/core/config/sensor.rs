//! `"sensor"` of a tag: a transmitter with a standard signal at an analogue input, on any kind of link.

use super::fields::{self, keys};
use super::model::{SensorConfig, TagAddress};
use super::node::{Kind, Node};
use super::reader::{Obj, found};
use crate::tag::{ScalarType, ValueType};

/// `None`: there is none, or it is reported. `address` is `None` when it could not be read, which has been reported.
pub fn read(tag: &Obj<'_>, address: Option<&dyn TagAddress>) -> Option<SensorConfig> {
    let node = tag.get("sensor")?;
    let sensor = Obj::open(tag.cx, node, format!("{}: sensor", tag.subject), keys::SENSOR)?;
    for key in ["scale", "offset"].into_iter().filter(|key| tag.get(key).is_some()) {
        tag.error(tag.span_of(key), format!("{key} beside sensor"), "remove it: the sensor's range defines the scale");
    }
    if let Some((what, help)) = address.and_then(no_transmitter) {
        tag.error(tag.span_of("sensor"), format!("sensor on {what}"), help);
        return None;
    }
    let signal = sensor.required_choice("type", fields::SIGNAL);
    let ends = [sensor.finite("raw_min"), sensor.finite("raw_max")];
    let raw = match (ends, signal) {
        ([Some(low), Some(high)], _) => Some([low, high]),
        ([None, None], Some(signal)) if sensor.get("raw_min").is_none() && sensor.get("raw_max").is_none() => {
            Some(signal.ends())
        }
        _ => {
            if sensor.get("raw_min").is_none() != sensor.get("raw_max").is_none() {
                let help = "allowed: both, the raw values at the ends of the signal, or neither if the value is in \
                    mA or V";
                sensor.error(sensor.span, "only one of raw_min and raw_max", help);
            }
            None
        }
    };
    let range = read_range(&sensor);
    let (signal, raw, range) = (signal?, raw?, range?);
    if raw[0] == raw[1] {
        sensor.error(sensor.span_of("raw_min"), "raw_min and raw_max are the same", "allowed: two different numbers");
        return None;
    }
    let config = SensorConfig { signal, raw, range };
    let (scale, offset) = config.scale_and_offset();
    if !scale.is_normal() || !offset.is_finite() {
        let help = "allowed: ends that a float64 can distinguish";
        sensor.error(sensor.span, "the raw values and the range are too far apart to be scaled", help);
        return None;
    }
    if let Some(address) = address {
        check_raw(&sensor, address, &config);
    }
    Some(config)
}

fn read_range(sensor: &Obj<'_>) -> Option<[f64; 2]> {
    let allowed = "the values at the signal's ends, such as [0, 150]";
    let node = sensor.required("range", allowed)?;
    let number = |node: &Node<'_>| match node.kind {
        Kind::Int(number) => Some(number as f64),
        Kind::Float(number) => Some(number).filter(|number| number.is_finite()),
        _ => None,
    };
    if let Kind::Array(ends) = &node.kind
        && let [low, high] = &ends[..]
        && let (Some(low), Some(high)) = (number(low), number(high))
        && low != high
    {
        return Some([low, high]);
    }
    let message = match &node.kind {
        Kind::Array(ends) => format!("range has {} entries that are not two different numbers", ends.len()),
        _ => format!("range is {}", found(node)),
    };
    sensor.error(node.span, message, format!("allowed: {allowed}"));
    None
}

/// What is no analogue input, and what to do about it.
fn no_transmitter(address: &dyn TagAddress) -> Option<(&'static str, &'static str)> {
    if let Some(fault) = address.no_transmitter() {
        return Some(fault);
    }
    match address.value_type() {
        ValueType::Scalar(ScalarType::Bool) => Some(("a bool", "remove it")),
        ValueType::Scalar(_) => None,
        ValueType::Array { .. } => Some(("an array", "allowed: one tag for each input")),
        ValueType::Text { .. } => Some(("a string", "remove it")),
    }
}

/// The raw values of the signal have to fit what lies there; those that tell a broken wire should.
fn check_raw(sensor: &Obj<'_>, address: &dyn TagAddress, config: &SensorConfig) {
    let Some((what, low, high)) = address.signal_range() else { return };
    let holds = |raw: f64| (low..=high).contains(&raw);
    for (key, raw) in ["raw_min", "raw_max"].into_iter().zip(config.raw).filter(|(_, raw)| !holds(*raw)) {
        if sensor.get(key).is_some() {
            let message = format!("{key} is {raw}, and {what} holds {low} to {high}");
            sensor.error(sensor.span_of(key), message, format!("allowed: {low} to {high}"));
        } else {
            let message = format!("the signal in mA or V goes to {raw}, and {what} holds {low} to {high}");
            sensor.error(sensor.span, message, "allowed: raw_min and raw_max, the raw values at the signal's ends");
        }
    }
    if !config.raw.iter().all(|raw| holds(*raw)) {
        return;
    }
    let [broken, shorted] = config.signal.limits().failed.map(|share| config.raw_at(share));
    let help = "an input that clips at its ends hides this fault: use a format of the module with over-range, a \
                data_type that holds it (int16 where counts go below 0), or the module's own diagnostics";
    if config.signal.has_live_zero() && !holds(broken) {
        let message = format!("a broken wire cannot be detected: it reads {broken:.1} or less, {what} ends at {low}");
        sensor.warning(sensor.span, message, help);
    }
    if !holds(shorted) {
        let end = if shorted > high { high } else { low };
        let message = format!(
            "too high a signal cannot be detected: it reads {shorted:.1} or more, {what} ends at \
            {end}"
        );
        sensor.warning(sensor.span, message, help);
    }
}
