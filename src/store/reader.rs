//! Reading the log: for the outputs beside the writer, and for other processes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::block::{Block, Position};
use super::codec::{self, Header};
use super::cursors::{self, CursorState};
use super::database::Database;
use super::dictionary;
use super::error::JournalError;
use super::names::NamesId;
use super::shared::{Ends, Shared};
use super::stats::JournalStats;
use super::wire::Malformed;
use crate::disk::Held;
use crate::limits::JOURNAL_RECORD_BYTES_MAX;
use crate::tag::Dictionary;

/// What stands at a place of the log.
#[derive(Debug, Clone)]
pub enum Found {
    Block(Block),
    /// Its samples are whole, and nothing says what their tags are called: the names of the block are empty.
    Nameless(Block, Malformed),
    /// Nothing of it can be told.
    Damaged(DamagedBlock),
}

/// A block that is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamagedBlock {
    pub index: u64,
    /// Samples in it, if its header can be read.
    pub samples: Option<u32>,
    pub what: Malformed,
}

/// The names of a block, as far as they are at hand.
enum Names {
    Known(Arc<Dictionary>),
    Stored(NamesId, Vec<u8>),
    Missing,
}

/// A view of the log. Clones are cheap and share everything.
#[derive(Clone)]
pub struct JournalReader {
    pub(super) shared: Arc<Shared>,
}

impl JournalReader {
    pub(super) fn new(shared: Arc<Shared>) -> JournalReader {
        JournalReader { shared }
    }

    /// Opens a journal that another process may be writing. It looks for news itself, some 50 times a second
    /// while it waits. It cannot save cursors.
    ///
    /// # Errors
    /// [`JournalError::Missing`], [`JournalError::NotAJournal`], [`JournalError::NewerFormat`],
    /// [`JournalError::OlderFormat`], [`JournalError::Permission`] (the user must be able to write the journal's `lock.mdb`, in which readers
    /// enter themselves), and what LMDB finds.
    pub fn open_read_only(path: &Path) -> Result<JournalReader, JournalError> {
        Ok(JournalReader::new(Arc::new(Shared::new(Database::open_read_only(path)?, None))))
    }

