//! The schema of `"write"`, for editors.

use schemars::JsonSchema;

use crate::config::fields;
use crate::config::fields::words;

/// Whether a tag may be written, or its limits.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum Write {
    Whether(bool),
    Limits(WriteLimits),
}

/// Limits of written values, in the tag's unit, after scale and offset.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct WriteLimits {
    /// The smallest value.
    min: Option<f64>,
    /// The largest value.
    max: Option<f64>,
    /// The largest change in one write, measured from the newest good value.
    #[schemars(extend("exclusiveMinimum" = 0))]
    max_step: Option<f64>,
    /// Minimum time between two writes, in milliseconds.
    #[schemars(
        range(min = fields::MIN_INTERVAL_MS.min, max = fields::MIN_INTERVAL_MS.max),
        extend("default" = fields::MIN_INTERVAL_MS.default)
    )]
    min_interval_ms: Option<u32>,
    /// Each write is read back, whether or not the request asks for it.
    #[schemars(extend("default" = false))]
    read_back: Option<bool>,
    /// Timeout from the request to its answer, in milliseconds.
    #[schemars(
        range(min = fields::WRITE_TIMEOUT_MS.min, max = fields::WRITE_TIMEOUT_MS.max),
        extend("default" = fields::WRITE_TIMEOUT_MS.default)
    )]
    timeout_ms: Option<u16>,
    /// Modbus: the function to write with. Default: 5 or 15 for coils, 6 or 16 for registers, 22 for a bit
    /// of a register; a unit that refuses 5 or 6 is written with 15 or 16. 23 writes and reads back in one request. For a
    /// bit of a register, only 22 is atomic in the device; 6 and 16 read the register and write it back, and so does
    /// the default if the unit has no function 22.
    #[schemars(extend("enum" = [5, 6, 15, 16, 22, 23]))]
    function: Option<u8>,
    /// CANopen: the service of the write, sdo or pdo. By PDO, the other objects of the PDO keep the value last written
    /// or read.
    #[schemars(extend("enum" = words(fields::WRITE_VIA)), extend("default" = "sdo"))]
    via: Option<String>,
}
