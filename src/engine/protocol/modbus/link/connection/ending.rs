//! Connections that devices close by themselves: after each reply, when they are idle, or now and then. Nothing is wrong
//! with that as long as something was answered. The next connection is made at once, what was asked and not answered is
//! asked again on it, and no tag learns of it unless a cycle is missed.

use super::super::unit::{Serving, Unit};
use super::request::RequestState;
use super::{Asks, Connection, ModbusLink, Sweep};
use crate::lane::LinkState;
use crate::limits::{CLOSE_AFTER_REPLY_WAIT, CLOSES_AFTER_REPLY, REFUSED_PAUSE_MIN};
use crate::protocol::modbus::model::ModbusTransport;
use crate::rt::{CloseReason, RequestResult, Served, StepContext, World, WriteOutcome};
use crate::tag::{Fault, Nanos, Status};

/// How often a request of one cycle is asked again because the device closed before its answer. Others were answered on
/// each of these connections; a request that ends each of them is not to go on for ever.
const ASKED_AGAIN_MAX: u8 = 3;

/// A connection has ended by itself, and the next is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returning {
    No,
    /// No cycle has missed it yet.
    Expected,
    Overdue,
}

impl Connection {
    /// What it was good for; so many requests went over it.
    pub(super) fn served(&self, sent: u32) -> Served {
        match sent {
            _ if self.answered => Served::Answered,
            0 => Served::Unasked,
            _ => Served::Unanswered,
        }
    }
}

impl ModbusLink {
    /// A device has answered a request.
    pub(super) fn note_answer(&mut self, unit_at: usize, now: Nanos) {
        self.well = true;
        if let Some(connection) = &mut self.connection {
            connection.answered = true;
            connection.answers = connection.answers.saturating_add(1);
            connection.answered_at = now;
        }
        if self.line.is_none() {
            self.pauses.heard(unit_at, now);
        }
    }

    /// For how long a missing connection is waited for until its tags are bad.
    pub(super) fn patience(&self) -> Nanos {
        self.plan.config.connect_timeout + self.plan.config.connect_delay + self.grace()
    }

    /// A connection that is not the next of a device that closes them: nothing is known of what is behind it.
    pub(super) fn opened_anew(&mut self, now: Nanos) {
        for unit in &mut self.units {
            unit.reconnected(now);
        }
        self.writes.opened();
        (self.closes_after_reply, self.echoes) = (0, true);
        // After a while it may be another device, or the same one with another program. Before that it is the same, and
        // what was learned of it stays; but if it has started anew, what it refused may soon be there.
        let is_other = self.lost_for_good_at == Nanos::NEVER;
        if is_other {
            self.units.iter_mut().flat_map(Unit::tables).for_each(Serving::forget_lengths);
        }
        for request in &mut self.requests {
            if is_other {
                request.forget();
            } else if request.is_refused() {
                request.ask_by(now + REFUSED_PAUSE_MIN);
            }
        }
    }

    /// Whether nothing may go out yet, whoever waits: the connection is too new, or its end is near.
    pub(super) fn is_held(&mut self, now: Nanos) -> bool {
        let Some(connection) = &self.connection else { return true };
        let waits = !self.queue.is_empty() || !self.later.queue.is_empty() || !self.writes.is_idle();
        if now < connection.hold_until {
            self.next_try = if waits { connection.hold_until } else { Nanos::NEVER };
            return true;
        }
        if self.closes_after_reply < CLOSES_AFTER_REPLY {
            return false;
        }
        if self.in_flight.iter().any(Option::is_some) {
            return true;
        }
        let closed_by = connection.answered_at + CLOSE_AFTER_REPLY_WAIT;
        if connection.answers > 0 && now < closed_by {
            self.next_try = if waits { closed_by } else { Nanos::NEVER };
            return true;
        }
        if connection.answers > 0 {
            // It does so no longer.
            self.closes_after_reply = 0;
        }
        false
    }

