//! Decoding beside the type: raw values that mean "no value", names of values.

use std::sync::Arc;

use crate::tag::Texts;

/// See the module; the default is none of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DecodingConfig {
    /// Raw values that say that there is no value, as the 64 bits that they have before they are scaled; ascending. Of a
    /// text: one entry, whatever it is, says that an empty text is none.
    pub not_available: Arc<[u64]>,
    /// A float that is not a number, or infinite, is a value.
    pub allow_nan: bool,
    /// What values are called, by the bits that they have in samples.
    pub texts: Texts,
    /// The tag of the same link that has the power of ten by which the raw value is multiplied first (SunSpec's scale
    /// factors).
    pub scale_from: Option<Arc<str>>,
}

/// What raw values there are.
#[derive(Debug, Clone, Copy)]
pub enum Raw {
    Whole {
        bits: u8,
        signed: bool,
    },
    /// Decimal digits.
    Bcd(u32),
    /// IEEE 754 of half, single or double width; the bits of a half are those of the single outside.
    Half,
    Single,
    Double,
    Text,
}

impl Raw {
    /// Whole numbers of so many bits.
    pub fn whole((bits, signed): (u8, bool)) -> Raw {
        Raw::Whole { bits, signed }
    }
}
