//! What has been read of a file so far, and the file that it makes.

use std::collections::{HashMap, HashSet};

use super::{Dbc, LostSignal, Message, Signal, naming};
use crate::config::beside::Fault;
use crate::tag::Nanos;

/// In the place of a message's id: signals without a message (Vector's tools write them), in no frame.
const NO_MESSAGE: u32 = 0xC000_0000;
/// The name of that message, which some tools give an id without bit 31.
const NO_MESSAGE_NAME: &str = "VECTOR__INDEPENDENT_SIG_MSG";
const EXTENDED: u32 = 1 << 31;
/// The ends of the 11-bit and the 29-bit identifiers.
const STANDARD_ID_MAX: u32 = 0x7FF;
const EXTENDED_ID_MAX: u32 = 0x1FFF_FFFF;
/// The longest cycle time that is believed: an hour.
const CYCLE_MS_MAX: f64 = 3_600_000.0;
/// Of VFrameFormat in Vector's tools, where a file does not list its words.
const J1939_FORMAT: usize = 3;

/// What has been read so far.
#[derive(Default)]
pub struct Gathered<'t> {
    pub dbc: Dbc,
    pub below: Below,
    /// There was a keyword, right or wrong behind it.
    pub has_statements: bool,
    /// Messages by id, as it is written, with the bit for extended ones.
    pub by_id: HashMap<u32, usize>,
    /// Places of signals in their messages.
    pub signals: HashMap<(usize, &'t str), usize>,
    /// Words of attributes that are enumerations.
    pub enums: HashMap<&'t str, Vec<&'t str>>,
    pub defaults: HashMap<&'t str, Value<'t>>,
    pub cycle_of: HashMap<usize, Value<'t>>,
    pub format_of: HashMap<usize, Value<'t>>,
    pub long_of_message: HashMap<usize, &'t str>,
    pub long_of_signal: HashMap<(usize, usize), &'t str>,
    /// Ids of what is no message, and messages whose id another one has, too.
    gone: HashSet<u32>,
    shared: HashSet<usize>,
    /// A message was lost, of which not even the id is known.
    is_incomplete: bool,
}

impl<'t> Gathered<'t> {
    /// A message of which nothing is known.
    pub fn lose_message(&mut self) {
        self.below = Below::Gone;
        self.is_incomplete = true;
    }

    /// Whether a message with this id was left out, and enough was said of it.
    pub fn is_gone(&self, id: u32) -> bool {
        id == NO_MESSAGE || self.gone.contains(&id) || self.is_incomplete
    }

    /// Whether a signal that this message does not have may be one that was left out.
    pub fn may_have_lost(&self, message: usize) -> bool {
        let lost = self.dbc.messages.get(message).is_some_and(|message| !message.lost.is_empty());
        lost || self.shared.contains(&message) || self.is_incomplete
    }

    /// The id as it is written, with its sign.
    pub fn add_message(&mut self, id: (bool, &str), name: &str, bytes: Result<u32, Fault>, line: u32) {
        let written = if id.0 { None } else { id.1.parse::<u32>().ok() };
        if written == Some(NO_MESSAGE) || name == NO_MESSAGE_NAME {
            self.below = Below::Gone;
            self.gone.extend(written);
            if written != Some(NO_MESSAGE) {
                let why = Fault::new(line, format!("its signals are in no message (id {})", id.1), "");
                self.dbc.left_out.add(name, why);
            }
            return;
        }
        let at = self.dbc.messages.len();
        let wrong = match (written, bytes) {
            (Some(written), Ok(bytes)) => self.id_fault(written, line).err().map_or(Ok(bytes), Err),
            (Some(_), Err(why)) => Err(why),
            (None, _) => {
                Err(Fault::new(line, format!("its id is {}{}", if id.0 { "-" } else { "" }, id.1), "allowed: 32 bits"))
            }
        };
        if let Err(why) = &wrong {
            self.dbc.left_out.add(format!("the message {name}"), why.clone());
        }
        if let Some(written) = written {
            match self.by_id.get(&written) {
                Some(first) => drop(self.shared.insert(*first)),
                None => drop(self.by_id.insert(written, at)),
            }
        }
        let written = written.unwrap_or_default();
        let (bytes, left_out) = wrong.map_or_else(|why| (0, Some(why)), |bytes| (bytes, None));
        self.dbc.messages.push(Message {
            name: name.to_owned(),
            short: None,
            line,
            id: written & !EXTENDED,
            extended: written & EXTENDED != 0,
            bytes,
            signals: Vec::new(),
            lost: Vec::new(),
            cycle: None,
            j1939: false,
            left_out,
        });
        self.below = Below::Message(at);
    }

