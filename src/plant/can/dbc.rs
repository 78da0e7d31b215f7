//! The DBC file that says what is in the plant's messages.

use std::fmt::Write as _;

use super::messages::{MESSAGES, Message, NODES};
use super::signals::{Bits, Order, SignalSpec};

/// DBC files mark 29-bit identifiers so.
const EXTENDED: u32 = 0x8000_0000;
/// Values of the attribute VFrameFormat.
const J1939: u8 = 3;
const FD: u8 = 14;
const FRAME_FORMATS: &str = r#""StandardCAN","ExtendedCAN","reserved","J1939PG","reserved","reserved","reserved","reserved","reserved","reserved","reserved","reserved","reserved","reserved","StandardCAN_FD","ExtendedCAN_FD""#;

/// The whole file.
pub(super) fn text() -> String {
    let mut out = String::from("VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: GATEWAY");
    NODES.iter().for_each(|node| out += &format!(" {}", node.to_uppercase()));
    out += "\n\n";
    for message in &MESSAGES {
        let _ = writeln!(out, "BO_ {} {}: {} {}", id(message), message.name, message.bytes, sender(message));
        message.signals.iter().for_each(|signal| out += &line(message, signal));
        out.push('\n');
    }
    for message in &MESSAGES {
        let _ = writeln!(out, "CM_ BO_ {} \"{}\";", id(message), message.comment);
    }
    out += "BA_DEF_ BO_ \"GenMsgCycleTime\" INT 0 65535;\n";
    let _ = writeln!(out, "BA_DEF_ BO_ \"VFrameFormat\" ENUM {FRAME_FORMATS};");
    out += "BA_DEF_DEF_ \"GenMsgCycleTime\" 0;\nBA_DEF_DEF_ \"VFrameFormat\" \"StandardCAN\";\n";
    for message in &MESSAGES {
        if message.cycle_ms > 0 {
            let _ = writeln!(out, "BA_ \"GenMsgCycleTime\" BO_ {} {};", id(message), message.cycle_ms);
        }
        match (message.fd, message.j1939) {
            (true, _) => out += &format!("BA_ \"VFrameFormat\" BO_ {} {FD};\n", id(message)),
            (_, true) => out += &format!("BA_ \"VFrameFormat\" BO_ {} {J1939};\n", id(message)),
            _ => {}
        }
    }
    let with = |is_wanted: fn(&SignalSpec) -> bool| {
        let signals = |message: &'static Message| message.signals.iter().map(move |signal| (message, signal));
        MESSAGES.iter().flat_map(signals).filter(move |(_, signal)| is_wanted(signal))
    };
    for (message, signal) in with(|signal| !signal.texts.is_empty()) {
        let _ = write!(out, "VAL_ {} {}", id(message), signal.name);
        signal.texts.iter().enumerate().rev().for_each(|(value, text)| out += &format!(" {value} \"{text}\""));
        out += " ;\n";
    }
    for (message, signal) in with(|signal| signal.kind == Bits::Float) {
        let _ = writeln!(out, "SIG_VALTYPE_ {} {} : 1;", id(message), signal.name);
    }
    out
}

fn id(message: &Message) -> u32 {
    message.id | if message.extended { EXTENDED } else { 0 }
}

fn sender(message: &Message) -> String {
    message.node.map_or_else(|| "GATEWAY".to_owned(), |node| NODES[node].to_uppercase())
}

fn line(message: &Message, signal: &SignalSpec) -> String {
    let is_switch = message.signals.iter().any(|other| other.page.is_some()) && signal.name == "Page";
    let multiplex = match signal.page {
        Some(page) => format!(" m{page}"),
        None if is_switch => " M".to_owned(),
        None => String::new(),
    };
    let order = if signal.order == Order::Intel { 1 } else { 0 };
    let sign = if signal.kind == Bits::Unsigned { '+' } else { '-' };
    let receiver = if message.node.is_some() { "GATEWAY" } else { "MIXER" };
    format!(
        " SG_ {}{multiplex} : {}|{}@{order}{sign} ({},{}) [0|0] \"{}\" {receiver}\n",
        signal.name, signal.start, signal.bits, signal.scale, signal.offset, signal.unit
    )
}
