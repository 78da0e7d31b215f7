//! The server's side of SDO: expedited, segmented and block transfer in both directions (CiA 301 V4.2, 7.2.4.3).

use super::objects::{BYTES_MAX, Objects, abort};

/// Segments in a block that the server takes.
const BLOCK_SEGMENTS: u8 = 64;
const SEGMENT_BYTES: usize = 7;

/// One message; both directions have 8 bytes.
pub(super) type Message = [u8; 8];

/// What a transfer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Place {
    index: u16,
    sub: u8,
}

impl Place {
    fn of(message: &Message) -> Place {
        Place { index: u16::from_le_bytes([message[1], message[2]]), sub: message[3] }
    }

    fn message(self, command: u8, rest: u32) -> Message {
        let [low, high] = self.index.to_le_bytes();
        let [a, b, c, d] = rest.to_le_bytes();
        [command, low, high, self.sub, a, b, c, d]
    }
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Upload {
        data: Vec<u8>,
        at: usize,
        toggle: u8,
    },
    Download {
        size: Option<usize>,
        data: Vec<u8>,
        toggle: u8,
    },
    /// `at`: the first byte of the block that is under way.
    BlockUpload {
        data: Vec<u8>,
        at: usize,
        segments: u8,
        with_crc: bool,
        phase: Phase,
    },
    /// `last`: the last segment that came in its turn.
    BlockDownload {
        size: Option<usize>,
        data: Vec<u8>,
        last: u8,
        with_crc: bool,
        is_whole: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Initiated,
    Sending,
    Ending,
}

/// A server with one transfer at a time.
#[derive(Debug, Default)]
pub(super) struct SdoServer {
    place: Place,
    state: State,
}

impl SdoServer {
    /// Takes a request; puts its answers, several for a block, behind `out`.
    pub(super) fn take(&mut self, request: &Message, objects: &mut Objects, tick: u64, out: &mut Vec<Message>) {
        let result = match std::mem::take(&mut self.state) {
            // Every number of a segment is one; an abort has none.
            State::BlockDownload { size, data, last, with_crc, is_whole: false } if request[0] & 0x7F != 0 => {
                self.block_segment(request, (size, data, last, with_crc), out);
                Ok(())
            }
            state => self.command(request, state, objects, tick, out),
        };
        if let Err(code) = result {
            self.state = State::Idle;
            out.push(self.place.message(0x80, code));
        }
    }

    /// What the server says when it gives up by itself.
    pub(super) fn refuse(request: &Message, code: u32) -> Message {
        Place::of(request).message(0x80, code)
    }

    fn command(
        &mut self,
        request: &Message,
        state: State,
        objects: &mut Objects,
        tick: u64,
        out: &mut Vec<Message>,
    ) -> Result<(), u32> {
        match (request[0] >> 5, state) {
            (4, _) => Ok(()),
            (2, _) => {
                self.place = Place::of(request);
                let data = objects.read(self.place.index, self.place.sub, tick)?;
                self.upload(data, out);
                Ok(())
            }
            (1, _) => {
                self.place = Place::of(request);
                self.download(request, objects, out)
            }
            (3, State::Upload { data, at, toggle }) => {
                if request[0] & 0x10 != toggle {
                    return Err(abort::TOGGLE);
                }
                let rest = &data[at..];
                let bytes = rest.len().min(SEGMENT_BYTES);
                let is_last = u8::from(bytes == rest.len());
                let mut answer = [0; 8];
                answer[0] = toggle | ((SEGMENT_BYTES - bytes) as u8) << 1 | is_last;
                answer[1..=bytes].copy_from_slice(&rest[..bytes]);
                out.push(answer);
                if is_last == 0 {
                    self.state = State::Upload { data, at: at + bytes, toggle: toggle ^ 0x10 };
                }
                Ok(())
            }
            (0, State::Download { size, mut data, toggle }) => {
                if request[0] & 0x10 != toggle {
                    return Err(abort::TOGGLE);
                }
                let bytes = SEGMENT_BYTES - usize::from(request[0] >> 1 & 7);
                data.extend_from_slice(&request[1..=bytes]);
                if data.len() > BYTES_MAX {
                    return Err(abort::MEMORY);
                }
                if request[0] & 1 == 1 {
                    self.store(&data, size, objects)?;
                } else {
                    self.state = State::Download { size, data, toggle: toggle ^ 0x10 };
                }
                out.push([0x20 | toggle, 0, 0, 0, 0, 0, 0, 0]);
                Ok(())
            }
            (5, state) => self.block_upload(request, state, objects, tick, out),
            (6, state) => self.block_download(request, state, objects, out),
            _ => Err(abort::COMMAND),
        }
    }

