//! Rings to batches to consumers; statistics.

mod drain;
mod filter;
mod intervals;
mod nodes;
pub mod stats;

pub use drain::{Hub, NextRing, RingEnd, RingStats, clock_pair, spawn};
pub use filter::Filter;
