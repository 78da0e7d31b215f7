//! `"transmit"` of CAN links: what is sent, when, and with which values at first.

use super::address::identifier;
use super::dbc::{Message, Signal};
use super::fields;
use super::model::{CanBits, CanBranch, CanConfig, CanId, CanRawFault, CanSwitch, CanTransmit};
use super::names::{CanDbc, LinkDbc};
use super::signal::{bits_of, message_of, signal_of};
use crate::config::fault::Fault;
use crate::config::names::{guess, quoted};
use crate::config::node::Kind;
use crate::config::reader::{Obj, Text, found};
use crate::limits::{CAN_BRANCHES_MAX, CAN_UNSET_MAX};
use crate::tag::{Nanos, Scaling};

/// Data bytes that the length code of CAN FD can say, beside 0 to 8.
const FD_LENGTHS: [u64; 7] = [12, 16, 20, 24, 32, 48, 64];

/// Reads one entry. `None`: reported.
pub fn read(object: &Obj<'_>, link: &CanConfig, dbc: &LinkDbc) -> Option<CanTransmit> {
    let period = object.opt_int(&fields::PERIOD_MS).map(Nanos::from_millis);
    let distance = Nanos::from_millis(object.int(&fields::MIN_DISTANCE_MS));
    let on_change = object.flag("on_change").then_some(distance);
    if period.is_none() && on_change.is_none() {
        object.error(object.span, "neither period_ms nor on_change", "allowed: one of them, or both");
    }
    if on_change.is_none() && object.get("min_distance_ms").is_some() {
        object.error(object.span_of("min_distance_ms"), "min_distance_ms without on_change", "remove it");
    }
    let mut transmit = match (object.get("message"), object.get("id")) {
        (Some(_), None) => by_name(object, dbc)?,
        (None, Some(_)) => by_id(object, link)?,
        (Some(_), Some(_)) => {
            object.error(object.span_of("id"), "both message and id", "allowed: one of them");
            return None;
        }
        (None, None) => {
            let help = "allowed: \"message\" with a name of the DBC file, or \"id\" such as \"0x200\" with \"bytes\"";
            object.error(object.span, "message is missing", help);
            return None;
        }
    };
    transmit.fd = object.opt_flag("fd").unwrap_or(transmit.bytes > 8);
    if transmit.fd && !link.fd {
        object.error(object.span, "a frame of CAN FD on a link without it", "set \"fd\": true on the link");
    }
    if transmit.bytes > 8 && !transmit.fd {
        object.error(object.span, format!("{} bytes without fd", transmit.bytes), "allowed: at most 8");
    }
    if transmit.bytes > 8 && !FD_LENGTHS.contains(&u64::from(transmit.bytes)) {
        let message = format!("a frame cannot have {} bytes", transmit.bytes);
        object.error(object.span, message, "allowed: 0 to 8, 12, 16, 20, 24, 32, 48, 64");
    }
    let unset = transmit.unset.len() + transmit.branches.iter().map(|branch| branch.unset.len()).sum::<usize>();
    if unset > CAN_UNSET_MAX {
        let message = format!("{unset} signals without an initial value");
        object.error(object.span, message, format!("allowed: {CAN_UNSET_MAX}; give them one in \"initial\""));
    }
    Some(CanTransmit { period, on_change, ..transmit })
}

fn empty(id: CanId, bytes: u8) -> CanTransmit {
    CanTransmit {
        id,
        bytes,
        fd: false,
        initial: vec![0; usize::from(bytes)],
        unset: Vec::new(),
        branches: Vec::new(),
        period: None,
        on_change: None,
        fields_known: false,
    }
}

