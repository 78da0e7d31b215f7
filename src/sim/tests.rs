//! Seeds hold and repeat themselves, and planted faults are found.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::config::ModbusTransport;
use crate::hub::Batch;
use crate::link::modbus::ModbusLink;
use crate::plan::{Plan, UsedIds};
use crate::rt::{CloseReason, Conn, Floor, Io, Link, Ready, ScanRelease, World, WriteOrder};
use crate::store::Position;
use crate::tag::{Dictionary, LinkId, Nanos, flags};

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

/// What many seeds came to.
fn seeds_hold(seeds: impl Iterator<Item = u64>) {
    let outcomes: Vec<Outcome> = seeds.map(|seed| must_hold(seed, None)).collect();
    let hours = |those: &dyn Fn(&Outcome) -> bool| {
        outcomes.iter().filter(|o| those(o)).map(|o| o.virtual_ns).sum::<u64>() as f64 / 3.6e12
    };
    let count = |of: &dyn Fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let reloads = count(&|o| o.reloads);
    println!(
        "{} seeds, {:.1} virtual hours; {:.1} with {reloads} reloads ({} refused); {:.1} with the journal and {} crashes",
        outcomes.len(),
        hours(&|_| true),
        hours(&|o| o.reloads > 0),
        count(&|o| o.refused),
        hours(&|o| o.journal),
        count(&|o| o.crashes),
    );
    let (suppressed, besides) = (count(&|o| o.suppressed), count(&|o| o.besides));
    println!("{suppressed} of {} samples suppressed; {besides} looks beside a dead unit", count(&|o| o.samples));
    assert!(suppressed > 100_000 && besides > 5_000);
    assert!(hours(&|_| true) > 12.5, "two of these are more than a virtual day");
    let (done, failed) = (count(&|o| o.writes_done), count(&|o| o.writes_failed));
    println!("{done} writes done, {failed} not");
    assert!(done > 10_000 && failed > 10_000, "{done} writes done, {failed} not");
    assert!(reloads > 3_000 && count(&|o| o.crashes) > 50, "{reloads} reloads");
}

// In two halves, for two cores.

#[test]
fn hundreds_of_seeds_hold() {
    seeds_hold((0..SEEDS).filter(|seed| (seed / 12).is_multiple_of(2)));
}

#[test]
fn hundreds_of_other_seeds_hold() {
    seeds_hold((0..SEEDS).filter(|seed| !(seed / 12).is_multiple_of(2)));
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in [12, 7, 8, 9] {
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
    /// A link that gets other work gives its connection back instead of going on with it.
    Reconnects,
    /// A link that gets other work takes each request in flight for its neighbour.
    Neighbour,
    /// Samples of the next plan are told under the names of the one before.
    OldNames,
    /// Ids are given again as soon as they are free.
    IdsAtOnce,
    /// An output's cursor moves with what is sent.
    CursorAhead,
    /// Some writes are done twice, some never, and some for longer than their time.
    TwiceWritten,
    Unwritten,
    Overdue,
    /// A slow serial line is taken for a fast one, whose silences are short.
    ShortSilence,
    /// On a line, the reply of any unit is taken.
    AnyUnit,
    /// After a frame that fails its check, a line's bytes are never again read from their beginning.
    OutOfStep,
    /// A line's units are given a quarter of their time.
    Hasty,
}

impl Fault {
    fn is_of_writes(self) -> bool {
        matches!(self, Fault::TwiceWritten | Fault::Unwritten | Fault::Overdue)
    }
}

struct Planted {
    fault: Fault,
    batches: Cell<u64>,
    names: RefCell<Option<Arc<Dictionary>>>,
}

impl Planted {
    /// What a link on a line is told wrongly.
    fn bend(&self, plan: &mut Plan, id: LinkId) {
        let config = &mut plan.links[id].protocol.modbus_mut().unwrap().config;
        match &mut config.transport {
            ModbusTransport::Serial(serial) if self.fault == Fault::ShortSilence && serial.baud_rate <= 19_200 => {
                serial.baud_rate = 3_000_000;
            }
            ModbusTransport::Serial(_) | ModbusTransport::RtuOverTcp(_) if self.fault == Fault::Hasty => {
                config.timeout = Nanos(config.timeout.0 / 4);
            }
            _ => {}
        }
    }
}

impl Parts for Planted {
    type World = BentWorld;
    type Link = BentLink;

    fn world(&self, inner: SimWorld) -> BentWorld {
        let (tcp, asked, kept) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        BentWorld { inner, fault: self.fault, shown: 0, behind: false, transaction: [0; 2], tcp, asked, kept }
    }

    fn link(&self, id: LinkId, plan: &Plan) -> BentLink {
        let mut plan = plan.clone();
        if self.fault == Fault::Greedy {
            let modbus = plan.links[id].protocol.modbus_mut().unwrap();
            modbus.config.pipeline += 1;
        }
        self.bend(&mut plan, id);
        BentLink { inner: ModbusLink::new(id, &plan), fault: self.fault }
    }

    fn following(&self, id: LinkId, plan: &Plan, old: &Plan) -> BentLink {
        let (mut plan, mut old) = (plan.clone(), old.clone());
        if self.fault == Fault::Neighbour {
            let modbus = old.links[id].protocol.modbus_mut().unwrap();
            modbus.requests.rotate_left(1);
        }
        self.bend(&mut plan, id);
        BentLink { inner: ModbusLink::following(id, &plan, &old), fault: self.fault }
    }

    fn resting<'a>(&self, resting: &'a [UsedIds]) -> &'a [UsedIds] {
        if self.fault == Fault::IdsAtOnce { &[] } else { resting }
    }

    fn names(&self, new: Arc<Dictionary>) -> Arc<Dictionary> {
        let before = self.names.replace(Some(new.clone()));
        if self.fault == Fault::OldNames { before.unwrap_or(new) } else { new }
    }

    fn cursor(&self, acknowledged: Position, sent: Position) -> Position {
        if self.fault == Fault::CursorAhead { sent } else { acknowledged }
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
    /// Connections whose frames have transaction ids.
    tcp: BTreeSet<i32>,
    /// By connection with RTU frames: the unit that was asked, until something comes back.
    asked: BTreeMap<i32, u8>,
    /// By connection that is out of step: what it has not shown yet.
    kept: BTreeMap<i32, u8>,
}

