//! Statistics of an output: written by its thread, read by metrics and health.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::Position;

/// Where an output stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OutputState {
    /// Before the first answer of the other side, or on a new attempt.
    Connecting = 0,
    /// Connected; samples flow.
    Online = 1,
    /// Waiting for the next attempt.
    Offline = 2,
    /// Ended.
    Stopped = 3,
}

impl OutputState {
    pub fn name(self) -> &'static str {
        match self {
            OutputState::Connecting => "connecting",
            OutputState::Online => "online",
            OutputState::Offline => "offline",
            OutputState::Stopped => "stopped",
        }
    }
}

/// Counts since the start of the process, and where the output is now.
///
/// All orderings are relaxed: each figure stands alone, and no other memory is read through it.
#[derive(Debug, Default)]
pub struct OutputStats {
    /// Samples that the cursor has passed: acknowledged, and none before them open. Each counts once, however
    /// often it was sent.
    pub samples_acknowledged: AtomicU64,
    /// Samples that the cursor has passed and that the output does not send: tags that its configuration leaves out.
    pub samples_left_out: AtomicU64,
    /// Samples that the other side does not take, whatever is done (one bad line among good ones). The cursor
    /// has passed them.
    pub samples_refused: AtomicU64,
    /// Values that the protocol has no form for (NaN in line protocol, say): the status of these samples is told alone.
    pub values_untold: AtomicU64,
    /// Data messages acknowledged (QoS 0: handed to the socket), repeats included.
    pub messages_acknowledged: AtomicU64,
    /// Data messages handed to the client, repeats included.
    pub messages_published: AtomicU64,
    /// Payload bytes of those.
    pub bytes_published: AtomicU64,
    /// Messages published and not yet acknowledged.
    pub in_flight: AtomicU64,
    /// Which of its servers the output uses, counted from 0: the first is the one that is preferred.
    pub server: AtomicU64,
    /// Connections that the other side accepted.
    pub connects: AtomicU64,
    /// Attempts and connections that failed, and failed reads of the journal.
    pub failures: AtomicU64,
    /// Blocks from the cursor to the journal's end.
    pub lag_blocks: AtomicU64,
    /// Blocks that the journal dropped (its byte bound) before they were acknowledged.
    pub blocks_skipped: AtomicU64,
    /// Samples in them as far as sequence numbers tell: those between two blocks of one boot and executor,
    /// what was dropped at the ring in the same span included. Blocks dropped before the process started
    /// are in `blocks_skipped` only.
    pub samples_skipped: AtomicU64,
    /// When the last acknowledgement came: UTC, nanoseconds since the Unix epoch; 0 before the first.
    pub last_acknowledged_utc_ns: AtomicI64,
    state: AtomicU8,
    cursor: Mutex<Position>,
    last_error: Mutex<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both values are replaced whole, so a panic elsewhere leaves them sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OutputStats {
    pub fn state(&self) -> OutputState {
        match self.state.load(Relaxed) {
            1 => OutputState::Online,
            2 => OutputState::Offline,
            3 => OutputState::Stopped,
            _ => OutputState::Connecting,
        }
    }

    pub(super) fn set_state(&self, state: OutputState) {
        self.state.store(state as u8, Relaxed);
    }

    /// Everything before it is acknowledged.
    pub fn cursor(&self) -> Position {
        *lock(&self.cursor)
    }

    pub(super) fn set_cursor(&self, position: Position) {
        *lock(&self.cursor) = position;
    }

    /// The last failure, for people; empty before the first. It stays when the connection is back: ask
    /// [`OutputStats::state`] whether it still holds.
    pub fn last_error(&self) -> String {
        lock(&self.last_error).clone()
    }

    pub(super) fn set_last_error(&self, text: &str) {
        let mut last = lock(&self.last_error);
        last.clear();
        last.push_str(text);
    }
}
