//! Decoding beside the type: `"not_available"`, `"allow_nan"`, `"scale_from"`.

use std::collections::HashMap;
use std::sync::Arc;

use super::diagnostic::Report;
use super::model::{DecodingConfig, TagAddress, TagConfig};
use super::names::{guess, quoted};
use super::node::{Kind, Node};
use super::reader::{Obj, found};
use super::text::Source;
use crate::config::model::Raw;
use crate::limits::NOT_AVAILABLE_MAX;
use crate::tag::{ScalarType, Texts, ValueType};

/// What a tag's keys say; the texts of its values come when its type is known.
pub fn read(tag: &Obj<'_>, address: Option<&dyn TagAddress>) -> DecodingConfig {
    let not_available = not_available(tag, address).unwrap_or_default();
    let allow_nan = tag.flag("allow_nan");
    if let Some(address) = address.filter(|_| tag.get("allow_nan").is_some()) {
        let at = tag.span_of("allow_nan");
        if let Some((message, help)) = address.no_nan() {
            tag.error(at, message, help);
        }
        match address.value_type() {
            _ if address.no_nan().is_some() => {}
            ValueType::Scalar(of) | ValueType::Array { of, .. }
                if matches!(of, ScalarType::Float32 | ScalarType::Float64) => {}
            _ => tag.error(at, "allow_nan on a tag that is not a float", "remove it: other types cannot hold NaN"),
        }
    }
    let scale_from = tag.text("scale_from", "the name of a tag").map(|name| Arc::from(name.value));
    if let (Some(_), Some(address)) = (&scale_from, address) {
        check_scaled(tag, address);
    }
    DecodingConfig { not_available, allow_nan, texts: Texts::default(), scale_from }
}

fn check_scaled(tag: &Obj<'_>, address: &dyn TagAddress) {
    let at = tag.span_of("scale_from");
    if let Err((message, help)) = address.takes_scale_from() {
        tag.error(at, message, help);
        return;
    }
    if tag.get("sensor").is_some() {
        tag.error(at, "scale_from beside sensor", "remove it: the sensor's range defines the scale");
    }
    if tag.get("write").is_some_and(|write| !matches!(write.kind, Kind::Bool(false))) {
        let help = "remove write: the device may have changed the scale since it was read";
        tag.error(at, "scale_from on a writable tag", help);
    }
}

impl Raw {
    /// What SunSpec has where a point is not implemented (SunSpec Device Information Model Specification, section 4.2).
    fn sunspec(self) -> Option<u64> {
        match self {
            Raw::Whole { bits: bits @ (16 | 32 | 64), signed: true } => Some((i64::MIN >> (64 - bits)) as u64),
            Raw::Whole { bits: bits @ (16 | 32 | 64), signed: false } => Some(u64::MAX >> (64 - bits)),
            Raw::Single => Some(f32::NAN.to_bits().into()),
            Raw::Double => Some(f64::NAN.to_bits()),
            // One that is empty.
            Raw::Text => Some(0),
            Raw::Whole { .. } | Raw::Bcd(_) | Raw::Half => None,
        }
    }

