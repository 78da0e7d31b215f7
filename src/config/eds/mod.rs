//! Electronic data sheets of CANopen devices: EDS and DCF files (CiA 306).
//!
//! What Fieldbeat needs of them: which objects there are, of what type, and which values they have by default or, in a
//! DCF, by configuration. [`ini`] reads the text, [`Eds::pdo`] what a PDO carries.

mod ini;
mod pdo;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;

use ini::{Raw, Section, Sections, shown};
pub use pdo::{MappedField, Pdo, PdoDirection};
pub use types::DataType;

use super::model::Object;
use crate::limits::EDS_OBJECTS_MAX;

/// What is wrong with a file; line 0 means the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub line: u32,
    pub message: String,
    /// What is allowed; may be empty.
    pub help: String,
}

impl Fault {
    fn new(line: u32, message: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault { line, message: message.into(), help: help.into() }
    }
}

/// One object, or one sub-object of an array or record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub line: u32,
    /// Of a sub-object: `Object.Sub-object`.
    pub name: String,
    pub data_type: DataType,
    pub readable: bool,
    pub writable: bool,
    value: Option<Raw>,
}

/// A device's object dictionary as its data sheet tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Eds {
    entries: BTreeMap<Object, Entry>,
    /// As the device's identity object must say; zero in the file means any.
    pub vendor: Option<u32>,
    pub product: Option<u32>,
}

impl Eds {
    /// Reads an EDS or DCF file.
    ///
    /// # Errors
    /// All that is wrong, by line.
    pub fn read(bytes: &[u8]) -> Result<Eds, Vec<Fault>> {
        let mut faults = Vec::new();
        let sections = ini::parse(bytes, &mut faults);
        let mut eds = Eds::default();
        if faults.iter().all(|fault| fault.line > 0) {
            eds.read_objects(&sections, &mut faults);
            eds.read_device(&sections, &mut faults);
        }
        faults.sort_by_key(|fault| fault.line);
        if faults.is_empty() { Ok(eds) } else { Err(faults) }
    }

    pub fn get(&self, object: Object) -> Option<&Entry> {
        self.entries.get(&object)
    }

    pub fn objects(&self) -> impl Iterator<Item = (Object, &Entry)> {
        self.entries.iter().map(|(object, entry)| (*object, entry))
    }

    /// The objects of a name: `Position actual value`, or `Identity object.Vendor-ID` for a sub-object.
    pub fn named(&self, name: &str) -> Vec<Object> {
        self.objects().filter(|(_, entry)| entry.name == name).map(|(object, _)| object).collect()
    }

    /// The number that an object has by the file, for the node `node`: the DCF's parameter value, else the default.
    ///
    /// # Errors
    /// There is a value, and it is no number.
    pub fn number(&self, object: Object, node: u8) -> Result<Option<u64>, Fault> {
        let Some(raw) = self.get(object).and_then(|entry| entry.value.as_ref()) else { return Ok(None) };
        number_of_node(&raw.text, node).map(Some).ok_or_else(|| {
            let message = format!("the value {} of {object} is no number", shown(&raw.text));
            Fault::new(raw.line, message, "allowed: decimal, 0x and hexadecimal digits, $NODEID+number")
        })
    }

