//! What a tag's object in a CANopen node allows: its values, and that it can be written by the service that is to carry
//! it.

use super::eds::Eds;
use super::eds::pdo::{Pdo, PdoDirection};
use super::model::{CanOpenAddress, CanOpenConfig, CanOpenField, CanOpenNode, CanOpenSource, PdoSource};
use crate::config::kind::AskedWrite;
use crate::config::model::{Raw, TagAddress, WriteConfig};
use crate::config::reader::Obj;
use crate::config::text::Span;
use crate::limits::WRITE_BYTES_MAX;
use crate::tag::{Object, ValueType};

impl TagAddress for CanOpenAddress {
    fn value_type(&self) -> ValueType {
        self.ty
    }

    fn no_transmitter(&self) -> Option<(&'static str, &'static str)> {
        (!matches!(self.source, CanOpenSource::Object(_))).then_some(("what the link knows of a node", "remove it"))
    }

    fn signal_range(&self) -> Option<(String, f64, f64)> {
        let (bytes, signed) = match self.field {
            CanOpenField::Unsigned(bytes) => (bytes, false),
            CanOpenField::Signed(bytes) => (bytes, true),
            _ => return None,
        };
        let bits = i32::from(8 * bytes.min(8));
        let (low, high) =
            if signed { (-(2f64.powi(bits - 1)), 2f64.powi(bits - 1) - 1.0) } else { (0.0, 2f64.powi(bits) - 1.0) };
        Some((format!("the object of {bytes} bytes"), low, high))
    }

    fn raw(&self) -> Option<Raw> {
        match self.field {
            CanOpenField::Signed(bytes) => Some(Raw::whole((8 * bytes.min(8), true))),
            CanOpenField::Unsigned(bytes) => Some(Raw::whole((8 * bytes.min(8), false))),
            CanOpenField::Real32 => Some(Raw::Single),
            CanOpenField::Real64 => Some(Raw::Double),
            CanOpenField::Bool | CanOpenField::Bit(_) | CanOpenField::Text(_) => None,
        }
    }
}

/// False: it is refused, which is reported.
fn check(tag: &Obj<'_>, at: Span, address: &CanOpenAddress, link: &CanOpenConfig, limits: &WriteConfig) -> bool {
    let refuse = |message: String, help: &str| {
        tag.error(at, message, help);
        false
    };
    let CanOpenSource::Object(object) = address.source else {
        return refuse("write on a value of the link about the node: it is read-only".into(), "remove write");
    };
    let Some(node) = link.nodes.get(address.node) else { return false };
    if let Some(entry) = node.eds.as_ref().and_then(|eds| eds.get(object))
        && !entry.writable
    {
        return refuse(format!("write on {object}, which is read-only in the data sheet"), "remove write");
    }
    let bytes = usize::from(address.field.bytes()) * usize::from(address.array.unwrap_or(1));
    if bytes > WRITE_BYTES_MAX && !matches!(address.field, CanOpenField::Text(_)) {
        let help = format!("allowed: at most {WRITE_BYTES_MAX} bytes");
        return refuse(format!("{bytes} bytes do not fit one write"), &help);
    }
    if limits.by_pdo {
        return check_pdo(tag, at, address, object, node);
    }
    if matches!(address.field, CanOpenField::Bit(_)) {
        let help = "write the whole object, or set \"via\": \"pdo\" where an RPDO carries it";
        return refuse("write on a bit: an SDO writes whole objects".into(), help);
    }
    true
}

/// What goes by PDO has to be in one.
fn check_pdo(tag: &Obj<'_>, at: Span, address: &CanOpenAddress, object: Object, node: &CanOpenNode) -> bool {
    let refuse = |message: String, help: &str| {
        tag.error(at, message, help);
        false
    };
    if address.array.is_some() || address.field.bytes() > 8 {
        return refuse("via is pdo, but arrays and strings do not fit a PDO".into(), "allowed: numbers and bits");
    }
    let (source, help) = match (node.pdos, &node.eds) {
        (PdoSource::Node { .. }, _) => return true,
        (PdoSource::Eds, Some(eds)) => match rpdo_of(eds, node.id, object) {
            Some((_, bits)) if fits(address.field, bits) => return true,
            Some((pdo, bits)) => {
                let message = format!("via is pdo, and RPDO {} carries {object} with {bits} bits", pdo.number);
                return refuse(message, "give the tag a data_type of that size, or correct the DCF");
            }
            None if let Some(pdo) = eds.pdos(PdoDirection::Receive, node.id).why_left_out(object) => {
                let message = format!(
                    "via is pdo, and RPDO {} of node {}, which carries {object}, is ignored in its data sheet (line \
                     {}): {}",
                    pdo.number, node.id, pdo.why.line, pdo.why.message
                );
                return refuse(message, "correct the file, set \"pdos\": \"node\" on the node, or use \"sdo\"");
            }
            None => ("by the data sheet", "map it in the DCF, set \"pdos\": \"node\" on the node, or use \"sdo\""),
        },
        _ => ("without pdos", "set \"pdos\": \"node\" on the node, give it a data sheet, or use \"sdo\""),
    };
    refuse(format!("via is pdo, but no RPDO of node {} carries {object} {source}", node.id), help)
}

/// The RPDO that carries an object, and with how many bits.
fn rpdo_of(eds: &Eds, node: u8, object: Object) -> Option<(Pdo, u8)> {
    eds.pdos(PdoDirection::Receive, node).read.into_iter().find_map(|pdo| {
        let bits = pdo.fields.iter().find(|field| field.object == object)?.bits;
        Some((pdo, bits))
    })
}

/// A boolean may have one bit or eight; a bit of a number has to be one of its bits.
fn fits(field: CanOpenField, bits: u8) -> bool {
    match field {
        CanOpenField::Bit(bit) => bit < bits,
        CanOpenField::Bool => matches!(bits, 1 | 8),
        field => u16::from(bits) == field.bytes() * 8,
    }
}

/// Whether a tag can be written as is asked for; false: it cannot, which is reported.
pub fn check_write(address: &CanOpenAddress, asked: &AskedWrite<'_>) -> bool {
    let AskedWrite { tag, at, limits, link, .. } = asked;
    link.get().is_none_or(|link| check(tag, *at, address, link, limits))
}
