//! The socket's file: who owns it, who may use it, what is left of a gateway that was killed.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::unistd::{Gid, Group, chown};

use crate::disk::{HeldPath, LockError, LockFile};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "the control socket {} is in use by {}: stop that gateway, or set another `control.socket` for this one",
        path.display(),
        match pid { Some(pid) => format!("process {pid}"), None => "another process".to_owned() }
    )]
    Taken { path: PathBuf, pid: Option<u32> },
    #[error(
        "the control socket {} can't be created, another file has this name: remove it, or set another \
         `control.socket`",
        path.display()
    )]
    NotASocket { path: PathBuf },
    #[error("the control socket {} can't be locked: {error}; or set another `control.socket`", path.display())]
    Lock { path: PathBuf, error: LockError },
    #[error("there is no group \"{group}\" on this machine: create it, or correct `control.group`")]
    NoGroup { group: String },
    #[error(
        "the control socket {} can't be given to the group \"{group}\" ({error}): the gateway's user must be in it",
        path.display()
    )]
    Group { path: PathBuf, group: String, error: io::Error },
    #[error(
        "the control socket {} can't be created ({error}): set `control.socket` to a path that the gateway's user can \
         write and that is no longer than {} bytes, or to \"off\"",
        path.display(),
        crate::limits::CONTROL_PATH_BYTES_MAX
    )]
    Failed { path: PathBuf, error: io::Error },
}

/// The file, ours as long as this lives.
pub(super) struct Place {
    path: PathBuf,
    group: Option<(Gid, String)>,
    lock: LockFile,
    made: HeldPath,
}

impl Place {
    /// Makes the socket and listens. What a gateway that was killed has left is replaced; one that lives keeps its own.
    pub(super) fn take(path: &Path, group: Option<&str>) -> Result<(Place, UnixListener), ControlError> {
        let failed = |error: io::Error| ControlError::Failed { path: path.to_owned(), error };
        let group = match group {
            None => None,
            Some(name) => match Group::from_name(name) {
                Ok(Some(group)) => Some((group.gid, name.to_owned())),
                Ok(None) => return Err(ControlError::NoGroup { group: name.to_owned() }),
                Err(error) => return Err(failed(error.into())),
            },
        };
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(failed)?;
        }
        let lock = take_lock(path)?;
        let (listener, made) = make(path, group.as_ref())?;
        Ok((Place { path: path.to_owned(), group, lock, made }, listener))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether whoever connects still comes to us.
    pub(super) fn is_in_place(&self) -> bool {
        self.made.is_in_place()
    }

    /// Makes the socket anew where its file was removed, or replaced.
    pub(super) fn make_again(&mut self) -> Result<UnixListener, ControlError> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir).map_err(|error| ControlError::Failed { path: self.path.clone(), error })?;
        }
        if !self.lock.is_in_place() {
            self.lock = take_lock(&self.path)?;
        }
        let (listener, made) = make(&self.path, self.group.as_ref())?;
        self.made = made;
        Ok(listener)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_in_place() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A socket that listens at `path`, in place of one that was there, and its file.
fn make(path: &Path, group: Option<&(Gid, String)>) -> Result<(UnixListener, HeldPath), ControlError> {
    let failed = |error: io::Error| ControlError::Failed { path: path.to_owned(), error };
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
        Ok(_) => return Err(ControlError::NotASocket { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(|e| failed(e.into()))?;
    let address = UnixAddr::new(path).map_err(|e| failed(e.into()))?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &address).map_err(|e| failed(e.into()))?;
    let made = HeldPath::found(path).map_err(failed)?;
    // Nobody can connect before it listens, so its rights are right from the first moment.
    let ready = || {
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
        if let Some((gid, group)) = group {
            chown(path, None, Some(*gid)).map_err(|error| ControlError::Group {
                path: path.to_owned(),
                group: group.clone(),
                error: error.into(),
            })?;
        }
        listen(&fd, Backlog::new(BACKLOG).map_err(|e| failed(e.into()))?).map_err(|e| failed(e.into()))
    };
    if let Err(error) = ready() {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok((UnixListener::from(fd), made))
}

/// Beside the socket; it names its holder.
fn take_lock(path: &Path) -> Result<LockFile, ControlError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    LockFile::take(Path::new(&name)).map_err(|error| match error {
        LockError::Held { pid } => ControlError::Taken { path: path.to_owned(), pid },
        LockError::Failed(error) => ControlError::Failed { path: path.to_owned(), error },
        error => ControlError::Lock { path: path.to_owned(), error },
    })
}
