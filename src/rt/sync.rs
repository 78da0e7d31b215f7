//! The atomics of the image, so that the model checker can put its own in their place.

pub use std::sync::atomic::{AtomicU64, Ordering, fence};
