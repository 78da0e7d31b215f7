//! Modbus: frames, values, and the state machine of a connection.
//!
//! | file | subject |
//! |---|---|
//! | `connection` | the state machine: scans, queue, units, timeouts, the line's silences |
//! | `frame` | Modbus TCP frames, and what replies say |
//! | `framing`, `rtu`, `ascii` | the frames of serial lines |
//! | `decode` | registers and bits to values |
//! | `queue`, `unit` | what waits for the wire; whether a unit answers |

mod ascii;
mod connection;
pub mod decode;
pub mod frame;
mod framing;
pub(in crate::link) mod queue;
mod rtu;
mod unit;

pub use connection::ModbusLink;
pub use rtu::crc16;
