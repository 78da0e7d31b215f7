//! The run: executors, connectors and hub side by side in one thread, each invariant after each step.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::{Receiver, bounded, never};
use fastrand::Rng;
use rtrb::{Consumer, RingBuffer};

use super::beat::Beat;
use super::connector::SimConnector;
use super::device::Device;
use super::invariants::Books;
use super::log::Log;
use super::scenario::Scenario;
use super::world::{Field, Place, SimWorld};
use crate::hub::{Batch, Hub, RingStats};
use crate::link::modbus::ModbusLink;
use crate::plan::{LinkProtocolPlan, Plan};
use crate::rt::{Clock, Counters, Executor, Image, Link, Report, Sink, Wiring, World};
use crate::tag::{ClockPair, ExecutorId, LinkId, Nanos, Status};

const MS: u64 = 1_000_000;
/// The beat's first instant.
const START: Nanos = Nanos::from_millis(20);
/// After the trouble: longer than every pause but that of refused addresses, so that all else must be well again.
const RECOVERY_NS: u64 = 20_000 * MS;
/// UTC at the start; any time does.
const UTC_START_NS: i64 = 1_700_000_000_000_000_000;

/// What is run: the real parts, or real parts with a fault planted in them.
pub trait Parts {
    type World: World;
    type Link: Link<Self::World>;
    fn world(&self, world: SimWorld) -> Self::World;
    fn link(&self, id: LinkId, plan: &Plan) -> Self::Link;
    /// What the consumer gets of a batch.
    fn consumed(&self, batch: Arc<Batch>) -> Option<Arc<Batch>>;
}

/// The gateway as it is.
pub struct RealParts;

impl Parts for RealParts {
    type World = SimWorld;
    type Link = ModbusLink;

    fn world(&self, world: SimWorld) -> SimWorld {
        world
    }

    fn link(&self, id: LinkId, plan: &Plan) -> ModbusLink {
        ModbusLink::new(id, plan)
    }

    fn consumed(&self, batch: Arc<Batch>) -> Option<Arc<Batch>> {
        Some(batch)
    }
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Of everything that happened.
    pub hash: u64,
    pub events: u64,
    /// Virtual time.
    pub virtual_ns: u64,
    pub requests: u64,
    pub samples: u64,
    pub good: u64,
    pub dropped: u64,
    /// The first invariant that broke, and the last events before.
    pub broken: Option<(String, Vec<String>)>,
}

struct Cell<P: Parts> {
    executor: Executor<P::World, P::Link>,
    field: Rc<RefCell<Field>>,
    reports: Consumer<Report>,
    connector: SimConnector,
    beat: Beat,
    stop: Arc<AtomicBool>,
    next_storm: u64,
}

/// The consumer of batches, who stops now and then.
struct Reader {
    batches: Receiver<Arc<Batch>>,
    rng: Rng,
    /// Reads, or does not, until then.
    until: u64,
    stopped: bool,
}

struct Run<'s, P: Parts> {
    scenario: &'s Scenario,
    parts: &'s P,
    cells: Vec<Cell<P>>,
    books: Books<'s>,
    hub: Hub,
    stats: Arc<[RingStats]>,
    reader: Reader,
    counters: Arc<Counters>,
    image: Arc<Image>,
    log: Rc<RefCell<Log>>,
    next_hub: u64,
    rounds: u64,
    utc_offset: i64,
    next_step: u64,
    /// How far virtual time has come.
    reached: u64,
    rng: Rng,
}

/// Runs a scenario to its end, or to the first invariant that breaks.
pub fn run<P: Parts>(scenario: &Scenario, parts: &P) -> Outcome {
    let mut run = Run::new(scenario, parts);
    let broken = run.go_on().err().map(|what| (what, run.log.borrow().last()));
    let log = run.log.borrow();
    Outcome {
        hash: log.hash(),
        events: log.count(),
        virtual_ns: run.reached,
        requests: scenario.plan.links.ids().map(|id| run.counters.link(id).requests.get()).sum(),
        samples: run.counters.produced(),
        good: run.books.good,
        dropped: run.counters.dropped(),
        broken,
    }
}

