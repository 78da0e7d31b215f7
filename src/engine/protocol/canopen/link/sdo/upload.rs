//! Reading an object: expedited and segmented (CiA 301, 7.2.4.3.5 to 7.2.4.3.7), in blocks (7.2.4.3.13 to 7.2.4.3.15).

use super::crc::crc16;
use super::{BLOCK_SEGMENTS_MAX, Client, Frame, SEGMENT_BYTES, STALLED_BLOCKS_MAX, State, Taken, long_of, object_of};
use crate::tag::{AbortCode, Nanos};

/// A block on its way to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// The last segment of this block that came in its order.
    good: u8,
    /// It was the last of the value.
    complete: bool,
    size: Option<u32>,
    with_crc: bool,
    /// Of all bytes before the newest segment, which may end in padding.
    crc: u16,
    crc_len: usize,
    /// Blocks that brought nothing, in a row.
    stalled: u8,
}

impl Client {
    pub(super) fn upload_answered(&mut self, block: bool, frame: &Frame, now: Nanos) -> Taken {
        if object_of(frame) != self.object {
            return Taken::Foreign;
        }
        let command = frame[0];
        match command >> 5 {
            // Also in answer to a block upload: a server may change over for what is short.
            2 if command & 2 != 0 => {
                let unused = if command & 1 != 0 { usize::from(command >> 2 & 3) } else { 0 };
                let length = 4 - unused;
                match (self.buffer.get_mut(..length), frame.get(4..4 + length)) {
                    (Some(room), Some(value)) => room.copy_from_slice(value),
                    _ => return self.broken(AbortCode::OUT_OF_MEMORY),
                }
                self.len = length;
                self.unsized_value = command & 1 == 0;
                self.done()
            }
            2 => {
                let size = (command & 1 != 0).then(|| long_of(frame));
                if !self.has_room(size) {
                    return self.broken(AbortCode::OUT_OF_MEMORY);
                }
                self.go_on(State::UploadSegment { toggle: false, size }, now, segment_request(false))
            }
            6 if block && command & 1 == 0 => {
                let size = (command & 2 != 0).then(|| long_of(frame));
                if !self.has_room(size) {
                    return self.broken(AbortCode::OUT_OF_MEMORY);
                }
                let with_crc = command & 4 != 0;
                let block = Block { good: 0, complete: false, size, with_crc, crc: 0, crc_len: 0, stalled: 0 };
                self.go_on(State::UploadBlock(block), now, [0xA3, 0, 0, 0, 0, 0, 0, 0])
            }
            // Of an earlier write to the same object, most likely.
            _ => self.unexpected(frame),
        }
    }

    fn has_room(&self, size: Option<u32>) -> bool {
        size.is_none_or(|size| size as usize <= self.buffer.len())
    }

    /// Puts a segment behind what is there. False: there is no room.
    fn append(&mut self, bytes: &[u8]) -> bool {
        let end = self.len + bytes.len();
        let Some(room) = self.buffer.get_mut(self.len..end) else { return false };
        room.copy_from_slice(bytes);
        self.len = end;
        true
    }

    pub(super) fn segment_uploaded(&mut self, toggle: bool, size: Option<u32>, frame: &Frame, now: Nanos) -> Taken {
        let command = frame[0];
        if command >> 5 != 0 {
            return self.unexpected(frame);
        }
        if (command & 0x10 != 0) != toggle {
            return self.broken(AbortCode::TOGGLE);
        }
        let length = SEGMENT_BYTES - usize::from(command >> 1 & 7);
        let last = command & 1 != 0;
        // An empty segment that is not the last could go on for ever.
        if length == 0 && !last {
            return self.broken(AbortCode::LENGTH);
        }
        if !self.append(frame.get(1..1 + length).unwrap_or_default()) {
            return self.broken(AbortCode::OUT_OF_MEMORY);
        }
        if !last {
            return self.go_on(State::UploadSegment { toggle: !toggle, size }, now, segment_request(!toggle));
        }
        if size.is_some_and(|size| size as usize != self.len) {
            return self.broken(AbortCode::LENGTH);
        }
        self.done()
    }

