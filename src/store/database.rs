//! The LMDB environment: tables, transactions, the map's size, and opening it again after a fatal error.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use heed::byteorder::BigEndian;
use heed::types::{Bytes, Str, U64};
use heed::{
    CommitOrAbort, Database as Table, DatabaseStat, Env, EnvFlags, EnvOpenOptions, MdbError, RoTxn, RwTxn, WithoutTls,
};

use super::error::{JournalError, is_disk_full};
use super::space::Fill;

const FORMAT: u32 = 2;
const FORMAT_KEY: &str = "format";
const FORMAT_MARK: &[u8] = b"fieldbeat journal ";
/// LMDB's file for readers and locks: 126 readers need this much.
const READERS_FILE_BYTES: libc::off_t = 8192;
/// Map beyond the bound, for pages that are freed and not yet free for use, and for removals.
const MAP_ROOM_BYTES: u64 = 64 << 20;

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
    audit: Option<Table<'static, U64<BigEndian>, Bytes>>,
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

/// An open environment.
pub struct Database {
    pub path: PathBuf,
    pub read_only: bool,
    map_bytes: AtomicUsize,
    map_bytes_max: usize,
    /// Transactions hold it shared; changing the map or opening again needs it alone. `None` after an attempt
    /// to open again has failed.
    tables: RwLock<Option<Tables>>,
}

impl Database {
    /// Opens or makes a journal in `path`, which is a directory. The caller is the only writer.
    pub fn open(path: &Path, bytes_max: u64) -> Result<Database, JournalError> {
        let failed = |source| JournalError::from_io(path, "opening", source);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let readers_file = options.open(path.join("lock.mdb")).map_err(failed)?;
        // LMDB maps this file and writes into the map, which on a full disk would kill the process.
        match nix::fcntl::posix_fallocate(&readers_file, 0, READERS_FILE_BYTES).map_err(std::io::Error::from) {
            Err(full) if is_disk_full(&full) => return Err(failed(full)),
            // Otherwise the file system cannot, and there is nothing to be done about it.
            _ => {}
        }
        drop(readers_file);

        let map = |bytes: u64| {
            let page = 1 << 16;
            usize::try_from(bytes.next_multiple_of(page)).ok().filter(|bytes| *bytes <= isize::MAX as usize).ok_or(
                JournalError::Map {
                    path: path.to_owned(),
                    map_bytes: bytes,
                    detail: "more than this machine can address".to_owned(),
                },
            )
        };
        let bytes_max = bytes_max.min(1 << 60);
        let map_bytes = map(bytes_max + bytes_max / 4 + MAP_ROOM_BYTES)?;
        let map_bytes_max = map(2 * bytes_max + 4 * MAP_ROOM_BYTES).unwrap_or(map_bytes);
        let database = Database {
            path: path.to_owned(),
            read_only: false,
            map_bytes: AtomicUsize::new(map_bytes),
            map_bytes_max,
            tables: RwLock::new(None),
        };
        database.reopen()?;
        Ok(database)
    }

