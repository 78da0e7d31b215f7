//! Writes on their way to the executors, and their answers on the way back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::lane::Counters;
use crate::limits::WRITES_PENDING_MAX;
use crate::plan::Plan;
use crate::rt::{Waker, WriteAnswer, WriteOrder, WriteOutcome, WritePayload, monotonic_now};
use crate::tag::{ById, LaneId, LinkId};

/// An executor has as many writes under way as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The ends of the rings through which writes go to one executor and their answers come back.
pub struct Ends {
    orders: Producer<WriteOrder>,
    waker: Waker,
    answers: Consumer<WriteAnswer>,
    /// Orders without an answer: never more than fit into the ring of answers.
    open: Vec<(u64, LinkId)>,
    /// Plans that the executor has adopted, as far as is known.
    generation: u32,
}

impl Ends {
    /// And the executor's ends.
    pub fn new(waker: Waker) -> (Ends, Consumer<WriteOrder>, Producer<WriteAnswer>) {
        let (orders, to_executor) = RingBuffer::new(WRITES_PENDING_MAX);
        let (from_executor, answers) = RingBuffer::new(WRITES_PENDING_MAX);
        let open = Vec::with_capacity(WRITES_PENDING_MAX);
        (Ends { orders, waker, answers, open, generation: 0 }, to_executor, from_executor)
    }

    /// The executor has adopted a plan.
    pub fn has_adopted(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }
}

/// Which executor has which link, under the plan that all of them have adopted.
fn executors_of(plan: &Plan) -> ById<LinkId, LaneId> {
    plan.links.iter().map(|(id, link)| (id, link.lane)).collect()
}

fn no_reply(id: u64) -> WriteAnswer {
    WriteAnswer { id, outcome: WriteOutcome::NoReply, at: monotonic_now(), back: WritePayload::default() }
}

/// All ends, by executor; what asks for writes has them as well as the floor, so that nobody waits for the other's work.
pub struct Orders {
    ends: Vec<Ends>,
    executors_of_links: ById<LinkId, LaneId>,
    /// Of a plan that executors have yet to adopt.
    next_executors_of_links: Option<ById<LinkId, LaneId>>,
    counters: Arc<Counters>,
}

/// Shared; nobody holds it longer than a few microseconds, and no executor ever takes it.
pub type SharedOrders = Arc<Mutex<Orders>>;

/// Each change of it is whole, so that a panic elsewhere leaves it sound.
pub fn lock(orders: &SharedOrders) -> MutexGuard<'_, Orders> {
    orders.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Orders {
    pub fn new(plan: &Plan, counters: Arc<Counters>) -> Orders {
        let executors_of_links = executors_of(plan);
        Orders { ends: Vec::new(), executors_of_links, next_executors_of_links: None, counters }
    }

    /// The next executor's.
    pub(super) fn add(&mut self, ends: Ends) {
        self.ends.push(ends);
    }

    /// Executors have yet to adopt `plan`.
    pub(super) fn will_adopt(&mut self, plan: &Plan) {
        self.next_executors_of_links = Some(executors_of(plan));
    }

    /// All have; `changed` tells by executor whether its work is another now.
    pub(super) fn have_adopted(&mut self, changed: impl Iterator<Item = bool>) {
        for (ends, _) in self.ends.iter_mut().zip(changed).filter(|(_, changed)| *changed) {
            ends.has_adopted();
        }
        if let Some(executors) = self.next_executors_of_links.take() {
            self.executors_of_links = executors;
        }
    }

    /// The [`WriteOrder::generation`] of an order for `link` that is made now, by the plan that all executors have
    /// adopted; `None`: that plan has no such link. It stays the same until [`Floor::has_adopted`] tells of another
    /// plan, so that an order made by one plan is refused under the next.
    pub fn generation(&self, link: LinkId) -> Option<u32> {
        let executor = self.executors_of_links.get(link)?;
        self.ends.get(executor.index()).map(|ends| ends.generation)
    }

    /// Hands an order to its link's executor, which answers it once: see [`Orders::take_answers`].
    ///
    /// # Errors
    /// The executor has no room for it, or has ended, or no executor has the link; there will be no answer.
    pub fn write(&mut self, order: WriteOrder) -> Result<(), Full> {
        let executor = *self.executors_of_links.get(order.link).ok_or(Full)?;
        let ends = self.ends.get_mut(executor.index()).ok_or(Full)?;
        if ends.open.len() >= WRITES_PENDING_MAX || ends.orders.is_abandoned() {
            return Err(Full);
        }
        ends.orders.push(order).map_err(|_| Full)?;
        ends.open.push((order.id, order.link));
        ends.waker.wake();
        Ok(())
    }

    /// The answers that came since the last look, in the order in which each executor gave them; counted for their
    /// links. Of an executor that has ended, what it left unanswered counts as without a reply.
    pub fn take_answers(&mut self) -> Vec<WriteAnswer> {
        let counters = &self.counters;
        let of_executor = |ends: &mut Ends| {
            let mut answers = Vec::new();
            while let Some(answer) = ends.next_answer(counters) {
                answers.push(answer);
            }
            answers
        };
        self.ends.iter_mut().flat_map(of_executor).collect()
    }
}

impl Ends {
    fn next_answer(&mut self, counters: &Counters) -> Option<WriteAnswer> {
        // Looked at first: what it answered before it ended is in the ring then.
        let has_ended = self.answers.is_abandoned();
        let answer = match self.answers.pop() {
            Ok(answer) => answer,
            Err(_) if has_ended => no_reply(self.open.first()?.0),
            Err(_) => return None,
        };
        if let Some(at) = self.open.iter().position(|(id, _)| *id == answer.id) {
            let (_, link) = self.open.remove(at);
            let counters = counters.link(link);
            counters.writes_sent.add(u64::from(answer.outcome.was_sent()));
            let counter = if answer.outcome.is_done() { &counters.writes_done } else { &counters.writes_failed };
            counter.add(1);
        }
        Some(answer)
    }
}
