//! Checks whether a path still leads to the file that was opened.
//!
//! A file that is open lives on when its name is removed or given to another one: whoever writes to it goes on without an
//! error, and nobody will ever find what was written. So whoever holds a path open looks now and then.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What stands at a path that is held open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The file that was opened.
    Same,
    /// Nothing: it was removed, renamed, or its directory was.
    Gone,
    /// Another file.
    Replaced,
}

/// A path, and the file that stood there when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPath {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl HeldPath {
    /// Of the file that is open, under the path that it was opened by.
    ///
    /// # Errors
    /// The system does not tell which file it is.
    pub fn new(path: &Path, file: &File) -> io::Result<HeldPath> {
        Ok(HeldPath::of(path, &file.metadata()?))
    }

    /// Of what stands at the path now: for what has no descriptor here, such as a socket that was bound.
    ///
    /// # Errors
    /// There is nothing, or it may not be looked at.
    pub fn found(path: &Path) -> io::Result<HeldPath> {
        Ok(HeldPath::of(path, &std::fs::metadata(path)?))
    }

    fn of(path: &Path, found: &Metadata) -> HeldPath {
        HeldPath { path: path.to_owned(), device: found.dev(), inode: found.ino() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it still is the file, as far as can be told.
    pub fn is_in_place(&self) -> bool {
        !matches!(self.look(), Ok(Held::Gone | Held::Replaced))
    }

    /// Looks what stands at the path now.
    ///
    /// # Errors
    /// It cannot be told, for want of permission or because the disk fails: that is no sign that the file is gone.
    pub fn look(&self) -> io::Result<Held> {
        match std::fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(Held::Same),
            Ok(_) => Ok(Held::Replaced),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(Held::Gone),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_removed_renamed_or_replaced_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/file");
        std::fs::create_dir(dir.path().join("below")).unwrap();
        let file = File::create(&path).unwrap();
        let held = HeldPath::new(&path, &file).unwrap();
        assert_eq!((held.look().unwrap(), HeldPath::found(&path).unwrap()), (Held::Same, held.clone()));

        std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        assert_eq!(held.look().unwrap(), Held::Gone);
        std::fs::write(&path, "another").unwrap();
        assert_eq!(held.look().unwrap(), Held::Replaced);
        std::fs::rename(dir.path().join("elsewhere"), &path).unwrap();
        assert_eq!(held.look().unwrap(), Held::Same, "it came back");
        std::fs::remove_dir_all(dir.path().join("below")).unwrap();
        assert_eq!(held.look().unwrap(), Held::Gone);
        std::fs::write(dir.path().join("below"), "no directory").unwrap();
        assert_eq!(held.look().unwrap(), Held::Gone);
    }
}
