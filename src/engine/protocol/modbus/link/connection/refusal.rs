//! Exceptions: which concern the block, which the unit, and which ask for a retry.
//!
//! | code | taken for |
//! |---|---|
//! | 01, 02, 03, 04 | "not this block", or the whole unit: see below |
//! | 05, 06 | "ask again": the value is held, and asked for again within the cycle |
//! | 0A, 0B | the unit behind a gateway does not answer |
//! | others | the device's own trouble |
//!
//! Devices refuse what they do not have, or what is too long, by any of 01 to 04; and a device that boots or fails refuses
//! everything by the same codes. Halving a block for the second would tear it into single values for nothing. So a refusal
//! counts as the block's own only when its unit is seen to serve something else: since the cycle began, and not too many
//! refusals ago. If nothing of the kind is known, the block is in doubt and one single value of it is asked for, behind all
//! other requests, and if that is refused, for another. Whatever the unit serves meanwhile settles it: the block is halved. If
//! the single values are refused as well, the unit refuses everything as far as can be seen: all of the block's tags get their status, the block stays whole,
//! and is asked again with growing pauses (with 04, as a failure may pass at any time, in each cycle), other single values
//! with it. So a unit that fails as a whole costs two more requests a pause, and no block of it is torn apart; and however
//! many values of a block are refused, in the end one is found that is not.
//!
//! What was learned stays: the block is asked in the parts that are served, among them the largest that a unit takes. The
//! whole is tried again with growing pauses, as its refused values are. One that is refused while its halves are answered is
//! too long: no other of that length or more is asked of this table of the unit, and one at a time is tried again.

use super::super::unit::Serving;
use super::request::{Request, RequestState, Trouble};
use super::slow::busy_pause_max;
use super::{InFlight, ModbusLink};
use crate::limits::{
    BUSY_HELD_MAX, BUSY_PAUSE_FIRST_MAX, BUSY_PAUSE_MIN, BUSY_PERIODS, FAILED_PAUSE_MAX, REFUSED_PAUSE_MAX,
    REFUSED_PAUSE_MIN, SINGLES_TRIED,
};
use crate::protocol::modbus::plan::ModbusRequest;
use crate::rt::{StepContext, World};
use crate::tag::{Fault, Nanos, Status};

/// Modbus exceptions (Application Protocol Specification V1.1b3, section 7).
const ILLEGAL_FUNCTION: u8 = 0x01;
const ILLEGAL_DATA_VALUE: u8 = 0x03;
const SERVER_DEVICE_FAILURE: u8 = 0x04;
const ACKNOWLEDGE: u8 = 0x05;
const SERVER_DEVICE_BUSY: u8 = 0x06;
const GATEWAY_PATH_UNAVAILABLE: u8 = 0x0A;
const GATEWAY_TARGET_SILENT: u8 = 0x0B;

fn status_of(code: u8) -> Status {
    match code {
        ILLEGAL_FUNCTION..SERVER_DEVICE_FAILURE => Status::BAD_CONFIGURATION_ERROR,
        _ => Status::BAD_DEVICE_FAILURE,
    }
}

fn longest_pause(code: u8) -> Nanos {
    if code == SERVER_DEVICE_FAILURE { FAILED_PAUSE_MAX } else { REFUSED_PAUSE_MAX }
}

impl ModbusLink {
    /// A read was answered by an exception.
    pub(super) fn refused<W: World>(
        &mut self,
        at: u32,
        flight: &InFlight,
        code: u8,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let unit_at = usize::from(self.plan.requests[at as usize].unit);
        self.note(at, Fault::Exception(code), floor);
        if matches!(code, GATEWAY_PATH_UNAVAILABLE | GATEWAY_TARGET_SILENT) {
            // The gateway lives, and so does the connection to it.
            self.connection_answers();
            return self.unanswered(at, flight, Fault::Exception(code), now, floor);
        }
        self.answered(unit_at, now, floor);
        self.requests[at as usize].misses = 0;
        match code {
            ACKNOWLEDGE | SERVER_DEVICE_BUSY => self.busy(at, flight.cycle, code, now, floor),
            ILLEGAL_FUNCTION..=SERVER_DEVICE_FAILURE => self.not_this(at, flight.cycle, code, now, floor),
            _ => {
                if !self.requests[at as usize].apart {
                    self.requests[at as usize].forget();
                    self.hold_refused(at, flight.cycle, code, now, floor);
                }
                self.end_trial(at, now, floor);
            }
        }
    }

