//! What goes wrong: timeouts, exceptions, lost connections, and what becomes of the tags.

use super::super::unit::{AfterTimeout, Unit};
use super::{Asks, ModbusLink, REFUSED_PAUSE, RequestState, Sweep};
use crate::config::ModbusTransport;
use crate::limits::SILENT_AFTER_TIMEOUTS;
use crate::rt::{CloseReason, Floor, Frame, LinkState, RequestResult, World, WriteOutcome};
use crate::tag::{Nanos, Status};

impl ModbusLink {
    /// Gives a request's tags a status; a tag that has it already stays as it is.
    pub(super) fn hold<W: World>(&mut self, at: u32, cycle: u32, status: Status, now: Nanos, floor: &mut Floor<W>) {
        let request = &self.plan.requests[at as usize];
        let frame = Frame { group: request.group, cycle, t: now };
        for decode in &self.plan.decodes[request.decodes.start as usize..request.decodes.end as usize] {
            floor.sink.hold(frame, decode.tag, decode.ty.code(), decode.ty.is_long(), status);
        }
        floor.sink.flush();
    }

    /// Exception 02 takes a block apart until the refused address stands alone; 0A and 0B come from a gateway
    /// whose unit is silent; everything else is the device's own trouble.
    pub(super) fn refused<W: World>(
        &mut self,
        (at, cycle): (u32, u32),
        unit_at: usize,
        code: u8,
        now: Nanos,
        floor: &mut Floor<W>,
    ) {
        if matches!(code, 0x0A | 0x0B) {
            self.unanswered(at, unit_at, cycle, now, floor);
            return;
        }
        self.answered(unit_at, floor);
        if code != 0x02 {
            self.hold(at, cycle, Status::BAD_DEVICE_FAILURE, now, floor);
        } else if self.plan.requests[at as usize].halves.is_some() {
            self.requests[at as usize].fell_apart = true;
            // Its halves are asked in the same cycle, so that slow groups need not wait for the next.
            if let Some(scan_at) = self.scan_at(self.plan.requests[at as usize].scan) {
                self.enqueue(scan_at, at, now);
            }
        } else {
            self.requests[at as usize].refused_until = now + REFUSED_PAUSE;
            self.hold(at, cycle, Status::BAD_CONFIGURATION_ERROR, now, floor);
        }
    }

    /// An address that the device refused is there again, after a restart or with a new program: the blocks of
    /// its scan are asked whole once more.
    pub(super) fn accepted_again(&mut self, at: u32) {
        if std::mem::take(&mut self.requests[at as usize].refused_until) == Nanos::ZERO {
            return;
        }
        let scan = self.plan.requests[at as usize].scan;
        for (request, plan) in self.requests.iter_mut().zip(&self.plan.requests) {
            if plan.scan == scan {
                request.fell_apart = false;
            }
        }
    }

    pub(super) fn answered<W: World>(&mut self, unit_at: usize, floor: &mut Floor<W>) {
        if let Some(connection) = &mut self.connection {
            connection.quiet_timeouts = 0;
            connection.answered = true;
        }
        if self.units[unit_at].answered() {
            floor.counters.links[self.id.index()].set_state(LinkState::Up);
        }
    }

    /// A unit gave no answer to a request: its values are held, and with the third they are bad.
    pub(super) fn unanswered<W: World>(
        &mut self,
        at: u32,
        unit_at: usize,
        cycle: u32,
        now: Nanos,
        floor: &mut Floor<W>,
    ) {
        let status = match self.unit_timed_out(unit_at, now, floor) {
            AfterTimeout::StillTalking => Status::UNCERTAIN_LAST_USABLE,
            AfterTimeout::StillSilent | AfterTimeout::BecameSilent => Status::BAD_NO_COMMUNICATION,
        };
        self.hold(at, cycle, status, now, floor);
    }

    /// What that makes of the unit.
    pub(super) fn unit_timed_out<W: World>(
        &mut self,
        unit_at: usize,
        now: Nanos,
        floor: &mut Floor<W>,
    ) -> AfterTimeout {
        let after = self.units[unit_at].timed_out(now);
        if after == AfterTimeout::BecameSilent {
            self.sweep = Some(Sweep { status: Status::BAD_NO_COMMUNICATION, next: 0 });
            self.unqueue(unit_at, floor);
            if self.units.iter().all(Unit::is_silent) {
                floor.counters.links[self.id.index()].set_state(LinkState::Silent);
            }
        }
        after
    }

    /// What is queued for a silent unit would hold the line of the others.
    pub(super) fn unqueue<W: World>(&mut self, unit_at: usize, floor: &mut Floor<W>) {
        let ModbusLink { queue, requests, scans, plan, .. } = self;
        let suppressed = &floor.counters.links[self.id.index()].suppressed;
        queue.retain(|scan_at, at| {
            let keep = usize::from(plan.requests[at as usize].unit) != unit_at;
            if !keep {
                requests[at as usize].state = RequestState::Idle;
                scans[scan_at].open -= 1;
                scans[scan_at].missed = true;
                suppressed.add(1);
            }
            keep
        });
    }

