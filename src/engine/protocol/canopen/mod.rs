//! CANopen: CiA 301 as a master, data sheets of CiA 306.
//!
//! | file | subject |
//! |---|---|
//! | `fields`, `schema` | keys with their ranges and defaults; the same for editors |
//! | `config`, `model` | a link as it is written; as it is known |
//! | `address`, `value` | addresses of tags; values of objects |
//! | `tag` | what a tag's object allows |
//! | `eds` | data sheets: EDS and DCF files |
//! | `plan` | the work |
//! | `link` | the connection |
//! | `node_log` | what happens to nodes, in the log |

pub mod address;
pub mod config;
pub mod eds;
pub mod fields;
pub mod link;
pub mod model;
pub mod node_log;
pub mod plan;
pub mod schema;
pub mod tag;
pub mod value;

pub use config::CanOpen;
pub use model::*;
pub use plan::CanOpenPlan;
