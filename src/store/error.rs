//! Errors of a journal, with what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why a journal could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(
        "the journal {} is in use by {}: stop that gateway, or set another `journal.path` for this one",
        path.display(),
        match pid { Some(pid) => format!("process {pid}"), None => "another process".to_owned() }
    )]
    Owned { path: PathBuf, pid: Option<u32> },

    #[error("the journal {} can't be locked: {source}; or set another `journal.path`", path.display())]
    NotLockable { path: PathBuf, source: crate::disk::LockError },

    #[error(
        "the journal {} is open in this process already",
        path.display()
    )]
    AlreadyOpen { path: PathBuf },

    #[error("there is no journal at {}: start the gateway first, or check `journal.path`", path.display())]
    Missing { path: PathBuf },

    #[error("the journal's directory {} cannot be made ({source}): check `journal.path`", path.display())]
    NotCreatable { path: PathBuf, source: io::Error },

    #[error("no permission for the journal {} ({source}): {}", path.display(), permission_help(path))]
    Permission { path: PathBuf, source: io::Error },

    #[error(
        "{} is not a journal ({what}): set `journal.path` to an empty directory, or move the files away",
        path.display()
    )]
    NotAJournal { path: PathBuf, what: String },

    #[error(
        "the journal {} was written by a newer version (format {found}, known up to {known}): update, or use \
         another `journal.path`",
        path.display()
    )]
    NewerFormat { path: PathBuf, found: u32, known: u32 },

    #[error(
        "the journal {} was written by an older version (format {found}, this one reads {known}): run that version \
         until its outputs have delivered everything, then move the journal away; or use another `journal.path`",
        path.display()
    )]
    OlderFormat { path: PathBuf, found: u32, known: u32 },

    #[error(
        "the disk of the journal {} is full ({detail}): free space on it or lower `journal.max_bytes`; stored samples \
         are safe, new samples wait",
        path.display()
    )]
    DiskFull { path: PathBuf, detail: String },

    #[error(
        "the journal {} has used its whole map of {map_bytes} bytes: a process keeps a read open (a stopped \
         `tail`?); end that process",
        path.display()
    )]
    MapFull { path: PathBuf, map_bytes: u64 },

    #[error(
        "{map_bytes} bytes of address space for the journal {} cannot be reserved ({detail}): lower \
         `journal.max_bytes` or lift the limit (`ulimit -v`)",
        path.display()
    )]
    Map { path: PathBuf, map_bytes: u64, detail: String },

    #[error(
        "the journal {} is damaged ({what}): `fieldbeat journal verify {}` lists the damage, `fieldbeat journal \
         salvage {} --to NEWDIR` copies the intact part; `fieldbeat run` sets it aside and starts a new one; check \
         the disk",
        path.display(), path.display(), path.display()
    )]
    Corrupt { path: PathBuf, what: String },

    #[error(
        "the journal {} is damaged ({what}), and {count} damaged journals are set aside in it already, which is the \
         limit: samples are dropped until one is moved away (`ls -d {}/damaged-*`) or salvaged (`fieldbeat journal \
         salvage`) and removed; check the disk",
        path.display(), path.display()
    )]
    TooManyAside { path: PathBuf, what: String, count: usize },

    #[error("the journal {} is in use by a running gateway: stop it, or use a copy", path.display())]
    Written { path: PathBuf },

    #[error("there is a journal at {} already: choose a directory without one", path.display())]
    Exists { path: PathBuf },

    #[error("no cursor {name:?} is registered in this journal")]
    UnknownCursor { name: String },

    #[error("the cursor name {name:?} is empty or longer than {max} bytes")]
    CursorName { name: String, max: usize },

    #[error("the journal {} is open for reading only", path.display())]
    ReadOnly { path: PathBuf },

    #[error("the journal's samples cannot be encoded: {what}")]
    Encode { what: String },

    #[error("the journal {}: {doing} failed: {detail}", path.display())]
    Failed { path: PathBuf, doing: &'static str, detail: String },
}

impl JournalError {
    /// No room: it goes on by itself when there is some.
    pub fn is_full(&self) -> bool {
        matches!(self, JournalError::DiskFull { .. } | JournalError::MapFull { .. })
    }

    /// Whether a gateway starts nonetheless: it will store as soon as it can.
    pub fn passes_by_itself(&self) -> bool {
        self.is_full() || matches!(self, JournalError::TooManyAside { .. })
    }

    /// Whether its file can no longer be trusted.
    pub fn is_damage(&self) -> bool {
        matches!(self, JournalError::Corrupt { .. })
    }

    pub(super) fn from_io(path: &Path, doing: &'static str, source: io::Error) -> JournalError {
        let path = path.to_owned();
        match source.raw_os_error() {
            _ if is_disk_full(&source) => JournalError::DiskFull { path, detail: source.to_string() },
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => JournalError::Permission { path, source },
            _ => JournalError::Failed { path, doing, detail: source.to_string() },
        }
    }

    pub(super) fn from_heed(path: &Path, doing: &'static str, map_bytes: u64, error: heed::Error) -> JournalError {
        use heed::MdbError;
        let path = path.to_owned();
        let what = error.to_string();
        match error {
            heed::Error::Io(source) => JournalError::from_io(&path, doing, source),
            heed::Error::Mdb(MdbError::MapFull) => JournalError::MapFull { path, map_bytes },
            heed::Error::Mdb(MdbError::Invalid | MdbError::VersionMismatch | MdbError::Incompatible) => {
                JournalError::NotAJournal { path, what }
            }
            // A table whose keys are no numbers, or not in order, and pages that LMDB cannot account for.
            heed::Error::Mdb(MdbError::Corrupted | MdbError::PageNotFound | MdbError::Problem | MdbError::KeyExist)
            | heed::Error::Decoding(_) => JournalError::Corrupt { path, what },
            heed::Error::EnvAlreadyOpened => JournalError::AlreadyOpen { path },
            _ => JournalError::Failed { path, doing, detail: what },
        }
    }
}

/// Whether an error says that there is no room: disk, quota, or the file size limit.
pub(super) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
}

/// Whoever reads a gateway's journal must not take it away from the gateway.
fn permission_help(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(path).ok().map(|found| found.uid());
    let name = owner.and_then(|uid| nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten());
    match name {
        Some(user) => {
            let user = user.name;
            format!(
                "run this as its owner: sudo -u {user} fieldbeat …; only if the gateway runs as another user, change \
                 the owner of the directory"
            )
        }
        None => "run this as the gateway's user: sudo -u fieldbeat fieldbeat …".to_owned(),
    }
}
