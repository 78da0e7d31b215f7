//! The durable journal: an append-only log of blocks that outputs follow with cursors.

mod block;
mod checksum;
pub mod codec;
mod column;
mod wire;

pub use block::{Block, BootId, Dictionary, DictionaryTag, Position};
pub use wire::Malformed;
