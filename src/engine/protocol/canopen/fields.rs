//! Keys of CANopen links and their tags.

use super::model::{CanOpenAccess, CanOpenField, PdoSource};
pub use crate::config::fields::*;

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
pub const SDO_REPLY_MS: Real =
    Real { key: "expected_reply_ms", min: 0.01, max: SDO_TIMEOUT_MS.max as f64, default: 2.0, unit: " ms" };
pub const PDOS: &[(&str, PdoSource)] = &[
    ("eds", PdoSource::Eds),
    ("node", PdoSource::Node { tpdos: TPDOS.default as u8, rpdos: RPDOS.default as u8 }),
    ("none", PdoSource::None),
];
pub const CANOPEN_ACCESS: &[(&str, CanOpenAccess)] = &[("pdo", CanOpenAccess::Pdo), ("sdo", CanOpenAccess::Sdo)];
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
pub const CANOPEN_LINK_KEYS: &[&str] = &[
    "name",
    "protocol",
    "interface",
    "bitrate",
    "sync_ms",
    "master_id",
    "heartbeat_ms",
    "timeout_ms",
    "expected_reply_ms",
    "nodes",
    "description",
];
pub const CANOPEN_NODE_KEYS: &[&str] = &[
    "id",
    "eds",
    "heartbeat_ms",
    "guarding",
    "start",
    "reset",
    "verify",
    "pdos",
    "tpdos",
    "rpdos",
    "boot",
    "block",
    "description",
];
pub const GUARDING_KEYS: &[&str] = &["time_ms", "life"];
pub const BOOT_KEYS: &[&str] = &["index", "sub", "value", "data_type"];
pub const CANOPEN_TAG_KEYS: &[&str] = &["access"];

/// IFNAMSIZ of the kernel, without the NUL.
pub const INTERFACE_BYTES_MAX: usize = 15;
