//! The durable journal: an append-only log of blocks that outputs follow with cursors.
//!
//! One [`Journal`] writes, any number of [`JournalReader`]s read, in this process and in others. Blocks are
//! numbered without holes from the first one on, over all starts of the gateway. Each refers to the names that
//! its samples were made under; names are stored with the first block that uses them and removed after the last.
//! A commit is on the disk when it returns: LMDB with full sync, never a writable map (a full disk would kill the
//! process).

mod account;
mod aside;
mod audit;
mod block;
mod checksum;
pub mod codec;
mod column;
mod cursors;
mod database;
mod dictionary;
mod error;
mod fault;
mod follow;
#[doc(hidden)]
pub mod fuzz;
mod journal;
mod lock;
mod names;
pub mod pages;
mod reader;
mod renew;
mod retention;
mod salvage;
mod shared;
mod space;
mod stats;
mod tables;
mod wire;
mod writer;

use fieldbeat_core::{config, disk, limits, tag};

pub use account::Account;
pub use aside::set_aside_before;
pub use audit::{AuditLog, AuditOutcome, AuditRecord, AuditTail};
pub use block::{Block, BootId, Position};
pub use cursors::CursorState;
pub use error::JournalError;
pub use follow::{Follow, FollowError};
pub use journal::{Committed, Journal};
pub use names::NamesId;
pub use reader::{DamagedBlock, Found, JournalReader};
pub use salvage::{Gap, Salvaged, Survey, Verdict};
pub use stats::{COMMIT_BOUNDS, CommitTimes, JournalState, JournalStats};
pub use wire::Malformed;
pub use writer::{WriterEnd, WriterHandle, spawn_writer};
