//! Questions to a running gateway; writes as people and programs ask for them: over the control socket and over MQTT, to pymodbus's server, with
//! everything that can be wrong; what the audit tells of it, also after a kill.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

mod asking;
#[path = "../support/certs.rs"]
mod certs;
mod command_line;
mod commands;
mod killed;
mod meta;
#[path = "../support/mosquitto.rs"]
mod mosquitto;
#[path = "../peers/mod.rs"]
mod peers;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../field/rig.rs"]
mod rig;
mod set_points;
mod site;
mod tls;
