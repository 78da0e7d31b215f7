//! Tokens to messages, statement by statement. One that is wrong is reported, and reading goes on with the next.

use super::cursor::Parser;
use super::gathered::Gathered;
use super::lexer::{Placed, Token, tokens};
use super::{Dbc, Fault};

/// Reported of one file: a wrong script repeats its mistake on every line.
pub(super) const FAULTS_MAX: usize = 20;
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

pub(super) fn is_keyword(word: &str) -> bool {
    READ.contains(&word) || PASSED_OVER.contains(&word)
}

pub(super) fn parse(text: &str) -> Result<Dbc, Vec<Fault>> {
    let tokens = tokens(text).map_err(|fault| vec![fault])?;
    let mut parser = Parser { tokens: &tokens, at: 0, out: Gathered::default(), faults: Vec::new(), incomplete: false };
    while let Some(placed) = parser.peek().filter(|_| parser.faults.len() < FAULTS_MAX) {
        if let Err(fault) = parser.statement() {
            parser.incomplete |= placed.token == Token::Word("BO_");
            parser.faults.push(fault);
            parser.recover(placed);
        }
    }
    if parser.faults.is_empty() { Ok(parser.out.finish()) } else { Err(parser.faults) }
}

impl<'t> Parser<'_, 't> {
    /// Goes to the next keyword that begins a line, after the statement that began with `failed`.
    pub(super) fn recover(&mut self, failed: Placed<'t>) {
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
}
