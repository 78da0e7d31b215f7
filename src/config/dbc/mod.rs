//! DBC files: the messages and signals of a CAN bus, as Vector's tools and most others write them.
//!
//! Read by a parser of our own: each message and signal keeps its line, so that a tag that does not fit can name it,
//! and sections that say nothing about values are passed over. What is understood: BO_, SG_ (multiplexed ones too),
//! SG_MUL_VAL_, SIG_VALTYPE_, VAL_, and of the attributes GenMsgCycleTime, GenSigStartValue, VFrameFormat.
//!
//! | file | subject |
//! |---|---|
//! | `lexer`, `cursor` | text to tokens; where in them reading stands |
//! | `parser` | statements, and what happens after a wrong one |
//! | `messages`, `attributes` | each kind of statement |
//! | `gathered` | what has been read, and the file that it makes |

mod attributes;
mod cursor;
mod gathered;
mod lexer;
mod messages;
mod parser;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::tag::Nanos;

/// What is wrong in a DBC file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: u32,
    pub message: String,
    /// May be empty.
    pub help: String,
}

impl Fault {
    fn new(line: u32, message: String, help: String) -> Fault {
        Fault { line, message, help }
    }
}

/// A whole file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dbc {
    /// In the file's order.
    pub messages: Vec<Message>,
    by_name: HashMap<String, usize>,
}

/// BO_.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub name: String,
    pub line: u32,
    /// 11 or 29 bits.
    pub id: u32,
    pub extended: bool,
    /// Data bytes of its frames.
    pub bytes: u32,
    /// In the file's order.
    pub signals: Vec<Signal>,
    /// GenMsgCycleTime, unless zero.
    pub cycle: Option<Nanos>,
    /// VFrameFormat: a parameter group of J1939.
    pub j1939: bool,
}

/// SG_.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    pub name: String,
    pub line: u32,
    /// Of its least significant bit (Intel), of its most significant bit (Motorola): byte × 8 + bit, 0 the least
    /// significant of a byte.
    pub start: u32,
    pub bits: u32,
    /// Motorola.
    pub big_endian: bool,
    pub signed: bool,
    /// SIG_VALTYPE_ 1 and 2.
    pub float: bool,
    pub scale: f64,
    pub offset: f64,
    pub unit: String,
    /// It says which of the others are in the frame.
    pub is_switch: bool,
    /// It is in the frame for these values of a switch.
    pub multiplexed: Option<Multiplexed>,
    /// VAL_: raw values and their texts.
    pub texts: Vec<(i64, String)>,
    /// GenSigStartValue, as a raw value.
    pub start_value: Option<f64>,
}

/// When a signal is in the frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Multiplexed {
    /// By name; `None`: the message's only switch.
    pub switch: Option<String>,
    /// Raw values of the switch, both ends included.
    pub values: Vec<(u64, u64)>,
}

impl Dbc {
    /// Reads a file's bytes: UTF-8, or else Windows-1252, which Vector's tools write.
    ///
    /// # Errors
    /// All that is wrong with it, in the file's order; a few dozen at most.
    pub fn read(bytes: &[u8]) -> Result<Dbc, Vec<Fault>> {
        parser::parse(&decoded(bytes))
    }

    pub fn message(&self, name: &str) -> Option<&Message> {
        self.messages.get(*self.by_name.get(name)?)
    }

    pub fn message_names(&self) -> impl Iterator<Item = &str> {
        self.messages.iter().map(|message| &*message.name)
    }
}

/// A switch, and the values of it (both included) for which what hangs on it is there.
pub type Switch<'m> = (&'m Signal, &'m [(u64, u64)]);

impl Message {
    pub fn signal(&self, name: &str) -> Option<&Signal> {
        self.signals.iter().find(|signal| signal.name == name)
    }

    /// The switches on which a signal's presence hangs, the nearest first, each with the values for which it is there.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn switches_of<'m>(&'m self, signal: &'m Signal) -> Result<Vec<Switch<'m>>, Fault> {
        let mut out: Vec<Switch<'_>> = Vec::new();
        let mut below = signal;
        while let Some(multiplexed) = &below.multiplexed {
            let switch = self.switch_of(below, multiplexed)?;
            if std::ptr::eq(switch, signal) || out.iter().any(|(known, _)| std::ptr::eq(*known, switch)) {
                let message = format!("the signal {} is multiplexed by itself", signal.name);
                return Err(Fault::new(signal.line, message, String::new()));
            }
            out.push((switch, &multiplexed.values));
            below = switch;
        }
        Ok(out)
    }

    fn switch_of(&self, signal: &Signal, multiplexed: &Multiplexed) -> Result<&Signal, Fault> {
        let fault = |message: String| Fault::new(signal.line, message, String::new());
        if let Some(name) = &multiplexed.switch {
            let named = self.signal(name);
            return named.ok_or_else(|| fault(format!("the switch {name} of signal {} does not exist", signal.name)));
        }
        let mut switches = self.signals.iter().filter(|other| other.is_switch && other.multiplexed.is_none());
        match (switches.next(), switches.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => {
                Err(fault(format!("the signal {} is multiplexed, and its message has no switch (M)", signal.name)))
            }
            (Some(_), Some(_)) => Err(fault(format!(
                "the signal {} is multiplexed, and its message has several switches: SG_MUL_VAL_ has to say which",
                signal.name
            ))),
        }
    }
}

/// What Windows-1252 has at 0x80 to 0x9F; the holes are the control characters of Latin-1.
const CP1252: [char; 32] = [
    '\u{20AC}', '\u{81}', '\u{201A}', '\u{192}', '\u{201E}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2C6}', '\u{2030}',
    '\u{160}', '\u{2039}', '\u{152}', '\u{8D}', '\u{17D}', '\u{8F}', '\u{90}', '\u{2018}', '\u{2019}', '\u{201C}',
    '\u{201D}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2DC}', '\u{2122}', '\u{161}', '\u{203A}', '\u{153}', '\u{9D}',
    '\u{17E}', '\u{178}',
];

fn decoded(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes
            .iter()
            .map(|byte| match byte {
                0x80..=0x9F => CP1252.get(usize::from(byte - 0x80)).copied().unwrap_or('\u{FFFD}'),
                byte => char::from(*byte),
            })
            .collect(),
    }
}
