//! Where in the tokens reading stands, and what stands there.

use super::gathered::Gathered;
use super::lexer::{Lexer, Placed, Token, holds_statement, is_keyword};
use crate::config::beside::Fault;
use crate::protocol::can::dbc::gathered::Value;

pub struct Parser<'t> {
    lexer: Lexer<'t>,
    /// Those of the statement that is being read, as far as they were looked at.
    tokens: Vec<Placed<'t>>,
    pub at: usize,
    pub out: Gathered<'t>,
}

impl<'t> Parser<'t> {
    pub fn new(text: &'t str) -> Parser<'t> {
        Parser { lexer: Lexer::new(text), tokens: Vec::new(), at: 0, out: Gathered::default() }
    }

    pub fn peek(&mut self) -> Option<Placed<'t>> {
        if self.at >= self.tokens.len() {
            self.tokens.extend(self.lexer.next());
        }
        self.tokens.get(self.at).copied()
    }

    pub fn next(&mut self) -> Option<Placed<'t>> {
        let placed = self.peek();
        self.at += usize::from(placed.is_some());
        placed
    }

    /// What has been read is not gone back to.
    pub fn forget(&mut self) {
        self.tokens.drain(..self.at.min(self.tokens.len()));
        self.at = 0;
    }

    /// Goes to the first line behind that of `failed` that begins with a keyword: what was taken for a text may hold
    /// statements, where a quote is missing or too many.
    pub fn recover(&mut self, failed: Placed<'_>) {
        self.tokens.clear();
        self.at = 0;
        self.lexer.go_behind(failed);
    }

    /// What stands here is not what has to stand here.
    pub fn unexpected<T>(&mut self, wanted: &str) -> Result<T, Fault> {
        let (line, found) = match self.peek() {
            None => (self.lexer.line(), "the file ends".to_owned()),
            Some(Placed { token: Token::OpenText, line, .. }) => {
                return Err(Fault::new(line, "a string without an end", "end it with \""));
            }
            Some(Placed { token, line, .. }) => {
                let found = match token {
                    Token::Word(word) | Token::Number(word) => word.chars().take(40).collect(),
                    Token::Text(text) => format!("the string {:?}", text.chars().take(40).collect::<String>()),
                    Token::Sign(sign) => sign.escape_debug().to_string(),
                    Token::OpenText => String::new(),
                };
                (line, format!("{found} found here"))
            }
        };
        Err(Fault::new(line, found, format!("expected: {wanted}")))
    }

    pub fn is_word(&mut self, word: &str) -> bool {
        self.peek().is_some_and(|placed| placed.token == Token::Word(word))
    }

    pub fn word(&mut self, wanted: &str) -> Result<&'t str, Fault> {
        match self.peek() {
            Some(Placed { token: Token::Word(word), .. }) => {
                self.at += 1;
                Ok(word)
            }
            _ => self.unexpected(wanted),
        }
    }

    pub fn text(&mut self, wanted: &str) -> Result<&'t str, Fault> {
        match self.peek() {
            Some(Placed { token: Token::Text(text), .. }) => {
                self.at += 1;
                Ok(text)
            }
            _ => self.unexpected(wanted),
        }
    }

    pub fn is_sign(&mut self, sign: char) -> bool {
        self.peek().is_some_and(|placed| placed.token == Token::Sign(sign))
    }

    pub fn accept(&mut self, sign: char) -> bool {
        let there = self.is_sign(sign);
        self.at += usize::from(there);
        there
    }

    pub fn sign(&mut self, sign: char) -> Result<(), Fault> {
        if self.accept(sign) { Ok(()) } else { self.unexpected(&sign.to_string()) }
    }

    /// Whether the next statement begins here, or nothing more comes.
    pub fn is_behind_statement(&mut self) -> bool {
        match self.peek() {
            None => true,
            Some(Placed { token: Token::Word(word), is_first, .. }) => is_first && is_keyword(word),
            Some(_) => false,
        }
    }

    /// The semicolon of a statement, which some tools leave out before the next one.
    pub fn end(&mut self) -> Result<(), Fault> {
        if self.accept(';') || self.is_behind_statement() { Ok(()) } else { self.unexpected(";") }
    }

    /// A number with its sign, as it is written.
    pub fn digits(&mut self, wanted: &str) -> Result<(bool, &'t str), Fault> {
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

    pub fn number(&mut self, wanted: &str) -> Result<f64, Fault> {
        let start = self.at;
        let (negative, digits) = self.digits(wanted)?;
        let value: f64 = digits.parse().unwrap_or(f64::NAN);
        if !value.is_finite() {
            self.at = start;
            return self.unexpected(wanted);
        }
        Ok(if negative { -value } else { value })
    }

    pub fn unsigned(&mut self, wanted: &str) -> Result<u64, Fault> {
        let start = self.at;
        match self.digits(wanted) {
            Ok((false, digits)) if let Ok(number) = digits.parse() => Ok(number),
            _ => {
                self.at = start;
                self.unexpected(wanted)
            }
        }
    }

    pub fn small(&mut self, wanted: &str) -> Result<u32, Fault> {
        let start = self.at;
        let number = self.unsigned(wanted)?;
        u32::try_from(number).or_else(|_| {
            self.at = start;
            self.unexpected(wanted)
        })
    }

    /// A whole number, also when it is written with a fraction of zeroes.
    pub fn whole(&mut self, wanted: &str) -> Result<i64, Fault> {
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

    pub fn value(&mut self) -> Result<Value<'t>, Fault> {
        match self.peek() {
            Some(Placed { token: Token::Text(text), .. }) => {
                self.at += 1;
                Ok(Value::Text(text))
            }
            _ => self.number("a number or a string").map(Value::Number),
        }
    }

    /// What stands on `line` up to a sign, whatever it is.
    pub fn skip_to(&mut self, sign: char, line: u32) -> Result<(), Fault> {
        while self.peek().is_some_and(|placed| placed.line == line && placed.token != Token::Sign(sign)) {
            self.at += 1;
        }
        self.sign(sign)
    }

    /// The rest of a statement whose content has no part in values.
    pub fn skip_statement(&mut self) -> Result<(), Fault> {
        loop {
            self.forget();
            if self.is_behind_statement() {
                return Ok(());
            }
            if self.accept(';') {
                return Ok(());
            }
            if self.peek().is_some_and(|next| holds_statement(next.token)) {
                return self.unexpected(";");
            }
            self.at += 1;
        }
    }
}
