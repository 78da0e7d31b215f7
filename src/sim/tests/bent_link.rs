//! A real link, with a fault in it.

use super::bent_world::BentWorld;
use super::planted::Fault;
use crate::plan::LinkWork;
use crate::protocol::kinds::{FieldLink, FieldWork};
use crate::protocol::local_io::model::LocalIoDevice;
use crate::protocol::modbus::line_time::SerialLine;
use crate::rt::{CloseReason, Conn, Link, ScanRelease, StepContext, World, WriteOrder};
use crate::tag::{LinkId, Nanos};

/// When a forgetful link forgets: not before its tags are read.
const FORGETS_AT: Nanos = Nanos::from_millis(10_000);

pub struct BentLink {
    inner: FieldLink,
    fault: Fault,
    /// Its device is on SPI; its units share a serial line.
    on_spi: bool,
    on_line: bool,
    /// It does nothing until then.
    waits_until: Nanos,
    /// It wants no connection until then; when it was answered last.
    sulks_until: Nanos,
    answered: (u64, Nanos),
}

impl BentLink {
    pub fn new(inner: FieldLink, fault: Fault, protocol: &dyn LinkWork) -> BentLink {
        let (on_spi, on_line) = match FieldWork::of(protocol) {
            Some(FieldWork::LocalIo(bus)) => (matches!(bus.setup.device, LocalIoDevice::Spi { .. }), false),
            Some(FieldWork::Modbus(modbus)) => (false, SerialLine::of(&modbus.config).is_some()),
            _ => (false, false),
        };
        BentLink {
            inner,
            fault,
            on_spi,
            on_line,
            waits_until: Nanos::ZERO,
            sulks_until: Nanos::ZERO,
            answered: (0, Nanos::ZERO),
        }
    }

    /// What it makes of a connection that its device has closed.
    fn sulk(&mut self, closes_before: u64, floor: &mut StepContext<BentWorld>) {
        let now = floor.world.now();
        let link = &floor.counters.links[Link::<BentWorld>::id(&self.inner).index()];
        let replies = link.replies.get();
        if replies != self.answered.0 {
            self.answered = (replies, now);
        }
        let was_idle = now.since(self.answered.1) > Nanos::from_millis(100);
        let sulks = match self.fault {
            Fault::SulksAfterReply => !was_idle,
            Fault::SulksWhenIdle => was_idle,
            _ => false,
        };
        if sulks && link.idle_closes.get() > closes_before {
            self.sulks_until = now + Nanos::from_millis(30_000);
        }
    }

    fn bent(
        &mut self,
        floor: &mut StepContext<BentWorld>,
        step: impl FnOnce(&mut FieldLink, &mut StepContext<BentWorld>),
    ) {
        let before = floor.counters.dropped();
        step(&mut self.inner, floor);
        if self.fault == Fault::Uncounted && floor.counters.dropped() > before {
            let counters = floor.counters.clone();
            if let Some(executor) = counters.lanes.iter().find(|executor| executor.dropped.get() > 0) {
                executor.dropped.add(u64::MAX);
            }
        }
    }
}

impl Link<BentWorld> for BentLink {
    fn id(&self) -> LinkId {
        Link::<BentWorld>::id(&self.inner)
    }

    fn release(&mut self, release: ScanRelease, floor: &mut StepContext<BentWorld>) {
        let waits = match self.fault {
            Fault::Waiting => matches!(self.inner, FieldLink::Modbus(_)),
            Fault::Dawdling => self.on_line,
            _ => false,
        };
        let forgets = self.fault == Fault::Forgetful && matches!(self.inner, FieldLink::Modbus(_));
        if forgets && release.nominal > FORGETS_AT {
            return;
        }
        if !waits || release.nominal >= self.waits_until {
            self.inner.release(release, floor);
        }
    }

    fn send(&mut self, now: Nanos, floor: &mut StepContext<BentWorld>) {
        self.inner.send(now, floor);
    }

    fn receive(&mut self, floor: &mut StepContext<BentWorld>) {
        let closes = floor.counters.links[Link::<BentWorld>::id(&self.inner).index()].idle_closes.get();
        self.bent(floor, |link, floor| link.receive(floor));
        self.sulk(closes, floor);
    }

    fn deadline(&self) -> Nanos {
        Link::<BentWorld>::deadline(&self.inner)
    }

    fn expire(&mut self, now: Nanos, floor: &mut StepContext<BentWorld>) {
        let id = Link::<BentWorld>::id(&self.inner).index();
        let before = floor.counters.links[id].timeouts.get();
        self.bent(floor, |link, floor| link.expire(now, floor));
        if floor.counters.links[id].timeouts.get() > before {
            let waits_ms = if self.fault == Fault::Dawdling { 2_400 } else { 6_000 };
            self.waits_until = now + Nanos::from_millis(waits_ms);
        }
    }

    fn adopt(&mut self, conn: Conn, now: Nanos, floor: &mut StepContext<BentWorld>) {
        if now < self.sulks_until {
            return floor.give_up(Link::<BentWorld>::id(&self.inner), conn, CloseReason::Lost);
        }
        self.inner.adopt(conn, now, floor);
    }

    fn retire(&mut self, reason: CloseReason, floor: &mut StepContext<BentWorld>) {
        self.inner.retire(reason, floor);
    }

    fn write(&mut self, order: &WriteOrder, now: Nanos, floor: &mut StepContext<BentWorld>) {
        let mut order = *order;
        match self.fault {
            Fault::TwiceWritten if order.id.is_multiple_of(8) => self.inner.write(&order, now, floor),
            Fault::Unwritten if order.id.is_multiple_of(8) => return,
            Fault::NextRegister if self.on_spi => order.slot += 1,
            Fault::Overdue => order.deadline += Nanos::from_millis(3_000),
            _ => {}
        }
        self.inner.write(&order, now, floor);
    }

    fn is_idle(&self) -> bool {
        Link::<BentWorld>::is_idle(&self.inner)
    }

    fn take_over(&mut self, old: &mut Self, now: Nanos, floor: &mut StepContext<BentWorld>) {
        if self.fault == Fault::Reconnects {
            old.inner.retire(CloseReason::Removed, floor);
        } else {
            self.inner.take_over(&mut old.inner, now, floor);
        }
    }
}
