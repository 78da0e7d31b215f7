//! A DBC file as words, numbers, texts and signs, each with its place. Read one by one, so that reading can begin again
//! at any line.

/// One token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'t> {
    /// A name or a keyword.
    Word(&'t str),
    /// Without its sign, which is a token of its own.
    Number(&'t str),
    /// Between its quotes, escapes still in it.
    Text(&'t str),
    /// A text that has no end.
    OpenText,
    Sign(char),
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed<'t> {
    pub token: Token<'t>,
    /// From 1.
    pub line: u32,
    /// In the file's text.
    pub byte: usize,
    /// Nothing stands before it on its line.
    pub is_first: bool,
}

/// Reads a text token by token. Any byte is one of them.
pub struct Lexer<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    is_first: bool,
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str) -> Lexer<'t> {
        Lexer { text, at: 0, line: 1, is_first: true }
    }

    /// The line in which reading stands.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Goes on with the first line behind that of `after` that begins with a keyword.
    pub fn go_behind(&mut self, after: Placed<'_>) {
        let bytes = self.text.as_bytes();
        (self.at, self.line, self.is_first) = (after.byte, after.line, true);
        while let Some(end) = bytes.get(self.at..).and_then(|rest| rest.iter().position(|b| *b == b'\n')) {
            self.at += end + 1;
            self.line += 1;
            let line = self.text.get(self.at..).unwrap_or_default().trim_start_matches([' ', '\t']);
            let word = line.find(|c: char| !is_of_word(c)).map_or(line, |end| line.get(..end).unwrap_or_default());
            if is_keyword(word) {
                return;
            }
        }
        self.at = bytes.len();
    }

    fn skip_blanks(&mut self) {
        let rest = |at: usize| self.text.get(at..).unwrap_or_default();
        while let Some(c) = rest(self.at).chars().next() {
            if c == '\n' {
                self.line += 1;
                self.is_first = true;
                self.at += 1;
            } else if c.is_whitespace() || matches!(c, '\0' | '\u{FEFF}') {
                self.at += c.len_utf8();
            } else if rest(self.at).starts_with("//") {
                self.at += rest(self.at).find('\n').unwrap_or(rest(self.at).len());
            } else {
                return;
            }
        }
    }
}

impl<'t> Iterator for Lexer<'t> {
    type Item = Placed<'t>;

    fn next(&mut self) -> Option<Placed<'t>> {
        self.skip_blanks();
        let rest = self.text.get(self.at..)?;
        let c = rest.chars().next()?;
        let cut = |end: usize| rest.get(..end).unwrap_or(rest);
        let (line, byte, is_first) = (self.line, self.at, self.is_first);
        let (token, length) = match c {
            '"' => match text_end(rest.as_bytes()) {
                Some(end) => {
                    let inner = rest.get(1..end).unwrap_or_default();
                    self.line += inner.bytes().filter(|b| *b == b'\n').count() as u32;
                    (Token::Text(inner), end + 1)
                }
                None => (Token::OpenText, rest.len()),
            },
            c if c.is_ascii_digit() || c == '.' && rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit) => {
                let word = cut(number_end(rest));
                let is_number = word.parse::<f64>().is_ok();
                (if is_number { Token::Number(word) } else { Token::Word(word) }, word.len())
            }
            c if is_of_word(c) => {
                let word = cut(rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()));
                (Token::Word(word), word.len())
            }
            sign => (Token::Sign(sign), sign.len_utf8()),
        };
        self.at += length;
        self.is_first = false;
        Some(Placed { token, line, byte, is_first })
    }
}

/// Names are of ASCII by the format; some tools write letters of their country.
fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the quote stands that ends the text that starts at the first byte.
fn text_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' if bytes.get(at + 1) == Some(&b'"') => at += 2,
            _ => at += 1,
        }
    }
}

/// The byte after a number, or after a word that starts with a digit.
fn number_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let exponent = matches!(c, 'e' | 'E')
            && matches!(bytes.get(at + 1), Some(b'+' | b'-'))
            && bytes.get(at + 2).is_some_and(u8::is_ascii_digit);
        match c {
            _ if exponent => at += 2,
            c if is_of_word(c) || c == '.' => at += c.len_utf8(),
            _ => break,
        }
    }
    at
}

pub fn is_keyword(word: &str) -> bool {
    READ.contains(&word) || PASSED_OVER.contains(&word)
}

/// A text in which statements begin: a quote is missing or too many, which turns texts and statements round.
pub fn holds_statement(token: Token<'_>) -> bool {
    match token {
        Token::Text(text) => text.lines().skip(1).any(|line| line.split_whitespace().next().is_some_and(is_keyword)),
        Token::OpenText => true,
        _ => false,
    }
}

pub const READ: &[&str] = &[
    "VERSION",
    "NS_",
    "BS_",
    "BU_",
    "BO_",
    "SG_",
    "CM_",
    "BA_DEF_",
    "BA_DEF_DEF_",
    "BA_",
    "VAL_",
    "SIG_VALTYPE_",
    "SG_MUL_VAL_",
];

/// Keywords whose statements end with a semicolon and say nothing about values.
pub const PASSED_OVER: &[&str] = &[
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