/// A message whose fields are those of the tags that write it.
fn by_id(object: &Obj<'_>, link: &CanConfig) -> Option<CanTransmit> {
    for key in ["initial", "start_values"] {
        if object.get(key).is_some() {
            let help = "allowed with \"message\"; here \"initial_bytes\", such as \"00 FF\"";
            object.error(object.span_of(key), format!("{key} without a DBC file's message"), help);
        }
    }
    let text = object.required_text("id", "an identifier, such as \"0x200\"")?;
    let id = identifier(text.value).map_err(|Fault { message, help }| object.error(text.span, message, help)).ok()?;
    let bytes = object.int(&fields::CAN_BYTES);
    if bytes > 8 && !link.fd {
        object.error(object.span_of("bytes"), format!("{bytes} bytes"), "allowed: 0 to 8; more with \"fd\"");
        return None;
    }
    let mut transmit = empty(id, bytes as u8);
    if let Some(text) = object.text("initial_bytes", "bytes in hexadecimal, such as \"00 FF\"") {
        match hexadecimal(text.value).filter(|initial| initial.len() as u64 == bytes) {
            Some(initial) => {
                transmit.initial = initial;
                transmit.fields_known = true;
            }
            None => {
                let help = format!("allowed: {bytes} bytes in hexadecimal, such as \"00 FF\"");
                object.error(text.span, format!("initial_bytes is {}", quoted(text.value)), help);
            }
        }
    }
    Some(transmit)
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some((char::from(*high).to_digit(16)? << 4 | char::from(*low).to_digit(16)?) as u8),
        _ => None,
    });
    pairs.collect()
}

/// A message of the DBC file.
fn by_name(object: &Obj<'_>, dbc: &LinkDbc) -> Option<CanTransmit> {
    for key in ["bytes", "initial_bytes"] {
        if object.get(key).is_some() {
            let help = "remove it: the DBC file defines the bytes, \"initial\" the values";
            object.error(object.span_of(key), format!("{key} with a message's name"), help);
        }
    }
    let text = object.required_text("message", "a name of the DBC file")?;
    let file = match dbc {
        LinkDbc::Broken => return None,
        LinkDbc::None => {
            object.error(text.span, "a message's name, and the link has no DBC file", "add \"dbc\", or give \"id\"");
            return None;
        }
        LinkDbc::Read(file) => file,
    };
    let refuse = |fault: Fault| object.error(text.span, fault.message, fault.help);
    let message = message_of(file, text.value).map_err(refuse).ok()?;
    if let Some(why) = message.first_left_out() {
        let message = format!("a signal of message {} is ignored: {}", message.name, why.told_of(&file.name));
        object.error(text.span, message, &*why.help);
        return None;
    }
    if message.bytes > 64 {
        let text_of =
            format!("the message {} ({}:{}) has {} bytes", message.name, file.name, message.line, message.bytes);
        object.error(text.span, text_of, "messages of several packets can be received, but not sent");
        return None;
    }
    let bytes = message.bytes as u8;
    let mut transmit = empty(CanId { id: message.id, extended: message.extended }, bytes);
    transmit.fields_known = true;
    let from_file = object.flag("start_values");
    check_names(object, file, message);
    for signal in message.signals.iter().filter(|signal| signal.multiplexed.is_none()) {
        let bits = place(object, text, file, message, signal)?;
        if message.signals.iter().any(|other| other.multiplexed.is_some()) && signal.is_switch {
            // Each branch has its own value there.
            if let Some(member) =
                object.entries("initial", "signals and their values").iter().find(|m| is_of(&m.name, signal))
            {
                let text = format!("{} selects which signals are in the frame", signal.name);
                object.error(member.value.span, text, "remove it: it is set together with the signals of each branch");
            }
            continue;
        }
        match initial_of(object, signal, &bits, from_file) {
            Ok(Some(raw)) => bits.put(&mut transmit.initial, raw),
            Ok(None) => transmit.unset.push(bits),
            Err(()) => return None,
        }
    }
    for signal in message.signals.iter().filter(|signal| signal.multiplexed.is_some()) {
        let bits = place(object, text, file, message, signal)?;
        let (switch, value) = branch_of(object, text, file, message, signal)?;
        let raw = initial_of(object, signal, &bits, from_file).ok()?;
        let known = transmit.branches.iter().position(|branch| branch.value == value);
        let at = known.unwrap_or_else(|| {
            transmit.branches.push(CanBranch { switch, value, initial: Vec::new(), unset: Vec::new() });
            transmit.branches.len() - 1
        });
        let Some(branch) = transmit.branches.get_mut(at) else { continue };
        match raw {
            Some(raw) => branch.initial.push((bits, raw)),
            None => branch.unset.push(bits),
        }
    }
    if transmit.branches.len() > CAN_BRANCHES_MAX {
        let message = format!("{} branches", transmit.branches.len());
        object.error(text.span, message, format!("allowed: {CAN_BRANCHES_MAX}"));
        return None;
    }
    transmit.branches.sort_by_key(|branch| branch.value);
    Some(transmit)
}

