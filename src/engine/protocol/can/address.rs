//! Addresses of CAN tags: by the names of a DBC file (see [`super::signal`]), by identifier and bits, by a parameter
//! group of J1939 and bits.

use std::sync::Arc;

use super::bits::{FD_BYTES, PGN_MAX, natural, whole};
use super::fields;
use super::fields::type_name;
use super::model::{CanAddress, CanBits, CanBitsKind, CanCondition, CanConfig, CanFrames, CanId, CanSwitch};
use super::names::LinkDbc;
use super::signal::by_name;
use crate::config::fault::Fault;
use crate::config::model::FieldType;
use crate::config::names::quoted;
use crate::config::reader::{Obj, Part, Text, span};
use crate::limits::J1939_MESSAGE_BYTES_MAX;
use crate::tag::{ScalarType, ValueType};

const ALLOWED: &str = "link:MESSAGE.SIGNAL with a DBC file, link:0x123:START:LENGTH (0x123x for 29 bits), or \
                       link:pgn:0xF004:START:LENGTH with a source address before START to select one source";
/// The last identifiers of 11 and of 29 bits, and the last parameter group's number.
const STANDARD_ID_MAX: u32 = 0x7FF;
const EXTENDED_ID_MAX: u32 = 0x1FFF_FFFF;
const CLASSICAL_BYTES: u32 = 8;

/// Reads what follows the link's name. `None`: reported.
pub fn read(tag: &Obj<'_>, text: Text<'_>, parts: &[Part<'_>], link: &CanConfig, dbc: &LinkDbc) -> Option<CanAddress> {
    for key in ["bit", "array"] {
        if tag.get(key).is_some() {
            tag.error(tag.span_of(key), format!("{key} on a CAN tag"), "remove it: the address selects the bits");
        }
    }
    let mut address = match *parts {
        [name] if name.text.contains('.') => by_name(tag, text, name, dbc)?,
        [id, start, length] => by_bits(tag, text, frames_of_id(tag, text, id), [start, length], link)?,
        [pgn, number, ref rest @ ..] if pgn.text == "pgn" => match *rest {
            [start, length] => by_bits(tag, text, frames_of_group(tag, text, number, None), [start, length], link)?,
            [source, start, length] => {
                let frames = frames_of_group(tag, text, number, Some(source));
                by_bits(tag, text, frames, [start, length], link)?
            }
            _ => return wrong_parts(tag, text, parts.len() + 1),
        },
        _ => return wrong_parts(tag, text, parts.len() + 1),
    };
    address.special = has_special_values(tag, &address, link);
    if matches!(address.ty, ValueType::Scalar(ScalarType::Bool) | ValueType::Text { .. }) {
        for key in ["scale", "offset"] {
            if tag.get(key).is_some() && tag.get("data_type").is_none() {
                tag.error(tag.span_of(key), format!("{key} on a single bit"), "remove it: only numbers are scaled");
            }
        }
    }
    Some(address)
}

/// J1939-71, section 5.1.4: which raw values of a parameter are no values. Signed ones and floats have none of them.
fn has_special_values(tag: &Obj<'_>, address: &CanAddress, link: &CanConfig) -> bool {
    let own = tag.opt_flag("j1939_special_values");
    let is_group = matches!(address.frames, CanFrames::Group { .. });
    if own.is_some() && !is_group {
        let help = "remove it: allowed on parameter groups (link:pgn:…, or messages that the DBC file calls J1939PG)";
        tag.error(tag.span_of("j1939_special_values"), "j1939_special_values on a tag that is not J1939", help);
    }
    is_group && address.bits.kind == CanBitsKind::Unsigned && own.unwrap_or(link.j1939_special_values)
}

fn wrong_parts<T>(tag: &Obj<'_>, text: Text<'_>, parts: usize) -> Option<T> {
    let message = format!("address {} has {parts} parts", quoted(text.value));
    tag.error(text.span, message, format!("allowed: {ALLOWED}"));
    None
}

/// A whole number, decimal or hexadecimal.
pub fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => u32::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        None => None,
    }
}

