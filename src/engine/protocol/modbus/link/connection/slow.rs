//! What is read more rarely than once a second, down to once a day: nobody waits for its next release to learn what a
//! second would tell, and no device is asked more often than it is meant to be for long.
//!
//! - What fails, whatever the reason, is asked again after a second, and after four times as long each time, up to a quarter
//!   of the scan's period. So one lost reply costs a second instead of a cycle, and three in a row say after seconds that a
//!   unit is silent. The scan has missed its cycle only if that did not help by its next release.
//! - A unit of which nothing is read more often is probed out of its beat as well, with pauses that grow further than those of
//!   others; once it answers, all that is slow is read.
//! - A release asks for all that it has, whatever pauses are under way.
//! - A connection that the device closes while nothing is asked is not made again at once, but in time for what is next;
//!   unless something may be written, which does not wait.
//!
//! After a start, an outage or a change of plan the executor releases such scans out of their beat.

use super::super::unit::Unit;
use super::request::{RequestState, Trouble};
use super::{Asks, ModbusLink};
use crate::limits::{
    BUSY_PAUSE_MAX, BUSY_PAUSE_SLOW_MAX, PERIOD_QUICK_MAX, PROBE_PAUSE_MAX, SILENT_AFTER_TIMEOUTS, SLOW_PROBE_PAUSE_MAX,
};
use crate::plan::Plan;
use crate::protocol::modbus::model::ModbusTransport;
use crate::protocol::modbus::plan::ModbusPlan;
use crate::rt::{CloseReason, RequestResult, ScanRelease};
use crate::tag::Nanos;

/// How deep a block may fall apart: as in `ask`.
const DEPTH_MAX: usize = 128;
/// A connection that is needed sooner than this is made at once.
const REST_MIN: Nanos = Nanos::from_millis(2_000);

/// The plan's units, each with what its periods make of its probes.
pub(super) fn units(modbus: &ModbusPlan, plan: &Plan) -> Box<[Unit]> {
    let unit = |at: usize| {
        let own = modbus.blocks().iter().filter(|block| usize::from(block.unit) == at);
        let shortest = own.map(|block| plan.groups[block.group].interval()).min().unwrap_or(Nanos::ZERO);
        if shortest <= PERIOD_QUICK_MAX {
            return Unit::default();
        }
        // A probe that is not answered takes the link's timeout from the others.
        let of_wire = Nanos(modbus.config.timeout.0 * u64::from(SILENT_AFTER_TIMEOUTS + 1));
        Unit::slow(Nanos(shortest.0 / 4).min(SLOW_PROBE_PAUSE_MAX).max(PROBE_PAUSE_MAX).max(of_wire))
    };
    (0..modbus.units.len()).map(unit).collect()
}

/// The longest pause before a busy device is asked again.
pub(super) fn busy_pause_max(period: Nanos) -> Nanos {
    Nanos(period.0 / 8).clamp(BUSY_PAUSE_MAX, BUSY_PAUSE_SLOW_MAX)
}

impl ModbusLink {
    /// Does something to all that is asked for a block: itself, or its parts.
    fn for_each_asked(&mut self, root: u32, mut act: impl FnMut(&mut ModbusLink, u32)) {
        let mut stack = [0u32; DEPTH_MAX];
        let mut depth = 1;
        stack[0] = root;
        while depth > 0 {
            depth -= 1;
            let at = stack[depth];
            match self.plan.requests[at as usize].halves {
                Some([left, right]) if self.requests[at as usize].apart && depth + 2 <= stack.len() => {
                    stack[depth] = right;
                    stack[depth + 1] = left;
                    depth += 2;
                }
                _ => act(self, at),
            }
        }
    }

    /// A slow scan is due: all of it is asked, silent units too. Returns whether the cycle before missed anything.
    pub(super) fn release_slowly(&mut self, scan_at: usize, release: ScanRelease) -> bool {
        self.scans[scan_at].next = release.next;
        let mut owed = false;
        for root in self.scans[scan_at].blocks.clone() {
            let unit = &mut self.units[usize::from(self.plan.requests[root as usize].unit)];
            if unit.is_slow {
                unit.reconnected(release.nominal);
            }
            self.for_each_asked(root, |link, at| {
                let request = &mut link.requests[at as usize];
                owed |= request.owed;
                request.owed &= release.off_beat;
            });
        }
        owed && !release.off_beat
    }

