//! Start and stop of a whole gateway: the one place that knows every part.

mod autopsy;
pub mod floor;
mod gateway;
mod hardware;
mod leave;
mod notify;
mod outputs;
mod source;
mod stack;
mod watchdog;

pub use gateway::{Ended, Gateway, StartError, Trouble};
pub use source::FollowJournal;
