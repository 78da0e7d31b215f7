//! The inputs and outputs of this machine: GPIO lines, chips on I2C and SPI, devices of the kernel's IIO.
//!
//! | file | subject |
//! |---|---|
//! | `fields`, `schema` | keys with their ranges and defaults; the same for editors |
//! | `config`, `model` | a link as it is written; as it is known |
//! | `plan`, `cost` | the work; what it takes |
//! | `link` | the link, and the thread that holds the device |

pub mod config;
pub mod cost;
pub mod fields;
pub mod link;
pub mod model;
pub mod plan;

pub use config::LocalIo;
pub use model::*;
pub use plan::LocalIoPlan;
