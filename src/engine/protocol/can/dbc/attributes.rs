//! What is said of messages and signals behind them: BA_DEF_, BA_, VAL_, SIG_VALTYPE_.

use super::cursor::Parser;
use super::gathered::Value;
use super::lexer::{Placed, Token};
use crate::config::beside::Fault;

/// Attributes that have a part in names and values. Those of nodes and of environment variables
/// (SystemNodeLongSymbol, SystemEnvVarLongSymbol) have none: no tag names these.
const USED: &[&str] =
    &["GenMsgCycleTime", "VFrameFormat", "GenSigStartValue", "SystemMessageLongSymbol", "SystemSignalLongSymbol"];

impl<'t> Parser<'t> {
    /// `BA_DEF_ [BU_|BO_|SG_|EV_] "name" type …;` of which the words of enumerations are kept.
    pub fn attribute_definition(&mut self, placed: Placed<'t>) -> Result<(), Fault> {
        if matches!(self.peek(), Some(Placed { token: Token::Word("BU_" | "BO_" | "SG_" | "EV_"), .. })) {
            self.at += 1;
        }
        let Some(name) = self.used_attribute(placed) else { return Ok(()) };
        let mut words = Vec::new();
        while !self.is_sign(';') && !self.is_behind_statement() {
            if let Some(Placed { token: Token::Text(word), .. }) = self.next() {
                words.push(word);
            }
        }
        self.end()?;
        self.out.enums.insert(name, words);
        Ok(())
    }

    /// `BA_DEF_DEF_ "name" value;`
    pub fn attribute_default(&mut self, placed: Placed<'t>) -> Result<(), Fault> {
        let Some(name) = self.used_attribute(placed) else { return Ok(()) };
        let value = self.value()?;
        self.end()?;
        self.out.defaults.insert(name, value);
        Ok(())
    }

    /// The name of an attribute that has a part in values; the statement of another one is passed over.
    fn used_attribute(&mut self, placed: Placed<'t>) -> Option<&'t str> {
        match self.text("the name of an attribute") {
            Ok(name) if USED.contains(&name) => Some(name),
            _ => {
                self.pass_over(placed);
                None
            }
        }
    }

    /// `BA_ "name" [BU_ node | BO_ id | SG_ id name | EV_ name] value;`
    pub fn attribute(&mut self, placed: Placed<'t>) -> Result<(), Fault> {
        let Some(name) = self.used_attribute(placed) else { return Ok(()) };
        let mut of_message = None;
        let mut of_signal = None;
        if self.is_word("BO_") {
            self.at += 1;
            of_message = self.message_spoken_of()?;
        } else if self.is_word("SG_") {
            self.at += 1;
            of_signal = self.signal_spoken_of()?;
        }
        let value = self.value()?;
        self.end()?;
        match (name, of_message, of_signal, value) {
            ("GenMsgCycleTime", Some(at), _, _) => drop(self.out.cycle_of.insert(at, value)),
            ("VFrameFormat", Some(at), _, _) => drop(self.out.format_of.insert(at, value)),
            ("SystemMessageLongSymbol", Some(at), _, Value::Text(long)) => {
                self.out.long_of_message.insert(at, long.trim());
            }
            ("SystemSignalLongSymbol", _, Some(place), Value::Text(long)) => {
                self.out.long_of_signal.insert(place, long.trim());
            }
            ("GenSigStartValue", _, Some(place), Value::Number(raw)) => {
                if let Some(signal) = self.out.signal_mut(place) {
                    signal.start_value = Some(raw);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The id of a message; `None`: one that was left out, of which enough has been said.
    fn message_spoken_of(&mut self) -> Result<Option<usize>, Fault> {
        let line = self.peek().map_or(1, |placed| placed.line);
        let id = self.small("the id of a message")?;
        match self.out.by_id.get(&id) {
            Some(at) => Ok(Some(*at)),
            None if self.out.is_gone(id) => Ok(None),
            None => {
                let help = "it must be declared before, by BO_";
                Err(Fault::new(line, format!("there is no message with the id {id}"), help))
            }
        }
    }

    /// `id name` of a signal, as [`Parser::message_spoken_of`].
    pub fn signal_spoken_of(&mut self) -> Result<Option<(usize, usize)>, Fault> {
        let message = self.message_spoken_of()?;
        let line = self.peek().map_or(1, |placed| placed.line);
        let name = self.word("the name of a signal")?;
        let Some(message) = message else { return Ok(None) };
        match self.out.signals.get(&(message, name)) {
            Some(at) => Ok(Some((message, *at))),
            None if self.out.may_have_lost(message) => Ok(None),
            None => {
                let of = self.out.dbc.messages.get(message).map_or("", |message| &*message.name);
                Err(Fault::new(line, format!("the message {of} has no signal {name}"), ""))
            }
        }
    }

    /// `VAL_ id signal raw "text" … ;`, or of an environment variable, which has a name in place of the id.
    pub fn value_texts(&mut self) -> Result<(), Fault> {
        if matches!(self.peek(), Some(Placed { token: Token::Word(_), .. })) {
            return self.skip_statement();
        }
        let place = self.signal_spoken_of()?;
        let read = self.table();
        match (place.and_then(|place| self.out.signal_mut(place)), read) {
            (Some(signal), Ok(texts)) => signal.texts = texts,
            (Some(signal), Err(why)) => {
                signal.texts_left_out = Some(why.clone());
                return Err(why);
            }
            (None, read) => return read.map(drop),
        }
        Ok(())
    }

    fn table(&mut self) -> Result<Vec<(i64, String)>, Fault> {
        let mut texts = Vec::new();
        while !self.is_sign(';') && !self.is_behind_statement() {
            let raw = self.whole("a raw value, or ;")?;
            texts.push((raw, unescaped(self.text("the text of the value")?)));
        }
        self.end()?;
        Ok(texts)
    }

    /// `SIG_VALTYPE_ id signal [:] type;` Without it, the signal's bits would be taken for a whole number.
    pub fn value_type(&mut self) -> Result<(), Fault> {
        let place = self.signal_spoken_of()?;
        let read = self.kind_of_value(place);
        if let (Some(place), Err(why)) = (place, &read) {
            self.out.leave_out_signal(place, why);
        }
        let is_float = read?;
        if let Some(signal) = place.and_then(|place| self.out.signal_mut(place)) {
            signal.float = is_float;
        }
        Ok(())
    }

    fn kind_of_value(&mut self, place: Option<(usize, usize)>) -> Result<bool, Fault> {
        let line = self.peek().map_or(1, |placed| placed.line);
        self.accept(':');
        let kind = self.small("0 (integer), 1 (float) or 2 (double)")?;
        self.end()?;
        let bits = place.and_then(|place| self.out.signal_mut(place)).map(|signal| signal.bits);
        match (kind, bits) {
            (0, _) => Ok(false),
            (1, Some(32) | None) | (2, Some(64) | None) => Ok(true),
            (1 | 2, Some(bits)) => {
                let message = format!("the signal is a float, and has {bits} bits");
                Err(Fault::new(line, message, "type 1 has 32 bits, type 2 has 64"))
            }
            _ => Err(Fault::new(line, format!("the value type is {kind}"), "wanted: 0, 1 or 2")),
        }
    }
}

fn unescaped(text: &str) -> String {
    text.replace("\\\"", "\"")
}
