//! Data types of tags: their Modbus registers and their value types.

use crate::tag::{Encoding, ScalarType, ValueType};

/// What the registers hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// A coil or a discrete input.
    Bit,
    /// One bit of a register, 0 the least significant.
    RegisterBit(u8),
    /// One byte of a register.
    Byte {
        signed: bool,
        high: bool,
    },
    Int16,
    Uint16,
    /// The lower three bytes of two registers; what the upper one holds is not looked at, and written as the sign.
    Int24,
    /// Likewise; the upper one is written as 0.
    Uint24,
    Int32,
    Uint32,
    Int64,
    Uint64,
    /// Eight registers, as a text of all its digits.
    Int128,
    Uint128,
    /// IEEE 754 binary16; a float32 outside.
    Float16,
    Float32,
    Float64,
    /// Packed BCD: 4 digits a register; 1, 2 or 4 registers.
    Bcd {
        registers: u8,
    },
    /// As a text of ISO 8601.
    Date(DateFormat),
    /// Two characters a register, the first in the high byte (the low one when the order swaps bytes);
    /// ends at the first NUL.
    Text(Encoding),
}

/// How a device keeps a date and a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DateFormat {
    /// Seconds since 1970, UTC, in 32 bits without sign.
    Unix32,
    /// The same in 64 bits.
    Unix64,
    /// Milliseconds since 1970, UTC, in 64 bits.
    Unix64Ms,
    /// CP56Time2a (IEC 60870-5-4, IEC 60870-5-101 section 7.2.6.18) in four registers, the year in the first, as meters
    /// have it; their bytes backwards with the order DCBA are those of the standard. It may say that it is not valid.
    Iec60870,
    /// Six registers: year, month, day, hour, minute, second.
    Registers,
    /// Six bytes in three registers: year of the century, month, day, hour, minute, second.
    Bytes,
    /// The same in BCD.
    Bcd,
    /// DATE_AND_TIME of Siemens S7: eight BCD bytes, with milliseconds and the day of the week.
    S7,
}

impl DateFormat {
    pub fn registers(self) -> u16 {
        match self {
            DateFormat::Unix32 => 2,
            DateFormat::Unix64 | DateFormat::Unix64Ms | DateFormat::Iec60870 | DateFormat::S7 => 4,
            DateFormat::Registers => 6,
            DateFormat::Bytes | DateFormat::Bcd => 3,
        }
    }

    /// UTC; else the time of the device's own clock.
    pub fn is_utc(self) -> bool {
        matches!(self, DateFormat::Unix32 | DateFormat::Unix64 | DateFormat::Unix64Ms)
    }

    pub fn has_millis(self) -> bool {
        matches!(self, DateFormat::Unix64Ms | DateFormat::Iec60870 | DateFormat::S7)
    }
}

/// Bytes of the longest date: `2026-11-21T08:15:10.123Z`.
pub const DATE_TEXT_BYTES: u16 = 24;
/// Bytes of the longest number of 128 bits: 39 digits and a sign.
pub const WIDE_TEXT_BYTES: u16 = 40;

impl FieldType {
    /// Registers of one element; 1 for bits; 0 for text, whose length is the address's count.
    pub fn registers(self) -> u16 {
        match self {
            FieldType::Bit
            | FieldType::RegisterBit(_)
            | FieldType::Byte { .. }
            | FieldType::Int16
            | FieldType::Uint16
            | FieldType::Float16 => 1,
            FieldType::Int24 | FieldType::Uint24 | FieldType::Int32 | FieldType::Uint32 | FieldType::Float32 => 2,
            FieldType::Int64 | FieldType::Uint64 | FieldType::Float64 => 4,
            FieldType::Int128 | FieldType::Uint128 => 8,
            FieldType::Bcd { registers } => registers as u16,
            FieldType::Date(format) => format.registers(),
            FieldType::Text(_) => 0,
        }
    }

