//! SDO client (CiA 301, section 7.2.4.3): one transfer at a time with one node's default server. Expedited, segmented
//! and block transfers, both ways; frames and time in, frames out.
//!
//! Answers after the first one of a transfer do not name their object. That one of them cannot be taken for the answer to
//! a later transfer rests on the server: it serves one transfer at a time and answers in the order in which it was
//! asked, so that what is late comes before the answer to the next first request, which names its object.
//!
//! | file | subject |
//! |---|---|
//! | `upload`, `download` | what each answer means in each state |
//! | `crc` | the checksum of block transfers |

mod crc;
mod download;
#[cfg(test)]
mod tests;
mod upload;

pub use crate::tag::AbortCode;

use crate::tag::{Nanos, Object};

/// The bytes of one SDO message: always eight.
pub type Frame = [u8; 8];

/// Segments of a block at most (section 7.2.4.3.12).
const BLOCK_SEGMENTS_MAX: u8 = 127;
/// Bytes that one segment carries.
const SEGMENT_BYTES: usize = 7;
/// Blocks in a row that may bring nothing new before a transfer is given up.
const STALLED_BLOCKS_MAX: u8 = 3;
/// The whole transfer gets the time of one answer for itself and one more for so many segments.
const SEGMENTS_PER_TIMEOUT: usize = 8;

/// How a transfer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// For an upload, [`Client::value`] is the value.
    Done,
    /// The node refused or gave up.
    Aborted(AbortCode),
    /// The node's answer was against the protocol, or longer than the room for it; the node was told so.
    Broken(AbortCode),
    TimedOut,
}

/// What a frame came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The transfer goes on.
    Progress,
    /// Nothing that is waited for: an answer to what was given up, most likely.
    Foreign,
    Ended(Outcome),
}

/// Where the one transfer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    UploadAsked { block: bool },
    UploadSegment { toggle: bool, size: Option<u32> },
    UploadBlock(upload::Block),
    UploadBlockEnd(upload::Block),
    DownloadAsked,
    DownloadSegment { toggle: bool, sent: usize },
    DownloadBlockAsked,
    DownloadBlock(download::Block),
    DownloadBlockEnd,
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    state: State,
    object: Object,
    buffer: Box<[u8]>,
    /// Bytes of `buffer` that are the value.
    len: usize,
    /// The node did not say how many of an upload's four bytes count.
    unsized_value: bool,
    /// The frame to be sent next.
    out: Option<Frame>,
    timeout: Nanos,
    /// When the next answer is overdue, and when the whole transfer is.
    deadline: Nanos,
    last: Nanos,
    /// After a timeout its answer may still come, and would look like that of the next transfer: none before this.
    resting_until: Nanos,
}

impl Client {
    /// Room for values of `bytes_max` at most, longer ones being refused.
    pub fn new(bytes_max: usize) -> Client {
        Client {
            state: State::Idle,
            object: Object { index: 0, sub: 0 },
            buffer: vec![0; bytes_max.max(4)].into_boxed_slice(),
            len: 0,
            unsized_value: false,
            out: None,
            timeout: Nanos::ZERO,
            deadline: Nanos::NEVER,
            last: Nanos::NEVER,
            resting_until: Nanos::ZERO,
        }
    }

    /// The memory that transfers touch.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether a transfer may begin.
    pub fn is_free(&self, now: Nanos) -> bool {
        self.is_idle() && now >= self.resting_until && self.out.is_none()
    }

    /// When [`Client::is_free`] turns true by itself.
    pub fn resting_until(&self) -> Nanos {
        self.resting_until
    }

