//! The interface of the journal for followers with a cursor: outputs, history.

use std::time::Duration;

use super::block::{Block, Position};
use super::error::JournalError;
use super::reader::JournalReader;

/// The journal could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FollowError(pub String);

impl From<JournalError> for FollowError {
    fn from(error: JournalError) -> FollowError {
        FollowError(error.to_string())
    }
}

/// The journal as its followers see it.
pub trait Follow: Send {
    /// The first block whose index is at least `index`; `None` when there is none yet.
    ///
    /// # Errors
    /// The journal cannot be read.
    fn block_at_or_after(&self, index: u64) -> Result<Option<Block>, FollowError>;

    /// Waits until a block whose index is at least `index` exists, or the timeout passed. Whether it exists.
    fn wait_for(&self, index: u64, timeout: Duration) -> bool;

    /// The index that the next block will get.
    ///
    /// # Errors
    /// The journal cannot be read.
    fn next_index(&self) -> Result<u64, FollowError>;

    /// The durable cursor of that name; `None` before the first was saved.
    ///
    /// # Errors
    /// The journal cannot be read.
    fn cursor(&self, name: &str) -> Result<Option<Position>, FollowError>;

    /// Hands over a new cursor; it becomes durable with the journal's next commit.
    fn save_cursor(&self, name: &str, position: Position);
}

impl Follow for JournalReader {
    fn block_at_or_after(&self, index: u64) -> Result<Option<Block>, FollowError> {
        Ok(JournalReader::block_at_or_after(self, index)?)
    }

    fn wait_for(&self, index: u64, timeout: Duration) -> bool {
        self.wait_beyond(index, timeout)
    }

    fn next_index(&self) -> Result<u64, FollowError> {
        Ok(JournalReader::next_index(self)?)
    }

    fn cursor(&self, name: &str) -> Result<Option<Position>, FollowError> {
        Ok(JournalReader::cursor(self, name)?)
    }

    fn save_cursor(&self, name: &str, position: Position) {
        if let Err(error) = JournalReader::save_cursor(self, name, position) {
            tracing::error!("output \"{name}\": its position in the journal is not saved: {error}");
        }
    }
}