impl<'s, P: Parts> Run<'s, P> {
    fn new(scenario: &'s Scenario, parts: &'s P) -> Run<'s, P> {
        let plan = &scenario.plan;
        let mut rng = Rng::with_seed(scenario.seed);
        let log = Rc::new(RefCell::new(Log::default()));
        let counters = Arc::new(Counters::new(plan));
        let longs = plan.tags.values().map(|tag| tag.ty.long_bytes_max());
        let image = Arc::new(Image::new(longs, Status::BAD_WAITING_FOR_INITIAL_DATA.0));
        let mut memories = vec![super::memory::Memory { seed: 0 }; plan.links.len()];
        let mut rings = Vec::new();
        let mut cells = Vec::new();
        for id in (0..plan.executors.len()).map(|id| ExecutorId(id as u16)) {
            let links = &plan.executors[id.index()].links;
            let place = |link: &LinkId| {
                let LinkProtocolPlan::Modbus(modbus) = &plan.links[*link].protocol;
                let units = modbus.units.iter().map(|unit| unit.0).collect();
                let (expected, timeout) = (modbus.config.reply_expected.0, modbus.config.timeout.0);
                let steady = scenario.steady[link.index()];
                let mut device = Device::new(rng.fork(), units, steady, expected, timeout, scenario.trouble_ns);
                device.refused = scenario.refused(link.index(), &mut rng);
                memories[link.index()] = device.memory;
                Place::new(*link, modbus.clone(), device)
            };
            let mut field = Field::new(links.iter().map(place).collect(), log.clone(), rng.fork());
            field.well_from = scenario.trouble_ns;
            if scenario.stall_max_ns > 0 {
                field.next_stall = rng.u64(..5_000 * MS);
                field.stall_max = scenario.stall_max_ns;
            }
            let field = Rc::new(RefCell::new(field));
            let (samples, ring) = RingBuffer::new(scenario.ring_slots);
            rings.push(ring);
            let (reports_in, reports) = RingBuffer::new(1 << 12);
            let (connected_in, connected) = RingBuffer::new(links.len() * 2 + 1);
            let (closed, closed_out) = RingBuffer::new(links.len() * 2 + 1);
            let long_bytes_max = plan.tags.values().map(|tag| tag.ty.long_bytes_max()).max().unwrap_or(0);
            let stop = Arc::new(AtomicBool::new(false));
            let sink = Sink::new(samples, image.clone(), counters.clone(), id, long_bytes_max);
            let counters = counters.clone();
            let (_, adoptions) = RingBuffer::new(1);
            let (adopted, _) = RingBuffer::new(1);
            let wiring = Wiring {
                sink,
                reports: reports_in,
                connected,
                closed,
                adoptions,
                adopted,
                counters,
                stop: stop.clone(),
            };
            let parts_of_links = links.iter().map(|link| parts.link(*link, plan)).collect();
            let world = parts.world(SimWorld(field.clone()));
            let mut executor = Executor::new(id, plan, parts_of_links, world, wiring);
            executor.start_at(Clock { start: START, guard: Nanos::from_micros(rng.u64(..60)) });
            let connector = SimConnector::new((plan, links), connected_in, closed_out, field.clone(), rng.fork());
            let next_storm = if scenario.storms { rng.u64(..10_000 * MS) } else { u64::MAX };
            let beat = Beat::new(plan, id, START);
            cells.push(Cell { executor, field, reports, connector, beat, stop, next_storm });
        }
        let (sender, batches) = bounded(scenario.journal_batches);
        let stats: Arc<[RingStats]> = rings.iter().map(|_| RingStats::default()).collect();
        let clock = ClockPair { mono: Nanos::ZERO, utc_ns: UTC_START_NS };
        let hub = Hub::new(rings, Arc::default(), never(), sender, stats.clone(), clock);
        let reader = Reader { batches, rng: rng.fork(), until: 0, stopped: false };
        Run {
            scenario,
            parts,
            cells,
            books: Books::new(scenario, memories),
            hub,
            stats,
            reader,
            counters,
            image,
            log,
            next_hub: 0,
            rounds: 0,
            utc_offset: UTC_START_NS,
            next_step: 0,
            reached: 0,
            rng,
        }
    }

    fn now(&self) -> u64 {
        self.cells.iter().map(|cell| cell.field.borrow().now).min().unwrap_or(0)
    }

    fn go_on(&mut self) -> Result<(), String> {
        let end = self.scenario.trouble_ns + RECOVERY_NS;
        loop {
            // The executor that is behind goes on; they share nothing but the hub.
            let behind = self.cells.iter_mut().min_by_key(|cell| cell.field.borrow().now);
            let cell = behind.ok_or("a plan without executors")?;
            let now = cell.field.borrow().now;
            self.reached = now;
            if now >= end {
                break;
            }
            step(cell, self.scenario, &mut self.books)?;
            if now >= self.next_hub {
                self.next_hub = now + self.scenario.hub_period_ns;
                self.hub_round(now)?;
            }
        }
        self.finish()
    }

    fn hub_round(&mut self, now: u64) -> Result<(), String> {
        if self.scenario.clock_steps && now >= self.next_step {
            self.next_step = now + self.rng.u64(1_000 * MS..30_000 * MS);
            self.utc_offset += self.rng.i64(-5_000_000_000..5_000_000_000);
        }
        self.rounds += 1;
        self.collect(now);
        if !self.reader.stops(now, self.scenario) {
            self.drain(now)?;
            if self.rounds.is_multiple_of(64) {
                self.books.image(&self.image, &self.counters)?;
            }
        }
        Ok(())
    }

    fn collect(&mut self, now: u64) {
        let utc_ns = self.utc_offset + now as i64;
        self.hub.round(Nanos(now), || ClockPair { mono: Nanos(now), utc_ns });
    }

    /// The consumer's round. True: there was something.
    fn read(&mut self) -> Result<bool, String> {
        let mut any = false;
        while let Ok(batch) = self.reader.batches.try_recv() {
            any = true;
            {
                let mut log = self.log.borrow_mut();
                for sample in batch.iter().map(|told| told.sample) {
                    let value = sample.value ^ u64::from(sample.cycle) << 32;
                    let numbers = [u64::from(sample.tag), u64::from(sample.status), sample.t_mono_ns, value];
                    log.add(batch.drained.0, "sample: tag {} status {} of {} value {}", numbers);
                }
            }
            if let Some(batch) = self.parts.consumed(batch) {
                self.books.batch(&batch)?;
            }
        }
        Ok(any)
    }

    fn finish(&mut self) -> Result<(), String> {
        let now = self.now();
        self.collect(now);
        self.drain(now)?;
        self.books.image(&self.image, &self.counters)?;
        self.books.recovered(&self.image, now - RECOVERY_NS / 3)?;
        self.books.steady(&self.counters)?;
        for mut cell in self.cells.drain(..) {
            cell.beat.close(&self.counters, cell.field.borrow().now)?;
            cell.stop.store(true, std::sync::atomic::Ordering::Relaxed);
            cell.executor.run();
            cell.connector.step();
            settle(&mut cell, now, &mut self.books)?;
            let Cell { executor, mut connector, field, .. } = cell;
            drop(executor);
            connector.end()?;
            if let Some(fault) = field.borrow_mut().faults.pop() {
                return Err(fault);
            }
        }
        // The executors are gone, and have told their last gaps.
        self.collect(now);
        self.drain(now)?;
        self.books.account(&self.counters, &self.stats, true)
    }

    /// Until nothing is under way any more.
    fn drain(&mut self, now: u64) -> Result<(), String> {
        while self.read()? {
            // What the hub still held for want of room.
            self.collect(now);
        }
        self.books.account(&self.counters, &self.stats, false)
    }
}

