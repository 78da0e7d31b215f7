//! Checks of a file before it is parsed: nesting, size, and missing ends.
//!
//! Both parsers and the trees they build recurse, so depth is bounded here, in a loop.

use super::text::Span;
use crate::limits::CONFIG_DEPTH_MAX;

/// Text that is not its format.
#[derive(Debug)]
pub struct Fault {
    pub span: Span,
    pub message: String,
    pub help: String,
}

impl Fault {
    pub fn new(span: Span, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { span, message: message.into(), help: help.into() }
    }
}

/// What a scan learned.
#[derive(Debug, Default)]
pub struct Shape {
    /// Upper bound of the values in the file.
    pub values: usize,
    /// The innermost bracket that is never closed.
    pub unclosed: Option<usize>,
}

/// Bounds the nesting of a JSON text and finds strings that are not closed on their line.
pub fn json(text: &str) -> Result<Shape, Fault> {
    let bytes = text.as_bytes();
    let mut values = 1;
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = json_string_end(bytes, at)?;
                continue;
            }
            b'/' => {
                let help = "JSON has no comments; use \"description\"";
                return Err(Fault::new(Span::new(at, at + 1), "a comment", help));
            }
            b'{' | b'[' => {
                values += 1;
                open.push(at);
                if open.len() > CONFIG_DEPTH_MAX {
                    return Err(too_deep(at));
                }
            }
            b'}' | b']' => {
                open.pop();
            }
            b',' => values += 1,
            _ => {}
        }
        at += 1;
    }
    Ok(Shape { values, unclosed: open.pop() })
}

/// The byte after the string that starts at `start`.
fn json_string_end(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    let span = Span::new(start, start + 1);
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return Ok(at + 1),
            b'\\' if matches!(bytes.get(at + 1), Some(b'"' | b'\\')) => at += 1,
            b'\n' | b'\r' => return Err(Fault::new(span, "this string is not closed on its line", "end it with \"")),
            0..0x20 => {
                let message = format!("a string contains the control character U+{byte:04X}");
                return Err(Fault::new(Span::new(at, at + 1), message, format!("write it as \\u{byte:04x}")));
            }
            _ => {}
        }
        at += 1;
    }
    Err(Fault::new(span, "the file ends inside this string", "was it written completely?"))
}

/// Bounds the nesting of a TOML text: brackets, and the dots of dotted keys, which nest as well.
pub fn toml(text: &str) -> Result<Shape, Fault> {
    let bytes = text.as_bytes();
    let mut values = 1;
    // Each open bracket with the depth that led to it.
    let mut open: Vec<usize> = Vec::new();
    let mut depth: usize = 0;
    let mut dots = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => {
                at = toml_string_end(bytes, at, byte);
                continue;
            }
            b'#' => {
                at = end_of_line(bytes, at);
                continue;
            }
            b'.' => dots += 1,
            b'{' | b'[' => {
                values += 1;
                open.push(dots + 1);
                depth += dots + 1;
                dots = 0;
            }
            b'}' | b']' => {
                depth -= open.pop().unwrap_or_default();
                dots = 0;
            }
            b',' | b'\n' | b'\r' => {
                values += 1;
                dots = 0;
            }
            _ => {}
        }
        if depth + dots > CONFIG_DEPTH_MAX {
            return Err(too_deep(at));
        }
        at += 1;
    }
    Ok(Shape { values, unclosed: None })
}

/// The byte after the string that starts at `start`: at its end delimiter, or, when it has none,
/// where the lexer gives up too: at the line's end, or the file's for a string of several lines.
fn toml_string_end(bytes: &[u8], start: usize, quote: u8) -> usize {
    let escapes = quote == b'"';
    let several_lines = bytes[start..].starts_with(&[quote; 3]);
    let mut at = start + if several_lines { 3 } else { 1 };
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if escapes && matches!(bytes.get(at + 1), Some(b'"' | b'\\')) => at += 1,
            b'\n' if !several_lines => return at,
            _ if byte == quote && !several_lines => return at + 1,
            _ if byte == quote && bytes[at..].starts_with(&[quote; 3]) => {
                let extra = bytes[at + 3..].iter().take(2).take_while(|b| **b == quote).count();
                return at + 3 + extra;
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

fn end_of_line(bytes: &[u8], start: usize) -> usize {
    let rest = bytes[start..].iter().position(|b| matches!(b, b'\n' | b'\r'));
    rest.map_or(bytes.len(), |length| start + length)
}

fn too_deep(at: usize) -> Fault {
    let message = format!("nested deeper than {CONFIG_DEPTH_MAX} levels");
    Fault::new(Span::new(at, at + 1), message, "a configuration needs four levels")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_do_not_nest() {
        let text = format!(r#"{{"a": "{}\"["}}"#, "[".repeat(100));
        let shape = json(&text).unwrap();
        assert_eq!((shape.values, shape.unclosed), (2, None));
        assert_eq!(json("[{").unwrap().unclosed, Some(1));
        toml(&format!("a = '{}' # {}\nb = \"\"\"\n{}\\\"\"\"\"", "[".repeat(99), "[".repeat(99), "{".repeat(99)))
            .unwrap();
    }

    #[test]
    fn depth_is_bounded_in_both_formats() {
        assert!(json(&"[".repeat(CONFIG_DEPTH_MAX)).is_ok());
        assert_eq!(json(&"[".repeat(CONFIG_DEPTH_MAX + 1)).unwrap_err().span.start, CONFIG_DEPTH_MAX);
        assert!(toml(&format!("a = {}", "[".repeat(CONFIG_DEPTH_MAX + 1))).is_err());
        assert!(toml(&format!("{} = 1", vec!["a"; CONFIG_DEPTH_MAX + 2].join("."))).is_err(), "dotted keys nest");
        assert!(toml(&format!("[{}]", vec!["a"; CONFIG_DEPTH_MAX + 2].join("."))).is_err());
        let mixed = "a.b.c.d.e.f.g.h = { ".repeat(4) + "x.y.z = 1";
        assert!(toml(&mixed).is_err(), "dots and brackets add up");
        assert!(toml("a = [1.5, 2.5, 3.5]\n".repeat(50).as_str()).is_ok());
    }

    #[test]
    fn a_text_that_is_not_closed_is_reported_where_it_starts() {
        assert_eq!(json("{\"a\": \"b\n}").unwrap_err().span.start, 6);
        assert_eq!(json("{\"a\": \"b").unwrap_err().span.start, 6);
        assert_eq!(json("{\"a\": \"b\u{1}\"}").unwrap_err().span.start, 8);
        assert_eq!(json("{ // no\n}").unwrap_err().span.start, 2);
    }
}
