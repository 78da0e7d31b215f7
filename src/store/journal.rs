//! The writer's side of the log: appending, removing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use heed::{PutFlags, RoTxn};

use super::audit::AuditLog;
use super::block::{BootId, Position};
use super::codec::{Encoder, Header, cut};
use super::cursors::{self, Cursors};
use super::database::Database;
use super::dictionary;
use super::error::JournalError;
use super::lock::WriterLock;
use super::names::{Books, Entries, NamesId};
use super::reader::JournalReader;
use super::renew::Undelivered;
use super::retention::{Retention, Trimmed};
use super::shared::{Ends, Shared};
use super::space::{Space, commit_slots_max, used_bytes_max};
use super::stats::JournalStats;
use super::tables::Tables;
use crate::config::JournalConfig;
use crate::limits::{CURSOR_NAME_BYTES_MAX, JOURNAL_KEEP};
use crate::tag::Batch;
use crate::tag::Nanos;

/// Pages that a commit may need beside its blocks: copies of the trees' inner pages and the list of free ones.
const COMMIT_EXTRA_BYTES: u64 = 256 << 10;
/// The size of LMDB's pages at least.
const PAGE_BYTES: u64 = 4096;
/// Commits between looks for readers that died.
const DEAD_READERS_EVERY: u64 = 600;

/// What a commit made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    pub blocks: u64,
    pub samples: u64,
    /// Samples that the byte bound removed before every cursor had passed them.
    pub samples_dropped: u64,
}

/// The one writer of a journal. Its file may come later than it, and may be given up for a new one: see [`super::renew`].
pub struct Journal {
    pub(super) shared: Arc<Shared>,
    boot: BootId,
    commit: Nanos,
    commit_slots_max: usize,
    pub(super) bytes_max: u64,
    retention: Retention,
    /// `None` while no file is open.
    pub(super) space: Option<Space>,
    encoder: Encoder,
    pub(super) ends: Ends,
    /// Samples that were ever put into the log.
    pub(super) log_samples: u64,
    pub(super) names: Books,
    pub(super) undelivered: Undelivered,
    /// The cursors that are to be there, once they were registered.
    pub(super) outputs: Option<Vec<String>>,
    pub(super) look_again: Instant,
    /// What is wrong with a file that could not be set aside beside those that are.
    pub(super) too_many: Option<String>,
    commits: u64,
    pub(super) lock: Option<WriterLock>,
}

impl Journal {
    /// Opens or makes the journal of `config`; what is appended belongs to `boot`. LMDB goes back to the last whole
    /// commit by itself, whatever happened. A file that is damaged is set aside, and a new one begun.
    ///
    /// # Errors
    /// Another writer has it; the directory cannot be made or used; it is no journal, or one of another version; too many
    /// damaged ones are set aside; the disk is full; the map does not fit.
    pub fn open(config: &JournalConfig, boot: BootId) -> Result<Journal, JournalError> {
        let mut journal = Journal::closed(config, boot)?;
        journal.bring_up()?;
        Ok(journal)
    }

    /// The same for a gateway that scans in any case: where there is no room for a file, the journal is there without
    /// one, and [`Journal::append`] opens it as soon as there is.
    ///
    /// # Errors
    /// Those that a person must mend.
    pub fn open_or_wait(config: &JournalConfig, boot: BootId) -> Result<Journal, JournalError> {
        let mut journal = Journal::closed(config, boot)?;
        match journal.bring_up() {
            Err(error) if error.passes_by_itself() => {
                tracing::error!("{error}; until then tags are scanned, and their samples are dropped and counted");
                journal.shared.stats.fail(&error);
            }
            brought => brought?,
        }
        Ok(journal)
    }

