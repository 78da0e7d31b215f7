//! Sections of objects: what they are, and which of them cannot be understood.

use super::ini::{Raw, Section, Sections, shown};
use super::number::number;
use super::types::DataType;
use super::{Eds, Entry, Lost};
use crate::config::beside::Fault;
use crate::limits::EDS_OBJECTS_MAX;
use crate::tag::Object;

/// Object types that have sub-objects: DEFSTRUCT, ARRAY and RECORD (CiA 301, table 42).
const WITH_SUB_OBJECTS: [u64; 3] = [6, 8, 9];
const DOMAIN: u64 = 2;
/// UNSIGNED64, the last of the types that are numbers or texts (CiA 301, table 44).
const STANDARD_TYPE_MAX: u64 = 0x1B;
const VARIABLE: u64 = 7;

impl Eds {
    /// # Errors
    /// There are more objects than a dictionary can have.
    pub fn read_objects(&mut self, sections: &Sections) -> Result<(), Fault> {
        for (name, section) in sections {
            if let Some(index) = object_index(name) {
                self.read_object(index, section, sections);
            } else if let Some((index, sub)) = sub_object(name)
                && !sections.contains_key(&format!("{index:x}"))
            {
                // Its object has no section of its own.
                let own = section.get("parametername").map_or("", |raw| &raw.text);
                self.add(Object { index, sub }, section, own.to_owned(), sections);
            }
            if self.entries.len() + self.lost.len() > EDS_OBJECTS_MAX {
                return Err(Fault::new(section.line, format!("the file has more than {EDS_OBJECTS_MAX} objects"), ""));
            }
        }
        for list in ["mandatoryobjects", "optionalobjects", "manufacturerobjects"] {
            let Some(section) = sections.get(list) else { continue };
            for (key, raw) in section.keys.iter().filter(|(key, _)| key.bytes().all(|b| b.is_ascii_digit())) {
                self.check_listed(key, raw, sections);
            }
        }
        Ok(())
    }

    fn check_listed(&mut self, key: &str, raw: &Raw, sections: &Sections) {
        let Some(index) = number(&raw.text).and_then(|index| u16::try_from(index).ok()) else {
            let message = format!("object {key} of the list is {}", shown(&raw.text));
            self.left_out.add("this entry", Fault::new(raw.line, message, "allowed: 0x0000 to 0xFFFF"));
            return;
        };
        let prefix = format!("{index:x}sub");
        let has_part = sections.range(prefix.clone()..).next().is_some_and(|(name, _)| name.starts_with(&prefix));
        let has_own = [format!("{index:x}"), format!("{index:04x}")].iter().any(|name| sections.contains_key(name));
        if !has_part && !has_own {
            let help = format!("add [{index:04X}], or take it off the list");
            let why = Fault::new(raw.line, "it is listed here, but its section is missing", help);
            self.left_out.add(format!("the object 0x{index:04X}"), why.clone());
            self.lost_indices.insert(index, Lost { name: String::new(), why });
        }
    }

    fn read_object(&mut self, index: u16, section: &Section, sections: &Sections) {
        let name = section.get("parametername").map(|raw| raw.text.clone()).unwrap_or_default();
        let kind = match section.get("objecttype") {
            Some(raw) => number_of("ObjectType", raw, 0xFF),
            None => Ok(VARIABLE),
        };
        let kind = match (&section.doubt, kind) {
            (None, Ok(kind)) => kind,
            (Some(why), _) => return self.lose_index(index, name, why.clone()),
            (None, Err(why)) => return self.lose_index(index, name, why),
        };
        let prefix = format!("{index:x}sub");
        let parts: Vec<(u8, &Section)> = sections
            .range(prefix.clone()..)
            .take_while(|(place, _)| place.starts_with(&prefix))
            .filter_map(|(place, part)| Some((sub_object(place)?.1, part)))
            .collect();
        // A type that is missing or another one does not hide sub-objects that are there.
        let has_own = !parts.iter().any(|(sub, _)| *sub == 0) && section.get("datatype").is_some();
        if !WITH_SUB_OBJECTS.contains(&kind) && (parts.is_empty() || has_own) {
            self.add(Object { index, sub: 0 }, section, name.clone(), sections);
        }
        if let Some(raw) = section.get("compactsubobj") {
            match number_of("CompactSubObj", raw, 254) {
                Ok(count) => self.add_compact(index, &name, section, count as u8, sections),
                Err(why) => return self.lose_index(index, name, why),
            }
        }
        for (sub, part) in parts {
            let own = part.get("parametername").map_or("", |raw| &raw.text);
            self.add(Object { index, sub }, part, format!("{name}.{own}"), sections);
        }
    }

