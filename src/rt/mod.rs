//! The real-time floor. Nothing in here allocates, locks, logs, resolves, opens or frees once it runs.

mod adoption;
mod arrivals;
pub mod calibrate;
mod counters;
mod exceptions;
mod executor;
mod image;
mod link;
mod linux;
mod pages;
mod report;
mod sink;
mod sync;
pub mod thread;
mod waiting;
mod world;
pub mod write;

pub use adoption::{Adoption, LinkChange};
pub use counters::{
    CanCounters, Count, Counters, ExecutorCounters, GroupCounters, Lately, LinkCounters, LinkState, ScanCounters,
};
pub use exceptions::{Exceptions, Verdict};
pub use executor::{Clock, Connected, Executor, Wiring};
pub use image::{Image, Reading};
pub use link::{CloseReason, Closed, Floor, Link, ScanRelease, Served};
pub use linux::{LinuxWorld, Waker, monotonic_now, thread_cpu_time};
pub use pages::region_of;
pub use report::{NodeEvent, Report, RequestResult};
pub use sink::{Frame, Sink};
pub use waiting::WaitCall;
pub use world::{Arrival, Conn, Io, Ready, Stamped, World};
pub use write::{WriteAnswer, WriteOrder, WriteOutcome, WritePayload};
