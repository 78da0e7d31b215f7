//! Bytes of a stream into packets, in bounded memory: of a packet that is too large only the head is kept.

use super::Violation;
use crate::limits::{COMMAND_HEAD_BYTES_MAX, COMMAND_PACKET_BYTES_MAX};

/// One packet without its fixed header.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::mqtt) struct Frame {
    /// Kind and flags.
    pub(in crate::mqtt) first: u8,
    pub(in crate::mqtt) body: Vec<u8>,
    /// Bytes of the body that were read and not kept.
    pub(in crate::mqtt) left_out: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::mqtt) struct Frames {
    bytes: Vec<u8>,
    /// What was taken out of `bytes` already.
    taken: usize,
    /// A packet of which the rest is read past, and how much that is.
    large: Option<(Frame, usize)>,
}

impl Frames {
    pub(in crate::mqtt) fn push(&mut self, mut more: &[u8]) {
        if let Some((_, rest)) = &mut self.large {
            let past = more.len().min(*rest);
            *rest -= past;
            more = &more[past..];
        }
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(more);
    }

    /// Whether `push` should wait until more was taken out: what is here may hold a whole packet.
    pub(in crate::mqtt) fn is_full(&self) -> bool {
        self.bytes.len() - self.taken > COMMAND_PACKET_BYTES_MAX + 5
    }

    /// The next whole packet.
    ///
    /// # Errors
    /// The bytes are no MQTT.
    pub(in crate::mqtt) fn next(&mut self) -> Result<Option<Frame>, Violation> {
        if let Some((frame, 0)) = self.large.take_if(|(_, rest)| *rest == 0) {
            return Ok(Some(frame));
        }
        let bytes = &self.bytes[self.taken..];
        let Some(&first) = bytes.first() else { return Ok(None) };
        if !(1..=15).contains(&(first >> 4)) {
            return Err(Violation(format!("a packet that begins with 0x{first:02x}")));
        }
        let (mut len, mut header) = (0usize, 1);
        loop {
            let Some(&byte) = bytes.get(header) else { return Ok(None) };
            len |= usize::from(byte & 0x7f) << (7 * (header - 1));
            header += 1;
            if byte & 0x80 == 0 {
                break;
            }
            if header > 4 {
                return Err(Violation("a length of more than four bytes".into()));
            }
        }
        let here = bytes.len() - header;
        if len <= COMMAND_PACKET_BYTES_MAX {
            if here < len {
                return Ok(None);
            }
            let body = bytes[header..header + len].to_vec();
            self.taken += header + len;
            return Ok(Some(Frame { first, body, left_out: 0 }));
        }
        if here < COMMAND_HEAD_BYTES_MAX {
            return Ok(None);
        }
        let body = bytes[header..header + COMMAND_HEAD_BYTES_MAX].to_vec();
        let past = here.min(len);
        self.taken += header + past;
        let frame = Frame { first, body, left_out: len - COMMAND_HEAD_BYTES_MAX };
        if past == len {
            return Ok(Some(frame));
        }
        self.large = Some((frame, len - past));
        Ok(None)
    }
}

const _: () = assert!(COMMAND_HEAD_BYTES_MAX < COMMAND_PACKET_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(first: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        let mut rest = len;
        loop {
            let more = rest > 0x7f;
            bytes.push((rest & 0x7f) as u8 | if more { 0x80 } else { 0 });
            rest >>= 7;
            if !more {
                break;
            }
        }
        bytes.extend((0..len).map(|at| at as u8));
        bytes
    }

    fn all(frames: &mut Frames) -> Vec<(usize, usize)> {
        std::iter::from_fn(|| frames.next().unwrap()).map(|frame| (frame.body.len(), frame.left_out)).collect()
    }

    #[test]
    fn packets_come_out_whole_however_the_stream_was_cut() {
        let sizes = [0, 1, 127, 128, 20_000, COMMAND_PACKET_BYTES_MAX, COMMAND_PACKET_BYTES_MAX + 1, 1_000_000, 3];
        let stream: Vec<u8> = sizes.iter().flat_map(|len| packet(0x30, *len)).collect();
        for piece in [1_000, 16_384, 65_536, stream.len()] {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for piece in stream.chunks(piece) {
                frames.push(piece);
                found.extend(all(&mut frames));
            }
            let whole: Vec<usize> = found.iter().map(|(kept, left_out)| kept + left_out).collect();
            assert_eq!(whole, sizes);
            assert!(found.iter().all(|(kept, _)| *kept <= COMMAND_PACKET_BYTES_MAX));
        }
    }

    #[test]
    fn a_packet_of_the_largest_size_takes_no_more_memory_than_its_head() {
        let mut frames = Frames::default();
        frames.push(&[0x32, 0xff, 0xff, 0xff, 0x7f]);
        let piece = vec![7; 65_536];
        let mut rest = 268_435_455usize;
        while rest > 0 {
            let len = piece.len().min(rest);
            frames.push(&piece[..len]);
            rest -= len;
            let frame = frames.next().unwrap();
            assert_eq!(frame.is_some(), rest == 0);
            assert!(frames.bytes.capacity() < 1 << 20);
        }
        frames.push(&packet(0xd0, 0));
        assert_eq!(all(&mut frames), [(0, 0)]);
    }

    #[test]
    fn what_is_no_mqtt_is_named() {
        for bytes in [&b"\x00"[..], b"\x30\xff\xff\xff\xff\x01"] {
            let mut frames = Frames::default();
            frames.push(bytes);
            assert!(frames.next().is_err(), "{bytes:?}");
        }
    }
}
