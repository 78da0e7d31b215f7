//! CAN interfaces, and where tags lie in CAN frames.

use std::sync::Arc;

use crate::tag::{Nanos, ValueType};

/// A CAN interface whose frames are read.
#[derive(Debug, Clone, PartialEq)]
pub struct CanConfig {
    /// As the system names it, such as `can0`.
    pub interface: Arc<str>,
    /// Between attempts to open it a failed attempt has this long.
    pub connect_timeout: Nanos,
}

/// A signal in a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct CanAddress {
    /// Of the value before the tag's own scale and offset.
    pub ty: ValueType,
}
