//! Writes to tags: one path for the requests of every interface.
//!
//! One thread. It judges what was handed in at the desk, records what will be done in the journal's audit, gives the
//! order to the field, waits for its answer, records the outcome, and tells the requester. Nothing of that waits for a
//! device: orders are under way side by side, and one commit of the audit serves all that came together.
//!
//! | file | subject |
//! |---|---|
//! | `field` | what the service needs of tags and executors |
//! | `live` | the same of a gateway that runs |
//! | `judge` | whether a request is allowed, now |
//! | `book` | the audit: records, floods, ids that were used before the start |
//! | `service` | the thread |
//! | `ways` | the thread as a part of a gateway, with the control socket |

mod book;
mod field;
mod judge;
mod live;
mod service;
#[cfg(test)]
mod tests;
mod ways;

pub use field::{Field, FieldAnswer, Reading, Target};
pub use live::Live;
pub use service::Writes;
pub use ways::{Prepared, Ways};