    /// What the last upload brought.
    pub fn value(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// Whether the node left open how many of the four bytes of [`Client::value`] count.
    pub fn is_unsized(&self) -> bool {
        self.unsized_value
    }

    pub fn object(&self) -> Object {
        self.object
    }

    /// Begins to read an object. `timeout`: what the node may take for one answer.
    pub fn upload(&mut self, object: Object, block: bool, now: Nanos, timeout: Nanos) {
        self.begin(object, State::UploadAsked { block }, now, timeout, self.buffer.len());
        self.len = 0;
        self.unsized_value = false;
        let [low, high] = object.index.to_le_bytes();
        self.out = Some(match block {
            // With checksum; never changed over to segments.
            true => [0xA4, low, high, object.sub, BLOCK_SEGMENTS_MAX, 0, 0, 0],
            false => [0x40, low, high, object.sub, 0, 0, 0, 0],
        });
    }

    /// Begins to write an object. False, and nothing begins: the value is empty or longer than the room.
    pub fn download(&mut self, object: Object, value: &[u8], block: bool, now: Nanos, timeout: Nanos) -> bool {
        let Some(room) = self.buffer.get_mut(..value.len()).filter(|room| !room.is_empty()) else { return false };
        room.copy_from_slice(value);
        self.begin_download(object, value.len(), block, now, timeout);
        true
    }

    fn begin(&mut self, object: Object, state: State, now: Nanos, timeout: Nanos, bytes: usize) {
        self.object = object;
        self.state = state;
        self.timeout = timeout;
        self.deadline = now + timeout;
        let answers = 2 + bytes.div_ceil(SEGMENT_BYTES * SEGMENTS_PER_TIMEOUT) as u64;
        self.last = now + Nanos(timeout.0.saturating_mul(answers));
    }

    /// The frame that is to be sent now. In a block there are several before the node answers.
    pub fn next_frame(&mut self, now: Nanos) -> Option<Frame> {
        if let Some(frame) = self.out.take() {
            return Some(frame);
        }
        let frame = self.next_of_block()?;
        self.deadline = now + self.timeout;
        Some(frame)
    }

    /// Whether [`Client::next_frame`] has one.
    pub fn has_frame(&self) -> bool {
        self.out.is_some() || matches!(&self.state, State::DownloadBlock(block) if block.has_segment(self.len))
    }

    /// When [`Client::expire`] has something to do.
    pub fn deadline(&self) -> Nanos {
        if self.is_idle() { Nanos::NEVER } else { self.deadline.min(self.last) }
    }

    /// An answer did not come. `None`: it is asked for once more, or is not due yet.
    pub fn expire(&mut self, now: Nanos) -> Option<Outcome> {
        if now < self.deadline() {
            return None;
        }
        if now < self.last && self.nudge() {
            self.deadline = now + self.timeout;
            return None;
        }
        self.resting_until = now + self.timeout;
        self.give_up(AbortCode::TIMED_OUT);
        Some(Outcome::TimedOut)
    }

    /// Ends the transfer, if there is one: the node is told.
    pub fn cancel(&mut self) {
        if !self.is_idle() {
            self.give_up(AbortCode::GENERAL);
        }
    }

    /// Begins nothing before `until`: answers to another client of the same node may still come.
    pub fn rest(&mut self, until: Nanos) {
        self.resting_until = until;
    }

    /// Ends the transfer before the time of its answer is over: that still counts until the next may begin.
    pub fn abandon(&mut self, now: Nanos) {
        if !self.is_idle() {
            self.resting_until = self.deadline.max(now);
            self.give_up(AbortCode::TIMED_OUT);
        }
    }

    /// Forgets everything: the node has started anew, or the bus is gone.
    pub fn reset(&mut self) {
        self.state = State::Idle;
        self.out = None;
        self.len = 0;
        self.resting_until = Nanos::ZERO;
    }

    fn give_up(&mut self, code: AbortCode) {
        let [low, high] = self.object.index.to_le_bytes();
        let [a, b, c, d] = code.0.to_le_bytes();
        self.out = Some([0x80, low, high, self.object.sub, a, b, c, d]);
        self.state = State::Idle;
    }

    fn broken(&mut self, code: AbortCode) -> Taken {
        self.give_up(code);
        Taken::Ended(Outcome::Broken(code))
    }

    fn go_on(&mut self, state: State, now: Nanos, frame: Frame) -> Taken {
        self.state = state;
        self.deadline = now + self.timeout;
        self.out = Some(frame);
        Taken::Progress
    }

    fn done(&mut self) -> Taken {
        self.state = State::Idle;
        Taken::Ended(Outcome::Done)
    }

    /// A message of the node's server.
    pub fn take(&mut self, frame: &Frame, now: Nanos) -> Taken {
        if self.is_idle() {
            // What was overdue has come: nothing is left that could be mistaken for an answer to the next.
            self.resting_until = self.resting_until.min(now);
            return Taken::Foreign;
        }
        if frame[0] == 0x80 {
            return self.take_abort(frame);
        }
        match self.state {
            State::Idle => Taken::Foreign,
            State::UploadAsked { block } => self.upload_answered(block, frame, now),
            State::UploadSegment { toggle, size } => self.segment_uploaded(toggle, size, frame, now),
            State::UploadBlock(block) => self.block_segment(block, frame, now),
            State::UploadBlockEnd(block) => self.block_uploaded(block, frame),
            State::DownloadAsked => self.download_answered(frame, now),
            State::DownloadSegment { toggle, sent } => self.segment_downloaded(toggle, sent, frame, now),
            State::DownloadBlockAsked => self.block_download_answered(frame, now),
            State::DownloadBlock(block) => self.block_acknowledged(block, frame, now),
            State::DownloadBlockEnd => self.block_downloaded(frame),
        }
    }

    fn take_abort(&mut self, frame: &Frame) -> Taken {
        if object_of(frame) != self.object {
            return Taken::Foreign;
        }
        self.state = State::Idle;
        self.out = None;
        Taken::Ended(Outcome::Aborted(AbortCode(u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]]))))
    }

    /// A late answer to the first request of an earlier transfer, of the same object or of another: what such answers
    /// look like is no sign of a node that breaks the protocol.
    fn unexpected(&mut self, frame: &Frame) -> Taken {
        match frame[0] >> 5 {
            // Initiate upload, initiate download; block upload (with or without its size) and download when they begin.
            2 | 3 => Taken::Foreign,
            5 if frame[0] & 3 == 0 => Taken::Foreign,
            6 if frame[0] & 1 == 0 => Taken::Foreign,
            _ => self.broken(AbortCode::UNKNOWN_COMMAND),
        }
    }
}

fn object_of(frame: &Frame) -> Object {
    Object { index: u16::from_le_bytes([frame[1], frame[2]]), sub: frame[3] }
}

fn long_of(frame: &Frame) -> u32 {
    u32::from_le_bytes([frame[4], frame[5], frame[6], frame[7]])
}