    /// The type of an unscaled element; of what is told as text, that of nothing.
    pub fn scalar(self) -> ScalarType {
        match self {
            FieldType::Bit | FieldType::RegisterBit(_) => ScalarType::Bool,
            FieldType::Int16 | FieldType::Byte { signed: true, .. } => ScalarType::Int16,
            FieldType::Uint16 | FieldType::Byte { signed: false, .. } => ScalarType::Uint16,
            FieldType::Int24 | FieldType::Int32 => ScalarType::Int32,
            FieldType::Uint24 | FieldType::Uint32 => ScalarType::Uint32,
            FieldType::Int64 => ScalarType::Int64,
            FieldType::Uint64
            | FieldType::Bcd { .. }
            | FieldType::Int128
            | FieldType::Uint128
            | FieldType::Date(_)
            | FieldType::Text(_) => ScalarType::Uint64,
            FieldType::Float16 | FieldType::Float32 => ScalarType::Float32,
            FieldType::Float64 => ScalarType::Float64,
        }
    }

    /// The text that it is told as, of so many registers; `None`: it is a number or a bool.
    pub fn text(self, registers: u16) -> Option<ValueType> {
        let bytes_max = match self {
            FieldType::Text(encoding) => registers.saturating_mul(2 * encoding.growth()),
            FieldType::Date(_) => DATE_TEXT_BYTES,
            FieldType::Int128 | FieldType::Uint128 => WIDE_TEXT_BYTES,
            _ => return None,
        };
        Some(ValueType::Text { bytes_max })
    }

    pub fn is_text(self) -> bool {
        self.text(0).is_some()
    }

    /// It is one that only registers hold; bits of a frame have no such type.
    pub fn is_of_registers(self) -> bool {
        matches!(
            self,
            FieldType::Byte { .. } | FieldType::Int24 | FieldType::Uint24 | FieldType::Float16 | FieldType::Bcd { .. }
        ) || self.is_text()
    }

    /// It is a part of a register, which a write must leave the rest of.
    pub fn is_part_of_register(self) -> bool {
        matches!(self, FieldType::RegisterBit(_) | FieldType::Byte { .. })
    }

    /// Bits of the whole numbers that it holds, and whether they have a sign; `None`: it holds none, or BCD digits, or
    /// more than are reckoned with.
    pub fn whole_bits(self) -> Option<(u8, bool)> {
        match self {
            FieldType::Byte { signed, .. } => Some((8, signed)),
            FieldType::Int16 => Some((16, true)),
            FieldType::Uint16 => Some((16, false)),
            FieldType::Int24 => Some((24, true)),
            FieldType::Uint24 => Some((24, false)),
            FieldType::Int32 => Some((32, true)),
            FieldType::Uint32 => Some((32, false)),
            FieldType::Int64 => Some((64, true)),
            FieldType::Uint64 => Some((64, false)),
            FieldType::Bit
            | FieldType::RegisterBit(_)
            | FieldType::Int128
            | FieldType::Uint128
            | FieldType::Float16
            | FieldType::Float32
            | FieldType::Float64
            | FieldType::Bcd { .. }
            | FieldType::Date(_)
            | FieldType::Text(_) => None,
        }
    }
}

/// How the bytes of a multi-register value lie on the wire, A being the most significant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WordOrder {
    /// Big endian: Modbus's own.
    #[default]
    Abcd,
    /// Little endian.
    Dcba,
    /// Big-endian words, bytes swapped in each.
    Badc,
    /// Words swapped, bytes big-endian in each.
    Cdab,
}

impl WordOrder {
    /// Least significant register first.
    pub fn swaps_words(self) -> bool {
        matches!(self, WordOrder::Dcba | WordOrder::Cdab)
    }

    /// Low byte first in each register.
    pub fn swaps_bytes(self) -> bool {
        matches!(self, WordOrder::Dcba | WordOrder::Badc)
    }
}
