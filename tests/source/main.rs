//! Sources: threads that are no executors have lanes of their own, whose samples are as good as any; and the first of them,
//! the gateway's own tags.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

mod changes;
mod diagnostics;
mod lane;
