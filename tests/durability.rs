//! The whole gateway against a real plant, a real disk and a real broker: what was committed arrives, whatever
//! is killed, and what is lost is counted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "durability/bound.rs"]
mod bound;
#[path = "durability/broker.rs"]
mod broker;
#[path = "support/certs.rs"]
mod certs;
#[path = "support/consumer.rs"]
mod consumer;
#[path = "durability/damage.rs"]
mod damage;
#[path = "support/disk.rs"]
mod disk;
#[path = "durability/full.rs"]
mod full;
#[path = "durability/gateway.rs"]
mod gateway;
#[path = "durability/kill.rs"]
mod kill;
#[path = "durability/ledger.rs"]
mod ledger;
#[path = "support/message.rs"]
mod message;
#[path = "support/mosquitto.rs"]
mod peers;
#[path = "durability/per_tag.rs"]
mod per_tag;
#[path = "support/tag_message.rs"]
mod tag_message;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time: they measure time, and a gateway wants its CPU.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
