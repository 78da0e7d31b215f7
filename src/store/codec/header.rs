//! The fixed front of a block: enough to order, count and drop it without decoding the rest.

use crate::checksum::crc32;
use crate::limits::{BLOCK_SAMPLES_MAX, BLOCK_SLOTS_MAX};
use crate::tag::{ClockPair, LaneId, Nanos};
use crate::wire::{Malformed, Reader};
use crate::{BootId, NamesId};

/// Of this layout of a block, and the one before it, whose earliest and latest stamps were those of CLOCK_MONOTONIC.
const VERSION: u8 = 3;
const VERSION_BEFORE: u8 = 2;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 96;

/// What a block says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub boot: BootId,
    /// What the ids of its samples mean.
    pub names: NamesId,
    pub lane: LaneId,
    pub first_sequence: u64,
    /// Samples in the log before this block, since the journal was made.
    pub log_samples: u64,
    pub samples: u32,
    /// Samples and payload slots.
    pub slots: u32,
    pub clock: ClockPair,
    pub drained: Nanos,
    /// The earliest and the latest stamp in it: UTC, nanoseconds since the Unix epoch.
    pub utc_min_ns: i64,
    pub utc_max_ns: i64,
}

impl Header {
    /// Appends header and body.
    pub fn put(&self, out: &mut Vec<u8>, body: &[u8]) {
        let start = out.len();
        out.reserve(HEADER_BYTES + body.len());
        out.extend(crc32(body).to_le_bytes());
        out.extend([VERSION, 0]);
        out.extend(self.lane.0.to_le_bytes());
        out.extend(self.boot.0.to_le_bytes());
        out.extend(self.names.0.to_le_bytes());
        out.extend(self.log_samples.to_le_bytes());
        out.extend(self.first_sequence.to_le_bytes());
        out.extend(self.samples.to_le_bytes());
        out.extend(self.slots.to_le_bytes());
        out.extend(self.clock.mono.0.to_le_bytes());
        out.extend(self.clock.utc_ns.to_le_bytes());
        out.extend(self.drained.0.to_le_bytes());
        out.extend(self.utc_min_ns.to_le_bytes());
        out.extend(self.utc_max_ns.to_le_bytes());
        out.extend((body.len() as u32).to_le_bytes());
        out.extend(crc32(&out[start..]).to_le_bytes());
        out.extend_from_slice(body);
    }

    /// Reads the header alone; its own checksum is checked, the body is not looked at.
    pub fn read(bytes: &[u8]) -> Result<Header, Malformed> {
        Ok(Header::split(bytes)?.0)
    }

    /// Reads the header and checks the body's checksum.
    pub fn read_with_body(bytes: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let (header, body_crc, body_len) = Header::split(bytes)?;
        let body = &bytes[HEADER_BYTES..];
        if body.len() != body_len as usize || crc32(body) != body_crc {
            return Err(Malformed("the block's checksum does not match"));
        }
        Ok((header, body))
    }

    fn split(bytes: &[u8]) -> Result<(Header, u32, u32), Malformed> {
        let mut reader = Reader::new(bytes);
        let fixed = Reader::new(bytes).take(HEADER_BYTES - 4)?;
        let body_crc = reader.u32()?;
        let version = reader.u8()?;
        reader.u8()?;
        let mut header = Header {
            lane: LaneId(reader.u16()?),
            boot: BootId(reader.u64()?),
            names: NamesId(reader.u64()?),
            log_samples: reader.u64()?,
            first_sequence: reader.u64()?,
            samples: reader.u32()?,
            slots: reader.u32()?,
            clock: ClockPair { mono: Nanos(reader.u64()?), utc_ns: reader.u64()? as i64 },
            drained: Nanos(reader.u64()?),
            utc_min_ns: reader.u64()? as i64,
            utc_max_ns: reader.u64()? as i64,
        };
        let body_len = reader.u32()?;
        if reader.u32()? != crc32(fixed) {
            return Err(Malformed("the block header's checksum does not match"));
        }
        match version {
            VERSION => {}
            VERSION_BEFORE => {
                let utc_ns = |mono_ns: i64| header.clock.utc_ns_of(Nanos(mono_ns as u64));
                (header.utc_min_ns, header.utc_max_ns) = (utc_ns(header.utc_min_ns), utc_ns(header.utc_max_ns));
            }
            _ => return Err(Malformed("the block has an unknown version")),
        }
        let sane = header.samples >= 1
            && header.samples as usize <= BLOCK_SAMPLES_MAX
            && header.slots >= header.samples
            && header.slots as usize <= BLOCK_SLOTS_MAX;
        if sane { Ok((header, body_crc, body_len)) } else { Err(Malformed("the block's counts are impossible")) }
    }
}