    fn store(&self, data: &[u8], size: Option<usize>, objects: &mut Objects) -> Result<(), u32> {
        if size.is_some_and(|size| size != data.len()) {
            return Err(abort::LENGTH);
        }
        objects.write(self.place.index, self.place.sub, data)
    }

    fn upload(&mut self, data: Vec<u8>, out: &mut Vec<Message>) {
        if (1..=4).contains(&data.len()) {
            let word = data.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
            out.push(self.place.message(0x43 | ((4 - data.len()) as u8) << 2, word));
        } else {
            out.push(self.place.message(0x41, data.len() as u32));
            self.state = State::Upload { data, at: 0, toggle: 0 };
        }
    }

    fn download(&mut self, request: &Message, objects: &mut Objects, out: &mut Vec<Message>) -> Result<(), u32> {
        let (is_expedited, has_size) = (request[0] & 2 != 0, request[0] & 1 != 0);
        if is_expedited {
            let bytes = if has_size { 4 - usize::from(request[0] >> 2 & 3) } else { 4 };
            self.store(&request[4..4 + bytes], None, objects)?;
        } else {
            // What can't be written is refused before its data is sent.
            objects.may_write(self.place.index, self.place.sub)?;
            let size = has_size.then(|| size_in(request));
            if size.is_some_and(|size| size > BYTES_MAX) {
                return Err(abort::MEMORY);
            }
            self.state = State::Download { size, data: Vec::new(), toggle: 0 };
        }
        out.push(self.place.message(0x60, 0));
        Ok(())
    }

    fn block_upload(
        &mut self,
        request: &Message,
        state: State,
        objects: &mut Objects,
        tick: u64,
        out: &mut Vec<Message>,
    ) -> Result<(), u32> {
        match (request[0] & 3, state) {
            (0, _) => {
                self.place = Place::of(request);
                let data = objects.read(self.place.index, self.place.sub, tick)?;
                let segments = checked_segments(request[4])?;
                out.push(self.place.message(0xC6, data.len() as u32));
                let with_crc = request[0] & 4 != 0;
                self.state = State::BlockUpload { data, at: 0, segments, with_crc, phase: Phase::Initiated };
            }
            (3, State::BlockUpload { data, segments, with_crc, phase: Phase::Initiated, .. }) => {
                send_block(&data, segments, out);
                self.state = State::BlockUpload { data, at: 0, segments, with_crc, phase: Phase::Sending };
            }
            (2, State::BlockUpload { data, at, segments, with_crc, phase: Phase::Sending }) => {
                let heard = request[1].min(segments);
                let at = (at + usize::from(heard) * SEGMENT_BYTES).min(data.len());
                let segments = checked_segments(request[2])?;
                if at < data.len() || (data.is_empty() && heard == 0) {
                    send_block(&data[at..], segments, out);
                    self.state = State::BlockUpload { data, at, segments, with_crc, phase: Phase::Sending };
                } else {
                    let unused = (SEGMENT_BYTES - data.len() % SEGMENT_BYTES) % SEGMENT_BYTES;
                    let unused = if data.is_empty() { SEGMENT_BYTES } else { unused };
                    let [low, high] = if with_crc { crc(&data) } else { 0 }.to_le_bytes();
                    out.push([0xC1 | (unused as u8) << 2, low, high, 0, 0, 0, 0, 0]);
                    self.state = State::BlockUpload { data, at, segments, with_crc, phase: Phase::Ending };
                }
            }
            (1, State::BlockUpload { phase: Phase::Ending, .. }) => {}
            _ => return Err(abort::COMMAND),
        }
        Ok(())
    }

