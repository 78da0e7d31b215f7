//! DBC files: the messages and signals of a CAN bus, as Vector's tools and most others write them.
//!
//! Read by a parser of our own: each message and signal keeps its line, so that a tag that does not fit can name it,
//! and sections that say nothing about values are passed over. What is understood: BO_, SG_ (multiplexed ones too),
//! SG_MUL_VAL_, SIG_VALTYPE_, VAL_, and of the attributes GenMsgCycleTime, GenSigStartValue, VFrameFormat,
//! SystemMessageLongSymbol, SystemSignalLongSymbol. What is not understood is left out, and only what uses it is refused.
//!
//! | file | subject |
//! |---|---|
//! | `lexer`, `cursor` | text to tokens; where in them reading stands |
//! | `parser` | statements, and what happens after a wrong one |
//! | `messages`, `attributes` | each kind of statement |
//! | `gathered` | what has been read, and the file that it makes |
//! | `naming` | which name means which message and signal |

mod attributes;
mod cursor;
mod gathered;
mod lexer;
mod messages;
mod naming;
mod parser;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::config::beside::text_of;
pub use crate::config::beside::{Fault, LeftOut};
use crate::tag::Nanos;

/// A whole file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dbc {
    /// In the file's order; also those that were left out.
    pub messages: Vec<Message>,
    pub left_out: LeftOut,
    /// By the names that are shown.
    shown: HashMap<String, usize>,
    /// By the short names of those that have a long one.
    short: HashMap<String, Vec<usize>>,
}

/// Why a name stands for nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Missing {
    Unknown,
    /// It is in the file, and was left out.
    LeftOut(Fault),
}

/// BO_.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The long one where there is one.
    pub name: String,
    /// The one in BO_, where that is another.
    pub short: Option<String>,
    pub line: u32,
    /// 11 or 29 bits.
    pub id: u32,
    pub extended: bool,
    /// Data bytes of its frames.
    pub bytes: u32,
    /// In the file's order; also those that were left out.
    pub signals: Vec<Signal>,
    /// Those that could not be read.
    pub lost: Vec<LostSignal>,
    /// GenMsgCycleTime, unless zero.
    pub cycle: Option<Nanos>,
    /// VFrameFormat: a parameter group of J1939.
    pub j1939: bool,
    /// Why no tag can use it.
    pub left_out: Option<Fault>,
}

/// An SG_ that could not be read.
#[derive(Debug, Clone, PartialEq)]
pub struct LostSignal {
    /// Empty: not even that is known.
    pub name: String,
    pub why: Fault,
    /// It may be one that says which of the others are in the frame.
    pub may_be_switch: bool,
}

/// SG_.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// The long one where there is one.
    pub name: String,
    /// The one in SG_, where that is another.
    pub short: Option<String>,
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
    /// Why the file's texts are not among them.
    pub texts_left_out: Option<Fault>,
    /// GenSigStartValue, as a raw value.
    pub start_value: Option<f64>,
    /// Why no tag can use it.
    pub left_out: Option<Fault>,
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
    /// Why nothing can be read of it.
    pub fn read(bytes: &[u8]) -> Result<Dbc, Vec<Fault>> {
        parser::parse(&text_of(bytes))
    }

    /// The message of a name, the long one or the short one.
    pub fn message(&self, name: &str) -> Result<&Message, Missing> {
        let at = match (self.shown.get(name), self.short.get(name).map(|found| &found[..])) {
            (Some(at), _) | (None, Some([at])) => *at,
            (None, Some([one, other, ..])) => {
                let long = [one, other].map(|at| self.messages.get(*at).map_or("", |message| &message.name));
                let line = self.messages.get(*other).map_or(0, |message| message.line);
                let message = format!("it is short for several messages, such as {} and {}", long[0], long[1]);
                return Err(Missing::LeftOut(Fault::new(line, message, "write the long name")));
            }
            _ => return Err(Missing::Unknown),
        };
        let message = self.messages.get(at).ok_or(Missing::Unknown)?;
        message.left_out.as_ref().map_or(Ok(message), |why| Err(Missing::LeftOut(why.clone())))
    }

    /// Of those that can be used, as they are shown.
    pub fn message_names(&self) -> impl Iterator<Item = &str> {
        self.messages.iter().filter(|message| message.left_out.is_none()).map(|message| &*message.name)
    }
}

