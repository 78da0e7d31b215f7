//! Faults: timeouts, lost connections, and the status of their tags. For exceptions see `refusal`.
//!
//! Silence is counted twice. Of a unit: when several of its requests in a row are not answered, or its only one, it is
//! silent, and nothing is asked of it but single values as probes. Of a request: when its unit answers others meanwhile,
//! that request is mute. It is asked behind all others and with growing pauses, and a block is taken apart until what is
//! mute stands alone; the parts that are answered are good again at once. Where all timeouts in a row were of one request,
//! another of the same unit is asked, outside of its cycle if need be, to tell the one from the other. What was missed while
//! its unit was silent counts until it is answered itself, behind all others: the unit may have been silent for it alone.

use super::super::unit::{AfterTimeout, Unit};
use super::ending::Returning;
use super::request::{Request, RequestState, Trouble};
use super::{Asks, InFlight, ModbusLink, Sweep};
use crate::lane::{Frame, LinkState};
use crate::limits::{
    HALVED_AFTER_MISSES, MISSED_TWICE_PAUSE, MUTE_PAUSE_FIRST, MUTE_PAUSE_LONGEST, MUTE_PAUSE_MAX, SEARCH_LEVELS,
    SILENT_AFTER_TIMEOUTS, UNANSWERED_KEPT,
};
use crate::protocol::modbus::model::ModbusTransport;
use crate::rt::{CloseReason, RequestResult, StepContext, World, WriteOutcome};
use crate::tag::{Cause, Fault, Nanos, Status};

impl ModbusLink {
    /// Gives a request's tags a status; a tag that has it already stays as it is.
    pub(super) fn hold<W: World>(
        &mut self,
        at: u32,
        cycle: u32,
        (status, cause): (Status, Cause),
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let request = &self.plan.requests[at as usize];
        let frame = Frame { group: request.group, cycle, t: now.into() };
        for decode in &self.plan.decodes[request.decodes.start as usize..request.decodes.end as usize] {
            floor.sink.hold_because(frame, decode.tag, decode.ty.code(), decode.ty.is_long(), status, Some(cause));
        }
        floor.sink.flush();
    }

    /// A request's values can't be had now: they may still be usable; a tag that never had one has no communication.
    pub(super) fn doubt<W: World>(
        &mut self,
        at: u32,
        cycle: u32,
        cause: Cause,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let request = &self.plan.requests[at as usize];
        let frame = Frame { group: request.group, cycle, t: now.into() };
        for decode in &self.plan.decodes[request.decodes.start as usize..request.decodes.end as usize] {
            floor.sink.doubt(frame, decode.tag, decode.ty.code(), decode.ty.is_long(), cause);
        }
        floor.sink.flush();
    }

