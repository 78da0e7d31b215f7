//! The real-time floor. Nothing in here allocates, locks, logs, resolves, opens or frees once it runs.

mod counters;
mod report;

pub use counters::{Count, Counters, ExecutorCounters, GroupCounters, LinkCounters, LinkState, ScanCounters};
pub use report::{Report, RequestResult};
