//! What has been read of a file so far, and the file that it makes.

use std::collections::HashMap;

use super::cursor::Value;
use super::{Dbc, Fault, Message, Signal};
use crate::tag::Nanos;

/// In the place of a message's id: signals without a message (Vector's tools write them), in no frame.
pub(super) const NO_MESSAGE: u32 = 0xC000_0000;
const EXTENDED: u32 = 1 << 31;
/// The ends of the 11-bit and the 29-bit identifiers.
const STANDARD_ID_MAX: u32 = 0x7FF;
const EXTENDED_ID_MAX: u32 = 0x1FFF_FFFF;
/// The longest cycle time that is believed: an hour.
const CYCLE_MS_MAX: f64 = 3_600_000.0;

/// What has been read so far.
#[derive(Default)]
pub(super) struct Gathered<'t> {
    pub dbc: Dbc,
    /// Messages by id, as it is written, with the bit for extended ones.
    pub by_id: HashMap<u32, usize>,
    /// Places of signals in their messages.
    pub signals: HashMap<(usize, &'t str), usize>,
    /// Words of attributes that are enumerations.
    pub enums: HashMap<&'t str, Vec<&'t str>>,
    pub defaults: HashMap<&'t str, Value<'t>>,
    pub cycle_of: HashMap<usize, Value<'t>>,
    pub format_of: HashMap<usize, Value<'t>>,
}

impl<'t> Gathered<'t> {
    /// `None`: it is no message, but the place of signals that have none.
    pub fn add_message(&mut self, written: u32, name: &str, bytes: u32, line: u32) -> Result<Option<usize>, Fault> {
        if written == NO_MESSAGE {
            return Ok(None);
        }
        let (extended, id) = (written & EXTENDED != 0, written & !EXTENDED);
        if id > if extended { EXTENDED_ID_MAX } else { STANDARD_ID_MAX } {
            let help = "allowed: 0 to 2047, or bit 31 set and an identifier of 29 bits".into();
            return Err(Fault::new(line, format!("the message {name} has the id {written}"), help));
        }
        if let Some(other) = self.by_id.get(&written).and_then(|at| self.dbc.messages.get(*at)) {
            let message = format!("the id {written} is that of message {} in line {}", other.name, other.line);
            return Err(Fault::new(line, message, "a message has an id of its own".into()));
        }
        if let Some(other) = self.dbc.message(name) {
            let message = format!("the message {name} stands already in line {}", other.line);
            return Err(Fault::new(line, message, "rename one of the two".into()));
        }
        let at = self.dbc.messages.len();
        self.by_id.insert(written, at);
        self.dbc.by_name.insert(name.to_owned(), at);
        self.dbc.messages.push(Message {
            name: name.to_owned(),
            line,
            id,
            extended,
            bytes,
            signals: Vec::new(),
            cycle: None,
            j1939: false,
        });
        Ok(Some(at))
    }

    pub fn add_signal(&mut self, message: usize, name: &'t str, signal: Signal) -> Result<(), Fault> {
        let Some(of) = self.dbc.messages.get_mut(message) else { return Ok(()) };
        if let Some(first) = self.signals.insert((message, name), of.signals.len()) {
            let line = of.signals.get(first).map_or(0, |first| first.line);
            let found = format!("the signal {name} of message {} stands already in line {line}", of.name);
            return Err(Fault::new(signal.line, found, "rename one of the two".into()));
        }
        of.signals.push(signal);
        Ok(())
    }

    pub fn signal_mut(&mut self, (message, signal): (usize, usize)) -> Option<&mut Signal> {
        self.dbc.messages.get_mut(message)?.signals.get_mut(signal)
    }

    /// Attributes come behind the messages that they speak of.
    pub fn finish(mut self) -> Dbc {
        let formats = self.enums.get("VFrameFormat").map_or(&[][..], |words| words);
        let is_j1939 = |value: &Value<'_>| match value {
            Value::Text(word) => *word == "J1939PG",
            Value::Number(at) => formats.get(*at as usize) == Some(&"J1939PG"),
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
        self.dbc
    }
}