    fn closed(config: &JournalConfig, boot: BootId) -> Result<Journal, JournalError> {
        let database = Database::new(&config.path, config.bytes_max)?;
        Ok(Journal {
            shared: Arc::new(Shared::new(database, Some(Ends::default()))),
            boot,
            commit: config.commit,
            commit_slots_max: commit_slots_max(config.bytes_max),
            bytes_max: config.bytes_max,
            retention: Retention { used_bytes_max: used_bytes_max(config.bytes_max), keep: JOURNAL_KEEP },
            space: None,
            encoder: Encoder::default(),
            ends: Ends::default(),
            log_samples: 0,
            names: Books::default(),
            undelivered: Undelivered::default(),
            outputs: None,
            look_again: Instant::now(),
            too_many: None,
            commits: 0,
            lock: None,
        })
    }

    pub(super) fn show_what_is_there(&self) -> Result<(), JournalError> {
        let found = self.shared.database.read(|tables, txn| {
            let oldest = tables.blocks.first(txn)?;
            let fill = tables.fill(txn)?;
            Ok(Trimmed {
                oldest: oldest.map(|(at, bytes)| (at, Header::read(bytes).map_or(0, |header| header.utc_min_ns))),
                blocks_live: tables.blocks.len(txn)?,
                bytes_used: fill.used,
                bytes_file: fill.end,
                ..Trimmed::default()
            })
        })?;
        self.show(&found);
        Ok(())
    }

    /// Sets the cursors that hold blocks back: one for each output. A new one starts with the samples to come;
    /// cursors that are not named are removed, so that an output that is gone holds nothing back. Durable when
    /// this returns, or with the opening of a journal that waits for its file.
    ///
    /// # Errors
    /// [`JournalError::CursorName`], and those of a commit.
    pub fn register_cursors(&mut self, names: &[&str]) -> Result<(), JournalError> {
        for name in names {
            if name.is_empty() || name.len() > CURSOR_NAME_BYTES_MAX {
                return Err(JournalError::CursorName { name: (*name).to_owned(), max: CURSOR_NAME_BYTES_MAX });
            }
        }
        self.outputs = Some(names.iter().map(|name| (*name).to_owned()).collect());
        if self.shared.database.is_open() { self.make_cursors() } else { Ok(()) }
    }

    /// The same for a gateway that scans in any case: where there is no room, they are there with the journal's next
    /// opening.
    ///
    /// # Errors
    /// Those that a person must mend.
    pub fn register_or_wait(&mut self, names: &[&str]) -> Result<(), JournalError> {
        match self.register_cursors(names) {
            Err(error) if error.passes_by_itself() => {
                tracing::error!("{error}; until then tags are scanned, and their samples are dropped and counted");
                self.shared.stats.fail(&error);
                // Otherwise an output would take a cursor that is not there for a new one.
                self.close();
                Ok(())
            }
            registered => registered,
        }
    }

    /// Makes the cursors durable: where the database has them or, ahead of it, where they are in memory.
    pub(super) fn make_cursors(&mut self) -> Result<(), JournalError> {
        let Some(names) = &self.outputs else { return Ok(()) };
        let (start, end) =
            (Position { block: self.ends.oldest, samples: 0 }, Position { block: self.ends.next, samples: 0 });
        let known = self.shared.cursors().clone();
        let mut begin_again: Vec<&str> = Vec::new();
        let registered = self.shared.database.write(|tables, txn| {
            begin_again.clear();
            let mut registered = Cursors::default();
            let mut records = BTreeMap::new();
            let mut damaged = false;
            for record in tables.cursors.iter(txn)? {
                let (name, bytes) = record?;
                match cursors::decode(name, bytes) {
                    Ok(cursor) => drop(records.insert(name.to_owned(), cursor)),
                    Err(_) => damaged = true,
                }
            }
            for name in names {
                let (position, lost) = match (records.remove(name), known.get(name)) {
                    (Some(durable), Some(known)) => (durable.0.max(known.0), durable.1.max(known.1)),
                    (None, None) if damaged => {
                        begin_again.push(name);
                        (start, 0)
                    }
                    (durable, known) => durable.or(known).unwrap_or((end, 0)),
                };
                registered.insert(name, position.min(end), lost);
            }
            tables.cursors.clear(txn)?;
            for (name, record) in registered.dirty() {
                tables.cursors.put(txn, name, &record)?;
            }
            Ok(registered)
        })?;
        for name in begin_again {
            tracing::error!(
                "the journal {}: the position of output {name} is damaged; it restarts with the oldest block: \
                 nothing is lost, samples already delivered are delivered again",
                self.shared.database.path.display()
            );
        }
        let log_end = self.log_samples;
        let undelivered = |tables: &Tables, txn: &RoTxn<'_>| Undelivered::of(tables, txn, &registered, log_end);
        self.undelivered = self.shared.database.read(undelivered)?;
        let mut cursors = self.shared.cursors();
        *cursors = registered.clone();
        cursors.settle(&registered);
        Ok(())
    }

