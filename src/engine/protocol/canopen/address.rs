//! Addresses of tags on CANopen links: `link:node:index:sub`, or `link:node:name` by the node's data sheet, or
//! `link:node:emcy` and the like.

use super::eds::Naming;
use super::eds::pdo::PdoDirection;
use super::fields;
use super::model::{CanOpenAccess, CanOpenAddress, CanOpenConfig, CanOpenField, CanOpenNode, CanOpenSource, PdoSource};
use super::value::{field_of, no_object, object_number_of};
use crate::config::names::{guess, quoted};
use crate::config::reader::{Obj, Part, Text, span};
use crate::limits::CANOPEN_VALUE_BYTES_MAX;
use crate::tag::Object;

const ALLOWED: &str = "link:node:index:sub, such as \"co0:5:0x6064:0\"; link:node:name with a data sheet; \
                       link:node:emcy, emcy_register, emcy_count or state";
/// Bytes of a text whose address says no other.
const TEXT_BYTES: u16 = 64;

/// Reads what follows the link's name. `None`: reported.
/// `unread`: the nodes whose data sheet cannot be read, which is reported; nothing more is said of their objects.
pub fn read(
    tag: &Obj<'_>,
    text: Text<'_>,
    parts: &[Part<'_>],
    link: &CanOpenConfig,
    unread: &[u8],
) -> Option<CanOpenAddress> {
    let [node_part, rest @ ..] = parts else {
        tag.error(text.span, format!("address {} has one part", quoted(text.value)), format!("allowed: {ALLOWED}"));
        return None;
    };
    let id = object_number_of(node_part.text, 127);
    let Some(at) = id.and_then(|id| link.nodes.iter().position(|node| u16::from(node.id) == id)) else {
        let known: Vec<String> = link.nodes.iter().map(|node| node.id.to_string()).collect();
        let message = format!("node {} is not a node of the link", quoted(node_part.text));
        tag.error(span(text, *node_part), message, format!("allowed: {}", known.join(", ")));
        return None;
    };
    let node = link.nodes.get(at)?;
    let own = |source, field: CanOpenField| CanOpenAddress {
        node: at,
        source,
        field,
        array: None,
        access: CanOpenAccess::Any,
        ty: field.value_type(None),
    };
    match rest {
        [Part { text: "emcy", .. }] => return Some(own(CanOpenSource::EmergencyCode, CanOpenField::Unsigned(2))),
        [Part { text: "emcy_register", .. }] => {
            return Some(own(CanOpenSource::EmergencyRegister, CanOpenField::Unsigned(1)));
        }
        [Part { text: "emcy_count", .. }] => {
            return Some(own(CanOpenSource::EmergencyCount, CanOpenField::Unsigned(4)));
        }
        [Part { text: "state", .. }] => return Some(own(CanOpenSource::State, CanOpenField::Unsigned(1))),
        _ => {}
    }
    if unread.contains(&node.id) {
        return None;
    }
    let (object, count) = read_object(tag, text, rest, node)?;
    read_type(tag, text, at, node, object, count)
}

/// The object, and the bytes of a text.
fn read_object(tag: &Obj<'_>, text: Text<'_>, parts: &[Part<'_>], node: &CanOpenNode) -> Option<(Object, Option<u16>)> {
    let Some(first) = parts.first() else {
        tag.error(
            text.span,
            format!("address {} does not name an object", quoted(text.value)),
            format!(
                "allowed: \
            {ALLOWED}"
            ),
        );
        return None;
    };
    if !first.text.starts_with(|c: char| c.is_ascii_digit()) {
        return Some((by_name(tag, text, *first, node)?, None));
    }
    let number = |part: &Part<'_>, what: &str, max: u16| {
        let number = object_number_of(part.text, max);
        if number.is_none() {
            let message = format!("{what} in the address is {}", quoted(part.text));
            tag.error(span(text, *part), message, format!("allowed: 0 to 0x{max:X}, decimal or with 0x; {ALLOWED}"));
        }
        number
    };
    let (index, sub, count) = match parts {
        [index, sub] => (index, sub, None),
        [index, sub, count] => (index, sub, Some(count)),
        _ => {
            let message = format!("address {} has {} parts", quoted(text.value), parts.len() + 2);
            tag.error(text.span, message, format!("allowed: {ALLOWED}"));
            return None;
        }
    };
    let object = Object { index: number(index, "the index", 0xFFFF)?, sub: number(sub, "the sub-index", 0xFF)? as u8 };
    let count = match count {
        Some(part) => {
            let bytes = number(part, "the length of a string", CANOPEN_VALUE_BYTES_MAX)?;
            if bytes == 0 {
                tag.error(
                    span(text, *part),
                    "a string of no bytes",
                    format!("allowed: 1 to {CANOPEN_VALUE_BYTES_MAX}"),
                );
                return None;
            }
            Some(bytes)
        }
        None => None,
    };
    Some((object, count))
}

/// The rest of the address, colons and all, is a parameter's name.
fn by_name(tag: &Obj<'_>, text: Text<'_>, first: Part<'_>, node: &CanOpenNode) -> Option<Object> {
    let name = text.value.get(first.start..)?;
    let at = text.part(first.start, text.value.len());
    let Some(eds) = &node.eds else {
        let message = format!("{} is not an index, and node {} has no data sheet", quoted(name), node.id);
        tag.error(at, message, format!("allowed: {ALLOWED}"));
        return None;
    };
    match eds.named(name) {
        Naming::One(only) => Some(only),
        Naming::LeftOut(why) => {
            let message = format!("the parameter {} of the data sheet (line {}) is ignored", quoted(name), why.line);
            tag.error(at, format!("{message}: {}", why.message), &*why.help);
            None
        }
        Naming::Unknown => {
            let guess = guess(name, eds.objects().map(|(_, entry)| &*entry.name));
            let message = format!("the data sheet has no parameter {}", quoted(name));
            tag.error(at, message, format!("allowed: a ParameterName, or Object.Sub-object{guess}"));
            None
        }
        Naming::Several(one, other) => {
            let message = format!("{} is the name of several objects, such as {one} and {other}", quoted(name));
            tag.error(at, message, "write index and sub-index");
            None
        }
    }
}

fn read_type(
    tag: &Obj<'_>,
    text: Text<'_>,
    at: usize,
    node: &CanOpenNode,
    object: Object,
    count: Option<u16>,
) -> Option<CanOpenAddress> {
    let eds = node.eds.as_deref();
    let access = tag.choice("access", fields::CANOPEN_ACCESS).unwrap_or(CanOpenAccess::Any);
    let field = match tag.opt_int(&fields::OBJECT_BIT) {
        Some(bit) => {
            if tag.choice("data_type", fields::CANOPEN_DATA_TYPE).is_some_and(|field| field != CanOpenField::Bool) {
                tag.error(tag.span_of("bit"), "bit with another data_type than bool", "remove one of the two");
                return None;
            }
            if let Some(eds) = eds.filter(|eds| eds.get(object).is_none()) {
                let (message, help) = no_object(eds, object);
                tag.error(text.span, message, help);
                return None;
            }
            CanOpenField::Bit(bit as u8)
        }
        None => field_of(tag, object, eds, count.unwrap_or(TEXT_BYTES))?,
    };
    if count.is_some() && !matches!(field, CanOpenField::Text(_)) {
        tag.error(text.span, "a length, but the object is not a string", "remove the last part of the address");
        return None;
    }
    if let Some(entry) = eds.and_then(|eds| eds.get(object))
        && !entry.readable
    {
        tag.error(text.span, format!("the object {object} is write-only in the data sheet"), "");
        return None;
    }
    if tag.get("byte_order").is_some() {
        tag.error(tag.span_of("byte_order"), "byte_order on a CANopen link", "remove it: CANopen is little endian");
    }
    let array = tag.opt_int(&fields::ARRAY).map(|len| len as u16);
    if let Some(len) = array {
        let most = CANOPEN_VALUE_BYTES_MAX / 8;
        if matches!(field, CanOpenField::Text(_) | CanOpenField::Bit(_)) || len > most {
            let message = "array that is too long or not of numbers";
            tag.error(tag.span_of("array"), message, format!("allowed: 1 to {most} numbers"));
            return None;
        }
    }
    check_access(tag, text, node, object, access, array.is_some());
    Some(CanOpenAddress {
        node: at,
        source: CanOpenSource::Object(object),
        field,
        array,
        access,
        ty: field.value_type(array),
    })
}

/// What has to come by PDO has to be in one.
fn check_access(tag: &Obj<'_>, text: Text<'_>, node: &CanOpenNode, object: Object, access: CanOpenAccess, array: bool) {
    if access != CanOpenAccess::Pdo {
        return;
    }
    let pdos = match (node.pdos, &node.eds) {
        (PdoSource::Eds, Some(eds)) => Some(eds.pdos(PdoDirection::Transmit, node.id)),
        _ => None,
    };
    let mapped = match &pdos {
        Some(pdos) => pdos.read.iter().any(|pdo| pdo.fields.iter().any(|field| field.object == object)),
        None => node.pdos != PdoSource::None,
    };
    if let Some(pdo) = pdos.as_ref().filter(|_| !mapped).and_then(|pdos| pdos.why_left_out(object)) {
        let message = format!(
            "access is pdo, and TPDO {} of node {}, which carries {object}, is ignored in its data sheet (line {}): {}",
            pdo.number, node.id, pdo.why.line, pdo.why.message
        );
        tag.error(text.span, message, "correct the file, set \"pdos\": \"node\" on the node, or use \"sdo\"");
        return;
    }
    if !mapped || array {
        let message = format!("access is pdo, but no TPDO of node {} carries {object}", node.id);
        tag.error(text.span, message, "map it in the DCF, set \"pdos\": \"node\" on the node, or use \"sdo\"");
    }
}
