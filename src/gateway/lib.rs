//! A whole gateway: it starts and stops, watches itself, and answers those who ask.
//!
//! | module | subject |
//! |---|---|
//! | [`serve`] | what others read from us and ask of us: metrics, health, the control socket |
//! | [`source`] | samples that no executor makes: threads with a lane of their own |
//! | [`doctor`] | whether the machine is fit for a steady scan |
//! | [`supervise`] | start and stop of a whole gateway |

pub mod doctor;
pub mod serve;
pub mod source;
pub mod supervise;

use fieldbeat_core::{command, config, disk, limits, logs, tag};
use fieldbeat_engine::{connector, door, hub, lane, plan, protocol, rt};
use fieldbeat_output as output;
use fieldbeat_store as store;
