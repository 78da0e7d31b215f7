//! Timing reports of an executor, through their own ring; histograms are computed outside the floor.

use crate::plan::ScanId;
use crate::tag::{GroupId, LinkId, Nanos, Object};

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
    /// Something happened to a node of a CANopen network.
    Node { link: LinkId, node: u8, event: NodeEvent },
}

/// What happened to a CANopen node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeEvent {
    /// It is set up, and started if it is to be.
    Ready,
    /// It has started anew by itself.
    BootUp,
    /// Its heartbeat or its answer to guarding is overdue.
    Late,
    /// It is gone.
    Lost,
    /// It could not be set up: what it said when this object was read or written.
    Refused { object: Object, code: u32 },
    /// It is another device than its data sheet's: this object has this value.
    OtherDevice { object: Object, found: u32 },
    /// No PDO that the link receives, or sends, carries this object as it is to come or go by PDO.
    NotMapped { object: Object },
    /// It does not say what this object holds, which stands in a PDO that is sent to it: nothing else of that PDO is
    /// written.
    Untold { object: Object },
    /// An emergency; code 0: the error is gone.
    Emergency { code: u16, register: u8, manufacturer: [u8; 5] },
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
