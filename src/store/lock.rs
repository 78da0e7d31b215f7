//! One writer: a lock on a file beside the journal, which names its holder.

use std::path::Path;

use super::error::JournalError;
use crate::disk::{LockError, LockFile};

/// Held as long as it lives.
#[derive(Debug)]
pub struct WriterLock {
    _file: LockFile,
}

impl WriterLock {
    /// # Errors
    /// [`JournalError::Owned`] with the holder's process id when another writer is there.
    pub fn take(journal: &Path) -> Result<WriterLock, JournalError> {
        let path = journal.to_owned();
        match LockFile::take(&journal.join("writer.lock")) {
            Ok(file) => Ok(WriterLock { _file: file }),
            Err(LockError::Held { pid }) => Err(JournalError::Owned { path, pid }),
            Err(LockError::Failed(source)) => Err(JournalError::from_io(journal, "locking", source)),
            Err(source) => Err(JournalError::NotLockable { path, source }),
        }
    }
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
        drop(first);
        WriterLock::take(dir.path()).unwrap();
    }
}
