//! What may be written to a tag.

use crate::tag::Nanos;

/// A tag that has one may be written. Limits are of the engineering value, after scale and offset.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WriteConfig {
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// The largest change in one write.
    pub step_max: Option<f64>,
    /// Between two writes at least.
    pub interval_min: Nanos,
    /// Each write is confirmed by reading, whether that was asked for or not.
    pub read_back: bool,
    /// From the order to its answer at most.
    pub timeout: Nanos,
    /// With Modbus: one request writes and reads back (function 23).
    pub read_write_in_one: bool,
    /// With Modbus: another function to write with, 5, 6, 15, 16 or 22; `None`: the right one.
    pub function: Option<u8>,
    /// With CANopen: sent in a PDO that the node receives, in place of an SDO.
    pub by_pdo: bool,
}
