//! What goes over the wire: requests out, frames in.

use super::super::frame::{self, Known, Mismatch, Parsed, Reply, Resumed};
use super::request::RequestState;
use super::write::Turn;
use super::{Asks, Connection, InFlight, ModbusLink};
use crate::limits::MODBUS_PIPELINE_MAX;
use crate::plan::ScanId;
use crate::rt::{CloseReason, Io, Report, RequestResult, StepContext, World};
use crate::tag::{Fault, Nanos};

/// What goes out next.
pub(super) enum Next {
    /// A scan's place, and one of its requests.
    Read(usize, u32),
    Write(Turn),
}

impl ModbusLink {
    pub(super) fn free_slot(&self) -> Option<usize> {
        let pipeline = usize::from(self.plan.config.pipeline).min(MODBUS_PIPELINE_MAX);
        // Counted in all slots: under an earlier plan more may have been allowed, and these are still out.
        let out = self.in_flight.iter().flatten().count();
        if out < pipeline { self.in_flight.iter().position(Option::is_none) } else { None }
    }

    /// Sends one queued request if a slot and the socket allow. False: nothing more to send now.
    pub(super) fn send_one<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) -> bool {
        self.writes.rest();
        self.next_try = Nanos::NEVER;
        if self.connection.is_none() || self.drop_stuck(now, floor) {
            return false;
        }
        let Some(connection) = &mut self.connection else { return false };
        if connection.out.unsent_len > 0 && self.writes.is_on_wire() {
            // It may have become too late for it since, and the device must not get it then.
            let now = floor.world.now();
            self.expire_current(now, floor);
        }
        let Some(connection) = &mut self.connection else { return false };
        if connection.out.unsent_len > 0 {
            match push_unsent(connection, floor) {
                Io::Done(_) if connection.out.unsent_len == 0 => {}
                Io::Closed => {
                    self.peer_closed(now, floor);
                    return false;
                }
                _ => return false,
            }
        }
        let Some(slot) = self.free_slot() else { return false };
        let waits = !(self.queue.is_empty() && self.later.queue.is_empty() && self.writes.is_idle());
        let now = match &self.line {
            // A late reply that waits to be read would be taken for that of the next request.
            Some(line) if waits && line.is_unseen(now) => self.take_in(floor).unwrap_or(now),
            _ => now,
        };
        if self.is_held(now) {
            return false;
        }
        match self.next(now, floor) {
            None => false,
            Some(Next::Read(scan_at, at)) => self.send_read(scan_at, at, slot, floor),
            Some(Next::Write(turn)) => self.send_write(turn, slot, floor),
        }
    }

    /// Drops a connection that has not taken a whole request in the time of that. Its rest is not to be sent any more, on a
    /// line it would be taken for the beginning of the next, and nothing else may go before it.
    pub(super) fn drop_stuck<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) -> bool {
        let is_unsent = self.connection.as_ref().is_some_and(|connection| connection.out.unsent_len > 0);
        let is_stuck = is_unsent && !self.in_flight.iter().flatten().any(|f| f.transaction == self.transaction);
        if is_stuck {
            self.drop_connection(CloseReason::Silent, now, floor);
        }
        is_stuck
    }

    fn next<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) -> Option<Next> {
        let write = self.next_write(now, floor);
        if self.line.is_some() {
            return self.next_on_line(write, now, floor);
        }
        self.next_after_pause(write, now)
    }

    /// Puts the frame that was made ready on the wire. When that was, when its reply is overdue, and what came of it;
    /// the reply's PDU has so many bytes.
    pub(super) fn transmit<W: World>(&mut self, reply_bytes: usize, floor: &mut StepContext<W>) -> (Nanos, Nanos, Io) {
        self.transaction = self.transaction.wrapping_add(1);
        let Some(connection) = &mut self.connection else { return (Nanos::ZERO, Nanos::ZERO, Io::Closed) };
        if self.line.is_none() {
            connection.out.bytes[..2].copy_from_slice(&self.transaction.to_be_bytes());
        }
        let outcome = push_unsent(connection, floor);
        let sent = floor.world.now();
        let mut deadline = sent + self.plan.config.timeout;
        if let Some(line) = &mut self.line {
            deadline += line.sent(sent, connection.out.len, reply_bytes);
            if connection.out.unsent_len > 0 && line.cut_off(sent) {
                connection.out.unsent_len = 0;
            }
            self.received = 0;
            self.reasons.sent_on_line();
        }
        self.sent_on_connection = self.sent_on_connection.saturating_add(1);
        (sent, deadline, outcome)
    }

    fn send_read<W: World>(&mut self, scan_at: usize, at: u32, slot: usize, floor: &mut StepContext<W>) -> bool {
        self.writes.read_went();
        let frame = self.frames[at as usize];
        let Some(connection) = &mut self.connection else { return false };
        connection.out.fill(|out| {
            let bytes = frame.bytes();
            out[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        });
        // Function and byte count.
        let (sent, deadline, outcome) = self.transmit(2 + self.plan.requests[at as usize].value_bytes(), floor);
        let scan = &self.scans[scan_at];
        let nominal = if self.requests[at as usize].off_beat { sent } else { scan.nominal };
        self.in_flight[slot] = Some(InFlight {
            asks: Asks::Read(at),
            transaction: self.transaction,
            nominal,
            cycle: scan.cycle,
            sent,
            deadline,
        });
        self.requests[at as usize].state = RequestState::InFlight;
        self.reasons.sent(slot);
        floor.counters.links[self.id.index()].requests.add(1);
        let group = self.plan.requests[at as usize].group;
        floor.report(Report::Issued { group, link: self.id, nominal, sent });
        if outcome == Io::Closed {
            self.peer_closed(sent, floor);
            return false;
        }
        true
    }

    /// Takes a request out of flight and closes its account.
    pub(super) fn finish<W: World>(
        &mut self,
        at: u32,
        flight: InFlight,
        received: Nanos,
        result: RequestResult,
        floor: &mut StepContext<W>,
    ) {
        let id = self.plan.requests[at as usize].scan;
        self.requests[at as usize].state = RequestState::Idle;
        if let Some(scan_at) = self.scan_at(id) {
            let scan = &mut self.scans[scan_at];
            scan.open -= 1;
            // What a slow scan has not got may still come in its cycle.
            let is_lost = match result {
                RequestResult::Good | RequestResult::Exception(_) => false,
                RequestResult::Timeout | RequestResult::Broken => !scan.is_slow,
                RequestResult::Aborted => true,
            };
            scan.missed |= is_lost;
            if scan.is_slow {
                self.ended_slowly(at, scan_at, result, received);
            }
        }
        self.close_account(id, flight, received, result, floor);
    }

    /// Puts a request that was lost for no fault of its own back into its scan's cycle. False: it has been there so often
    /// already, and is still to be finished.
    pub(super) fn ask_again<W: World>(
        &mut self,
        at: u32,
        flight: InFlight,
        (result, times_max): (RequestResult, u8),
        now: Nanos,
        floor: &mut StepContext<W>,
    ) -> bool {
        let id = self.plan.requests[at as usize].scan;
        let gives_way = self.gives_way(at);
        let Some(scan_at) = self.scan_at(id).filter(|_| self.requests[at as usize].again < times_max) else {
            return false;
        };
        let request = &mut self.requests[at as usize];
        request.again += 1;
        request.state = RequestState::Queued;
        let queue = if gives_way { &mut self.later.queue } else { &mut self.queue };
        queue.push(scan_at, at);
        self.close_account(id, flight, now, result, floor);
        true
    }

    fn close_account<W: World>(
        &self,
        scan: ScanId,
        flight: InFlight,
        received: Nanos,
        result: RequestResult,
        floor: &mut StepContext<W>,
    ) {
        let counters = &floor.counters.links[self.id.index()];
        match result {
            RequestResult::Good => counters.replies.add(1),
            RequestResult::Exception(_) => counters.exceptions.add(1),
            RequestResult::Timeout => counters.timeouts.add(1),
            RequestResult::Aborted => counters.aborted.add(1),
            RequestResult::Broken => counters.broken.add(1),
        }
        let InFlight { nominal, sent, .. } = flight;
        floor.report(Report::Finished { scan, link: self.id, nominal, sent, received, result });
    }

    /// Where a reply's request stands. Of a device that answers with any transaction, the one that is outstanding; but
    /// one that has given back ours so far may repeat an earlier answer.
    fn slot_of(&self, transaction: u16) -> Option<usize> {
        let own = self.in_flight.iter().position(|f| f.is_some_and(|f| f.transaction == transaction));
        let any = self.plan.config.tolerance.any_transaction && !(self.echoes && self.was_asked(transaction));
        own.or_else(|| {
            let mut out = (0..self.in_flight.len()).filter(|slot| self.in_flight[*slot].is_some());
            out.next().filter(|_| any && out.next().is_none())
        })
    }

    fn was_asked(&self, transaction: u16) -> bool {
        u32::from(self.transaction.wrapping_sub(transaction)) < self.sent_on_connection
    }

    fn count_foreign<W: World>(&self, what: Mismatch, floor: &mut StepContext<W>) {
        let counters = &floor.counters.links[self.id.index()];
        counters.foreign.add(1);
        match what {
            Mismatch::Unit => counters.other_unit.add(1),
            Mismatch::Transaction => counters.other_transaction.add(1),
            Mismatch::Function => counters.other_function.add(1),
            Mismatch::Length => counters.other_length.add(1),
        }
    }

    /// Not ours after all: the request goes on waiting for its own reply.
    pub(super) fn mismatched<W: World>(&self, what: Mismatch, floor: &mut StepContext<W>) {
        self.count_foreign(what, floor);
    }

    /// A whole frame came in.
    pub(super) fn take_frame<W: World>(&mut self, frame: frame::Frame<'_>, now: Nanos, floor: &mut StepContext<W>) {
        let known = self.slot_of(frame.transaction);
        let Some((slot, flight)) = known.and_then(|slot| self.in_flight[slot].map(|f| (slot, f))) else {
            if self.was_asked(frame.transaction) {
                floor.counters.links[self.id.index()].late.add(1);
                if self.came_late(Some(frame.transaction), now, floor) {
                    return;
                }
                // It was answered before: the device repeats itself.
            } else {
                self.count_foreign(Mismatch::Transaction, floor);
            }
            return self.came_unasked(frame.transaction, floor);
        };
        self.echoes = flight.transaction == frame.transaction;
        self.framed = true;
        if frame.excess > 0 {
            floor.counters.links[self.id.index()].wrong_lengths.add(1);
            if let Asks::Read(at) = flight.asks {
                self.note(at, Fault::HeaderLength(frame.excess.min(usize::from(u8::MAX)) as u8), floor);
            }
        }
        let at = match flight.asks {
            Asks::Read(at) => at,
            Asks::Write => return self.take_write_reply(slot, frame.unit, frame.pdu, now, floor),
            Asks::Nobody(Some(expected)) if !expected.is_met(frame.unit, frame.pdu) => {
                let code = *frame.pdu.first().unwrap_or(&0);
                return self.mismatched(expected.mismatch(frame.unit, code), floor);
            }
            Asks::Nobody(_) => {
                self.in_flight[slot] = None;
                floor.counters.links[self.id.index()].late.add(1);
                return;
            }
        };
        let request = &self.plan.requests[at as usize];
        let unit_at = usize::from(request.unit);
        let tolerance = self.plan.config.tolerance;
        let reply = if frame.unit == self.plan.units[unit_at].0 || tolerance.any_unit {
            frame::reply(frame.pdu, request.table.read_function(), request.value_bytes(), tolerance)
        } else {
            Reply::Mismatch(Mismatch::Unit)
        };
        let header = [frame.unit, *frame.pdu.first().unwrap_or(&0), *frame.pdu.get(1).unwrap_or(&0)];
        self.take_reply(slot, (at, flight), (reply, header), now, floor);
    }

    /// What a read in flight was answered; with unit, function and count of what came.
    pub(super) fn take_reply<W: World>(
        &mut self,
        slot: usize,
        (at, flight): (u32, InFlight),
        (reply, header): (Reply<'_>, [u8; 3]),
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let unit_at = usize::from(self.plan.requests[at as usize].unit);
        match reply {
            Reply::Mismatch(what) => self.mismatched_read(slot, what, header, floor),
            Reply::Values(values) => {
                self.in_flight[slot] = None;
                self.note_answer(unit_at, now);
                self.answered(unit_at, now, floor);
                if !self.is_tried_out(at) {
                    self.store(at, flight, values, now, floor);
                }
                self.finish(at, flight, now, RequestResult::Good, floor);
                self.served(at, now);
            }
            Reply::Exception(code) => {
                self.in_flight[slot] = None;
                self.note_answer(unit_at, now);
                self.finish(at, flight, now, RequestResult::Exception(code), floor);
                self.refused(at, &flight, code, now, floor);
            }
        }
    }

    fn known_by(&self, transaction: u16) -> Known {
        let outstanding = self.in_flight.iter().flatten().any(|flight| flight.transaction == transaction);
        if outstanding || self.plan.config.tolerance.any_transaction {
            Known::Outstanding
        } else if self.was_asked(transaction) {
            Known::Before
        } else {
            Known::No
        }
    }

    /// Cuts frames out of what was received. False: the stream is garbage.
    pub(super) fn take_frames<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) -> bool {
        // Lent out, so that a frame can be read while the rest of the link changes; put back below.
        let Some(mut buffer) = self.receive.take() else { return true };
        let mut at = 0;
        let good = loop {
            if self.line.is_some() {
                at = self.take_from_line(&buffer[..self.received], now, floor);
                break true;
            }
            // A device that has sent whole frames is not given up for a few bytes between them.
            if self.excess > 0 || self.framed && !frame::may_begin(&buffer[at..self.received]) {
                match frame::resume(&buffer[at..self.received], self.excess, |transaction| self.known_by(transaction)) {
                    Resumed::Incomplete => break true,
                    Resumed::Lost => break false,
                    Resumed::At(skipped) => at += skipped,
                }
                self.excess = 0;
            }
            match frame::parse(&buffer[at..self.received]) {
                Parsed::Incomplete => break true,
                Parsed::Garbage => break false,
                Parsed::Frame { frame, bytes } => {
                    at += bytes;
                    self.excess = frame.excess;
                    self.take_frame(frame, now, floor);
                }
            }
        };
        buffer.copy_within(at..self.received, 0);
        self.received -= at;
        self.receive = Some(buffer);
        good
    }
}

fn push_unsent<W: World>(connection: &mut Connection, floor: &mut StepContext<W>) -> Io {
    let Connection { conn, out, .. } = connection;
    let outcome = floor.world.send(*conn, &out.bytes[out.len - out.unsent_len..out.len]);
    if let Io::Done(n) = outcome {
        out.unsent_len -= n.min(out.unsent_len);
    }
    outcome
}
