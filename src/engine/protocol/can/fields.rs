//! Keys of CAN links and their tags.

use super::model::CanTimestamps;
pub use crate::config::fields::*;

/// Bytes of an interface's name: linux/if.h has room for 15.
pub const INTERFACE_BYTES_MAX: usize = 15;
/// ISO 11898-1: classical frames and the arbitration of FD frames go at 1 Mbit/s at most.
pub const BITRATE: Int = int("bitrate", 5_000, 1_000_000, 500_000, " bit/s");
/// CiA 601: 8 Mbit/s are the most of today's transceivers.
pub const DATA_BITRATE: Int = int("data_bitrate", 100_000, 8_000_000, 2_000_000, " bit/s");
pub const TIMESTAMPS: &[(&str, CanTimestamps)] =
    &[("software", CanTimestamps::Software), ("hardware", CanTimestamps::Hardware)];
pub const CAN_BYTES: Int = int("bytes", 0, 64, 8, " bytes");
pub const PERIOD_MS: Int = int("period_ms", 1, 3_600_000, 0, " ms");
pub const MIN_DISTANCE_MS: Int = int("min_distance_ms", 1, 60_000, 10, " ms");
/// Of bits, in the words of CAN: Intel and Motorola.
pub const CAN_BYTE_ORDER: &[(&str, bool)] = &[("little", false), ("big", true)];
pub const MULTIPLEXOR_START: Int = int("start", 0, 511, 0, "");
pub const MULTIPLEXOR_LENGTH: Int = int("length", 1, 64, 8, " bits");
pub const MULTIPLEXOR_VALUE: Int = int("value", 0, u64::MAX, 0, "");
pub const CAN_LINK_KEYS: &[&str] = &[
    "name",
    "protocol",
    "interface",
    "fd",
    "bitrate",
    "data_bitrate",
    "dbc",
    "timestamps",
    "sampling",
    "silent_after_ms",
    "j1939_special_values",
    "transmit",
    "description",
];
pub const CAN_TRANSMIT_KEYS: &[&str] = &[
    "message",
    "id",
    "bytes",
    "fd",
    "period_ms",
    "on_change",
    "min_distance_ms",
    "initial",
    "initial_bytes",
    "start_values",
];
pub const CAN_MULTIPLEXOR_KEYS: &[&str] = &["start", "length", "value"];
pub const CAN_TAG_KEYS: &[&str] = &["multiplexor", "j1939_special_values"];
