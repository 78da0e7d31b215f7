//! One writer: a lock on a file beside the journal, which names its holder.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::error::JournalError;
use crate::disk::{LockError, LockFile};

/// Held as long as it lives.
#[derive(Debug)]
pub struct WriterLock {
    file: LockFile,
}

impl WriterLock {
    /// # Errors
    /// [`JournalError::Owned`] with the holder's process id when another writer is there.
    pub fn take(journal: &Path) -> Result<WriterLock, JournalError> {
        let path = journal.to_owned();
        match LockFile::take(&journal.join("writer.lock")) {
            Ok(file) => Ok(WriterLock { file }),
            Err(LockError::Held { pid }) => Err(JournalError::Owned { path, pid }),
            Err(LockError::Failed(source)) => Err(JournalError::from_io(journal, "locking", source)),
            Err(source) => Err(JournalError::NotLockable { path, source }),
        }
    }

    /// Whether the file at its path still is the one that is locked: a lock on any other keeps nobody away.
    pub fn still_holds(&self) -> bool {
        self.file.is_in_place()
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