    /// Opens the journal of another process.
    pub fn open_read_only(path: &Path) -> Result<Database, JournalError> {
        match path.join("data.mdb").try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(JournalError::Missing { path: path.to_owned() }),
            Err(source) => return Err(JournalError::from_io(path, "opening", source)),
        }
        let database = Database {
            path: path.to_owned(),
            read_only: true,
            map_bytes: AtomicUsize::new(0),
            map_bytes_max: 0,
            tables: RwLock::new(None),
        };
        database.reopen()?;
        Ok(database)
    }

    /// Closes the environment and opens it again: the only way out of LMDB's fatal errors.
    pub fn reopen(&self) -> Result<(), JournalError> {
        let mut guard = self.alone();
        *guard = None;
        let map_bytes = self.map_bytes.load(Relaxed);
        let env = open_env(&self.path, self.read_only, map_bytes).map_err(|error| match error {
            heed::Error::Io(source) if source.raw_os_error() == Some(libc::ENOMEM) => {
                JournalError::Map { path: self.path.clone(), map_bytes: map_bytes as u64, detail: source.to_string() }
            }
            error => self.failed("opening", error),
        })?;
        let tables = if is_new(&env).map_err(|error| self.failed("opening", error))? && !self.read_only {
            create_tables(env).map_err(|error| self.failed("making the tables", error))?
        } else {
            let other = || JournalError::NotAJournal {
                path: self.path.clone(),
                what: "its data.mdb holds other tables".to_owned(),
            };
            let failed = |error| self.failed("opening the tables", error);
            // First the mark alone: another format may have other tables.
            self.check_format(&env, open_meta(&env).map_err(failed)?.ok_or_else(other)?)?;
            let tables = open_tables(env).map_err(failed)?.ok_or_else(other)?;
            if tables.audit.is_some() || self.read_only { tables } else { add_audit(tables).map_err(failed)? }
        };
        *guard = Some(tables);
        Ok(())
    }

    fn check_format(&self, env: &Env<WithoutTls>, meta: Table<'_, Str, Bytes>) -> Result<(), JournalError> {
        let failed = |error| self.failed("reading the format", error);
        let txn = env.read_txn().map_err(failed)?;
        let mark = meta.get(&txn, FORMAT_KEY).map_err(failed)?.unwrap_or_default();
        let version = mark.strip_prefix(FORMAT_MARK).and_then(|version| version.try_into().ok());
        match version.map(u32::from_le_bytes) {
            Some(FORMAT) => Ok(()),
            Some(found) if found > FORMAT => {
                Err(JournalError::NewerFormat { path: self.path.clone(), found, known: FORMAT })
            }
            Some(found) => Err(JournalError::OlderFormat { path: self.path.clone(), found, known: FORMAT }),
            None => Err(JournalError::NotAJournal {
                path: self.path.clone(),
                what: "it does not carry a journal's mark".to_owned(),
            }),
        }
    }

    /// Runs `work` in a read transaction. Keep it short: it holds old pages.
    pub fn read<R>(&self, mut work: impl FnMut(&Tables, &RoTxn<'_>) -> heed::Result<R>) -> Result<R, JournalError> {
        let attempt = |work: &mut dyn FnMut(&Tables, &RoTxn<'_>) -> heed::Result<R>| {
            let guard = self.shared();
            let Some(tables) = guard.as_ref() else { return Ok(None) };
            let txn = tables.env.read_txn()?;
            work(tables, &txn).map(Some)
        };
        let mut outcome = attempt(&mut work);
        // The writer has made its map larger.
        if let Err(heed::Error::Mdb(MdbError::MapResized)) = outcome {
            self.resize(0)?;
            outcome = attempt(&mut work);
        }
        outcome.map_err(|error| self.failed("reading", error))?.ok_or_else(|| self.closed())
    }

    /// Runs `work` in a write transaction and commits it, on the disk when this returns.
    pub fn write<R>(
        &self,
        mut work: impl FnMut(&Tables, &mut RwTxn<'_>) -> heed::Result<R>,
    ) -> Result<R, JournalError> {
        if self.read_only {
            return Err(JournalError::ReadOnly { path: self.path.clone() });
        }
        if self.shared().is_none() {
            self.reopen()?;
        }
        let mut attempt = || {
            let guard = self.shared();
            let Some(tables) = guard.as_ref() else { return Ok(None) };
            let mut txn = tables.env.write_txn()?;
            let result = work(tables, &mut txn)?;
            txn.commit()?;
            Ok(Some(result))
        };
        let mut outcome = attempt();
        match outcome {
            Err(heed::Error::Mdb(MdbError::MapFull)) if self.grow()? => outcome = attempt(),
            Err(heed::Error::Mdb(MdbError::Panic | MdbError::BadTxn)) => {
                self.reopen()?;
                outcome = attempt();
            }
            _ => {}
        }
        outcome.map_err(|error| self.failed("writing", error))?.ok_or_else(|| self.closed())
    }

    /// Frees what dead readers hold, and enlarges the map if it may grow; whether trying again makes sense.
    fn grow(&self) -> Result<bool, JournalError> {
        let mut dead = 0;
        if let Some(tables) = self.shared().as_ref() {
            dead = tables.env.clear_stale_readers().unwrap_or(0);
        }
        let now = self.map_bytes.load(Relaxed);
        if now >= self.map_bytes_max {
            return Ok(dead > 0);
        }
        let larger = (now + MAP_ROOM_BYTES as usize).min(self.map_bytes_max);
        self.resize(larger)?;
        self.map_bytes.store(larger, Relaxed);
        Ok(true)
    }

    /// 0: the size that the writer has given the map.
    fn resize(&self, bytes: usize) -> Result<(), JournalError> {
        let mut guard = self.alone();
        let Some(tables) = guard.as_ref() else { return Ok(()) };
        // SAFETY: transactions of this process run under the shared guard, and the exclusive one is held.
        if let Err(error) = unsafe { tables.env.resize(bytes) } {
            *guard = None;
            return Err(JournalError::Map {
                path: self.path.clone(),
                map_bytes: bytes as u64,
                detail: error.to_string(),
            });
        }
        Ok(())
    }

    /// Frees the slots of readers that died.
    pub fn clear_dead_readers(&self) {
        if let Some(tables) = self.shared().as_ref() {
            let _ = tables.env.clear_stale_readers();
        }
    }

    pub fn data_file(&self) -> PathBuf {
        self.path.join("data.mdb")
    }

    pub fn failed(&self, doing: &'static str, error: heed::Error) -> JournalError {
        JournalError::from_heed(&self.path, doing, self.map_bytes.load(Relaxed) as u64, error)
    }

    fn closed(&self) -> JournalError {
        JournalError::Failed {
            path: self.path.clone(),
            doing: "access",
            detail: "it is closed after an earlier error, and will be opened again".to_owned(),
        }
    }

    fn shared(&self) -> RwLockReadGuard<'_, Option<Tables>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> RwLockWriteGuard<'_, Option<Tables>> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_env(path: &Path, read_only: bool, map_bytes: usize) -> heed::Result<Env<WithoutTls>> {
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

fn is_new(env: &Env<WithoutTls>) -> heed::Result<bool> {
    Ok(env.unnamed_database_stat().entries == 0)
}

fn create_tables(env: Env<WithoutTls>) -> heed::Result<Tables> {
    let txn = env.write_txn()?;
    let (meta, blocks, dictionaries, names_last, cursors, audit) = env
        .create_databases_and_commit(txn, |make, txn| {
            let meta: Table<'_, Str, Bytes> = make.create_database(txn, Some("meta"))?;
            meta.put(txn, FORMAT_KEY, &[FORMAT_MARK, &FORMAT.to_le_bytes()].concat())?;
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

/// To a journal that was made before there was one.
fn add_audit(tables: Tables) -> heed::Result<Tables> {
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

fn open_meta(env: &Env<WithoutTls>) -> heed::Result<Option<Table<'static, Str, Bytes>>> {
    let txn = env.read_txn()?;
    let meta = env
        .open_databases_and_commit(txn, |open, txn| {
            let meta = open.open_database(txn, Some("meta"))?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(meta))
        })?
        .commit();
    Ok(meta.flatten())
}

fn open_tables(env: Env<WithoutTls>) -> heed::Result<Option<Tables>> {
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