impl BentWorld {
    /// Bytes of an RTU reply, as the fault has them.
    fn bend_reply(&mut self, conn: Conn, bytes: &mut [u8]) {
        let asked = self.asked.remove(&conn.0);
        let whole = bytes.len().saturating_sub(2);
        if self.fault == Fault::AnyUnit && whole > 2 && super::line::crc(bytes) == 0 {
            bytes[0] = asked.unwrap_or(bytes[0]);
            let crc = super::line::crc(&bytes[..whole]);
            bytes[whole..].copy_from_slice(&crc.to_le_bytes());
        }
        if self.fault == Fault::OutOfStep
            && (self.kept.contains_key(&conn.0) || asked.is_some_and(|unit| unit != bytes[0]))
        {
            let last = bytes[bytes.len() - 1];
            bytes.rotate_right(1);
            bytes[0] = self.kept.insert(conn.0, last).unwrap_or(0);
        }
    }
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
            self.tcp.insert(conn.0);
        }
        if bytes.len() == 8 {
            self.asked.insert(conn.0, bytes[0]);
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
        let on_tcp = self.tcp.contains(&conn.0);
        if self.fault == Fault::AnyTransaction
            && on_tcp
            && matches!(outcome, Io::Done(n) if n > 8)
            && buffer[2..4] == [0, 0]
        {
            buffer[..2].copy_from_slice(&self.transaction);
        }
        if let Io::Done(n) = outcome {
            self.bend_reply(conn, &mut buffer[..n]);
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

/// The first seed that finds the fault must hold without it, and say what is wrong.
fn is_found(fault: Fault, words: &[&str]) {
    for seed in 0..300 {
        let mut scenario = Scenario::of_seed(seed, None).unwrap();
        scenario.writes = fault.is_of_writes();
        let Some((what, _)) =
            run(&scenario, &Planted { fault, batches: Cell::new(0), names: RefCell::default() }).broken
        else {
            continue;
        };
        assert!(words.iter().any(|word| what.contains(word)), "{fault:?} by seed {seed}, but as: {what}");
        must_hold(seed, None);
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
    is_found(Fault::AnyTransaction, &["the device answered", "requests outstanding", "did not come back"]);
}

#[test]
fn writes_that_are_done_twice_never_or_too_late_are_found() {
    is_found(Fault::TwiceWritten, &["answered twice"]);
    is_found(Fault::Unwritten, &["has no answer"]);
    is_found(Fault::Overdue, &["has no answer", "too late"]);
}

#[test]
fn an_executor_that_waits_for_the_wire_is_found() {
    is_found(Fault::Blocking, &["missed or skipped", "its device always answered in time", "a new plan waits"]);
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
    is_found(Fault::Restamped, &["a held value keeps", "the device answered nothing at that time"]);
}

#[test]
fn a_batch_that_goes_astray_is_found() {
    is_found(Fault::Astray, &["samples made"]);
}

#[test]
fn a_change_that_drops_connections_is_found() {
    is_found(Fault::Reconnects, &["dropped by a change"]);
}

#[test]
fn an_answer_that_a_change_gives_to_another_request_is_found() {
    let words = [
        "its device always answered in time",
        "the device answered",
        "requests outstanding",
        "cycles of scan",
        "did not come back",
    ];
    is_found(Fault::Neighbour, &words);
}

#[test]
fn samples_under_the_names_of_an_earlier_plan_are_found() {
    is_found(
        Fault::OldNames,
        &["under a plan that ended", "names of a plan", "a sample of no tag", "told under another"],
    );
}

#[test]
fn ids_that_mean_something_else_at_once_are_found() {
    is_found(Fault::IdsAtOnce, &["too soon after another", "too soon"]);
}

#[test]
fn a_cursor_that_passes_what_was_not_acknowledged_is_found() {
    is_found(Fault::CursorAhead, &["which never arrived"]);
}

#[test]
fn a_silence_that_is_too_short_is_found() {
    is_found(Fault::ShortSilence, &["of silence are due"]);
}

#[test]
fn a_reply_of_another_unit_that_is_taken_is_found() {
    is_found(Fault::AnyUnit, &["the device answered"]);
}

#[test]
fn a_line_that_never_finds_back_into_step_is_found() {
    is_found(Fault::OutOfStep, &["did not come back after the trouble", "the device answered"]);
}

#[test]
fn a_late_reply_that_is_taken_for_the_next_is_found() {
    is_found(Fault::Hasty, &["the device answered", "requests outstanding", "always answered in time"]);
}