fn place(object: &Obj<'_>, text: Text<'_>, file: &CanDbc, message: &Message, signal: &Signal) -> Option<CanBits> {
    bits_of(file, message, signal).map_err(|Fault { message, help }| object.error(text.span, message, help)).ok()
}

/// The switch of a multiplexed signal and its value: one switch with one value for each signal.
fn branch_of(
    object: &Obj<'_>,
    text: Text<'_>,
    file: &CanDbc,
    message: &Message,
    signal: &Signal,
) -> Option<(CanSwitch, u64)> {
    let refuse = |why: &str| {
        let at = format!("the signal {} ({}:{}) is multiplexed {why}", signal.name, file.name, signal.line);
        object.error(text.span, at, "allowed: one switch in each frame, with one value for each signal");
        None
    };
    match message.switches_of(signal) {
        Ok(switches) => match switches[..] {
            [(switch, &[(value, last)])] if value == last => {
                let bits = place(object, text, file, message, switch)?;
                let CanBits { start, len, big_endian, .. } = bits;
                if value > u64::MAX >> (64 - u32::from(len)) {
                    return refuse("by a value that its switch cannot have");
                }
                Some((CanSwitch { start, len, big_endian }, value))
            }
            [_] => refuse("by several values"),
            _ => refuse("in more than one level"),
        },
        Err(fault) => {
            let at = format!("{}:{}: {}", file.name, fault.line, fault.message);
            object.error(text.span, at, "correct the DBC file");
            None
        }
    }
}

/// Whether a name is one of the signal's.
fn is_of(name: &str, signal: &Signal) -> bool {
    name == signal.name || name == signal.written()
}

fn check_names(object: &Obj<'_>, file: &CanDbc, message: &Message) {
    for member in object.entries("initial", "signals and their values") {
        if let Err(fault) = signal_of(file, message, &member.name) {
            object.error(member.name_span, fault.message, fault.help);
        }
    }
}

/// The raw initial value; `None`: it has none. An error is reported.
fn initial_of(object: &Obj<'_>, signal: &Signal, bits: &CanBits, from_file: bool) -> Result<Option<u64>, ()> {
    let members = object.entries("initial", "signals and their values");
    let Some(member) = members.iter().find(|member| is_of(&member.name, signal)) else {
        let start = signal.start_value.filter(|_| from_file);
        // A raw value, as attributes have it.
        return Ok(start.and_then(|raw| bits.raw_of(raw, &Scaling::NONE).ok()));
    };
    let node = &member.value;
    let value = match &node.kind {
        Kind::Int(number) => *number as f64,
        Kind::Float(number) => *number,
        Kind::Bool(value) => f64::from(u8::from(*value)),
        Kind::Text(text) => {
            if let Some((raw, _)) = signal.texts.iter().find(|(_, known)| known == text) {
                return Ok(Some(*raw as u64 & (u64::MAX >> (64 - u32::from(bits.len)))));
            }
            let guess = guess(text, signal.texts.iter().map(|(_, text)| &**text));
            let message = format!("{} has no value {}", signal.name, quoted(text));
            object.error(node.span, message, format!("allowed: a text of its value table, or a number{guess}"));
            return Err(());
        }
        _ => {
            object.error(node.span, format!("{} is {}", signal.name, found(node)), "allowed: a number or a string");
            return Err(());
        }
    };
    bits.raw_of(value, &Scaling::new(signal.scale, signal.offset)).map(Some).map_err(|fault| {
        let help = match fault {
            CanRawFault::NotFinite => "allowed: a finite number".to_owned(),
            CanRawFault::Range(min, max) => format!("allowed: {min} to {max}"),
        };
        object.error(node.span, format!("{} is {value}", signal.name), help);
    })
}
