//! Copies what is whole into a new journal.

use std::collections::BTreeMap;
use std::path::Path;

use heed::PutFlags;

use super::Survey;
use crate::codec::Header;
use crate::database::Database;
use crate::dictionary;
use crate::error::JournalError;
use crate::limits::{CURSOR_NAME_BYTES_MAX, JOURNAL_BYTES_MIN};
use crate::lock::WriterLock;

/// Bytes of one transaction: bounds what is in memory.
const CHUNK_BYTES: usize = 16 << 20;

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Salvaged {
    pub blocks: u64,
    pub samples: u64,
    pub names: u64,
    pub audit: u64,
    pub cursors: u64,
    /// Copied blocks whose names, or some of them, are lost: their tags are known by number.
    pub blocks_nameless: u64,
}

/// A damaged one may be none.
fn is_name(name: &str) -> bool {
    (1..=CURSOR_NAME_BYTES_MAX).contains(&name.len())
}

impl Survey {
    /// Makes a new journal in `to` with every block that is whole, under its number, and with names, audit records and
    /// cursors.
    ///
    /// # Errors
    /// There is a journal, or it cannot be made.
    pub fn salvage(&self, to: &Path) -> Result<Salvaged, JournalError> {
        let failed = |source| JournalError::from_io(to, "making", source);
        if to.join("data.mdb").try_exists().map_err(failed)? {
            return Err(JournalError::Exists { path: to.to_owned() });
        }
        std::fs::create_dir_all(to).map_err(failed)?;
        let _lock = WriterLock::take(to)?;
        let bytes = self.file.pages * self.file.page_bytes as u64;
        let database = Database::new(to, (2 * bytes).max(JOURNAL_BYTES_MIN))?;
        database.reopen()?;
        let mut done = Salvaged::default();
        let whole = self.copy_names(&database, &mut done)?;
        self.copy_blocks(&database, &whole, &mut done)?;
        let mut audit = Vec::new();
        for (number, record) in &self.audit {
            if let Ok(bytes) = self.file.data_at(record.place)
                && crate::AuditRecord::decode(&bytes).is_ok()
            {
                audit.push((*number, bytes));
            }
        }
        database.write(|tables, txn| {
            for (number, bytes) in &audit {
                tables.audit()?.put(txn, number, bytes)?;
            }
            for (name, bytes) in self.cursors.iter().filter(|(name, _)| is_name(name)) {
                tables.cursors.put(txn, name, bytes)?;
            }
            for (name, bytes) in self.marks.iter().filter(|(name, _)| is_name(name)) {
                tables.meta.put(txn, name, bytes)?;
            }
            Ok(())
        })?;
        (done.audit, done.cursors) = (audit.len() as u64, self.cursors.len() as u64);
        database.close();
        super::super::renew::sync_directories(to).map_err(failed)?;
        Ok(done)
    }

    /// Names, also those that are damaged in places; by id, whether they are whole.
    fn copy_names(&self, database: &Database, done: &mut Salvaged) -> Result<BTreeMap<u64, bool>, JournalError> {
        let mut whole = BTreeMap::new();
        for (id, record) in &self.names {
            let Ok(bytes) = self.file.data_at(record.place) else { continue };
            let Ok(decoded) = dictionary::decode(&bytes) else { continue };
            whole.insert(*id, decoded.damaged == 0);
            database.write(|tables, txn| tables.dictionaries.put(txn, id, &bytes))?;
            done.names += 1;
        }
        Ok(whole)
    }

    fn copy_blocks(
        &self,
        database: &Database,
        whole: &BTreeMap<u64, bool>,
        done: &mut Salvaged,
    ) -> Result<(), JournalError> {
        let mut last_uses: BTreeMap<u64, u64> = whole.keys().map(|id| (*id, *id)).collect();
        let mut chunk: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut bytes_held = 0;
        let write = |chunk: &mut Vec<(u64, Vec<u8>)>| {
            let written = database.write(|tables, txn| {
                for (index, bytes) in chunk.iter() {
                    tables.blocks.put_with_flags(txn, PutFlags::APPEND, index, bytes)?;
                }
                Ok(())
            });
            chunk.clear();
            written
        };
        for (index, record) in &self.blocks {
            let Ok(bytes) = self.file.data_at(record.place) else { continue };
            let Ok((header, _)) = Header::read_with_body(&bytes) else { continue };
            let names = header.names.0;
            done.blocks += 1;
            done.samples += u64::from(header.samples);
            done.blocks_nameless += u64::from(whole.get(&names) != Some(&true));
            if let Some(last) = last_uses.get_mut(&names) {
                *last = (*last).max(*index);
            }
            bytes_held += bytes.len();
            chunk.push((*index, bytes));
            if bytes_held >= CHUNK_BYTES {
                write(&mut chunk)?;
                bytes_held = 0;
            }
        }
        write(&mut chunk)?;
        database.write(|tables, txn| {
            for (id, last) in &last_uses {
                tables.names_last.put(txn, id, last)?;
            }
            Ok(())
        })
    }
}
