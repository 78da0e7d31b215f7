//! Modbus: frames, values, and the state machine of a connection.

mod connection;
pub mod decode;
pub mod frame;
mod queue;
mod unit;

pub use connection::ModbusLink;