    fn block_download(
        &mut self,
        request: &Message,
        state: State,
        objects: &mut Objects,
        out: &mut Vec<Message>,
    ) -> Result<(), u32> {
        match (request[0] & 1, state) {
            (0, _) => {
                self.place = Place::of(request);
                objects.may_write(self.place.index, self.place.sub)?;
                let size = (request[0] & 2 != 0).then(|| size_in(request));
                if size.is_some_and(|size| size > BYTES_MAX) {
                    return Err(abort::MEMORY);
                }
                let with_crc = request[0] & 4 != 0;
                self.state = State::BlockDownload { size, data: Vec::new(), last: 0, with_crc, is_whole: false };
                out.push(self.place.message(0xA4, u32::from(BLOCK_SEGMENTS)));
            }
            (_, State::BlockDownload { size, mut data, with_crc, is_whole: true, .. }) => {
                let unused = usize::from(request[0] >> 2 & 7).min(data.len());
                data.truncate(data.len() - unused);
                if with_crc && crc(&data) != u16::from_le_bytes([request[1], request[2]]) {
                    return Err(abort::CRC);
                }
                self.store(&data, size, objects)?;
                out.push([0xA1, 0, 0, 0, 0, 0, 0, 0]);
            }
            _ => return Err(abort::COMMAND),
        }
        Ok(())
    }