    /// The first block whose index is `index` or above; `None` when there is none yet. A cursor whose block is
    /// gone so goes on at the oldest one. A block that is damaged, or without names, is skipped, counted and logged.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn block_at_or_after(&self, mut index: u64) -> Result<Option<Block>, JournalError> {
        loop {
            let (skipped, what) = match self.found_at_or_after(index)? {
                None => return Ok(None),
                Some(Found::Block(block)) => return Ok(Some(block)),
                Some(Found::Nameless(block, what)) => (block.index, what),
                Some(Found::Damaged(damaged)) => (damaged.index, damaged.what),
            };
            self.shared.stats.blocks_corrupt.fetch_add(1, Relaxed);
            let path = self.shared.database.path.display();
            tracing::error!("the journal {path}: block {skipped} is damaged and skipped: {what}");
            index = skipped + 1;
        }
    }

    /// What stands at `index` or, where there is nothing, at the next place above; `None` when there is nothing yet.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn found_at_or_after(&self, index: u64) -> Result<Option<Found>, JournalError> {
        if self.shared.ends().is_some_and(|ends| index >= ends.next) {
            return Ok(None);
        }
        // Copied out, so that the transaction is over before the work begins.
        let found = self.shared.database.read(|tables, txn| {
            let Some((index, bytes)) = tables.blocks.get_greater_than_or_equal_to(txn, &index)? else {
                return Ok(None);
            };
            if bytes.len() > JOURNAL_RECORD_BYTES_MAX {
                return Ok(Some((index, Vec::new(), Names::Missing)));
            }
            let id = Header::read(bytes).ok().map(|header| header.names);
            let names = match id.map(|id| (id, self.shared.known_names(id))) {
                Some((_, Some(known))) => Names::Known(known),
                Some((id, None)) => match tables.dictionaries.get(txn, &id.0)? {
                    Some(stored) if stored.len() <= JOURNAL_RECORD_BYTES_MAX => Names::Stored(id, stored.to_vec()),
                    _ => Names::Missing,
                },
                None => Names::Missing,
            };
            Ok(Some((index, bytes.to_vec(), names)))
        })?;
        Ok(found.map(|(found, bytes, names)| self.decode(found, &bytes, names)))
    }

    /// Gives out the tags' names of the newest block, which are those that the gateway runs with; with `all`, then those
    /// of every block. Until `visit` has seen enough, and says false.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn visit_names(&self, all: bool, mut visit: impl FnMut(&Dictionary) -> bool) -> Result<(), JournalError> {
        if let Some(newest) = self.newest()?
            && let Some(block) = self.block_at_or_after(newest)?
            && !visit(&block.batch.names)
        {
            return Ok(());
        }
        let mut next = all.then_some(0);
        while let Some(from) = next {
            // One at a time, and copied out: a long transaction would make the file grow.
            let found = self.shared.database.read(|tables, txn| {
                let found = tables.dictionaries.get_greater_than_or_equal_to(txn, &from)?;
                Ok(found.map(|(id, bytes)| (id, bytes.to_vec())))
            })?;
            let Some((id, bytes)) = found else { return Ok(()) };
            if dictionary::decode(&bytes).is_ok_and(|decoded| !visit(&decoded.names)) {
                return Ok(());
            }
            next = id.checked_add(1);
        }
        Ok(())
    }

    fn decode(&self, index: u64, bytes: &[u8], names: Names) -> Found {
        let names = match names {
            Names::Known(names) => Ok(names),
            Names::Stored(id, bytes) => dictionary::decode(&bytes).map(|decoded| {
                if decoded.damaged > 0 {
                    let path = self.shared.database.path.display();
                    tracing::error!(
                        "the journal {path}: {} entries of the names of block {} are damaged; their tags are shown by number",
                        decoded.damaged,
                        id.0
                    );
                }
                self.shared.keep_names(id, decoded.names)
            }),
            Names::Missing => Err(Malformed("the names of its tags are missing")),
        };
        let (names, nameless) = match names {
            Ok(names) => (names, None),
            Err(what) => (Arc::default(), Some(what)),
        };
        // The block first: one that cannot be read says why itself.
        match (codec::decode(bytes, names), nameless) {
            (Ok((header, batch)), None) => Found::Block(Block { index, boot: header.boot, batch }),
            (Ok((header, batch)), Some(what)) => Found::Nameless(Block { index, boot: header.boot, batch }, what),
            (Err(what), _) => {
                let samples = Header::read(bytes).ok().map(|header| header.samples);
                Found::Damaged(DamagedBlock { index, samples, what })
            }
        }
    }

    /// Whether the journal's path no longer is the file that is read: it was set aside, removed or replaced. Then it has
    /// to be opened again.
    pub fn is_left_behind(&self) -> bool {
        matches!(self.shared.database.look(), Some(Held::Gone | Held::Replaced))
    }

    /// Lets go of the file, so that another one can be opened under its path. Nothing can be read any more.
    pub fn close(&self) {
        self.shared.database.close();
    }

    pub fn is_open(&self) -> bool {
        self.shared.database.is_open()
    }

    /// Index of the oldest block.
    pub fn oldest(&self) -> Result<Option<u64>, JournalError> {
        let ends = self.ends()?;
        Ok((ends.oldest < ends.next).then_some(ends.oldest))
    }

    /// Index of the newest block.
    pub fn newest(&self) -> Result<Option<u64>, JournalError> {
        let ends = self.ends()?;
        Ok((ends.oldest < ends.next).then(|| ends.next - 1))
    }

    /// Index that the next block will have.
    pub fn next_index(&self) -> Result<u64, JournalError> {
        Ok(self.ends()?.next)
    }

    fn ends(&self) -> Result<Ends, JournalError> {
        if let Some(ends) = self.shared.ends() {
            return Ok(ends);
        }
        self.shared.database.read(|tables, txn| {
            let oldest = tables.blocks.first(txn)?.map(|(index, _)| index);
            let next = tables.blocks.last(txn)?.map(|(index, _)| index + 1);
            Ok(Ends { oldest: oldest.unwrap_or(0), next: next.unwrap_or(0) })
        })
    }

    /// Waits until the block `index` or a later one is there; false when `timeout` is over first.
    pub fn wait_beyond(&self, index: u64, timeout: Duration) -> bool {
        self.shared.wait_beyond(index, timeout, || self.next_index().unwrap_or(0))
    }

    /// Where a cursor stands: beside the writer the last position posted, elsewhere the durable one.
    pub fn cursor(&self, name: &str) -> Result<Option<Position>, JournalError> {
        if self.shared.ends().is_some() {
            let known = self.shared.cursors().get(name).map(|(position, _)| position);
            // A journal that waits for its file does not know yet.
            return match known {
                None if !self.shared.database.is_open() => Err(self.shared.database.closed()),
                known => Ok(known),
            };
        }
        Ok(self.cursors()?.into_iter().find(|cursor| cursor.name == name).map(|cursor| cursor.position))
    }

    /// All cursors: beside the writer the registered ones, elsewhere those in the database.
    pub fn cursors(&self) -> Result<Vec<CursorState>, JournalError> {
        if self.shared.ends().is_some() {
            return Ok(self.shared.cursors().all());
        }
        self.shared.database.read(|tables, txn| {
            let mut all = Vec::new();
            for record in tables.cursors.iter(txn)? {
                let (name, bytes) = record?;
                if let Ok((position, samples_lost)) = cursors::decode(name, bytes) {
                    all.push(CursorState { name: name.to_owned(), position, samples_lost });
                }
            }
            Ok(all)
        })
    }

    /// Posts how far an output has come: everything before `position` is done. Durable with the next commit,
    /// `commit_ms` later at most. A position behind the present one changes nothing.
    ///
    /// # Errors
    /// [`JournalError::UnknownCursor`] when the name is not registered, [`JournalError::ReadOnly`].
    pub fn save_cursor(&self, name: &str, position: Position) -> Result<(), JournalError> {
        if self.shared.database.read_only {
            return Err(JournalError::ReadOnly { path: self.shared.database.path.clone() });
        }
        if self.shared.cursors().advance(name, position) {
            Ok(())
        } else {
            Err(JournalError::UnknownCursor { name: name.to_owned() })
        }
    }

    /// Samples in the log that lie behind `position`: an output's lag.
    pub fn pending(&self, position: Position) -> Result<u64, JournalError> {
        self.shared.database.read(|tables, txn| {
            let header =
                |found: Option<(u64, &[u8])>| found.and_then(|(at, bytes)| Some((at, Header::read(bytes).ok()?)));
            let Some((_, last)) = header(tables.blocks.last(txn)?) else { return Ok(0) };
            let end = last.log_samples + last.samples as u64;
            let Some((at, first)) = header(tables.blocks.get_greater_than_or_equal_to(txn, &position.block)?) else {
                return Ok(0);
            };
            let done = if at == position.block { position.samples.min(first.samples) } else { 0 };
            Ok(end.saturating_sub(first.log_samples + done as u64))
        })
    }

    /// When the oldest sample behind `position` was taken from its ring: UTC, nanoseconds since the Unix epoch; `None`:
    /// there is none.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn pending_since(&self, position: Position) -> Result<Option<i64>, JournalError> {
        self.shared.database.read(|tables, txn| {
            for record in tables.blocks.range(txn, &(position.block..))?.take(2) {
                let (at, bytes) = record?;
                let Ok(header) = Header::read(bytes) else { continue };
                if at > position.block || position.samples < header.samples {
                    return Ok(Some(header.clock.utc_ns_of(header.drained)));
                }
            }
            Ok(None)
        })
    }

    /// The journal's figures; in a process that only reads, only what readers count.
    pub fn stats(&self) -> Arc<JournalStats> {
        self.shared.stats.clone()
    }

    /// Headers of up to `count` blocks from `index` on, with their indices; damaged ones are `None`.
    pub(super) fn headers(&self, index: u64, count: usize) -> Result<Vec<(u64, Option<Header>)>, JournalError> {
        self.shared.database.read(|tables, txn| {
            let records = tables.blocks.range(txn, &(index..))?.take(count);
            records.map(|record| record.map(|(index, bytes)| (index, Header::read(bytes).ok()))).collect()
        })
    }
}
