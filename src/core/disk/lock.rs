//! A lock on a file of its own, which names its holder.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::HeldPath;

/// A lock file holds a process id, and nothing longer.
const ID_BYTES_MAX: u64 = 32;

/// Held as long as it lives; the kernel lets go of it when the process ends in any way.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    held: HeldPath,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("it is locked by {}", match pid { Some(pid) => format!("process {pid}"), None => "another \
        process".to_owned() })]
    Held { pid: Option<u32> },
    #[error("{} is {what}: remove it", path.display())]
    NotOurs { path: PathBuf, what: &'static str },
    #[error("the directory {} {what}: use one that belongs to the gateway's user", path.display())]
    Directory { path: PathBuf, what: String },
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl LockFile {
    /// Takes the lock. The file is made if it is not there; one that is something else stays as it is.
    ///
    /// # Errors
    /// Another process holds it, the file or its directory is somebody else's, or the file system refuses.
    pub fn take(path: &Path) -> Result<LockFile, LockError> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        check_dir(dir)?;
        let not_ours = |what| LockError::NotOurs { path: path.to_owned(), what };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        // A pipe in its place must not be waited for.
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
        let mut file = match options.open(path) {
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(not_ours("a symbolic link")),
            Err(error) if error.kind() == ErrorKind::IsADirectory => return Err(not_ours("a directory")),
            // A pipe that nobody reads, a socket.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Err(not_ours("no file")),
            other => other?,
        };
        let there = file.metadata()?;
        if !there.is_file() {
            return Err(not_ours("no file"));
        }
        if !owners().contains(&there.uid()) {
            return Err(not_ours("another user's"));
        }
        if there.nlink() > 1 {
            return Err(not_ours("a file with other hard links"));
        }
        let Some(pid) = id_in(&mut file, &there)? else { return Err(not_ours("a file with other contents")) };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held { pid }),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        // The id only serves the other's message: a full disk must not stop us here.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        let held = HeldPath::new(path, &file)?;
        Ok(LockFile { file, held })
    }

    /// Whether another process would still find the lock: the file is where it was.
    pub fn is_in_place(&self) -> bool {
        self.held.is_in_place()
    }
}

impl Drop for LockFile {
    /// A child that is just being started has the descriptor, too, until it runs its program: closing ours is not enough.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

/// What a lock file says: the holder's id, or nothing, as the holder may be between taking the lock and writing it. `None`:
/// it is no lock file.
fn id_in(file: &mut File, there: &Metadata) -> io::Result<Option<Option<u32>>> {
    if there.len() > ID_BYTES_MAX {
        return Ok(None);
    }
    let mut text = String::new();
    match file.take(ID_BYTES_MAX).read_to_string(&mut text) {
        Err(error) if error.kind() == ErrorKind::InvalidData => return Ok(None),
        other => other?,
    };
    Ok(match text.trim() {
        "" => Some(None),
        id => id.parse().ok().map(Some),
    })
}

/// Users whose files may be ours: this one, root, and whoever became root by sudo.
fn owners() -> Vec<u32> {
    let own = nix::unistd::geteuid().as_raw();
    let before = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok()).filter(|_| own == 0);
    [own, 0].into_iter().chain(before).collect()
}

/// In a directory of somebody else's, or one that anybody may write, the file may become another at any time.
fn check_dir(path: &Path) -> Result<(), LockError> {
    let dir = fs::metadata(path)?;
    let refused = |what| LockError::Directory { path: path.to_owned(), what };
    if !owners().contains(&dir.uid()) {
        return Err(refused(format!("belongs to another user ({})", dir.uid())));
    }
    if dir.mode() & 0o1002 == 0o002 {
        return Err(refused("is writable by everybody".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_let_go_though_a_child_still_has_its_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = LockFile::take(&path).unwrap();
        let of_child = lock.file.try_clone().unwrap();
        assert!(matches!(LockFile::take(&path), Err(LockError::Held { .. })));
        drop(lock);
        LockFile::take(&path).unwrap();
        drop(of_child);
    }
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_second_taker_learns_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let first = LockFile::take(&path).unwrap();
        let error = LockFile::take(&path).unwrap_err();
        assert!(matches!(error, LockError::Held { pid: Some(pid) } if pid == std::process::id()), "{error}");
        assert!(first.is_in_place());
        fs::remove_file(&path).unwrap();
        assert!(!first.is_in_place());
        let second = LockFile::take(&path).unwrap();
        assert!(second.is_in_place() && !first.is_in_place());
    }

    #[test]
    fn what_is_no_lock_file_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let [path, precious] = ["x.lock", "precious"].map(|name| dir.path().join(name));
        fs::write(&precious, "4711").unwrap();
        symlink(&precious, &path).unwrap();
        assert!(LockFile::take(&path).unwrap_err().to_string().contains("a symbolic link"));
        fs::remove_file(&path).unwrap();
        fs::hard_link(&precious, &path).unwrap();
        assert!(LockFile::take(&path).unwrap_err().to_string().contains("other hard links"));
        assert_eq!(fs::read_to_string(&precious).unwrap(), "4711");
        fs::remove_file(&path).unwrap();
        for text in ["not a number", &"1".repeat(100), "12 34"] {
            fs::write(&path, text).unwrap();
            assert!(LockFile::take(&path).unwrap_err().to_string().contains("other contents"), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, [0xFF, 0xFE]).unwrap();
        assert!(LockFile::take(&path).is_err());
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(LockFile::take(&path).unwrap_err().to_string().contains("no file"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(LockFile::take(&path).unwrap_err().to_string().contains("a directory"));
    }

    #[test]
    fn a_directory_that_everybody_may_write_is_refused_unless_names_are_safe_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(LockFile::take(&path).unwrap_err().to_string().contains("by everybody"));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        LockFile::take(&path).unwrap();
    }
}
