//! Configuration compiled into what the executors walk: requests with ready-made frames, decode tables,
//! releases with phases. Immutable once built.

pub mod admission;
mod blocks;
mod build;
#[cfg(test)]
mod build_tests;
mod bus;
pub mod can;
mod canopen;
mod change;
mod checks;
mod diagnostics;
mod ids;
mod modbus;
mod model;
mod pace;
mod phases;
#[cfg(test)]
mod rebuild_tests;
mod sensor;

pub use crate::config::{Object, Pace, ReleaseMode, Reporting, Suppress};
pub use admission::{
    Admission, Costs, ExecutorLoad, Finding, LOAD_MAX, LOAD_WARNING, LinkLoad, PlanError, SerialLine, Slot, WriteLoad,
    wire_bytes,
};
pub use build::{Planned, build, build_with, lanes_of, rebuild, rebuild_with};
pub use can::{CanFilter, CanSocket};
pub use change::{Change, changes, is_slow, lane_stays};
pub use checks::{Check, Checks};
pub use ids::{Base, UsedIds};
pub use model::*;
pub use phases::predecessor;
pub use sensor::SensorLimits;
