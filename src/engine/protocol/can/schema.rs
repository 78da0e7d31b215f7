//! CAN links in the schema of the tag files; see [`crate::config::schema`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use super::fields;
use crate::config::fields::{NAME_PATTERN, words};
use crate::limits::{CAN_TRANSMITS_MAX, NAME_BYTES_MAX};

/// A CAN interface on which frames are received and messages are sent.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct CanLink {
    /// Unique in all files; the first part of its tags' addresses.
    #[schemars(length(min = 1, max = NAME_BYTES_MAX), regex(pattern = NAME_PATTERN))]
    name: String,
    /// Protocol of the link.
    #[schemars(extend("const" = "can"))]
    protocol: String,
    /// The CAN interface, such as can0.
    #[schemars(length(min = 1, max = fields::INTERFACE_BYTES_MAX))]
    interface: String,
    /// Also use CAN FD frames.
    #[schemars(extend("default" = false))]
    fd: Option<bool>,
    /// Bits per second, used to calculate the bus load. The operating system sets up the interface itself.
    #[schemars(
        range(min = fields::BITRATE.min, max = fields::BITRATE.max),
        extend("default" = fields::BITRATE.default)
    )]
    bitrate: Option<u32>,
    /// Bits per second of the data of FD frames.
    #[schemars(
        range(min = fields::DATA_BITRATE.min, max = fields::DATA_BITRATE.max),
        extend("default" = fields::DATA_BITRATE.default)
    )]
    data_bitrate: Option<u32>,
    /// A DBC file in the directory of the tag files; tags then address MESSAGE.SIGNAL.
    dbc: Option<String>,
    /// Clock of the receive times: the kernel's, or the controller's if it has one.
    #[schemars(extend("enum" = words(fields::TIMESTAMPS), "default" = "software"))]
    timestamps: Option<String>,
    /// Which frames become samples: the newest one at each scan, or every frame.
    #[schemars(extend("enum" = words(fields::SAMPLING), "default" = "latest"))]
    sampling: Option<String>,
    /// Time without a frame after which a value is uncertain, in milliseconds; default three times the message's
    /// cycle time, if the DBC file has it.
    #[schemars(range(min = fields::SILENT_AFTER_MS.min, max = fields::SILENT_AFTER_MS.max))]
    silent_after_ms: Option<u32>,
    /// In J1939 parameter groups, the highest raw values of a field (of 8 bits 251 to 255) mean "no value", unless
    /// the DBC file's value table (VAL_) names them. False: every raw value is a value.
    #[schemars(extend("default" = true))]
    j1939_special_values: Option<bool>,
    /// Messages to send.
    #[schemars(length(max = CAN_TRANSMITS_MAX))]
    transmit: Option<Vec<CanMessage>>,
    /// Free text.
    #[schemars(length(max = fields::DESCRIPTION_BYTES_MAX))]
    description: Option<String>,
}

/// A message that is sent periodically, when one of its tags is written, or both.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct CanMessage {
    /// Its name in the DBC file.
    message: Option<String>,
    /// Or its identifier, such as 0x200; 29 bits with a trailing x.
    id: Option<String>,
    /// With an identifier: number of data bytes.
    #[schemars(
        range(min = fields::CAN_BYTES.min, max = fields::CAN_BYTES.max),
        extend("default" = fields::CAN_BYTES.default)
    )]
    bytes: Option<u8>,
    /// Send as a CAN FD frame; default: if it has more than 8 bytes.
    fd: Option<bool>,
    /// Time between two sends, in milliseconds.
    #[schemars(range(min = fields::PERIOD_MS.min, max = fields::PERIOD_MS.max))]
    period_ms: Option<u32>,
    /// A write to one of its tags sends it immediately.
    #[schemars(extend("default" = false))]
    on_change: Option<bool>,
    /// With on_change: minimum time after the last one, in milliseconds.
    #[schemars(
        range(min = fields::MIN_DISTANCE_MS.min, max = fields::MIN_DISTANCE_MS.max),
        extend("default" = fields::MIN_DISTANCE_MS.default)
    )]
    min_distance_ms: Option<u16>,
    /// Initial values of signals: numbers, or texts of their value tables. Nothing is sent before every signal has
    /// a value, initial or written.
    initial: Option<BTreeMap<String, Value>>,
    /// With an identifier: the initial bytes, in hexadecimal.
    initial_bytes: Option<String>,
    /// Signals without an initial value start with GenSigStartValue of the DBC file.
    #[schemars(extend("default" = false))]
    start_values: Option<bool>,
}

/// The field that selects the frames that contain a tag's bits.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct Multiplexor {
    /// Its start bit, counted as the tag's.
    #[schemars(range(min = fields::MULTIPLEXOR_START.min, max = fields::MULTIPLEXOR_START.max))]
    start: u16,
    /// Its number of bits.
    #[schemars(range(min = fields::MULTIPLEXOR_LENGTH.min, max = fields::MULTIPLEXOR_LENGTH.max))]
    length: u8,
    /// Its value in these frames.
    value: u64,
}

/// Keys of tags on CAN links.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct CanTag {
    /// CAN bits: only in frames whose multiplexor has this value.
    multiplexor: Option<Multiplexor>,
    /// J1939 parameter groups: whether the highest raw values mean "no value"; default as its link
    /// defines.
    j1939_special_values: Option<bool>,
}
