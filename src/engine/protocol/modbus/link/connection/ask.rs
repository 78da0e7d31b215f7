//! What is asked in a cycle: blocks, or the parts that they were taken apart into.
//!
//! A block that its device refuses, or is silent about while it answers others, is taken apart: see `refusal` and
//! `trouble`. Its smallest part that is at fault is asked again with growing pauses. Where both halves of a block are well,
//! it is tried as a whole beside them, once its pause is over; so blocks grow together from below.

use super::later::Known;
use super::request::{Request, RequestState, Trouble};
use super::wire::Next;
use super::{Asks, ModbusLink};
use crate::tag::Nanos;

/// How deep a block may fall apart: each cut parts two registers, or halves a block of bits.
const HALVES_DEPTH_MAX: usize = 128;

impl ModbusLink {
    /// Whether `holds` of all that is asked for a block: itself, or its parts.
    pub(super) fn each_asked(&self, root: u32, mut holds: impl FnMut(u32, &Request) -> bool) -> bool {
        let mut stack = [0u32; HALVES_DEPTH_MAX];
        let mut depth = 1;
        stack[0] = root;
        while depth > 0 {
            depth -= 1;
            let at = stack[depth];
            let request = &self.requests[at as usize];
            match self.plan.requests[at as usize].halves {
                Some([left, right]) if request.apart && depth + 2 <= stack.len() => {
                    stack[depth] = right;
                    stack[depth + 1] = left;
                    depth += 2;
                }
                _ if !holds(at, request) => return false,
                _ => {}
            }
        }
        true
    }

    /// Queues what a request stands for: itself, or its parts. Returns how many may not be asked now.
    pub(super) fn enqueue(&mut self, scan_at: usize, root: u32, now: Nanos) -> u64 {
        let mut stack = [0u32; HALVES_DEPTH_MAX];
        let mut depth = 1;
        stack[0] = root;
        let mut suppressed = 0;
        while depth > 0 {
            depth -= 1;
            let at = stack[depth];
            if !self.requests[at as usize].apart
                && self.requests[at as usize].state == RequestState::Idle
                && let Some(halves) = self.plan.requests[at as usize].halves
                && self.is_too_long(at)
            {
                self.part_too_long(at, halves, now);
            }
            let request = &self.requests[at as usize];
            if request.apart
                && let Some(halves @ [left, right]) = self.plan.requests[at as usize].halves
                && depth + 2 <= stack.len()
            {
                stack[depth] = right;
                stack[depth + 1] = left;
                depth += 2;
                if self.may_try_whole(at, halves, now) {
                    self.push_later(scan_at, at);
                }
                continue;
            }
            if request.state != RequestState::Idle {
                // What was only tried is wanted for itself by now.
                self.requests[at as usize].tried_out = false;
                continue;
            }
            if !request.is_due(now) && !self.scans[scan_at].is_slow {
                suppressed += u64::from(request.trouble == Trouble::Mute);
                continue;
            }
            let unit_at = usize::from(self.plan.requests[at as usize].unit);
            if self.units[unit_at].is_silent() {
                if !self.units[unit_at].may_ask(now) {
                    suppressed += 1;
                    continue;
                }
                suppressed += u64::from(self.probe(unit_at, at) != at);
                continue;
            }
            self.push(scan_at, at);
        }
        suppressed
    }

    /// Whether a block that was taken apart may be tried as one, beside its parts: they lose nothing if it fails.
    fn may_try_whole(&mut self, at: u32, halves: [u32; 2], now: Nanos) -> bool {
        let request = &self.requests[at as usize];
        let unit = &self.units[usize::from(self.plan.requests[at as usize].unit)];
        request.state == RequestState::Idle
            && now >= request.until
            && halves.iter().all(|half| self.requests[*half as usize].is_fine())
            && !unit.is_silent()
            && self.later.is_ready(at, self.known(), now)
            // Of what is too long for its unit, one block sees for all whether that still holds.
            && (!self.is_too_long(at) || self.may_try_long(at))
    }

    /// Queues a request that is idle.
    pub(super) fn push(&mut self, scan_at: usize, at: u32) {
        if self.requests[at as usize].misses > 0 && self.known().is_suspect(at) {
            return self.push_later(scan_at, at);
        }
        self.open(scan_at, at);
        self.queue.push(scan_at, at);
    }

    /// Queues a request that is idle, behind all others.
    pub(super) fn push_later(&mut self, scan_at: usize, at: u32) {
        self.open(scan_at, at);
        self.later.queue.push(scan_at, at);
    }

    fn open(&mut self, scan_at: usize, at: u32) {
        let request = &mut self.requests[at as usize];
        (request.state, request.tried_out, request.off_beat, request.again) = (RequestState::Queued, false, false, 0);
        self.scans[scan_at].open += 1;
    }

