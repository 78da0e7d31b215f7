//! Where in the tokens reading stands, and what stands there.

use super::Fault;
use super::gathered::Gathered;
use super::lexer::{Placed, Token};

/// An attribute's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'t> {
    Number(f64),
    Text(&'t str),
}

pub(super) struct Parser<'p, 't> {
    pub tokens: &'p [Placed<'t>],
    pub at: usize,
    pub out: Gathered<'t>,
    pub faults: Vec<Fault>,
    /// A message or a signal could not be read: what speaks of one that is not known may mean that.
    pub incomplete: bool,
}

impl<'t> Parser<'_, 't> {
    pub(super) fn peek(&self) -> Option<Placed<'t>> {
        self.tokens.get(self.at).copied()
    }

    pub(super) fn next(&mut self) -> Option<Placed<'t>> {
        let placed = self.peek();
        self.at += 1;
        placed
    }

    /// What stands here is not what has to stand here.
    pub(super) fn unexpected<T>(&self, wanted: &str) -> Result<T, Fault> {
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

    pub(super) fn word(&mut self, wanted: &str) -> Result<&'t str, Fault> {
        match self.peek() {
            Some(Placed { token: Token::Word(word), .. }) => {
                self.at += 1;
                Ok(word)
            }
            _ => self.unexpected(wanted),
        }
    }

    pub(super) fn text(&mut self, wanted: &str) -> Result<&'t str, Fault> {
        match self.peek() {
            Some(Placed { token: Token::Text(text), .. }) => {
                self.at += 1;
                Ok(text)
            }
            _ => self.unexpected(wanted),
        }
    }

    pub(super) fn is_sign(&self, sign: char) -> bool {
        self.peek().is_some_and(|placed| placed.token == Token::Sign(sign))
    }

    pub(super) fn accept(&mut self, sign: char) -> bool {
        let there = self.is_sign(sign);
        self.at += usize::from(there);
        there
    }

    pub(super) fn sign(&mut self, sign: char) -> Result<(), Fault> {
        if self.accept(sign) { Ok(()) } else { self.unexpected(&sign.to_string()) }
    }

    /// A number with its sign, as it is written.
    pub(super) fn digits(&mut self, wanted: &str) -> Result<(bool, &'t str), Fault> {
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

    pub(super) fn number(&mut self, wanted: &str) -> Result<f64, Fault> {
        let start = self.at;
        let (negative, digits) = self.digits(wanted)?;
        let value: f64 = digits.parse().unwrap_or(f64::NAN);
        if !value.is_finite() {
            self.at = start;
            return self.unexpected(wanted);
        }
        Ok(if negative { -value } else { value })
    }

    pub(super) fn unsigned(&mut self, wanted: &str) -> Result<u64, Fault> {
        let start = self.at;
        match self.digits(wanted) {
            Ok((false, digits)) if let Ok(number) = digits.parse() => Ok(number),
            _ => {
                self.at = start;
                self.unexpected(wanted)
            }
        }
    }

    pub(super) fn small(&mut self, wanted: &str) -> Result<u32, Fault> {
        let start = self.at;
        let number = self.unsigned(wanted)?;
        u32::try_from(number).or_else(|_| {
            self.at = start;
            self.unexpected(wanted)
        })
    }

    /// A whole number, also when it is written with a fraction of zeroes.
    pub(super) fn whole(&mut self, wanted: &str) -> Result<i64, Fault> {
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

    pub(super) fn value(&mut self) -> Result<Value<'t>, Fault> {
        match self.peek() {
            Some(Placed { token: Token::Text(text), .. }) => {
                self.at += 1;
                Ok(Value::Text(text))
            }
            _ => self.number("a number or a text").map(Value::Number),
        }
    }

    pub(super) fn skip_statement(&mut self) {
        while let Some(placed) = self.next() {
            if placed.token == Token::Sign(';') {
                return;
            }
        }
    }
}
