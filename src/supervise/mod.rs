//! Start and stop of a whole gateway: the one place that knows every part.

pub mod floor;
mod gateway;
mod outputs;
mod source;
mod watchdog;

pub use gateway::{Ended, Gateway, StartError};
pub use source::FollowJournal;