    /// The raw bits of a number, or of a pattern of bits.
    fn value(self, node: &Node<'_>) -> Option<u64> {
        let whole = match node.kind {
            Kind::Int(number) => Some(number),
            Kind::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(number as i128),
            _ => None,
        };
        let float = match node.kind {
            Kind::Int(number) => Some(number as f64),
            Kind::Float(number) => Some(number),
            _ => None,
        };
        let pattern = match &node.kind {
            Kind::Text(text) => text
                .strip_prefix("0x")
                .or_else(|| text.strip_prefix("0X"))
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|digits| u64::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        match self {
            Raw::Whole { bits, signed } => {
                let unused = 64 - u32::from(bits.clamp(1, 64));
                let extended = |raw: u64| if signed { ((raw << unused) as i64 >> unused) as u64 } else { raw };
                let (min, max) = self.range()?;
                let own = whole.filter(|number| (min..=max).contains(number)).map(|number| number as u64);
                own.or_else(|| pattern.filter(|raw| *raw <= u64::MAX >> unused).map(extended))
            }
            Raw::Bcd(_) => {
                let (min, max) = self.range()?;
                whole.filter(|number| (min..=max).contains(number)).map(|number| number as u64)
            }
            Raw::Half => float.map(|number| (number as f32).to_bits().into()),
            Raw::Single => {
                let pattern = pattern.filter(|raw| u32::try_from(*raw).is_ok());
                float.map(|number| (number as f32).to_bits().into()).or(pattern)
            }
            Raw::Double => float.map(f64::to_bits).or(pattern),
            Raw::Text => None,
        }
    }

    fn range(self) -> Option<(i128, i128)> {
        match self {
            Raw::Whole { bits, signed: true } => Some((-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)),
            Raw::Whole { bits, signed: false } => Some((0, (1i128 << bits) - 1)),
            Raw::Bcd(digits) => Some((0, 10i128.pow(digits) - 1)),
            _ => None,
        }
    }

    fn allowed(self) -> String {
        let of_sunspec = if self.sunspec().is_some() { ", \"sunspec\"" } else { "" };
        match (self, self.range()) {
            (Raw::Bcd(_), Some((min, max))) => format!("allowed: a raw value from {min} to {max}, or a list of them"),
            (_, Some((min, max))) => format!(
                "allowed: a raw value from {min} to {max}, its bits such as \"0x80\"{of_sunspec}, or a list of them"
            ),
            (Raw::Text, _) => "allowed: \"sunspec\": an empty string means that there is no value".to_owned(),
            _ => format!("allowed: a number{of_sunspec}, or a list of them; NaN always means that there is no value"),
        }
    }
}

fn not_available(tag: &Obj<'_>, address: Option<&dyn TagAddress>) -> Option<Arc<[u64]>> {
    let node = tag.get("not_available")?;
    let address = address?;
    let Some(raw) = address.raw() else {
        let help = "remove it: allowed on numbers of Modbus, CAN and CANopen, and on strings of Modbus";
        tag.error(node.span, "not_available on a tag of another kind", help);
        return None;
    };
    let nodes = match &node.kind {
        Kind::Array(nodes) => &nodes[..],
        _ => std::slice::from_ref(node),
    };
    if nodes.len() > NOT_AVAILABLE_MAX || nodes.is_empty() {
        let message = format!("not_available has {} values", nodes.len());
        tag.error(node.span, message, format!("allowed: 1 to {NOT_AVAILABLE_MAX}"));
        return None;
    }
    let mut values = Vec::with_capacity(nodes.len());
    for node in nodes {
        let value = match &node.kind {
            Kind::Text(text) if text == "sunspec" => raw.sunspec(),
            _ => raw.value(node),
        };
        match value {
            Some(value) => values.push(value),
            None => tag.error(node.span, format!("not_available is {}", found(node)), raw.allowed()),
        }
    }
    values.sort_unstable();
    values.dedup();
    Some(values.into())
}

/// A tag that is scaled by another, and where that is said.
pub struct Scaled {
    /// Index into the tags.
    pub tag: usize,
    pub at: Source,
    pub subject: String,
}

/// The tags that others are scaled by have to be there, and powers of ten.
pub fn check_scales(tags: &[TagConfig], scaled: &[Scaled], incomplete: bool, report: &Report) {
    if scaled.is_empty() {
        return;
    }
    let by_name: HashMap<&str, &TagConfig> = tags.iter().map(|tag| (&*tag.name, tag)).collect();
    for Scaled { tag, at, subject } in scaled {
        let Some(tag) = tags.get(*tag) else { continue };
        let Some(name) = &tag.decoding.scale_from else { continue };
        let Some(scale) = by_name.get(&**name) else {
            if !incomplete {
                let guess = guess(name, by_name.keys().copied());
                let message = format!("scale_from is {}, which is not a tag", quoted(name));
                report.error(at.clone(), subject, message, format!("allowed: the name of a tag{guess}"));
            }
            continue;
        };
        let whole = match scale.value_type() {
            ValueType::Scalar(ty) => !matches!(ty, ScalarType::Bool | ScalarType::Float32 | ScalarType::Float64),
            _ => false,
        };
        if scale.link != tag.link || !whole {
            let what = if whole { "is on another link" } else { "is not an unscaled whole number" };
            let message = format!("scale_from is {}, which {what}", quoted(name));
            let help = "allowed: a tag of the same link, such as an int16, without scale and offset: a power of ten";
            report.error(at.clone(), subject, message, help);
        }
    }
}
