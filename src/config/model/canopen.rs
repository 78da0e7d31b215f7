//! CANopen networks, and where tags lie in their nodes' object dictionaries (CiA 301).

use std::sync::Arc;

use crate::tag::{Nanos, ValueType};

/// A CAN interface on which CANopen is spoken, with this gateway as its master.
#[derive(Debug, Clone, PartialEq)]
pub struct CanOpenConfig {
    /// As the system names it, such as `can0`.
    pub interface: Arc<str>,
    pub connect_timeout: Nanos,
}

/// An object of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct CanOpenAddress {
    /// Of the value before the tag's own scale and offset.
    pub ty: ValueType,
}
