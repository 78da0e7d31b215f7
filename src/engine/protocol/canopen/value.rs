//! Types of CANopen objects as the tag files name them, and values that are written to a node when it starts.

use super::eds::Eds;
use super::fields;
use super::model::CanOpenField;
use crate::config::node::{Kind, Node};
use crate::config::reader::{Obj, found};
use crate::limits::WRITE_BYTES_MAX;
use crate::tag::Object;

/// `0x6064`, or decimal.
pub fn object_number_of(text: &str, max: u16) -> Option<u16> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if (1..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
            u16::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None => crate::config::reader::decimal(text).and_then(|number| u16::try_from(number).ok()),
    };
    number.filter(|number| *number <= max)
}

/// The same, written as a text or as a number.
pub fn object_number(node: &Node<'_>, max: u16) -> Option<u16> {
    match &node.kind {
        Kind::Text(text) => object_number_of(text, max),
        Kind::Int(number) => u16::try_from(*number).ok().filter(|number| *number <= max),
        _ => None,
    }
}

/// The type that the data sheet gives an object, or the one that is written beside it; both are the same. `None`:
/// reported.
pub fn field_of(at: &Obj<'_>, object: Object, eds: Option<&Eds>, text_bytes: u16) -> Option<CanOpenField> {
    let written = at.choice("data_type", fields::CANOPEN_DATA_TYPE).map(|field| match field {
        CanOpenField::Text(_) => CanOpenField::Text(text_bytes),
        field => field,
    });
    let entry = eds.map(|eds| eds.get(object));
    let told = match entry {
        // The data sheet has no such object: it is a mistake, unless its type is given.
        Some(None) if written.is_none() => {
            let (message, _) = eds.map(|eds| no_object(eds, object)).unwrap_or_default();
            at.error(at.span, message, "correct it, or give its data_type");
            return None;
        }
        Some(Some(entry)) => Some(entry.data_type),
        _ => None,
    };
    match (written, told.and_then(|ty| CanOpenField::of(ty, text_bytes))) {
        (Some(written), Some(told)) if written != told => {
            let told = told_name(told);
            let message = format!("data_type differs from {told}, the data sheet's type of {object}");
            at.error(at.span_of("data_type"), message, format!("allowed: {told}, or left out"));
            None
        }
        (Some(field), _) | (None, Some(field)) => Some(field),
        (None, None) => {
            if at.get("data_type").is_none() {
                let why = match told {
                    Some(ty) => format!("data_type is missing, and {ty} of the data sheet has no default type"),
                    None => "data_type is missing".to_owned(),
                };
                at.error(
                    at.span,
                    why,
                    "allowed: int8 to int64, uint8 to uint64, float32, float64, bool, string; or a node with \"eds\"",
                );
            }
            None
        }
    }
}

fn told_name(field: CanOpenField) -> &'static str {
    let wanted = match field {
        CanOpenField::Text(_) => CanOpenField::Text(0),
        field => field,
    };
    fields::CANOPEN_DATA_TYPE.iter().find(|(_, ty)| *ty == wanted).map_or("a number", |(name, _)| name)
}

/// The bytes of a value as they go over the bus. `None`: reported.
pub fn encode(entry: &Obj<'_>, object: Object, value: &Node<'_>, eds: Option<&Eds>) -> Option<Vec<u8>> {
    let field = field_of(entry, object, eds, WRITE_BYTES_MAX as u16)?;
    let bytes = match (&value.kind, field) {
        (Kind::Bool(value), CanOpenField::Bool) => Some(vec![u8::from(*value)]),
        (Kind::Int(number), CanOpenField::Signed(bytes)) => {
            let half = 1i128 << (u32::from(bytes) * 8 - 1);
            (-half..half).contains(number).then(|| number.to_le_bytes()[..usize::from(bytes)].to_vec())
        }
        (Kind::Int(number), CanOpenField::Unsigned(bytes)) => {
            let end = 1i128 << (u32::from(bytes) * 8);
            (0..end).contains(number).then(|| number.to_le_bytes()[..usize::from(bytes)].to_vec())
        }
        // As indices are written.
        (Kind::Text(text), CanOpenField::Unsigned(bytes)) => text
            .strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .filter(|number| bytes >= 8 || *number < 1 << (u32::from(bytes) * 8))
            .map(|number| number.to_le_bytes()[..usize::from(bytes.min(8))].to_vec()),
        (Kind::Int(_) | Kind::Float(_), CanOpenField::Real32 | CanOpenField::Real64) => {
            let number = match value.kind {
                Kind::Int(number) => number as f64,
                Kind::Float(number) => number,
                _ => f64::NAN,
            };
            let narrow = number as f32;
            match field {
                CanOpenField::Real32 => narrow.is_finite().then(|| narrow.to_le_bytes().to_vec()),
                _ => number.is_finite().then(|| number.to_le_bytes().to_vec()),
            }
        }
        (Kind::Text(text), CanOpenField::Text(_)) if !text.is_empty() && text.len() <= WRITE_BYTES_MAX => {
            Some(text.as_bytes().to_vec())
        }
        _ => None,
    };
    if bytes.is_none() {
        let help = format!("allowed: a value that fits {} of {object}", told_name(field));
        entry.error(value.span, format!("value is {}", found(value)), help);
    }
    bytes
}

/// What is said of an object that the data sheet does not have.
pub fn no_object(eds: &Eds, object: Object) -> (String, String) {
    match eds.why_left_out(object) {
        Some(why) => {
            let message =
                format!("the object {object} of the data sheet (line {}) is ignored: {}", why.line, why.message);
            (message, why.help.clone())
        }
        None => (format!("the data sheet has no object {object}"), String::new()),
    }
}
