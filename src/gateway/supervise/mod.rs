//! Start and stop of a whole gateway: the one place that knows every part.
//!
//! | file | subject |
//! |---|---|
//! | `gateway`, `floor`, `outputs` | everything, its real-time part, its outputs |
//! | `views` | what metrics see of them |
//! | `watch`, `reload`, `adoption` | new files, the plan made of them, the executors' change to it |
//! | `orders` | writes on their way to the executors, answers on their way back |
//! | `learned` | reply times as they are seen, against what was declared |
//! | `reasons`, `meta` | why tags have no good value, in the log; what outputs say of tags |
//! | `watchdog` | whether every thread that must advance does |
//! | `writes` | writes to tags, from the request to the answer |
//! | `leave`, `autopsy`, `stack` | the end when one does not: bounded, with its state and its stack told |
//! | `notify`, `hardware` | who hears of it: systemd, a hardware watchdog |

mod adoption;
mod autopsy;
mod ends;
pub mod floor;
mod gateway;
mod hardware;
mod learned;
mod leave;
mod meta;
mod notify;
pub mod orders;
mod outputs;
mod reasons;
mod reload;
mod reloading;
mod stack;
mod views;
mod watch;
mod watchdog;
pub mod writes;

pub use gateway::{Ended, Gateway, StartError, Trouble};
