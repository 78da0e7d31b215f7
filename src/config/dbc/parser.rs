//! Tokens to messages. A statement that is wrong is reported, and reading goes on with the next.

use std::collections::HashMap;

use super::lexer::{Placed, Token, tokens};
use super::{Dbc, Fault, Message, Multiplexed, Signal};
use crate::tag::Nanos;

/// Reported of one file: a wrong script repeats its mistake on every line.
const FAULTS_MAX: usize = 20;
/// In the place of a message's id: signals without a message (Vector's tools write them), in no frame.
const NO_MESSAGE: u32 = 0xC000_0000;
const EXTENDED: u32 = 1 << 31;
/// The ends of the 11-bit and the 29-bit identifiers.
const STANDARD_ID_MAX: u32 = 0x7FF;
const EXTENDED_ID_MAX: u32 = 0x1FFF_FFFF;
/// The longest cycle time that is believed: an hour.
const CYCLE_MS_MAX: f64 = 3_600_000.0;

/// Keywords whose statements end with a semicolon and say nothing about values.
const PASSED_OVER: &[&str] = &[
    "CM_",
    "BA_DEF_REL_",
    "BA_REL_",
    "BA_DEF_DEF_REL_",
    "BA_DEF_SGTYPE_",
    "BA_SGTYPE_",
    "SGTYPE_",
    "SGTYPE_VAL_",
    "SIG_GROUP_",
    "SIGTYPE_VALTYPE_",
    "SIG_TYPE_REF_",
    "BU_SG_REL_",
    "BU_EV_REL_",
    "BU_BO_REL_",
    "BO_TX_BU_",
    "EV_",
    "EV_DATA_",
    "ENVVAR_DATA_",
    "VAL_TABLE_",
    "CAT_DEF_",
    "CAT_",
    "FILTER",
    "NS_DESC_",
];
const READ: &[&str] = &[
    "VERSION",
    "NS_",
    "BS_",
    "BU_",
    "BO_",
    "SG_",
    "BA_DEF_",
    "BA_DEF_DEF_",
    "BA_",
    "VAL_",
    "SIG_VALTYPE_",
    "SG_MUL_VAL_",
];

fn is_keyword(word: &str) -> bool {
    READ.contains(&word) || PASSED_OVER.contains(&word)
}

pub(super) fn parse(text: &str) -> Result<Dbc, Vec<Fault>> {
    let tokens = tokens(text).map_err(|fault| vec![fault])?;
    let mut parser = Parser { tokens: &tokens, at: 0, out: Out::default(), faults: Vec::new(), incomplete: false };
    while let Some(placed) = parser.peek().filter(|_| parser.faults.len() < FAULTS_MAX) {
        if let Err(fault) = parser.statement() {
            parser.incomplete |= placed.token == Token::Word("BO_");
            parser.faults.push(fault);
            parser.recover(placed);
        }
    }
    if parser.faults.is_empty() { Ok(parser.out.finish()) } else { Err(parser.faults) }
}

/// An attribute's value.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value<'t> {
    Number(f64),
    Text(&'t str),
}

/// What has been read so far.
#[derive(Default)]
struct Out<'t> {
    dbc: Dbc,
    /// Messages by id, as it is written, with the bit for extended ones.
    by_id: HashMap<u32, usize>,
    /// Places of signals in their messages.
    signals: HashMap<(usize, &'t str), usize>,
    /// Words of attributes that are enumerations.
    enums: HashMap<&'t str, Vec<&'t str>>,
    defaults: HashMap<&'t str, Value<'t>>,
    cycle_of: HashMap<usize, Value<'t>>,
    format_of: HashMap<usize, Value<'t>>,
}

struct Parser<'p, 't> {
    tokens: &'p [Placed<'t>],
    at: usize,
    out: Out<'t>,
    faults: Vec<Fault>,
    /// A message or a signal could not be read: what speaks of one that is not known may mean that.
    incomplete: bool,
}

