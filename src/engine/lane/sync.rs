//! The atomics of the image, so that the model checker can put its own in their place.

pub use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Tries of a reader before it gives up. A write takes some nanoseconds, so this many in a row means that
/// the writer was stopped in the middle of one; the reader then comes back later instead of spinning.
pub const READ_TRIES_MAX: usize = 1000;

/// Tags that an image has room for, and slots of one page of it.
pub const IMAGE_TAGS_MAX: usize = crate::limits::TAGS_MAX;
pub const IMAGE_PAGE_SLOTS: usize = 256;
