//! CANopen links in the schema of the tag files; see [`crate::config::schema`].

use schemars::JsonSchema;

use super::fields;
use super::fields::INTERFACE_BYTES_MAX;
use crate::config::fields::{NAME_PATTERN, words};
use crate::limits::NAME_BYTES_MAX;

/// A CANopen network, with the gateway as its master.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct CanOpenLink {
    /// Unique in all files; the first part of its tags' addresses.
    #[schemars(length(min = 1, max = NAME_BYTES_MAX), regex(pattern = NAME_PATTERN))]
    name: String,
    /// Protocol of the link.
    #[schemars(extend("const" = "canopen"))]
    protocol: String,
    /// The CAN interface, such as can0.
    #[schemars(length(min = 1, max = INTERFACE_BYTES_MAX))]
    interface: String,
    /// Bits per second, used to calculate the bus load. The operating system sets up the interface itself.
    #[schemars(
        range(min = fields::CAN_BITRATE.min, max = fields::CAN_BITRATE.max),
        extend("default" = fields::CAN_BITRATE.default)
    )]
    bitrate: Option<u32>,
    /// Time between two SYNCs in milliseconds; without it, no SYNC is sent.
    #[schemars(range(min = fields::SYNC_MS.min, max = fields::SYNC_MS.max))]
    sync_ms: Option<u16>,
    /// Node id of the master, for its heartbeat.
    #[schemars(range(min = fields::MASTER_ID.min, max = fields::MASTER_ID.max))]
    master_id: Option<u8>,
    /// Heartbeat of the master in milliseconds; without it, none is sent.
    #[schemars(range(min = fields::MASTER_HEARTBEAT_MS.min, max = fields::MASTER_HEARTBEAT_MS.max))]
    heartbeat_ms: Option<u16>,
    /// Timeout of an SDO answer, in milliseconds.
    #[schemars(
        range(min = fields::SDO_TIMEOUT_MS.min, max = fields::SDO_TIMEOUT_MS.max),
        extend("default" = fields::SDO_TIMEOUT_MS.default)
    )]
    timeout_ms: Option<u16>,
    /// Expected time of an SDO answer, in milliseconds, used to calculate the link's load.
    #[schemars(
        range(min = fields::SDO_REPLY_MS.min, max = fields::SDO_REPLY_MS.max),
        extend("default" = fields::SDO_REPLY_MS.default)
    )]
    expected_reply_ms: Option<f64>,
    /// The nodes to set up, start and monitor.
    #[schemars(length(min = 1, max = 127))]
    nodes: Vec<CanOpenNode>,
    /// Free text.
    #[schemars(length(max = fields::DESCRIPTION_BYTES_MAX))]
    description: Option<String>,
}

/// A node of a CANopen network.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct CanOpenNode {
    /// Its node id.
    #[schemars(range(min = fields::NODE_ID.min, max = fields::NODE_ID.max))]
    id: u8,
    /// Its data sheet: the name of an EDS or DCF file in the directory of the tag files.
    eds: Option<String>,
    /// Its heartbeat is set to this, in milliseconds (object 0x1017), and monitored. 0: it is not set, and the node
    /// is lost only when it does not answer.
    #[schemars(
        range(min = fields::NODE_HEARTBEAT_MS.min, max = fields::NODE_HEARTBEAT_MS.max),
        extend("default" = fields::NODE_HEARTBEAT_MS.default)
    )]
    heartbeat_ms: Option<u16>,
    /// Instead of a heartbeat: the node is polled for its state.
    guarding: Option<Guarding>,
    /// The node is started (operational) after setup.
    #[schemars(extend("default" = true))]
    start: Option<bool>,
    /// Its communication is reset when the link comes up.
    #[schemars(extend("default" = false))]
    reset: Option<bool>,
    /// Its identity and its PDO mapping are compared with its data sheet.
    #[schemars(extend("default" = true))]
    verify: Option<bool>,
    /// Source of its PDO mapping: eds (the data sheet or DCF), node (read from the node), none. Default: eds if
    /// there is a data sheet, else none.
    #[schemars(extend("enum" = words(fields::PDOS)))]
    pdos: Option<String>,
    /// With pdos node: how many of its TPDOs are read.
    #[schemars(range(min = fields::TPDOS.min, max = fields::TPDOS.max), extend("default" = fields::TPDOS.default))]
    tpdos: Option<u8>,
    /// With pdos node: how many of its RPDOs are read, if a tag is written by PDO.
    #[schemars(range(min = fields::RPDOS.min, max = fields::RPDOS.max), extend("default" = fields::RPDOS.default))]
    rpdos: Option<u8>,
    /// Objects to write at each boot, before the node is started.
    boot: Option<Vec<BootWrite>>,
    /// Use block transfer for long values if the node supports it.
    #[schemars(extend("default" = true))]
    block: Option<bool>,
    /// Free text.
    #[schemars(length(max = fields::DESCRIPTION_BYTES_MAX))]
    description: Option<String>,
}

/// Node guarding.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct Guarding {
    /// Guard time in milliseconds.
    #[schemars(range(min = fields::GUARD_TIME_MS.min, max = fields::GUARD_TIME_MS.max))]
    time_ms: u16,
    /// Number of unanswered guarding requests after which the node is lost.
    #[schemars(range(min = fields::LIFE.min, max = fields::LIFE.max), extend("default" = fields::LIFE.default))]
    life: Option<u8>,
}

/// An object to write.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct BootWrite {
    /// Such as "0x6040".
    index: Index,
    #[schemars(range(min = fields::SUB_INDEX.min, max = fields::SUB_INDEX.max), extend("default" = 0))]
    sub: Option<u8>,
    /// The value to write.
    value: Scalar,
    /// Its type; optional if the data sheet has it.
    #[schemars(extend("enum" = words(fields::CANOPEN_DATA_TYPE)))]
    data_type: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum Index {
    Text(#[schemars(regex(pattern = "^(0[xX][0-9A-Fa-f]{1,4}|[0-9]{1,5})$"))] String),
    Number(#[schemars(range(min = 0, max = 65_535))] u32),
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum Scalar {
    Number(f64),
    Flag(bool),
    Text(String),
}

/// Keys of tags on CANopen links.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct CanOpenTag {
    /// CANopen objects: read by PDO or by SDO, overriding the mapping.
    #[schemars(extend("enum" = words(fields::CANOPEN_ACCESS)))]
    access: Option<String>,
}
