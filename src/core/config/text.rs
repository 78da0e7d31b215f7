//! The text of one file, and the line and column of each of its bytes.

use std::sync::Arc;

/// Bytes from..to of a file's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Span {
        Span { start, end }
    }
}

/// Where something was written, for messages: `tags/boiler.json:12:5`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
}

/// One file that people wrote.
pub struct File {
    /// As it is told in messages: `tags/boiler.json`.
    pub name: Arc<str>,
    /// Without a byte order mark.
    pub text: String,
    marks: Vec<Mark>,
}

/// The line and column (from 1) of a byte: one for each line's start, and more in long lines, so that
/// a file written on a single line takes no longer to report on.
struct Mark {
    offset: usize,
    line: u32,
    column: u32,
}

const MARK_DISTANCE_BYTES: usize = 256;

impl File {
    pub fn new(name: &str, text: String) -> File {
        let mut marks = Vec::new();
        let (mut line, mut column) = (1, 1);
        let mut next_mark = 0;
        for (offset, &byte) in text.as_bytes().iter().enumerate() {
            let starts_char = byte & 0xC0 != 0x80;
            if offset >= next_mark && starts_char {
                marks.push(Mark { offset, line, column });
                next_mark = offset + MARK_DISTANCE_BYTES;
            }
            if byte == b'\n' {
                line += 1;
                column = 1;
                next_mark = offset + 1;
            } else if starts_char {
                column += 1;
            }
        }
        File { name: name.into(), text, marks }
    }

    /// Where the byte at `offset` stands. Past the end: the end.
    pub fn source(&self, offset: usize) -> Source {
        let offset = self.text.floor_char_boundary(offset);
        let after = self.marks.partition_point(|mark| mark.offset <= offset);
        let (start, line, column) = match after.checked_sub(1).and_then(|at| self.marks.get(at)) {
            Some(mark) => (mark.offset, mark.line, mark.column),
            None => (0, 1, 1),
        };
        let rest = &self.text[start..offset];
        // Only the end of a text that ends with a newline lies behind a newline of its mark.
        match rest.rfind('\n') {
            Some(_) => Source { file: self.name.clone(), line: line + 1, column: 1 },
            None => Source { file: self.name.clone(), line, column: column + rest.chars().count() as u32 },
        }
    }
}

/// Why bytes are no text: the text before, what was found, what to do.
pub struct NotText {
    pub before: String,
    pub message: String,
    pub help: &'static str,
}

/// Reads UTF-8; a byte order mark is dropped.
pub fn decode(bytes: Vec<u8>) -> Result<String, NotText> {
    if let Some(encoding) = other_encoding(&bytes) {
        let message = format!("the file is {encoding}");
        return Err(NotText { before: String::new(), message, help: "save it as UTF-8" });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(match text.strip_prefix('\u{FEFF}') {
            Some(rest) => rest.to_owned(),
            None => text,
        }),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            let byte = bytes.get(at).copied().unwrap_or_default();
            let before = String::from_utf8_lossy(&bytes[..at]);
            let before = before.strip_prefix('\u{FEFF}').unwrap_or(&before).to_owned();
            Err(NotText { before, message: format!("the byte 0x{byte:02X} is not UTF-8"), help: "save it as UTF-8" })
        }
    }
}

/// The encoding of a text with two or four bytes a character, by its byte order mark, or by the zeros of its first
/// character: what people write here begins with one below U+0080.
fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    match *bytes {
        [0x00, 0x00, 0xFE, 0xFF, ..] | [0, 0, 0, 1..=0x7F, ..] => Some("UTF-32BE"),
        [0xFF, 0xFE, 0x00, 0x00, ..] | [1..=0x7F, 0, 0, 0, ..] => Some("UTF-32LE"),
        [0xFE, 0xFF, ..] | [0, 1..=0x7F, ..] => Some("UTF-16BE"),
        [0xFF, 0xFE, ..] | [1..=0x7F, 0, ..] => Some("UTF-16LE"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, offset: usize) -> (u32, u32) {
        let source = File::new("f", text.into()).source(offset);
        (source.line, source.column)
    }

    #[test]
    fn columns_count_characters_from_one() {
        let text = "é\nä°x";
        assert_eq!(place(text, 0), (1, 1));
        assert_eq!(place(text, text.find('x').unwrap()), (2, 3));
        assert_eq!(place(text, 4), (2, 1), "inside a character: the character's own column");
        assert_eq!(place("", 0), (1, 1));
        assert_eq!(place("a\n", 2), (2, 1));
        assert_eq!(place("a\n\n", 99), (3, 1));
    }

    #[test]
    fn a_long_line_and_many_lines_agree_with_counting() {
        let text = "aé\n".repeat(300) + &"°C, ".repeat(1000);
        let file = File::new("f", text.clone());
        for (offset, _) in text.char_indices().step_by(7) {
            let before = &text[..offset];
            let line = before.matches('\n').count() as u32 + 1;
            let column = before.rsplit('\n').next().unwrap().chars().count() as u32 + 1;
            let source = file.source(offset);
            assert_eq!((source.line, source.column), (line, column), "at byte {offset}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(decode(b"\xEF\xBB\xBF{}".to_vec()).ok().unwrap(), "{}");
        assert!(decode(b"\xFF\xFE{\0".to_vec()).err().unwrap().message.contains("UTF-16"));
        for (text, name) in [
            (&b"\xFF\xFE{\0}\0"[..], "UTF-16LE"),
            (b"\xFE\xFF\0{\0}", "UTF-16BE"),
            (b"\xFF\xFE\0\0{\0\0\0", "UTF-32LE"),
            (b"\0\0\xFE\xFF\0\0\0{", "UTF-32BE"),
            (b"{\0}\0", "UTF-16LE"),
            (b"\0{\0}", "UTF-16BE"),
            (b"{\0\0\0}\0\0\0", "UTF-32LE"),
            (b"\0\0\0{\0\0\0}", "UTF-32BE"),
        ] {
            assert_eq!(decode(text.to_vec()).err().unwrap().message, format!("the file is {name}"));
        }
        assert_eq!(decode(vec![0; 8]).ok().unwrap().len(), 8, "zeros alone are no encoding; the reader names them");
        let bad = decode(b"a\nb\xE9c".to_vec()).err().unwrap();
        assert_eq!((bad.before.as_str(), bad.message.as_str()), ("a\nb", "the byte 0xE9 is not UTF-8"));
    }
}
