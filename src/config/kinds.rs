//! The protocols that tag files can name.

use super::kind::Protocols;
use super::{bus, can, canopen, modbus};

pub const PROTOCOLS: Protocols = Protocols(&[&modbus::Modbus, &can::Can, &canopen::CanOpen, &bus::LocalIo]);