    /// The device has closed the connection.
    pub(super) fn peer_closed<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let Some(connection) = &self.connection else { return };
        let (served, answers) = (connection.served(self.sent_on_connection), connection.answers);
        let is_well = match served {
            // What was asked last had its answer; a port that is gone is no device that closes.
            Served::Answered => {
                connection.quiet_timeouts == 0 && !matches!(self.plan.config.transport, ModbusTransport::Serial(_))
            }
            Served::Unasked => self.well,
            Served::Unanswered | Served::Unknown => false,
        };
        if !is_well {
            return self.drop_connection(CloseReason::Lost, now, floor);
        }
        if served == Served::Answered {
            self.closes_after_reply = if answers == 1 { self.closes_after_reply.saturating_add(1) } else { 0 };
        }
        self.let_go(CloseReason::Ended, now, floor);
    }

    /// A request got no answer in time. Where replies are not known by their transactions, its late reply could be taken
    /// for that of the next, but on another connection.
    pub(super) fn leave_doubtful<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let Some(connection) = &self.connection else { return };
        if !self.plan.config.tolerance.any_transaction {
            return;
        }
        if connection.answered {
            self.let_go(CloseReason::Doubtful, now, floor);
        } else {
            self.drop_connection(CloseReason::Doubtful, now, floor);
        }
    }

    /// Ends a connection of which nothing is lost: what waits goes on waiting, for the next.
    fn let_go<W: World>(&mut self, reason: CloseReason, now: Nanos, floor: &mut StepContext<W>) {
        let was_on_wire = self.writes.is_on_wire();
        let again_at = self.needed_again(reason, now);
        let Some(connection) = self.connection.take() else { return };
        if was_on_wire {
            // Whether the device has it is not known; it must not get it later.
            floor.world.abort(connection.conn);
            self.lose_write_on_wire(now, floor);
        }
        let served = connection.served(self.sent_on_connection);
        floor.let_rest(self.id, connection.conn, reason, served, again_at);
        (self.received, self.excess) = (0, 0);
        if let Some(line) = &mut self.line {
            line.closed();
        }
        let outstanding = self.in_flight.iter().flatten().any(|flight| !matches!(flight.asks, Asks::Nobody(_)));
        let counters = &floor.counters.links[self.id.index()];
        let count = if outstanding || was_on_wire || reason != CloseReason::Ended {
            &counters.disconnects
        } else {
            &counters.idle_closes
        };
        count.add(1);
        for slot in 0..self.in_flight.len() {
            let Some(flight) = self.in_flight[slot].take() else { continue };
            let Asks::Read(at) = flight.asks else { continue };
            if self.ask_again(at, flight, (RequestResult::Aborted, ASKED_AGAIN_MAX), now, floor) {
                continue;
            }
            let gives_way = self.gives_way(at);
            self.finish(at, flight, now, RequestResult::Aborted, floor);
            if !gives_way {
                self.doubt(at, flight.cycle, self.cause(at, Fault::Closed), now, floor);
            }
            self.end_trial(at, now, floor);
        }
        self.returning = Returning::Expected;
        let waits = self.scans.iter().any(|scan| scan.open > 0);
        // With the next release, where nothing waits until then.
        self.lost_for_good_at = if waits { now + self.patience() } else { Nanos::ZERO };
    }

    /// A scan is due while the next connection is on its way; `late`: so was the one before.
    pub(super) fn wait_for_return<W: World>(&mut self, late: bool, nominal: Nanos, floor: &mut StepContext<W>) {
        if self.lost_for_good_at == Nanos::ZERO {
            self.lost_for_good_at = nominal + self.patience();
        }
        if late {
            self.returning = Returning::Overdue;
            self.sweep.get_or_insert(Sweep { status: Status::UNCERTAIN_LAST_USABLE, next: 0 });
            floor.counters.links[self.id.index()].set_state(LinkState::Down);
        }
    }

    /// The next connection is not waited for any longer.
    pub(super) fn stop_returning<W: World>(&mut self, unwritten: WriteOutcome, now: Nanos, floor: &mut StepContext<W>) {
        if std::mem::replace(&mut self.returning, Returning::No) == Returning::No {
            return;
        }
        self.well = false;
        floor.counters.links[self.id.index()].set_state(LinkState::Down);
        self.end_writes(WriteOutcome::Lost, unwritten, now, floor);
        self.forget_queued();
    }

    /// What waits for the wire is missed.
    pub(super) fn forget_queued(&mut self) {
        self.forget_doubts(None);
        while let Some((scan_at, at)) = self.queue.pop().or_else(|| self.later.queue.pop()) {
            self.requests[at as usize].state = RequestState::Idle;
            self.scans[scan_at].open -= 1;
            self.scans[scan_at].missed = true;
        }
    }
}
