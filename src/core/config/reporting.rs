//! Report by exception: the settings of a tag or its group.

use super::fields;
use super::model::TagConfig;
use super::node::{Kind, Node};
use super::reader::{Obj, found};
use crate::config::model::{Reporting, Suppress};
use crate::tag::{Nanos, ScalarType, ValueType};

/// Which samples are told, as it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Every,
    Change,
    Deadband(f64),
    /// Of the tag's range (OPC 10000-8, section 6.2).
    Percent(f64),
}

/// What one object says; what a group says goes for those of its tags that say nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said {
    mode: Option<Mode>,
    max_silence: Option<Nanos>,
    suppress: Option<Suppress>,
    keep_last: Option<bool>,
}

impl Said {
    pub fn read(object: &Obj<'_>) -> Said {
        let given = ["report", "deadband", "deadband_percent"].into_iter().filter(|key| object.get(key).is_some());
        let given: Vec<&str> = given.collect();
        if let [one, .., other] = given[..] {
            let message = format!("{one} and {other} together");
            object.error(object.span_of(other), message, "allowed: one of report, deadband and deadband_percent");
        }
        let report = object.choice("report", fields::REPORT).map(|report| match report {
            fields::Report::Every => Mode::Every,
            fields::Report::Change => Mode::Change,
        });
        let deadband = object.get("deadband").map(|_| Mode::Deadband(object.real(&fields::DEADBAND)));
        let percent = object.get("deadband_percent").map(|_| Mode::Percent(object.real(&fields::DEADBAND_PERCENT)));
        Said {
            mode: report.or(deadband).or(percent),
            max_silence: object.opt_int(&fields::MAX_SILENCE_MS).map(Nanos::from_millis),
            suppress: object.choice("suppress", fields::SUPPRESS),
            keep_last: object.opt_flag("keep_last"),
        }
    }

    /// Tells a silence that no scan of this period can keep.
    pub fn check_silence(&self, object: &Obj<'_>, period: Nanos) {
        let Some(silence) = self.max_silence.filter(|silence| silence.0 < period.0 * 2) else { return };
        let (silence, period) = (silence.0 as f64 / 1e6, period.0 as f64 / 1e6);
        let message = format!("max_silence_ms is {silence}, and the scan period is {period} ms");
        object.error(object.span_of("max_silence_ms"), message, format!("allowed: {} or more", (period * 2.0).ceil()));
    }
}

/// Which samples of a tag are told; `None`: every one. What does not suit the tag is reported.
/// `group` is what its group says, `period` the group's.
pub fn of_tag(tag: &Obj<'_>, own: Said, config: &TagConfig, group: Said, period: Nanos) -> Option<Reporting> {
    own.check_silence(tag, period);
    let ty = config.value_type();
    let range = read_range(tag, ty);
    let deadband = match own.mode {
        None | Some(Mode::Every | Mode::Change) => None,
        Some(Mode::Deadband(_)) => Some("deadband"),
        Some(Mode::Percent(_)) => Some("deadband_percent"),
    };
    if let Some(key) = deadband.filter(|_| !is_number(ty)) {
        let message = format!("{key} on a {}", kind(ty));
        tag.error(tag.span_of(key), message, "remove it, or set \"report\": \"change\"");
        return None;
    }
    if own.keep_last == Some(true) && ty.is_long() {
        tag.error(tag.span_of("keep_last"), format!("keep_last on a {}", kind(ty)), "allowed: on single values");
    }
    let deadband = match own.mode.or(group.mode).unwrap_or(Mode::Every) {
        Mode::Every => {
            told_for_nothing(tag);
            return None;
        }
        Mode::Change => 0.0,
        // A group's deadband goes for its numbers; of all else it tells changes.
        Mode::Deadband(_) | Mode::Percent(_) if !is_number(ty) => 0.0,
        Mode::Deadband(deadband) => deadband,
        Mode::Percent(percent) => {
            let Some([low, high]) = range else {
                if tag.get("range").is_none() {
                    let at = tag.span_of("deadband_percent");
                    let help = "allowed: \"range\": [lowest, highest] in the tag's unit";
                    tag.error(at, "range is missing: deadband_percent refers to it", help);
                }
                return None;
            };
            (high - low) * percent / 100.0
        }
    };
    Some(Reporting {
        deadband,
        max_silence: own.max_silence.or(group.max_silence).unwrap_or_else(|| {
            Nanos::from_millis(fields::MAX_SILENCE_MS.default).max(Nanos(period.0 * fields::SILENT_SCANS))
        }),
        suppress: own.suppress.or(group.suppress).unwrap_or(Suppress::Ring),
        keep_last: own.keep_last.or(group.keep_last).unwrap_or(false) && !ty.is_long(),
    })
}

/// Keys that say how samples are held back, where none are.
fn told_for_nothing(tag: &Obj<'_>) {
    for key in ["max_silence_ms", "suppress", "keep_last"] {
        if tag.get(key).is_some() {
            let help = "remove it, or set deadband, deadband_percent or \"report\": \"change\"";
            tag.error(tag.span_of(key), format!("{key} on a tag whose every sample is reported"), help);
        }
    }
}

/// Whether a distance between two values has a meaning.
fn is_number(ty: ValueType) -> bool {
    match ty {
        ValueType::Scalar(of) | ValueType::Array { of, .. } => of != ScalarType::Bool,
        ValueType::Text { .. } => false,
    }
}

fn kind(ty: ValueType) -> &'static str {
    match ty {
        ValueType::Text { .. } => "string",
        ValueType::Scalar(ScalarType::Bool) => "bool",
        ValueType::Scalar(_) => "number",
        ValueType::Array { of: ScalarType::Bool, .. } => "list of bool",
        ValueType::Array { .. } => "list of numbers",
    }
}

/// The lowest and the highest value that are usual, or that a transmitter is made for; what is wrong has been reported.
pub(super) fn usual_range(tag: &Obj<'_>, config: &TagConfig) -> Option<[f64; 2]> {
    let written = || match &tag.get("range")?.kind {
        Kind::Array(elements) => <[f64; 2]>::try_from(elements.iter().map(number).collect::<Option<Vec<f64>>>()?).ok(),
        _ => None,
    };
    config.sensor.as_ref().map(|sensor| sensor.range).or_else(written)
}

/// `"range"`: the lowest and the highest value that are usual, in the tag's unit (OPC 10000-8: EURange).
fn read_range(tag: &Obj<'_>, ty: ValueType) -> Option<[f64; 2]> {
    let node = tag.get("range")?;
    if !is_number(ty) {
        tag.error(node.span, format!("range on a {}", kind(ty)), "remove it: only numbers have a range");
        return None;
    }
    let allowed = "allowed: two numbers, the lower first, such as [0, 100]";
    let numbers = match &node.kind {
        Kind::Array(elements) => elements.iter().map(number).collect::<Option<Vec<f64>>>(),
        _ => None,
    };
    match numbers.as_deref() {
        Some(&[low, high]) if low < high && (high - low).is_finite() => Some([low, high]),
        Some(&[low, high]) => {
            tag.error(node.span, format!("range is from {low} to {high}"), allowed);
            None
        }
        _ => {
            tag.error(node.span, format!("range is {}", found(node)), allowed);
            None
        }
    }
}

fn number(node: &Node<'_>) -> Option<f64> {
    match node.kind {
        Kind::Int(number) => Some(number as f64),
        Kind::Float(number) if number.is_finite() => Some(number),
        _ => None,
    }
}
