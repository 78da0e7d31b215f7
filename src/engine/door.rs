//! The interface between a source and the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use rtrb::{Consumer, Producer};

use crate::lane::{Counters, EventRates, ReportFilter, SampleWriter};
use crate::limits::SOURCE_BEAT;
use crate::plan::Plan;
use crate::rt::{Waker, WriteAnswer, WriteOrder, WriteOutcome, WritePayload, monotonic_now};
use crate::tag::{LaneId, Nanos, Sample};

/// A plan that a source is to go on with, and the ring and the rules of report by exception that come with it.
pub struct NewPlan {
    pub plan: Arc<Plan>,
    pub ring: Producer<Sample>,
    pub scratch: Box<[u8]>,
    pub filter: ReportFilter,
    pub rates: EventRates,
}

/// Why [`Door::wait`] returns.
pub enum Wake {
    /// The time has come.
    Due,
    /// Another plan runs from now on; the samples go into its ring already.
    Plan(Arc<Plan>),
    /// Something is to be written, and answered by [`Door::answer`].
    Order(Box<WriteOrder>),
    /// The gateway stops.
    Stop,
}

/// A source's side.
pub struct Door {
    pub lane: LaneId,
    pub samples: SampleWriter,
    pub counters: Arc<Counters>,
    plans: Receiver<NewPlan>,
    adopted: Sender<()>,
    orders: Consumer<WriteOrder>,
    answers: Producer<WriteAnswer>,
    /// How many plans were adopted, as writes count them.
    generation: u32,
    stop: Arc<AtomicBool>,
    waker: Waker,
}

/// The gateway's side.
pub struct DoorEnds {
    plans: Sender<NewPlan>,
    adopted: Receiver<()>,
    waker: Waker,
}

impl Door {
    /// And the other side. `orders` and `answers` are the rings of the lane's writes, which `waker` tells of.
    pub fn new(
        lane: LaneId,
        samples: SampleWriter,
        counters: Arc<Counters>,
        orders: Consumer<WriteOrder>,
        answers: Producer<WriteAnswer>,
        stop: Arc<AtomicBool>,
        waker: Waker,
    ) -> (Door, DoorEnds) {
        // One is under way at a time.
        let (to_source, plans) = bounded(1);
        let (adopted, from_source) = bounded(1);
        let ends = DoorEnds { plans: to_source, adopted: from_source, waker: waker.clone() };
        (Door { lane, samples, counters, plans, adopted, orders, answers, generation: 0, stop, waker }, ends)
    }

    /// Waits until `until`, or until there is something else to do; gives the sign of life meanwhile.
    pub fn wait(&mut self, until: Nanos) -> Wake {
        loop {
            let now = monotonic_now();
            if let Some(wake) = self.look(now, until) {
                return wake;
            }
            self.waker.wait((until - now).min(SOURCE_BEAT));
        }
    }

    /// What there is to do at `now`, for whoever waits by other means; with the sign of life. `None`: nothing until `until`.
    pub fn look(&mut self, now: Nanos, until: Nanos) -> Option<Wake> {
        self.beat(now);
        if self.stop.load(Relaxed) {
            return Some(Wake::Stop);
        }
        match self.plans.try_recv() {
            Ok(new) => return Some(Wake::Plan(self.adopt(new))),
            Err(TryRecvError::Empty) => {}
            // Whoever could stop it is gone.
            Err(TryRecvError::Disconnected) => return Some(Wake::Stop),
        }
        if let Some(order) = self.next_order(now) {
            return Some(Wake::Order(Box::new(order)));
        }
        (now >= until).then_some(Wake::Due)
    }

    /// The sign of life, and the time for samples by event; [`Door::wait`] gives both.
    pub fn beat(&mut self, now: Nanos) {
        self.samples.at(now);
        self.counters.lanes[self.lane.index()].loops.add(1);
    }

    /// For who waits for something else at the same time: woken when [`Door::wait`] would return.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    fn adopt(&mut self, new: NewPlan) -> Arc<Plan> {
        let NewPlan { plan, mut ring, mut scratch, mut filter, rates } = new;
        self.samples.change_ring(&mut ring, &mut scratch, &mut filter);
        self.samples.change_rates(rates);
        // The old ring must be let go of before the gateway hears of it: its reader then sees the end.
        drop((ring, scratch, filter));
        self.generation = self.generation.wrapping_add(1);
        let _ = self.adopted.try_send(());
        plan
    }

    /// What may still be written: the others are answered here.
    fn next_order(&mut self, now: Nanos) -> Option<WriteOrder> {
        while let Ok(order) = self.orders.pop() {
            let outcome = if order.generation != self.generation {
                WriteOutcome::PlanChanged
            } else if now >= order.deadline {
                WriteOutcome::NotSent
            } else {
                return Some(order);
            };
            self.answer(order.id, outcome, WritePayload::default());
        }
        None
    }

    /// Each order is answered once.
    pub fn answer(&mut self, id: u64, outcome: WriteOutcome, back: WritePayload) {
        // There is room for as many answers as there are orders.
        let _ = self.answers.push(WriteAnswer { id, outcome, at: monotonic_now(), back });
    }
}

impl DoorEnds {
    /// Hands over a plan; the one before must have been adopted.
    pub fn adopt(&self, new: NewPlan) {
        let sent = self.plans.try_send(new);
        debug_assert!(sent.is_ok(), "the previous change is not complete, or the source has");
        self.waker.wake();
    }

    /// Whether the last plan was adopted since this was asked.
    pub fn has_adopted(&self) -> bool {
        !matches!(self.adopted.try_recv(), Err(TryRecvError::Empty))
    }

    /// Has the source look whether it is to stop.
    pub fn wake(&self) {
        self.waker.wake();
    }
}
