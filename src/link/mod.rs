//! Field links: each a non-blocking state machine behind [`crate::rt::Link`].

pub mod bus;
pub mod can;
pub mod canopen;
pub mod connector;
pub mod kinds;
pub mod modbus;
mod no_value;
mod queue;
pub mod write;

pub use kinds::{FieldLink, FieldWork};
