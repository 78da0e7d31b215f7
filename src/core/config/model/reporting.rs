//! Report by exception.

use crate::tag::Nanos;

/// Samples from which nobody would learn anything new are held back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reporting {
    /// A value is told when it is further than this from the last one that was told; 0: when it is another one. In
    /// the tag's engineering unit.
    pub deadband: f64,
    /// A sample is told at least this often, whatever its value.
    pub max_silence: Nanos,
    pub suppress: Suppress,
    /// The last sample that was held back is told before one whose value is told.
    pub keep_last: bool,
}

/// Where samples are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suppress {
    /// Before the executor's ring: nothing behind it has work with them.
    Ring,
    /// By the hub, before the journal.
    Journal,
}
