//! Field links: each a non-blocking state machine behind [`crate::rt::Link`].

pub mod connector;
pub mod modbus;
pub mod write;
