//! The engine: everything between a device and the queue of the journal. The whole hot path is in this crate.
//!
//! | module | subject |
//! |---|---|
//! | [`plan`] | configuration compiled into what the executors walk |
//! | [`lane`] | one stream of samples: writer, ring, report filter, process image, counters |
//! | [`rt`] | the real-time floor: thread, world, executor |
//! | [`connector`] | opens and closes connections, away from the floor |
//! | [`protocol`] | the protocols of field links, a room each |
//! | [`hub`] | rings to batches to the journal and to live readers; statistics |
//! | [`door`] | what a source's thread has of the gateway: its lane, new plans, writes, the stop |

pub mod connector;
pub mod door;
pub mod hub;
pub mod lane;
pub mod plan;
pub mod protocol;
pub mod rt;

use fieldbeat_core::{config, limits, tag};