    /// One step of a sweep: a single request's tags.
    pub(super) fn sweep_step<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) {
        let Some(Sweep { status, next }) = self.sweep else { return };
        if next >= self.plan.block_count {
            self.sweep = None;
            return;
        }
        self.sweep = Some(Sweep { status, next: next + 1 });
        let request = &self.plan.requests[next as usize];
        let silent = self.units[usize::from(request.unit)].is_silent();
        if silent || self.connection.is_none() {
            let cycle = self.scan_at(request.scan).map_or(0, |at| self.scans[at].cycle);
            let status = if silent { Status::BAD_NO_COMMUNICATION } else { status };
            self.hold(next, cycle, status, now, floor);
        }
    }

    pub(super) fn drop_connection<W: World>(&mut self, reason: CloseReason, now: Nanos, floor: &mut Floor<W>) {
        let Some(connection) = self.connection.take() else { return };
        if self.writes.is_on_wire() {
            // Or it might be done after it was told as lost.
            floor.world.abort(connection.conn);
        }
        floor.give_up(self.id, connection.conn, reason);
        let counters = &floor.counters.links[self.id.index()];
        counters.disconnects.add(1);
        counters.set_state(LinkState::Down);
        self.received = 0;
        if let Some(line) = &mut self.line {
            line.closed();
        }
        let unwritten = match reason {
            CloseReason::Removed => WriteOutcome::PlanChanged,
            _ => WriteOutcome::NoConnection,
        };
        self.end_writes(WriteOutcome::Lost, unwritten, now, floor);
        for slot in 0..self.in_flight.len() {
            if let Some(flight) = self.in_flight[slot].take()
                && let Asks::Read(at) = flight.asks
            {
                self.finish(at, flight, now, RequestResult::Aborted, floor);
            }
        }
        while let Some((scan_at, at)) = self.queue.pop() {
            self.requests[at as usize].state = RequestState::Idle;
            self.scans[scan_at].open -= 1;
            self.scans[scan_at].missed = true;
        }
        self.sweep = Some(Sweep { status: Status::UNCERTAIN_LAST_USABLE, next: 0 });
        // A connection on which nothing was answered gives no new grace: a device that accepts and drops is away.
        if connection.answered || self.lost_for_good_at == Nanos::ZERO {
            self.lost_for_good_at = now + self.grace();
        }
    }

    /// The request that has waited too long, if there is one: one a step.
    pub(super) fn time_out_one<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) {
        let overdue = self.in_flight.iter().position(|f| f.is_some_and(|f| f.deadline <= now));
        let Some(flight) = overdue.and_then(|slot| self.in_flight[slot].take()) else { return };
        match flight.asks {
            Asks::Nobody(_) => return,
            Asks::Write => self.write_timed_out(now, floor),
            Asks::Read(at) => {
                self.finish(at, flight, now, RequestResult::Timeout, floor);
                let unit_at = usize::from(self.plan.requests[at as usize].unit);
                self.unanswered_on_line(unit_at, now, floor);
                self.unanswered(at, unit_at, flight.cycle, now, floor);
            }
        }
        // A serial port can't be half open: a line on which all are silent stays as it is.
        let may_be_half_open = !matches!(self.plan.config.transport, ModbusTransport::Serial(_));
        let Some(connection) = self.connection.as_mut().filter(|_| may_be_half_open) else { return };
        connection.quiet_timeouts = connection.quiet_timeouts.saturating_add(1);
        if connection.quiet_timeouts >= SILENT_AFTER_TIMEOUTS && self.units.iter().all(Unit::is_silent) {
            self.drop_connection(CloseReason::Silent, now, floor);
        } else if self.units.iter().any(Unit::is_silent) {
            self.ask_refused_sooner(now);
        }
    }

    /// A silent unit has missed a probe. Whether the connection lives, only the others can show; one that refused all
    /// that it is asked would not be asked before a long pause has passed. One of its requests then goes out with the
    /// next cycle: any answer, a refusal too, shows it, and without one the unit is soon silent itself.
    fn ask_refused_sooner(&mut self, now: Nanos) {
        for unit_at in 0..self.units.len() {
            if self.units[unit_at].is_silent() {
                continue;
            }
            let mut first = None;
            let pauses = (0..self.plan.block_count).all(|root| {
                usize::from(self.plan.requests[root as usize].unit) != unit_at
                    || self.each_asked(root, |at, request| {
                        first.get_or_insert(at);
                        request.refused_until > now
                    })
            });
            if let Some(first) = first.filter(|_| pauses) {
                self.requests[first as usize].refused_until = now;
            }
        }
    }
}
