//! Statement by statement. One that is wrong is left out, and reading goes on with the next line that begins with a
//! keyword.

use super::Dbc;
use super::cursor::Parser;
use super::lexer::{Placed, Token};
use crate::config::beside::Fault;
use crate::protocol::can::dbc::gathered::Below;
use crate::protocol::can::dbc::lexer::{PASSED_OVER, holds_statement, is_keyword};

pub fn parse(text: &str) -> Result<Dbc, Vec<Fault>> {
    let mut parser = Parser::new(text);
    while let Some(placed) = parser.peek() {
        parser.forget();
        if let Err(fault) = parser.statement(placed) {
            let what = match placed.token {
                Token::Word(keyword) if is_keyword(keyword) => format!("this {keyword} statement"),
                _ => "this line".to_owned(),
            };
            parser.out.dbc.left_out.add(what, fault);
            parser.recover(placed);
        }
    }
    let has_statements = parser.out.has_statements;
    let dbc = parser.out.finish();
    let Some((_, first)) = dbc.left_out.iter().next().filter(|_| !has_statements) else { return Ok(dbc) };
    let message = format!("it has no statement such as BO_, and in line {}: {}", first.line, first.message);
    Err(vec![Fault::new(0, message, "is it a DBC file?")])
}

impl<'t> Parser<'t> {
    fn statement(&mut self, placed: Placed<'t>) -> Result<(), Fault> {
        // Semicolons too many hurt nobody.
        if self.accept(';') {
            return Ok(());
        }
        let keyword = self.word("a keyword such as BO_")?;
        if keyword == "SG_" {
            return self.signal(placed);
        }
        if is_keyword(keyword) {
            self.out.below = Below::None;
            self.out.has_statements = true;
        }
        match keyword {
            "NS_" => {
                self.accept(':');
                self.new_symbols();
                Ok(())
            }
            // Baud rates, which nobody writes any more; names of nodes, which have no part in values.
            "VERSION" | "BS_" | "BU_" => {
                self.skip_to_keyword(placed);
                Ok(())
            }
            "BO_" => self.message(placed),
            "CM_" => {
                self.comment(placed);
                Ok(())
            }
            "BA_DEF_" => self.attribute_definition(placed),
            "BA_DEF_DEF_" => self.attribute_default(placed),
            "BA_" => self.attribute(placed),
            "VAL_" => self.value_texts(),
            "SIG_VALTYPE_" => self.value_type(),
            "SG_MUL_VAL_" => self.multiplexed_values(),
            word if PASSED_OVER.contains(&word) => {
                self.pass_over(placed);
                Ok(())
            }
            _ => {
                self.at -= 1;
                self.unexpected("a keyword such as BO_")
            }
        }
    }

    /// A statement that has no part in values; what is wrong in it is nobody's concern.
    pub fn pass_over(&mut self, placed: Placed<'t>) {
        if self.skip_statement().is_err() {
            self.recover(placed);
        }
    }

    /// Comments have texts of several lines, in which anything may stand, and quotes that were forgotten.
    fn comment(&mut self, placed: Placed<'t>) {
        while self.peek().is_some_and(|next| next.line == placed.line && !matches!(next.token, Token::Text(_))) {
            self.at += 1;
        }
        if self.text("a string").and_then(|_| self.end()).is_err() {
            self.recover(placed);
        }
    }

    fn skip_to_keyword(&mut self, placed: Placed<'t>) {
        while !self.is_behind_statement() {
            if self.peek().is_some_and(|next| holds_statement(next.token)) {
                return self.recover(placed);
            }
            self.at += 1;
            self.forget();
        }
    }

    /// The names below NS_ are keywords themselves: each stands alone on its line.
    fn new_symbols(&mut self) {
        while let Some(placed) = self.peek() {
            self.at += 1;
            let alone = self.peek().is_none_or(|next| next.line > placed.line);
            self.at -= 1;
            if !alone || !matches!(placed.token, Token::Word(_)) {
                return;
            }
            self.at += 1;
            self.forget();
        }
    }
}
