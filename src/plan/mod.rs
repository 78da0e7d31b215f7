//! Configuration compiled into what the executors walk: requests with ready-made frames, decode tables,
//! releases with phases. Immutable once built.

mod admission;
mod blocks;
mod build;
#[cfg(test)]
mod build_tests;
mod model;

pub use admission::{Admission, ExecutorLoad, LOAD_MAX, LOAD_WARNING, LinkLoad, PlanError, wire_bytes};
pub use build::{Planned, build};
pub use model::*;
