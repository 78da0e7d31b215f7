//! Exact counts, written by the executor that owns the thing counted, read by anyone.
//!
//! All orderings are relaxed: each count is a total of its own, and no other memory is read through it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use crate::plan::Plan;

/// A count with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds without a locked instruction: there is only one writer.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Whether a link's connection is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LinkState {
    /// No connection; the connector is trying.
    Down = 0,
    /// Connected.
    Up = 1,
    /// Connected, and none of its units answers.
    Silent = 2,
}

impl LinkState {
    pub fn name(self) -> &'static str {
        match self {
            LinkState::Down => "down",
            LinkState::Up => "up",
            LinkState::Silent => "silent",
        }
    }
}

/// Of one link.
#[derive(Debug, Default)]
pub struct LinkCounters {
    /// Put on the wire.
    pub requests: Count,
    /// Good replies.
    pub replies: Count,
    /// Exception replies.
    pub exceptions: Count,
    /// Requests unanswered at their deadline.
    pub timeouts: Count,
    /// Requests lost because the connection broke under them.
    pub aborted: Count,
    /// Replies that came after their deadline; dropped.
    pub late: Count,
    /// Replies that no request asked for; dropped.
    pub foreign: Count,
    /// Replies that break the protocol; the connection is dropped.
    pub garbage: Count,
    /// Requests not sent because their unit is silent and not due for a probe, or the link is down.
    pub suppressed: Count,
    /// Connections lost.
    pub disconnects: Count,
    /// Connections made.
    pub connects: Count,
    state: AtomicU8,
}

impl LinkCounters {
    pub fn state(&self) -> LinkState {
        match self.state.load(Relaxed) {
            1 => LinkState::Up,
            2 => LinkState::Silent,
            _ => LinkState::Down,
        }
    }

    pub fn set_state(&self, state: LinkState) {
        self.state.store(state as u8, Relaxed);
    }
}

/// Of one scan (a group on a link).
#[derive(Debug, Default)]
pub struct ScanCounters {
    /// Releases that happened.
    pub cycles: Count,
    /// Releases that were skipped because the executor was late by whole periods.
    pub skipped: Count,
    /// Cycles whose requests were not all answered when the next was due.
    pub deadline_misses: Count,
}

/// Of one executor's part of one group.
#[derive(Debug, Default)]
pub struct GroupCounters {
    /// Samples made.
    pub produced: Count,
    /// Of these, dropped because the ring was full.
    pub dropped: Count,
}

/// Of one executor.
#[derive(Debug, Default)]
pub struct ExecutorCounters {
    /// Times round the loop: the sign of life.
    pub loops: Count,
    /// Reports dropped because the statistics ring was full.
    pub reports_dropped: Count,
    /// Nanoseconds of CPU that the thread has used; written when it ends.
    pub cpu_ns: Count,
}

/// Every count of the floor.
#[derive(Debug)]
pub struct Counters {
    /// By [`crate::tag::LinkId`].
    pub links: Box<[CachePadded<LinkCounters>]>,
    /// By [`crate::plan::ScanId`].
    pub scans: Box<[CachePadded<ScanCounters>]>,
    /// By [`crate::tag::ExecutorId`], then by [`crate::tag::GroupId`].
    pub groups: Box<[Box<[CachePadded<GroupCounters>]>]>,
    /// By [`crate::tag::ExecutorId`].
    pub executors: Box<[CachePadded<ExecutorCounters>]>,
}

impl Counters {
    pub fn new(plan: &Plan) -> Counters {
        fn table<T: Default>(len: usize) -> Box<[CachePadded<T>]> {
            (0..len).map(|_| CachePadded::new(T::default())).collect()
        }
        Counters {
            links: table(plan.links.len()),
            scans: table(plan.scans.len()),
            groups: plan.executors.iter().map(|_| table(plan.groups.len())).collect(),
            executors: table(plan.executors.len()),
        }
    }

    /// Samples made so far, of all executors.
    pub fn produced(&self) -> u64 {
        self.groups.iter().flatten().map(|g| g.produced.get()).sum()
    }

    /// Samples dropped at the rings so far, of all executors.
    pub fn dropped(&self) -> u64 {
        self.groups.iter().flatten().map(|g| g.dropped.get()).sum()
    }
}
