//! The journal as the outputs see it.

use std::time::Duration;

use crate::output::{JournalSource, SourceError};
use crate::store::{Block, JournalError, JournalReader, Position};

/// Lets an output follow the journal.
pub struct FollowJournal(pub JournalReader);

fn told(error: JournalError) -> SourceError {
    SourceError(error.to_string())
}

impl JournalSource for FollowJournal {
    fn block_at_or_after(&self, index: u64) -> Result<Option<Block>, SourceError> {
        self.0.block_at_or_after(index).map_err(told)
    }

    fn wait_for(&self, index: u64, timeout: Duration) -> bool {
        self.0.wait_beyond(index, timeout)
    }

    fn next_index(&self) -> u64 {
        self.0.next_index().unwrap_or(0)
    }

    fn cursor(&self, name: &str) -> Result<Option<Position>, SourceError> {
        self.0.cursor(name).map_err(told)
    }

    fn save_cursor(&self, name: &str, position: Position) {
        if let Err(error) = self.0.save_cursor(name, position) {
            tracing::error!("output \"{name}\": its place in the journal is not saved: {error}");
        }
    }
}
