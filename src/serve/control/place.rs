//! The socket's file: who owns it, who may use it, what is left of a gateway that was killed.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::unistd::{Group, chown};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(
        "the control socket {} is in use by {}: stop that gateway, or give this one another `control.socket`",
        path.display(),
        match pid { Some(pid) => format!("process {pid}"), None => "another process".to_owned() }
    )]
    Taken { path: PathBuf, pid: Option<u32> },
    #[error(
        "the control socket {} can't be made, there is something else: remove it, or set another `control.socket`",
        path.display()
    )]
    NotASocket { path: PathBuf },
    #[error("there is no group of users \"{group}\" on this machine: make it, or correct `control.group`")]
    NoGroup { group: String },
    #[error(
        "the control socket {} can't be given to the group \"{group}\" ({error}): the gateway's user must be in it",
        path.display()
    )]
    Group { path: PathBuf, group: String, error: io::Error },
    #[error(
        "the control socket {} can't be made ({error}): set `control.socket` to a path that the gateway's user can \
         write and that is no longer than {} bytes, or to \"off\"",
        path.display(),
        crate::limits::CONTROL_PATH_BYTES_MAX
    )]
    Failed { path: PathBuf, error: io::Error },
}

/// The file, ours as long as this lives. The kernel lets go of the lock when the process ends in any way.
pub(super) struct Place {
    path: PathBuf,
    _lock: File,
}

impl Place {
    /// Makes the socket and listens. What a gateway that was killed has left is replaced; one that lives keeps its own.
    pub(super) fn take(path: &Path, group: Option<&str>) -> Result<(Place, UnixListener), ControlError> {
        let failed = |error: io::Error| ControlError::Failed { path: path.to_owned(), error };
        let gid = match group {
            None => None,
            Some(name) => match Group::from_name(name) {
                Ok(Some(group)) => Some((group.gid, name)),
                Ok(None) => return Err(ControlError::NoGroup { group: name.to_owned() }),
                Err(error) => return Err(failed(error.into())),
            },
        };
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(failed)?;
        }
        let lock = take_lock(path)?;
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
        let place = Place { path: path.to_owned(), _lock: lock };
        // Nobody can connect before it listens, so its rights are right from the first moment.
        let mode = if gid.is_some() { 0o660 } else { 0o600 };
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
        if let Some((gid, group)) = gid {
            chown(path, None, Some(gid)).map_err(|error| ControlError::Group {
                path: path.to_owned(),
                group: group.to_owned(),
                error: error.into(),
            })?;
        }
        listen(&fd, Backlog::new(BACKLOG).map_err(|e| failed(e.into()))?).map_err(|e| failed(e.into()))?;
        Ok((place, UnixListener::from(fd)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Beside the socket; it names its holder.
fn take_lock(path: &Path) -> Result<File, ControlError> {
    let failed = |error| ControlError::Failed { path: path.to_owned(), error };
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(ControlError::Taken { path: path.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // The id only serves the other's message: a full disk must not stop us here.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}
