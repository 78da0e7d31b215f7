//! Files beside the tag files that links name: DBC, EDS, DCF. Their bytes, their text, and what is wrong with them.
//!
//! Real files have oddities that no tag needs. So a reader leaves out what it cannot understand, says so in a warning,
//! and only a tag that uses what was left out is refused, with the reason. A file of which nothing can be read is an
//! error, which is said first; what follows from it is not reported.

use crate::config::files::Beside;

use super::diagnostic::Report;
use super::files::{TAGS_DIR, read_side_file};
use super::names::quoted;
use super::reader::{Obj, Text};
use super::text::Source;
use crate::limits::SIDE_FILE_FAULTS_MAX;
use crate::tag::CP1252;

/// Such a file.
pub struct SideFile {
    /// As messages give it: `tags/vehicle.dbc`.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// What is wrong in such a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From 1; 0: the file as a whole.
    pub line: u32,
    pub message: String,
    /// What is allowed, or what to do; may be empty.
    pub help: String,
}

impl Fault {
    pub fn new(line: u32, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { line, message: message.into(), help: help.into() }
    }

    /// As a message of another file repeats it: `tags/vehicle.dbc:12: why`.
    pub fn told_of(&self, file: &str) -> String {
        format!("{file}:{}: {}", self.line, self.message)
    }
}

/// What a reader left out of a file: the first findings, and how many there were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    told: Vec<(String, Fault)>,
    all: usize,
}

impl LeftOut {
    /// `what`, such as `the signal Speed of message Motor`, is left out because of `why`.
    pub fn add(&mut self, what: impl Into<String>, why: Fault) {
        self.all += 1;
        if self.told.len() < SIDE_FILE_FAULTS_MAX {
            self.told.push((what.into(), why));
        }
    }

    /// How many findings there were, told or not.
    pub fn len(&self) -> usize {
        self.all
    }

    pub fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// The first ones: what was left out, and why.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fault)> {
        self.told.iter().map(|(what, why)| (&**what, why))
    }

    /// Reports them as warnings.
    pub fn warn(&self, report: &Report, file: &str, subject: &str) {
        for (what, why) in self.iter() {
            report.warning(source(file, why.line), subject, format!("{what} is ignored: {}", why.message), &*why.help);
        }
        let more = self.all - self.told.len();
        if more > 0 {
            report.warning(source(file, 0), subject, format!("and {more} more faults of this file are ignored"), "");
        }
    }
}

fn source(file: &str, line: u32) -> Source {
    Source { file: file.into(), line, column: u32::from(line > 0) }
}

/// Reports why nothing can be read of a file.
pub fn refuse(report: &Report, file: &str, subject: &str, faults: Vec<Fault>) {
    for fault in faults {
        report.cause(source(file, fault.line), subject, fault.message, fault.help);
    }
}

/// Reads the file that the key's text names. `None`: reported.
pub fn read(object: &Obj<'_>, key: &str, text: Text<'_>, ends: &[&str]) -> Option<SideFile> {
    let lower = text.value.to_ascii_lowercase();
    if text.value.contains(['/', '\0']) || !ends.iter().any(|end| lower.ends_with(end)) || lower.starts_with('.') {
        let message = format!("{key} is {}", quoted(text.value));
        let help = format!("allowed: the name of a file in {TAGS_DIR}/ that ends in {}", ends.join(" or "));
        object.error(text.span, message, help);
        return None;
    }
    let name = format!("{TAGS_DIR}/{}", text.value);
    let bytes = match object.cx.beside {
        Beside::Dir(dir) => read_side_file(&dir.join(&name)),
        Beside::Parts(parts) => match parts.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Ok(text.as_bytes().to_vec()),
            None => Err("there is no such file".to_owned()),
        },
    };
    match bytes {
        Ok(bytes) => Some(SideFile { name, bytes }),
        Err(message) => {
            let help = "put it beside the tag files, or correct its name";
            object.cx.report.cause(object.cx.source(text.span), &object.subject, format!("{name}: {message}"), help);
            None
        }
    }
}

/// The text of a file: UTF-8, UTF-16 or UTF-32 with its mark, or else Windows-1252, in which the tools of many vendors write. Lines
/// end with `\n` then, whatever the file has; what DOS puts behind the end of a file is no part of it.
pub fn text_of(bytes: &[u8]) -> String {
    let utf_16 = |order: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).skip(1).map(|pair| order([pair[0], pair[1]]));
        char::decode_utf16(units).map(|c| c.unwrap_or('\u{FFFD}')).collect()
    };
    let utf_32 = |order: fn([u8; 4]) -> u32| {
        let units = bytes.chunks_exact(4).skip(1).map(|unit| order([unit[0], unit[1], unit[2], unit[3]]));
        units.map(|unit| char::from_u32(unit).unwrap_or('\u{FFFD}')).collect()
    };
    let text: String = match bytes {
        [0xFF, 0xFE, 0, 0, ..] => utf_32(u32::from_le_bytes),
        [0, 0, 0xFE, 0xFF, ..] => utf_32(u32::from_be_bytes),
        [0xFF, 0xFE, ..] => utf_16(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => utf_16(u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
            match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => bytes
                    .iter()
                    .map(|byte| match byte {
                        0x80..=0x9F => CP1252.get(usize::from(byte - 0x80)).copied().unwrap_or('\u{FFFD}'),
                        byte => char::from(*byte),
                    })
                    .collect(),
            }
        }
    };
    let text = text.trim_end_matches(['\u{1A}', '\0']);
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_understood_in_each_encoding_that_files_come_in() {
        let utf_16 = |order: fn(u16) -> [u8; 2]| "\u{FEFF}a°\n".encode_utf16().flat_map(order).collect::<Vec<u8>>();
        for bytes in ["a°\n".as_bytes(), "\u{FEFF}a°\r\n".as_bytes(), b"a\xB0\r\n\x1A", b"a\xB0\r\0"] {
            assert_eq!(text_of(bytes), "a°\n", "{bytes:?}");
        }
        assert_eq!(text_of(&utf_16(u16::to_le_bytes)), "a°\n");
        assert_eq!(text_of(&utf_16(u16::to_be_bytes)), "a°\n");
        let utf_32 =
            |order: fn(u32) -> [u8; 4]| "\u{FEFF}a°\n".chars().flat_map(|c| order(c.into())).collect::<Vec<u8>>();
        assert_eq!(text_of(&utf_32(u32::to_le_bytes)), "a°\n");
        assert_eq!(text_of(&utf_32(u32::to_be_bytes)), "a°\n");
        assert_eq!(text_of(b"\x93short\x94 \x80"), "“short” €");
        assert_eq!(text_of(b"\xFF\xFE"), "");
        assert_eq!(text_of(b"\xFF\xFEa"), "");
    }

    #[test]
    fn only_the_first_findings_are_kept_and_all_are_counted() {
        let mut left_out = LeftOut::default();
        for line in 0..1_000 {
            left_out.add("this", Fault::new(line, "why", ""));
        }
        assert_eq!((left_out.len(), left_out.iter().count()), (1_000, SIDE_FILE_FAULTS_MAX));
    }
}
