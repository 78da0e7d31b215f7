//! What the journal's writer and its readers share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cursors::Cursors;
use super::database::Database;
use super::names::NamesId;
use super::stats::JournalStats;
use crate::limits::NAMES_KEPT;
use crate::tag::Dictionary;

/// How often a reader in another process looks for something new.
const POLL: Duration = Duration::from_millis(20);

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
    /// Decoded ones; those that were asked for last stand last.
    names: Mutex<Vec<(NamesId, Arc<Dictionary>)>>,
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

    /// After the file was changed for another one, whose names have other ids.
    pub fn forget_names(&self) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Names, if they are among those that readers used last.
    pub fn known_names(&self, id: NamesId) -> Option<Arc<Dictionary>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let at = names.iter().position(|(of, _)| *of == id)?;
        names[at..].rotate_left(1);
        names.last().map(|(_, names)| names.clone())
    }

    /// Keeps names at hand; returns those that are kept already when another reader was faster.
    pub fn keep_names(&self, id: NamesId, dictionary: Dictionary) -> Arc<Dictionary> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, kept)) = names.iter().find(|(of, _)| *of == id) {
            return kept.clone();
        }
        if names.len() == NAMES_KEPT {
            names.remove(0);
        }
        let dictionary = Arc::new(dictionary);
        names.push((id, dictionary.clone()));
        dictionary
    }
}
