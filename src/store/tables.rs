//! The tables of a journal's environment: made, opened, and how many pages they use.

use std::path::Path;

use heed::byteorder::BigEndian;
use heed::types::{Bytes, Str, U64};
use heed::{
    CommitOrAbort, Database as Table, DatabaseStat, Env, EnvFlags, EnvOpenOptions, MdbError, RoTxn, RwTxn, WithoutTls,
};

use super::checksum::crc32;
use super::database::{FORMAT, FORMAT_CHECK_KEY, FORMAT_KEY, FORMAT_MARK};
use super::space::Fill;

/// The tables of a journal.
pub struct Tables {
    pub env: Env<WithoutTls>,
    pub meta: Table<'static, Str, Bytes>,
    /// Blocks by index.
    pub blocks: Table<'static, U64<BigEndian>, Bytes>,
    /// Names by [`super::names::NamesId`].
    pub dictionaries: Table<'static, U64<BigEndian>, Bytes>,
    /// The index of the last block that uses them, by the same.
    pub names_last: Table<'static, U64<BigEndian>, U64<BigEndian>>,
    /// Cursors by name.
    pub cursors: Table<'static, Str, Bytes>,
    /// Audit records by number; `None` in a journal that is only read and never had one.
    pub(super) audit: Option<Table<'static, U64<BigEndian>, Bytes>>,
}

impl Tables {
    /// # Errors
    /// The journal has no audit: it was made by an earlier version, and is only read.
    pub fn audit(&self) -> heed::Result<&Table<'static, U64<BigEndian>, Bytes>> {
        self.audit.as_ref().ok_or(heed::Error::Mdb(MdbError::NotFound))
    }

    /// Bytes of the pages that the audit uses.
    pub fn audit_bytes(&self, txn: &RoTxn<'_>) -> heed::Result<u64> {
        let stat = self.audit()?.stat(txn)?;
        Ok((stat.branch_pages + stat.leaf_pages + stat.overflow_pages) as u64 * u64::from(stat.page_size))
    }

    /// Pages in use, and the end of the file. A transaction sees its own changes.
    pub fn fill(&self, txn: &RoTxn<'_>) -> heed::Result<Fill> {
        let stats = [
            self.env.unnamed_database_stat(),
            self.meta.stat(txn)?,
            self.blocks.stat(txn)?,
            self.dictionaries.stat(txn)?,
            self.names_last.stat(txn)?,
            self.cursors.stat(txn)?,
        ];
        let pages = |stat: &DatabaseStat| stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
        let page_size = stats[0].page_size as u64;
        // Two pages hold the roots.
        let used = 2 + stats.iter().map(pages).sum::<usize>() as u64;
        let end = self.env.info().last_page_number as u64 + 1;
        let audit = self.audit.as_ref().map_or(Ok(0), |_| self.audit_bytes(txn))?;
        Ok(Fill { used: used * page_size + audit, end: end * page_size })
    }
}

pub(super) fn open_env(path: &Path, read_only: bool, map_bytes: usize) -> heed::Result<Env<WithoutTls>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.max_dbs(6);
    if map_bytes > 0 {
        options.map_size(map_bytes);
    }
    // Most reads are of the newest blocks: reading ahead would only push others out of memory.
    let mut flags = EnvFlags::NO_READ_AHEAD;
    flags.set(EnvFlags::READ_ONLY, read_only);
    // SAFETY: neither flag weakens LMDB's guarantees. The files are changed by LMDB alone: there is one writer
    // (the lock beside them), and what is done to the data file elsewhere is to lengthen it and to set room
    // aside beyond its end.
    unsafe {
        options.flags(flags);
        options.open(path)
    }
}

pub(super) fn is_new(env: &Env<WithoutTls>) -> heed::Result<bool> {
    Ok(env.unnamed_database_stat().entries == 0)
}

pub(super) fn create_tables(env: Env<WithoutTls>) -> heed::Result<Tables> {
    let txn = env.write_txn()?;
    let (meta, blocks, dictionaries, names_last, cursors, audit) = env
        .create_databases_and_commit(txn, |make, txn| {
            let meta: Table<'_, Str, Bytes> = make.create_database(txn, Some("meta"))?;
            put_mark(meta, txn)?;
            let blocks = make.create_database(txn, Some("blocks"))?;
            let dictionaries = make.create_database(txn, Some("dictionaries"))?;
            let names_last = make.create_database(txn, Some("names_last"))?;
            let cursors = make.create_database(txn, Some("cursors"))?;
            let audit = make.create_database(txn, Some("audit"))?;
            let tables = (meta, blocks, dictionaries, names_last, cursors, audit);
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(tables))
        })?
        .commit()
        .ok_or(heed::Error::Mdb(MdbError::BadTxn))?;
    Ok(Tables { env, meta, blocks, dictionaries, names_last, cursors, audit: Some(audit) })
}

/// The mark of what is written from now on, with its checksum.
fn put_mark(meta: Table<'_, Str, Bytes>, txn: &mut RwTxn<'_>) -> heed::Result<()> {
    let mark = [FORMAT_MARK, &FORMAT.to_le_bytes()].concat();
    meta.put(txn, FORMAT_KEY, &mark)?;
    meta.put(txn, FORMAT_CHECK_KEY, &crc32(&mark).to_le_bytes())
}

/// Gives a journal of the format before the mark of this one: its blocks stay as they are, and those to come are of this
/// format, which the version before does not read.
pub(super) fn renew_mark(tables: &Tables) -> heed::Result<()> {
    let mark = [FORMAT_MARK, &FORMAT.to_le_bytes()].concat();
    let txn = tables.env.read_txn()?;
    if tables.meta.get(&txn, FORMAT_KEY)? == Some(&*mark) {
        return Ok(());
    }
    drop(txn);
    let mut txn = tables.env.write_txn()?;
    put_mark(tables.meta, &mut txn)?;
    txn.commit()
}

/// To a journal that was made before there was one.
pub(super) fn add_audit(tables: Tables) -> heed::Result<Tables> {
    let txn = tables.env.write_txn()?;
    let audit = tables
        .env
        .create_databases_and_commit(txn, |make, txn| {
            let audit = make.create_database(txn, Some("audit"))?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(audit))
        })?
        .commit();
    Ok(Tables { audit, ..tables })
}

pub(super) fn open_meta(env: &Env<WithoutTls>) -> heed::Result<Option<Table<'static, Str, Bytes>>> {
    let txn = env.read_txn()?;
    let meta = env
        .open_databases_and_commit(txn, |open, txn| {
            let meta = open.open_database(txn, Some("meta"))?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(meta))
        })?
        .commit();
    Ok(meta.flatten())
}

pub(super) fn open_tables(env: Env<WithoutTls>) -> heed::Result<Option<Tables>> {
    let txn = env.read_txn()?;
    let tables = env
        .open_databases_and_commit(txn, |open, txn| {
            let meta = open.open_database(txn, Some("meta"))?;
            let blocks = open.open_database(txn, Some("blocks"))?;
            let dictionaries = open.open_database(txn, Some("dictionaries"))?;
            let names_last = open.open_database(txn, Some("names_last"))?;
            let cursors = open.open_database(txn, Some("cursors"))?;
            let audit = open.open_database(txn, Some("audit"))?;
            let tables = (meta, blocks, dictionaries, names_last, cursors, audit);
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(tables))
        })?
        .commit();
    let Some((Some(meta), Some(blocks), Some(dictionaries), Some(names_last), Some(cursors), audit)) = tables else {
        return Ok(None);
    };
    Ok(Some(Tables { env, meta, blocks, dictionaries, names_last, cursors, audit }))
}
