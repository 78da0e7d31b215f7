//! The journal's thread: gathers batches, commits them as a group, and holds on to them when it cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::error::JournalError;
use super::journal::Journal;
use super::stats::JournalStats;
use crate::limits::{JOURNAL_CLOSE_RETRY_MAX, JOURNAL_RETRY_PAUSE};
use crate::tag::Batch;
use crate::tag::Nanos;

/// The longest the heartbeat stands still while the thread lives and no call to the disk hangs.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// Pause after batches came: those that follow are taken together, not with a wake-up each.
const GATHER_PAUSE: Duration = Duration::from_millis(10);

/// A shorter one would only keep the thread spinning.
const COMMIT_PERIOD_MIN: Duration = Duration::from_millis(1);

/// The running thread.
pub struct WriterHandle {
    thread: JoinHandle<WriterEnd>,
    stats: Arc<JournalStats>,
    closing: Arc<AtomicBool>,
}

/// What the thread leaves behind.
pub struct WriterEnd {
    /// To save the outputs' last cursors: `journal.append(&[])`.
    pub journal: Journal,
    /// Samples that could not be stored; counted in [`JournalStats::samples_unsaved`].
    pub samples_unsaved: u64,
    /// Why not.
    pub error: Option<JournalError>,
}

/// Starts the thread. It ends when the channel's senders are gone and everything from it is committed. While
/// the disk is full or fails, it keeps at most one commit's samples and leaves the others in the
/// channel.
///
/// # Errors
/// The system gives no thread.
pub fn spawn_writer(journal: Journal, batches: Receiver<Arc<Batch>>) -> std::io::Result<WriterHandle> {
    let stats = journal.stats();
    let closing = Arc::new(AtomicBool::new(false));
    let mut writer = Writer {
        stats: stats.clone(),
        closing: closing.clone(),
        journal,
        batches,
        pending: Vec::new(),
        samples: 0,
        disconnected: false,
        closing_since: None,
        told: None,
    };
    let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || {
        let error = writer.run();
        let unsaved = if error.is_some() { writer.count_unsaved() } else { 0 };
        WriterEnd { journal: writer.journal, samples_unsaved: unsaved, error }
    })?;
    Ok(WriterHandle { thread, stats, closing })
}

impl WriterHandle {
    /// Rises as long as the thread makes progress.
    pub fn heartbeat(&self) -> u64 {
        self.stats.heartbeat.load(Relaxed)
    }

    pub fn stats(&self) -> Arc<JournalStats> {
        self.stats.clone()
    }

    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Says that the end has come: on a disk without room the thread gives up after
    /// [`JOURNAL_CLOSE_RETRY_MAX`] and takes what its channel still gets as unsaved. To be called before anyone
    /// waits for a sender of that channel, which may be held up by a full one.
    pub fn close(&self) {
        self.closing.store(true, Relaxed);
    }

    /// Closes and waits for the last commit; the channel's senders must be gone or go.
    ///
    /// # Errors
    /// The thread's panic.
    pub fn join(self) -> std::thread::Result<WriterEnd> {
        self.close();
        self.thread.join()
    }
}

struct Writer {
    stats: Arc<JournalStats>,
    closing: Arc<AtomicBool>,
    journal: Journal,
    batches: Receiver<Arc<Batch>>,
    /// Received and not yet durable.
    pending: Vec<Arc<Batch>>,
    samples: usize,
    disconnected: bool,
    closing_since: Option<Instant>,
    /// The error that was last logged and is not over.
    told: Option<String>,
}

impl Writer {
    /// Returns why it gave up, if it did.
    fn run(&mut self) -> Option<JournalError> {
        let period = Duration::from_nanos(self.journal.commit_period().0).max(COMMIT_PERIOD_MIN);
        let mut due = Instant::now() + period;
        loop {
            self.gather(due);
            due = (due + period).max(Instant::now());
            let quiet = self.pending.is_empty() && !self.journal.has_cursors_to_save();
            if quiet && self.disconnected {
                return None;
            }
            let outcome = if quiet { self.journal.tend() } else { self.journal.append(&self.pending).map(|_| ()) };
            match outcome {
                Ok(()) => {
                    self.pending.clear();
                    self.samples = 0;
                    self.closing_since = None;
                    self.beat();
                    if self.told.take().is_some() {
                        tracing::info!("the journal stores samples again");
                    }
                }
                Err(error) => {
                    // Once, not with every attempt.
                    let text = error.to_string();
                    if self.told.as_ref() != Some(&text) {
                        tracing::error!("{text}");
                        self.told = Some(text);
                    }
                    if self.has_tried_enough() {
                        return Some(error);
                    }
                    self.pause(JOURNAL_RETRY_PAUSE);
                }
            }
        }
    }

    /// Receives until `due`, or until there is enough for a commit.
    fn gather(&mut self, due: Instant) {
        while self.samples < self.journal.commit_slots_max() && !self.disconnected {
            self.beat();
            let wait = due.saturating_duration_since(Instant::now());
            match self.batches.recv_timeout(wait.min(HEARTBEAT)) {
                Ok(batch) => {
                    self.hold(batch);
                    self.take_waiting();
                    if !self.disconnected && self.samples < self.journal.commit_slots_max() {
                        std::thread::sleep(wait.min(GATHER_PAUSE));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => self.disconnected = true,
                Err(RecvTimeoutError::Timeout) if Instant::now() >= due => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Takes what waits in the channel already.
    fn take_waiting(&mut self) {
        while self.samples < self.journal.commit_slots_max() {
            match self.batches.try_recv() {
                Ok(batch) => self.hold(batch),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.disconnected = true;
                    return;
                }
            }
        }
    }

    fn hold(&mut self, batch: Arc<Batch>) {
        self.samples += batch.slots.len();
        self.pending.push(batch);
    }

    fn has_tried_enough(&mut self) -> bool {
        if !self.disconnected && !self.closing.load(Relaxed) {
            return false;
        }
        let since = *self.closing_since.get_or_insert_with(Instant::now);
        since.elapsed() >= Duration::from_nanos(JOURNAL_CLOSE_RETRY_MAX.0)
    }

    fn pause(&self, pause: Nanos) {
        let end = Instant::now() + Duration::from_nanos(pause.0);
        loop {
            self.beat();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(HEARTBEAT));
        }
    }

    /// What is given up: pending, and all that comes until the senders are gone.
    fn count_unsaved(&mut self) -> u64 {
        let mut unsaved = 0;
        for batch in self.pending.drain(..).chain(self.batches.iter()) {
            unsaved += u64::from(batch.samples);
            self.stats.heartbeat.fetch_add(1, Relaxed);
        }
        self.stats.samples_unsaved.fetch_add(unsaved, Relaxed);
        unsaved
    }

    fn beat(&self) {
        self.stats.heartbeat.fetch_add(1, Relaxed);
    }
}
