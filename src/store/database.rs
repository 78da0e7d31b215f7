//! The LMDB environment: transactions, the map's size, opening it again after a fatal error, and the watch over its file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use heed::types::{Bytes, Str};
use heed::{Database as Table, Env, MdbError, RoTxn, RwTxn, WithoutTls};

use super::checksum::crc32;
use super::error::{JournalError, is_disk_full};
use super::fault::MapGuard;
use super::pages::{self, Checked};
use super::tables::{Tables, add_audit, create_tables, is_new, open_env, open_meta, open_tables, renew_mark};
use crate::disk::{Held, HeldPath};

pub(super) const FORMAT: u32 = 3;
/// That of the version before, whose blocks can be read as they are; a writer gives the journal the new mark.
const FORMAT_BEFORE: u32 = 2;
pub(super) const FORMAT_KEY: &str = "format";
/// The checksum of the mark: another version is believed only with it, once it is there.
pub(super) const FORMAT_CHECK_KEY: &str = "format_check";
pub(super) const FORMAT_MARK: &[u8] = b"fieldbeat journal ";
/// LMDB's file for readers and locks: 126 readers need this much.
const READERS_FILE_BYTES: libc::off_t = 8192;
/// How often the commit that a reader holds on to is looked for, where another process commits all the time.
const SNAPSHOT_TRIES: usize = 20;
/// Map beyond the bound, for pages that are freed and not yet free for use, and for removals.
const MAP_ROOM_BYTES: u64 = 64 << 20;

/// What is open, and how it is watched. The guard goes first: before the maps.
struct Opened {
    guard: MapGuard,
    tables: Tables,
    /// The data file once more: to see how long it is.
    file: File,
    held: HeldPath,
    /// Its length when it was longest: LMDB never makes it shorter.
    longest: AtomicU64,
    damage: OnceLock<String>,
}

/// An environment that is open most of the time.
pub struct Database {
    pub path: PathBuf,
    pub read_only: bool,
    map_bytes: AtomicUsize,
    map_bytes_max: usize,
    /// How often it was opened.
    generation: AtomicU64,
    /// Transactions hold it shared; changing the map or opening again needs it alone. `None` before the first opening,
    /// and after one has failed.
    opened: RwLock<Option<Opened>>,
}

