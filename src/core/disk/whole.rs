//! Files that are written whole, whatever they are.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, poll};

/// Links that lead to links, at most (as the kernel has it).
const LINKS_MAX: usize = 40;
/// So long a pipe's reader is waited for.
const READER_PATIENCE_MS: u16 = 5_000;

/// Puts `bytes` where `path` leads, following links: over a file in one step, so that a reader sees the old one or the whole
/// new one; where there is none yet, likewise. What is no file, as a pipe, a terminal or a device, is written to.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = followed(path)?;
    match fs::metadata(&path) {
        Ok(there) if there.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => write_to(&path, bytes),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => replace(&path, bytes),
    }
}

/// Where a path leads, though there may be nothing.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::symlink_metadata(&path) {
            Ok(there) if there.is_symlink() => {
                let target = fs::read_link(&path)?;
                path = path.parent().unwrap_or(Path::new("")).join(target);
            }
            _ => return Ok(path),
        }
    }
    Err(ErrorKind::TooManyLinks.into())
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(name) = path.file_name() else { return Err(ErrorKind::InvalidFilename.into()) };
    let mut name = name.to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let made = || OpenOptions::new().write(true).create_new(true).open(&temporary);
    let written = made().and_then(|mut file: File| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if written.as_ref().is_err_and(|error| error.kind() != ErrorKind::AlreadyExists) {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A pipe that nobody reads is an error, and not waited for; a reader that stops for long is, too.
fn write_to(path: &Path, mut bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut fds, READER_PATIENCE_MS)? == 0 {
                    return Err(io::Error::new(ErrorKind::TimedOut, "its reader does not read"));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, symlink};

    #[test]
    fn a_file_is_replaced_and_a_link_to_it_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let [file, link, new, dangling] = ["file", "link", "new", "dangling"].map(|name| dir.path().join(name));
        fs::write(&file, "old").unwrap();
        symlink("file", &link).unwrap();
        symlink("new", &dangling).unwrap();
        for path in [&link, &dangling] {
            write_whole(path, b"whole").unwrap();
            assert!(fs::symlink_metadata(path).unwrap().is_symlink());
        }
        assert_eq!([&file, &new].map(|path| fs::read_to_string(path).unwrap()), ["whole"; 2]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "nothing is left over");
    }

    #[test]
    fn what_is_no_file_is_written_to_and_stays_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(write_whole(&pipe, b"nobody reads").is_err());
        // More than a pipe holds.
        let bytes = vec![b'x'; 1 << 20];
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || {
                let mut read = Vec::new();
                File::open(pipe).unwrap().read_to_end(&mut read).unwrap();
                read
            })
        };
        while write_whole(&pipe, &bytes).is_err_and(|error| error.raw_os_error() == Some(libc::ENXIO)) {
            std::thread::yield_now();
        }
        assert_eq!(reader.join().unwrap(), bytes);
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        write_whole(Path::new("/dev/null"), b"gone").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        assert_eq!(write_whole(Path::new("/dev/full"), b"x").unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(write_whole(dir.path(), b"x").unwrap_err().kind(), ErrorKind::IsADirectory);
        assert!(write_whole(Path::new("/nowhere/at/all"), b"x").is_err());
    }

    #[test]
    fn a_circle_of_links_has_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        symlink(&two, &one).unwrap();
        symlink(&one, &two).unwrap();
        assert!(write_whole(&one, b"x").is_err());
    }
}
