//! What an executor tells of its own timing, through a ring of its own; histograms are made outside the floor.

use crate::plan::ScanId;
use crate::tag::{GroupId, LinkId, Nanos};

/// One event. 40 bytes, copied into the statistics ring; dropped and counted when that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// A group's release started. `nominal` is the beat that it serves, `due` the first that it stands for: the same
    /// one, unless the executor was late by whole periods and skipped the beats from `due` to before `nominal`.
    Released { group: GroupId, due: Nanos, nominal: Nanos, actual: Nanos },
    /// A request was put on the wire.
    Issued { group: GroupId, link: LinkId, nominal: Nanos, sent: Nanos },
    /// A request came to its end. `received` is when: reply decoded, or given up.
    Finished { scan: ScanId, link: LinkId, nominal: Nanos, sent: Nanos, received: Nanos, result: RequestResult },
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RequestResult {
    Good,
    /// The device's exception code.
    Exception(u8),
    Timeout,
    /// The connection broke.
    Aborted,
    /// A reply came, and failed its check.
    Broken,
}