    pub(super) fn block_segment(&mut self, mut block: Block, frame: &Frame, now: Nanos) -> Taken {
        let (number, last) = (frame[0] & 0x7F, frame[0] & 0x80 != 0);
        if number == 0 {
            return self.broken(AbortCode::SEQUENCE_NUMBER);
        }
        self.deadline = now + self.timeout;
        if number == block.good + 1 {
            // The newest but one is whole: only the last segment of all ends in padding.
            block.crc = crc16(block.crc, self.buffer.get(block.crc_len..self.len).unwrap_or_default());
            block.crc_len = self.len;
            // The padding of the last segment may stick out of the room.
            let left = self.buffer.len() - self.len;
            let length = if last { SEGMENT_BYTES.min(left) } else { SEGMENT_BYTES };
            if !self.append(frame.get(1..1 + length).unwrap_or_default()) {
                return self.broken(AbortCode::OUT_OF_MEMORY);
            }
            block.good = number;
            block.complete = last;
            block.stalled = 0;
        }
        // One that is out of order is left out; what is missing is asked for when the block is over.
        if last || number == BLOCK_SEGMENTS_MAX {
            return self.confirm_block(block, now);
        }
        self.state = State::UploadBlock(block);
        Taken::Progress
    }

    /// Tells the node how far the block came; it goes on behind that.
    fn confirm_block(&mut self, mut block: Block, now: Nanos) -> Taken {
        let confirm = [0xA2, block.good, BLOCK_SEGMENTS_MAX, 0, 0, 0, 0, 0];
        if block.complete {
            return self.go_on(State::UploadBlockEnd(block), now, confirm);
        }
        if block.good == 0 {
            block.stalled += 1;
            if block.stalled >= STALLED_BLOCKS_MAX {
                return self.broken(AbortCode::SEQUENCE_NUMBER);
            }
        }
        block.good = 0;
        self.go_on(State::UploadBlock(block), now, confirm)
    }

    /// The end of a block may be lost, and nobody would ask for it. True: it was asked for.
    pub(super) fn nudge(&mut self) -> bool {
        let State::UploadBlock(block) = self.state else { return false };
        // Without a checksum, a segment that is still on its way could be taken for one of the next block.
        if block.stalled > 0 || !block.with_crc || self.out.is_some() {
            return false;
        }
        let confirm = [0xA2, block.good, BLOCK_SEGMENTS_MAX, 0, 0, 0, 0, 0];
        self.state = State::UploadBlock(Block { good: 0, stalled: 1, ..block });
        self.out = Some(confirm);
        true
    }

    pub(super) fn block_uploaded(&mut self, block: Block, frame: &Frame) -> Taken {
        let command = frame[0];
        if command >> 5 != 6 || command & 3 != 1 {
            return self.unexpected(frame);
        }
        let unused = usize::from(command >> 2 & 7);
        // The last segment began where the checksum has come to; it may have been cut at the end of the room.
        let Some(end) = (block.crc_len + SEGMENT_BYTES).checked_sub(unused).filter(|end| *end <= self.len) else {
            return self.broken(AbortCode::OUT_OF_MEMORY);
        };
        self.len = end;
        if block.size.is_some_and(|size| size as usize != self.len) {
            return self.broken(AbortCode::LENGTH);
        }
        let crc = crc16(block.crc, self.buffer.get(block.crc_len..self.len).unwrap_or_default());
        if block.with_crc && crc != u16::from_le_bytes([frame[1], frame[2]]) {
            return self.broken(AbortCode::CRC);
        }
        self.out = Some([0xA1, 0, 0, 0, 0, 0, 0, 0]);
        self.done()
    }
}

fn segment_request(toggle: bool) -> Frame {
    [0x60 | u8::from(toggle) << 4, 0, 0, 0, 0, 0, 0, 0]
}