    /// Something came over the connection that shows that it lives.
    pub(super) fn connection_answers(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.quiet_timeouts = 0;
            connection.answered = true;
        }
    }

    pub(super) fn answered<W: World>(&mut self, unit_at: usize, now: Nanos, floor: &mut StepContext<W>) {
        self.connection_answers();
        if self.units[unit_at].answered(now) {
            floor.counters.links[self.id.index()].set_state(LinkState::Up);
            self.read_slowly(unit_at, now);
        }
    }

    /// A unit gave no answer to a request: its values are held, and with the third they are bad.
    pub(super) fn unanswered<W: World>(
        &mut self,
        at: u32,
        flight: &InFlight,
        fault: Fault,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let unit_at = usize::from(self.plan.requests[at as usize].unit);
        let after = self.unit_timed_out(unit_at, Some(at), now, floor);
        self.requests[at as usize].missed(flight.sent);
        if !matches!(after, AfterTimeout::StillTalking | AfterTimeout::Undecided) {
            if let Some(probed) = self.units[unit_at].probed.filter(|probed| *probed != at) {
                self.requests[probed as usize].missed(flight.sent);
            }
            let fault = self.unit_failed(unit_at, fault);
            self.hold(at, flight.cycle, (Status::BAD_NO_COMMUNICATION, self.cause(at, fault)), now, floor);
            return;
        }
        let request = self.requests[at as usize];
        let talks = self.units[unit_at].has_answered_since(request.missed_at);
        // One that is apart was tried as a whole, beside parts that are answered.
        if request.apart || talks {
            self.mute(at, request, now);
        }
        if request.apart {
            return;
        }
        let cause = self.cause(at, if talks && fault == Fault::NoReply { Fault::Mute } else { fault });
        if request.is_lost() {
            self.hold(at, flight.cycle, (Status::BAD_NO_COMMUNICATION, cause), now, floor);
        } else {
            self.doubt(at, flight.cycle, cause, now, floor);
        }
        self.end_trial(at, now, floor);
    }

    /// A request was not answered, by a unit that answers others.
    fn mute(&mut self, at: u32, request: Request, now: Nanos) {
        let timeout = self.plan.config.timeout;
        let times = |(timeouts, least): (u64, Nanos)| Nanos(timeout.0 * timeouts).clamp(least, MUTE_PAUSE_MAX);
        self.later.missed(now, timeout, request.is_known_mute());
        if !request.apart && request.misses < HALVED_AFTER_MISSES {
            return;
        }
        let alone = request.apart || self.plan.requests[at as usize].halves.is_none();
        let twice = alone && !request.is_lost();
        let first = if twice { times(MISSED_TWICE_PAUSE) } else { times(MUTE_PAUSE_FIRST) };
        let of_all = &mut self.requests[at as usize];
        of_all.rest(Trouble::Mute, now, first, times(MUTE_PAUSE_LONGEST));
        if !alone {
            self.split(at, SEARCH_LEVELS, now);
        }
    }

    /// What a timeout makes of a unit; `None`: of a write.
    pub(super) fn unit_timed_out<W: World>(
        &mut self,
        unit_at: usize,
        request: Option<u32>,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) -> AfterTimeout {
        let mut after = self.units[unit_at].timed_out(request, now);
        if let (AfterTimeout::Undecided, Some(at)) = (after, request) {
            match self.least_missed(unit_at, at) {
                Some((_, other)) => self.ask_off_beat(other),
                None => {
                    self.units[unit_at].fall_silent(now);
                    after = AfterTimeout::BecameSilent;
                }
            }
        }
        if after == AfterTimeout::BecameSilent {
            // Its probes have a time of their own.
            if self.units[unit_at].is_slow {
                self.slow_at = self.slow_at.min(now);
            }
            self.sweep = Some(Sweep { status: Status::BAD_NO_COMMUNICATION, next: 0 });
            self.unqueue(unit_at, floor);
            self.forget_doubts(Some(unit_at));
            if self.units.iter().all(Unit::is_silent) {
                floor.counters.links[self.id.index()].set_state(LinkState::Silent);
            }
        }
        after
    }

    /// What is queued for a silent unit would hold the line of the others.
    pub(super) fn unqueue<W: World>(&mut self, unit_at: usize, floor: &mut StepContext<W>) {
        let ModbusLink { queue, later, requests, scans, plan, .. } = self;
        let suppressed = &floor.counters.links[self.id.index()].suppressed;
        let mut keeps = |scan_at: usize, at: u32| {
            let keep = usize::from(plan.requests[at as usize].unit) != unit_at;
            if !keep {
                requests[at as usize].state = RequestState::Idle;
                scans[scan_at].open -= 1;
                scans[scan_at].missed = true;
                suppressed.add(1);
            }
            keep
        };
        queue.retain(&mut keeps);
        later.queue.retain(&mut keeps);
    }

    /// One step of a sweep: a single request's tags.
    pub(super) fn sweep_step<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let Some(Sweep { status, next }) = self.sweep else { return };
        if next >= self.plan.block_count {
            self.sweep = None;
            return;
        }
        self.sweep = Some(Sweep { status, next: next + 1 });
        let request = &self.plan.requests[next as usize];
        let silent = self.units[usize::from(request.unit)].is_silent();
        if silent || self.connection.is_none() && self.returning != Returning::Expected {
            let cycle = self.scan_at(request.scan).map_or(0, |at| self.scans[at].cycle);
            let status = if silent { Status::BAD_NO_COMMUNICATION } else { status };
            self.hold(next, cycle, (status, self.cause_of_absence(next)), now, floor);
        }
    }

    pub(super) fn drop_connection<W: World>(&mut self, reason: CloseReason, now: Nanos, floor: &mut StepContext<W>) {
        let Some(connection) = self.connection.take() else { return };
        if self.writes.is_on_wire() {
            // Or it might be done after it was told as lost.
            floor.world.abort(connection.conn);
        }
        let cause = match reason {
            CloseReason::Silent => {
                self.reasons.silent();
                self.cause_of_silence()
            }
            CloseReason::Doubtful => self.cause_of_silence(),
            _ => {
                self.reasons.lost();
                None
            }
        };
        let served = connection.served(self.sent_on_connection);
        floor.give_up_because(self.id, connection.conn, reason, served, cause);
        (self.returning, self.well) = (Returning::No, false);
        let counters = &floor.counters.links[self.id.index()];
        counters.disconnects.add(1);
        counters.set_state(LinkState::Down);
        (self.received, self.excess) = (0, 0);
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
        self.forget_queued();
        self.sweep = Some(Sweep { status: Status::UNCERTAIN_LAST_USABLE, next: 0 });
        // A connection on which nothing was answered gives no new grace: a device that accepts and drops is away.
        if connection.answered || self.lost_for_good_at == Nanos::ZERO {
            self.lost_for_good_at = now + self.grace();
        }
    }

    /// The request that has waited too long, if there is one: one a step.
    pub(super) fn time_out_one<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let overdue = self.in_flight.iter().position(|f| f.is_some_and(|f| f.deadline <= now));
        let Some(slot) = overdue else { return };
        let Some(flight) = self.in_flight[slot].take() else { return };
        match flight.asks {
            Asks::Nobody(_) => return self.leave_doubtful(now, floor),
            Asks::Write => self.write_timed_out(now, floor),
            Asks::Read(at) => {
                let fault = self.fault_of_timeout(slot, at, &flight);
                let unit_at = usize::from(self.plan.requests[at as usize].unit);
                let may_be_unheard = self.unanswered_on_line(unit_at, now, floor);
                if !may_be_unheard || !self.ask_unheard_again(at, flight, now, floor) {
                    self.finish(at, flight, now, RequestResult::Timeout, floor);
                    if fault == Fault::Short {
                        self.note(at, fault, floor);
                    }
                    self.unanswered(at, &flight, fault, now, floor);
                    self.doubt_spared(unit_at, fault, now, floor);
                }
            }
        }
        if self.drop_stuck(now, floor) {
            return;
        }
        // A serial port can't be half open: a line on which all are silent stays as it is.
        let may_be_half_open = !matches!(self.plan.config.transport, ModbusTransport::Serial(_));
        let Some(connection) = self.connection.as_mut().filter(|_| may_be_half_open) else { return };
        connection.quiet_timeouts = connection.quiet_timeouts.saturating_add(1);
        // One that never was answered on is not kept for several probes that are far apart; but slow scans ask by a rule
        // of their own once it is there.
        let next_probe = self.units.iter().filter_map(Unit::probe_at).min().unwrap_or(now);
        let is_quick = self.units.iter().all(|unit| !unit.is_slow);
        let was_probed = is_quick && !connection.answered && connection.quiet_timeouts > 1;
        let never_answers = was_probed && next_probe.since(now) >= UNANSWERED_KEPT;
        let is_quiet = connection.quiet_timeouts >= SILENT_AFTER_TIMEOUTS || never_answers;
        if is_quiet && self.units.iter().all(Unit::is_silent) {
            self.drop_connection(CloseReason::Silent, now, floor);
        } else if self.units.iter().any(Unit::is_silent) {
            self.ask_resting_sooner(now);
        }
        self.leave_doubtful(now, floor);
    }

    /// A request of a unit that answers was lost right behind one that another left unanswered: it counts only if it is
    /// lost again.
    fn ask_unheard_again<W: World>(
        &mut self,
        at: u32,
        flight: InFlight,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) -> bool {
        let request = &self.requests[at as usize];
        let unit_at = usize::from(self.plan.requests[at as usize].unit);
        let is_wanted = !request.is_known_mute() && !request.tried_out && !request.apart;
        let may_be = is_wanted && self.units[unit_at].may_be_spared();
        let is_asked = may_be && self.ask_again(at, flight, (RequestResult::Timeout, 1), now, floor);
        if is_asked {
            self.units[unit_at].spared();
        }
        is_asked
    }

    /// A loss of this unit counts, so those that did not are no better: until they are asked again, their values are held.
    fn doubt_spared<W: World>(&mut self, unit_at: usize, fault: Fault, now: Nanos, floor: &mut StepContext<W>) {
        if self.line.is_none() {
            return;
        }
        for at in 0..self.requests.len() as u32 {
            let (request, plan) = (&self.requests[at as usize], &self.plan.requests[at as usize]);
            if usize::from(plan.unit) == unit_at && request.again > 0 && request.state == RequestState::Queued {
                let cycle = self.scan_at(plan.scan).map_or(0, |at| self.scans[at].cycle);
                self.doubt(at, cycle, self.cause(at, fault), now, floor);
            }
        }
    }

    /// A silent unit has missed a probe. Whether the connection lives, only the others can show; one that refused all that
    /// it is asked, or is mute about it, would not be asked before a long pause has passed. One of its requests then goes
    /// out with the next cycle: any answer, a refusal too, shows it, and without one the unit is soon silent itself.
    fn ask_resting_sooner(&mut self, now: Nanos) {
        for unit_at in 0..self.units.len() {
            if self.units[unit_at].is_silent() {
                continue;
            }
            let mut first = None;
            let pauses = (0..self.plan.block_count).all(|root| {
                usize::from(self.plan.requests[root as usize].unit) != unit_at
                    || self.each_asked(root, |at, request| {
                        let rests = request.is_refused() || request.trouble == Trouble::Mute;
                        first = first.or(rests.then_some(at));
                        !request.is_due(now)
                    })
            });
            if let Some(first) = first.filter(|_| pauses) {
                self.requests[first as usize].ask_by(now);
            }
        }
    }
}