    fn read_objects(&mut self, sections: &Sections, faults: &mut Vec<Fault>) {
        for (name, section) in sections {
            let Some(index) = object_index(name) else { continue };
            self.read_object(index, section, sections, faults);
            if self.entries.len() > EDS_OBJECTS_MAX {
                faults.push(Fault::new(section.line, format!("more than {EDS_OBJECTS_MAX} objects"), ""));
                return;
            }
        }
        for list in ["mandatoryobjects", "optionalobjects", "manufacturerobjects"] {
            let Some(section) = sections.get(list) else { continue };
            for (key, raw) in section.keys.iter().filter(|(key, _)| key.bytes().all(|b| b.is_ascii_digit())) {
                match number(&raw.text).and_then(|index| u16::try_from(index).ok()) {
                    None => {
                        let message = format!("object {key} of the list is {}", shown(&raw.text));
                        faults.push(Fault::new(raw.line, message, "allowed: 0x0000 to 0xFFFF"));
                    }
                    Some(index) if !sections.contains_key(&format!("{index:x}")) => {
                        let message = format!("the object 0x{index:04X} is listed, but its section is missing");
                        faults.push(Fault::new(
                            raw.line,
                            message,
                            format!("add [{index:04X}], or take it off the list"),
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    fn read_object(&mut self, index: u16, section: &Section, sections: &Sections, faults: &mut Vec<Fault>) {
        let name = section.get("parametername").map(|raw| raw.text.clone()).unwrap_or_default();
        // VAR and DOMAIN have a value, ARRAY and RECORD have sub-objects (CiA 301, table 42).
        let kind = match section.get("objecttype") {
            Some(raw) => number_or_fault("ObjectType", raw, 0xFF, faults).unwrap_or(7),
            None => 7,
        };
        if !matches!(kind, 6 | 8 | 9) {
            self.add(Object { index, sub: 0 }, section, name, section, faults);
            return;
        }
        if let Some(raw) = section.get("compactsubobj") {
            let count = number_or_fault("CompactSubObj", raw, 254, faults).unwrap_or(0) as u8;
            self.add_compact(index, &name, section, count, sections, faults);
        }
        let prefix = format!("{index:x}sub");
        for (place, part) in sections.range(prefix.clone()..).take_while(|(place, _)| place.starts_with(&prefix)) {
            let Ok(sub) = u8::from_str_radix(place.get(prefix.len()..).unwrap_or_default(), 16) else { continue };
            let own = part.get("parametername").map_or("", |raw| &raw.text);
            self.add(Object { index, sub }, part, format!("{name}.{own}"), part, faults);
        }
    }

    /// Sub-objects that are all alike (CiA 306, section 4.6.4.3).
    fn add_compact(
        &mut self,
        index: u16,
        name: &str,
        section: &Section,
        count: u8,
        sections: &Sections,
        faults: &mut Vec<Fault>,
    ) {
        let names = sections.get(&format!("{index:x}name"));
        let values = sections.get(&format!("{index:x}value"));
        let sub_zero = Entry {
            line: section.line,
            name: format!("{name}.NrOfObjects"),
            data_type: DataType::Unsigned(8),
            readable: true,
            writable: false,
            value: Some(Raw { text: count.to_string(), line: section.line }),
        };
        self.entries.insert(Object { index, sub: 0 }, sub_zero);
        for sub in 1..=count {
            let key = sub.to_string();
            let own =
                names.and_then(|names| names.get(&key)).map_or_else(|| format!("{name}{sub}"), |raw| raw.text.clone());
            let object = Object { index, sub };
            self.add(object, section, format!("{name}.{own}"), section, faults);
            if let Some(value) = values.and_then(|values| values.get(&key))
                && let Some(entry) = self.entries.get_mut(&object)
            {
                entry.value = Some(value.clone());
            }
        }
    }

    fn add(&mut self, object: Object, section: &Section, name: String, typed: &Section, faults: &mut Vec<Fault>) {
        let data_type = match typed.get("datatype") {
            Some(raw) => match number_or_fault("DataType", raw, 0xFFFF, faults) {
                Some(code) => DataType::from_code(code as u16),
                None => return,
            },
            // A domain's section may leave its type out.
            None if typed.get("objecttype").is_some_and(|raw| number(&raw.text) == Some(2)) => DataType::Domain,
            None => {
                let message = format!("DataType of the object {object} is missing");
                faults.push(Fault::new(section.line, message, "such as DataType=0x0007"));
                return;
            }
        };
        let access = section.get("accesstype").map_or("rw", |raw| &raw.text).to_ascii_lowercase();
        let value = section.get("parametervalue").or_else(|| section.get("defaultvalue")).cloned();
        let entry = Entry {
            line: section.line,
            name,
            data_type,
            readable: access != "wo",
            writable: !matches!(&*access, "ro" | "const"),
            value,
        };
        self.entries.insert(object, entry);
    }

    fn read_device(&mut self, sections: &Sections, faults: &mut Vec<Fault>) {
        let Some(section) = sections.get("deviceinfo") else {
            faults.push(Fault::new(1, "the section [DeviceInfo] is missing", "is it an EDS or DCF file?"));
            return;
        };
        let mut id = |key| match section.get(key) {
            Some(raw) => {
                number_or_fault(key, raw, u64::from(u32::MAX), faults).map(|id| id as u32).filter(|id| *id != 0)
            }
            None => None,
        };
        (self.vendor, self.product) = (id("vendornumber"), id("productnumber"));
    }
}

/// `1a00`: four hexadecimal digits; older files leave out leading zeros, which no object below 0x1000 needs.
fn object_index(name: &str) -> Option<u16> {
    let is_hex = (1..=4).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hex { u16::from_str_radix(name, 16).ok() } else { None }
}

fn number_or_fault(key: &str, raw: &Raw, max: u64, faults: &mut Vec<Fault>) -> Option<u64> {
    let number = number(&raw.text).filter(|number| *number <= max);
    if number.is_none() {
        let message = format!("{key} is {}", shown(&raw.text));
        faults.push(Fault::new(raw.line, message, format!("allowed: a number from 0 to 0x{max:X}")));
    }
    number
}

/// Decimal, hexadecimal with 0x, octal with a leading 0 (CiA 306, section 4.3.3); a negative number as its two's
/// complement.
fn number(text: &str) -> Option<u64> {
    let small = text.to_ascii_lowercase();
    if let Some(digits) = small.strip_prefix("0x") {
        return parse_digits(digits, 16);
    }
    if let Some(digits) = small.strip_prefix('-') {
        return parse_digits(digits, 10).and_then(|n| i64::try_from(n).ok()).map(|n| (-n) as u64);
    }
    match small.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => parse_digits(digits, 8),
        _ => parse_digits(&small, 10),
    }
}

fn parse_digits(digits: &str, radix: u32) -> Option<u64> {
    let all = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    if all { u64::from_str_radix(digits, radix).ok() } else { None }
}

/// A number that may be given as `$NODEID+0x180`, or the other way round.
fn number_of_node(text: &str, node: u8) -> Option<u64> {
    let small = text.to_ascii_lowercase();
    let mut sum = 0u64;
    for part in small.split('+').map(str::trim) {
        let part = if part == "$nodeid" { u64::from(node) } else { number(part)? };
        sum = sum.checked_add(part)?;
    }
    Some(sum)
}
