//! One writer: a lock on a file beside the journal, which names its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::error::JournalError;
use crate::held::{Held, HeldPath};

/// Held as long as it lives; the kernel lets go of it when the process ends in any way.
#[derive(Debug)]
pub struct WriterLock {
    _file: File,
    held: HeldPath,
}

impl WriterLock {
    /// # Errors
    /// [`JournalError::Owned`] with the holder's process id when another writer is there.
    pub fn take(journal: &Path) -> Result<WriterLock, JournalError> {
        let path: PathBuf = journal.join("writer.lock");
        let failed = |source| JournalError::from_io(journal, "locking", source);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The holder may be between taking the lock and writing its id.
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(JournalError::Owned { path: journal.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // The id only serves the other's message: a full disk must not stop us here.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        let held = HeldPath::new(&path, &file).map_err(failed)?;
        Ok(WriterLock { _file: file, held })
    }

    /// Whether the file at its path still is the one that is locked: a lock on any other keeps nobody away.
    pub fn still_holds(&self) -> bool {
        !matches!(self.held.look(), Ok(Held::Gone | Held::Replaced))
    }
}

/// Whether a journal has a writer now. Changes nothing.
pub fn is_held(journal: &Path) -> bool {
    let Ok(file) = File::open(journal.join("writer.lock")) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_learns_who_has_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let first = WriterLock::take(dir.path()).unwrap();
        let error = WriterLock::take(dir.path()).unwrap_err();
        assert!(matches!(error, JournalError::Owned { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
        assert!(is_held(dir.path()) && first.still_holds());
        std::fs::remove_file(dir.path().join("writer.lock")).unwrap();
        assert!(!first.still_holds());
        drop(first);
        WriterLock::take(dir.path()).unwrap();
        assert!(!is_held(dir.path()));
    }
}
