//! How a group is sampled: polled at a period, or by event.

use crate::tag::{NANOS_PER_SEC, Nanos};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Polled: a cycle begins every period.
    Every(Nanos),
    /// A sample comes when there is news, and only a source's: there are no releases, and so no cycle can be missed. Of each
    /// of the group's tags, so many come a second at most, on average; more are dropped and counted. A whole number, so that
    /// plans can be compared.
    OnEvent { rate_max_hz: u32 },
}

impl Pace {
    /// Of what is polled.
    pub fn period(self) -> Option<Nanos> {
        if let Pace::Every(period) = self { Some(period) } else { None }
    }

    /// Of what comes by event: samples a second of each tag at most.
    pub fn rate_max_hz(self) -> Option<u32> {
        if let Pace::OnEvent { rate_max_hz } = self { Some(rate_max_hz) } else { None }
    }

    /// From one sample of a tag to the next: the period, or the average at the highest rate.
    pub fn interval(self) -> Nanos {
        match self {
            Pace::Every(period) => period,
            Pace::OnEvent { rate_max_hz } => Nanos(NANOS_PER_SEC / u64::from(rate_max_hz.max(1))),
        }
    }
}
