//! Modbus: frames, values, and the state machine of a connection.
//!
//! | file | subject |
//! |---|---|
//! | `connection` | the state machine: scans, queue, units, timeouts, the line's silences |
//! | `frame` | Modbus TCP frames, and what replies say |
//! | `framing`, `rtu`, `ascii` | the frames of serial lines |
//! | `pdu` | the requests of writes, and what replies say of them |
//! | `decode`, `encode`, `text`, `date`, `half` | registers and bits to values, and back |
//! | `unit` | whether a unit answers |

mod ascii;
pub mod connection;
mod date;
pub mod decode;
mod encode;
pub mod expected;
pub mod frame;
mod framing;
#[doc(hidden)]
pub mod fuzz;
mod half;
mod pdu;
mod rtu;
mod text;
mod unit;

pub use connection::ModbusLink;
pub use encode::{decode_back, encode};
pub use rtu::crc16;