    /// How long blocks stay that all cursors have passed; [`JOURNAL_KEEP`] unless it is set.
    pub fn set_keep(&mut self, keep: Nanos) {
        self.retention.keep = keep;
    }

    /// Encodes the batches and commits them, the posted cursors and what retention removes, in one transaction,
    /// on the disk when this returns. Contiguous batches of one executor share a block, with the first one's
    /// clock. With no batches, only the cursors are committed.
    ///
    /// # Errors
    /// Nothing of the batches is stored then, and nothing that was stored is harmed: append them again. On a
    /// full disk, cursors are still saved and passed blocks removed, so that room can come from there.
    pub fn append(&mut self, batches: &[Arc<Batch>]) -> Result<Committed, JournalError> {
        let start = Instant::now();
        let outcome = self.append_somewhere(batches);
        match &outcome {
            Ok(_) => self.shared.stats.succeed(start.elapsed()),
            Err(error) => {
                if error.is_full() && !batches.is_empty() && self.shared.database.is_open() {
                    // It may fail too; the error to be told is the first one.
                    let _ = self.commit_blocks(&[], &[], Entries::default(), 0);
                }
                self.shared.stats.fail(error);
            }
        }
        outcome
    }

    pub(super) fn try_append(&mut self, batches: &[Arc<Batch>]) -> Result<Committed, JournalError> {
        let cut = cut(batches);
        let names = self.names.enter(self.ends.next, &cut.blocks);
        let mut blocks = Vec::with_capacity(cut.blocks.len());
        let mut samples = 0;
        let mut need = COMMIT_EXTRA_BYTES;
        for (block, id) in cut.blocks.iter().zip(&names.ids) {
            let mut bytes = Vec::new();
            self.encoder
                .encode(&mut bytes, block, self.boot, *id, self.log_samples + samples)
                .map_err(|error| JournalError::Encode { what: error.to_string() })?;
            samples += block.samples as u64;
            need += pages_of(&bytes);
            blocks.push(bytes);
        }
        let dictionaries: Vec<_> =
            names.new.iter().map(|(id, dictionary)| (*id, dictionary::encode(dictionary))).collect();
        need += dictionaries.iter().map(|(_, bytes)| pages_of(bytes)).sum::<u64>();
        if !blocks.is_empty() {
            let fill = self.shared.database.read(|tables, txn| tables.fill(txn))?;
            let path = &self.shared.database.path;
            let space = self.space.as_mut().ok_or_else(|| self.shared.database.closed())?;
            space.admit(fill, need).map_err(|source| JournalError::from_io(path, "writing", source))?;
        }
        let committed = self.commit_blocks(&blocks, &dictionaries, names, samples)?;
        let stats = &self.shared.stats;
        let bytes = blocks.iter().map(|bytes| bytes.len() as u64).sum();
        stats.samples_stored.fetch_add(committed.samples, Relaxed);
        stats.blocks_stored.fetch_add(committed.blocks, Relaxed);
        stats.bytes_encoded.fetch_add(bytes, Relaxed);
        stats.samples_refused.fetch_add(cut.refused, Relaxed);
        Ok(committed)
    }