    fn block_segment(
        &mut self,
        segment: &Message,
        (size, mut data, mut last, with_crc): (Option<usize>, Vec<u8>, u8, bool),
        out: &mut Vec<Message>,
    ) {
        let (number, is_last) = (segment[0] & 0x7F, segment[0] & 0x80 != 0);
        let is_next = number == last + 1 && data.len() + SEGMENT_BYTES <= BYTES_MAX + SEGMENT_BYTES;
        if is_next {
            data.extend_from_slice(&segment[1..]);
            last = number;
        }
        let is_whole = is_next && is_last;
        if is_last || number == BLOCK_SEGMENTS {
            out.push([0xA2, last, BLOCK_SEGMENTS, 0, 0, 0, 0, 0]);
            last = 0;
        }
        self.state = State::BlockDownload { size, data, last, with_crc, is_whole };
    }
}

fn size_in(message: &Message) -> usize {
    u32::from_le_bytes([message[4], message[5], message[6], message[7]]) as usize
}

fn checked_segments(segments: u8) -> Result<u8, u32> {
    if (1..=127).contains(&segments) { Ok(segments) } else { Err(abort::BLOCK_SIZE) }
}

fn send_block(data: &[u8], segments: u8, out: &mut Vec<Message>) {
    let count = data.len().div_ceil(SEGMENT_BYTES).max(1);
    for number in 1..=count.min(usize::from(segments)) {
        let from = (number - 1) * SEGMENT_BYTES;
        let piece = &data[from..data.len().min(from + SEGMENT_BYTES)];
        let mut message = [0; 8];
        message[0] = number as u8 | if number == count { 0x80 } else { 0 };
        message[1..=piece.len()].copy_from_slice(piece);
        out.push(message);
    }
}

/// CRC-16 with the polynomial 0x1021 from 0 (CiA 301, 7.2.4.3.16).
fn crc(data: &[u8]) -> u16 {
    data.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Client {
        server: SdoServer,
        objects: Objects,
    }

    impl Client {
        fn new() -> Client {
            Client { server: SdoServer::default(), objects: Objects::new(5) }
        }

        fn ask(&mut self, request: Message) -> Vec<Message> {
            let mut out = Vec::new();
            self.server.take(&request, &mut self.objects, 0, &mut out);
            out
        }
    }

    #[test]
    fn the_crc_is_that_of_the_specification() {
        assert_eq!(crc(b"123456789"), 0x31C3);
    }

    #[test]
    fn a_wrong_toggle_bit_and_an_unknown_command_end_the_transfer() {
        let mut client = Client::new();
        assert_eq!(client.ask([0x40, 0x08, 0x10, 0, 0, 0, 0, 0]), [[0x41, 0x08, 0x10, 0, 21, 0, 0, 0]]);
        assert_eq!(client.ask([0x70, 0, 0, 0, 0, 0, 0, 0]), [[0x80, 0x08, 0x10, 0, 0, 0, 3, 5]]);
        assert_eq!(client.ask([0x60, 0, 0, 0, 0, 0, 0, 0]), [[0x80, 0x08, 0x10, 0, 1, 0, 4, 5]]);
        assert_eq!(client.ask([0xE0, 0, 0, 0, 0, 0, 0, 0]).len(), 1);
        assert_eq!(client.ask([0x80, 0x08, 0x10, 0, 0, 0, 0, 0]), [[0u8; 8]; 0]);
    }

    #[test]
    fn a_block_that_lost_a_segment_goes_on_behind_the_last_that_came() {
        let mut client = Client::new();
        assert_eq!(client.ask([0xA4, 0x01, 0x22, 0, 4, 0, 0, 0]), [[0xC6, 0x01, 0x22, 0, 0xD0, 7, 0, 0]]);
        let first = client.ask([0xA3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(first.iter().map(|m| m[0]).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let again = client.ask([0xA2, 2, 3, 0, 0, 0, 0, 0]);
        assert_eq!((again[0][0], again[0][1..].to_vec(), again.len()), (1, first[2][1..].to_vec(), 3));
    }

    #[test]
    fn a_block_with_a_wrong_crc_is_not_kept() {
        let mut client = Client::new();
        for (sum, answer) in [([0, 0], [0x80, 0x02, 0x22, 0, 4, 0, 4, 5]), ([0xC3, 0x31], [0xA1, 0, 0, 0, 0, 0, 0, 0])]
        {
            client.ask([0xC6, 0x02, 0x22, 0, 9, 0, 0, 0]);
            assert!(client.ask([1, b'1', b'2', b'3', b'4', b'5', b'6', b'7']).is_empty());
            assert_eq!(client.ask([0x82, b'8', b'9', 0, 0, 0, 0, 0]), [[0xA2, 2, 64, 0, 0, 0, 0, 0]]);
            assert_eq!(client.ask([0xC1 | 5 << 2, sum[0], sum[1], 0, 0, 0, 0, 0]), [answer]);
        }
        assert_eq!(client.objects.read(0x2202, 0, 0).unwrap(), b"123456789");
    }

    #[test]
    fn no_request_grows_memory_or_panics() {
        let mut state = 0x2545_F491_4F6C_DD1Du64;
        let mut client = Client::new();
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        for _ in 0..200_000 {
            let mut request = next();
            // Most go on with what was begun, or begin something that exists.
            if request[7] & 1 == 0 {
                let place = [[0x02, 0x22, 0], [0x01, 0x22, 0], [0, 0x22, 0], [0, 0x20, 1]][usize::from(request[6] & 3)];
                request[1..4].copy_from_slice(&place);
            }
            assert!(client.ask(request).len() <= 128);
            if let State::Download { data, .. } | State::BlockDownload { data, .. } = &client.server.state {
                assert!(data.len() <= BYTES_MAX + 2 * SEGMENT_BYTES);
            }
        }
    }
}
