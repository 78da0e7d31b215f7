//! The text of an EDS or DCF file: sections and keys with their lines (CiA 306, section 4).
//!
//! Section and key names don't distinguish capitals. A comment is a line that begins with a semicolon. Files come in
//! UTF-8 or in the Latin-1 of older editors.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Fault;
use crate::limits::{EDS_FAULTS_MAX, EDS_LINES_MAX, SIDE_FILE_BYTES_MAX};

/// A key's value, trimmed, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raw {
    pub text: String,
    pub line: u32,
}

#[derive(Debug, Default)]
pub(super) struct Section {
    pub line: u32,
    /// By their names in small letters.
    pub keys: BTreeMap<String, Raw>,
}

impl Section {
    /// A value that is there and not empty.
    pub fn get(&self, key: &str) -> Option<&Raw> {
        self.keys.get(key).filter(|raw| !raw.text.is_empty())
    }
}

/// The sections by their names in small letters.
pub(super) type Sections = BTreeMap<String, Section>;

/// Reads what can be read; every fault is told.
pub(super) fn parse(bytes: &[u8], faults: &mut Vec<Fault>) -> Sections {
    let mut sections = Sections::new();
    if bytes.len() as u64 > SIDE_FILE_BYTES_MAX {
        let message = format!("the file is larger than {} MiB", SIDE_FILE_BYTES_MAX >> 20);
        faults.push(Fault::new(0, message, "an EDS file has some 100 KB"));
        return sections;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let mut current: Option<String> = None;
    for (at, line) in text.lines().enumerate() {
        let number = at as u32 + 1;
        if at >= EDS_LINES_MAX {
            faults.push(Fault::new(number, format!("more than {EDS_LINES_MAX} lines"), ""));
            break;
        }
        if faults.len() >= EDS_FAULTS_MAX {
            faults.push(Fault::new(number, "too many faults: the rest of the file was not read", ""));
            break;
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        if let Some(c) = line.chars().find(|c| c.is_control() && *c != '\t') {
            let message = format!("the control character U+{:04X}", u32::from(c));
            faults.push(Fault::new(
                number,
                message,
                "an EDS file is text; is it another file, or was it written half?",
            ));
            current = None;
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            current = open_section(&mut sections, rest, number, faults);
            continue;
        }
        read_key(&mut sections, &current, line, number, faults);
    }
    sections
}

fn open_section(sections: &mut Sections, rest: &str, line: u32, faults: &mut Vec<Fault>) -> Option<String> {
    let Some(name) = rest.split_once(']').map(|(name, _)| name.trim()).filter(|name| !name.is_empty()) else {
        faults.push(Fault::new(line, format!("the section [{} has no end or no name", shown(rest)), "[Name]"));
        return None;
    };
    let key = name.to_ascii_lowercase();
    match sections.entry(key.clone()) {
        Entry::Occupied(first) => {
            let message = format!("the section [{}] stands here twice", shown(name));
            faults.push(Fault::new(line, message, format!("the first begins in line {}", first.get().line)));
            None
        }
        Entry::Vacant(place) => {
            place.insert(Section { line, ..Section::default() });
            Some(key)
        }
    }
}

fn read_key(sections: &mut Sections, current: &Option<String>, line: &str, number: u32, faults: &mut Vec<Fault>) {
    let Some((key, value)) = line.split_once('=') else {
        faults.push(Fault::new(
            number,
            format!("{} is neither section nor key", shown(line)),
            "Key=Value, or [Section]",
        ));
        return;
    };
    // Below a section that stands here twice, or before the first one.
    let Some(section) = current.as_ref().and_then(|name| sections.get_mut(name)) else { return };
    let raw = Raw { text: value.trim().to_owned(), line: number };
    let name = key.trim();
    match section.keys.entry(name.to_ascii_lowercase()) {
        Entry::Occupied(first) => {
            let message = format!("the key {} stands here twice", shown(name));
            faults.push(Fault::new(number, message, format!("the first is in line {}", first.get().line)));
        }
        Entry::Vacant(place) => {
            place.insert(raw);
        }
    }
}

/// What messages repeat of a file that may hold anything.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
