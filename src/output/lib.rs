//! Outputs: they follow the journal and publish its samples.
//!
//! An output reads blocks from its durable cursor on, delivers them, and moves the cursor only over what the
//! other side has acknowledged. After any outage it goes on there: in order, nothing missing.

pub mod catalog;
pub mod engine;
mod error;
mod http;
pub mod influx;
pub mod mqtt;
mod peer;
mod stats;
mod tls;

use fieldbeat_core::{command, config, limits, tag};
use fieldbeat_store as store;

pub use engine::Feed;
pub use error::OutputError;
pub use stats::{OutputState, OutputStats};

use std::thread::JoinHandle;

/// A running output. It ends when its `stop` flag is set; dropping the handle leaves it running.
#[derive(Debug)]
pub struct OutputHandle {
    name: String,
    thread: JoinHandle<()>,
}

impl OutputHandle {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the thread has ended: after `stop`, or because it failed in a way it should not.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end. `false`: the thread panicked.
    pub fn join(self) -> bool {
        self.thread.join().is_ok()
    }
}
