//! Configuration compiled into what the executors walk: requests with ready-made frames, decode tables,
//! releases with phases. Immutable once built.

pub mod admission;
mod build;
#[cfg(test)]
mod build_tests;
mod change;
mod checks;
mod diagnostics;
mod ids;
mod model;
mod phases;
mod place;
#[cfg(test)]
mod rebuild_tests;
mod sensor;
mod work;

pub use admission::{
    Admission, Costs, ExecutorLoad, Finding, LOAD_MAX, LOAD_WARNING, LinkLoad, PlanError, Slot, WriteLoad,
};
pub use build::{Planned, Scanning, build, rebuild};
pub use change::{Change, changes, is_slow, lane_stays};
pub use checks::{Check, Checks};
pub use ids::{Base, UsedIds};
pub use model::*;
pub use phases::predecessor;
pub use place::{CanFilter, CanSocket, Opens, Place};
pub use sensor::SensorLimits;
pub use work::{LinkWork, PlanLink, Refusal};

pub use crate::config::{ReleaseMode, Reporting, Suppress};
