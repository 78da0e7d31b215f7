//! The gateway's field side as a whole: the program that people start, against servers that others wrote, against
//! devices that misbehave, and with all that can be wrong around it.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

#[path = "field/bad_input.rs"]
mod bad_input;
#[path = "support/certs.rs"]
mod certs;
#[path = "field/closing.rs"]
mod closing;
#[path = "field/command_line.rs"]
mod command_line;
#[path = "field/contents.rs"]
mod contents;
#[path = "field/faults.rs"]
mod faults;
#[path = "field/interop.rs"]
mod interop;
mod peers;
#[path = "field/reasons.rs"]
mod reasons;
#[path = "field/refused_calls.rs"]
mod refused_calls;
#[path = "field/reload.rs"]
mod reload;
#[path = "field/rig.rs"]
mod rig;
#[path = "field/signals.rs"]
mod signals;
#[path = "field/standard_error.rs"]
mod standard_error;
#[path = "field/standard_output.rs"]
mod standard_output;
#[path = "field/whole_runs.rs"]
mod whole_runs;
