//! How long a frame takes on the wire, bit by bit, at worst and at least.
//!
//! ISO 11898-1:2015, sections 10.4.2 and 10.5; the worst case of stuff bits as in Davis, Burns, Bril, Lukkien:
//! "Controller Area Network (CAN) schedulability analysis" (2007).

use crate::tag::{NANOS_PER_SEC, Nanos};

/// A frame as far as its length on the wire goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameShape {
    pub extended: bool,
    /// CAN FD with bit rate switch.
    pub fd: bool,
    /// Data bytes; those of FD frames are rounded up to what their length code can say.
    pub bytes: u8,
}

/// Bits of a frame, by the rate at which they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameBits {
    pub nominal: u64,
    pub data: u64,
}

/// CRC delimiter, acknowledge, its delimiter, end of frame, and the pause behind it: never stuffed.
const TAIL_BITS: u64 = 1 + 1 + 1 + 7 + 3;

/// A bit is stuffed after five equal ones at the earliest, then after four more.
fn stuffed(bits: u64) -> u64 {
    bits.saturating_sub(1) / 4
}

/// What a length code of CAN FD stands for (ISO 11898-1:2015, table 5).
pub fn fd_bytes(bytes: u8) -> u8 {
    [8u8, 12, 16, 20, 24, 32, 48, 64]
        .into_iter()
        .find(|length| bytes <= *length)
        .map_or(64, |length| if bytes <= 8 { bytes } else { length })
}

impl FrameShape {
    /// The most bits that it can have, the pause behind it included.
    pub fn bits_max(&self) -> FrameBits {
        self.bits(stuffed, 1)
    }

    /// The fewest: nothing is stuffed.
    pub fn bits_min(&self) -> FrameBits {
        self.bits(|_| 0, 0)
    }

    fn bits(&self, stuffed: fn(u64) -> u64, ack_late: u64) -> FrameBits {
        if !self.fd {
            // Start, identifier, flags, length code, data and a CRC of 15 bits.
            let head = if self.extended { 1 + 11 + 1 + 1 + 18 + 3 + 4 } else { 1 + 11 + 3 + 4 };
            let body = head + 8 * u64::from(self.bytes.min(8)) + 15;
            return FrameBits { nominal: body + stuffed(body) + TAIL_BITS, data: 0 };
        }
        let head = if self.extended { 1 + 11 + 1 + 1 + 18 + 4 } else { 1 + 11 + 5 };
        let bytes = u64::from(fd_bytes(self.bytes));
        let body = 1 + 4 + 8 * bytes;
        // Stuff count and CRC, with a fixed stuff bit before them and after each four of their bits.
        let check = 4 + if bytes <= 16 { 17 } else { 21 };
        let fixed = check / 4 + 1;
        // A run of equal bits may go on from one part into the other.
        let dynamic = stuffed(head + body) - stuffed(head);
        FrameBits { nominal: head + stuffed(head) + TAIL_BITS + ack_late, data: body + dynamic + check + fixed }
    }

    /// The longest that it can take, the pause behind it included, rounded up.
    pub fn time_max(&self, bitrate: u32, data_bitrate: u32) -> Nanos {
        self.bits_max().time(bitrate, data_bitrate)
    }

    /// The shortest.
    pub fn time_min(&self, bitrate: u32, data_bitrate: u32) -> Nanos {
        self.bits_min().time(bitrate, data_bitrate)
    }
}

impl FrameBits {
    fn time(&self, bitrate: u32, data_bitrate: u32) -> Nanos {
        let of = |bits: u64, rate: u32| (bits * NANOS_PER_SEC).div_ceil(u64::from(rate.max(1)));
        Nanos(of(self.nominal, bitrate) + of(self.data, data_bitrate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classical(extended: bool, bytes: u8) -> FrameShape {
        FrameShape { extended, fd: false, bytes }
    }

    #[test]
    fn classical_frames_have_the_published_worst_cases() {
        // Davis et al., equation 3: 55 + 10 s bits for 11-bit identifiers, 80 + 10 s for those of 29 bits.
        for bytes in 0..=8 {
            assert_eq!(classical(false, bytes).bits_max().nominal, 55 + 10 * u64::from(bytes));
            assert_eq!(classical(true, bytes).bits_max().nominal, 80 + 10 * u64::from(bytes));
        }
        assert_eq!(classical(false, 0).bits_min().nominal, 47);
        assert_eq!(classical(true, 8).bits_min().nominal, 67 + 64);
        assert_eq!(classical(false, 8).time_max(500_000, 500_000), Nanos::from_micros(270));
    }

    #[test]
    fn fd_frames_send_their_data_at_the_data_rate() {
        let frame = FrameShape { extended: false, fd: true, bytes: 64 };
        // Without stuffing: 17 bits before the switch and 13 behind it; ESI, length code, data, stuff count and CRC.
        assert_eq!(frame.bits_min(), FrameBits { nominal: 30, data: 5 + 512 + 25 + 7 });
        let most = frame.bits_max();
        assert!(most.nominal == 30 + 4 + 1 && most.data == 5 + 512 + 25 + 7 + 533 / 4 - 4, "{most:?}");
        let short = FrameShape { bytes: 13, ..frame };
        assert_eq!(short.bits_min(), FrameShape { bytes: 16, ..frame }.bits_min());
        assert_eq!([0, 8, 9, 17, 33, 49, 64].map(fd_bytes), [0, 8, 12, 20, 48, 64, 64]);
    }
}
