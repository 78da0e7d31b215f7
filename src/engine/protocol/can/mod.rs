//! CAN: frames of SocketCAN interfaces, fields of them by DBC files or by their bits, parameter groups of SAE J1939.
//!
//! | file | subject |
//! |---|---|
//! | `fields`, `schema` | keys with their ranges and defaults; the same for editors |
//! | `config`, `model` | a link as it is written; as it is known |
//! | `address`, `signal` | addresses of tags: by identifier and bits; by the names of a DBC file |
//! | `transmit`, `sent` | messages that are sent; that what is written is in one |
//! | `names`, `bits` | DBC files by whose names tags are known; what bits of frames can hold |
//! | `tag` | what a tag's bits allow |
//! | `dbc` | DBC files |
//! | `plan` | the work |
//! | `link` | the connection |

pub mod address;
pub mod bits;
pub mod config;
pub mod dbc;
pub mod fields;
pub mod link;
pub mod model;
pub mod names;
pub mod plan;
pub mod schema;
pub mod sent;
pub mod signal;
pub mod tag;
pub mod transmit;

pub use config::Can;
pub use model::*;
pub use plan::CanPlan;
