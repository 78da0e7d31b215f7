//! Messages and their signals: BO_, SG_, SG_MUL_VAL_.

use super::cursor::Parser;
use super::gathered::Below;
use super::lexer::{Placed, Token, holds_statement, is_keyword};
use super::{LostSignal, Multiplexed, Signal};
use crate::config::beside::Fault;

impl<'t> Parser<'t> {
    /// `BO_ id name: bytes sender`
    pub fn message(&mut self, placed: Placed<'t>) -> Result<(), Fault> {
        let id = self.digits("the id of the message").inspect_err(|_| self.out.lose_message())?;
        let name = self.word("the name of the message").inspect_err(|_| self.out.lose_message())?;
        let bytes = self.bytes_of_message();
        let is_wrong = bytes.is_err();
        self.out.add_message(id, name, bytes, placed.line);
        if is_wrong {
            self.recover(placed);
            return Ok(());
        }
        // Its sender, and whatever tools put behind it.
        while self.peek().is_some_and(|next| next.line == placed.line && next.token != Token::Word("SG_")) {
            self.at += 1;
        }
        Ok(())
    }

    fn bytes_of_message(&mut self) -> Result<u32, Fault> {
        self.sign(':')?;
        self.small("the bytes of the message")
    }

    /// `SG_ …`, of the message above it.
    pub fn signal(&mut self, placed: Placed<'t>) -> Result<(), Fault> {
        let message = match self.out.below {
            Below::None => {
                return Err(Fault::new(placed.line, "a signal without a message", "SG_ belongs below BO_"));
            }
            Below::Gone => {
                self.recover(placed);
                return Ok(());
            }
            Below::Message(at) => at,
        };
        let name = self.word("the name of the signal");
        let mut is_switch = true;
        let read = name.and_then(|name| Ok((name, self.signal_of_message(name, placed.line, &mut is_switch)?)));
        match read {
            Ok((name, signal)) => self.out.add_signal(message, name, signal),
            Err(why) => {
                // Its name stands behind SG_, unless that is what is wrong.
                self.at = 1;
                let name = self.word("").unwrap_or_default().to_owned();
                self.out.lose_signal(message, LostSignal { name, why, may_be_switch: is_switch });
                self.recover(placed);
            }
        }
        Ok(())
    }

    /// `is_switch`: it is one, or nothing is known of it yet.
    fn signal_of_message(&mut self, name: &str, line: u32, is_switch: &mut bool) -> Result<Signal, Fault> {
        let mut multiplexed = None;
        let mut switch = false;
        if !self.is_sign(':') {
            let start = self.at;
            let indicator = self.word(": or a multiplexer indicator")?;
            // A lone m may stand for either.
            *is_switch = indicator == "m" || indicator.ends_with('M');
            let Some((of_switch, value)) = indicator_of(indicator) else {
                self.at = start;
                return self.unexpected("M, m and a number, or :");
            };
            switch = of_switch;
            multiplexed = value.map(|value| Multiplexed { switch: None, values: vec![(value, value)] });
        }
        *is_switch = switch;
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
        // Minimum and maximum have no part in values: they may be beyond all numbers, or not there.
        if self.accept('[') {
            self.skip_to(']', line)?;
        }
        let unit = match self.peek().map(|placed| placed.token) {
            Some(Token::Text(unit)) if !holds_statement(Token::Text(unit)) => {
                self.at += 1;
                unit.trim().to_owned()
            }
            _ => String::new(),
        };
        self.receivers(line);
        Ok(Signal {
            name: name.to_owned(),
            short: None,
            line,
            start,
            bits,
            big_endian,
            signed,
            float: false,
            scale,
            offset,
            unit,
            is_switch: switch,
            multiplexed,
            texts: Vec::new(),
            texts_left_out: None,
            start_value: None,
            left_out: None,
        })
    }

    /// Names, on other lines only behind a comma.
    fn receivers(&mut self, mut line: u32) {
        while let Some(placed) = self.peek() {
            match placed.token {
                Token::Word(word) if !is_keyword(word) && placed.line == line => self.at += 1,
                Token::Sign(',') => {
                    self.at += 1;
                    line = self.peek().map_or(line, |next| next.line);
                }
                _ => return,
            }
        }
    }

    /// `SG_MUL_VAL_ id signal switch from-to, … ;` Without it, nobody knows when the signal is in the frame.
    pub fn multiplexed_values(&mut self) -> Result<(), Fault> {
        let place = self.signal_spoken_of()?;
        let read = self.switch_and_values();
        match (place, read) {
            (None, Ok(_)) => Ok(()),
            (Some(place), Ok(multiplexed)) => {
                if let Some(signal) = self.out.signal_mut(place) {
                    signal.multiplexed = Some(multiplexed);
                }
                Ok(())
            }
            (place, Err(why)) => {
                place.into_iter().for_each(|place| self.out.leave_out_signal(place, &why));
                Err(why)
            }
        }
    }

    fn switch_and_values(&mut self) -> Result<Multiplexed, Fault> {
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
        self.end()?;
        Ok(Multiplexed { switch: Some(switch.to_owned()), values })
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