    /// Refused by one of 01 to 04.
    fn not_this<W: World>(&mut self, at: u32, cycle: u32, code: u8, now: Nanos, floor: &mut StepContext<W>) {
        let unit_at = usize::from(self.plan.requests[at as usize].unit);
        let Some(scan_at) = self.scan_at(self.plan.requests[at as usize].scan) else { return };
        let table = self.plan.requests[at as usize].table;
        self.units[unit_at].table(table).refused();
        let request = self.requests[at as usize];
        if request.apart {
            // It was tried as a whole.
            self.rest_refused(at, code, now);
            return self.refused_whole(at);
        }
        let began = self.scans[scan_at].nominal;
        let since = if let Trouble::Failing { at } = request.trouble { began.min(at) } else { began };
        let serves = self.units[unit_at].table(table).serves(since);
        if self.plan.requests[at as usize].halves.is_none() {
            if serves || code != SERVER_DEVICE_FAILURE {
                self.rest_refused(at, code, now);
            } else {
                self.fails(at, now);
            }
            self.hold_refused(at, cycle, code, now, floor);
            self.end_trial(at, now, floor);
        } else if serves {
            self.rest_refused(at, code, now);
            self.split(at, 1, now);
        } else if now >= request.until {
            self.doubt_unit(at, code, now, floor);
        } else {
            self.hold_refused(at, cycle, code, now, floor);
        }
    }

    /// The tags of a request get the status of an exception.
    fn hold_refused<W: World>(&mut self, at: u32, cycle: u32, code: u8, now: Nanos, floor: &mut StepContext<W>) {
        self.hold(at, cycle, (status_of(code), self.cause(at, Fault::Exception(code))), now, floor);
    }

    fn rest_refused(&mut self, at: u32, code: u8, now: Nanos) {
        self.requests[at as usize].rest(Trouble::Refused(code), now, REFUSED_PAUSE_MIN, longest_pause(code));
    }

    fn fails(&mut self, at: u32, now: Nanos) {
        self.requests[at as usize].rest(Trouble::Failing { at: now }, now, REFUSED_PAUSE_MIN, FAILED_PAUSE_MAX);
    }

    /// A block is refused by a unit of which nothing else is known: a single value of it is asked for.
    fn doubt_unit<W: World>(&mut self, at: u32, code: u8, now: Nanos, floor: &mut StepContext<W>) {
        let request = &mut self.requests[at as usize];
        request.doubted = true;
        // Which one it was, until it is settled; the pauses of the same trouble go on growing.
        request.trouble = match (request.trouble, code) {
            (failing @ Trouble::Failing { .. }, SERVER_DEVICE_FAILURE) => failing,
            _ => Trouble::Refused(code),
        };
        let serving = self.serving(at);
        serving.doubted = true;
        if serving.trial.is_none() {
            self.try_single(at, now, floor);
        }
    }

    /// Asks for a single value of the table that `of` reads: of the block in doubt that had the fewest.
    fn try_single<W: World>(&mut self, of: u32, now: Nanos, floor: &mut StepContext<W>) {
        let of_blocks = self.doubted(of).min_by_key(|at| self.requests[*at as usize].trials).unwrap_or(of);
        let single = self.single_of(of_blocks);
        let scan_at = self.scan_at(self.plan.requests[single as usize].scan);
        match scan_at.filter(|_| self.requests[single as usize].state == RequestState::Idle) {
            Some(scan_at) => {
                self.requests[single as usize].forget();
                let serving = self.serving(of);
                serving.trial = Some(single);
                serving.trials += 1;
                self.push_later(scan_at, single);
                self.requests[single as usize].tried_out = true;
            }
            None => self.settle_refused(of, now, floor),
        }
    }

    /// What is known of the table that a request reads.
    pub(super) fn serving(&mut self, at: u32) -> &mut Serving {
        let request = &self.plan.requests[at as usize];
        self.units[usize::from(request.unit)].table(request.table)
    }

