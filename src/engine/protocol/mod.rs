//! The protocols of field links, one folder each: configuration, addresses, schema, plan, cost, link, encoding.
//!
//! | file | subject |
//! |---|---|
//! | `kinds` | the closed set of protocols: the one file that names them all |
//! | `modbus` | Modbus over TCP, on serial lines, through serial servers |
//! | `can` | CAN and CAN FD frames, DBC files, J1939 |
//! | `canopen` | CANopen networks |
//! | `local_io` | GPIO, I2C, SPI and IIO of this machine |
//! | `write` | what is to be written, and why a value is refused |
//! | `no_value`, `queue` | what several of them need |
//!
//! How to add one: `docs/adding-a-protocol.md`.

pub mod can;
pub mod canopen;
#[doc(hidden)]
pub mod fuzz;
pub mod kinds;
pub mod local_io;
pub mod modbus;
mod no_value;
mod queue;
#[cfg(test)]
mod tests;
pub mod write;

use std::path::Path;

use serde_json::Value;

use crate::config::{self, Config, Diagnostics, Loaded};
use crate::plan;
use crate::plan::demand::Costs;
use crate::plan::{Base, PlanError, Planned};

pub use kinds::{FieldLink, FieldWork};

/// Reads `dir/fieldbeat.toml` and `dir/tags/*.json`: see [`config::load`].
///
/// # Errors
/// All that is wrong in all files.
pub fn load(dir: &Path) -> Result<Loaded, Diagnostics> {
    config::load(dir, kinds::PROTOCOLS)
}

/// Reads a configuration from memory: see [`config::load_parts`].
///
/// # Errors
/// All that is wrong in all files.
pub fn load_parts(toml: (&str, &str), tags: &[(&str, &str)]) -> Result<Loaded, Diagnostics> {
    config::load_parts(toml, tags, kinds::PROTOCOLS)
}

/// The JSON Schema of the tag files.
pub fn schema() -> Value {
    config::schema(kinds::PROTOCOLS)
}

/// Compiles `config` for executors on `cpus` (at least one).
///
/// # Errors
/// What does not fit the wire, the device or the core, with the asked and the highest possible rate.
pub fn build(config: &Config, cpus: &[u32]) -> Result<Planned, PlanError> {
    build_with(config, cpus, &Costs::default())
}

/// Likewise, by what things cost on this machine.
///
/// # Errors
/// As [`build`].
pub fn build_with(config: &Config, cpus: &[u32], costs: &Costs) -> Result<Planned, PlanError> {
    plan::build(config, cpus, costs, kinds::plan_link)
}

/// Compiles `config` to follow a plan that runs: what stays keeps its ids, its executor and its phases.
///
/// # Errors
/// As [`build`]; also when no ids are left for what is new.
pub fn rebuild(config: &Config, base: &Base<'_>) -> Result<Planned, PlanError> {
    rebuild_with(config, base, &Costs::default())
}

/// Likewise, by what things cost on this machine.
///
/// # Errors
/// As [`rebuild`].
pub fn rebuild_with(config: &Config, base: &Base<'_>, costs: &Costs) -> Result<Planned, PlanError> {
    plan::rebuild(config, base, costs, kinds::plan_link)
}
