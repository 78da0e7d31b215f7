//! The text of an EDS or DCF file: sections and keys with their lines (CiA 306, section 4).
//!
//! Section and key names don't distinguish capitals. A comment is a line that begins with a semicolon; many files have
//! one behind a value, too.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::config::beside::{Fault, LeftOut, text_of};
use crate::limits::{EDS_LINES_MAX, SIDE_FILE_BYTES_MAX};

/// A key's value, trimmed, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    pub text: String,
    pub line: u32,
}

#[derive(Debug, Clone, Default)]
pub struct Section {
    pub line: u32,
    /// By their names in small letters.
    pub keys: BTreeMap<String, Raw>,
    /// It says two things at once: what it is about cannot be known.
    pub doubt: Option<Fault>,
}

impl Section {
    /// A value that is there and not empty.
    pub fn get(&self, key: &str) -> Option<&Raw> {
        self.keys.get(key).filter(|raw| !raw.text.is_empty())
    }
}

/// The sections by their names in small letters.
pub type Sections = BTreeMap<String, Section>;

/// What is read of a section; the others are for people and other tools.
fn is_read(section: &str) -> bool {
    let digits = section.bytes().take_while(u8::is_ascii_hexdigit).count().min(4);
    let rest = section.get(digits..).unwrap_or_default();
    let is_object = digits > 0 && (matches!(rest, "" | "name" | "value") || rest.starts_with("sub"));
    is_object || matches!(section, "deviceinfo" | "mandatoryobjects" | "optionalobjects" | "manufacturerobjects")
}

/// Keys that say what an object or a device is.
const SAY_WHAT_IT_IS: &[&str] = &[
    "parametername",
    "objecttype",
    "datatype",
    "accesstype",
    "defaultvalue",
    "parametervalue",
    "compactsubobj",
    "vendornumber",
    "productnumber",
];

/// Reads what can be read.
///
/// # Errors
/// The file is too long.
pub fn parse(bytes: &[u8], left_out: &mut LeftOut) -> Result<Sections, Fault> {
    if bytes.len() as u64 > SIDE_FILE_BYTES_MAX {
        let message = format!("the file is larger than {} MiB", SIDE_FILE_BYTES_MAX >> 20);
        return Err(Fault::new(0, message, "a typical EDS file has 100 KB"));
    }
    let text = text_of(bytes);
    let mut reading = Reading { sections: Sections::new(), current: Current::None, left_out };
    for (line, number) in text.split('\n').zip(1..) {
        if number as usize > EDS_LINES_MAX {
            return Err(Fault::new(number, format!("the file has more than {EDS_LINES_MAX} lines"), ""));
        }
        reading.line(line.trim(), number);
    }
    reading.end_section();
    Ok(reading.sections)
}

/// Where keys go.
enum Current {
    /// Nowhere: before the first section, or below one without a name.
    None,
    Section(String),
    /// One that stands in the file already.
    Again(String, Section),
}

struct Reading<'a> {
    sections: Sections,
    current: Current,
    left_out: &'a mut LeftOut,
}

impl Reading<'_> {
    fn line(&mut self, line: &str, number: u32) {
        if line.is_empty() || line.starts_with(';') {
            return;
        }
        if let Some(c) = line.chars().find(|c| c.is_control() && *c != '\t') {
            let message = format!("it has the control character U+{:04X}", u32::from(c));
            let help = "an EDS file is text; is it another file, or incomplete?";
            self.leave_out("this line", Fault::new(number, message, help));
        } else if let Some(rest) = line.strip_prefix('[') {
            self.end_section();
            self.open_section(rest, number);
        } else {
            self.key(line, number);
        }
    }

    /// Of a section that is not read, nobody misses anything.
    fn leave_out(&mut self, what: &str, why: Fault) {
        let is_read = match &self.current {
            Current::None => true,
            Current::Section(name) | Current::Again(name, _) => is_read(name),
        };
        if is_read {
            self.left_out.add(what, why);
        }
    }

    fn open_section(&mut self, rest: &str, line: u32) {
        let Some(name) = rest.split_once(']').map(|(name, _)| name.trim()).filter(|name| !name.is_empty()) else {
            self.current = Current::None;
            let why = Fault::new(line, format!("the section [{} has no end or no name", shown(rest)), "[Name]");
            self.left_out.add("the text below this line", why);
            return;
        };
        let key = name.to_ascii_lowercase();
        let section = Section { line, ..Section::default() };
        self.current = match self.sections.entry(key.clone()) {
            Entry::Occupied(_) => Current::Again(key, section),
            Entry::Vacant(place) => {
                place.insert(section);
                Current::Section(key)
            }
        };
    }

    /// A section that stands in the file twice, and says something else each time, is in doubt.
    fn end_section(&mut self) {
        let Current::Again(name, again) = std::mem::replace(&mut self.current, Current::None) else { return };
        let Some(first) = self.sections.get_mut(&name).filter(|_| is_read(&name)) else { return };
        let is_same =
            SAY_WHAT_IT_IS.iter().all(|key| first.get(key).map(|raw| &raw.text) == again.get(key).map(|raw| &raw.text));
        let message = format!("the section [{}] is also in line {}", shown(&name), first.line);
        let why = Fault::new(again.line, message, "");
        if is_same {
            self.left_out.add("this section", why);
        } else {
            first.doubt.get_or_insert(Fault { help: "remove one of the two".into(), ..why });
        }
    }

    fn key(&mut self, line: &str, number: u32) {
        let Some((key, value)) = line.split_once('=') else {
            let message = format!("{} is neither a section nor a key", shown(line));
            self.leave_out("this line", Fault::new(number, message, "Key=Value, or [Section]"));
            return;
        };
        let section = match &mut self.current {
            Current::None => return,
            Current::Section(name) => match self.sections.get_mut(name) {
                Some(section) => section,
                None => return,
            },
            Current::Again(_, section) => section,
        };
        let raw = Raw { text: without_comment(value).trim().to_owned(), line: number };
        let name = key.trim().to_ascii_lowercase();
        match section.keys.entry(name) {
            Entry::Occupied(first) => {
                if first.get().text != raw.text && SAY_WHAT_IT_IS.contains(&&**first.key()) {
                    let message = format!("the key {} is also in line {}", shown(key), first.get().line);
                    section.doubt.get_or_insert(Fault::new(number, message, "remove one of the two"));
                }
            }
            Entry::Vacant(place) => {
                place.insert(raw);
            }
        }
    }
}

/// A semicolon behind a blank begins a comment, as tools read these files.
fn without_comment(value: &str) -> &str {
    let is_comment = |(at, _): &(usize, &str)| value[..*at].is_empty() || value[..*at].ends_with([' ', '\t']);
    value.match_indices(';').find(is_comment).map_or(value, |(at, _)| &value[..at])
}

/// What messages repeat of a file that may hold anything.
pub fn shown(text: &str) -> String {
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
