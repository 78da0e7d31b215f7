//! Statistics of the journal. Written by the journal's thread, read by any thread.
//!
//! All orderings are relaxed: each number is a total of its own, and no other memory is read through it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::JournalError;
use crate::limits::JOURNAL_LOSS_SHOWN;

/// How the journal fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum JournalState {
    Ok = 0,
    /// No room: samples wait, and will be dropped at the rings when those are full.
    Full = 1,
    /// Commits fail for another reason; they are retried.
    Failing = 2,
}

impl JournalState {
    pub fn name(self) -> &'static str {
        match self {
            JournalState::Ok => "ok",
            JournalState::Full => "full",
            JournalState::Failing => "failing",
        }
    }
}

/// Upper bounds of the buckets in which commits are counted: from a fast disk's sync to one that hangs. What takes longer
/// falls into one bucket more.
pub const COMMIT_BOUNDS: [Duration; 14] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// How long commits with full sync took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitTimes {
    /// Nanoseconds.
    pub sum: u64,
    /// How many took as long as each of [`COMMIT_BOUNDS`] at most, and longer than the one before; the last: longer than
    /// all.
    pub buckets: [u64; COMMIT_BOUNDS.len() + 1],
}

/// Totals since the journal was opened, and its present size.
#[derive(Debug, Default)]
pub struct JournalStats {
    /// Samples made durable.
    pub samples_stored: AtomicU64,
    /// Blocks made durable.
    pub blocks_stored: AtomicU64,
    /// Bytes of these blocks before they are rounded up to pages.
    pub bytes_encoded: AtomicU64,
    pub commits: AtomicU64,
    pub commits_failed: AtomicU64,
    pub commit_ns_last: AtomicU64,
    pub commit_ns_max: AtomicU64,
    pub commit_ns_sum: AtomicU64,
    commit_buckets: [AtomicU64; COMMIT_BOUNDS.len() + 1],
    /// Pages in use: what counts against the bound.
    pub bytes_used: AtomicU64,
    /// Length of the file.
    pub bytes_file: AtomicU64,
    /// Blocks that are there now.
    pub blocks_live: AtomicU64,
    /// Samples that were removed by the byte bound before every cursor had passed them.
    pub samples_dropped: AtomicU64,
    /// Samples that were stored, and lost with the file before every output had them (without outputs: all in it), as of
    /// its last commit: the file was removed, renamed, replaced, or found damaged while it was written.
    pub samples_lost: AtomicU64,
    /// Damaged files that were set aside.
    pub set_aside: AtomicU64,
    /// Samples that could not be stored when the journal was closed.
    pub samples_unsaved: AtomicU64,
    /// Samples longer than any type allows; a fault in the gateway.
    pub samples_refused: AtomicU64,
    /// Blocks that were skipped by readers because their checksum or their names do not match.
    pub blocks_corrupt: AtomicU64,
    /// UTC of the oldest sample, nanoseconds since the Unix epoch; 0 when there is none.
    pub oldest_utc_ns: AtomicI64,
    /// Rises as long as the journal's thread lives, also while it waits for a disk with room.
    pub heartbeat: AtomicU64,
    state: AtomicU8,
    /// Never taken by a real-time thread.
    error: Mutex<Option<String>>,
    loss: Mutex<Option<Loss>>,
}

/// The last file that was lost.
#[derive(Debug, Clone)]
pub(super) struct Loss {
    pub text: String,
    /// Where a damaged one was set aside.
    pub aside: Option<PathBuf>,
    pub since: Instant,
}

impl JournalStats {
    pub fn state(&self) -> JournalState {
        match self.state.load(Relaxed) {
            0 => JournalState::Ok,
            1 => JournalState::Full,
            _ => JournalState::Failing,
        }
    }

    /// Why it is not [`JournalState::Ok`].
    pub fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a person must still see of a file that was lost: for [`JOURNAL_LOSS_SHOWN`], or until what was set aside is
    /// gone from there.
    pub fn loss(&self) -> Option<String> {
        let mut loss = self.loss.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |loss: &Loss| match &loss.aside {
            Some(aside) => !aside.exists(),
            None => loss.since.elapsed() > JOURNAL_LOSS_SHOWN,
        };
        if loss.as_ref().is_some_and(is_over) {
            *loss = None;
        }
        loss.as_ref().map(|loss| loss.text.clone())
    }

    pub(super) fn lose(&self, loss: Loss) {
        *self.loss.lock().unwrap_or_else(PoisonError::into_inner) = Some(loss);
    }

    pub(super) fn fail(&self, error: &JournalError) {
        let state = if error.is_full() { JournalState::Full } else { JournalState::Failing };
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        self.state.store(state as u8, Relaxed);
        self.commits_failed.fetch_add(1, Relaxed);
    }

    /// The journal can be written again.
    pub(super) fn recover(&self) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.state.store(JournalState::Ok as u8, Relaxed);
    }

    pub fn commit_times(&self) -> CommitTimes {
        CommitTimes {
            sum: self.commit_ns_sum.load(Relaxed),
            buckets: std::array::from_fn(|at| self.commit_buckets[at].load(Relaxed)),
        }
    }

    pub(super) fn succeed(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Relaxed);
        self.commit_ns_last.store(ns, Relaxed);
        self.commit_ns_max.fetch_max(ns, Relaxed);
        self.commit_ns_sum.fetch_add(ns, Relaxed);
        self.commit_buckets[COMMIT_BOUNDS.partition_point(|bound| *bound < took)].fetch_add(1, Relaxed);
        if self.state() != JournalState::Ok {
            self.recover();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_commit_is_counted_in_the_bucket_of_its_length() {
        let stats = JournalStats::default();
        for us in [499, 500, 501, 3_000, 10_000_000, 10_000_001] {
            stats.succeed(Duration::from_micros(us));
        }
        let times = stats.commit_times();
        assert_eq!(times.buckets, [2, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((times.sum, times.buckets.iter().sum::<u64>()), (20_004_501_000, stats.commits.load(Relaxed)));
    }
}