impl<'t> Parser<'_, 't> {
    fn peek(&self) -> Option<Placed<'t>> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Option<Placed<'t>> {
        let placed = self.peek();
        self.at += 1;
        placed
    }

    /// What stands here is not what has to stand here.
    fn unexpected<T>(&self, wanted: &str) -> Result<T, Fault> {
        let last = self.tokens.last().map_or(1, |placed| placed.line);
        let (line, found) = match self.peek() {
            None => (last, "the file ends".to_owned()),
            Some(Placed { token, line }) => {
                let found = match token {
                    Token::Word(word) | Token::Number(word) => word.chars().take(40).collect(),
                    Token::Text(text) => format!("the text \"{}\"", text.chars().take(40).collect::<String>()),
                    Token::Sign(sign) => sign.to_string(),
                };
                (line, format!("{found} stands here"))
            }
        };
        Err(Fault::new(line, found, format!("wanted: {wanted}")))
    }

    fn word(&mut self, wanted: &str) -> Result<&'t str, Fault> {
        match self.peek() {
            Some(Placed { token: Token::Word(word), .. }) => {
                self.at += 1;
                Ok(word)
            }
            _ => self.unexpected(wanted),
        }
    }

    fn text(&mut self, wanted: &str) -> Result<&'t str, Fault> {
        match self.peek() {
            Some(Placed { token: Token::Text(text), .. }) => {
                self.at += 1;
                Ok(text)
            }
            _ => self.unexpected(wanted),
        }
    }

    fn is_sign(&self, sign: char) -> bool {
        self.peek().is_some_and(|placed| placed.token == Token::Sign(sign))
    }

    fn accept(&mut self, sign: char) -> bool {
        let there = self.is_sign(sign);
        self.at += usize::from(there);
        there
    }

    fn sign(&mut self, sign: char) -> Result<(), Fault> {
        if self.accept(sign) { Ok(()) } else { self.unexpected(&sign.to_string()) }
    }

    /// A number with its sign, as it is written.
    fn digits(&mut self, wanted: &str) -> Result<(bool, &'t str), Fault> {
        let start = self.at;
        let negative = self.accept('-');
        if !negative {
            self.accept('+');
        }
        match self.peek() {
            Some(Placed { token: Token::Number(digits), .. }) => {
                self.at += 1;
                Ok((negative, digits))
            }
            _ => {
                self.at = start;
                self.unexpected(wanted)
            }
        }
    }

    fn number(&mut self, wanted: &str) -> Result<f64, Fault> {
        let start = self.at;
        let (negative, digits) = self.digits(wanted)?;
        let value: f64 = digits.parse().unwrap_or(f64::NAN);
        if !value.is_finite() {
            self.at = start;
            return self.unexpected(wanted);
        }
        Ok(if negative { -value } else { value })
    }

    fn unsigned(&mut self, wanted: &str) -> Result<u64, Fault> {
        let start = self.at;
        match self.digits(wanted) {
            Ok((false, digits)) if let Ok(number) = digits.parse() => Ok(number),
            _ => {
                self.at = start;
                self.unexpected(wanted)
            }
        }
    }

    fn small(&mut self, wanted: &str) -> Result<u32, Fault> {
        let start = self.at;
        let number = self.unsigned(wanted)?;
        u32::try_from(number).or_else(|_| {
            self.at = start;
            self.unexpected(wanted)
        })
    }

    /// A whole number, also when it is written with a fraction of zeroes.
    fn whole(&mut self, wanted: &str) -> Result<i64, Fault> {
        let start = self.at;
        let (negative, digits) = self.digits(wanted)?;
        let number = digits.parse::<i128>().ok().or_else(|| {
            let float: f64 = digits.parse().ok()?;
            (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i128)
        });
        // Raw values of unsigned signals of 64 bits keep their bits.
        let number = number.map(|number| if negative { -number } else { number });
        match number.and_then(|n| i64::try_from(n).ok().or_else(|| u64::try_from(n).ok().map(|n| n as i64))) {
            Some(number) => Ok(number),
            None => {
                self.at = start;
                self.unexpected(wanted)
            }
        }
    }

    fn skip_statement(&mut self) {
        while let Some(placed) = self.next() {
            if placed.token == Token::Sign(';') {
                return;
            }
        }
    }

    /// Goes to the next keyword that begins a line, after the statement that began with `failed`.
    fn recover(&mut self, failed: Placed<'t>) {
        let mut line =
            self.tokens.get(self.at.wrapping_sub(1)).map_or(failed.line, |placed| placed.line).max(failed.line);
        while let Some(placed) = self.peek() {
            if placed.line > line && matches!(placed.token, Token::Word(word) if is_keyword(word)) {
                return;
            }
            line = placed.line;
            self.at += 1;
        }
    }

    fn statement(&mut self) -> Result<(), Fault> {
        let Some(placed) = self.peek() else { return Ok(()) };
        // Semicolons too many hurt nobody.
        if self.accept(';') {
            return Ok(());
        }
        let keyword = self.word("a keyword such as BO_")?;
        match keyword {
            "VERSION" => self.text("a text").map(drop),
            "NS_" => {
                self.sign(':')?;
                self.new_symbols();
                Ok(())
            }
            "BS_" | "BU_" => {
                self.sign(':')?;
                // Baud rates, which nobody writes any more; names of nodes, which have no part in values.
                while let Some(placed) = self.peek() {
                    if matches!(placed.token, Token::Word(word) if is_keyword(word)) {
                        break;
                    }
                    self.at += 1;
                }
                Ok(())
            }
            "BO_" => self.message(placed.line),
            "SG_" if self.incomplete => {
                self.recover(placed);
                Ok(())
            }
            "SG_" => Err(Fault::new(placed.line, "a signal without a message".into(), "SG_ stands below BO_".into())),
            "BA_DEF_" => self.attribute_definition(),
            "BA_DEF_DEF_" => {
                let name = self.text("the name of an attribute")?;
                let value = self.value()?;
                self.out.defaults.insert(name, value);
                self.sign(';')
            }
            "BA_" => self.attribute(),
            "VAL_" => self.value_texts(),
            "SIG_VALTYPE_" => self.value_type(),
            "SG_MUL_VAL_" => self.multiplexed_values(),
            word if PASSED_OVER.contains(&word) => {
                self.skip_statement();
                Ok(())
            }
            _ => {
                self.at -= 1;
                self.unexpected("a keyword such as BO_")
            }
        }
    }

    /// The names below NS_ are keywords themselves: each stands alone on its line.
    fn new_symbols(&mut self) {
        while let Some(placed) = self.peek() {
            let next = self.tokens.get(self.at + 1);
            let alone = next.is_none_or(|next| next.line > placed.line);
            if !alone || !matches!(placed.token, Token::Word(_)) {
                return;
            }
            self.at += 1;
        }
    }

    fn message(&mut self, line: u32) -> Result<(), Fault> {
        let written = self.small("the id of the message")?;
        let name = self.word("the name of the message")?;
        self.sign(':')?;
        let bytes = self.small("the bytes of the message")?;
        // Its sender.
        if matches!(self.peek(), Some(placed) if matches!(placed.token, Token::Word(word) if !is_keyword(word))) {
            self.at += 1;
        }
        let at = self.out.add_message(written, name, bytes, line)?;
        while matches!(self.peek(), Some(Placed { token: Token::Word("SG_"), .. })) {
            let line = self.peek().map_or(line, |placed| placed.line);
            self.at += 1;
            let read = self.signal(line).and_then(|(name, signal)| match at {
                Some(at) => self.out.add_signal(at, name, signal),
                None => Ok(()),
            });
            if let Err(fault) = read {
                self.incomplete = true;
                self.faults.push(fault);
                self.recover(Placed { token: Token::Word("SG_"), line });
                if self.faults.len() >= FAULTS_MAX {
                    break;
                }
            }
        }
        Ok(())
    }

    fn signal(&mut self, line: u32) -> Result<(&'t str, Signal), Fault> {
        let name = self.word("the name of the signal")?;
        let (mut is_switch, mut multiplexed) = (false, None);
        if !self.is_sign(':') {
            let start = self.at;
            let indicator = self.word(": or a multiplexer indicator")?;
            let Some((switch, value)) = indicator_of(indicator) else {
                self.at = start;
                return self.unexpected("M, m and a number, or :");
            };
            is_switch = switch;
            multiplexed = value.map(|value| Multiplexed { switch: None, values: vec![(value, value)] });
        }
        self.sign(':')?;
        let start = self.small("the start bit")?;
        self.sign('|')?;
        let bits = self.small("the length in bits")?;
        self.sign('@')?;
        let big_endian = match self.small("0 (Motorola) or 1 (Intel)")? {
            0 => true,
            1 => false,
            _ => {
                self.at -= 1;
                return self.unexpected("0 (Motorola) or 1 (Intel)");
            }
        };
        let signed = if self.accept('-') {
            true
        } else {
            self.sign('+')?;
            false
        };
        self.sign('(')?;
        let scale = self.number("the factor")?;
        self.sign(',')?;
        let offset = self.number("the offset")?;
        self.sign(')')?;
        self.sign('[')?;
        self.number("the minimum")?;
        self.sign('|')?;
        self.number("the maximum")?;
        self.sign(']')?;
        let unit = self.text("the unit")?.trim().to_owned();
        self.receivers();
        let signal = Signal {
            name: name.to_owned(),
            line,
            start,
            bits,
            big_endian,
            signed,
            float: false,
            scale,
            offset,
            unit,
            is_switch,
            multiplexed,
            texts: Vec::new(),
            start_value: None,
        };
        Ok((name, signal))
    }

    fn receivers(&mut self) {
        while let Some(placed) = self.peek() {
            match placed.token {
                Token::Word(word) if !is_keyword(word) => self.at += 1,
                Token::Sign(',') => self.at += 1,
                _ => return,
            }
        }
    }

    /// `BA_DEF_ [BU_|BO_|SG_|EV_] "name" type …;` of which the words of enumerations are kept.
    fn attribute_definition(&mut self) -> Result<(), Fault> {
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

    fn value(&mut self) -> Result<Value<'t>, Fault> {
        match self.peek() {
            Some(Placed { token: Token::Text(text), .. }) => {
                self.at += 1;
                Ok(Value::Text(text))
            }
            _ => self.number("a number or a text").map(Value::Number),
        }
    }

    /// `BA_ "name" [BU_ node | BO_ id | SG_ id name | EV_ name] value;`
    fn attribute(&mut self) -> Result<(), Fault> {
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
    fn signal_of(&mut self) -> Result<Option<(usize, usize)>, Fault> {
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
    fn value_texts(&mut self) -> Result<(), Fault> {
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
    fn value_type(&mut self) -> Result<(), Fault> {
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

    /// `SG_MUL_VAL_ id signal switch from-to, … ;`
    fn multiplexed_values(&mut self) -> Result<(), Fault> {
        let place = self.signal_of()?;
        let switch = self.word("the name of the switch")?;
        let mut values = Vec::new();
        loop {
            let from = self.unsigned("a value of the switch")?;
            self.sign('-')?;
            let to = self.unsigned("a value of the switch")?;
            values.push((from.min(to), from.max(to)));
            if !self.accept(',') {
                break;
            }
        }
        self.sign(';')?;
        if let Some(signal) = place.and_then(|place| self.out.signal_mut(place)) {
            signal.multiplexed = Some(Multiplexed { switch: Some(switch.to_owned()), values });
        }
        Ok(())
    }
}

/// `M`, `m5`, `m5M`: whether it is a switch, and for which value it is there.
fn indicator_of(word: &str) -> Option<(bool, Option<u64>)> {
    if word == "M" {
        return Some((true, None));
    }
    let rest = word.strip_prefix('m')?;
    let (digits, is_switch) = match rest.strip_suffix('M') {
        Some(digits) => (digits, true),
        None => (rest, false),
    };
    let value = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()?;
    Some((is_switch, Some(value)))
}

fn unescaped(text: &str) -> String {
    text.replace("\\\"", "\"")
}

impl<'t> Out<'t> {
    /// `None`: it is no message, but the place of signals that have none.
    fn add_message(&mut self, written: u32, name: &str, bytes: u32, line: u32) -> Result<Option<usize>, Fault> {
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

    fn add_signal(&mut self, message: usize, name: &'t str, signal: Signal) -> Result<(), Fault> {
        let Some(of) = self.dbc.messages.get_mut(message) else { return Ok(()) };
        if let Some(first) = self.signals.insert((message, name), of.signals.len()) {
            let line = of.signals.get(first).map_or(0, |first| first.line);
            let found = format!("the signal {name} of message {} stands already in line {line}", of.name);
            return Err(Fault::new(signal.line, found, "rename one of the two".into()));
        }
        of.signals.push(signal);
        Ok(())
    }

    fn signal_mut(&mut self, (message, signal): (usize, usize)) -> Option<&mut Signal> {
        self.dbc.messages.get_mut(message)?.signals.get_mut(signal)
    }

    /// Attributes come behind the messages that they speak of.
    fn finish(mut self) -> Dbc {
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