    /// Sub-objects that are all alike (CiA 306, section 4.6.4.3).
    fn add_compact(&mut self, index: u16, name: &str, section: &Section, count: u8, sections: &Sections) {
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
            self.add(object, section, format!("{name}.{own}"), sections);
            if let Some(value) = values.and_then(|values| values.get(&key))
                && let Some(entry) = self.entries.get_mut(&object)
            {
                entry.value = Some(value.clone());
            }
        }
    }

    fn add(&mut self, object: Object, section: &Section, name: String, sections: &Sections) {
        let data_type = match section.get("datatype") {
            _ if let Some(why) = &section.doubt => Err(why.clone()),
            Some(raw) => number_of("DataType", raw, 0xFFFF).map(|code| {
                // A type of the device's own may be a limited one of the standard's: then its first part names that.
                let part = sections.get(&format!("{code:x}sub1")).and_then(|part| part.get("defaultvalue"));
                let base = part.and_then(|raw| number(&raw.text)).filter(|base| *base <= STANDARD_TYPE_MAX);
                DataType::from_code(base.filter(|_| code > STANDARD_TYPE_MAX).unwrap_or(code) as u16)
            }),
            // A domain's section may leave its type out.
            None if section.get("objecttype").and_then(|raw| number(&raw.text)) == Some(DOMAIN) => Ok(DataType::Domain),
            None => Err(Fault::new(section.line, "its DataType is missing", "such as DataType=0x0007")),
        };
        let data_type = match data_type {
            Ok(data_type) => data_type,
            Err(why) => {
                self.left_out.add(format!("the object {object}"), why.clone());
                self.lost.insert(object, Lost { name, why });
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

    /// The object and all of its sub-objects.
    fn lose_index(&mut self, index: u16, name: String, why: Fault) {
        self.left_out.add(format!("the object 0x{index:04X}"), why.clone());
        self.lost_indices.insert(index, Lost { name, why });
    }

    pub fn read_device(&mut self, sections: &Sections) {
        let Some(section) = sections.get("deviceinfo") else {
            let why = Fault::new(1, "the section [DeviceInfo] is missing", "");
            self.left_out.add("the device's identity", why);
            return;
        };
        if let Some(why) = &section.doubt {
            self.left_out.add("the device's identity", why.clone());
            return;
        }
        let mut id = |key| {
            let number = number_of(key, section.get(key)?, u64::from(u32::MAX));
            number.map_err(|why| self.left_out.add("the device's identity", why)).ok()
        };
        let (vendor, product) = (id("vendornumber"), id("productnumber"));
        let told = |number: Option<u64>| number.map(|id| id as u32).filter(|id| *id != 0);
        (self.vendor, self.product) = (told(vendor), told(product));
    }
}

/// `1a00`: four hexadecimal digits; older files leave out leading zeros, which no object below 0x1000 needs.
fn object_index(name: &str) -> Option<u16> {
    let is_hex = (1..=4).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hex { u16::from_str_radix(name, 16).ok() } else { None }
}

/// `1a00sub1`.
fn sub_object(name: &str) -> Option<(u16, u8)> {
    let (index, sub) = name.split_once("sub")?;
    let is_hex = (1..=2).contains(&sub.len()) && sub.bytes().all(|b| b.is_ascii_hexdigit());
    Some((object_index(index)?, if is_hex { u8::from_str_radix(sub, 16).ok()? } else { return None }))
}

fn number_of(key: &str, raw: &Raw, max: u64) -> Result<u64, Fault> {
    number(&raw.text).filter(|number| *number <= max).ok_or_else(|| {
        let message = format!("{key} is {}", shown(&raw.text));
        Fault::new(raw.line, message, format!("allowed: a number from 0 to 0x{max:X}"))
    })
}
