//! CAN links in the schema of the tag files; see [`crate::config::schema`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use super::fields;
use crate::config::fields::{NAME_PATTERN, words};
use crate::limits::{CAN_TRANSMITS_MAX, NAME_BYTES_MAX};

/// A CAN interface whose frames are read, and to which messages are sent.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct CanLink {
    /// Unique among all files; the first part of its tags' addresses.
    #[schemars(length(min = 1, max = NAME_BYTES_MAX), regex(pattern = NAME_PATTERN))]
    name: String,
    /// What is spoken on the link.
    #[schemars(extend("const" = "can"))]
    protocol: String,
    /// The CAN interface, such as can0.
    #[schemars(length(min = 1, max = fields::INTERFACE_BYTES_MAX))]
    interface: String,
    /// Frames of CAN FD, too.
    #[schemars(extend("default" = false))]
    fd: Option<bool>,
    /// Bits a second; the load of the bus is reckoned with it. The interface itself is set up by the system.
    #[schemars(
        range(min = fields::BITRATE.min, max = fields::BITRATE.max),
        extend("default" = fields::BITRATE.default)
    )]
    bitrate: Option<u32>,
    /// Bits a second of the data of FD frames.
    #[schemars(
        range(min = fields::DATA_BITRATE.min, max = fields::DATA_BITRATE.max),
        extend("default" = fields::DATA_BITRATE.default)
    )]
    data_bitrate: Option<u32>,
    /// A DBC file beside the tag files, by whose names tags say MESSAGE.SIGNAL.
    dbc: Option<String>,
    /// Whose clock says when a frame came: the kernel's, or the controller's where it has one.
    #[schemars(extend("enum" = words(fields::TIMESTAMPS), "default" = "software"))]
    timestamps: Option<String>,
    /// Which frames become samples: on the beat the newest since the last one, or each.
    #[schemars(extend("enum" = words(fields::SAMPLING), "default" = "latest"))]
    sampling: Option<String>,
    /// How long nothing may come before a value counts as old, in milliseconds; left out, three times the message's
    /// cycle time, where the DBC file says it.
    #[schemars(range(min = fields::SILENT_AFTER_MS.min, max = fields::SILENT_AFTER_MS.max))]
    silent_after_ms: Option<u32>,
    /// Of J1939's parameter groups, the highest raw values of a field (of 8 bits 251 to 255) say that there is no value, unless
    /// the DBC file's value table (VAL_) names them. False: each raw value is a value.
    #[schemars(extend("default" = true))]
    j1939_special_values: Option<bool>,
    /// Messages that are sent.
    #[schemars(length(max = CAN_TRANSMITS_MAX))]
    transmit: Option<Vec<CanMessage>>,
    /// For people.
    #[schemars(length(max = fields::DESCRIPTION_BYTES_MAX))]
    description: Option<String>,
}

/// A message that is sent, on a beat, when a tag in it is written, or both.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct CanMessage {
    /// By its name in the DBC file.
    message: Option<String>,
    /// Or by its identifier, such as 0x200; 29 bits with an x behind it.
    id: Option<String>,
    /// With an identifier: data bytes.
    #[schemars(
        range(min = fields::CAN_BYTES.min, max = fields::CAN_BYTES.max),
        extend("default" = fields::CAN_BYTES.default)
    )]
    bytes: Option<u8>,
    /// As a frame of CAN FD; left out: where it has more than 8 bytes.
    fd: Option<bool>,
    /// Time between two sends, in milliseconds.
    #[schemars(range(min = fields::PERIOD_MS.min, max = fields::PERIOD_MS.max))]
    period_ms: Option<u32>,
    /// A write to one of its tags sends it at once.
    #[schemars(extend("default" = false))]
    on_change: Option<bool>,
    /// With on_change: but not sooner after the last one, in milliseconds.
    #[schemars(
        range(min = fields::MIN_DISTANCE_MS.min, max = fields::MIN_DISTANCE_MS.max),
        extend("default" = fields::MIN_DISTANCE_MS.default)
    )]
    min_distance_ms: Option<u16>,
    /// Signals and their first values: numbers, or texts of their value tables. Nothing is sent before every signal has
    /// one or was written.
    initial: Option<BTreeMap<String, Value>>,
    /// With an identifier: all bytes at first, in hexadecimal.
    initial_bytes: Option<String>,
    /// Signals without an initial value begin with GenSigStartValue of the DBC file.
    #[schemars(extend("default" = false))]
    start_values: Option<bool>,
}

/// The field that says whether a tag's bits are in a frame.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct Multiplexor {
    /// Its start bit, as the tag's.
    #[schemars(range(min = fields::MULTIPLEXOR_START.min, max = fields::MULTIPLEXOR_START.max))]
    start: u16,
    /// Its bits.
    #[schemars(range(min = fields::MULTIPLEXOR_LENGTH.min, max = fields::MULTIPLEXOR_LENGTH.max))]
    length: u8,
    /// Its value when they are.
    value: u64,
}

/// Keys of tags on CAN links.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct CanTag {
    /// Of CAN bits: they are only in frames whose multiplexor has this value.
    multiplexor: Option<Multiplexor>,
    /// Of a J1939 parameter group: whether the highest raw values say that there is no value; left out, as its link
    /// says.
    j1939_special_values: Option<bool>,
}
