//! Rings to batches to consumers; statistics.

mod batch;
mod drain;
mod nodes;
pub mod stats;

pub use batch::{Batch, BatchSample};
pub use drain::{Hub, NextRing, RingStats, clock_pair, spawn};
