//! A simulated line without transaction ids: frames of RTU and ASCII, bytes at the line's pace, the silences between
//! them (Modbus over Serial Line V1.02, 2.5.1), and what becomes of bytes that meet. Nothing here is shared with the
//! gateway's own reckoning.

use std::collections::VecDeque;

use fastrand::Rng;

use super::device::Bent;
use super::stream::{Exchange, Piece};
use crate::config::{Parity, SerialFraming};
use crate::protocol::modbus::model::{ModbusConfig, ModbusTransport};

const SECOND: u64 = 1_000_000_000;
/// What a UART hands over at once at most.
const UART_BYTES: usize = 16;
/// What was on the line so long ago parts no frames any more.
const KEPT_NS: u64 = 10 * SECOND;

/// How a line is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineView {
    ascii: bool,
    /// 0: through a serial server, which hands over whole frames; nothing is known of the line behind it.
    baud_rate: u64,
    bits: u64,
    /// What the link must keep before a request; after so long a wait for it, it need not.
    gap: u64,
    patience: u64,
}

impl LineView {
    /// `None` where frames carry transaction ids.
    pub fn of(config: &ModbusConfig) -> Option<LineView> {
        let (timeout, pause) = (config.timeout.0, config.turnaround.0);
        let mut line = LineView { ascii: false, baud_rate: 0, bits: 0, gap: pause, patience: timeout };
        match &config.transport {
            ModbusTransport::Tcp(_) => return None,
            ModbusTransport::RtuOverTcp(_) => {}
            ModbusTransport::Serial(serial) => {
                let parity = u64::from(serial.parity != Parity::None);
                line.ascii = serial.framing == SerialFraming::Ascii;
                line.baud_rate = u64::from(serial.baud_rate);
                line.bits = 1 + u64::from(serial.data_bits) + parity + u64::from(serial.stop_bits);
                line.gap = line.silence().max(pause);
            }
        }
        Some(line)
    }

    pub fn is_serial(&self) -> bool {
        self.baud_rate > 0
    }

    pub fn characters(&self, count: usize) -> u64 {
        (count as u64 * self.bits * SECOND).checked_div(self.baud_rate).unwrap_or(0)
    }

    /// Between two frames.
    pub fn silence(&self) -> u64 {
        match self.baud_rate {
            _ if self.ascii => 0,
            0 => 0,
            1..=19_200 => 7 * self.bits * SECOND / (2 * self.baud_rate),
            _ => 1_750_000,
        }
    }

    /// Within a frame.
    fn longest_pause(&self) -> u64 {
        match self.baud_rate {
            0 => u64::MAX / 2,
            _ if self.ascii => SECOND,
            1..=19_200 => 3 * self.bits * SECOND / (2 * self.baud_rate),
            _ => 750_000,
        }
    }

    /// Unit and PDU as they are sent.
    pub fn frame(&self, bytes: &[u8]) -> Vec<u8> {
        let mut frame = bytes.to_vec();
        if !self.ascii {
            frame.extend(crc(bytes).to_le_bytes());
            return frame;
        }
        frame.push(bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte)));
        let hex: String = frame.iter().map(|byte| format!("{byte:02X}")).collect();
        format!(":{hex}\r\n").into_bytes()
    }

    /// Whether these bytes are all of a request, by its function.
    fn is_whole(&self, bytes: &[u8]) -> bool {
        if self.ascii {
            return bytes.ends_with(b"\r\n");
        }
        let counted = |at: usize, besides: usize| bytes.get(at).map(|count| besides + usize::from(*count));
        let length = match bytes.get(1) {
            None => None,
            Some(15 | 16) => counted(6, 9),
            Some(22) => Some(10),
            Some(23) => counted(10, 13),
            Some(_) => Some(8),
        };
        length.is_some_and(|length| bytes.len() >= length)
    }

    /// Unit and PDU of a request; `None`: it is no frame.
    fn request(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let body = if self.ascii {
            let text = std::str::from_utf8(frame).ok()?.strip_prefix(':')?.strip_suffix("\r\n")?;
            let byte = |at: usize| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok();
            (0..(text.len() / 2).checked_sub(1)?).map(byte).collect::<Option<Vec<u8>>>()?
        } else {
            frame.get(..frame.len().checked_sub(2)?)?.to_vec()
        };
        (self.frame(&body) == frame).then_some(body)
    }
}

/// Appendix B, bit by bit.
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
}

