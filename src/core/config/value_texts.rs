//! `"values"`: names of a tag's values, from the tag file or a DBC file.

use std::sync::Arc;

use super::model::TagConfig;
use super::names::quoted;
use super::node::{Kind, Node};
use super::reader::{Obj, found};
use crate::limits::{VALUE_TEXT_BYTES_MAX, VALUE_TEXTS_MAX};
use crate::tag::{ScalarType, Texts, ValueType};

/// Those that the tag itself names; else those of its DBC file.
pub fn read(tag: &Obj<'_>, config: &TagConfig) -> Texts {
    let ValueType::Scalar(ty) = config.value_type() else {
        if tag.get("values").is_some() {
            let help = "remove it: allowed on single numbers and bools";
            tag.error(tag.span_of("values"), "values on a string or a list", help);
        }
        return Texts::default();
    };
    if tag.get("values").is_none() {
        return config.address.texts_of_file(ty, config.scaling());
    }
    let members = tag.entries("values", "values and their names, such as {\"0\": \"off\", \"1\": \"on\"}");
    if members.len() > VALUE_TEXTS_MAX {
        let message = format!("values has {} names", members.len());
        tag.error(tag.span_of("values"), message, format!("allowed: at most {VALUE_TEXTS_MAX}"));
        return Texts::default();
    }
    let mut texts: Vec<(u64, Arc<str>)> = Vec::with_capacity(members.len());
    for member in members {
        let bits = bits_of(ty, &member.name);
        match bits {
            None => {
                let message = format!("values has {}", quoted(&member.name));
                tag.error(member.name_span, message, format!("allowed: {}, as the tag reports them", kinds(ty)));
            }
            Some(bits) if texts.iter().any(|(known, _)| *known == bits) => {
                let message = format!("values has {} twice", quoted(&member.name));
                tag.error(member.name_span, message, "allowed: one name for each value");
            }
            Some(bits) => texts.extend(text_of(tag, &member.value).map(|text| (bits, text))),
        }
    }
    Texts::new(texts)
}

fn text_of(tag: &Obj<'_>, node: &Node<'_>) -> Option<Arc<str>> {
    let text = match &node.kind {
        Kind::Text(text) => Some(&**text),
        _ => None,
    };
    let text = text.filter(|text| (1..=VALUE_TEXT_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control));
    if text.is_none() {
        let help = format!("allowed: 1 to {VALUE_TEXT_BYTES_MAX} bytes of text, such as \"off\"");
        tag.error(node.span, format!("the name of a value is {}", found(node)), help);
    }
    text.map(Arc::from)
}

/// The bits that a value has in samples.
fn bits_of(ty: ScalarType, text: &str) -> Option<u64> {
    let whole = |min: i128, max: i128| {
        let number: i128 = match text.strip_prefix("0x") {
            Some(digits) => i128::from_str_radix(digits, 16).ok()?,
            None => text.parse().ok()?,
        };
        (min..=max).contains(&number).then_some(number as u64)
    };
    match ty {
        ScalarType::Bool => match text {
            "0" | "false" => Some(0),
            "1" | "true" => Some(1),
            _ => None,
        },
        ScalarType::Int16 => whole(i16::MIN.into(), i16::MAX.into()),
        ScalarType::Uint16 => whole(0, u16::MAX.into()),
        ScalarType::Int32 => whole(i32::MIN.into(), i32::MAX.into()),
        ScalarType::Uint32 => whole(0, u32::MAX.into()),
        ScalarType::Int64 => whole(i64::MIN.into(), i64::MAX.into()),
        ScalarType::Uint64 => whole(0, u64::MAX.into()),
        ScalarType::Float32 => text.parse().ok().filter(|n: &f32| n.is_finite()).map(|n| n.to_bits().into()),
        ScalarType::Float64 => text.parse().ok().filter(|n: &f64| n.is_finite()).map(f64::to_bits),
    }
}

fn kinds(ty: ScalarType) -> &'static str {
    match ty {
        ScalarType::Bool => "0 and 1",
        ScalarType::Float32 | ScalarType::Float64 => "numbers",
        _ => "whole numbers of its type",
    }
}
