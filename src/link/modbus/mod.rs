//! Modbus TCP: frames, values, and the connection's state machine.

pub mod decode;
pub mod frame;
mod queue;
mod tcp;
#[cfg(test)]
mod tcp_tests;
mod unit;

pub use tcp::ModbusTcp;
