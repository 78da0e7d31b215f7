//! Modbus TCP: frames, values, and the connection's state machine.

pub mod decode;
pub mod frame;
mod queue;
mod tcp;
mod unit;

pub use tcp::ModbusTcp;
