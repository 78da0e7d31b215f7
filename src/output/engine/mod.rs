//! The common part of outputs: follows the journal from a durable cursor on, collects samples into messages of
//! bounded size and age, and moves the cursor only over what the other side has taken. Pauses after failures, lag, losses,
//! counts, state and a clean stop in bounded time are here, too.
//!
//! | file | subject |
//! |---|---|
//! | `form` | what a kind of output says about its messages |
//! | `gather` | from blocks to messages |
//! | `choice` | which tags are sent |
//! | `streams` | what came before in each stream of messages |
//! | `marks` | what the cursor has passed, lost and left out, each sample once |
//! | `flight` | messages between sending and acknowledgement, where several may be under way |
//! | `backoff` | pauses between attempts |
//! | here | the thread's frame: cursor, failures, figures, the way out |

mod backoff;
mod choice;
pub mod flight;
mod form;
pub mod gather;
mod marks;
mod race;
mod streams;

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::{OutputError, OutputHandle, OutputState, OutputStats};
use crate::config::TagChoice;
use crate::limits::{
    JOURNAL_READ_RETRY_PAUSE, OUTPUT_FAILURES_TOLD, OUTPUT_POLL, OUTPUT_SETTLED, OUTPUT_STOP_SEND, OUTPUT_STOP_WAIT,
};
use crate::store::{Follow, Position};

pub use backoff::Backoff;
pub use form::{Form, Head, Key, UNKNOWN_LINK};
pub use gather::{Gather, GatherSettings, Gathered};
#[cfg(test)]
pub use marks::Skipped;
pub use race::{First, first_of};
#[cfg(test)]
pub use streams::Before;

/// What an output of any kind is started with.
pub struct Feed {
    /// The output's name, and its cursor's.
    pub name: String,
    /// The gateway's name, for samples whose names say none.
    pub gateway: String,
    pub choice: TagChoice,
    pub source: Box<dyn Follow>,
    pub stats: Arc<OutputStats>,
    /// The output ends when it is set.
    pub stop: Arc<AtomicBool>,
}

/// How a connection ended, when it did not fail.
pub enum Ended {
    /// On the order to stop.
    Stopped,
    /// To begin another one at once.
    Again,
}

/// When the next attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// After a pause that grows from failure to failure.
    Growing,
    After(Duration),
}

/// Why a connection failed.
pub trait Failed: Display {
    fn again(&self) -> Again {
        Again::Growing
    }
}

/// The other side of one output.
#[allow(async_fn_in_trait, reason = "ours alone, and each output runs on one thread")]
pub trait Client<F: Form> {
    type Failure: Failed;

    /// From the first attempt to connect to the connection's end. Whatever it had under way is forgotten then, or kept to be
    /// sent again: the cursor has not passed it.
    async fn connection(&mut self, engine: &mut Engine<F>) -> Result<Ended, Self::Failure>;
}

/// One output's place in the journal, and what its thread does besides talking to the other side.
pub struct Engine<F: Form> {
    pub name: String,
    pub gather: Gather<F>,
    pub stats: Arc<OutputStats>,
    source: Box<dyn Follow>,
    stop: Arc<AtomicBool>,
    /// `None` until something was taken for the first time ever.
    cursor: Option<Position>,
    saved: Option<Position>,
    backoff: Backoff,
    /// The failures that stand in the log, so that each is told once.
    told: VecDeque<String>,
    read_again: Option<Instant>,
    /// Since when the output is on its way out.
    leaving: Option<Instant>,
}

impl<F: Form> Engine<F> {
    pub fn new(form: F, mut settings: GatherSettings, feed: Feed) -> Engine<F> {
        let Feed { name, gateway, choice, source, stats, stop } = feed;
        (settings.gateway, settings.choice) = (gateway, choice);
        Engine {
            name,
            gather: Gather::new(form, settings),
            stats,
            source,
            stop,
            cursor: None,
            saved: None,
            backoff: Backoff::new(fastrand::Rng::new()),
            told: VecDeque::new(),
            read_again: None,
            leaving: None,
        }
    }