/// A switch, and the values of it (both included) for which what hangs on it is there.
pub type Switch<'m> = (&'m Signal, &'m [(u64, u64)]);

impl Message {
    /// The signal of a name, the long one or the short one.
    pub fn signal(&self, name: &str) -> Result<&Signal, Missing> {
        let shown = self.signals.iter().find(|signal| signal.name == name);
        let found = shown.or_else(|| self.signals.iter().find(|signal| signal.written() == name));
        if let Some(signal) = found {
            return signal.left_out.as_ref().map_or(Ok(signal), |why| Err(Missing::LeftOut(why.clone())));
        }
        let lost = self.lost.iter().find(|lost| lost.name == name);
        Err(lost.map_or(Missing::Unknown, |lost| Missing::LeftOut(lost.why.clone())))
    }

    /// Of those that can be used, as they are shown.
    pub fn signal_names(&self) -> impl Iterator<Item = &str> {
        self.signals.iter().filter(|signal| signal.left_out.is_none()).map(|signal| &*signal.name)
    }

    /// Why not all of its signals can be used.
    pub fn first_left_out(&self) -> Option<&Fault> {
        let lost = self.lost.first().map(|lost| &lost.why);
        lost.or_else(|| self.signals.iter().find_map(|signal| signal.left_out.as_ref()))
    }

    /// The switches above a signal, the nearest first: it is in the frame when each has one of its values.
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
                return Err(Fault::new(signal.line, message, ""));
            }
            out.push((switch, &multiplexed.values));
            below = switch;
        }
        Ok(out)
    }

    fn switch_of(&self, signal: &Signal, multiplexed: &Multiplexed) -> Result<&Signal, Fault> {
        let fault = |message: String| Fault::new(signal.line, message, "");
        let switch = match &multiplexed.switch {
            // SG_MUL_VAL_ has the names of SG_.
            Some(name) => match self.signals.iter().find(|other| other.written() == name) {
                Some(named) => named,
                None => match self.lost.iter().find(|lost| lost.name == *name) {
                    Some(lost) => return Err(lost.told_of_switch(signal)),
                    None => return Err(fault(format!("the switch {name} of signal {} does not exist", signal.name))),
                },
            },
            None => {
                let is_switch = |other: &&Signal| other.is_switch && other.multiplexed.is_none();
                let mut switches = self.signals.iter().filter(is_switch);
                if let Some(lost) = self.lost.iter().find(|lost| lost.may_be_switch) {
                    return Err(lost.told_of_switch(signal));
                }
                match (switches.next(), switches.next()) {
                    (Some(only), None) => only,
                    (None, _) => {
                        let message =
                            format!("the signal {} is multiplexed, and its message has no switch (M)", signal.name);
                        return Err(fault(message));
                    }
                    (Some(_), Some(_)) => {
                        return Err(fault(format!(
                            "the signal {} is multiplexed, and its message has several switches: SG_MUL_VAL_ must \
                             select one",
                            signal.name
                        )));
                    }
                }
            }
        };
        switch.left_out.as_ref().map_or(Ok(switch), |why| Err(why.clone()))
    }
}

impl LostSignal {
    fn told_of_switch(&self, below: &Signal) -> Fault {
        let name = if self.name.is_empty() { "a signal" } else { &self.name };
        let message =
            format!("the switch of signal {} may be {name}, which is ignored: {}", below.written(), self.why.message);
        Fault::new(self.why.line, message, &*self.why.help)
    }
}

impl Signal {
    /// Its name in SG_.
    pub fn written(&self) -> &str {
        self.short.as_deref().unwrap_or(&self.name)
    }

    /// Whether another SG_ says the same.
    fn is_like(&self, other: &Signal) -> bool {
        let place = |signal: &Signal| (signal.start, signal.bits, signal.big_endian, signal.signed, signal.is_switch);
        place(self) == place(other)
            && (self.scale, self.offset) == (other.scale, other.offset)
            && self.multiplexed == other.multiplexed
    }
}
