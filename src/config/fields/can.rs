//! Keys of CAN and CANopen links and their tags.

use super::super::model::{CanOpenAccess, CanOpenField, CanSampling, CanTimestamps, PdoSource};
use super::{EXPECTED_REPLY_MS, Int, Real, int};

/// Bytes of an interface's name: linux/if.h has room for 15.
pub const INTERFACE_BYTES_MAX: usize = 15;
/// ISO 11898-1: classical frames and the arbitration of FD frames go at 1 Mbit/s at most.
pub const BITRATE: Int = int("bitrate", 5_000, 1_000_000, 500_000, " bit/s");
/// CiA 601: 8 Mbit/s are the most of today's transceivers.
pub const DATA_BITRATE: Int = int("data_bitrate", 100_000, 8_000_000, 2_000_000, " bit/s");
pub const TIMESTAMPS: &[(&str, CanTimestamps)] =
    &[("software", CanTimestamps::Software), ("hardware", CanTimestamps::Hardware)];
pub const SAMPLING: &[(&str, CanSampling)] = &[("latest", CanSampling::Latest), ("every", CanSampling::Every)];
pub const SILENT_AFTER_MS: Int = int("silent_after_ms", 1, 3_600_000, 0, " ms");
pub const CAN_BYTES: Int = int("bytes", 0, 64, 8, " bytes");
pub const PERIOD_MS: Int = int("period_ms", 1, 3_600_000, 0, " ms");
pub const MIN_DISTANCE_MS: Int = int("min_distance_ms", 1, 60_000, 10, " ms");
/// Of bits, in the words of CAN: Intel and Motorola.
pub const CAN_BYTE_ORDER: &[(&str, bool)] = &[("little", false), ("big", true)];
pub const MULTIPLEXOR_START: Int = int("start", 0, 511, 0, "");
pub const MULTIPLEXOR_LENGTH: Int = int("length", 1, 64, 8, " bits");
pub const MULTIPLEXOR_VALUE: Int = int("value", 0, u64::MAX, 0, "");

/// CiA 301, table 1: 10 kbit/s to 1 Mbit/s.
pub const CAN_BITRATE: Int = int("bitrate", 10_000, 1_000_000, 500_000, " bit/s");
pub const SYNC_MS: Int = int("sync_ms", 1, 10_000, 0, " ms");
pub const NODE_ID: Int = int("id", 1, 127, 0, "");
pub const MASTER_ID: Int = int("master_id", 1, 127, 0, "");
pub const MASTER_HEARTBEAT_MS: Int = int("heartbeat_ms", 10, 65_535, 0, " ms");
/// Object 0x1017; 0: the node is not watched by it.
pub const NODE_HEARTBEAT_MS: Int = int("heartbeat_ms", 0, 65_535, 1000, " ms");
pub const GUARD_TIME_MS: Int = int("time_ms", 10, 65_535, 0, " ms");
pub const LIFE: Int = int("life", 1, 255, 3, "");
pub const TPDOS: Int = int("tpdos", 1, 32, 4, "");
pub const RPDOS: Int = int("rpdos", 1, 32, 4, "");
pub const SUB_INDEX: Int = int("sub", 0, 255, 0, "");
/// CiA 301 leaves it open; half a second is what tools wait.
pub const SDO_TIMEOUT_MS: Int = int("timeout_ms", 1, 10_000, 500, " ms");
/// What small controllers take for an answer.
pub const SDO_REPLY_MS: Real = Real { default: 2.0, ..EXPECTED_REPLY_MS };
pub const PDOS: &[(&str, PdoSource)] = &[
    ("eds", PdoSource::Eds),
    ("node", PdoSource::Node { tpdos: TPDOS.default as u8, rpdos: RPDOS.default as u8 }),
    ("none", PdoSource::None),
];
pub const CANOPEN_ACCESS: &[(&str, CanOpenAccess)] = &[("pdo", CanOpenAccess::Pdo), ("sdo", CanOpenAccess::Sdo)];
/// Which bit of an object's number a bool is.
pub const OBJECT_BIT: Int = int("bit", 0, 63, 0, "");
pub const CANOPEN_DATA_TYPE: &[(&str, CanOpenField)] = &[
    ("bool", CanOpenField::Bool),
    ("int8", CanOpenField::Signed(1)),
    ("int16", CanOpenField::Signed(2)),
    ("int24", CanOpenField::Signed(3)),
    ("int32", CanOpenField::Signed(4)),
    ("int40", CanOpenField::Signed(5)),
    ("int48", CanOpenField::Signed(6)),
    ("int56", CanOpenField::Signed(7)),
    ("int64", CanOpenField::Signed(8)),
    ("uint8", CanOpenField::Unsigned(1)),
    ("uint16", CanOpenField::Unsigned(2)),
    ("uint24", CanOpenField::Unsigned(3)),
    ("uint32", CanOpenField::Unsigned(4)),
    ("uint40", CanOpenField::Unsigned(5)),
    ("uint48", CanOpenField::Unsigned(6)),
    ("uint56", CanOpenField::Unsigned(7)),
    ("uint64", CanOpenField::Unsigned(8)),
    ("float32", CanOpenField::Real32),
    ("float64", CanOpenField::Real64),
    ("string", CanOpenField::Text(0)),
];
