//! The durable journal: an append-only log of blocks that outputs follow with cursors.

mod block;

pub use block::{Block, BootId, Dictionary, DictionaryTag, Position};
