//! Addresses of CAN tags: by the names of a DBC file, by identifier and bits, by a parameter group of J1939 and bits.

use std::sync::Arc;

use super::address::Fault;
use super::can::{CanDbc, LinkDbc};
use super::dbc::{self, Message, Signal};
use super::fields::{self, keys, type_name};
use super::model::{CanAddress, CanBits, CanBitsKind, CanCondition, CanConfig, CanFrames, CanId, CanSwitch, FieldType};
use super::names::{guess, quoted};
use super::reader::{Obj, Text};
use super::tags::{Part, span};
use crate::limits::J1939_MESSAGE_BYTES_MAX;
use crate::tag::{Nanos, ScalarType, ValueType};

const ALLOWED: &str = "link:MESSAGE.SIGNAL with a DBC file, link:0x123:START:LENGTH (0x123x for 29 bits), or \
                       link:pgn:0xF004:START:LENGTH with a source address before START if only one is meant";
/// The last identifiers of 11 and of 29 bits, and the last parameter group's number.
const STANDARD_ID_MAX: u32 = 0x7FF;
const EXTENDED_ID_MAX: u32 = 0x1FFF_FFFF;
const PGN_MAX: u32 = 0x3_FFFF;
/// In J1939, no node's address: DBC files write it where any node may send.
const NULL_ADDRESS: u32 = 0xFE;
const CLASSICAL_BYTES: u32 = 8;
const FD_BYTES: u32 = 64;

/// Reads what follows the link's name. `None`: reported.
pub(super) fn read(
    tag: &Obj<'_>,
    text: Text<'_>,
    parts: &[Part<'_>],
    link: &CanConfig,
    dbc: &LinkDbc,
) -> Option<CanAddress> {
    for key in ["bit", "array"] {
        if tag.get(key).is_some() {
            tag.error(tag.span_of(key), format!("{key} on a CAN tag"), "remove it: the address says which bits");
        }
    }
    let address = match *parts {
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
    if matches!(address.ty, ValueType::Scalar(ScalarType::Bool) | ValueType::Text { .. }) {
        for key in ["scale", "offset"] {
            if tag.get(key).is_some() && tag.get("data_type").is_none() {
                tag.error(tag.span_of(key), format!("{key} on a single bit"), "remove it: only numbers are scaled");
            }
        }
    }
    Some(address)
}

fn wrong_parts<T>(tag: &Obj<'_>, text: Text<'_>, parts: usize) -> Option<T> {
    let message = format!("address {} has {parts} parts", quoted(text.value));
    tag.error(text.span, message, format!("allowed: {ALLOWED}"));
    None
}

/// A whole number, decimal or hexadecimal.
pub(super) fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => u32::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        None => None,
    }
}

/// `0x123`: 11 bits; above 0x7FF, or with an `x` behind it: 29 bits.
pub(super) fn identifier(text: &str) -> Result<CanId, Fault> {
    let fault = || Fault {
        message: format!("the identifier is {}", quoted(text)),
        help: "allowed: 0x000 to 0x7FF of 11 bits; to 0x1FFFFFFF of 29 bits, with an x behind it (0x123x) where it is \
               not above 0x7FF"
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
        let message = format!("{len} bits from bit {first} leave the frame of {bytes_max} bytes");
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
        special: matches!(frames, CanFrames::Group { .. }) && kind == CanBitsKind::Unsigned,
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
    let object = Obj::open(tag.cx, node, format!("{}: multiplexor", tag.subject), keys::CAN_MULTIPLEXOR)?;
    let start = object.required_int(&fields::MULTIPLEXOR_START);
    let len = object.required_int(&fields::MULTIPLEXOR_LENGTH);
    let value = object.required_int(&fields::MULTIPLEXOR_VALUE);
    let switch = CanSwitch { start: start? as u16, len: len? as u8, big_endian };
    if switch_bits(&switch).bytes_needed() > bytes_max as usize {
        object.error(object.span, format!("the multiplexor leaves the frame of {bytes_max} bytes"), "");
        return None;
    }
    if value? > u64::MAX >> (64 - u32::from(switch.len)) {
        let message = format!("the value does not fit {} bits", switch.len);
        object.error(object.span_of("value"), message, "");
        return None;
    }
    Some(vec![CanCondition { switch, values: vec![(value?, value?)] }])
}

/// The type that whole numbers of so many bits have.
fn natural(len: u8, signed: bool) -> ScalarType {
    match (len, signed) {
        (1, false) => ScalarType::Bool,
        (..=16, false) => ScalarType::Uint16,
        (..=32, false) => ScalarType::Uint32,
        (_, false) => ScalarType::Uint64,
        (..=16, true) => ScalarType::Int16,
        (..=32, true) => ScalarType::Int32,
        (_, true) => ScalarType::Int64,
    }
}

/// Bits of a type of whole numbers, and whether it has a sign.
fn whole(ty: FieldType) -> Option<(u8, bool)> {
    match ty {
        FieldType::Int16 => Some((16, true)),
        FieldType::Uint16 => Some((16, false)),
        FieldType::Int32 => Some((32, true)),
        FieldType::Uint32 => Some((32, false)),
        FieldType::Int64 => Some((64, true)),
        FieldType::Uint64 => Some((64, false)),
        _ => None,
    }
}

/// What bits without a DBC file hold; else what is allowed.
fn type_of_bits(data_type: Option<FieldType>, len: u8) -> Result<(CanBitsKind, ScalarType), &'static str> {
    let Some(ty) = data_type else { return Ok((CanBitsKind::Unsigned, natural(len, false))) };
    match (ty, whole(ty)) {
        (_, Some((most, signed))) if len <= most => {
            Ok((if signed { CanBitsKind::Signed } else { CanBitsKind::Unsigned }, ty.scalar()))
        }
        (_, Some(_)) => Err("allowed: a type with at least so many bits"),
        (FieldType::Bit, _) if len == 1 => Ok((CanBitsKind::Unsigned, ScalarType::Bool)),
        (FieldType::Bit, _) => Err("allowed: bool for a single bit"),
        (FieldType::Float32, _) if len == 32 => Ok((CanBitsKind::Float, ScalarType::Float32)),
        (FieldType::Float64, _) if len == 64 => Ok((CanBitsKind::Float, ScalarType::Float64)),
        (FieldType::Float32 | FieldType::Float64, _) => {
            Err("allowed: float32 for 32 bits, float64 for 64; a scaled whole number becomes float64 by itself")
        }
        _ => Err("allowed: bool, int16 to uint64, float32, float64; string with a DBC file"),
    }
}

