//! The floor and the hub in virtual time, in one thread, against devices that misbehave by seed.
//!
//! The planner, the executor, the links, the connector and the hub are the real ones; the world under them is
//! simulated, so a virtual day takes seconds, and the same seed does the same, always. After each step the
//! invariants are checked.
//!
//! | file | subject |
//! |---|---|
//! | `scenario` | a configuration and its troubles, by seed |
//! | `case`, `record` | a run as data, in a file |
//! | `script` | the coarse events of a run: drawn, or listed |
//! | `model` | configurations as people write and change them |
//! | `reload` | a changed configuration on its way to the executors |
//! | `memory`, `device`, `manners` | what Modbus devices hold and how they misbehave |
//! | `local`, `can`, `canopen` | threads of local devices, CAN buses and CANopen networks, likewise |
//! | `given` | what such devices gave, and what a tag must therefore read |
//! | `cell`, `world`, `field`, `connector` | the executor's surroundings in virtual time |
//! | `stream`, `line` | connections that carry bytes; serial lines |
//! | `views`, `generations` | what each plan allows, and what ids stand for under it |
//! | `source` | a thread that is no executor, with a lane of its own |
//! | `beat`, `invariants` | what must hold |
//! | `broken` | kinds of what does not |
//! | `writes`, `orders`, `frames`, `pdos` | writes at any moment, and what must hold of them |
//! | `journal`, `outputs` | the real journal, crashes, and outputs that follow it |
//! | `shrink` | what breaks, made smaller |
//! | `hunt` | seeds that nobody has seen, on every core |
//! | `admitted`, `admitted_canopen` | what admission promises, put to the test |
//! | `lines` | what the run says in its log, and a reader who stalls |
//! | `run`, `parts`, `log` | the run, its hash and its last events |

#[cfg(test)]
mod admitted;
#[cfg(test)]
mod admitted_canopen;
mod beat;
mod broken;
mod can;
mod canopen;
mod case;
mod cell;
mod connector;
mod device;
mod field;
mod frames;
mod generations;
mod given;
pub mod hunt;
mod invariants;
mod journal;
mod line;
mod lines;
mod local;
mod log;
mod manners;
mod memory;
mod model;
mod orders;
mod outputs;
mod parts;
mod pdos;
mod record;
mod reload;
mod run;
mod scenario;
mod script;
pub mod shrink;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod views;
mod world;
mod writes;

use fieldbeat_core::{config, limits, logs, tag};
use fieldbeat_engine::{door, hub, lane, plan, protocol, rt};
use fieldbeat_output as output;
use fieldbeat_store as store;

pub use broken::{Broken, Kind};
pub use case::{Case, CaseError};
pub use parts::{Parts, RealParts};
pub use record::Recorded;
pub use run::{Outcome, record, run};
pub use scenario::Scenario;
pub use world::SimWorld;
