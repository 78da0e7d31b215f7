//! What is to be written, as the bytes of an order: done off the floor, by the kind of the tag's link.

use std::fmt;

use super::{bus, can, canopen, modbus};
use crate::plan::{LinkProtocolPlan, Plan};
use crate::rt::WritePayload;
use crate::tag::{LinkId, TagId, Value, ValueType};

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
            WriteFault::Nul => f.write_str("the string has a NUL character, at which it would end"),
            WriteFault::NoSuchCharacter { found, encoding } => {
                write!(f, "the string has the character {found:?}, which {encoding} has not; allowed: its characters")
            }
            WriteFault::Unreadable { allowed } => write!(f, "the string cannot be read; allowed: {allowed}"),
        }
    }
}

impl std::error::Error for WriteFault {}

/// The order's part of writing `value`, as an engineering value, to `tag`.
///
/// Scale and offset are undone and the raw value is rounded to the nearest one; what does not fit is refused, never
/// wrapped. Ranges and rates that people set are not looked at.
///
/// # Errors
/// What is wrong with the value, or that the tag can't be written.
pub fn encode(plan: &Plan, tag: TagId, value: &Value) -> Result<Encoded, WriteFault> {
    let link = plan.tags.get(tag).ok_or(WriteFault::NotWritable)?.link;
    let protocol = &plan.links.get(link).ok_or(WriteFault::NotWritable)?.protocol;
    let (slot, payload) = match protocol {
        LinkProtocolPlan::Modbus(plan) => modbus::encode(plan, tag, value)?,
        LinkProtocolPlan::Can(plan) => can::encode(plan, tag, value)?,
        LinkProtocolPlan::CanOpen(plan) => canopen::encode(plan, tag, value)?,
        LinkProtocolPlan::Bus(plan) => bus::encode(plan, tag, value)?,
        LinkProtocolPlan::Diagnostics(_) => return Err(WriteFault::NotWritable),
    };
    Ok(Encoded { link, slot, payload })
}

/// What was read back of `tag`, as an engineering value; `None`: it is no value of the tag's type.
pub fn decode(plan: &Plan, tag: TagId, back: &WritePayload) -> Option<Value> {
    match &plan.links.get(plan.tags.get(tag)?.link)?.protocol {
        LinkProtocolPlan::Modbus(plan) => modbus::decode_back(plan, tag, back.bytes()),
        LinkProtocolPlan::Can(plan) => can::decode_back(plan, tag, back.bytes()),
        LinkProtocolPlan::CanOpen(plan) => canopen::decode_back(plan, tag, back.bytes()),
        LinkProtocolPlan::Bus(plan) => bus::decode_back(plan, tag, back.bytes()),
        LinkProtocolPlan::Diagnostics(_) => None,
    }
}
