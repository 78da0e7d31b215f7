//! Rings to batches to consumers; statistics.

mod batch;

pub use batch::{Batch, BatchSample};
