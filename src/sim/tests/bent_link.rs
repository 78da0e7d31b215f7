//! A real link, with a fault in it.

use super::bent_world::BentWorld;
use super::planted::Fault;
use crate::link::FieldLink;
use crate::rt::{CloseReason, Conn, Floor, Link, ScanRelease, WriteOrder};
use crate::tag::{LinkId, Nanos};

pub struct BentLink {
    inner: FieldLink,
    fault: Fault,
    /// It does nothing until then.
    waits_until: Nanos,
}

impl BentLink {
    pub fn new(inner: FieldLink, fault: Fault) -> BentLink {
        BentLink { inner, fault, waits_until: Nanos::ZERO }
    }

    fn bent(&mut self, floor: &mut Floor<BentWorld>, step: impl FnOnce(&mut FieldLink, &mut Floor<BentWorld>)) {
        let before = floor.counters.dropped();
        step(&mut self.inner, floor);
        if self.fault == Fault::Uncounted && floor.counters.dropped() > before {
            let counters = floor.counters.clone();
            if let Some(executor) = counters.executors.iter().find(|executor| executor.dropped.get() > 0) {
                executor.dropped.add(u64::MAX);
            }
        }
    }
}

impl Link<BentWorld> for BentLink {
    fn id(&self) -> LinkId {
        Link::<BentWorld>::id(&self.inner)
    }

    fn release(&mut self, release: ScanRelease, floor: &mut Floor<BentWorld>) {
        let waits = self.fault == Fault::Waiting && matches!(self.inner, FieldLink::Modbus(_));
        if !waits || release.nominal >= self.waits_until {
            self.inner.release(release, floor);
        }
    }

    fn send(&mut self, now: Nanos, floor: &mut Floor<BentWorld>) {
        self.inner.send(now, floor);
    }

    fn receive(&mut self, floor: &mut Floor<BentWorld>) {
        self.bent(floor, |link, floor| link.receive(floor));
    }

    fn deadline(&self) -> Nanos {
        Link::<BentWorld>::deadline(&self.inner)
    }

    fn expire(&mut self, now: Nanos, floor: &mut Floor<BentWorld>) {
        let id = Link::<BentWorld>::id(&self.inner).index();
        let before = floor.counters.links[id].timeouts.get();
        self.bent(floor, |link, floor| link.expire(now, floor));
        if floor.counters.links[id].timeouts.get() > before {
            self.waits_until = now + Nanos::from_millis(6_000);
        }
    }

    fn adopt(&mut self, conn: Conn, now: Nanos, floor: &mut Floor<BentWorld>) {
        self.inner.adopt(conn, now, floor);
    }

    fn retire(&mut self, reason: CloseReason, floor: &mut Floor<BentWorld>) {
        self.inner.retire(reason, floor);
    }

    fn write(&mut self, order: &WriteOrder, now: Nanos, floor: &mut Floor<BentWorld>) {
        let mut order = *order;
        match self.fault {
            Fault::TwiceWritten if order.id.is_multiple_of(8) => self.inner.write(&order, now, floor),
            Fault::Unwritten if order.id.is_multiple_of(8) => return,
            Fault::Overdue => order.deadline += Nanos::from_millis(3_000),
            _ => {}
        }
        self.inner.write(&order, now, floor);
    }

    fn is_idle(&self) -> bool {
        Link::<BentWorld>::is_idle(&self.inner)
    }

    fn take_over(&mut self, old: &mut Self, now: Nanos, floor: &mut Floor<BentWorld>) {
        if self.fault == Fault::Reconnects {
            old.inner.retire(CloseReason::Removed, floor);
        } else {
            self.inner.take_over(&mut old.inner, now, floor);
        }
    }
}