/// `0x123`: 11 bits; above 0x7FF, or with an `x` behind it: 29 bits.
pub fn identifier(text: &str) -> Result<CanId, Fault> {
    let fault = || Fault {
        message: format!("the identifier is {}", quoted(text)),
        help: "allowed: 0x000 to 0x7FF of 11 bits; to 0x1FFFFFFF of 29 bits, followed by an x (0x123x) if it is not \
               above 0x7FF"
            .into(),
    };
    let (digits, marked) = match text.strip_suffix(['x', 'X']) {
        Some(digits) if digits.len() > 1 => (digits, true),
        _ => (text, false),
    };
    let id = number(digits).filter(|id| *id <= EXTENDED_ID_MAX).ok_or_else(fault)?;
    Ok(CanId { id, extended: marked || id > STANDARD_ID_MAX })
}

fn frames_of_id(tag: &Obj<'_>, text: Text<'_>, part: Part<'_>) -> Option<CanFrames> {
    match identifier(part.text) {
        Ok(id) => Some(CanFrames::Id(id)),
        Err(Fault { message, help }) => {
            tag.error(span(text, part), message, help);
            None
        }
    }
}

fn frames_of_group(tag: &Obj<'_>, text: Text<'_>, part: Part<'_>, source: Option<Part<'_>>) -> Option<CanFrames> {
    let pgn = number(part.text).filter(|pgn| *pgn <= PGN_MAX);
    // J1939-21, 5.2: of groups that are sent to a destination, the lowest byte is that.
    let pgn = pgn.filter(|pgn| pgn >> 8 & 0xFF >= 0xF0 || pgn & 0xFF == 0);
    if pgn.is_none() {
        let help =
            "allowed: 0 to 0x3FFFF, such as 0xF004; with the lowest byte 0 where the byte above it is below 0xF0";
        tag.error(span(text, part), format!("the parameter group is {}", quoted(part.text)), help);
    }
    let source = match source {
        None => None,
        Some(part) => {
            let address = number(part.text).and_then(|source| u8::try_from(source).ok());
            if address.is_none() {
                let message = format!("the source address is {}", quoted(part.text));
                tag.error(span(text, part), message, "allowed: 0 to 255, or left out for any");
            }
            Some(address?)
        }
    };
    Some(CanFrames::Group { pgn: pgn?, source })
}