    /// Queues a request that is not in its scan's cycle, if it is idle.
    pub(super) fn ask_off_beat(&mut self, at: u32) {
        let Some(scan_at) = self.scan_at(self.plan.requests[at as usize].scan) else { return };
        if self.requests[at as usize].state == RequestState::Idle {
            self.open(scan_at, at);
            self.requests[at as usize].off_beat = true;
            self.queue.push(scan_at, at);
        }
    }

    /// Asks a silent unit for a single value: what was missed may be mute for itself, or hold something that is. It is one
    /// of what was missed least, another one each time. Returns which.
    pub(super) fn probe(&mut self, unit_at: usize, due: u32) -> u32 {
        let misses = self.requests[due as usize].misses;
        let other = self.least_missed(unit_at, due).filter(|(fewer, _)| *fewer < misses);
        let of = other.map_or(due, |(_, other)| other);
        let single = self.single_of(of);
        self.units[unit_at].probed = Some(of);
        if self.requests[single as usize].state == RequestState::Idle && single != of {
            self.requests[single as usize].forget();
        }
        self.ask_off_beat(single);
        single
    }

    /// One of a block's single values, another one each time: the bits of the count of trials say where to turn.
    pub(super) fn single_of(&mut self, mut at: u32) -> u32 {
        let trials = &mut self.requests[at as usize].trials;
        let mut turns = *trials;
        *trials = trials.wrapping_add(1);
        while let Some(halves) = self.plan.requests[at as usize].halves {
            at = halves[(turns & 1) as usize];
            turns >>= 1;
        }
        at
    }

    /// Of all that a unit is asked but one request, what was missed least, and how often.
    pub(super) fn least_missed(&self, unit_at: usize, but: u32) -> Option<(u32, u32)> {
        let mut least: Option<(u32, u32)> = None;
        for root in 0..self.plan.block_count {
            if usize::from(self.plan.requests[root as usize].unit) != unit_at {
                continue;
            }
            self.each_asked(root, |at, request| {
                if at != but && least.is_none_or(|(misses, _)| request.misses < misses) {
                    least = Some((request.misses, at));
                }
                true
            });
        }
        least
    }

    /// Takes a block apart, so often at once. Its parts are asked in the same cycle, so that slow groups need not wait for
    /// the next; what was missed of the block was missed of them.
    pub(super) fn split(&mut self, at: u32, levels: usize, now: Nanos) {
        let whole = self.requests[at as usize];
        let mut stack = [(0u32, 0usize); HALVES_DEPTH_MAX];
        let mut depth = 1;
        stack[0] = (at, 0);
        while depth > 0 {
            depth -= 1;
            let (part, level) = stack[depth];
            let request = &mut self.requests[part as usize];
            if level > 0 {
                request.forget();
            }
            match self.plan.requests[part as usize].halves {
                Some([left, right]) if level < levels && depth + 2 <= stack.len() => {
                    request.apart = true;
                    stack[depth] = (right, level + 1);
                    stack[depth + 1] = (left, level + 1);
                    depth += 2;
                }
                _ => (request.misses, request.missed_at) = (whole.misses, whole.missed_at),
            }
        }
        if let Some(scan_at) = self.scan_at(self.plan.requests[at as usize].scan) {
            self.enqueue(scan_at, at, now);
        }
    }

    pub(super) fn known(&self) -> Known<'_> {
        let known = Known { plan: &self.plan, requests: &self.requests, units: &self.units, waits_for_suspect: false };
        let is_suspect = |asks| matches!(asks, Asks::Read(at) if known.is_suspect(at));
        let waits_for_suspect = self.in_flight.iter().flatten().any(|flight| is_suspect(flight.asks));
        Known { waits_for_suspect, ..known }
    }

    /// Whether a request that is on its way gives way to all others when it is to be asked again: see `later`.
    pub(super) fn gives_way(&self, at: u32) -> bool {
        self.is_tried_out(at) || self.known().is_suspect(at)
    }

    /// The next read where nothing but the others' turn keeps it from going.
    pub(super) fn next_read(&mut self, now: Nanos) -> Option<Next> {
        let waits_for_suspect = !self.later.queue.is_empty() && self.known().waits_for_suspect;
        let ModbusLink { queue, later, plan, requests, units, .. } = self;
        let known = Known { plan, requests, units, waits_for_suspect };
        let next = later.next(queue, now, known, |_| Nanos::ZERO);
        if next.is_none() {
            self.next_try = later.next_at(known, |_| Nanos::ZERO);
        }
        next.map(|(scan_at, at)| Next::Read(scan_at, at))
    }
}
