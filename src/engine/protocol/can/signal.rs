//! Addresses of CAN tags by the names of a DBC file, and what the file says of signals.

use std::sync::Arc;

use super::bits::{FD_BYTES, PGN_MAX, natural, whole};
use super::dbc::{self, Message, Missing, Signal};
use super::fields;
use super::fields::type_name;
use super::model::{CanAddress, CanBits, CanBitsKind, CanCondition, CanFrames, CanId, CanSwitch};
use super::names::{CanDbc, LinkDbc};
use crate::config::fault::Fault;
use crate::config::model::FieldType;
use crate::config::names::{guess, quoted};
use crate::config::reader::{Obj, Part, Text, span};
use crate::limits::J1939_MESSAGE_BYTES_MAX;
use crate::tag::{Nanos, ScalarType, ValueType};

/// In J1939, no node's address: DBC files write it where any node may send.
const NULL_ADDRESS: u32 = 0xFE;

/// Bits that the DBC file names.
pub fn by_name(tag: &Obj<'_>, text: Text<'_>, part: Part<'_>, dbc: &LinkDbc) -> Option<CanAddress> {
    let data_type = tag.choice("data_type", fields::DATA_TYPE);
    for key in ["byte_order", "multiplexor"] {
        if tag.get(key).is_some() {
            tag.error(
                tag.span_of(key),
                format!("{key} with a signal of the DBC file"),
                "remove it: the DBC file \
                defines it",
            );
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
    // A long name may have dots.
    let mut names = part.text.match_indices('.').filter_map(|(dot, _)| part.text.split_at_checked(dot));
    let first = names.clone().next()?;
    let is_known = |(name, _): &(&str, &str)| !matches!(file.dbc.message(name), Err(Missing::Unknown));
    let (message, signal) = names.find(is_known).unwrap_or(first);
    let found = message_of(file, message).and_then(|message| {
        let signal = signal_of(file, message, signal.strip_prefix('.').unwrap_or(signal))?;
        of_signal(file, message, signal, data_type)
    });
    found.map_err(|fault| tag.error(span(text, part), fault.message, fault.help)).ok()
}

/// The message of a name.
pub fn message_of<'f>(file: &'f CanDbc, name: &str) -> Result<&'f Message, Fault> {
    file.dbc.message(name).map_err(|missing| {
        let known = format!("a message of {}{}", file.name, guess(name, file.dbc.message_names()));
        fault_of(file, &format!("the message {}", quoted(name)), missing, known)
    })
}

/// The signal of a name.
pub fn signal_of<'m>(file: &CanDbc, message: &'m Message, name: &str) -> Result<&'m Signal, Fault> {
    message.signal(name).map_err(|missing| {
        let guess = guess(name, message.signal_names());
        let known = format!("a signal of message {} ({}:{}){guess}", message.name, file.name, message.line);
        fault_of(file, &format!("the signal {}", quoted(name)), missing, known)
    })
}

/// Why a name stands for nothing that can be used.
fn fault_of(file: &CanDbc, what: &str, missing: Missing, known: String) -> Fault {
    match missing {
        Missing::Unknown => Fault { message: format!("{what} is not known"), help: format!("allowed: {known}") },
        Missing::LeftOut(why) => {
            Fault { message: format!("{what} is ignored: {}", why.told_of(&file.name)), help: why.help }
        }
    }
}

/// The place of a signal, once it is checked.
pub fn bits_of(file: &CanDbc, message: &Message, signal: &Signal) -> Result<CanBits, Fault> {
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
            "{at}: the signal {} of {} bits from bit {} exceeds message {} of {} bytes",
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
                format!("{}:{}: the multiplexor {} is beyond byte {FD_BYTES}", file.name, switch.line, switch.name);
            return Err(Fault { message: text, help: "allowed: multiplexors in the first 64 bytes".into() });
        }
        let switch = CanSwitch { start: place.start, len: place.len, big_endian: place.big_endian };
        conditions.push(CanCondition { switch, values: values.to_vec() });
    }
    conditions.reverse();
    let texts = table_of(signal);
    let ty = type_of_signal(file, signal, data_type, &texts)?;
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
        special: false,
        frame_bytes: message.bytes.min(J1939_MESSAGE_BYTES_MAX) as u16,
        unit: signal.unit.as_str().into(),
    })
}

/// The frames of a message: by its identifier, or, when the file says that it is of J1939, by its parameter group.
pub fn frames_of(message: &Message) -> CanFrames {
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

fn type_of_signal(
    file: &CanDbc,
    signal: &Signal,
    data_type: Option<FieldType>,
    texts: &Texts,
) -> Result<ValueType, Fault> {
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
        Some(FieldType::Text(_)) => {
            if let Some(why) = &signal.texts_left_out {
                let message = format!("the texts of {of_file} are ignored: {}", why.told_of(&file.name));
                return Err(Fault { message, help: why.help.clone() });
            }
            if texts.is_empty() {
                return fault("allowed: string for a signal with a value table (VAL_)".into());
            }
            let longest = texts.iter().map(|(_, text)| text.len()).max().unwrap_or(0);
            return Ok(ValueType::Text { bytes_max: longest.clamp(1, usize::from(u16::MAX)) as u16 });
        }
        Some(FieldType::Float64) => ScalarType::Float64,
        Some(ty) if ty.scalar() == own && !ty.is_of_registers() => own,
        Some(ty) => match whole(ty) {
            // A wider type than it needs.
            Some((most, signed)) if !scaled && !signal.float && most >= len && signed == signal.signed => ty.scalar(),
            Some((most, true)) if !scaled && !signal.float && !signal.signed && most > len => ty.scalar(),
            _ => return fault(format!("allowed: {} or a wider type, float64, or left out", own.name())),
        },
    };
    Ok(ValueType::Scalar(ty))
}

/// The value table of a signal, as raw bits that are extended by their sign. What its bits cannot hold is left out.
fn table_of(signal: &Signal) -> Texts {
    if signal.float {
        return Arc::from([]);
    }
    let all = u64::MAX >> (64 - signal.bits.clamp(1, 64));
    let extended = |raw: i64| {
        let top = all ^ all >> 1;
        match u64::try_from(raw) {
            // Some files write the raw bits of negative values, without a sign.
            Ok(bits) if bits <= all => Some(if signal.signed && bits & top != 0 { bits | !all } else { bits }),
            Ok(_) => None,
            // And negative ones, counted from the end, for values without a sign.
            Err(_) if raw >= -(top as i128) as i64 => Some(raw as u64 & if signal.signed { u64::MAX } else { all }),
            Err(_) => None,
        }
    };
    let mut texts: Vec<(u64, Arc<str>)> =
        signal.texts.iter().filter_map(|(raw, text)| Some((extended(*raw)?, text.as_str().into()))).collect();
    // Of a value that stands there twice the first text counts.
    texts.sort_by_key(|(raw, _)| *raw);
    texts.dedup_by_key(|(raw, _)| *raw);
    texts.into()
}