/// A whole request as the devices on the line have it.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard {
    /// Unit and PDU.
    pub body: Vec<u8>,
    /// Its first bit, and its last.
    pub began: u64,
    pub ends: u64,
    /// No device can tell it from what was on the line just before it, or at the same time.
    pub lost: bool,
}

/// One line.
pub struct Wire {
    pub view: LineView,
    inbound: Vec<u8>,
    began: u64,
    ends: u64,
    /// What was on the line, and will be: from when to when.
    busy: Vec<(u64, u64)>,
    /// The last bit of what the link has taken from it.
    taken: u64,
    /// When the request before began.
    asked: Option<u64>,
    frames: u32,
}

impl Wire {
    pub fn new(view: LineView) -> Wire {
        Wire { view, inbound: Vec::new(), began: 0, ends: 0, busy: Vec::new(), taken: 0, asked: None, frames: 0 }
    }

    /// The link has taken a piece whose last bit came then.
    pub fn took(&mut self, last_bit: u64) {
        self.taken = self.taken.max(last_bit);
    }

    /// Bytes of a request; the request, when it is whole.
    ///
    /// # Errors
    /// What a link may not do.
    pub fn send(
        &mut self,
        now: u64,
        bytes: &[u8],
        out: &mut VecDeque<Piece>,
        rng: &mut Rng,
    ) -> Result<Option<Heard>, String> {
        // A colon begins anew.
        let anew = self.view.ascii && bytes.first() == Some(&b':');
        if anew || now > self.ends.saturating_add(self.view.longest_pause()) {
            self.inbound.clear();
        }
        if self.inbound.is_empty() {
            (self.began, self.ends) = (now, now);
            let waited = self.asked.map_or(u64::MAX, |before| now - before);
            if self.taken > 0 && now < self.taken + self.view.gap && waited < self.view.patience {
                let (after, gap) = (now.saturating_sub(self.taken), self.view.gap);
                return Err(format!("a request {after} ns after the last byte, {gap} ns of silence are due"));
            }
        }
        self.ends = self.ends.max(now) + self.view.characters(bytes.len());
        self.inbound.extend_from_slice(bytes);
        if !self.view.is_whole(&self.inbound) {
            return Ok(None);
        }
        let frame = std::mem::take(&mut self.inbound);
        let body = self.view.request(&frame).ok_or_else(|| format!("a request that is not a frame: {frame:02X?}"))?;
        let (began, ends) = (self.began, self.ends);
        self.asked = Some(began);
        self.busy.retain(|(_, end)| end + KEPT_NS > now);
        let silence = self.view.silence();
        let lost = self.view.is_serial() && self.busy.iter().any(|(from, to)| *from < ends && to + silence > began);
        if lost {
            garble(self.view, out, (began, ends), rng);
        }
        self.busy.push((began, ends));
        Ok(Some(Heard { body, began, ends, lost }))
    }

    /// Puts bytes on the line at `at`, or behind what is on it; returns when they end. `ends`: what they answer.
    pub fn put(
        &mut self,
        at: u64,
        bytes: Vec<u8>,
        ends: Option<(u16, Exchange)>,
        out: &mut VecDeque<Piece>,
        rng: &mut Rng,
    ) -> u64 {
        let span = (at, at + self.view.characters(bytes.len()));
        let meets = self.busy.iter().any(|(from, to)| *from < span.1 && *to > span.0);
        let (mut bytes, mut ends) = (bytes, ends);
        if meets {
            garble(self.view, out, span, rng);
            bytes.iter_mut().for_each(|byte| *byte ^= rng.u8(1..));
            ends = None;
        }
        self.frames += 1;
        let mut done = 0;
        while done < bytes.len() {
            let next = (done + rng.usize(1..=UART_BYTES)).min(bytes.len());
            let piece = Piece {
                at: at + self.view.characters(next),
                bytes: bytes[done..next].to_vec(),
                taken: 0,
                glued: false,
                frame: self.frames,
                ends: ends.filter(|_| next == bytes.len()),
            };
            let place = out.partition_point(|other| other.at <= piece.at);
            out.insert(place, piece);
            done = next;
        }
        self.busy.push(span);
        span.1
    }

