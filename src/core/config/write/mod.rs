//! `"write"` of a tag: whether it is writable, and its limits.

pub mod schema;

use super::fields::{self, keys};
use super::kind::{AskedWrite, Link};
use super::model::{SensorConfig, TagAddress, WriteConfig, scalar};
use super::node::{Kind, Node};
use super::reader::{Obj, found};
use crate::config::kind::Protocols;
use crate::tag::{Nanos, ScalarType, Scaling};

/// Writes registers and reads them back.
pub const READ_WRITE_REGISTERS: u8 = 23;
const ALLOWED: &str = "true, false, or an object such as {\"min\": 0, \"max\": 100}";

/// Where the tag lies, and how its numbers are scaled.
pub struct Place<'a> {
    pub protocols: Protocols,
    pub link: &'a Link,
    pub address: &'a dyn TagAddress,
    pub scale: f64,
    pub offset: f64,
    pub sensor: Option<&'a SensorConfig>,
}

/// `None`: the tag is only read. `place` is `None` when it could not be read, which has been reported.
pub fn read(tag: &Obj<'_>, place: Option<Place<'_>>) -> Option<WriteConfig> {
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
                "allowed: a limit within it",
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
        write.error(write.span_of("min"), format!("min {min} is above max {max}"), "allowed: min of at most max");
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
    let Place { protocols, link, address, scale, offset, .. } = place;
    if let (Some(own), Some(write)) = (link.protocol, write) {
        protocols.others(own).for_each(|other| other.refuse_write_keys(write));
    }
    let asked = AskedWrite { tag, at: node.span, write, limits, link: &*link.config.protocol };
    if link.protocol.is_some_and(|own| !own.check_write(*address, &asked)) {
        return;
    }
    let numeric = !matches!(scalar(address.value_type()), None | Some(ScalarType::Bool));
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
        let help = "set what the machine tolerates; without limits, every number of the type can be written";
        tag.warning(node.span, format!("a writable number without {missing}"), help);
    }
    let Some((low, high)) = address.raw_range() else { return };
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
