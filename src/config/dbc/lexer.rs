//! A DBC file as words, numbers, texts and signs, each with its line.

use super::Fault;

/// One token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'t> {
    /// A name or a keyword.
    Word(&'t str),
    /// Without its sign, which is a token of its own.
    Number(&'t str),
    /// Between its quotes, escapes still in it.
    Text(&'t str),
    Sign(char),
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placed<'t> {
    pub token: Token<'t>,
    /// From 1.
    pub line: u32,
}

/// Cuts the text into tokens. Any byte is one of them: only a text that never ends is a fault.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed<'_>>, Fault> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let placed = |token| Placed { token, line };
        match byte {
            b'\n' => {
                line += 1;
                at += 1;
            }
            b if b.is_ascii_whitespace() => at += 1,
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += bytes[at..].iter().position(|b| *b == b'\n').unwrap_or(bytes.len() - at);
            }
            b'"' => {
                let end = text_end(bytes, at)
                    .ok_or_else(|| Fault::new(line, "this text has no end".into(), "end it with \"".into()))?;
                let inner = text.get(start + 1..end).unwrap_or_default();
                out.push(placed(Token::Text(inner)));
                line += inner.bytes().filter(|b| *b == b'\n').count() as u32;
                at = end + 1;
            }
            b if b.is_ascii_digit() || (b == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)) => {
                at = number_end(bytes, at);
                let word = text.get(start..at).unwrap_or_default();
                let is_number = word.parse::<f64>().is_ok();
                out.push(placed(if is_number { Token::Number(word) } else { Token::Word(word) }));
            }
            b if is_of_word(b) => {
                at += bytes[at..].iter().take_while(|b| is_of_word(**b)).count();
                out.push(placed(Token::Word(text.get(start..at).unwrap_or_default())));
            }
            _ => {
                let sign = text.get(at..).and_then(|rest| rest.chars().next()).unwrap_or('\u{FFFD}');
                out.push(placed(Token::Sign(sign)));
                at += sign.len_utf8();
            }
        }
    }
    Ok(out)
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where the quote stands that ends the text that starts at `start`.
fn text_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' if bytes.get(at + 1) == Some(&b'"') => at += 2,
            _ => at += 1,
        }
    }
}

/// The byte after a number, or after a word that starts with a digit.
fn number_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        let exponent = matches!(byte, b'e' | b'E')
            && matches!(bytes.get(at + 1), Some(b'+' | b'-'))
            && bytes.get(at + 2).is_some_and(u8::is_ascii_digit);
        match byte {
            _ if exponent => at += 2,
            b if is_of_word(b) || b == b'.' => at += 1,
            _ => break,
        }
    }
    at
}
