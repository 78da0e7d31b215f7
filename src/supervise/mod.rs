//! Start and stop of a whole gateway: the one place that knows every part.

mod adoption;
pub mod floor;
mod gateway;
mod outputs;
mod reload;
mod source;
mod watch;

pub use gateway::{Ended, Gateway, StartError};
pub use source::FollowJournal;
