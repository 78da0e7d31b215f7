//! Room on the disk, set aside ahead of the file's end.
//!
//! LMDB copies pages before it changes them, so even removing a block needs new pages. On a full disk that
//! would be the end: nothing could be removed to make room. So the file always owns some blocks of the disk
//! beyond its end, and new samples are refused before they touch the last of them.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};

use super::error::is_disk_full;
use crate::limits::{COMMIT_SAMPLES_MAX, JOURNAL_RESERVE_BYTES_MAX};
use crate::tag::Sample;

/// Commits of incompressible samples that fill a journal, at least.
const COMMITS_MIN: u64 = 32;

/// How full the journal's file is, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    /// The end of its last page.
    pub end: u64,
    /// In use.
    pub used: u64,
}

#[derive(Debug)]
pub struct Space {
    file: File,
    reserve: u64,
    bytes_max: u64,
    /// The disk holds blocks for the file up to here.
    owned: u64,
    /// Some file systems cannot set room aside; then a full disk shows only when it is met.
    supported: bool,
}

impl Space {
    /// Of the file `data`, for a journal of `bytes_max`.
    pub fn new(data: &Path, bytes_max: u64) -> io::Result<Space> {
        let file = OpenOptions::new().read(true).write(true).open(data)?;
        Ok(Space { file, reserve: reserve_bytes(bytes_max), bytes_max, owned: 0, supported: true })
    }

    /// Makes sure that `need` bytes can be written, and removals after them.
    ///
    /// # Errors
    /// The disk is full.
    pub fn admit(&mut self, fill: Fill, need: u64) -> io::Result<()> {
        let to = (fill.end + need + self.reserve).min(self.bytes_max).max(fill.end + need);
        let Err(full) = self.own(fill.end, to) else { return Ok(()) };
        let room = self.owned.saturating_sub(fill.end);
        let free = fill.end.saturating_sub(fill.used);
        // Free pages inside the file serve as well, but not all fit or are free for use yet; what they cannot
        // take eats into the reserve.
        let fits =
            room >= need + self.reserve / 2 || (free >= 2 * need && room >= self.reserve / 4) || free >= 16 * need;
        if fits { Ok(()) } else { Err(full) }
    }

    fn own(&mut self, from: u64, to: u64) -> io::Result<()> {
        if !self.supported || to <= self.owned {
            return Ok(());
        }
        let from = from.max(self.owned);
        // In steps, so that it is not asked for at each commit; within the bound, unless the file itself is beyond.
        let ahead = (to + self.reserve).min(self.bytes_max).max(to);
        let step = self.allocate(from, ahead).map(|()| ahead);
        match step.or_else(|_| self.allocate(from, to).map(|()| to)) {
            Ok(owned) => self.owned = owned,
            Err(error) if is_disk_full(&error) => return Err(error),
            Err(error) if is_unsupported(&error) => self.supported = false,
            // Whatever it is, it will show when something is written.
            Err(_) => {}
        }
        Ok(())
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        let length = |bytes: u64| libc::off_t::try_from(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG));
        let flags = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        Ok(fallocate(&self.file, flags, length(from)?, length(to - from)?)?)
    }

    /// Makes the file as long as LMDB believes it to be: a map of less would kill the process that reads there.
    pub fn lengthen(&self, end: u64) -> io::Result<()> {
        if self.file.metadata()?.len() < end { self.file.set_len(end) } else { Ok(()) }
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS))
}

/// What is set aside for removals.
pub fn reserve_bytes(bytes_max: u64) -> u64 {
    (bytes_max / 16).min(JOURNAL_RESERVE_BYTES_MAX)
}

/// Bytes that pages in use may take, so that the file with its reserve, its steps, and the pages that are
/// freed and not yet free for use stays within `bytes_max`.
pub fn used_bytes_max(bytes_max: u64) -> u64 {
    bytes_max - 2 * reserve_bytes(bytes_max) - bytes_max / 8
}

/// Samples (and payload slots) of one commit, so that the pages of a few commits, dirty or freed and not yet
/// free for use, stay a small part of `bytes_max`.
pub fn commit_slots_max(bytes_max: u64) -> usize {
    let few = bytes_max / (COMMITS_MIN * size_of::<Sample>() as u64);
    (few as usize).min(COMMIT_SAMPLES_MAX)
}
