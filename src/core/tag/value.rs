//! What a tag's value is, and its 64 raw bits.

use std::fmt;

/// The type of one element as it travels in samples. Two's complement, IEEE 754; every scalar fits 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ScalarType {
    Bool = 1,
    Int16 = 2,
    Uint16 = 3,
    Int32 = 4,
    Uint32 = 5,
    Int64 = 6,
    Uint64 = 7,
    Float32 = 8,
    Float64 = 9,
}

impl ScalarType {
    pub const ALL: [ScalarType; 9] = [
        ScalarType::Bool,
        ScalarType::Int16,
        ScalarType::Uint16,
        ScalarType::Int32,
        ScalarType::Uint32,
        ScalarType::Int64,
        ScalarType::Uint64,
        ScalarType::Float32,
        ScalarType::Float64,
    ];

    pub fn from_code(code: u8) -> Option<ScalarType> {
        ScalarType::ALL.into_iter().find(|ty| *ty as u8 == code)
    }

    pub fn name(self) -> &'static str {
        match self {
            ScalarType::Bool => "bool",
            ScalarType::Int16 => "int16",
            ScalarType::Uint16 => "uint16",
            ScalarType::Int32 => "int32",
            ScalarType::Uint32 => "uint32",
            ScalarType::Int64 => "int64",
            ScalarType::Uint64 => "uint64",
            ScalarType::Float32 => "float32",
            ScalarType::Float64 => "float64",
        }
    }
}

/// The type of a tag's value as it travels in samples, journal and outputs.
///
/// A scalar's 64 bits stand in the sample: integers sign- or zero-extended, float32 as its 32 bits
/// zero-extended, bool as 0 or 1. Text and arrays are *long values*: bytes that follow their header sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    Scalar(ScalarType),
    /// UTF-8, at most `bytes_max` bytes.
    Text {
        bytes_max: u16,
    },
    /// `len` elements, each as 8 little-endian bytes holding the scalar's 64 bits.
    Array {
        of: ScalarType,
        len: u16,
    },
}

impl ValueType {
    /// Marks text in [`crate::tag::Sample::ty`].
    pub const TEXT_CODE: u8 = 0x40;
    /// Marks an array in [`crate::tag::Sample::ty`]; the low bits are the element's code.
    pub const ARRAY_CODE: u8 = 0x80;

    /// The byte that stands in a sample.
    pub fn code(self) -> u8 {
        match self {
            ValueType::Scalar(ty) => ty as u8,
            ValueType::Text { .. } => ValueType::TEXT_CODE,
            ValueType::Array { of, .. } => ValueType::ARRAY_CODE | of as u8,
        }
    }

    /// The most bytes that follow the header sample; 0 for a scalar.
    pub fn long_bytes_max(self) -> usize {
        match self {
            ValueType::Scalar(_) => 0,
            ValueType::Text { bytes_max } => bytes_max as usize,
            ValueType::Array { len, .. } => len as usize * 8,
        }
    }

    pub fn is_long(self) -> bool {
        !matches!(self, ValueType::Scalar(_))
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueType::Scalar(ty) => f.write_str(ty.name()),
            ValueType::Text { .. } => f.write_str("string"),
            ValueType::Array { of, len } => write!(f, "{}[{len}]", of.name()),
        }
    }
}

/// A value outside the floor, for people and outputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float32(f32),
    Float64(f64),
    Text(String),
    Array(Vec<Value>),
}

impl Value {
    /// Reads a scalar's 64 bits.
    pub fn from_bits(ty: ScalarType, bits: u64) -> Value {
        match ty {
            ScalarType::Bool => Value::Bool(bits != 0),
            ScalarType::Int16 | ScalarType::Int32 | ScalarType::Int64 => Value::Int(bits as i64),
            ScalarType::Uint16 | ScalarType::Uint32 | ScalarType::Uint64 => Value::Uint(bits),
            ScalarType::Float32 => Value::Float32(f32::from_bits(bits as u32)),
            ScalarType::Float64 => Value::Float64(f64::from_bits(bits)),
        }
    }

    /// Reads the bytes of a long value. Text that is not UTF-8 is shown with replacement characters.
    pub fn from_long(code: u8, bytes: &[u8]) -> Option<Value> {
        if code == ValueType::TEXT_CODE {
            return Some(Value::Text(String::from_utf8_lossy(bytes).into_owned()));
        }
        let of = ScalarType::from_code(code & !ValueType::ARRAY_CODE)?;
        let elements = bytes
            .chunks_exact(8)
            .map(|chunk| {
                let mut word = [0u8; 8];
                word.copy_from_slice(chunk);
                Value::from_bits(of, u64::from_le_bytes(word))
            })
            .collect();
        Some(Value::Array(elements))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(v) => write!(f, "{v}"),
            Value::Int(v) => write!(f, "{v}"),
            Value::Uint(v) => write!(f, "{v}"),
            Value::Float32(v) => write!(f, "{v}"),
            Value::Float64(v) => write!(f, "{v}"),
            Value::Text(v) => write!(f, "{v:?}"),
            Value::Array(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{value}")?;
                }
                f.write_str("]")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_read_back_as_the_value_of_their_type() {
        assert_eq!(Value::from_bits(ScalarType::Int16, (-5i64) as u64), Value::Int(-5));
        assert_eq!(Value::from_bits(ScalarType::Float32, 1.5f32.to_bits() as u64), Value::Float32(1.5));
        assert_eq!(Value::from_bits(ScalarType::Bool, 1), Value::Bool(true));
    }

    #[test]
    fn a_long_value_reads_back() {
        let ty = ValueType::Array { of: ScalarType::Int32, len: 2 };
        let mut bytes = Vec::new();
        bytes.extend((-1i64).to_le_bytes());
        bytes.extend(7i64.to_le_bytes());
        assert_eq!(Value::from_long(ty.code(), &bytes), Some(Value::Array(vec![Value::Int(-1), Value::Int(7)])));
        assert_eq!(Value::from_long(ValueType::TEXT_CODE, b"ab"), Some(Value::Text("ab".into())));
    }

    #[test]
    fn every_code_reads_back() {
        for ty in ScalarType::ALL {
            assert_eq!(ScalarType::from_code(ty as u8), Some(ty));
        }
        assert_eq!(ScalarType::from_code(0), None);
    }
}
