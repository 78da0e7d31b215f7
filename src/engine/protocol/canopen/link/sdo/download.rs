//! Writing an object: expedited and segmented (CiA 301, 7.2.4.3.3 and 7.2.4.3.4), in blocks (7.2.4.3.9 to 7.2.4.3.11).

use super::crc::crc16;
use super::{BLOCK_SEGMENTS_MAX, Client, Frame, SEGMENT_BYTES, STALLED_BLOCKS_MAX, State, Taken, object_of};
use crate::tag::{AbortCode, Nanos, Object};

/// A block on its way to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// Of the value: where the block begins.
    start: usize,
    /// Segments of the block that the node takes, and that were sent.
    segments: u8,
    sent: u8,
    with_crc: bool,
    stalled: u8,
}

impl Block {
    fn at(&self) -> usize {
        self.start + usize::from(self.sent) * SEGMENT_BYTES
    }

    pub fn has_segment(&self, len: usize) -> bool {
        self.sent < self.segments && self.at() < len
    }
}

impl Client {
    pub(super) fn begin_download(&mut self, object: Object, length: usize, block: bool, now: Nanos, timeout: Nanos) {
        self.len = length;
        let block = block && length > 4;
        let state = if block { State::DownloadBlockAsked } else { State::DownloadAsked };
        self.begin(object, state, now, timeout, length);
        let [low, high] = object.index.to_le_bytes();
        let [a, b, c, d] = (length as u32).to_le_bytes();
        self.out = Some(match length {
            1..=4 => {
                let mut frame = [0x23 | ((4 - length) as u8) << 2, low, high, object.sub, 0, 0, 0, 0];
                for (to, from) in frame.iter_mut().skip(4).zip(self.value()) {
                    *to = *from;
                }
                frame
            }
            // With the size, and with a checksum where the node can.
            _ if block => [0xC6, low, high, object.sub, a, b, c, d],
            _ => [0x21, low, high, object.sub, a, b, c, d],
        });
    }

    pub(super) fn download_answered(&mut self, frame: &Frame, now: Nanos) -> Taken {
        if object_of(frame) != self.object {
            return Taken::Foreign;
        }
        if frame[0] >> 5 != 3 {
            // Of an earlier read of the same object, most likely.
            return self.unexpected(frame);
        }
        if self.len <= 4 {
            return self.done();
        }
        self.send_segment(false, 0, now)
    }

    fn send_segment(&mut self, toggle: bool, at: usize, now: Nanos) -> Taken {
        let rest = self.buffer.get(at..self.len).unwrap_or_default();
        let length = rest.len().min(SEGMENT_BYTES);
        let last = rest.len() <= SEGMENT_BYTES;
        let unused = (SEGMENT_BYTES - length) as u8;
        let mut frame = [u8::from(toggle) << 4 | unused << 1 | u8::from(last), 0, 0, 0, 0, 0, 0, 0];
        for (to, from) in frame.iter_mut().skip(1).zip(rest) {
            *to = *from;
        }
        self.go_on(State::DownloadSegment { toggle, sent: at + length }, now, frame)
    }

    pub(super) fn segment_downloaded(&mut self, toggle: bool, sent: usize, frame: &Frame, now: Nanos) -> Taken {
        if frame[0] >> 5 != 1 {
            return self.unexpected(frame);
        }
        if (frame[0] & 0x10 != 0) != toggle {
            return self.broken(AbortCode::TOGGLE);
        }
        if sent >= self.len {
            return self.done();
        }
        self.send_segment(!toggle, sent, now)
    }

    pub(super) fn block_download_answered(&mut self, frame: &Frame, now: Nanos) -> Taken {
        if object_of(frame) != self.object {
            return Taken::Foreign;
        }
        if frame[0] >> 5 != 5 || frame[0] & 3 != 0 {
            return self.unexpected(frame);
        }
        let segments = frame[4];
        if !(1..=BLOCK_SEGMENTS_MAX).contains(&segments) {
            return self.broken(AbortCode::BLOCK_SIZE);
        }
        let with_crc = frame[0] & 4 != 0;
        self.state = State::DownloadBlock(Block { start: 0, segments, sent: 0, with_crc, stalled: 0 });
        self.deadline = now + self.timeout;
        Taken::Progress
    }

    /// The next segment of a block that goes out without being asked for.
    pub(super) fn next_of_block(&mut self) -> Option<Frame> {
        let State::DownloadBlock(mut block) = self.state else { return None };
        if !block.has_segment(self.len) {
            return None;
        }
        let rest = self.buffer.get(block.at()..self.len).unwrap_or_default();
        let last = rest.len() <= SEGMENT_BYTES;
        block.sent += 1;
        let mut frame = [u8::from(last) << 7 | block.sent, 0, 0, 0, 0, 0, 0, 0];
        for (to, from) in frame.iter_mut().skip(1).zip(rest) {
            *to = *from;
        }
        self.state = State::DownloadBlock(block);
        Some(frame)
    }

    pub(super) fn block_acknowledged(&mut self, block: Block, frame: &Frame, now: Nanos) -> Taken {
        if frame[0] >> 5 != 5 || frame[0] & 3 != 2 {
            return self.unexpected(frame);
        }
        let (good, segments) = (frame[1], frame[2]);
        if good > block.sent {
            return self.broken(AbortCode::SEQUENCE_NUMBER);
        }
        let start = block.start + usize::from(good) * SEGMENT_BYTES;
        if start >= self.len {
            let unused = (start - self.len) as u8;
            let crc = if block.with_crc { crc16(0, self.value()) } else { 0 };
            let [low, high] = crc.to_le_bytes();
            return self.go_on(State::DownloadBlockEnd, now, [0xC1 | unused << 2, low, high, 0, 0, 0, 0, 0]);
        }
        if !(1..=BLOCK_SEGMENTS_MAX).contains(&segments) {
            return self.broken(AbortCode::BLOCK_SIZE);
        }
        let stalled = if good == 0 { block.stalled + 1 } else { 0 };
        if stalled >= STALLED_BLOCKS_MAX {
            return self.broken(AbortCode::SEQUENCE_NUMBER);
        }
        self.state = State::DownloadBlock(Block { start, segments, sent: 0, stalled, ..block });
        self.deadline = now + self.timeout;
        Taken::Progress
    }

    pub(super) fn block_downloaded(&mut self, frame: &Frame) -> Taken {
        if frame[0] >> 5 != 5 || frame[0] & 3 != 1 {
            return self.unexpected(frame);
        }
        self.done()
    }
}
