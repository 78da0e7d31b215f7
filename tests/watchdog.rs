//! The watchdog and overload: a thread that is held from outside (a debugger stops just this one) ends the process,
//! with all that is known told; what is late or stopped as a whole does not.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

#[path = "watchdog/overload.rs"]
mod overload;
#[path = "peers/mod.rs"]
mod peers;
#[allow(dead_code, reason = "this test uses its own part of it")]
#[path = "field/rig.rs"]
mod rig;
#[path = "watchdog/stall.rs"]
mod stall;
#[path = "watchdog/systemd.rs"]
mod systemd;