impl Database {
    /// A journal in the directory `path`, which is not opened yet. The caller is the only writer.
    ///
    /// # Errors
    /// The map does not fit.
    pub fn new(path: &Path, bytes_max: u64) -> Result<Database, JournalError> {
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
        Ok(Database {
            path: path.to_owned(),
            read_only: false,
            map_bytes: AtomicUsize::new(map_bytes),
            map_bytes_max,
            generation: AtomicU64::new(0),
            opened: RwLock::new(None),
        })
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
            generation: AtomicU64::new(0),
            opened: RwLock::new(None),
        };
        database.reopen()?;
        Ok(database)
    }

    /// Opens or makes it, after a check of its pages; what was open before is closed. The only way out of LMDB's fatal
    /// errors.
    pub fn reopen(&self) -> Result<(), JournalError> {
        let mut guard = self.alone();
        *guard = None;
        if !self.read_only {
            self.make_readers_file()?;
            let checked = pages::check(&self.data_file());
            self.judge(checked.map_err(|source| JournalError::from_io(&self.path, "checking", source))?)?;
        }
        let map_bytes = self.map_bytes.load(Relaxed);
        let env = open_env(&self.path, self.read_only, map_bytes).map_err(|error| match error {
            heed::Error::Io(source) if source.raw_os_error() == Some(libc::ENOMEM) => {
                JournalError::Map { path: self.path.clone(), map_bytes: map_bytes as u64, detail: source.to_string() }
            }
            error => self.failed("opening", error),
        })?;
        let failed = |source| JournalError::from_io(&self.path, "opening", source);
        let file = File::open(self.data_file()).map_err(failed)?;
        let held = HeldPath::new(&self.data_file(), &file).map_err(failed)?;
        let longest = AtomicU64::new(file.metadata().map_err(failed)?.len());
        let maps = self.guard_maps();
        if self.read_only {
            self.check_snapshot(&env)?;
        }
        let tables = if is_new(&env).map_err(|error| self.failed("opening", error))? && !self.read_only {
            create_tables(env).map_err(|error| self.failed("making the tables", error))?
        } else {
            let failed = |error| self.failed("opening the tables", error);
            // First the mark alone: another format may have other tables.
            let meta = open_meta(&env).map_err(failed)?.ok_or_else(|| self.without_tables())?;
            let judged = self.check_format(&env, meta);
            let tables = match (judged, open_tables(env).map_err(failed)?) {
                (Ok(()), Some(tables)) => tables,
                (Ok(()), None) => return Err(self.without_tables()),
                (Err(JournalError::NotAJournal { .. }), Some(_)) => {
                    return Err(JournalError::Corrupt {
                        path: self.path.clone(),
                        what: "it has the tables of a journal, but its mark is damaged".to_owned(),
                    });
                }
                (Err(error), _) => return Err(error),
            };
            if !self.read_only {
                renew_mark(&tables).map_err(failed)?;
            }
            if tables.audit.is_some() || self.read_only { tables } else { add_audit(tables).map_err(failed)? }
        };
        let opened = Opened { guard: maps, tables, file, held, longest, damage: OnceLock::new() };
        self.sound(&opened)?;
        *guard = Some(opened);
        self.generation.fetch_add(1, Relaxed);
        Ok(())
    }

    /// LMDB maps this file and writes into the map, which on a full disk would kill the process.
    fn make_readers_file(&self) -> Result<(), JournalError> {
        let failed = |source| JournalError::from_io(&self.path, "opening", source);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.readers_file()).map_err(failed)?;
        match nix::fcntl::posix_fallocate(&file, 0, READERS_FILE_BYTES).map_err(std::io::Error::from) {
            Err(full) if is_disk_full(&full) => Err(failed(full)),
            // Otherwise the file system cannot, and there is nothing to be done about it.
            _ => Ok(()),
        }
    }

    fn judge(&self, checked: Checked) -> Result<(), JournalError> {
        let path = self.path.clone();
        match checked {
            Checked::New | Checked::Whole { unseen: 0 } => Ok(()),
            Checked::Whole { unseen } => {
                let path = path.display();
                tracing::info!(
                    "the journal {path}: its trees are intact; {unseen} records were not checked because of the time \
                     limit"
                );
                Ok(())
            }
            Checked::Foreign => {
                Err(JournalError::NotAJournal { path, what: "its data.mdb is not a journal file".to_owned() })
            }
            Checked::Damaged(what) => Err(JournalError::Corrupt { path, what }),
        }
    }

    /// Checks what another process writes, by a commit that is held on to meanwhile.
    fn check_snapshot(&self, env: &Env<WithoutTls>) -> Result<(), JournalError> {
        for _ in 0..SNAPSHOT_TRIES {
            let txn = env.read_txn().map_err(|error| self.failed("reading", error))?;
            let checked = pages::check_commit(&self.data_file(), txn.id() as u64);
            if let Some(checked) = checked.map_err(|source| JournalError::from_io(&self.path, "checking", source))? {
                return self.judge(checked);
            }
        }
        // It commits faster than its meta page can be read, so it lives.
        Ok(())
    }

    fn guard_maps(&self) -> MapGuard {
        MapGuard::new(&self.data_file(), &self.readers_file()).unwrap_or_else(|error| {
            let path = self.path.display();
            tracing::warn!("the journal {path}: a fault in its memory map would end this process ({error})");
            MapGuard::default()
        })
    }

    /// What shows that the file can no longer be trusted.
    fn sound(&self, opened: &Opened) -> Result<(), JournalError> {
        // Read before the length that it is compared with: other threads make the file longer meanwhile.
        let longest = opened.longest.load(SeqCst);
        let len = opened.file.metadata().map_or(u64::MAX, |found| found.len());
        if len != u64::MAX {
            opened.longest.fetch_max(len, SeqCst);
        }
        let what = match (opened.damage.get(), opened.guard.fault()) {
            (Some(what), _) => what.clone(),
            (None, Some(at)) => {
                format!("byte {at} of its file could not be read: it was truncated or the disk fails")
            }
            (None, None) if len < longest => format!("its file was truncated from {longest} to {len} bytes"),
            (None, None) => return Ok(()),
        };
        let _ = opened.damage.set(what.clone());
        Err(JournalError::Corrupt { path: self.path.clone(), what })
    }

    /// Whether it can be read and written now.
    pub fn is_open(&self) -> bool {
        self.shared().is_some()
    }

    /// Looks whether what is open is still as long as it was, and could be read so far.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), JournalError> {
        self.shared().as_ref().map_or(Ok(()), |opened| self.sound(opened))
    }

    pub fn close(&self) {
        *self.alone() = None;
    }

    /// Changes with each opening.
    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// Whether the journal's path still is what is open; `None` while nothing is, or where it cannot be told.
    pub fn look(&self) -> Option<Held> {
        self.shared().as_ref().and_then(|opened| opened.held.look().ok())
    }

    /// The error for a file that lacks tables of a journal: another program's, unless it carries a journal's mark.
    fn without_tables(&self) -> JournalError {
        let path = self.path.clone();
        match pages::mark_is_in(&self.data_file()) {
            Ok(true) => {
                JournalError::Corrupt { path, what: "a journal's mark is in it, but not all its tables".to_owned() }
            }
            _ => JournalError::NotAJournal { path, what: "its data.mdb holds other tables".to_owned() },
        }
    }

    fn check_format(&self, env: &Env<WithoutTls>, meta: Table<'_, Str, Bytes>) -> Result<(), JournalError> {
        let failed = |error| self.failed("reading the format", error);
        let txn = env.read_txn().map_err(failed)?;
        let mark = meta.get(&txn, FORMAT_KEY).map_err(failed)?.unwrap_or_default();
        let check = meta.get(&txn, FORMAT_CHECK_KEY).map_err(failed)?;
        if check.is_some_and(|check| check != crc32(mark).to_le_bytes()) {
            return Err(JournalError::Corrupt {
                path: self.path.clone(),
                what: "its mark is damaged: the checksum does not match".to_owned(),
            });
        }
        let version = mark.strip_prefix(FORMAT_MARK).and_then(|version| version.try_into().ok());
        match version.map(u32::from_le_bytes) {
            Some(FORMAT | FORMAT_BEFORE) => Ok(()),
            Some(found) if found > FORMAT => {
                Err(JournalError::NewerFormat { path: self.path.clone(), found, known: FORMAT })
            }
            Some(found) => Err(JournalError::OlderFormat { path: self.path.clone(), found, known: FORMAT }),
            None => Err(JournalError::NotAJournal {
                path: self.path.clone(),
                what: "it does not have a journal's mark".to_owned(),
            }),
        }
    }

    /// Runs `work` in a read transaction. Keep it short: it holds old pages.
    pub fn read<R>(&self, mut work: impl FnMut(&Tables, &RoTxn<'_>) -> heed::Result<R>) -> Result<R, JournalError> {
        let attempt = |work: &mut dyn FnMut(&Tables, &RoTxn<'_>) -> heed::Result<R>| {
            let guard = self.shared();
            let Some(opened) = guard.as_ref() else { return Err(self.closed()) };
            self.sound(opened)?;
            let result = opened.tables.env.read_txn().and_then(|txn| work(&opened.tables, &txn));
            self.sound(opened)?;
            Ok(result)
        };
        let mut outcome = attempt(&mut work)?;
        // The writer has made its map larger.
        if let Err(heed::Error::Mdb(MdbError::MapResized)) = outcome {
            self.resize(0)?;
            outcome = attempt(&mut work)?;
        }
        outcome.map_err(|error| self.noted("reading", error))
    }

    /// Runs `work` in a write transaction and commits it, on the disk when this returns.
    pub fn write<R>(
        &self,
        mut work: impl FnMut(&Tables, &mut RwTxn<'_>) -> heed::Result<R>,
    ) -> Result<R, JournalError> {
        if self.read_only {
            return Err(JournalError::ReadOnly { path: self.path.clone() });
        }
        let mut attempt = || {
            let guard = self.shared();
            let Some(opened) = guard.as_ref() else { return Err(self.closed()) };
            self.sound(opened)?;
            let result = opened.tables.env.write_txn().and_then(|mut txn| {
                let result = work(&opened.tables, &mut txn)?;
                // What was made of a page that could not be read stays out of the file.
                if opened.guard.fault().is_none() {
                    txn.commit()?;
                }
                Ok(result)
            });
            self.sound(opened)?;
            Ok(result)
        };
        let mut outcome = attempt()?;
        match outcome {
            Err(heed::Error::Mdb(MdbError::MapFull)) if self.grow()? => outcome = attempt()?,
            Err(heed::Error::Mdb(MdbError::Panic | MdbError::BadTxn)) => {
                self.reopen()?;
                outcome = attempt()?;
            }
            _ => {}
        }
        outcome.map_err(|error| self.noted("writing", error))
    }

    /// The error for a caller; one that says that the file is damaged is the answer to everybody from now on.
    fn noted(&self, doing: &'static str, error: heed::Error) -> JournalError {
        let error = self.failed(doing, error);
        if let (JournalError::Corrupt { what, .. }, Some(opened)) = (&error, self.shared().as_ref()) {
            let _ = opened.damage.set(what.clone());
        }
        error
    }

    /// Frees what dead readers hold, and enlarges the map if it may grow; whether trying again makes sense.
    fn grow(&self) -> Result<bool, JournalError> {
        let mut dead = 0;
        if let Some(opened) = self.shared().as_ref() {
            dead = opened.tables.env.clear_stale_readers().unwrap_or(0);
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
        let Some(opened) = guard.as_mut() else { return Ok(()) };
        opened.guard = MapGuard::default();
        // SAFETY: transactions of this process run under the shared guard, and the exclusive one is held.
        let resized = unsafe { opened.tables.env.resize(bytes) };
        opened.guard = self.guard_maps();
        if let Err(error) = resized {
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
        if let Some(opened) = self.shared().as_ref() {
            let _ = opened.tables.env.clear_stale_readers();
        }
    }

    pub fn data_file(&self) -> PathBuf {
        self.path.join("data.mdb")
    }

    pub fn readers_file(&self) -> PathBuf {
        self.path.join("lock.mdb")
    }

    pub fn failed(&self, doing: &'static str, error: heed::Error) -> JournalError {
        JournalError::from_heed(&self.path, doing, self.map_bytes.load(Relaxed) as u64, error)
    }

    pub fn closed(&self) -> JournalError {
        JournalError::Failed { path: self.path.clone(), doing: "access", detail: "it is not open yet".to_owned() }
    }

    fn shared(&self) -> RwLockReadGuard<'_, Option<Opened>> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> RwLockWriteGuard<'_, Option<Opened>> {
        self.opened.write().unwrap_or_else(PoisonError::into_inner)
    }
}