    /// The single value was not served.
    pub(super) fn end_trial<W: World>(&mut self, at: u32, now: Nanos, floor: &mut StepContext<W>) {
        let serving = self.serving(at);
        if serving.trial != Some(at) {
            return;
        }
        serving.trial = None;
        if serving.trials < SINGLES_TRIED {
            self.try_single(at, now, floor);
        } else {
            self.settle_refused(at, now, floor);
        }
    }

    /// Nothing of the table that `of` reads is served, as far as can be seen.
    fn settle_refused<W: World>(&mut self, of: u32, now: Nanos, floor: &mut StepContext<W>) {
        self.serving(of).settle();
        while let Some(at) = self.next_doubted(of) {
            self.requests[at as usize].doubted = false;
            let code = match self.requests[at as usize].trouble {
                Trouble::Refused(code) if code != SERVER_DEVICE_FAILURE => {
                    self.rest_refused(at, code, now);
                    code
                }
                Trouble::Refused(_) | Trouble::Failing { .. } => {
                    self.fails(at, now);
                    SERVER_DEVICE_FAILURE
                }
                // It was asked again meanwhile, and the refusal is not the last that is known of it.
                Trouble::None | Trouble::Mute | Trouble::Busy { .. } => continue,
            };
            let cycle = self.scan_at(self.plan.requests[at as usize].scan).map_or(0, |at| self.scans[at].cycle);
            self.hold_refused(at, cycle, code, now, floor);
        }
    }

    /// Something of the table that `of` reads is served: what was in doubt is the blocks' own fault.
    fn settle_served(&mut self, of: u32, now: Nanos) {
        self.serving(of).settle();
        while let Some(at) = self.next_doubted(of) {
            self.requests[at as usize].doubted = false;
            let code = match self.requests[at as usize].trouble {
                Trouble::Refused(code) => code,
                Trouble::Failing { .. } => SERVER_DEVICE_FAILURE,
                Trouble::None | Trouble::Mute | Trouble::Busy { .. } => continue,
            };
            self.rest_refused(at, code, now);
            self.split(at, 1, now);
        }
    }

    /// The requests in doubt of the unit and table of `of`.
    fn doubted(&self, of: u32) -> impl Iterator<Item = u32> {
        let of = &self.plan.requests[of as usize];
        let all = (0u32..).zip(self.requests.iter().zip(&self.plan.requests));
        let is_in_doubt = |(request, plan): (&Request, &ModbusRequest)| {
            request.doubted && (plan.unit, plan.table) == (of.unit, of.table)
        };
        all.filter(move |(_, both)| is_in_doubt(*both)).map(|(at, _)| at)
    }

    fn next_doubted(&self, of: u32) -> Option<u32> {
        self.doubted(of).next()
    }

    /// Nothing is to be found out of a unit any more; `None`: of any.
    pub(super) fn forget_doubts(&mut self, unit_at: Option<usize>) {
        let is_of = |at: usize| unit_at.is_none_or(|unit_at| unit_at == at);
        for (_, unit) in self.units.iter_mut().enumerate().filter(|(at, _)| is_of(*at)) {
            unit.tables().iter_mut().for_each(Serving::settle);
        }
        for (request, plan) in self.requests.iter_mut().zip(&self.plan.requests) {
            request.doubted &= !is_of(usize::from(plan.unit));
        }
    }

    /// Whether a request only finds something out, also when that is settled by another before its reply comes.
    pub(super) fn is_tried_out(&self, at: u32) -> bool {
        self.requests[at as usize].apart || self.requests[at as usize].tried_out
    }

    /// A read was answered with values.
    pub(super) fn served(&mut self, at: u32, now: Nanos) {
        let count = self.plan.requests[at as usize].count;
        let serving = self.serving(at);
        serving.served(now);
        let takes_again = serving.took(count);
        let doubted = serving.doubted;
        let request = &mut self.requests[at as usize];
        if !request.is_fine() {
            let is_back = request.is_refused() || request.is_lost() || request.apart;
            request.forget();
            if is_back {
                self.ask_others_again(at, now);
            }
        }
        if takes_again {
            self.ask_long_again(at, now);
        }
        if doubted {
            self.settle_served(at, now);
        }
    }

