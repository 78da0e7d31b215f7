//! What is sent: messages on their beat, or when a value is written; each write answered once, never sent late.

use super::CanLink;
use super::frame::encode;
use crate::limits::{CAN_SEND_RETRY, CAN_WRITES_MAX};
use crate::plan::can::{CAN_DATA_BYTES_MAX, CAN_DATA_ROOM, CanData, CanTransmitPlan};
use crate::rt::{Floor, Io, World, WriteAnswer, WriteOrder, WriteOutcome, WritePayload};
use crate::tag::Nanos;

/// A message's state.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// As it was last sent, or at first.
    pub data: CanData,
    /// Fields that have no value yet.
    pub unset: u64,
    /// The next beat; [`Nanos::NEVER`] without one, or while nothing can be sent.
    pub due: Nanos,
    /// A write waits to be sent at once: not before this; never, where none does.
    pub change_due: Nanos,
    /// The kernel had no room: tried again then.
    retry: Nanos,
    last: Nanos,
}

/// A write that is under way.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    id: u64,
    slot: u32,
    raw: u64,
    deadline: Nanos,
    read_back: bool,
    /// The kernel has the frame: what it says is waited for from the bus.
    is_sent: bool,
}

impl Sent {
    pub fn new(plan: &CanTransmitPlan) -> Sent {
        let mut data = [0; CAN_DATA_ROOM];
        for (to, from) in data.iter_mut().zip(&plan.initial) {
            *to = *from;
        }
        Sent {
            data,
            unset: plan.unset,
            due: Nanos::NEVER,
            change_due: Nanos::NEVER,
            retry: Nanos::ZERO,
            last: Nanos::ZERO,
        }
    }

    /// When it is to be sent.
    fn wanted(&self) -> Nanos {
        self.due.min(self.change_due).max(self.retry)
    }
}

impl CanLink {
    pub(super) fn start_sending(&mut self, now: Nanos) {
        for (sent, plan) in self.sent.iter_mut().zip(&self.plan.transmits) {
            sent.due = if plan.period.is_some() { now } else { Nanos::NEVER };
        }
    }

    pub(super) fn stop_sending(&mut self) {
        for sent in &mut self.sent {
            (sent.due, sent.change_due) = (Nanos::NEVER, Nanos::NEVER);
        }
    }

    /// When something is to be sent.
    pub(super) fn next_send(&self) -> Nanos {
        if self.is_out() {
            return Nanos::NEVER;
        }
        self.sent.iter().map(Sent::wanted).min().unwrap_or(Nanos::NEVER)
    }

    /// When a write has to be answered.
    pub(super) fn next_answer(&self) -> Nanos {
        self.pending.iter().flatten().map(|pending| pending.deadline).min().unwrap_or(Nanos::NEVER)
    }

