//! A lane: one ordered stream of samples with numbers of its own, its ring, its counters, and the process image that it
//! writes. An executor owns one, a source's thread owns one. Nothing in here allocates, locks, logs or frees once it runs.
//!
//! | file | subject |
//! |---|---|
//! | `writer` | where decoded samples go: the image and the ring |
//! | `image` | the latest value of each tag, for anyone to read |
//! | `filter` | report by exception: which samples are reported |
//! | `rate` | how many samples by event a lane takes |
//! | `counters` | exact counts of links, scans, groups and lanes |

mod counters;
mod filter;
mod image;
mod pages;
mod rate;
mod sync;
mod writer;

pub use counters::{
    CanCounters, Count, Counters, GroupCounters, LaneCounters, Lately, LinkCounters, LinkState, ScanCounters,
};
pub use filter::{ReportFilter, Verdict};
pub use image::{Image, Reading};
pub use pages::region_of;
pub use rate::EventRates;
pub use writer::{Frame, SampleWriter};
