//! "sensor" of a tag: a transmitter with a standard signal behind an analogue input.

use super::super::fields::{self, keys};
use super::super::model::SensorConfig;
use super::super::node::{Kind, Node};
use super::super::reader::{Obj, found};
use crate::tag::ScalarType;

/// `ty` is that of the raw value.
pub(super) fn read(tag: &Obj<'_>, ty: ScalarType) -> Option<SensorConfig> {
    let node = tag.get("sensor")?;
    let sensor = Obj::open(tag.cx, node, format!("{}: sensor", tag.subject), keys::SENSOR)?;
    for key in ["scale", "offset"].into_iter().filter(|key| tag.get(key).is_some()) {
        tag.error(tag.span_of(key), format!("{key} beside sensor"), "remove it: the sensor's range says what is meant");
    }
    if ty == ScalarType::Bool {
        tag.error(tag.span_of("sensor"), "sensor on a bool", "remove it");
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
                let help = "allowed: both, the raw values at the signal's ends, or none where the value is in mA or V";
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
    Some(SensorConfig { signal, raw, range })
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
        Kind::Array(ends) => format!("range has {} entries that are no two different numbers", ends.len()),
        _ => format!("range is {}", found(node)),
    };
    sensor.error(node.span, message, format!("allowed: {allowed}"));
    None
}
