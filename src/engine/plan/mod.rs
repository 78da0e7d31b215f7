//! Configuration compiled into what the executors walk: requests with ready-made frames, decode tables,
//! releases with phases. Immutable once built.

pub mod admission;
mod build;
#[cfg(test)]
mod build_tests;
mod change;
mod checks;
pub mod demand;
mod diagnostics;
mod ids;
mod model;
mod pace;
mod phases;
mod place;
#[cfg(test)]
mod rebuild_tests;
mod scan;
mod sensor;

pub use crate::config::{Pace, ReleaseMode, Reporting, Suppress};
pub use admission::{Admission, ExecutorLoad, LinkLoad, PlanError, Slot};
pub use build::{PlanLink, Planned, Scanning, build, lanes_of, rebuild};
pub use change::{Change, changes, is_slow, lane_stays};
pub use checks::{Check, Checks};
pub use demand::{Costs, Finding, LOAD_MAX, LOAD_WARNING, WriteLoad};
pub use diagnostics::{DiagnosticTag, DiagnosticsPlan};
pub use ids::{Base, UsedIds};
pub use model::*;
pub use phases::predecessor;
pub use place::{CanFilter, CanSocket, Opens, Place};
pub use scan::ScanId;
pub use sensor::SensorLimits;
