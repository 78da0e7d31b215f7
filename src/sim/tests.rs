//! Seeds hold and repeat themselves, and planted faults are found.

use std::cell::Cell;
use std::sync::Arc;

use super::*;
use crate::hub::Batch;
use crate::link::modbus::ModbusLink;
use crate::plan::{LinkProtocolPlan, Plan};
use crate::rt::{CloseReason, Conn, Floor, Io, Link, Ready, ScanRelease, World};
use crate::tag::{LinkId, Nanos, flags};

fn must_hold(seed: u64, hours: Option<f64>) -> Outcome {
    let scenario = Scenario::of_seed(seed, hours).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let outcome = run(&scenario, &RealParts);
    if let Some((what, last)) = &outcome.broken {
        let hours = hours.map(|hours| format!(" --hours {hours}")).unwrap_or_default();
        panic!("{}\nseed {seed}: {what}\nrun it again with: fieldbeat sim --seed {seed}{hours}", last.join("\n"));
    }
    outcome
}

/// Together they run for more than a virtual day.
const SEEDS: u64 = 300;

#[test]
fn hundreds_of_seeds_hold() {
    let virtual_ns: u64 = (0..SEEDS).map(|seed| must_hold(seed, None).virtual_ns).sum();
    println!("{SEEDS} seeds, {:.1} virtual hours", virtual_ns as f64 / 3.6e12);
    assert!(virtual_ns > 24 * 3600 * 1_000_000_000, "a virtual day in total: {virtual_ns} ns");
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in [6, 7, 8] {
        let (first, second) = (must_hold(seed, Some(0.01)), must_hold(seed, Some(0.01)));
        assert_eq!((first.hash, first.events), (second.hash, second.events), "seed {seed}");
    }
    assert_ne!(must_hold(7, Some(0.01)).hash, must_hold(8, Some(0.01)).hash);
}

/// A fault planted beside the real parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// After a stall the clock seems to have stood still: every missed release comes after all.
    Burst,
    /// Any transaction id is taken for the one that was sent last.
    AnyTransaction,
    /// The executor waits for the wire after each request.
    Blocking,
    /// The first sample that is dropped in a step is not counted.
    Uncounted,
    /// More requests outstanding than the device was said to take.
    Greedy,
    /// Old values get the time at which they were told.
    Restamped,
    /// Every hundredth batch goes astray.
    Astray,
}

struct Planted {
    fault: Fault,
    batches: Cell<u64>,
}

impl Parts for Planted {
    type World = BentWorld;
    type Link = BentLink;

    fn world(&self, inner: SimWorld) -> BentWorld {
        BentWorld { inner, fault: self.fault, shown: 0, behind: false, transaction: [0; 2] }
    }

    fn link(&self, id: LinkId, plan: &Plan) -> BentLink {
        let mut plan = plan.clone();
        if self.fault == Fault::Greedy {
            let LinkProtocolPlan::Modbus(modbus) = &mut plan.links[id].protocol;
            modbus.config.pipeline += 1;
        }
        BentLink { inner: ModbusLink::new(id, &plan), fault: self.fault }
    }

    fn consumed(&self, batch: Arc<Batch>) -> Option<Arc<Batch>> {
        self.batches.set(self.batches.get() + 1);
        match self.fault {
            Fault::Astray if self.batches.get().is_multiple_of(100) => None,
            Fault::Restamped => {
                let mut batch = Batch::clone(&batch);
                let mut at = 0;
                while let Some(sample) = batch.slots.get_mut(at) {
                    if sample.flags & flags::HELD != 0 {
                        sample.t_mono_ns = batch.drained.0;
                    }
                    at += 1 + sample.payload_slots();
                }
                Some(Arc::new(batch))
            }
            _ => Some(batch),
        }
    }
}

struct BentWorld {
    inner: SimWorld,
    fault: Fault,
    shown: u64,
    behind: bool,
    transaction: [u8; 2],
}

impl World for BentWorld {
    fn now(&mut self) -> Nanos {
        let now = self.inner.now().0;
        self.behind |= now > self.shown + 60_000_000;
        if self.fault != Fault::Burst || !self.behind || self.shown + 500_000 >= now {
            self.shown = now;
            self.behind = false;
        } else {
            self.shown += 500_000;
        }
        Nanos(self.shown)
    }

