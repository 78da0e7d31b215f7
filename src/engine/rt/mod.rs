//! The real-time floor. Nothing in here allocates, locks, logs, resolves, opens or frees once it runs.

mod adoption;
mod arrivals;
pub mod calibrate;
mod clock;
mod executor;
mod link;
mod linux;
mod report;
pub mod thread;
mod waiting;
mod world;
pub mod write;

pub use self::clock::{monotonic_now, thread_cpu_time};
pub use adoption::{Adoption, LinkChange};
pub use executor::{Clock, Connected, Executor, Wiring};
pub use link::{CloseReason, Closed, Link, ScanRelease, Served, StepContext};
pub use linux::{LinuxWorld, Waker};
pub use report::{NodeEvent, Report, RequestResult};
pub use waiting::WaitCall;
pub use world::{Arrival, Conn, Io, Ready, Stamped, World};
pub use write::{WriteAnswer, WriteOrder, WriteOutcome, WritePayload};