    /// `dictionaries` are those of the entries in `names` that are not stored yet.
    fn commit_blocks(
        &mut self,
        blocks: &[Vec<u8>],
        dictionaries: &[(NamesId, Vec<u8>)],
        names: Entries,
        samples: u64,
    ) -> Result<Committed, JournalError> {
        let posted = self.shared.cursors().clone();
        let first = self.ends.next;
        let utc_now_ns = utc_now_ns();
        let (records, ends) = (self.names.records(&names), self.names.ends(&names));
        let log_end = self.log_samples + samples;
        let (trimmed, cursors, undelivered) = self.shared.database.write(|tables, txn| {
            for (index, bytes) in (first..).zip(blocks) {
                tables.blocks.put_with_flags(txn, PutFlags::APPEND, &index, bytes)?;
            }
            for (id, bytes) in dictionaries {
                tables.dictionaries.put(txn, &id.0, bytes)?;
            }
            for (id, last) in &records {
                tables.names_last.put(txn, &id.0, last)?;
            }
            let mut cursors = posted.clone();
            let trimmed = self.retention.trim(tables, txn, &mut cursors, &ends, utc_now_ns)?;
            for (name, record) in cursors.dirty() {
                tables.cursors.put(txn, name, &record)?;
            }
            let undelivered = Undelivered::of(tables, txn, &cursors, log_end)?;
            Ok((trimmed, cursors, undelivered))
        })?;
        self.undelivered = undelivered;
        self.shared.cursors().settle(&cursors);
        self.log_samples += samples;
        self.ends.next = first + blocks.len() as u64;
        self.ends.oldest = trimmed.oldest.map_or(self.ends.next, |(index, _)| index);
        self.names.settle(names, &trimmed.names_gone);
        self.show(&trimmed);
        self.shared.publish(self.ends);
        self.commits += 1;
        if self.commits.is_multiple_of(DEAD_READERS_EVERY) {
            self.shared.database.clear_dead_readers();
        }
        Ok(Committed { blocks: blocks.len() as u64, samples, samples_dropped: trimmed.samples_dropped })
    }

    fn show(&self, trimmed: &Trimmed) {
        let stats = &self.shared.stats;
        stats.bytes_used.store(trimmed.bytes_used, Relaxed);
        stats.bytes_file.store(trimmed.bytes_file, Relaxed);
        stats.blocks_live.store(trimmed.blocks_live, Relaxed);
        stats.oldest_utc_ns.store(trimmed.oldest.map_or(0, |(_, utc_ns)| utc_ns), Relaxed);
        stats.samples_dropped.fetch_add(trimmed.samples_dropped, Relaxed);
    }

    /// When it is to be looked next whether the journal's path still is its file: for a run in virtual time.
    pub fn look_again_at(&mut self, when: Instant) {
        self.look_again = when;
    }

    /// Whether cursors were posted since the last commit.
    pub fn has_cursors_to_save(&self) -> bool {
        self.shared.cursors().is_dirty()
    }

    pub fn reader(&self) -> JournalReader {
        JournalReader::new(self.shared.clone())
    }

    /// Where writes to tags are recorded, beside the samples.
    pub fn audit(&self) -> AuditLog {
        AuditLog::new(self.shared.clone(), self.bytes_max)
    }

    pub fn stats(&self) -> Arc<JournalStats> {
        self.shared.stats.clone()
    }

    /// The names that are stored, because blocks need them.
    pub fn names_stored(&self) -> Result<Vec<NamesId>, JournalError> {
        self.shared.database.read(|tables, txn| {
            tables.dictionaries.iter(txn)?.map(|record| record.map(|(id, _)| NamesId(id))).collect()
        })
    }

    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Samples and payload slots that one commit should not exceed by more than a batch.
    pub fn commit_slots_max(&self) -> usize {
        self.commit_slots_max
    }

    /// Time between commits, from the configuration.
    pub fn commit_period(&self) -> Nanos {
        self.commit
    }
}

/// What a record of these bytes takes at most in pages of its own.
fn pages_of(bytes: &[u8]) -> u64 {
    (bytes.len() as u64 + 16).next_multiple_of(PAGE_BYTES)
}

fn utc_now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
