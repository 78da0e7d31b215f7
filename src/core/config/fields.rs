//! The keys of both files with their ranges and defaults. The reader and the JSON Schema both take them from here.
//!
//! | file | subject |
//! |---|---|
//! | `keys` | which keys each object has |
//! | `number` | whole numbers and others, with their ranges |
//! | `gateway` | `fieldbeat.toml` |
//! | here | what all tags share |

mod gateway;
pub mod keys;
mod number;

pub use gateway::*;
pub use number::*;

use super::WordOrder;
use super::model::{DateFormat, FieldType, ReleaseMode, Signal, Suppress};
use crate::config::Sampling;
use crate::limits;
use crate::tag::Encoding;

// --- devices ---
/// Bytes of a port's path; Linux allows no more.
pub const PORT_PATH_BYTES_MAX: usize = 4095;

// --- groups and tags ---
pub const SCAN_RATE_MS: Real = Real {
    key: "scan_rate_ms",
    min: limits::PERIOD_MIN.0 as f64 / 1e6,
    max: limits::PERIOD_MAX.0 as f64 / 1e6,
    default: 1000.0,
    unit: " ms",
};
pub const RELEASE: &[(&str, ReleaseMode)] = &[("spread", ReleaseMode::Spread), ("together", ReleaseMode::Together)];
/// `"report"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    Every,
    Change,
}
/// Which samples are told.
pub const REPORT: &[(&str, Report)] = &[("every", Report::Every), ("change", Report::Change)];
/// In the tag's engineering unit.
pub const DEADBAND: Real = Real { key: "deadband", min: 0.0, max: 1e300, default: 0.0, unit: "" };
/// OPC 10000-8, section 6.2.
pub const DEADBAND_PERCENT: Real = Real { key: "deadband_percent", min: 0.0, max: 100.0, default: 0.0, unit: " %" };
/// A week: seven scans of the slowest.
pub const MAX_SILENCE_MS: Int = int("max_silence_ms", 10, 604_800_000, 60_000, " ms");
/// Where nothing is said, a longest silence has so many scans at least: with fewer, every sample or every other one would be
/// told.
pub const SILENT_SCANS: u64 = 4;
/// Where samples are held back.
pub const SUPPRESS: &[(&str, Suppress)] = &[("ring", Suppress::Ring), ("journal", Suppress::Journal)];
/// Which of the values that come by themselves become samples.
pub const SAMPLING: &[(&str, Sampling)] = &[("latest", Sampling::Latest), ("every", Sampling::Every)];
pub const SILENT_AFTER_MS: Int = int("silent_after_ms", 1, 3_600_000, 0, " ms");
/// Which bit of a number a bool is, whatever the link.
pub const OBJECT_BIT: Int = int("bit", 0, 63, 0, "");
/// Which register bit a bool is, 0 the least significant.
pub const BIT: Int = int("bit", 0, 15, 0, "");
pub const ARRAY: Int = int("array", 1, limits::MODBUS_BITS_MAX as u64, 1, " elements");
/// `Bit` stands for bool on either kind of table; the address decides.
pub const DATA_TYPE: &[(&str, FieldType)] = &[
    ("bool", FieldType::Bit),
    ("int8", FieldType::Byte { signed: true, high: false }),
    ("uint8", FieldType::Byte { signed: false, high: false }),
    ("int16", FieldType::Int16),
    ("uint16", FieldType::Uint16),
    ("int24", FieldType::Int24),
    ("uint24", FieldType::Uint24),
    ("int32", FieldType::Int32),
    ("uint32", FieldType::Uint32),
    ("int64", FieldType::Int64),
    ("uint64", FieldType::Uint64),
    ("int128", FieldType::Int128),
    ("uint128", FieldType::Uint128),
    ("float16", FieldType::Float16),
    ("float32", FieldType::Float32),
    ("float64", FieldType::Float64),
    ("bcd16", FieldType::Bcd { registers: 1 }),
    ("bcd32", FieldType::Bcd { registers: 2 }),
    ("bcd64", FieldType::Bcd { registers: 4 }),
    ("string", FieldType::Text(Encoding::Unstated)),
    ("datetime_unix32", FieldType::Date(DateFormat::Unix32)),
    ("datetime_unix64", FieldType::Date(DateFormat::Unix64)),
    ("datetime_unix64_ms", FieldType::Date(DateFormat::Unix64Ms)),
    ("datetime_iec60870", FieldType::Date(DateFormat::Iec60870)),
    ("datetime_registers", FieldType::Date(DateFormat::Registers)),
    ("datetime_bytes", FieldType::Date(DateFormat::Bytes)),
    ("datetime_bcd", FieldType::Date(DateFormat::Bcd)),
    ("datetime_s7", FieldType::Date(DateFormat::S7)),
];
/// Which byte of a register an int8 or a uint8 is; true: the high one.
pub const BYTE: &[(&str, bool)] = &[("low", false), ("high", true)];
/// Of a string's bytes.
pub const ENCODING: &[(&str, Encoding)] = &[
    ("utf-8", Encoding::Utf8),
    ("ascii", Encoding::Ascii),
    ("iso-8859-1", Encoding::Latin1),
    ("windows-1252", Encoding::Windows1252),
];
pub const BYTE_ORDER: &[(&str, WordOrder)] =
    &[("ABCD", WordOrder::Abcd), ("DCBA", WordOrder::Dcba), ("BADC", WordOrder::Badc), ("CDAB", WordOrder::Cdab)];
/// Between two writes of one tag: slower than a device that stores each in its EEPROM would like, faster than a person.
pub const MIN_INTERVAL_MS: Int = int("min_interval_ms", 0, 3_600_000, 100, " ms");
pub const WRITE_TIMEOUT_MS: Int =
    int("timeout_ms", limits::WRITE_TIMEOUT_MIN.0 / 1_000_000, limits::WRITE_TIMEOUT_MAX.0 / 1_000_000, 1000, " ms");
/// Of Modbus; which, depends on the table and the type.
pub const WRITE_FUNCTION: Int = int("function", 1, 255, 23, "");
/// Of CANopen: by which service; true: PDO.
pub const WRITE_VIA: &[(&str, bool)] = &[("sdo", false), ("pdo", true)];
/// Bytes of an engineering unit.
pub const UNIT_TEXT_BYTES_MAX: usize = 64;
/// Bytes of a description.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;

/// The name of a field type in the tag files.
pub fn type_name(field: FieldType) -> &'static str {
    let wanted = match field {
        FieldType::RegisterBit(_) => FieldType::Bit,
        FieldType::Byte { signed, .. } => FieldType::Byte { signed, high: false },
        FieldType::Text(_) => FieldType::Text(Encoding::Unstated),
        field => field,
    };
    DATA_TYPE.iter().find(|(_, ty)| *ty == wanted).map_or("bool", |(name, _)| name)
}

pub fn order_name(order: WordOrder) -> &'static str {
    BYTE_ORDER.iter().find(|(_, o)| *o == order).map_or("ABCD", |(name, _)| name)
}

/// Standard signals of transmitters.
pub const SIGNAL: &[(&str, Signal)] = &[
    ("4-20mA", Signal::Current4To20),
    ("0-20mA", Signal::Current0To20),
    ("0-10V", Signal::Voltage0To10),
    ("2-10V", Signal::Voltage2To10),
    ("0-5V", Signal::Voltage0To5),
    ("1-5V", Signal::Voltage1To5),
];

pub fn words<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(word, _)| *word).collect()
}

/// Names of links and groups.
pub const NAME_PATTERN: &str = "^[A-Za-z0-9._-]+$";
