//! The gateway's field side as a whole: the program that people start, against servers that others wrote, against
//! devices that misbehave, and with all that can be wrong around it.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

#[path = "field/bad_input.rs"]
mod bad_input;
#[path = "mqtt/certs.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod certs;
#[path = "field/command_line.rs"]
mod command_line;
#[path = "field/faults.rs"]
mod faults;
#[path = "field/full_disk.rs"]
mod full_disk;
#[path = "field/interop.rs"]
mod interop;
mod peers;
#[path = "field/rig.rs"]
mod rig;
#[path = "field/whole_runs.rs"]
mod whole_runs;
