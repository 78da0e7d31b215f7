//! A block's bytes: a header, then columns.
//!
//! Samples come in *frames*: runs with the same time, cycle, status and flags, as one reply of a device
//! makes them. Frames repeat the same sequence of tags (their *layout*) every cycle, so a block holds each
//! layout once, a few numbers a frame, and the values tag by tag, where neighbours are alike.

mod cut;
mod decode;
mod encode;
mod header;
mod layout;
mod values;

pub use cut::{Cut, CutBlock, cut};
pub use decode::decode;
pub use encode::Encoder;
pub use header::{HEADER_BYTES, Header};

/// Any bytes as a body behind its checksum: samples and slots in two bytes each, then the body.
pub(super) fn fuzz(bytes: &[u8]) {
    let Some((&[a, b, c, d], body)) = bytes.split_first_chunk() else { return };
    let samples = usize::from(u16::from_le_bytes([a, b])).min(crate::limits::BLOCK_SAMPLES_MAX);
    let slots = (samples + usize::from(u16::from_le_bytes([c, d]))).min(crate::limits::BLOCK_SLOTS_MAX);
    if let Ok(out) = decode::decode_body(body, samples, slots) {
        assert_eq!(out.len(), slots);
    }
}

#[cfg(test)]
mod tests;
