//! Entries of object dictionaries.

use std::fmt;

/// The place of an entry in a node's object dictionary (CiA 301, section 7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Object {
    pub index: u16,
    pub sub: u8,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04X}:{:02X}", self.index, self.sub)
    }
}
