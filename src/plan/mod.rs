//! Configuration compiled into what the executors walk: requests with ready-made frames, decode tables,
//! releases with phases. Immutable once built.

mod admission;
mod blocks;
mod build;
#[cfg(test)]
mod build_tests;
mod change;
mod ids;
mod model;
mod phases;
#[cfg(test)]
mod rebuild_tests;

pub use admission::{Admission, ExecutorLoad, LOAD_MAX, LOAD_WARNING, LinkLoad, PlanError, SerialLine, wire_bytes};
pub use build::{Planned, build, rebuild};
pub use change::{Change, changes};
pub use ids::{Base, UsedIds};
pub use model::*;
pub use phases::predecessor;
