//! Sending: messages at their period or on a write; each write is answered once and never sent late.

use std::ops::Range;

use super::CanLink;
use super::frame::encode;
use crate::limits::{CAN_SEND_RETRY, CAN_WRITES_MAX};
use crate::protocol::can::plan::bits::{CAN_DATA_BYTES_MAX, CAN_DATA_ROOM, CanData};
use crate::protocol::can::plan::model::{CanFramePlan, CanWrite};
use crate::rt::{Io, StepContext, World, WriteAnswer, WriteOrder, WriteOutcome, WritePayload};
use crate::tag::Nanos;

/// A message's state.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The next beat; [`Nanos::NEVER`] without one, or while nothing can be sent.
    pub due: Nanos,
    /// A write waits to be sent at once: not before this; never, where none does.
    pub change_due: Nanos,
    /// The kernel had no room: tried again then.
    retry: Nanos,
    last: Nanos,
    /// Of its frames, the one whose turn is next on the beat.
    turn: u32,
}

/// The state of one of a message's frames.
#[derive(Debug, Clone, Copy)]
pub struct SentFrame {
    /// As it was last sent, or at first.
    pub data: CanData,
    /// Fields that have no value yet.
    pub unset: u64,
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

impl SentFrame {
    pub fn new(plan: &CanFramePlan) -> SentFrame {
        let mut data = [0; CAN_DATA_ROOM];
        for (to, from) in data.iter_mut().zip(&plan.initial) {
            *to = *from;
        }
        SentFrame { data, unset: plan.unset }
    }

