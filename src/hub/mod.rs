//! Rings to batches to consumers; statistics.

mod batch;
pub mod stats;

pub use batch::{Batch, BatchSample};