    /// A request of a slow scan has come to its end.
    pub(super) fn ended_slowly(&mut self, at: u32, scan_at: usize, result: RequestResult, now: Nanos) {
        // A connection that is gone is seen to by the next one.
        let is_over = matches!(result, RequestResult::Good | RequestResult::Aborted);
        let owed = matches!(result, RequestResult::Timeout | RequestResult::Broken);
        let period = self.scans[scan_at].period;
        self.requests[at as usize].ended_slowly(is_over, owed, period, now);
        if !is_over {
            self.slow_at = self.slow_at.min(now);
        }
    }

    /// A silent unit answers: what is slow of it has waited for that.
    pub(super) fn read_slowly(&mut self, unit_at: usize, now: Nanos) {
        for scan_at in 0..self.scans.len() {
            if !self.scans[scan_at].is_slow {
                continue;
            }
            for root in self.scans[scan_at].blocks.clone() {
                if usize::from(self.plan.requests[root as usize].unit) == unit_at {
                    self.for_each_asked(root, |link, at| link.requests[at as usize].retry_at = now);
                    self.slow_at = now;
                }
            }
        }
    }

    /// Asks for what is to be asked again by now, and finds out when the next is.
    pub(super) fn ask_slowly(&mut self, now: Nanos) {
        if now < self.slow_at || self.connection.is_none() {
            return;
        }
        let mut next = Nanos::NEVER;
        for scan_at in 0..self.scans.len() {
            if !self.scans[scan_at].is_slow {
                continue;
            }
            for root in self.scans[scan_at].blocks.clone() {
                if self.units[usize::from(self.plan.requests[root as usize].unit)].is_silent() {
                    continue;
                }
                self.for_each_asked(root, |link, at| next = next.min(link.ask_again_slowly(scan_at, at, now)));
            }
        }
        for unit_at in 0..self.units.len() {
            let unit = &mut self.units[unit_at];
            if !unit.is_slow || !unit.is_silent() {
                continue;
            }
            if unit.may_ask(now)
                && let Some((_, least)) = self.least_missed(unit_at, u32::MAX)
            {
                self.probe(unit_at, least);
            }
            next = next.min(self.units[unit_at].probe_at().unwrap_or(Nanos::NEVER));
        }
        self.slow_at = next;
    }

    /// Asks for one request again, or says when that is due.
    fn ask_again_slowly(&mut self, scan_at: usize, at: u32, now: Nanos) -> Nanos {
        let request = &self.requests[at as usize];
        if request.state != RequestState::Idle || request.retry_at == Nanos::NEVER {
            return Nanos::NEVER;
        }
        let due = if request.trouble == Trouble::None { request.retry_at } else { request.retry_at.max(request.until) };
        if due > now {
            return due;
        }
        self.push(scan_at, at);
        self.requests[at as usize].off_beat = true;
        Nanos::NEVER
    }

    /// By when the next connection is needed, now that the device has closed this one; zero: at once.
    pub(super) fn needed_again(&self, reason: CloseReason, now: Nanos) -> Nanos {
        let waits = self.in_flight.iter().flatten().any(|flight| !matches!(flight.asks, Asks::Nobody(_)));
        let is_rare = self.scans.iter().all(|scan| scan.is_slow && scan.open == 0 && scan.next > now);
        let may_rest = reason == CloseReason::Ended
            && !matches!(self.plan.config.transport, ModbusTransport::Serial(_))
            && self.plan.writes.is_empty();
        if waits || !is_rare || !may_rest {
            return Nanos::ZERO;
        }
        let next = self.scans.iter().map(|scan| scan.next).min().unwrap_or(Nanos::ZERO).min(self.slow_at);
        let at = Nanos(next.0.saturating_sub(self.plan.config.connect_delay.0));
        if at > now + REST_MIN { at } else { Nanos::ZERO }
    }
}
