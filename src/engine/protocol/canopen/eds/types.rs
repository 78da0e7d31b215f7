//! Data types of CANopen objects (CiA 301, section 7.4.7, table 44).

use std::fmt;

/// Sizes are bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    Boolean,
    Integer(u8),
    Unsigned(u8),
    Real32,
    Real64,
    VisibleString,
    OctetString,
    UnicodeString,
    Domain,
    /// A record, or a type of the device's own.
    Other(u16),
}

impl DataType {
    pub fn from_code(code: u16) -> DataType {
        match code {
            0x01 => DataType::Boolean,
            0x02 => DataType::Integer(8),
            0x03 => DataType::Integer(16),
            0x04 => DataType::Integer(32),
            0x05 => DataType::Unsigned(8),
            0x06 => DataType::Unsigned(16),
            0x07 => DataType::Unsigned(32),
            0x08 => DataType::Real32,
            0x09 => DataType::VisibleString,
            0x0A => DataType::OctetString,
            0x0B => DataType::UnicodeString,
            // Time of day and time difference: 48 bits of milliseconds and days.
            0x0C | 0x0D => DataType::Unsigned(48),
            0x0F => DataType::Domain,
            0x10 => DataType::Integer(24),
            0x11 => DataType::Real64,
            0x12 => DataType::Integer(40),
            0x13 => DataType::Integer(48),
            0x14 => DataType::Integer(56),
            0x15 => DataType::Integer(64),
            0x16 => DataType::Unsigned(24),
            0x18 => DataType::Unsigned(40),
            0x19 => DataType::Unsigned(48),
            0x1A => DataType::Unsigned(56),
            0x1B => DataType::Unsigned(64),
            other => DataType::Other(other),
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataType::Boolean => f.write_str("BOOLEAN"),
            DataType::Integer(bits) => write!(f, "INTEGER{bits}"),
            DataType::Unsigned(bits) => write!(f, "UNSIGNED{bits}"),
            DataType::Real32 => f.write_str("REAL32"),
            DataType::Real64 => f.write_str("REAL64"),
            DataType::VisibleString => f.write_str("VISIBLE_STRING"),
            DataType::OctetString => f.write_str("OCTET_STRING"),
            DataType::UnicodeString => f.write_str("UNICODE_STRING"),
            DataType::Domain => f.write_str("DOMAIN"),
            DataType::Other(code) => write!(f, "type 0x{code:04X}"),
        }
    }
}
