//! Low-priority requests: those that may stay unanswered, retries at a busy device, and those that are only
//! asked to find something out. They go out when nothing else waits; where a device is slower than its scans, so that
//! something always does, by turns with the others after a while.
//!
//! A request that its unit leaves unanswered while it answers others holds the link for the whole timeout. So there is one
//! of these at a time, and after each a pause in proportion to the timeout: however many there are, the others keep their
//! share of the wire.

use super::super::unit::Unit;
use super::request::Request;
use crate::limits::{LATER_WAITS_MAX, MUTE_SPACING, SUSPECT_SPACING};
use crate::protocol::modbus::plan::ModbusPlan;
use crate::protocol::queue::Queue;
use crate::tag::Nanos;

/// See the module.
pub(super) struct Later {
    pub queue: Queue,
    /// The next request that may stay unanswered goes out then; and the next that is known for it.
    suspects_at: Nanos,
    mutes_at: Nanos,
    /// Since when one could go, but for others; and one went before them last.
    waits_since: Option<Nanos>,
    overtook: bool,
}

/// What is known of the requests and their units.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub plan: &'a ModbusPlan,
    pub requests: &'a [Request],
    pub units: &'a [Unit],
    /// A request is in flight that may stay unanswered.
    pub waits_for_suspect: bool,
}

impl Known<'_> {
    /// Not answered last time, while its unit answered others.
    pub fn is_suspect(&self, at: u32) -> bool {
        let request = &self.requests[at as usize];
        let unit = &self.units[usize::from(self.plan.requests[at as usize].unit)];
        request.misses > 0 && unit.has_answered_since(request.missed_at)
    }
}

impl Later {
    pub fn new(queue: Queue) -> Later {
        Later { queue, suspects_at: Nanos::ZERO, mutes_at: Nanos::ZERO, waits_since: None, overtook: false }
    }

    /// A request was not answered whose unit answers others; `is_known`: as it was expected.
    pub fn missed(&mut self, now: Nanos, timeout: Nanos, is_known: bool) {
        self.suspects_at = now + Nanos(timeout.0 * SUSPECT_SPACING);
        if is_known {
            self.mutes_at = now + Nanos(timeout.0 * MUTE_SPACING);
        }
    }

    /// Goes on under another plan.
    pub fn continue_from(&mut self, old: &Later) {
        (self.suspects_at, self.mutes_at) = (old.suspects_at, old.mutes_at);
    }

    /// When a request may go, as far as the others are concerned.
    fn ready_at(&self, at: u32, known: Known<'_>) -> Nanos {
        let request = &known.requests[at as usize];
        if !known.is_suspect(at) {
            return request.until;
        }
        let spaced = if request.is_known_mute() { self.suspects_at.max(self.mutes_at) } else { self.suspects_at };
        if known.waits_for_suspect { Nanos::NEVER } else { request.until.max(spaced) }
    }

    pub fn is_ready(&self, at: u32, known: Known<'_>, now: Nanos) -> bool {
        self.ready_at(at, known) <= now
    }

    /// When the next may go; `free_at`: when its unit may be asked.
    pub fn next_at(&self, known: Known<'_>, free_at: impl Fn(u32) -> Nanos) -> Nanos {
        let ready = self.queue.iter().map(|at| self.ready_at(at, known).max(free_at(at)));
        ready.min().unwrap_or(Nanos::NEVER)
    }

    /// The next request and its scan: of the others, or of these.
    pub fn next(
        &mut self,
        others: &mut Queue,
        now: Nanos,
        known: Known<'_>,
        free_at: impl Fn(u32) -> Nanos,
    ) -> Option<(usize, u32)> {
        if self.queue.is_empty() {
            self.waits_since = None;
            return others.pop_first(|at| free_at(at) <= now);
        }
        let is_overdue = self.waits_since.is_some_and(|since| now.since(since) >= LATER_WAITS_MAX);
        if is_overdue
            && !self.overtook
            && let Some(next) = self.pop(now, known, &free_at)
        {
            self.overtook = true;
            return Some(next);
        }
        self.overtook = false;
        if let Some(next) = others.pop_first(|at| free_at(at) <= now) {
            if self.waits_since.is_none() && self.next_at(known, free_at) <= now {
                self.waits_since = Some(now);
            }
            return Some(next);
        }
        self.waits_since = None;
        self.pop(now, known, free_at)
    }

    /// The next that may go now, and its scan.
    fn pop(&mut self, now: Nanos, known: Known<'_>, free_at: impl Fn(u32) -> Nanos) -> Option<(usize, u32)> {
        let next = self.queue.iter().find(|at| self.ready_at(*at, known).max(free_at(*at)) <= now)?;
        self.queue.pop_first(|at| at == next)
    }
}
