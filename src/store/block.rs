//! Blocks of samples as read from the journal, with the names needed to publish them.

use std::fmt;

use crate::tag::Batch;

/// One start of the gateway: the upper 48 bits are its UTC milliseconds, the lower 16 are random.
/// (boot, executor, sequence) names a sample for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub u64);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A run of samples in the journal.
#[derive(Debug, Clone)]
pub struct Block {
    /// Its place in the log; rises by one from block to block, over boots too.
    pub index: u64,
    pub boot: BootId,
    /// With the names that it was written under.
    pub batch: Batch,
}

/// How far a reader has come: everything before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Index of the block to go on with.
    pub block: u64,
    /// Samples of that block that are done already (payload slots not counted).
    pub samples: u32,
}