    /// Runs until `stop` is set.
    pub async fn run(&mut self, client: &mut impl Client<F>) {
        let mut cursor_known = false;
        while !self.is_stopping() {
            self.stats.set_state(OutputState::Connecting);
            if !cursor_known {
                match self.source.cursor(&self.name) {
                    Ok(cursor) => {
                        (self.cursor, self.saved, cursor_known) = (cursor, cursor, true);
                        self.gather.look_back(&*self.source, cursor);
                        self.stats.set_cursor(cursor.unwrap_or_default());
                    }
                    Err(error) => {
                        self.failed(format!("the journal's cursor cannot be read: {error}"));
                        self.pause(Again::Growing).await;
                        continue;
                    }
                }
            }
            match client.connection(self).await {
                Ok(Ended::Stopped) => break,
                Ok(Ended::Again) => self.save_cursor(),
                Err(failure) => {
                    self.stats.in_flight.store(0, Relaxed);
                    self.save_cursor();
                    self.failed(failure.to_string());
                    self.pause(failure.again()).await;
                }
            }
        }
        self.stats.in_flight.store(0, Relaxed);
        self.save_cursor();
        self.update_lag();
        self.stats.set_state(OutputState::Stopped);
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// The place from which on nothing was taken yet; `None`: nothing ever was.
    pub fn cursor(&self) -> Option<Position> {
        self.cursor
    }

    /// Counts a failure, and tells it when it is another than the last ones.
    pub fn failed(&mut self, text: String) {
        self.stats.failures.fetch_add(1, Relaxed);
        self.stats.set_last_error(&text);
        if !self.told.contains(&text) {
            tracing::warn!(output = %self.name, "output {}: {text}", self.name);
            if self.told.len() >= OUTPUT_FAILURES_TOLD {
                self.told.pop_front();
            }
            self.told.push_back(text);
        }
    }

    async fn pause(&mut self, again: Again) {
        self.stats.set_state(OutputState::Offline);
        let pause = match again {
            Again::Growing => self.backoff.next_pause(),
            Again::After(pause) => pause,
        };
        let until = Instant::now() + pause;
        while !self.is_stopping() && Instant::now() < until {
            self.update_lag();
            tokio::time::sleep_until(until.min(Instant::now() + OUTPUT_POLL)).await;
        }
    }

    /// The connection is a good one: what fails next is told, and tried again soon.
    pub fn is_well(&mut self) {
        self.backoff.reset();
        self.told.clear();
    }

    pub fn update_lag(&self) {
        // One that cannot be read is told by the next read; the lag stays what was seen last.
        if let Ok(next) = self.source.next_index() {
            self.stats.lag_blocks.store(next.saturating_sub(self.cursor.unwrap_or_default().block), Relaxed);
        }
    }

    fn save_cursor(&mut self) {
        if let Some(cursor) = self.cursor
            && self.cursor != self.saved
        {
            self.source.save_cursor(&self.name, cursor);
            self.saved = self.cursor;
        }
    }

    /// The next message to send. `None`: nothing now; a journal that cannot be read is told, and read again after a pause.
    pub fn next_message(&mut self) -> Option<Gathered<F::Message>> {
        let now = Instant::now();
        if !self.may_send(now) || self.read_again.is_some_and(|at| now < at) {
            return None;
        }
        match self.gather.next(&*self.source, now.into_std()) {
            Ok(message) => message,
            Err(error) => {
                self.read_again = Some(now + JOURNAL_READ_RETRY_PAUSE);
                self.failed(format!("the journal cannot be read: {error}"));
                None
            }
        }
    }

    /// The other side has taken `messages`, and everything before `covers` with them but for `refused` samples.
    pub fn taken(&mut self, messages: u64, covers: Position, refused: u64) {
        self.stats.messages_acknowledged.fetch_add(messages, Relaxed);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let utc_ns = i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX);
        self.stats.last_acknowledged_utc_ns.store(utc_ns, Relaxed);
        self.stats.samples_refused.fetch_add(refused, Relaxed);
        self.move_cursor(covers, refused);
    }

    fn move_cursor(&mut self, to: Position, refused: u64) {
        if self.cursor.unwrap_or_default() < to {
            self.cursor = Some(to);
            self.stats.set_cursor(to);
            let passed = self.gather.passed(to);
            self.stats.samples_left_out.fetch_add(passed.left_out, Relaxed);
            self.stats
                .samples_acknowledged
                .fetch_add((passed.samples - passed.left_out).saturating_sub(refused), Relaxed);
        }
    }

    /// Every [`OUTPUT_POLL`]: new blocks, figures, the order to stop. `is_empty`: nothing is under way.
    pub fn tick(&mut self, connected: Instant, is_empty: bool) {
        let now = Instant::now();
        // Behind the last message there may be samples that the output leaves out.
        if is_empty && let Some(covered) = self.gather.covered() {
            self.move_cursor(covered, 0);
        }
        self.save_cursor();
        self.update_lag();
        let skipped = self.gather.take_skipped();
        if skipped.blocks > 0 || skipped.samples > 0 {
            self.stats.blocks_skipped.fetch_add(skipped.blocks, Relaxed);
            self.stats.samples_skipped.fetch_add(skipped.samples, Relaxed);
            tracing::warn!(
                output = %self.name,
                "output {}: {} blocks ({} samples) were lost before delivery: they are no longer in the journal, or \
                 damaged",
                self.name, skipped.blocks, skipped.samples
            );
        }
        if now > connected + OUTPUT_SETTLED {
            self.backoff.reset();
        }
        if self.read_again.is_some_and(|at| now >= at) {
            self.read_again = None;
        }
        self.gather.wake();
        if self.is_stopping() && self.leaving.is_none() {
            self.gather.flush();
            self.leaving = Some(now);
        }
    }

    fn may_send(&self, now: Instant) -> bool {
        self.leaving.is_none_or(|since| now < since + OUTPUT_STOP_SEND)
    }

    /// On the way out: whether all that is left was sent and taken, or the time for it is over. `is_empty`: nothing is under
    /// way.
    pub fn is_done(&self, is_empty: bool) -> bool {
        let now = Instant::now();
        self.leaving.is_some_and(|since| {
            let sent = self.gather.is_exhausted() || now >= since + OUTPUT_STOP_SEND;
            sent && is_empty || now >= since + OUTPUT_STOP_WAIT
        })
    }
}

/// Starts the thread of an output.
pub fn start<F: Form + Send + 'static>(
    thread_name: String,
    mut engine: Engine<F>,
    mut client: impl Client<F> + Send + 'static,
) -> Result<OutputHandle, OutputError>
where
    F::Names: Send,
    F::Draft: Send,
    F::Message: Send,
{
    let name = engine.name.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(OutputError::Thread)?;
    let thread = std::thread::Builder::new()
        .name(thread_name)
        .spawn(move || {
            runtime.block_on(engine.run(&mut client));
            // A name that is still being resolved must not hold up the stop.
            runtime.shutdown_background();
        })
        .map_err(OutputError::Thread)?;
    Ok(OutputHandle { name, thread })
}

const _: () = assert!(OUTPUT_POLL.as_millis() > 0);