    pub(super) fn send_due<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) {
        // A message on its beat must not carry a write whose time is over.
        self.answer_overdue(now, floor);
        if self.is_out() {
            return;
        }
        for at in 0..self.sent.len() {
            if now >= self.sent[at].wanted() {
                self.send_message(at, now, floor);
            }
            if self.connection.is_none() {
                return;
            }
        }
    }

    /// Sends one message with what is written to it, if it has all its values.
    fn send_message<W: World>(&mut self, at: usize, now: Nanos, floor: &mut Floor<W>) {
        let Some(conn) = self.connection else { return };
        let (Some(plan), Some(sent)) = (self.plan.transmits.get(at), self.sent.get_mut(at)) else { return };
        let beat = now >= sent.due;
        let (mut data, mut unset) = (sent.data, sent.unset);
        let of_message = |pending: &Pending| {
            let write = self.plan.writes.get(pending.slot as usize);
            write.filter(|write| usize::from(write.transmit) == at && !pending.is_sent)
        };
        for pending in self.pending.iter().flatten() {
            if let Some(write) = of_message(pending) {
                write.place.put(&mut data, pending.raw);
                unset &= !write.unset;
            }
        }
        let period = plan.period.unwrap_or(Nanos::NEVER);
        if unset != 0 {
            // Until all of its fields are written; what waits is answered at its deadline.
            sent.change_due = Nanos::NEVER;
            if beat {
                sent.due += Nanos(period.0 * (missed_beats(sent.due, period, now) + 1));
            }
            return;
        }
        let bytes = usize::from(plan.bytes).min(CAN_DATA_BYTES_MAX);
        let (frame, n) = encode(plan.id.id, plan.id.extended, plan.fd, &data[..bytes]);
        let can = &floor.counters.links[self.id.index()].can;
        match floor.world.send(conn, &frame[..n]) {
            Io::Done(_) => can.sent.add(1),
            Io::WouldBlock => {
                can.send_retries.add(1);
                sent.retry = now + CAN_SEND_RETRY;
                // Beats whose period is over are not made up for: the present one is tried.
                let missed = missed_beats(sent.due, period, now);
                if beat && missed > 0 {
                    can.unsent.add(missed);
                    sent.due += Nanos(period.0 * missed);
                }
                return;
            }
            Io::Closed => {
                self.drop_connection(crate::rt::CloseReason::Lost, now, floor);
                return;
            }
        }
        *sent = Sent { data, unset: 0, due: sent.due, change_due: Nanos::NEVER, retry: Nanos::ZERO, last: now };
        if beat {
            let missed = missed_beats(sent.due, period, now);
            can.unsent.add(missed);
            sent.due += Nanos(period.0 * (missed + 1));
        }
        let mut slot = 0;
        while let Some(Some(pending)) = self.pending.get_mut(slot) {
            let write = self.plan.writes.get(pending.slot as usize);
            let is_in_it = write.is_some_and(|write| usize::from(write.transmit) == at);
            let done = is_in_it && !pending.is_sent && !pending.read_back;
            pending.is_sent |= is_in_it;
            let id = pending.id;
            if done {
                self.forget(slot);
                floor.answer(WriteAnswer { id, outcome: WriteOutcome::Done, at: now, back: WritePayload::default() });
            } else {
                slot += 1;
            }
        }
    }

    /// A write was given up: unless another one waits for its message, that has not changed.
    fn calm(&mut self, slot: u32) {
        let writes = &self.plan.writes;
        let message = |slot: u32| writes.get(slot as usize).map(|write| write.transmit);
        let of = message(slot);
        let waits = self.pending.iter().flatten().any(|pending| !pending.is_sent && message(pending.slot) == of);
        if let Some(sent) = of.filter(|_| !waits).and_then(|at| self.sent.get_mut(usize::from(at))) {
            sent.change_due = Nanos::NEVER;
        }
    }

    /// Takes a write off the list; the others stay in their order.
    fn forget(&mut self, slot: usize) {
        if let Some(rest) = self.pending.get_mut(slot..) {
            if let Some(first) = rest.first_mut() {
                *first = None;
            }
            rest.rotate_left(1);
        }
    }

    /// A frame with the identifier of a message that is sent. False: it is none.
    pub(super) fn hear_own<W: World>(
        &mut self,
        id: u32,
        extended: bool,
        len: u8,
        data: &CanData,
        now: Nanos,
        floor: &mut Floor<W>,
    ) -> bool {
        let known = self.plan.transmits.iter().position(|t| t.id.id == id && t.id.extended == extended);
        let Some(at) = known else { return false };
        let bytes = usize::from(len).min(CAN_DATA_BYTES_MAX);
        if self.plan.transmits[at].bytes != len || data[..bytes] != self.sent[at].data[..bytes] {
            return true;
        }
        let mut slot = 0;
        while let Some(Some(pending)) = self.pending.get(slot).copied() {
            let write = self.plan.writes.get(pending.slot as usize).map(|write| (write.transmit, write.place));
            let Some((_, place)) = write.filter(|(of, _)| usize::from(*of) == at && pending.is_sent) else {
                slot += 1;
                continue;
            };
            self.forget(slot);
            let read = place.raw(data);
            let back = WritePayload::new(&read.to_le_bytes()).unwrap_or_default();
            // A later write to the same field may have gone out with the same frame.
            let outcome = if read == pending.raw { WriteOutcome::Done } else { WriteOutcome::ReadBackDiffers };
            floor.answer(WriteAnswer { id: pending.id, outcome, at: now, back });
        }
        true
    }

    pub(super) fn take_order<W: World>(&mut self, order: &WriteOrder, now: Nanos, floor: &mut Floor<W>) {
        let refuse = |outcome| WriteAnswer { id: order.id, outcome, at: now, back: WritePayload::default() };
        let write = self.plan.writes.get(order.slot as usize);
        let (Some(write), &[a, b, c, d, e, f, g, h]) = (write, order.payload.bytes()) else {
            floor.answer(refuse(WriteOutcome::NotWritable));
            return;
        };
        if self.connection.is_none() {
            floor.answer(refuse(WriteOutcome::NoConnection));
            return;
        }
        let Some(free) = self.pending.iter().position(Option::is_none) else {
            floor.answer(refuse(WriteOutcome::Busy));
            return;
        };
        self.pending[free] = Some(Pending {
            id: order.id,
            slot: order.slot,
            raw: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            deadline: order.deadline,
            read_back: order.read_back,
            is_sent: false,
        });
        let at = usize::from(write.transmit);
        if let (Some(plan), Some(sent)) = (self.plan.transmits.get(at), self.sent.get_mut(at))
            && let Some(distance) = plan.on_change
        {
            let earliest = if sent.last == Nanos::ZERO { now } else { sent.last + distance };
            sent.change_due = sent.change_due.min(earliest.max(now));
        }
        self.send_due(now, floor);
    }

    /// Answers writes whose time is over: what was not sent will not be.
    pub(super) fn answer_overdue<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) {
        let mut slot = 0;
        while let Some(Some(pending)) = self.pending.get(slot).copied() {
            if now < pending.deadline {
                slot += 1;
                continue;
            }
            self.forget(slot);
            self.calm(pending.slot);
            let outcome = if pending.is_sent { WriteOutcome::NoReply } else { WriteOutcome::NotSent };
            floor.answer(WriteAnswer { id: pending.id, outcome, at: now, back: WritePayload::default() });
        }
    }

    /// Answers every write that is under way.
    pub(super) fn end_writes<W: World>(
        &mut self,
        now: Nanos,
        waiting: WriteOutcome,
        sent: WriteOutcome,
        floor: &mut Floor<W>,
    ) {
        for slot in 0..CAN_WRITES_MAX {
            let Some(pending) = self.pending.get_mut(slot).and_then(Option::take) else { continue };
            let outcome = if pending.is_sent { sent } else { waiting };
            floor.answer(WriteAnswer { id: pending.id, outcome, at: now, back: WritePayload::default() });
        }
    }
}

/// Beats after that at `due` which are due as well.
fn missed_beats(due: Nanos, period: Nanos, now: Nanos) -> u64 {
    now.since(due).0 / period.0.max(1)
}
