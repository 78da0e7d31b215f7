//! What the journal's writer and its readers share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::block::{BootId, Dictionary};
use super::cursors::Cursors;
use super::database::Database;
use super::stats::JournalStats;

/// How often a reader in another process looks for something new.
const POLL: Duration = Duration::from_millis(20);
/// Boots whose names are kept decoded: outputs that catch up and outputs that follow.
const NAMES_KEPT: usize = 4;

/// The ends of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// Index of the oldest block; `next` when there is none.
    pub oldest: u64,
    /// Index that the next block will have.
    pub next: u64,
}

pub struct Shared {
    pub database: Database,
    pub stats: Arc<JournalStats>,
    /// `None` in a process that only reads: there the database is asked.
    ends: Option<Mutex<Ends>>,
    changed: Condvar,
    cursors: Mutex<Cursors>,
    names: Mutex<Vec<(BootId, Arc<Dictionary>)>>,
}

impl Shared {
    pub fn new(database: Database, ends: Option<Ends>) -> Shared {
        Shared {
            database,
            stats: Arc::default(),
            ends: ends.map(Mutex::new),
            changed: Condvar::new(),
            cursors: Mutex::default(),
            names: Mutex::default(),
        }
    }

    pub fn cursors(&self) -> MutexGuard<'_, Cursors> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ends as the writer last published them; `None` in a process that only reads.
    pub fn ends(&self) -> Option<Ends> {
        self.ends.as_ref().map(|ends| *ends.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells readers of a commit.
    pub fn publish(&self, ends: Ends) {
        if let Some(shared) = &self.ends {
            *shared.lock().unwrap_or_else(PoisonError::into_inner) = ends;
            self.changed.notify_all();
        }
    }

    /// Waits until `next` exceeds `index`, so that the block `index` is or was there; false when time is up.
    pub fn wait_beyond(&self, index: u64, timeout: Duration, next: impl Fn() -> u64) -> bool {
        if let Some(ends) = &self.ends {
            let guard = ends.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout_while(guard, timeout, |ends| ends.next <= index);
            return waited.unwrap_or_else(PoisonError::into_inner).0.next > index;
        }
        let end = Instant::now() + timeout;
        loop {
            if next() > index {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::sleep(left.min(POLL));
        }
    }

    pub fn known_names(&self, boot: BootId) -> Option<Arc<Dictionary>> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().find(|(of, _)| *of == boot).map(|(_, names)| names.clone())
    }

    pub fn keep_names(&self, boot: BootId, dictionary: Arc<Dictionary>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|(of, _)| *of != boot);
        if names.len() == NAMES_KEPT {
            names.remove(0);
        }
        names.push((boot, dictionary));
    }
}
