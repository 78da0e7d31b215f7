//! What is said of messages and signals behind them: BA_DEF_, BA_, VAL_, SIG_VALTYPE_.

use super::Fault;
use super::cursor::{Parser, Value};
use super::gathered::NO_MESSAGE;
use super::lexer::{Placed, Token};

impl<'t> Parser<'_, 't> {
    /// `BA_DEF_ [BU_|BO_|SG_|EV_] "name" type …;` of which the words of enumerations are kept.
    pub(super) fn attribute_definition(&mut self) -> Result<(), Fault> {
        if matches!(self.peek(), Some(Placed { token: Token::Word("BU_" | "BO_" | "SG_" | "EV_"), .. })) {
            self.at += 1;
        }
        let name = self.text("the name of an attribute")?;
        let mut words = Vec::new();
        while let Some(placed) = self.peek() {
            match placed.token {
                Token::Sign(';') => break,
                Token::Text(word) => words.push(word),
                _ => {}
            }
            self.at += 1;
        }
        self.sign(';')?;
        self.out.enums.insert(name, words);
        Ok(())
    }

    /// `BA_ "name" [BU_ node | BO_ id | SG_ id name | EV_ name] value;`
    pub(super) fn attribute(&mut self) -> Result<(), Fault> {
        let name = self.text("the name of an attribute")?;
        let mut of_message = None;
        let mut of_signal = None;
        if let Some(Placed { token: Token::Word(kind), .. }) = self.peek() {
            self.at += 1;
            match kind {
                "BU_" | "EV_" => drop(self.word("a name")?),
                "BO_" => of_message = self.message_of("the id of a message")?,
                "SG_" => of_signal = self.signal_of()?,
                _ => {
                    self.at -= 1;
                    return self.unexpected("BU_, BO_, SG_, EV_ or a value");
                }
            }
        }
        let value = self.value()?;
        self.sign(';')?;
        match (name, of_message, of_signal) {
            ("GenMsgCycleTime", Some(at), _) => drop(self.out.cycle_of.insert(at, value)),
            ("VFrameFormat", Some(at), _) => drop(self.out.format_of.insert(at, value)),
            ("GenSigStartValue", _, Some(place)) => {
                if let (Value::Number(raw), Some(signal)) = (value, self.out.signal_mut(place)) {
                    signal.start_value = Some(raw);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A message that is spoken of; `None`: the one that is none.
    fn message_of(&mut self, wanted: &str) -> Result<Option<usize>, Fault> {
        let line = self.peek().map_or(1, |placed| placed.line);
        let id = self.small(wanted)?;
        match self.out.by_id.get(&id) {
            Some(at) => Ok(Some(*at)),
            None if id == NO_MESSAGE || self.incomplete => Ok(None),
            None => {
                let help = "it has to be declared above, by BO_".into();
                Err(Fault::new(line, format!("there is no message with the id {id}"), help))
            }
        }
    }

    /// `id name` of a signal that is spoken of.
    pub(super) fn signal_of(&mut self) -> Result<Option<(usize, usize)>, Fault> {
        let message = self.message_of("the id of a message")?;
        let line = self.peek().map_or(1, |placed| placed.line);
        let name = self.word("the name of a signal")?;
        let Some(message) = message else { return Ok(None) };
        match self.out.signals.get(&(message, name)) {
            Some(at) => Ok(Some((message, *at))),
            None if self.incomplete => Ok(None),
            None => {
                let of = self.out.dbc.messages.get(message).map_or("", |message| &*message.name);
                Err(Fault::new(line, format!("the message {of} has no signal {name}"), String::new()))
            }
        }
    }

    /// `VAL_ id signal raw "text" … ;`, or of an environment variable, which has a name in place of the id.
    pub(super) fn value_texts(&mut self) -> Result<(), Fault> {
        if matches!(self.peek(), Some(Placed { token: Token::Word(_), .. })) {
            self.skip_statement();
            return Ok(());
        }
        let place = self.signal_of()?;
        let mut texts = Vec::new();
        while !self.is_sign(';') {
            let raw = self.whole("a raw value, or ;")?;
            texts.push((raw, unescaped(self.text("the text of the value")?)));
        }
        self.sign(';')?;
        if let Some(signal) = place.and_then(|place| self.out.signal_mut(place)) {
            signal.texts = texts;
        }
        Ok(())
    }

    /// `SIG_VALTYPE_ id signal [:] type;`
    pub(super) fn value_type(&mut self) -> Result<(), Fault> {
        let line = self.peek().map_or(1, |placed| placed.line);
        let place = self.signal_of()?;
        self.accept(':');
        let kind = self.small("0 (integer), 1 (float) or 2 (double)")?;
        self.sign(';')?;
        let Some(signal) = place.and_then(|place| self.out.signal_mut(place)) else { return Ok(()) };
        match (kind, signal.bits) {
            (0, _) => {}
            (1, 32) | (2, 64) => signal.float = true,
            (1 | 2, bits) => {
                let message = format!("the signal {} is a float, and has {bits} bits", signal.name);
                return Err(Fault::new(line, message, "type 1 has 32 bits, type 2 has 64".into()));
            }
            _ => return Err(Fault::new(line, format!("the value type {kind}"), "wanted: 0, 1 or 2".into())),
        }
        Ok(())
    }
}

fn unescaped(text: &str) -> String {
    text.replace("\\\"", "\"")
}