    fn id_fault(&self, written: u32, line: u32) -> Result<(), Fault> {
        let (extended, id) = (written & EXTENDED != 0, written & !EXTENDED);
        if !extended && (STANDARD_ID_MAX + 1..=EXTENDED_ID_MAX).contains(&id) {
            let message =
                format!("its id {written} does not fit 11 bits, and bit 31, which marks 29-bit ids, is not set");
            return Err(Fault::new(line, message, format!("write {} for the identifier 0x{id:X}", written | EXTENDED)));
        }
        if id > EXTENDED_ID_MAX {
            let help = "allowed: 0 to 2047, or bit 31 set and an identifier of 29 bits";
            return Err(Fault::new(line, format!("its id is {written}"), help));
        }
        match self.by_id.get(&written).and_then(|at| self.dbc.messages.get(*at)) {
            Some(other) => {
                let message = format!("its id {written} is also that of message {} in line {}", other.name, other.line);
                Err(Fault::new(line, message, "each message has a unique id"))
            }
            None => Ok(()),
        }
    }

    /// Of two signals with one name, nobody knows which is meant, unless they are alike.
    pub fn add_signal(&mut self, message: usize, name: &'t str, signal: Signal) {
        let Some(of) = self.dbc.messages.get_mut(message) else { return };
        let Some(first) = self.signals.get(&(message, name)) else {
            self.signals.insert((message, name), of.signals.len());
            of.signals.push(signal);
            return;
        };
        let Some(first) = of.signals.get_mut(*first) else { return };
        let found = format!("line {} has a signal of the same name", first.line);
        let (what, help) = if first.is_like(&signal) {
            (format!("the second {name} of message {}", of.name), "")
        } else {
            let both = Fault::new(signal.line, &*found, "rename one of the two");
            first.left_out.get_or_insert(both);
            (format!("the signal {name} of message {}", of.name), "rename one of the two")
        };
        self.dbc.left_out.add(what, Fault::new(signal.line, found, help));
    }

    /// A signal that could not be read.
    pub fn lose_signal(&mut self, message: usize, lost: LostSignal) {
        let Some(of) = self.dbc.messages.get_mut(message) else { return };
        let what = match &*lost.name {
            "" => format!("a signal of message {}", of.name),
            name => format!("the signal {name} of message {}", of.name),
        };
        self.dbc.left_out.add(what, lost.why.clone());
        of.lost.push(lost);
    }

    pub fn signal_mut(&mut self, (message, signal): (usize, usize)) -> Option<&mut Signal> {
        self.dbc.messages.get_mut(message)?.signals.get_mut(signal)
    }

    /// What was said of it behind its message is wrong, which is told by itself.
    pub fn leave_out_signal(&mut self, place: (usize, usize), why: &Fault) {
        if let Some(signal) = self.signal_mut(place) {
            signal.left_out.get_or_insert_with(|| why.clone());
        }
    }

    /// Attributes come behind the messages that they speak of.
    pub fn finish(mut self) -> Dbc {
        let formats = self.enums.get("VFrameFormat").map(|words| &words[..]);
        let is_j1939 = |value: &Value<'_>| match (value, formats) {
            (Value::Text(word), _) => *word == "J1939PG",
            (Value::Number(at), Some(words)) => words.get(*at as usize) == Some(&"J1939PG"),
            (Value::Number(at), None) => *at as usize == J1939_FORMAT,
        };
        for (at, message) in self.dbc.messages.iter_mut().enumerate() {
            let cycle = self.cycle_of.get(&at).or_else(|| self.defaults.get("GenMsgCycleTime"));
            if let Some(Value::Number(ms)) = cycle
                && *ms > 0.0
                && *ms <= CYCLE_MS_MAX
            {
                message.cycle = Some(Nanos((*ms * 1e6) as u64));
            }
            let format = self.format_of.get(&at).or_else(|| self.defaults.get("VFrameFormat"));
            message.j1939 = message.extended && format.is_some_and(is_j1939);
        }
        naming::name(&mut self.dbc, &self.long_of_message, &self.long_of_signal);
        self.dbc
    }
}

/// Where signals belong that come next.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Below {
    /// A statement was read below which no signals stand.
    #[default]
    None,
    /// The message at this place.
    Message(usize),
    /// A message that was left out, and nothing can be said of its signals.
    Gone,
}

/// An attribute's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'t> {
    Number(f64),
    Text(&'t str),
}
