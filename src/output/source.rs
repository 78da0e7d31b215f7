//! What an output needs of the journal.

use std::time::Duration;

use crate::store::{Block, Position};

/// The journal could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// The journal as an output follows it.
pub trait JournalSource: Send {
    /// The first block whose index is at least `index`; `None` when there is none yet.
    fn block_at_or_after(&self, index: u64) -> Result<Option<Block>, SourceError>;

    /// Waits until a block whose index is at least `index` exists, or the timeout passed. Whether it exists.
    fn wait_for(&self, index: u64, timeout: Duration) -> bool;

    /// The index that the next block will get.
    fn next_index(&self) -> u64;

    /// The durable cursor of that name; `None` before the first was saved.
    fn cursor(&self, name: &str) -> Result<Option<Position>, SourceError>;

    /// Hands over a new cursor; it becomes durable with the journal's next commit.
    fn save_cursor(&self, name: &str, position: Position);
}
