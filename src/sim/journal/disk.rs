//! A disk that takes nothing more: another file stands behind the descriptors through which LMDB writes, so that the
//! kernel itself refuses its writes, and only those of this journal.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use fastrand::Rng;

use super::super::script::JournalTrouble;

/// How much further a file may grow at most whose writes fall short.
const GROWS_MAX: u64 = 12 << 10;

/// As long as it lives.
pub struct BentDisk {
    /// Descriptor, and what stood behind it.
    saved: Vec<(RawFd, OwnedFd)>,
    /// Device and inode of what stands there now.
    stands: (u64, u64),
    /// What is written meanwhile and would be on the disk.
    taken: Option<File>,
}

impl BentDisk {
    /// # Errors
    /// The system refuses it.
    pub fn new(data: &Path, trouble: JournalTrouble, rng: &mut Rng) -> io::Result<BentDisk> {
        let taken = (trouble == JournalTrouble::Short).then(|| sealed_copy(data, rng)).transpose()?;
        let stands = match (&taken, trouble) {
            (Some(copy), _) => copy.try_clone()?,
            (None, JournalTrouble::Full) => OpenOptions::new().write(true).open("/dev/full")?,
            (None, _) => File::open(data)?,
        };
        let found = stands.metadata()?;
        let mut disk = BentDisk { saved: Vec::new(), stands: (found.dev(), found.ino()), taken };
        for fd in written_through(data)? {
            // SAFETY: both are open descriptors of this process; the first is LMDB's or the journal's own, and the one
            // thread that uses them is here.
            let saved = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
            if saved < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: `saved` is new, and nobody else knows of it.
            disk.saved.push((fd, unsafe { OwnedFd::from_raw_fd(saved) }));
            // SAFETY: as above.
            if unsafe { libc::dup3(stands.as_raw_fd(), fd, libc::O_CLOEXEC) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(disk)
    }

    /// What was written comes to the disk as far as it was taken, and all is as before.
    ///
    /// # Errors
    /// The system refuses it.
    pub fn mend(self) -> io::Result<()> {
        for (fd, saved) in &self.saved {
            // Otherwise it was closed meanwhile, and its number may be another file's.
            if identity(*fd) != Some(self.stands) {
                continue;
            }
            // SAFETY: as in `new`.
            if unsafe { libc::dup3(saved.as_raw_fd(), *fd, libc::O_CLOEXEC) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        if let (Some(taken), Some((_, saved))) = (&self.taken, self.saved.first()) {
            let mut bytes = vec![0; taken.metadata()?.len() as usize];
            taken.read_exact_at(&mut bytes, 0)?;
            let file = File::from(saved.try_clone()?);
            let len = file.metadata()?.len();
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1).max(len as usize));
            file.write_all_at(&bytes, 0)?;
        }
        Ok(())
    }
}

/// A copy that takes only a little more than the file has.
fn sealed_copy(data: &Path, rng: &mut Rng) -> io::Result<File> {
    let bytes = fs::read(data)?;
    // SAFETY: the name is a string that ends with a zero.
    let fd = unsafe { libc::memfd_create(c"journal".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else knows of it.
    let copy = unsafe { File::from_raw_fd(fd) };
    copy.write_all_at(&bytes, 0)?;
    copy.set_len(bytes.len() as u64 + rng.u64(..GROWS_MAX))?;
    // SAFETY: a plain call on an open descriptor.
    if unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_GROW) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(copy)
}

/// The descriptors of this process through which `data` can be written.
fn written_through(data: &Path) -> io::Result<Vec<RawFd>> {
    let found = fs::metadata(data)?;
    let wanted = Some((found.dev(), found.ino()));
    let all = fs::read_dir("/proc/self/fd")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(all.filter(|fd: &RawFd| identity(*fd) == wanted && is_written(*fd)).collect())
}

fn identity(fd: RawFd) -> Option<(u64, u64)> {
    // SAFETY: all zeroes are a value of this type, and it lives through the call.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: as above; a descriptor that is not open is an error.
    (unsafe { libc::fstat(fd, &mut stat) } == 0).then_some((stat.st_dev, stat.st_ino))
}

fn is_written(fd: RawFd) -> bool {
    // SAFETY: a plain question; a descriptor that is not open is an error.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    flags >= 0 && flags & libc::O_ACCMODE != libc::O_RDONLY
}
