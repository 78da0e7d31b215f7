//! Rings to batches to consumers, the journal and taps; statistics.

mod drain;
mod filter;
mod intervals;
pub mod stats;
mod tap;

pub use drain::{Hub, NextRing, RingEnd, RingStats, clock_pair, spawn};
pub use filter::Filter;
pub use tap::{Lost, Tap, TapView, Taps, TapsEnd, taps};
