//! Orders on their way to the thread: sent one at a time and no closer together than the plan's spacing, each answered
//! once, none sent after its deadline.

use super::wire::{Asked, WriteEnd};
use super::{LocalIoLink, Out};
use crate::lane::region_of;
use crate::rt::{StepContext, World, WriteAnswer, WriteOrder, WriteOutcome, WritePayload};
use crate::tag::Nanos;

/// Orders that one link holds at most: the thread does one at a time.
const WRITES_MAX: usize = 16;

/// Orders that wait, the oldest first, and the one that the thread has.
pub(super) struct Writes {
    waiting: Box<[Option<WriteOrder>; WRITES_MAX]>,
    sent: Option<WriteOrder>,
    /// From the beginning of one to that of the next at least, and when the next may begin.
    spacing: Nanos,
    begin_at: Nanos,
}

fn answer<W: World>(order: &WriteOrder, outcome: WriteOutcome, at: Nanos, floor: &mut StepContext<W>) {
    floor.answer(WriteAnswer { id: order.id, outcome, at, back: WritePayload::default() });
}

impl Writes {
    pub fn new(spacing: Nanos) -> Writes {
        Writes { waiting: Box::new([None; WRITES_MAX]), sent: None, spacing, begin_at: Nanos::ZERO }
    }

    /// Goes on with what waits under an earlier plan.
    pub fn continue_from(&mut self, old: &mut Writes) {
        let spacing = self.spacing;
        std::mem::swap(self, old);
        self.spacing = spacing;
    }

    pub fn region(&self) -> (*const u8, usize) {
        region_of(&self.waiting[..])
    }

    pub fn is_empty(&self) -> bool {
        self.sent.is_none() && self.waiting.iter().all(Option::is_none)
    }

    /// When the next order's time is over.
    pub fn deadline(&self) -> Nanos {
        let orders = self.waiting.iter().chain(std::iter::once(&self.sent)).flatten();
        orders.map(|order| order.deadline).min().unwrap_or(Nanos::NEVER)
    }

    /// When the next may be sent by a thread that has nothing to do.
    pub fn next_at(&self) -> Nanos {
        let waits = self.sent.is_none() && self.waiting.iter().any(Option::is_some);
        if waits { self.begin_at } else { Nanos::NEVER }
    }

    /// Answers the orders whose time is over.
    pub fn expire<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        for waiting in self.waiting.iter_mut() {
            if let Some(order) = waiting.take_if(|order| order.deadline <= now) {
                answer(&order, WriteOutcome::NotSent, now, floor);
            }
        }
        if let Some(order) = self.sent.take_if(|order| order.deadline <= now) {
            answer(&order, WriteOutcome::NoReply, now, floor);
        }
    }

    /// The connection is gone.
    pub fn lost<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        if let Some(order) = self.sent.take() {
            answer(&order, WriteOutcome::Lost, now, floor);
        }
        for order in self.waiting.iter_mut().filter_map(Option::take) {
            answer(&order, WriteOutcome::NoConnection, now, floor);
        }
    }

    /// The link leaves.
    pub fn end<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        if let Some(order) = self.sent.take() {
            answer(&order, WriteOutcome::Lost, now, floor);
        }
        for order in self.waiting.iter_mut().filter_map(Option::take) {
            answer(&order, WriteOutcome::PlanChanged, now, floor);
        }
    }

    /// The thread has done, or refused, what it was told. One that nobody waits for any more is passed over.
    pub fn written<W: World>(&mut self, id: u64, end: WriteEnd, at: Nanos, back: &[u8], floor: &mut StepContext<W>) {
        let Some(order) = self.sent.take_if(|order| order.id == id) else { return };
        let outcome = match end {
            WriteEnd::Done if order.read_back && back.is_empty() => WriteOutcome::NotReadBack,
            WriteEnd::Done if order.read_back && back != order.payload.bytes() => WriteOutcome::ReadBackDiffers,
            WriteEnd::Done => WriteOutcome::Done,
            WriteEnd::NotReadBack => WriteOutcome::NotReadBack,
            WriteEnd::TooLate => WriteOutcome::NotSent,
            WriteEnd::Refused(code) => WriteOutcome::Refused(code),
        };
        let back = WritePayload::new(back).unwrap_or_default();
        floor.answer(WriteAnswer { id, outcome, at, back });
    }

    fn oldest(&self) -> Option<usize> {
        let at = |(at, order): (usize, &Option<WriteOrder>)| order.as_ref().map(|order| (order.id, at));
        self.waiting.iter().enumerate().filter_map(at).min().map(|(_, at)| at)
    }
}

impl LocalIoLink {
    pub(super) fn take_order<W: World>(&mut self, order: &WriteOrder, now: Nanos, floor: &mut StepContext<W>) {
        let free = self.writes.waiting.iter_mut().find(|waiting| waiting.is_none());
        let refused = if order.slot as usize >= self.plan.writes.len() {
            Some(WriteOutcome::NotWritable)
        } else if self.connection.is_none() {
            Some(WriteOutcome::NoConnection)
        } else if let Some(free) = free {
            *free = Some(*order);
            None
        } else {
            Some(WriteOutcome::Busy)
        };
        if let Some(outcome) = refused {
            answer(order, outcome, now, floor);
        }
    }

    /// Sends the oldest order. False: there is none that can be sent.
    pub(super) fn send_write<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) -> bool {
        self.writes.expire(now, floor);
        // One whose time is over may still be the thread's.
        if self.writes.sent.is_some() || now < self.writes.begin_at {
            return false;
        }
        let Some(at) = self.writes.oldest() else { return false };
        let Some(order) = self.writes.waiting[at] else { return false };
        let WriteOrder { id, slot, read_back, deadline, .. } = order;
        self.send.ask(Asked::Write { slot, id, read_back, deadline, payload: order.payload.bytes() });
        // Also before it is tried again, should the thread take none.
        self.writes.begin_at = now + self.writes.spacing;
        if !self.hand_over(now, floor) {
            return false;
        }
        self.writes.waiting[at] = None;
        self.writes.sent = Some(order);
        self.wrote = true;
        self.out = Some(Out {
            request: None,
            sequence: 0,
            nominal: now,
            cycle: 0,
            sent: now,
            deadline: now + self.plan.config.timeout,
            is_overdue: false,
        });
        true
    }
}
