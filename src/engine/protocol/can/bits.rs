//! What bits of frames can hold.

use crate::config::FieldType;
use crate::tag::ScalarType;

pub const FD_BYTES: u32 = 64;

pub const PGN_MAX: u32 = 0x3_FFFF;

/// The type that whole numbers of so many bits have.
pub fn natural(len: u8, signed: bool) -> ScalarType {
    match (len, signed) {
        (1, false) => ScalarType::Bool,
        (..=16, false) => ScalarType::Uint16,
        (..=32, false) => ScalarType::Uint32,
        (_, false) => ScalarType::Uint64,
        (..=16, true) => ScalarType::Int16,
        (..=32, true) => ScalarType::Int32,
        (_, true) => ScalarType::Int64,
    }
}

/// Bits of a type of whole numbers, and whether it has a sign.
pub fn whole(ty: FieldType) -> Option<(u8, bool)> {
    match ty {
        FieldType::Int16 => Some((16, true)),
        FieldType::Uint16 => Some((16, false)),
        FieldType::Int32 => Some((32, true)),
        FieldType::Uint32 => Some((32, false)),
        FieldType::Int64 => Some((64, true)),
        FieldType::Uint64 => Some((64, false)),
        _ => None,
    }
}