    fn spin_until(&mut self, until: Nanos) -> Nanos {
        self.shown = self.shown.max(until.0);
        self.inner.spin_until(until)
    }

    fn wait(&mut self, until: Nanos, ready: &mut Ready) {
        self.inner.wait(until, ready);
    }

    fn attach(&mut self, conn: Conn, token: u32) -> bool {
        self.inner.attach(conn, token)
    }

    fn detach(&mut self, conn: Conn) {
        self.inner.detach(conn);
    }

    fn send(&mut self, conn: Conn, bytes: &[u8]) -> Io {
        if bytes.len() == 12 {
            self.transaction.copy_from_slice(&bytes[..2]);
        }
        let outcome = self.inner.send(conn, bytes);
        if self.fault == Fault::Blocking {
            let until = self.inner.now() + Nanos::from_millis(200);
            self.inner.wait(until, &mut Ready::with_capacity(1));
        }
        outcome
    }

    fn receive(&mut self, conn: Conn, buffer: &mut [u8]) -> Io {
        let outcome = self.inner.receive(conn, buffer);
        if self.fault == Fault::AnyTransaction && matches!(outcome, Io::Done(n) if n > 8) && buffer[2..4] == [0, 0] {
            buffer[..2].copy_from_slice(&self.transaction);
        }
        outcome
    }
}

struct BentLink {
    inner: ModbusLink,
    fault: Fault,
}

impl BentLink {
    fn bent(&mut self, floor: &mut Floor<BentWorld>, step: impl FnOnce(&mut ModbusLink, &mut Floor<BentWorld>)) {
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
        self.inner.release(release, floor);
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
        self.bent(floor, |link, floor| link.expire(now, floor));
    }

    fn adopt(&mut self, conn: Conn, now: Nanos, floor: &mut Floor<BentWorld>) {
        self.inner.adopt(conn, now, floor);
    }

    fn retire(&mut self, reason: CloseReason, floor: &mut Floor<BentWorld>) {
        self.inner.retire(reason, floor);
    }

    fn is_idle(&self) -> bool {
        Link::<BentWorld>::is_idle(&self.inner)
    }

    fn take_over(&mut self, old: &mut Self, now: Nanos, floor: &mut Floor<BentWorld>) {
        self.inner.take_over(&mut old.inner, now, floor);
    }
}

/// The first seed that finds the fault must hold without it, and say what is wrong.
fn is_found(fault: Fault, words: &[&str]) {
    for seed in 0..120 {
        let scenario = Scenario::of_seed(seed, Some(0.01)).unwrap();
        let Some((what, _)) = run(&scenario, &Planted { fault, batches: Cell::new(0) }).broken else { continue };
        assert!(words.iter().any(|word| what.contains(word)), "{fault:?} by seed {seed}, but as: {what}");
        must_hold(seed, Some(0.01));
        println!("{fault:?}: seed {seed}: {what}");
        return;
    }
    panic!("{fault:?} is not found");
}

#[test]
fn a_burst_after_a_stall_is_found() {
    is_found(Fault::Burst, &["it was to be skipped"]);
}

#[test]
fn a_link_that_takes_any_transaction_id_is_found() {
    is_found(Fault::AnyTransaction, &["the device answered", "requests outstanding"]);
}

#[test]
fn an_executor_that_waits_for_the_wire_is_found() {
    is_found(Fault::Blocking, &["whose device always answered in time", "its device always answered in time"]);
}

#[test]
fn a_drop_that_is_not_counted_is_found() {
    is_found(Fault::Uncounted, &["samples made", "told as missing"]);
}

#[test]
fn a_link_that_asks_beyond_its_allowance_is_found() {
    is_found(Fault::Greedy, &["requests outstanding"]);
}

#[test]
fn a_held_value_with_a_new_time_is_found() {
    is_found(Fault::Restamped, &["a held value keeps"]);
}

#[test]
fn a_batch_that_goes_astray_is_found() {
    is_found(Fault::Astray, &["samples made"]);
}