/// Bits that the DBC file names.
fn by_name(tag: &Obj<'_>, text: Text<'_>, part: Part<'_>, dbc: &LinkDbc) -> Option<CanAddress> {
    let data_type = tag.choice("data_type", fields::DATA_TYPE);
    for key in ["byte_order", "multiplexor"] {
        if tag.get(key).is_some() {
            tag.error(tag.span_of(key), format!("{key} with a signal of the DBC file"), "remove it: the file says it");
        }
    }
    let file = match dbc {
        LinkDbc::Broken => return None,
        LinkDbc::None => {
            let help = "add \"dbc\" to the link, or give the bits: link:0x123:START:LENGTH";
            tag.error(span(text, part), "a signal's name, and the link has no DBC file", help);
            return None;
        }
        LinkDbc::Read(file) => file,
    };
    let (message_name, signal_name) = part.text.split_once('.')?;
    let Some(message) = file.dbc.message(message_name) else {
        let guess = guess(message_name, file.dbc.message_names());
        let help = format!("allowed: a message of {}{guess}", file.name);
        tag.error(span(text, part), format!("the message {} is not known", quoted(message_name)), help);
        return None;
    };
    let Some(signal) = message.signal(signal_name) else {
        let guess = guess(signal_name, message.signals.iter().map(|signal| &*signal.name));
        let help = format!("allowed: a signal of message {} ({}:{}){guess}", message.name, file.name, message.line);
        tag.error(span(text, part), format!("the signal {} is not known", quoted(signal_name)), help);
        return None;
    };
    let found = of_signal(file, message, signal, data_type);
    found.map_err(|fault| tag.error(span(text, part), fault.message, fault.help)).ok()
}

/// The place of a signal, once it is checked.
pub(super) fn bits_of(file: &CanDbc, message: &Message, signal: &Signal) -> Result<CanBits, Fault> {
    let at = format!("{}:{}", file.name, signal.line);
    if !(1..=64).contains(&signal.bits) {
        let message = format!("{at}: the signal {} has {} bits", signal.name, signal.bits);
        return Err(Fault { message, help: "allowed: 1 to 64".into() });
    }
    let kind = match (signal.float, signal.signed) {
        (true, _) => CanBitsKind::Float,
        (false, true) => CanBitsKind::Signed,
        (false, false) => CanBitsKind::Unsigned,
    };
    let start = u16::try_from(signal.start).unwrap_or(u16::MAX);
    let bits = CanBits { start, len: signal.bits as u8, big_endian: signal.big_endian, kind };
    let bytes_max = if message.j1939 { J1939_MESSAGE_BYTES_MAX } else { FD_BYTES };
    if bits.bytes_needed() > message.bytes.min(bytes_max) as usize {
        let message = format!(
            "{at}: the signal {} of {} bits from bit {} leaves message {} of {} bytes",
            signal.name, signal.bits, signal.start, message.name, message.bytes
        );
        return Err(Fault { message, help: "correct the DBC file".into() });
    }
    Ok(bits)
}

