//! Rings to batches to consumers; statistics.

mod batch;
mod drain;
mod filter;
mod nodes;
pub mod stats;

pub use batch::{Batch, BatchSample};
pub use drain::{Hub, NextRing, RingEnd, RingStats, clock_pair, spawn};
pub use filter::Filter;
