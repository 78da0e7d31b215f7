//! Electronic data sheets of CANopen devices: EDS and DCF files (CiA 306).
//!
//! What Fieldbeat needs of them: which objects there are, of what type, and which values they have by default or, in a
//! DCF, by configuration. [`ini`] reads the text, [`objects`] the sections of objects, [`Eds::pdos`] what PDOs carry.
//! What cannot be understood is left out, and only what uses it is refused.

mod ini;
mod number;
mod objects;
pub mod pdo;
#[cfg(test)]
mod tests;
pub mod types;

use std::collections::BTreeMap;

use ini::Raw;
pub use pdo::{MappedField, Pdo, PdoDirection, Pdos, UnreadPdo};
pub use types::DataType;

pub use crate::config::beside::{Fault, LeftOut};
use crate::tag::Object;

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

/// An object that is in the file, and was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lost {
    /// As that of an entry; may be empty.
    name: String,
    why: Fault,
}

/// A device's object dictionary as its data sheet tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Eds {
    entries: BTreeMap<Object, Entry>,
    lost: BTreeMap<Object, Lost>,
    /// Indices of which nothing can be read, or that are listed only.
    lost_indices: BTreeMap<u16, Lost>,
    pub left_out: LeftOut,
    /// As the device's identity object must say; zero in the file means any.
    pub vendor: Option<u32>,
    pub product: Option<u32>,
}

/// What a parameter's name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming<'e> {
    Unknown,
    One(Object),
    /// It is in the file, and was left out.
    LeftOut(&'e Fault),
    Several(Object, Object),
}

impl Eds {
    /// Reads an EDS or DCF file.
    ///
    /// # Errors
    /// Why nothing can be read of it.
    pub fn read(bytes: &[u8]) -> Result<Eds, Vec<Fault>> {
        let mut eds = Eds::default();
        let sections = ini::parse(bytes, &mut eds.left_out).map_err(|fault| vec![fault])?;
        eds.read_objects(&sections).map_err(|fault| vec![fault])?;
        eds.read_device(&sections);
        if eds.entries.is_empty() && !sections.contains_key("deviceinfo") {
            let first = eds.left_out.iter().next();
            let found = first.map_or(String::new(), |(_, why)| format!(", and in line {}: {}", why.line, why.message));
            let message = format!("neither [DeviceInfo] nor an object can be read{found}");
            return Err(vec![Fault::new(0, message, "is it an EDS or DCF file?")]);
        }
        Ok(eds)
    }

    pub fn get(&self, object: Object) -> Option<&Entry> {
        self.entries.get(&object)
    }

    /// Why an object that the file has is not among its entries.
    pub fn why_left_out(&self, object: Object) -> Option<&Fault> {
        let lost = self.lost.get(&object).or_else(|| self.lost_indices.get(&object.index));
        lost.filter(|_| !self.entries.contains_key(&object)).map(|lost| &lost.why)
    }

    pub fn objects(&self) -> impl Iterator<Item = (Object, &Entry)> {
        self.entries.iter().map(|(object, entry)| (*object, entry))
    }

    /// The object of a name: `Position actual value`, or `Identity object.Vendor-ID` for a sub-object.
    pub fn named(&self, name: &str) -> Naming<'_> {
        let mut found = self.objects().filter(|(_, entry)| entry.name == name).map(|(object, _)| object);
        let of_indices = self.lost_indices.iter().map(|(index, lost)| (Object { index: *index, sub: 0 }, lost));
        let lost = self.lost.iter().map(|(object, lost)| (*object, lost)).chain(of_indices);
        let mut lost = lost.filter(|(_, lost)| lost.name == name);
        match (found.next(), found.next(), lost.next()) {
            (None, _, None) => Naming::Unknown,
            (None, _, Some((_, lost))) => Naming::LeftOut(&lost.why),
            (Some(only), None, None) => Naming::One(only),
            (Some(one), Some(other), _) | (Some(one), None, Some((other, _))) => Naming::Several(one, other),
        }
    }

    /// The number that an object has by the file, for the node `node`: the DCF's parameter value, else the default.
    ///
    /// # Errors
    /// There is a value, and it is no number.
    pub fn number(&self, object: Object, node: u8) -> Result<Option<u64>, Fault> {
        let Some(raw) = self.get(object).and_then(|entry| entry.value.as_ref()) else { return Ok(None) };
        number::of_node(&raw.text, node).map(Some).ok_or_else(|| {
            let message = format!("the value {} of {object} is not a number", ini::shown(&raw.text));
            Fault::new(raw.line, message, "allowed: decimal, 0x and hexadecimal digits, $NODEID+number")
        })
    }
}
