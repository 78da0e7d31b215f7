//! Messages and their signals: BO_, SG_, SG_MUL_VAL_.

use super::cursor::Parser;
use super::lexer::{Placed, Token};
use super::parser::{FAULTS_MAX, is_keyword};
use super::{Fault, Multiplexed, Signal};

impl<'t> Parser<'_, 't> {
    pub(super) fn message(&mut self, line: u32) -> Result<(), Fault> {
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

    /// `SG_MUL_VAL_ id signal switch from-to, … ;`
    pub(super) fn multiplexed_values(&mut self) -> Result<(), Fault> {
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