    fn put(&mut self, write: &CanWrite, raw: u64) {
        write.place.put(&mut self.data, raw);
        self.unset &= !write.unset;
    }
}

impl Sent {
    pub fn new() -> Sent {
        let never = Nanos::NEVER;
        Sent { due: never, change_due: never, retry: Nanos::ZERO, last: Nanos::ZERO, turn: 0 }
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

    pub(super) fn send_due<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
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

    /// A frame with what is written to it and is not sent yet.
    fn written(&self, at: usize, frame: u32) -> Option<SentFrame> {
        let mut state = *self.frames.get(frame as usize)?;
        for pending in self.pending.iter().flatten().filter(|pending| !pending.is_sent) {
            if let Some(write) = self.write_in(pending, at, frame) {
                state.put(write, pending.raw);
            }
        }
        Some(state)
    }

    /// What a pending write writes, if that is in this frame of this message.
    fn write_in(&self, pending: &Pending, at: usize, frame: u32) -> Option<&CanWrite> {
        let write = self.plan.writes.get(pending.slot as usize)?;
        (usize::from(write.transmit) == at && write.frame.is_none_or(|own| own == frame)).then_some(write)
    }

    /// The frame that is next on the beat, of those whose fields all have a value.
    fn frame_in_turn(&self, at: usize) -> Option<(u32, SentFrame)> {
        let (plan, sent) = (self.plan.transmits.get(at)?, self.sent.get(at)?);
        let count = plan.frames.end - plan.frames.start;
        (0..count).map(|step| plan.frames.start + (sent.turn + step) % count).find_map(|frame| {
            let state = self.written(at, frame)?;
            (state.unset == 0).then_some((frame, state))
        })
    }

    /// The frame that changed first, of those whose fields all have a value.
    fn frame_changed(&self, at: usize) -> Option<(u32, SentFrame)> {
        self.pending.iter().flatten().filter(|pending| !pending.is_sent).find_map(|pending| {
            let write =
                self.plan.writes.get(pending.slot as usize).filter(|write| usize::from(write.transmit) == at)?;
            let Some(frame) = write.frame else { return self.frame_in_turn(at) };
            let state = self.written(at, frame)?;
            (state.unset == 0).then_some((frame, state))
        })
    }

    /// Sends one frame of a message with what is written to it, if it has all its values.
    fn send_message<W: World>(&mut self, at: usize, now: Nanos, floor: &mut StepContext<W>) {
        let Some(conn) = self.connection else { return };
        let in_turn = self.frame_in_turn(at);
        let changed =
            if self.sent.get(at).is_some_and(|sent| now >= sent.change_due) { self.frame_changed(at) } else { None };
        let (Some(plan), Some(sent)) = (self.plan.transmits.get(at), self.sent.get_mut(at)) else { return };
        let beat = now >= sent.due;
        let period = plan.period.unwrap_or(Nanos::NEVER);
        let chosen = changed.or(in_turn.filter(|_| beat));
        let Some((number, state)) = chosen else {
            // Until all of its fields are written; what waits is answered at its deadline.
            sent.change_due = Nanos::NEVER;
            if beat {
                sent.due += Nanos(period.0 * (missed_beats(sent.due, period, now) + 1));
            }
            return;
        };
        // What changed goes beside the beat, unless its turn has come as well.
        let beat = beat && in_turn.is_some_and(|(turn, _)| turn == number);
        let bytes = usize::from(plan.bytes).min(CAN_DATA_BYTES_MAX);
        let (frame, n) = encode(plan.id.id, plan.id.extended, plan.fd, &state.data[..bytes]);
        let can = &floor.counters.links[self.id.index()].can;
        match floor.world.send(conn, &frame[..n]) {
            Io::Done(_) => can.sent.add(1),
            Io::WouldBlock => {
                can.send_retries.add(1);
                sent.retry = now + CAN_SEND_RETRY;
                // Beats whose period is over are not made up for: the present one is tried.
                let missed = missed_beats(sent.due, period, now);
                if now >= sent.due && missed > 0 {
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
        (sent.change_due, sent.retry, sent.last) = (Nanos::NEVER, Nanos::ZERO, now);
        if beat {
            let missed = missed_beats(sent.due, period, now);
            can.unsent.add(missed);
            sent.due += Nanos(period.0 * (missed + 1));
            sent.turn = number - plan.frames.start + 1;
        }
        let (frames, distance) = (plan.frames.clone(), plan.on_change);
        self.frames_sent(at, number, frames, now, floor);
        // A change of another frame is still to come.
        let waits = |pending: &Pending| {
            !pending.is_sent
                && self.plan.writes.get(pending.slot as usize).is_some_and(|write| usize::from(write.transmit) == at)
        };
        if let (Some(distance), true) = (distance, self.pending.iter().flatten().any(waits))
            && let Some(sent) = self.sent.get_mut(at)
        {
            sent.change_due = now + distance;
        }
    }

    /// A frame is out: what was written is in it, and what all frames of the message have is in the others as well.
    fn frames_sent<W: World>(
        &mut self,
        at: usize,
        number: u32,
        frames: Range<u32>,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let mut slot = 0;
        while let Some(Some(pending)) = self.pending.get(slot).copied() {
            let write = self.plan.writes.get(pending.slot as usize);
            let write =
                write.filter(|write| usize::from(write.transmit) == at && write.frame.is_none_or(|own| own == number));
            let Some(write) = write.filter(|_| !pending.is_sent) else {
                slot += 1;
                continue;
            };
            let of = if write.frame.is_none() { frames.clone() } else { number..number + 1 };
            for state in self.frames.get_mut(of.start as usize..of.end as usize).unwrap_or_default() {
                state.put(write, pending.raw);
            }
            if pending.read_back {
                if let Some(Some(pending)) = self.pending.get_mut(slot) {
                    pending.is_sent = true;
                }
                slot += 1;
                continue;
            }
            self.forget(slot);
            let (id, outcome) = (pending.id, WriteOutcome::Done);
            floor.answer(WriteAnswer { id, outcome, at: now, back: WritePayload::default() });
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
        floor: &mut StepContext<W>,
    ) -> bool {
        let known = self.plan.transmits.iter().position(|t| t.id.id == id && t.id.extended == extended);
        let Some(at) = known else { return false };
        let bytes = usize::from(len).min(CAN_DATA_BYTES_MAX);
        let Some(plan) = self.plan.transmits.get(at).filter(|plan| plan.bytes == len) else { return true };
        let is_it = |number: &u32| {
            self.frames.get(*number as usize).is_some_and(|frame| frame.data.get(..bytes) == data.get(..bytes))
        };
        let Some(number) = plan.frames.clone().find(is_it) else { return true };
        let mut slot = 0;
        while let Some(Some(pending)) = self.pending.get(slot).copied() {
            let place = self.write_in(&pending, at, number).map(|write| write.place);
            let Some(place) = place.filter(|_| pending.is_sent) else {
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

    pub(super) fn take_order<W: World>(&mut self, order: &WriteOrder, now: Nanos, floor: &mut StepContext<W>) {
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
    pub(super) fn answer_overdue<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
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
        floor: &mut StepContext<W>,
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
