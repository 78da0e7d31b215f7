//! Fieldbeat: a real-time, deterministic data acquisition engine and industrial gateway.
//!
//! The map of the house, from the bottom up. Imports point down only; `tests/house.rs` keeps it so. This crate has the program
//! itself, and shows the others under one name.
//!
//! | crate | modules | subject |
//! |---|---|---|
//! | `core` | [`tag`] | samples, values, status codes: pure data that everyone shares |
//! | | [`limits`] | every hard limit, with its reason |
//! | | [`disk`] | files that are ours: locks, paths that are held open, what is written whole |
//! | | [`logs`] | lines on standard error, written without waiting for anyone |
//! | | [`config`] | what people write, read and validated |
//! | | [`command`] | writes to tags as they are asked for: requests, answers, what is allowed |
//! | `engine` | [`plan`] | configuration compiled into what the executors walk |
//! | | [`lane`] | one stream of samples: writer, ring, report filter, process image, counters |
//! | | [`rt`] | the real-time floor: thread, world, executor |
//! | | [`connector`] | opens and closes connections, away from the floor |
//! | | [`protocol`] | the protocols of field links, a room each |
//! | | [`hub`] | rings to batches to the journal and to live readers; statistics |
//! | | [`door`] | what a source's thread has of the gateway: its lane, new plans, writes, the stop |
//! | `store` | [`store`] | the durable journal and its cursors |
//! | `output` | [`output`] | northbound: MQTT, InfluxDB |
//! | `gateway` | [`serve`] | what others read from us and ask of us: metrics, health, the control socket |
//! | | [`source`] | samples that no executor makes: threads with a lane of their own |
//! | | [`doctor`] | whether the machine is fit for a steady scan |
//! | | [`supervise`] | start and stop of a whole gateway |
//! | `plant` | [`plant`] | simulated field devices on real sockets, for demo and tests |
//! | `sim` | [`sim`] | the floor and the hub in virtual time against devices that misbehave, by seed |
//! | (this) | [`cli`] | the commands that people type |
//! | | [`mod@fuzz`] | what fuzzers feed |

pub mod cli;
#[doc(hidden)]
pub mod fuzz;

pub use fieldbeat_core::{command, config, disk, limits, logs, tag};
pub use fieldbeat_engine::{connector, door, hub, lane, plan, protocol, rt};
pub use fieldbeat_gateway::{doctor, serve, source, supervise};
pub use fieldbeat_output as output;
pub use fieldbeat_plant as plant;
pub use fieldbeat_sim as sim;
pub use fieldbeat_store as store;
