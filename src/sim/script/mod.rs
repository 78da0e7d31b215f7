//! The coarse events of a run, decided before it runs: drawn from its seed, or listed by a case.
//!
//! | file | subject |
//! |---|---|
//! | `events` | what can happen, and when |
//! | `draw` | events of a seed |
//! | `hosts`, `moods` | devices, and the phases in which they misbehave |
//! | `source` | drawn or listed: what a run is given |

mod draw;
mod events;
mod hosts;
mod moods;
mod source;

pub use draw::rng_of;
pub use events::{
    ClockStep, Crash, Executed, JournalFault, JournalTrouble, Series, Span, Stall, Storm, TagChange, Timed, Write,
};
pub use hosts::{DeviceKind, Host, Hosts};
pub use moods::{Mood, Moods, Phase};
pub use source::{Changes, Coming, Drawn, Ends, Listed, Script};