    /// A block was refused as a whole while its halves are answered. Where it has nothing but them, its length was meant:
    /// that goes for all that the unit is asked of this table, and one of these at a time finds out whether it still holds.
    fn refused_whole(&mut self, at: u32) {
        let block = &self.plan.requests[at as usize];
        let (unit, table, count) = (block.unit, block.table, block.count);
        let Some(halves) = block.halves else { return };
        let [left, right] = halves.map(|half| &self.plan.requests[half as usize]);
        let are_all = u32::from(left.first) + u32::from(left.count) == u32::from(right.first);
        if are_all && halves.iter().all(|half| self.requests[*half as usize].is_fine()) {
            self.serving(at).is_too_much(count);
        }
        if !self.is_too_long(at) {
            return;
        }
        let (serving, until) = (*self.serving(at), self.requests[at as usize].until);
        for (request, plan) in self.requests.iter_mut().zip(&self.plan.requests) {
            // One that is queued goes out, and is refused itself.
            let is_idle = request.apart && request.state == RequestState::Idle;
            if is_idle && (plan.unit, plan.table) == (unit, table) && serving.is_too_long(plan.count) {
                request.until = request.until.max(until);
            }
        }
    }

    /// Whether a block that is too long for its unit may be tried whole: no other is at this time.
    pub(super) fn may_try_long(&mut self, at: u32) -> bool {
        let other = self.serving(at).tried_long.filter(|other| *other != at);
        let is_idle = other.is_none_or(|other| self.requests[other as usize].state == RequestState::Idle);
        if is_idle {
            self.serving(at).tried_long = Some(at);
        }
        is_idle
    }

    /// A unit takes a length that it has refused: what was taken apart for that is tried whole in its next cycle.
    fn ask_long_again(&mut self, of: u32, now: Nanos) {
        let (unit, table) = (self.plan.requests[of as usize].unit, self.plan.requests[of as usize].table);
        for (request, plan) in self.requests.iter_mut().zip(&self.plan.requests) {
            if request.apart && (plan.unit, plan.table) == (unit, table) {
                request.ask_by(now);
            }
        }
    }

    /// Whether a block is longer than what its unit takes.
    pub(super) fn is_too_long(&mut self, at: u32) -> bool {
        let count = self.plan.requests[at as usize].count;
        self.plan.requests[at as usize].halves.is_some() && self.serving(at).is_too_long(count)
    }

    /// Takes a block apart that is not asked, since its unit does not take what is so long.
    pub(super) fn part_too_long(&mut self, at: u32, halves: [u32; 2], now: Nanos) {
        self.rest_refused(at, ILLEGAL_DATA_VALUE, now);
        let request = &mut self.requests[at as usize];
        (request.apart, request.until) = (true, now + REFUSED_PAUSE_MAX);
        halves.iter().for_each(|half| self.requests[*half as usize].forget());
    }

    /// Something is there again, after a restart or with a new program: what else its unit refused may be, and the blocks
    /// of its scan are asked whole as soon as their parts are well.
    fn ask_others_again(&mut self, at: u32, now: Nanos) {
        let (scan, unit) = (self.plan.requests[at as usize].scan, self.plan.requests[at as usize].unit);
        for (request, plan) in self.requests.iter_mut().zip(&self.plan.requests) {
            if plan.unit == unit && (plan.scan == scan || request.trouble == Trouble::Mute) {
                request.ask_by(now);
            }
        }
    }

    /// The device asks for patience.
    fn busy<W: World>(&mut self, at: u32, cycle: u32, code: u8, now: Nanos, floor: &mut StepContext<W>) {
        let Some(scan_at) = self.scan_at(self.plan.requests[at as usize].scan) else { return };
        let request = &mut self.requests[at as usize];
        if request.apart {
            // It was tried as a whole.
            return request.rest(request.trouble, now, REFUSED_PAUSE_MIN, REFUSED_PAUSE_MAX);
        }
        request.doubted = false;
        let period = self.scans[scan_at].period;
        let since = if let Trouble::Busy { since } = request.trouble { since } else { now };
        let first = Nanos(period.0 / 8).clamp(BUSY_PAUSE_MIN, BUSY_PAUSE_FIRST_MAX);
        request.rest(Trouble::Busy { since }, now, first, busy_pause_max(period));
        let held = Nanos(period.0.saturating_mul(BUSY_PERIODS)).min(BUSY_HELD_MAX).max(self.plan.config.timeout);
        if now.since(since) >= held {
            self.doubt(at, cycle, self.cause(at, Fault::Exception(code)), now, floor);
        }
        self.push_later(scan_at, at);
    }
}
