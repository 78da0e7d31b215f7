//! Which name means which message and signal.
//!
//! Vector's tools cut names to 32 characters and keep the whole ones as attributes, SystemMessageLongSymbol and
//! SystemSignalLongSymbol. Shown is the long one; both may be used, as long as they mean one thing.

use std::collections::HashMap;

use super::{Dbc, Message, Signal};
use crate::config::beside::{Fault, LeftOut};

/// What has a name, and perhaps a short one beside it.
trait Named {
    /// The name that is shown, the short one, the line.
    fn named(&mut self) -> (&mut String, &mut Option<String>, u32);
}

impl Named for Message {
    fn named(&mut self) -> (&mut String, &mut Option<String>, u32) {
        (&mut self.name, &mut self.short, self.line)
    }
}

impl Named for Signal {
    fn named(&mut self) -> (&mut String, &mut Option<String>, u32) {
        (&mut self.name, &mut self.short, self.line)
    }
}

/// Gives messages and signals their long names, and finds the names that mean two messages.
pub fn name(dbc: &mut Dbc, of_messages: &HashMap<usize, &str>, of_signals: &HashMap<(usize, usize), &str>) {
    let Dbc { messages, left_out, shown, short } = dbc;
    let mut of_message: HashMap<usize, HashMap<usize, &str>> = HashMap::new();
    for ((message, signal), long) in of_signals {
        of_message.entry(*message).or_default().insert(*signal, long);
    }
    for (at, message) in messages.iter_mut().enumerate() {
        let Some(long) = of_message.get(&at) else { continue };
        let what = format!("signal of message {}", message.name);
        give_long(&mut message.signals, &what, long, left_out);
    }
    if !of_messages.is_empty() {
        give_long(messages, "message", of_messages, left_out);
    }
    leave_out_twins(messages, left_out);
    // A message that can be used goes before one of its name that was left out.
    for is_usable in [true, false] {
        for (at, message) in messages.iter().enumerate().filter(|(_, m)| m.left_out.is_none() == is_usable) {
            shown.entry(message.name.clone()).or_insert(at);
            if let Some(name) = &message.short {
                short.entry(name.clone()).or_default().push(at);
            }
        }
    }
}

/// A long name that another one has, too, is given to neither.
fn give_long<T: Named>(list: &mut [T], what: &str, long: &HashMap<usize, &str>, left_out: &mut LeftOut) {
    let long_of = |at: usize| long.get(&at).copied().filter(|long| !long.is_empty());
    let mut owners: HashMap<String, usize> = HashMap::new();
    for (at, named) in list.iter_mut().enumerate() {
        let name = long_of(at).unwrap_or(named.named().0);
        *owners.entry(name.to_owned()).or_default() += 1;
    }
    for (at, named) in list.iter_mut().enumerate() {
        let (shown, short, line) = named.named();
        let Some(long) = long_of(at).filter(|long| long != shown) else { continue };
        if owners.get(long).is_some_and(|owners| *owners > 1) {
            let why = Fault::new(line, "another one has the same", "");
            left_out.add(format!("the long name {long} of the {what} {shown}"), why);
            continue;
        }
        *short = Some(std::mem::replace(shown, long.to_owned()));
    }
}

/// Of two messages with one name, nobody knows which is meant.
fn leave_out_twins(messages: &mut [Message], left_out: &mut LeftOut) {
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut twins = Vec::new();
    for (at, message) in messages.iter().enumerate().filter(|(_, message)| message.left_out.is_none()) {
        match first.get(&message.name) {
            None => drop(first.insert(message.name.clone(), at)),
            Some(one) => twins.push((*one, at)),
        }
    }
    for (one, other) in twins {
        let (Some(line), Some(second)) = (messages.get(one).map(|first| first.line), messages.get(other)) else {
            continue;
        };
        let message = format!("line {line} has a message of the same name");
        let why = Fault::new(second.line, message, "rename one of the two, or give the bits: link:0x123:START:LENGTH");
        left_out.add(format!("the message {}", second.name), why.clone());
        for at in [one, other] {
            if let Some(message) = messages.get_mut(at) {
                message.left_out.get_or_insert_with(|| why.clone());
            }
        }
    }
}
