//! One reading of one tag: the 32 bytes that travel through the rings.

use super::{Stamp, Status, TagId};

/// Bits of [`Sample::flags`].
pub mod flags {
    /// The value is the last one that was read; only the status is new.
    pub const HELD: u8 = 1;
    /// A long value: `value` is its length in bytes; ⌈length / 32⌉ payload slots follow.
    pub const LONG: u8 = 2;
    /// No sample: `value` samples were dropped here because the ring was full.
    pub const GAP: u8 = 4;
    /// There is no value: the tag was never read. The time is that of the status.
    pub const NO_VALUE: u8 = 8;
    /// Backfill, such as a device's backlog: for the journal and all that follows it, not the latest value of its tag.
    pub const BACKFILL: u8 = 16;
}

/// The tag of a gap record.
pub const GAP_TAG: u32 = u32::MAX;

/// One reading of one tag: 32 bytes, two to a cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C, align(32))]
pub struct Sample {
    /// The bits of a [`Stamp`]. Of what an executor reads, CLOCK_MONOTONIC in nanoseconds: the middle between sending
    /// the request and receiving the reply.
    pub t: u64,
    /// Raw bits, by `ty`.
    pub value: u64,
    /// Index into the plan's tags, or [`GAP_TAG`].
    pub tag: u32,
    /// OPC UA StatusCode.
    pub status: u32,
    /// The cycle of the tag's scan that read it, counted from the start; wraps.
    pub cycle: u32,
    /// Index into the plan's groups.
    pub group: u16,
    /// [`super::ValueType::code`].
    pub ty: u8,
    /// Bits of [`flags`].
    pub flags: u8,
}

const _: () = assert!(size_of::<Sample>() == 32 && align_of::<Sample>() == 32);

impl Sample {
    /// Bytes of a long value that one payload slot carries.
    pub const PAYLOAD_BYTES: usize = size_of::<Sample>();

    #[inline]
    pub fn tag(&self) -> TagId {
        TagId(self.tag)
    }

    /// When it was read.
    #[inline]
    pub fn stamp(&self) -> Stamp {
        Stamp(self.t)
    }

    #[inline]
    pub fn status(&self) -> Status {
        Status(self.status)
    }

    #[inline]
    pub fn is_gap(&self) -> bool {
        self.flags & flags::GAP != 0
    }

    /// Whether the tag was never read, so that there is nothing to hold.
    #[inline]
    pub fn has_no_value(&self) -> bool {
        self.flags & flags::NO_VALUE != 0
    }

    #[inline]
    pub fn is_long(&self) -> bool {
        self.flags & flags::LONG != 0
    }

    /// Payload slots that follow this one.
    #[inline]
    pub fn payload_slots(&self) -> usize {
        if self.is_long() { (self.value as usize).div_ceil(Sample::PAYLOAD_BYTES) } else { 0 }
    }

    /// A record that says how many samples are missing here.
    pub fn gap(count: u64) -> Sample {
        Sample { value: count, tag: GAP_TAG, flags: flags::GAP, ..Sample::default() }
    }

    /// A payload slot out of up to 32 bytes, zero-padded.
    #[inline]
    pub fn from_payload(bytes: &[u8]) -> Sample {
        let mut b = [0u8; Sample::PAYLOAD_BYTES];
        let n = bytes.len().min(Sample::PAYLOAD_BYTES);
        b[..n].copy_from_slice(&bytes[..n]);
        let word = |at: usize| {
            u64::from_ne_bytes([b[at], b[at + 1], b[at + 2], b[at + 3], b[at + 4], b[at + 5], b[at + 6], b[at + 7]])
        };
        let half = |at: usize| u32::from_ne_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        Sample {
            t: word(0),
            value: word(8),
            tag: half(16),
            status: half(20),
            cycle: half(24),
            group: u16::from_ne_bytes([b[28], b[29]]),
            ty: b[30],
            flags: b[31],
        }
    }

    /// The 32 bytes of a payload slot.
    #[inline]
    pub fn to_payload(self) -> [u8; Sample::PAYLOAD_BYTES] {
        let mut b = [0u8; Sample::PAYLOAD_BYTES];
        b[0..8].copy_from_slice(&self.t.to_ne_bytes());
        b[8..16].copy_from_slice(&self.value.to_ne_bytes());
        b[16..20].copy_from_slice(&self.tag.to_ne_bytes());
        b[20..24].copy_from_slice(&self.status.to_ne_bytes());
        b[24..28].copy_from_slice(&self.cycle.to_ne_bytes());
        b[28..30].copy_from_slice(&self.group.to_ne_bytes());
        b[30] = self.ty;
        b[31] = self.flags;
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_slots_carry_their_bytes() {
        let bytes: Vec<u8> = (0..32).collect();
        assert_eq!(Sample::from_payload(&bytes).to_payload()[..], bytes[..]);
        assert_eq!(Sample::from_payload(&bytes[..5]).to_payload()[..6], [0, 1, 2, 3, 4, 0]);
    }

    #[test]
    fn a_long_header_counts_its_slots() {
        let header = Sample { value: 33, flags: flags::LONG, ..Sample::default() };
        assert_eq!(header.payload_slots(), 2);
        assert_eq!(Sample::default().payload_slots(), 0);
    }
}
