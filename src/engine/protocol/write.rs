//! What is to be written, as the bytes of an order, and why a value is refused: off the floor.

use std::fmt;

use crate::rt::WritePayload;
use crate::tag::{LinkId, Value, ValueType};

/// What an order says of the value: see [`crate::rt::WriteOrder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    pub link: LinkId,
    pub slot: u32,
    pub payload: WritePayload,
}

/// Why a value can't be written to a tag.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteFault {
    /// The tag is not there, is only read, or is nothing that its protocol can write.
    NotWritable,
    WrongType {
        found: &'static str,
        wanted: ValueType,
    },
    /// Not a number, or infinite.
    NotFinite,
    /// Outside what the device's own type holds; the bounds as engineering values.
    Range {
        min: Value,
        max: Value,
    },
    /// Another number of elements than the array has.
    Length {
        found: usize,
        wanted: usize,
    },
    TooLong {
        bytes: usize,
        bytes_max: usize,
    },
    /// A text with a NUL character, at which it would end when it is read.
    Nul,
    /// A text with a character that the device's encoding lacks.
    NoSuchCharacter {
        found: char,
        encoding: &'static str,
    },
    /// A text that is no date, or no number.
    Unreadable {
        allowed: &'static str,
    },
}

impl WriteFault {
    pub(super) fn wrong_type(found: &Value, wanted: ValueType) -> WriteFault {
        let found = match found {
            Value::Bool(_) => "a bool",
            Value::Int(_) | Value::Uint(_) => "a whole number",
            Value::Float32(_) | Value::Float64(_) => "a number with a fraction",
            Value::Text(_) => "a string",
            Value::Array(_) => "an array",
        };
        WriteFault::WrongType { found, wanted }
    }

    /// The bounds the right way round, where a negative scale has turned them.
    pub(super) fn in_order(self) -> WriteFault {
        match self {
            WriteFault::Range { min: Value::Float64(a), max: Value::Float64(b) } => {
                WriteFault::Range { min: Value::Float64(a.min(b)), max: Value::Float64(a.max(b)) }
            }
            other => other,
        }
    }
}

impl fmt::Display for WriteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteFault::NotWritable => f.write_str("the tag is not writable"),
            WriteFault::WrongType { found, wanted } => write!(f, "the value is {found}; allowed: {wanted}"),
            WriteFault::NotFinite => f.write_str("the value is not a finite number"),
            WriteFault::Range { min, max } => {
                write!(f, "the value does not fit the device's type; allowed: {min} to {max}")
            }
            WriteFault::Length { found, wanted } => write!(f, "the array has {found} elements; allowed: {wanted}"),
            WriteFault::TooLong { bytes, bytes_max } => {
                write!(f, "the string has {bytes} bytes; allowed: at most {bytes_max}")
            }
            WriteFault::Nul => f.write_str("the string has a NUL character, which would end it"),
            WriteFault::NoSuchCharacter { found, encoding } => {
                write!(
                    f,
                    "the string has the character {found:?}, which {encoding} does not have; allowed: \
                    characters of {encoding}"
                )
            }
            WriteFault::Unreadable { allowed } => write!(f, "the string cannot be read; allowed: {allowed}"),
        }
    }
}

impl std::error::Error for WriteFault {}