    /// What a device sends, and what the line makes of it.
    pub fn bend(&self, body: &[u8], bent: Bent, rng: &mut Rng) -> Vec<u8> {
        let mut frame = if bent == Bent::Raw { body.to_vec() } else { self.view.frame(body) };
        match bent {
            Bent::No | Bent::Raw => {}
            Bent::Bit => {
                // The sixth bit of a letter is whether it is a small one, which is no fault.
                let bit = if self.view.ascii { rng.u8(..5) } else { rng.u8(..8) };
                let at = rng.usize(..frame.len());
                frame[at] ^= 1 << bit;
            }
            Bent::Cut => frame.truncate(rng.usize(1..frame.len())),
        }
        frame
    }
}

/// Two speak at once: what is under way in that time is destroyed, and no frame any more.
fn garble(view: LineView, out: &mut VecDeque<Piece>, (from, to): (u64, u64), rng: &mut Rng) {
    let mut hit = Vec::new();
    for piece in out.iter_mut() {
        let began = piece.at.saturating_sub(view.characters(piece.bytes.len()));
        if piece.at > from && began < to && piece.taken == 0 {
            piece.bytes.iter_mut().for_each(|byte| *byte ^= rng.u8(1..));
            hit.push(piece.frame);
        }
    }
    out.iter_mut().filter(|piece| hit.contains(&piece.frame)).for_each(|piece| piece.ends = None);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTU: LineView = LineView { ascii: false, baud_rate: 9_600, bits: 11, gap: 4_010_416, patience: 50_000_000 };

    fn request() -> Vec<u8> {
        RTU.frame(&[7, 3, 0, 1, 0, 2])
    }

    #[test]
    fn a_request_is_understood_after_a_silence_and_lost_without() {
        let mut rng = Rng::with_seed(1);
        let (mut wire, mut out) = (Wire::new(RTU), VecDeque::new());
        let heard = wire.send(10 * SECOND, &request(), &mut out, &mut rng).unwrap().unwrap();
        assert_eq!(heard.body, [7, 3, 0, 1, 0, 2]);
        // 8 × 11 bits at 9600 baud.
        assert_eq!((heard.ends - heard.began, heard.lost), (9_166_666, false));
        let end = wire.put(heard.ends + RTU.silence(), vec![1; 9], None, &mut out, &mut rng);
        assert_eq!(out.iter().map(|piece| piece.bytes.len()).sum::<usize>(), 9);
        assert_eq!(out.back().unwrap().at, end);
        // The link does not know yet of what it has not taken; the devices do.
        let early = wire.send(end + 1_000_000, &request(), &mut out, &mut rng).unwrap().unwrap();
        assert!(early.lost);
        wire.took(early.ends);
        let told = wire.send(early.ends + 4_000_000, &request(), &mut out, &mut rng).unwrap_err();
        assert!(told.contains("silence"), "{told}");
        let later = wire.send(early.ends + 4_010_417, &request(), &mut out, &mut rng).unwrap().unwrap();
        assert!(!later.lost);
    }

    #[test]
    fn a_request_with_a_pause_in_it_is_none_and_bytes_that_meet_destroy_each_other() {
        let mut rng = Rng::with_seed(2);
        let (mut wire, mut out) = (Wire::new(RTU), VecDeque::new());
        let frame = request();
        assert_eq!(wire.send(SECOND, &frame[..3], &mut out, &mut rng), Ok(None));
        assert_eq!(wire.send(2 * SECOND, &frame[3..], &mut out, &mut rng), Ok(None), "five bytes are no request");
        let (mut wire, mut out) = (Wire::new(RTU), VecDeque::new());
        let end = wire.put(SECOND, vec![0xAA; 20], None, &mut out, &mut rng);
        wire.put(end - 2_000_000, vec![0x55; 20], None, &mut out, &mut rng);
        let bytes: Vec<u8> = out.iter().flat_map(|piece| piece.bytes.clone()).collect();
        assert!(bytes.iter().filter(|byte| **byte == 0x55).count() == 0, "{bytes:02X?}");
        assert!(bytes[..4].contains(&0xAA), "what went before is whole: {bytes:02X?}");
    }

    #[test]
    fn frames_are_those_of_the_specification() {
        assert_eq!(crc(&[0x02, 0x07]), 0x1241);
        let ascii = LineView { ascii: true, ..RTU };
        assert_eq!(ascii.frame(&[17, 3, 0, 0x6B, 0, 3]), b":1103006B00037E\r\n");
        assert_eq!(ascii.request(b":1103006B00037E\r\n"), Some(vec![17, 3, 0, 0x6B, 0, 3]));
        assert_eq!(ascii.request(b":1103006B00037F\r\n"), None);
        assert_eq!((RTU.silence(), ascii.silence()), (4_010_416, 0));
    }
}
