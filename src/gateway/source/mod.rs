//! Samples that no executor makes: a *source* is an ordinary thread with a lane of its own. It may block, allocate and speak
//! TLS. What it writes has counters, tags, groups, report by exception, writes and reload as what an executor reads.
//!
//! | file | subject |
//! |---|---|
//! | `diagnostics` | the gateway's own tags, whose names begin with `$` |

pub mod diagnostics;

use std::thread::JoinHandle;

use crate::door::Door;
use crate::plan::SourceKind;

/// What makes samples in a thread of its own.
pub trait Source: Send {
    /// Runs until the door says stop. The samples' ring ends with the door.
    fn run(self: Box<Self>, door: Door);
}

/// Starts a source's thread.
///
/// # Errors
/// The system gives no thread.
pub fn spawn(kind: SourceKind, source: Box<dyn Source>, door: Door) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(kind.thread_name().to_owned()).spawn(move || source.run(door))
}
