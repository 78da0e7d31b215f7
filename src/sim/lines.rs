//! The log of a run: the real lines in the real queue, and a reader who stalls. Nobody waits for a line, and those that had
//! no room are counted and told in their place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::script::{Series, Span};
use crate::logs::Line;
use crate::logs::queue::{Entry, Queue};

/// A handful of lines, so that a stall shows.
const QUEUE_BYTES_MAX: usize = 1 << 10;

/// See the module.
pub struct Lines {
    queue: Arc<Queue>,
    said: Arc<AtomicU64>,
    stalls: Series<Span>,
    stalled_until: u64,
    read: u64,
    told_lost: u64,
    /// What this thread says goes here while the run lasts.
    _guard: DefaultGuard,
}

/// Counts what is said.
struct Counted {
    queue: Arc<Queue>,
    said: Arc<AtomicU64>,
}

impl<'a> MakeWriter<'a> for Counted {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        self.said.fetch_add(1, Relaxed);
        Line(&self.queue)
    }
}

impl Lines {
    pub fn new(stalls: Series<Span>) -> Lines {
        let (queue, said) = (Arc::new(Queue::new(QUEUE_BYTES_MAX)), Arc::new(AtomicU64::new(0)));
        let counted = Counted { queue: queue.clone(), said: said.clone() };
        let logs = crate::logs::format(counted, Level::INFO).without_time().finish();
        let _guard = tracing::subscriber::set_default(logs);
        Lines { queue, said, stalls, stalled_until: 0, read: 0, told_lost: 0, _guard }
    }

    /// Reads what is there, unless it stalls.
    pub fn step(&mut self, now: u64) {
        while let Some(stall) = self.stalls.due(now) {
            self.stalled_until = stall.until_ns;
        }
        if now >= self.stalled_until {
            self.read_all();
        }
    }

    fn read_all(&mut self) {
        while let Some(entry) = self.queue.try_next() {
            match entry {
                Entry::Line(_) => self.read += 1,
                Entry::Lost(lines) => self.told_lost += lines,
            }
        }
    }

    /// How many lines there were, and how many of them were lost.
    ///
    /// # Errors
    /// What was neither read nor told to be lost.
    pub fn finish(&mut self) -> Result<(u64, u64), String> {
        self.read_all();
        let (said, lost) = (self.said.load(Relaxed), self.queue.lost());
        if self.read + lost != said || self.told_lost != lost {
            let (read, told) = (self.read, self.told_lost);
            return Err(format!(
                "{said} lines were logged, {read} read, {lost} counted as lost, {told} reported as \
                lost"
            ));
        }
        Ok((said, lost))
    }
}
