//! Pauses that devices need between two requests: after any reply, after one of their own, and before another unit is
//! asked. Gateways to serial lines lose what comes sooner.

use super::ModbusLink;
use super::later::{Known, Later};
use super::wire::Next;
use super::write::Turn;
use crate::lane::region_of;
use crate::protocol::modbus::plan::ModbusPlan;
use crate::protocol::queue::Queue;
use crate::tag::Nanos;

/// When each unit may be asked again.
pub(super) struct UnitPauses {
    unit_pause: Nanos,
    change_pause: Nanos,
    /// By the plan's units.
    free_at: Box<[Nanos]>,
    /// The unit that was heard last, and when another may be asked.
    last: Option<usize>,
    others_at: Nanos,
}

impl UnitPauses {
    pub fn new(plan: &ModbusPlan) -> UnitPauses {
        UnitPauses {
            unit_pause: plan.config.unit_pause,
            change_pause: plan.config.unit_change_pause,
            free_at: vec![Nanos::ZERO; plan.units.len()].into_boxed_slice(),
            last: None,
            others_at: Nanos::ZERO,
        }
    }

    pub fn region(&self) -> (*const u8, usize) {
        region_of(&self.free_at)
    }

    pub fn free_at(&self, unit_at: usize) -> Nanos {
        match self.last {
            Some(last) if last != unit_at => self.free_at[unit_at].max(self.others_at),
            _ => self.free_at[unit_at],
        }
    }

    /// A unit has said what it had to say, or had its time to.
    pub fn heard(&mut self, unit_at: usize, now: Nanos) {
        self.free_at[unit_at] = now + self.unit_pause;
        (self.last, self.others_at) = (Some(unit_at), now + self.change_pause);
    }

    /// A unit is not asked before `until`.
    pub fn leave_alone(&mut self, unit_at: usize, until: Nanos) {
        self.free_at[unit_at] = until;
    }

    /// No unit is.
    pub fn leave_all_alone(&mut self, until: Nanos) {
        self.free_at.fill(until);
    }

    pub fn clear(&mut self) {
        self.free_at.fill(Nanos::ZERO);
    }

    /// Goes on under a new plan; `units` are new and old places.
    pub fn continue_from(&mut self, old: &UnitPauses, units: &[(u16, u16)]) {
        self.others_at = old.others_at;
        for (new, before) in units {
            self.free_at[usize::from(*new)] = old.free_at[usize::from(*before)];
            if old.last == Some(usize::from(*before)) {
                self.last = Some(usize::from(*new));
            }
        }
    }
}

/// What waits for the wire: when the write may go as far as its unit is concerned, when the first read, and when one of
/// them.
pub(super) struct Soonest {
    write_at: Nanos,
    read_at: Nanos,
    pub any: Nanos,
}

impl Soonest {
    pub fn of(queue: &Queue, later: (&Later, Known<'_>), units: &UnitPauses, write: Option<Turn>) -> Soonest {
        let (later, known) = later;
        let free_at = |at: u32| units.free_at(usize::from(known.plan.requests[at as usize].unit));
        let write_at = write.map_or(Nanos::NEVER, |turn| units.free_at(turn.unit_at));
        let read_at = queue.iter().map(free_at).min().unwrap_or(Nanos::NEVER).min(later.next_at(known, free_at));
        let any = if write.is_some_and(|turn| turn.at_once) { write_at } else { write_at.min(read_at) };
        Soonest { write_at, read_at, any }
    }

    /// Whether the write goes before the reads that may go, too.
    pub fn is_write(&self, turn: Turn, lets_read_first: bool, now: Nanos) -> bool {
        self.write_at <= now && (turn.at_once || !lets_read_first || now < self.read_at)
    }
}

/// Of a link whose frames carry transaction ids; one request is outstanding where a pause is asked for.
pub(super) struct Pauses {
    turnaround: Nanos,
    free_at: Nanos,
    pub units: UnitPauses,
    /// Any is asked for.
    asked_for: bool,
}

impl Pauses {
    pub fn new(plan: &ModbusPlan) -> Pauses {
        let config = &plan.config;
        Pauses {
            turnaround: config.turnaround,
            free_at: Nanos::ZERO,
            units: UnitPauses::new(plan),
            asked_for: [config.turnaround, config.unit_pause, config.unit_change_pause] != [Nanos::ZERO; 3],
        }
    }

    /// A unit has answered, or had its time to.
    pub fn heard(&mut self, unit_at: usize, now: Nanos) {
        if self.asked_for {
            self.free_at = now + self.turnaround;
            self.units.heard(unit_at, now);
        }
    }

    pub fn continue_from(&mut self, old: &Pauses, units: &[(u16, u16)]) {
        self.free_at = old.free_at;
        self.units.continue_from(&old.units, units);
    }
}

impl ModbusLink {
    /// The next request, once its pauses are over.
    pub(super) fn next_after_pause(&mut self, write: Option<Turn>, now: Nanos) -> Option<Next> {
        let read_first = self.writes.lets_read_first();
        if !self.pauses.asked_for {
            return match write {
                Some(turn) if turn.at_once || !read_first || self.queue.is_empty() => Some(Next::Write(turn)),
                _ => self.next_read(now),
            };
        }
        if self.queue.is_empty() && self.later.queue.is_empty() && write.is_none() {
            return None;
        }
        let waits_for_suspect = self.known().waits_for_suspect;
        let (plan, units) = (&self.plan, &self.pauses.units);
        let known = Known { plan, requests: &self.requests, units: &self.units, waits_for_suspect };
        let soonest = Soonest::of(&self.queue, (&self.later, known), units, write);
        let free_at = soonest.any.max(self.pauses.free_at);
        if now < free_at {
            self.next_try = free_at;
            return None;
        }
        if let Some(turn) = write.filter(|turn| soonest.is_write(*turn, read_first, now)) {
            return Some(Next::Write(turn));
        }
        let free_at = |at: u32| units.free_at(usize::from(plan.requests[at as usize].unit));
        self.later.next(&mut self.queue, now, known, free_at).map(|(scan_at, at)| Next::Read(scan_at, at))
    }
}
