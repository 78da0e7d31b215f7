//! The audit log: a durable record of each write request, in the journal's environment.
//!
//! A write that will be sent is recorded before its order is given, and the same record is completed with its
//! outcome: after a crash, what was about to be sent stands there as open. The records have a byte bound of their own;
//! the oldest go first, and are counted.

mod record;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use heed::{PutFlags, RoTxn, RwTxn};

use super::error::JournalError;
use super::reader::JournalReader;
use super::shared::Shared;
use super::space::Space;
use super::tables::Tables;
use crate::limits::{AUDIT_BYTES_MAX, AUDIT_TRIM_MAX};

pub use record::{AuditOutcome, AuditRecord};

/// Pages that a commit may need beside its records: copies of the trees' inner pages and the list of free ones.
const COMMIT_EXTRA_BYTES: u64 = 128 << 10;
/// In the table of marks: how many records the bound has removed, ever.
const DROPPED_KEY: &str = "audit dropped";

/// Bytes that the records may take in a journal of `bytes_max`.
pub(super) fn bytes_max(journal_bytes_max: u64) -> u64 {
    (journal_bytes_max / 16).min(AUDIT_BYTES_MAX)
}

/// The writer's side: one for each journal that is open for writing.
pub struct AuditLog {
    shared: Arc<Shared>,
    /// Of the file that was open at this generation of the database.
    space: Mutex<Option<(u64, Space)>>,
    journal_bytes_max: u64,
    bytes_max: u64,
    /// The number of the next record, also after the journal's file was changed for a new one: an order that is under way
    /// must not end another one's record.
    next: AtomicU64,
}

impl AuditLog {
    pub(super) fn new(shared: Arc<Shared>, journal_bytes_max: u64) -> AuditLog {
        let bytes_max = bytes_max(journal_bytes_max);
        let database = &shared.database;
        // If that fails, the first commit tries again and says why.
        let space = database.is_open().then(|| Space::new(&database.data_file(), journal_bytes_max).ok()).flatten();
        let space = Mutex::new(space.map(|space| (database.generation(), space)));
        AuditLog { space, journal_bytes_max, bytes_max, next: AtomicU64::new(0), shared }
    }

    /// Makes sure that so many bytes can be written.
    fn admit(&self, bytes: usize) -> Result<(), JournalError> {
        let database = &self.shared.database;
        let failed = |source| JournalError::from_io(&database.path, "writing", source);
        let fill = database.read(|tables, txn| tables.fill(txn))?;
        let mut space = self.space.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = database.generation();
        if space.as_ref().is_none_or(|(of, _)| *of != generation) {
            let new = Space::new(&database.data_file(), self.journal_bytes_max).map_err(failed)?;
            *space = Some((generation, new));
        }
        let Some((_, space)) = space.as_mut() else { return Ok(()) };
        space.admit(fill, COMMIT_EXTRA_BYTES + 2 * bytes as u64).map_err(failed)
    }

    /// Appends `new` records and replaces those of `ended`, by their numbers, in one commit, on the disk when this
    /// returns. The numbers of the new ones rise by one from the one that is returned. Takes as long as the disk
    /// needs, and a commit of samples that may be under way.
    ///
    /// # Errors
    /// Nothing of it is stored then.
    pub fn commit(&self, new: &[AuditRecord], ended: &[(u64, AuditRecord)]) -> Result<u64, JournalError> {
        let new: Vec<Vec<u8>> = new.iter().map(AuditRecord::encode).collect();
        let ended: Vec<(u64, Vec<u8>)> = ended.iter().map(|(number, record)| (*number, record.encode())).collect();
        let database = &self.shared.database;
        if !new.is_empty() {
            self.admit(new.iter().map(Vec::len).sum())?;
        }
        database
            .write(|tables, txn| {
                let after_last = tables.audit()?.last(txn)?.map_or(0, |(number, _)| number + 1);
                let first = after_last.max(self.next.load(Relaxed));
                for (number, bytes) in (first..).zip(&new) {
                    tables.audit()?.put_with_flags(txn, PutFlags::APPEND, &number, bytes)?;
                }
                for (number, bytes) in &ended {
                    // One that the bound has removed meanwhile stays away.
                    if tables.audit()?.get(txn, number)?.is_some() {
                        tables.audit()?.put(txn, number, bytes)?;
                    }
                }
                self.trim(tables, txn)?;
                Ok(first)
            })
            .inspect(|first| self.next.store(first + new.len() as u64, Relaxed))
    }

    /// Removes the oldest while the records take more than their bound; the newest stays.
    fn trim(&self, tables: &Tables, txn: &mut RwTxn<'_>) -> heed::Result<()> {
        let audit = tables.audit()?;
        let mut gone = 0;
        while gone < AUDIT_TRIM_MAX && audit.len(txn)? > 1 && tables.audit_bytes(txn)? > self.bytes_max {
            let Some((oldest, _)) = audit.first(txn)? else { break };
            audit.delete(txn, &oldest)?;
            gone += 1;
        }
        if gone > 0 {
            let dropped = dropped(tables, txn)? + gone;
            tables.meta.put(txn, DROPPED_KEY, &dropped.to_le_bytes())?;
        }
        Ok(())
    }
}

fn dropped(tables: &Tables, txn: &RoTxn<'_>) -> heed::Result<u64> {
    let bytes = tables.meta.get(txn, DROPPED_KEY)?.and_then(|bytes| bytes.try_into().ok());
    Ok(bytes.map_or(0, u64::from_le_bytes))
}

/// The newest records of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditTail {
    /// With their numbers, the oldest first.
    pub records: Vec<(u64, AuditRecord)>,
    /// Records that were removed at the bound, ever.
    pub dropped: u64,
    /// Numbers of records that can't be read, and why.
    pub damaged: Vec<(u64, &'static str)>,
}

impl JournalReader {
    /// The newest `last` records. A journal that never recorded a write has none.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn audit(&self, last: usize) -> Result<AuditTail, JournalError> {
        self.shared.database.read(|tables, txn| {
            let mut tail = AuditTail { dropped: dropped(tables, txn)?, ..AuditTail::default() };
            let Ok(audit) = tables.audit() else { return Ok(tail) };
            for found in audit.rev_iter(txn)?.take(last) {
                let (number, bytes) = found?;
                match AuditRecord::decode(bytes) {
                    Ok(record) => tail.records.push((number, record)),
                    Err(malformed) => tail.damaged.push((number, malformed.0)),
                }
            }
            tail.records.reverse();
            tail.damaged.reverse();
            Ok(tail)
        })
    }
}

/// Any bytes as a record.
pub(super) fn fuzz(bytes: &[u8]) {
    let _ = AuditRecord::decode(bytes);
    let crc = crate::checksum::crc32(bytes).to_le_bytes();
    if let Ok(record) = AuditRecord::decode(&[bytes, &crc].concat()) {
        assert_eq!(AuditRecord::decode(&record.encode()).ok(), Some(record));
    }
}