impl Reader {
    fn stops(&mut self, now: u64, scenario: &Scenario) -> bool {
        if !scenario.consumer_stops || now >= scenario.trouble_ns {
            return false;
        }
        if now >= self.until {
            self.stopped = !self.stopped;
            self.until = now + self.rng.u64(..if self.stopped { 8_000 * MS } else { 15_000 * MS });
        }
        self.stopped
    }
}

/// One turn of one executor, and what its connector does beside it.
fn step<P: Parts>(cell: &mut Cell<P>, scenario: &Scenario, books: &mut Books<'_>) -> Result<(), String> {
    let now = cell.field.borrow().now;
    if now >= cell.next_storm && now < scenario.trouble_ns {
        let mut field = cell.field.borrow_mut();
        field.storm();
        cell.next_storm = now + field.rng.u64(100 * MS..30_000 * MS);
    }
    cell.connector.step();
    cell.executor.turn();
    settle(cell, now, books)
}

/// Looks at what a step left behind.
fn settle<P: Parts>(cell: &mut Cell<P>, step: u64, books: &mut Books<'_>) -> Result<(), String> {
    let field = &mut *cell.field.borrow_mut();
    if let Some(fault) = field.faults.pop() {
        return Err(fault);
    }
    for exchange in field.exchanges.drain(..) {
        books.exchange(field.places[exchange.place].link.index(), exchange);
    }
    while let Ok(report) = cell.reports.pop() {
        if let Report::Released { group, nominal, .. } = report {
            let numbers = [u64::from(group.0), nominal.0, 0, 0];
            field.log.borrow_mut().add(field.now, "released: group {} nominal {}", numbers);
        }
        if let Report::Finished { link, sent, result, .. } = report {
            let result = match result {
                crate::rt::RequestResult::Good => 0,
                crate::rt::RequestResult::Exception(code) => u64::from(code),
                crate::rt::RequestResult::Timeout => 1001,
                crate::rt::RequestResult::Aborted => 1002,
                crate::rt::RequestResult::Broken => 1003,
            };
            let numbers = [u64::from(link.0), sent.0, result, 0];
            field.log.borrow_mut().add(field.now, "finished: link {} sent {} result {}", numbers);
        }
        cell.beat.check(&report, step)?;
    }
    Ok(())
}
