//! Why what a device sent is no value.

use crate::tag::{ScalarType, Status};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoValue {
    /// It is none of the type.
    Wrong,
    /// It says that there is none: a value that the tag calls so, not a number, infinite, a date that is not valid.
    Absent,
}

impl NoValue {
    pub fn status(self) -> Status {
        match self {
            NoValue::Wrong => Status::BAD_DECODING_ERROR,
            NoValue::Absent => Status::BAD_DATA_UNAVAILABLE,
        }
    }
}

/// Whether a scalar's bits are no float that is not a number, or infinite: exponents of all ones.
#[inline(always)]
pub fn is_finite(ty: ScalarType, bits: u64) -> bool {
    match ty {
        ScalarType::Float32 => bits & 0x7F80_0000 != 0x7F80_0000,
        ScalarType::Float64 => bits & 0x7FF0_0000_0000_0000 != 0x7FF0_0000_0000_0000,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_finite_or_not_and_all_else_is() {
        for value in [0.0f32, -1.5, f32::MAX, f32::MIN_POSITIVE, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(is_finite(ScalarType::Float32, value.to_bits().into()), value.is_finite(), "{value}");
            assert_eq!(is_finite(ScalarType::Float64, f64::from(value).to_bits()), value.is_finite(), "{value}");
        }
        assert!(is_finite(ScalarType::Uint64, u64::MAX) && is_finite(ScalarType::Int16, u64::MAX));
    }
}