/// Bits that the address itself names.
fn by_bits(
    tag: &Obj<'_>,
    text: Text<'_>,
    frames: Option<CanFrames>,
    [start, length]: [Part<'_>; 2],
    link: &CanConfig,
) -> Option<CanAddress> {
    let data_type = tag.choice("data_type", fields::DATA_TYPE);
    let big_endian = tag.choice("byte_order", fields::CAN_BYTE_ORDER).unwrap_or(false);
    let bytes_max = match frames {
        // In packets, where it does not fit a frame.
        Some(CanFrames::Group { .. }) => J1939_MESSAGE_BYTES_MAX,
        _ if link.fd => FD_BYTES,
        _ => CLASSICAL_BYTES,
    };
    let conditions = read_multiplexor(tag, bytes_max.min(FD_BYTES), big_endian);
    let first = number(start.text).filter(|start| *start < bytes_max * 8);
    if first.is_none() {
        let message = format!("the start bit is {}", quoted(start.text));
        let help = format!("allowed: 0 to {}: byte × 8 + bit, as DBC files count", bytes_max * 8 - 1);
        tag.error(span(text, start), message, help);
    }
    let len = number(length.text).filter(|len| (1..=64).contains(len));
    if len.is_none() {
        let message = format!("the length is {}", quoted(length.text));
        tag.error(span(text, length), message, "allowed: 1 to 64 bits");
    }
    let (first, len) = (first? as u16, len? as u8);
    let (kind, ty) = match type_of_bits(data_type, len) {
        Ok(found) => found,
        Err(help) => {
            let given = data_type.map_or("none", type_name);
            tag.error(tag.span_of("data_type"), format!("data_type {given} with {len} bits"), help);
            return None;
        }
    };
    let bits = CanBits { start: first, len, big_endian, kind };
    if bits.bytes_needed() > bytes_max as usize {
        let message = format!("{len} bits from bit {first} exceed the frame of {bytes_max} bytes");
        let help = if big_endian {
            "big endian bits start at their most significant one and go down, then on with bit 7 of the next byte"
        } else {
            "little endian bits start at their least significant one and go up"
        };
        tag.error(span(text, start), message, help);
        return None;
    }
    let needed = conditions.as_ref()?.iter().map(|condition| switch_bits(&condition.switch).bytes_needed());
    let frame_bytes = needed.chain([bits.bytes_needed()]).max().unwrap_or(0) as u16;
    let frames = frames?;
    Some(CanAddress {
        frames,
        bits,
        conditions: conditions?,
        scale: 1.0,
        offset: 0.0,
        ty: ValueType::Scalar(ty),
        texts: Arc::from([]),
        special: false,
        cycle: None,
        frame_bytes,
        unit: "".into(),
    })
}

fn switch_bits(switch: &CanSwitch) -> CanBits {
    let CanSwitch { start, len, big_endian } = *switch;
    CanBits { start, len, big_endian, kind: CanBitsKind::Unsigned }
}

/// `"multiplexor": { "start": 0, "length": 8, "value": 3 }`. `None`: reported.
fn read_multiplexor(tag: &Obj<'_>, bytes_max: u32, big_endian: bool) -> Option<Vec<CanCondition>> {
    let Some(node) = tag.get("multiplexor") else { return Some(Vec::new()) };
    let object = Obj::open(tag.cx, node, format!("{}: multiplexor", tag.subject), fields::CAN_MULTIPLEXOR_KEYS)?;
    let start = object.required_int(&fields::MULTIPLEXOR_START);
    let len = object.required_int(&fields::MULTIPLEXOR_LENGTH);
    let value = object.required_int(&fields::MULTIPLEXOR_VALUE);
    let switch = CanSwitch { start: start? as u16, len: len? as u8, big_endian };
    if switch_bits(&switch).bytes_needed() > bytes_max as usize {
        object.error(object.span, format!("the multiplexor exceeds the frame of {bytes_max} bytes"), "");
        return None;
    }
    if value? > u64::MAX >> (64 - u32::from(switch.len)) {
        let message = format!("the value does not fit {} bits", switch.len);
        object.error(object.span_of("value"), message, "");
        return None;
    }
    Some(vec![CanCondition { switch, values: vec![(value?, value?)] }])
}

/// What bits without a DBC file hold; else what is allowed.
fn type_of_bits(data_type: Option<FieldType>, len: u8) -> Result<(CanBitsKind, ScalarType), &'static str> {
    let Some(ty) = data_type else { return Ok((CanBitsKind::Unsigned, natural(len, false))) };
    match (ty, whole(ty)) {
        (_, Some((most, signed))) if len <= most => {
            Ok((if signed { CanBitsKind::Signed } else { CanBitsKind::Unsigned }, ty.scalar()))
        }
        (_, Some(_)) => Err("allowed: a type with at least this many bits"),
        (FieldType::Bit, _) if len == 1 => Ok((CanBitsKind::Unsigned, ScalarType::Bool)),
        (FieldType::Bit, _) => Err("allowed: bool for a single bit"),
        (FieldType::Float32, _) if len == 32 => Ok((CanBitsKind::Float, ScalarType::Float32)),
        (FieldType::Float64, _) if len == 64 => Ok((CanBitsKind::Float, ScalarType::Float64)),
        (FieldType::Float32 | FieldType::Float64, _) => {
            Err("allowed: float32 for 32 bits, float64 for 64; a scaled whole number becomes float64 automatically")
        }
        _ => Err("allowed: bool, int16 to uint64, float32, float64; string with a DBC file"),
    }
}
