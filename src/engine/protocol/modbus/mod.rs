//! Modbus: "MODBUS Application Protocol Specification V1.1b3", "MODBUS over Serial Line V1.02", "MODBUS Messaging on
//! TCP/IP Implementation Guide V1.0b".
//!
//! | file | subject |
//! |---|---|
//! | `fields`, `schema` | keys with their ranges and defaults; the same for editors |
//! | `config`, `model` | a link as it is written; as it is known |
//! | `serial` | serial ports |
//! | `address`, `registers` | addresses of tags; register numbers |
//! | `tag` | what a tag's place allows |
//! | `overlap` | tags that share registers |
//! | `plan`, `blocks` | the work: tags merged into block reads |
//! | `cost`, `line_time` | what the work takes; exact times on a serial line |
//! | `link` | the connection |

pub mod address;
pub mod blocks;
pub mod config;
pub mod cost;
pub mod fields;
pub mod line_time;
pub mod link;
pub mod model;
pub mod overlap;
pub mod plan;
pub mod registers;
pub mod schema;
pub mod serial;
pub mod tag;

pub use config::Modbus;
pub use line_time::SerialLine;
pub use model::*;
pub use plan::{Decode, ModbusPlan, ModbusRequest, ModbusWrite};
