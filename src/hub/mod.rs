//! Rings to batches to consumers; statistics.

mod batch;
mod drain;
pub mod stats;

pub use batch::{Batch, BatchSample};
pub use drain::{Hub, NextRing, RingStats, clock_pair, spawn};
