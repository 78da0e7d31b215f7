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

#[cfg(test)]
mod tests;