fn of_signal(
    file: &CanDbc,
    message: &Message,
    signal: &Signal,
    data_type: Option<FieldType>,
) -> Result<CanAddress, Fault> {
    let in_file = |fault: dbc::Fault| Fault {
        message: format!("{}:{}: {}", file.name, fault.line, fault.message),
        help: "correct the DBC file".into(),
    };
    let bits = bits_of(file, message, signal)?;
    let mut conditions = Vec::new();
    for (switch, values) in message.switches_of(signal).map_err(in_file)? {
        let place = bits_of(file, message, switch)?;
        if place.bytes_needed() > FD_BYTES as usize {
            let text =
                format!("{}:{}: the multiplexor {} lies behind byte {FD_BYTES}", file.name, switch.line, switch.name);
            return Err(Fault { message: text, help: "allowed: multiplexors in the first 64 bytes".into() });
        }
        let switch = CanSwitch { start: place.start, len: place.len, big_endian: place.big_endian };
        conditions.push(CanCondition { switch, values: values.to_vec() });
    }
    conditions.reverse();
    let (ty, texts) = type_of_signal(file, signal, data_type)?;
    Ok(CanAddress {
        frames: frames_of(message),
        bits,
        // A frame carries one of the cases: each of them comes more rarely.
        cycle: message.cycle.map(|cycle| Nanos(cycle.0.saturating_mul(cases(message, signal)))),
        conditions,
        scale: signal.scale,
        offset: signal.offset,
        ty,
        texts,
        special: message.j1939 && bits.kind == CanBitsKind::Unsigned,
        frame_bytes: message.bytes.min(J1939_MESSAGE_BYTES_MAX) as u16,
        unit: signal.unit.as_str().into(),
    })
}

/// The frames of a message: by its identifier, or, when the file says that it is of J1939, by its parameter group.
pub(super) fn frames_of(message: &Message) -> CanFrames {
    if !message.j1939 {
        return CanFrames::Id(CanId { id: message.id, extended: message.extended });
    }
    let pgn = message.id >> 8 & PGN_MAX;
    let pgn = if pgn >> 8 & 0xFF < 0xF0 { pgn & !0xFF } else { pgn };
    let source = message.id & 0xFF;
    CanFrames::Group { pgn, source: (source != NULL_ADDRESS).then_some(source as u8) }
}

/// How many values of its switch a message goes through, as far as its signals say.
fn cases(message: &Message, signal: &Signal) -> u64 {
    if signal.multiplexed.is_none() {
        return 1;
    }
    let mut first: Vec<u64> =
        message.signals.iter().filter_map(|other| Some(other.multiplexed.as_ref()?.values.first()?.0)).collect();
    first.sort_unstable();
    first.dedup();
    first.len().max(1) as u64
}

type Texts = Arc<[(u64, Arc<str>)]>;

fn type_of_signal(file: &CanDbc, signal: &Signal, data_type: Option<FieldType>) -> Result<(ValueType, Texts), Fault> {
    let of_file = format!("the signal {} ({}:{})", signal.name, file.name, signal.line);
    let fault = |help: String| {
        let given = data_type.map_or("none", type_name);
        Err(Fault { message: format!("data_type {given} for {of_file}"), help })
    };
    let scaled = signal.scale != 1.0 || signal.offset != 0.0;
    let len = signal.bits as u8;
    let own = match (signal.float, scaled) {
        (true, false) if len == 32 => ScalarType::Float32,
        (true, _) | (_, true) => ScalarType::Float64,
        (false, false) => natural(len, signal.signed),
    };
    let ty = match data_type {
        None => own,
        Some(FieldType::Text) => {
            return texts_of(signal)
                .map_or_else(|| fault("allowed: string for a signal with a value table (VAL_)".into()), Ok);
        }
        Some(FieldType::Float64) => ScalarType::Float64,
        Some(ty) if ty.scalar() == own && !matches!(ty, FieldType::Bcd { .. }) => own,
        Some(ty) => match whole(ty) {
            // A wider type than it needs.
            Some((most, signed)) if !scaled && !signal.float && most >= len && signed == signal.signed => ty.scalar(),
            Some((most, true)) if !scaled && !signal.float && !signal.signed && most > len => ty.scalar(),
            _ => return fault(format!("allowed: {} or a wider type, float64, or left out", own.name())),
        },
    };
    Ok((ValueType::Scalar(ty), Arc::from([])))
}

/// The value table of a signal, as raw bits that are extended by their sign.
fn texts_of(signal: &Signal) -> Option<(ValueType, Texts)> {
    if signal.texts.is_empty() || signal.float {
        return None;
    }
    let mut texts: Vec<(u64, Arc<str>)> =
        signal.texts.iter().map(|(raw, text)| (*raw as u64, text.as_str().into())).collect();
    // Of a value that stands there twice the first text counts.
    texts.sort_by_key(|(raw, _)| *raw);
    texts.dedup_by_key(|(raw, _)| *raw);
    let longest = texts.iter().map(|(_, text)| text.len()).max().unwrap_or(0);
    Some((ValueType::Text { bytes_max: longest.clamp(1, usize::from(u16::MAX)) as u16 }, texts.into()))
}
