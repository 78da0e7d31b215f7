//! The run: executors, connectors and hub side by side in one thread, each invariant after each step.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rtrb::RingBuffer;

use super::broken::{Broken, Kind, OfKind};
use super::cell::{Cell, Pending, cell, of_executor, settle, step};
use super::invariants::Books;
use super::journal::SimJournal;
use super::lines::Lines;
use super::log::Log;
use super::parts::Parts;
use super::record::Recorded;
use super::reload::Reloads;
use super::scenario::Scenario;
use super::script::{ClockStep, Series, Span, Write};
use crate::config::Suppress;
use crate::hub::{Filter, Hub, NextRing, RingEnd, RingStats, TapsEnd};
use crate::lane::{Counters, EventRates, Image, ReportFilter, SampleWriter};
use crate::source::SimSource;
use crate::tag::{Batch, ClockPair, LaneId, NANOS_PER_SEC, Nanos, Status};

/// UTC at the start; any time does.
const UTC_START_NS: i64 = 1_700_000_000_000_000_000;

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Of everything that happened.
    pub hash: u64,
    pub events: u64,
    /// Virtual time.
    pub virtual_ns: u64,
    pub requests: u64,
    /// Writes that were done, and that were not.
    pub writes_done: u64,
    pub writes_failed: u64,
    pub samples: u64,
    pub good: u64,
    /// Looks at tags beside a dead unit.
    pub besides: u64,
    /// What a source gave, and of that backfill.
    pub source_samples: u64,
    pub backfill: u64,
    pub source_dropped: u64,
    pub dropped: u64,
    pub suppressed: u64,
    /// Plans that came while others ran, and configurations that were refused.
    pub reloads: u64,
    pub refused: u64,
    /// Whether the journal ran, and how often its process died.
    pub journal: bool,
    pub crashes: u64,
    /// What befell the journal's files, and files that were lost or set aside.
    pub journal_faults: u64,
    pub files_lost: u64,
    /// Lines that were logged, and those of them that had no room because the reader stalled.
    pub log_lines: u64,
    pub log_lines_lost: u64,
    /// The first invariant that broke, and the last events before.
    pub broken: Option<(Broken, Vec<String>)>,
}

/// The consumer of batches, who stops now and then.
struct Reader {
    batches: Receiver<Arc<Batch>>,
    stops: Series<Span>,
    /// Reads nothing until then.
    stopped_until: u64,
}

struct Run<'s, P: Parts> {
    scenario: &'s Scenario,
    parts: &'s P,
    cells: Vec<Cell<P>>,
    source: Option<SimSource>,
    books: Books<'s>,
    reloads: Reloads,
    hub: Hub,
    next_rings: Sender<NextRing>,
    stats: Arc<[RingStats]>,
    reader: Reader,
    journal: Option<SimJournal>,
    lines: Lines,
    counters: Arc<Counters>,
    image: Arc<Image>,
    log: Rc<RefCell<Log>>,
    next_hub: u64,
    rounds: u64,
    /// UTC − monotonic, and since when.
    utc_offsets: Vec<(u64, i64)>,
    clock_steps: Series<ClockStep>,
    /// How far virtual time has come.
    reached: u64,
    requests: u64,
    /// Done, and not done.
    writes: (u64, u64),
    /// Of executors that are gone.
    written: Vec<Write>,
    /// Said, and lost.
    log_lines: (u64, u64),
}

/// Runs a scenario to its end, or to the first invariant that breaks.
pub fn run<P: Parts>(scenario: &Scenario, parts: &P) -> Outcome {
    let mut run = Run::new(scenario, parts);
    run.outcome()
}

/// The same, and every coarse event that came to pass.
pub fn record<P: Parts>(scenario: &Scenario, parts: &P) -> (Outcome, Recorded) {
    let mut run = Run::new(scenario, parts);
    run.reloads.made = Some(Vec::new());
    run.cells.iter_mut().for_each(|cell| cell.writes.made = Some(Vec::new()));
    let outcome = run.outcome();
    let recorded = run.recorded();
    (outcome, recorded)
}

impl<'s, P: Parts> Run<'s, P> {
    fn outcome(&mut self) -> Outcome {
        let run = self;
        let ended = catch_unwind(AssertUnwindSafe(|| run.go_on()));
        let ended = ended.unwrap_or_else(|panic| Err(Broken::of_panic(&*panic)));
        let broken = ended.err().map(|what| (what, run.log.borrow().last()));
        let log = run.log.borrow();
        Outcome {
            hash: log.hash(),
            events: log.count(),
            virtual_ns: run.reached,
            requests: run.requests,
            writes_done: run.writes.0,
            writes_failed: run.writes.1,
            samples: run.counters.produced(),
            good: run.books.good,
            besides: run.books.besides,
            source_samples: run.books.given_by_source().0,
            backfill: run.books.given_by_source().1,
            source_dropped: run
                .scenario
                .plan
                .sources()
                .map(|(id, ..)| run.counters.lanes[id.index()].dropped.get())
                .sum(),
            dropped: run.counters.dropped(),
            suppressed: run.counters.suppressed(),
            reloads: run.reloads.count,
            refused: run.reloads.refused,
            journal: run.journal.is_some(),
            crashes: run.journal.as_ref().map_or(0, |journal| journal.crashes),
            journal_faults: run.journal.as_ref().map_or(0, |journal| journal.faults_met),
            files_lost: run.journal.as_ref().map_or(0, |journal| journal.files_lost),
            log_lines: run.log_lines.0,
            log_lines_lost: run.log_lines.1,
            broken,
        }
    }

    fn recorded(&mut self) -> Recorded {
        let left = self.cells.iter_mut().filter_map(|cell| cell.writes.made.take()).flatten();
        self.written.extend(left);
        self.written.sort_by_key(|write| (write.at_ns, write.executor));
        let (changed_at, changes) = self.reloads.made.take().unwrap_or_default().into_iter().unzip();
        let places = self.books.generations.iter().flat_map(|generation| generation.places()).collect();
        Recorded { reached: self.reached, places, writes: std::mem::take(&mut self.written), changes, changed_at }
    }

    fn new(scenario: &'s Scenario, parts: &'s P) -> Run<'s, P> {
        let plan = Arc::new(scenario.plan.clone());
        let log = Rc::new(RefCell::new(Log::new(scenario.told)));
        let counters = Arc::new(Counters::new(&plan));
        let image = Arc::new(Image::default());
        for (id, tag) in plan.tags.iter() {
            image.prepare(id.index(), tag.ty.long_bytes_max(), Status::BAD_WAITING_FOR_INITIAL_DATA.0);
        }
        let books = Books::new(scenario);
        let names = books.generations[0].names.clone();
        let mut rings = Vec::new();
        let (mut cells, mut source) = (Vec::new(), None);
        for id in (0..plan.lanes.len()).map(|id| LaneId(id as u16)) {
            let (samples, ring) = RingBuffer::new(scenario.ring_slots);
            let filter = Filter::new(id, &plan, counters.clone());
            rings.push(RingEnd { ring, names: names.clone(), filter });
            let long_bytes_max = plan.tags.values().map(|tag| tag.ty.long_bytes_max()).max().unwrap_or(0);
            let sink = SampleWriter::new(samples, image.clone(), counters.clone(), id, long_bytes_max)
                .with_filter(ReportFilter::new(id, Suppress::Ring, &plan));
            if plan.lanes[id.index()].owner.cpu().is_some() {
                cells.push(cell(id, &plan, (scenario, parts), sink, counters.clone(), log.clone()));
            } else {
                let sink = sink.with_rates(EventRates::new(id, &plan));
                let made = SimSource::new(id, &plan, scenario, sink, counters.clone());
                source = Some(made.unwrap_or_else(|broken| panic!("{broken}")));
            }
        }
        let (sender, batches) = bounded(scenario.journal_batches);
        let (next_rings, nexts) = unbounded();
        let stats: Arc<[RingStats]> = rings.iter().map(|_| RingStats::default()).collect();
        let clock = ClockPair { mono: Nanos::ZERO, utc_ns: UTC_START_NS };
        let hub = Hub::new(rings, nexts, sender, TapsEnd::default(), stats.clone(), clock);
        let stops = scenario.script.consumer_stops(scenario.seed, scenario.ends());
        let reader = Reader { batches, stops, stopped_until: 0 };
        Run {
            scenario,
            parts,
            cells,
            source,
            books,
            reloads: Reloads::new(scenario),
            hub,
            next_rings,
            stats,
            reader,
            journal: None,
            lines: Lines::new(scenario.script.log_stalls(scenario.seed, scenario.ends())),
            counters,
            image,
            log,
            next_hub: 0,
            rounds: 0,
            utc_offsets: vec![(0, UTC_START_NS)],
            clock_steps: scenario.script.clock_steps(scenario.seed, scenario.ends()),
            reached: 0,
            requests: 0,
            writes: (0, 0),
            written: Vec::new(),
            log_lines: (0, 0),
        }
    }

    fn now(&self) -> u64 {
        self.cells.iter().map(|cell| cell.field.borrow().now).min().unwrap_or(0)
    }

    fn go_on(&mut self) -> Result<(), Broken> {
        let end = self.scenario.ends().all;
        if self.scenario.commit_ns > 0 {
            let Scenario { seed, commit_ns, trouble_ns, .. } = *self.scenario;
            let ends = self.scenario.ends();
            let crashes = self.scenario.script.crashes(seed, ends);
            let faults = self.scenario.script.journal_faults(seed, ends);
            let rng = self.scenario.rng("journal", 0);
            let journal = SimJournal::new(seed, (commit_ns, trouble_ns), crashes, faults, rng);
            self.journal = Some(journal.of(Kind::Journal)?);
        }
        loop {
            // The executor that is behind goes on; they share nothing but the hub.
            let behind = self.cells.iter_mut().min_by_key(|cell| cell.field.borrow().now);
            let cell = behind.ok_or("a plan without executors").of(Kind::Unrunnable)?;
            let now = cell.field.borrow().now;
            self.reached = now;
            if now >= end {
                break;
            }
            self.step_source(now)?;
            let behind = self.cells.iter_mut().min_by_key(|cell| cell.field.borrow().now);
            let cell = behind.ok_or("a plan without executors").of(Kind::Unrunnable)?;
            if step(cell, &mut self.books, &self.counters)? {
                self.reloads.adopted(now);
            }
            if now >= self.reloads.next && now < self.scenario.trouble_ns {
                self.reload(now)?;
            }
            if now >= self.next_hub {
                self.next_hub = now + self.scenario.hub_period_ns;
                self.hub_round(now)?;
            }
        }
        self.finish()
    }

    /// As the gateway does it: the connector is told first, then the hub, then the executor.
    fn reload(&mut self, now: u64) -> Result<(), Broken> {
        let reload = self.reloads.begin(now, self.parts, &self.image, &self.counters);
        let Some(reload) = reload? else { return Ok(()) };
        let numbers = [self.reloads.count, reload.changes.len() as u64, reload.executors.len() as u64, 0];
        self.log.borrow_mut().add(now, "reload {}: {} links change, {} executors", numbers);
        let names = self.books.announce(reload.config, reload.plan.clone());
        for part in reload.executors {
            let executor = part.executor;
            let cell = &mut self.cells[executor.index()];
            cell.connector.tell(part.commands);
            let names = self.parts.names(names.clone());
            let filter = Filter::following(executor, &cell.plan, &reload.plan, self.counters.clone());
            let next = NextRing { lane: executor, end: RingEnd { ring: part.ring, names, filter } };
            self.next_rings.send(next).map_err(|_| "the hub is gone").of(Kind::Reload)?;
            let mut field = cell.field.borrow_mut();
            field.views.announce(&reload.plan, executor, &reload.changes, reload.target);
            let changes = of_executor(&reload.changes, executor, &cell.plan, &reload.plan);
            let (old, new) = (cell.plan.clone(), reload.plan.clone());
            cell.pending = Some(Pending { old, new, changes, since: field.now, stalled: field.stalled });
            if cell.adoptions.push(part.adoption).is_err() {
                let what = format!("executor {} gets a plan before it took up the one before", executor.0);
                return Err(Kind::Reload.says(what));
            }
        }
        for part in reload.sources {
            let Some(source) = &mut self.source else { continue };
            let names = self.parts.names(names.clone());
            let filter = Filter::following(part.lane, &source.plan, &reload.plan, self.counters.clone());
            let next = NextRing { lane: part.lane, end: RingEnd { ring: part.ring, names, filter } };
            self.next_rings.send(next).map_err(|_| "the hub is gone").of(Kind::Reload)?;
            let changes = of_executor(&reload.changes, part.lane, &source.plan, &reload.plan);
            let (old, new) = (source.plan.clone(), reload.plan.clone());
            source.adopt(part.new, Pending { old, new, changes, since: now, stalled: 0 });
        }
        Ok(())
    }

    /// The source has every turn that is due.
    fn step_source(&mut self, now: u64) -> Result<(), Broken> {
        let Some(source) = &mut self.source else { return Ok(()) };
        while source.next <= now {
            let at = source.next;
            if source.step(self.parts, &mut self.books, &self.counters)? {
                self.reloads.adopted(at);
            }
        }
        Ok(())
    }

    fn hub_round(&mut self, now: u64) -> Result<(), Broken> {
        while let Some(ClockStep { by_ns, .. }) = self.clock_steps.due(now) {
            self.utc_offsets.push((now, self.utc_offset(now).saturating_add(by_ns)));
        }
        self.rounds += 1;
        self.lines.step(now);
        for cell in &self.cells {
            let field = cell.field.borrow();
            self.books.settle(cell.id, field.now, &self.counters);
            let living = self.books.living(cell.id, field.dead_units(), &self.image, field.now);
            living.of(Kind::NeighbourNotRead)?;
            let odd = self.books.odd(cell.id, field.odd_ones(), &self.image, field.now);
            odd.of(Kind::OddNotRead)?;
            self.books.stated(cell.id, &self.image, field.now).of(Kind::WithoutStatus)?;
        }
        self.collect(now);
        if !self.reader.stops(now) {
            let takes = self.journal.as_ref().is_none_or(|journal| !journal.is_behind());
            if takes {
                self.drain(now)?;
            }
            if let Some(journal) = &mut self.journal {
                journal.step(now, self.parts).of(Kind::Journal)?;
            }
            // A look at every tag: at each round where they are few.
            if takes && (self.scenario.plan.tags.len() < 64 || self.rounds.is_multiple_of(8)) {
                self.books.image(&self.image, &self.counters).of(Kind::Image)?;
                for cell in &self.cells {
                    self.books.shown(cell.id, &self.image, cell.field.borrow().now)?;
                }
            }
        }
        Ok(())
    }

    fn utc_offset(&self, at: u64) -> i64 {
        let since = self.utc_offsets.partition_point(|(from, _)| *from <= at);
        self.utc_offsets[since.saturating_sub(1)].1
    }

    /// A batch's clocks are both of one instant, and of one that is less than a second old.
    fn check_clock(&self, batch: &Batch) -> Result<(), Broken> {
        let ClockPair { mono, utc_ns } = batch.clock;
        let age = batch.drained.since(mono);
        if utc_ns - mono.0 as i64 != self.utc_offset(mono.0) || age.0 >= NANOS_PER_SEC {
            let what = format!("a batch of {} has the clocks {:?}, {} ns old", batch.drained.0, batch.clock, age.0);
            return Err(Kind::Clock.says(what));
        }
        Ok(())
    }

    fn collect(&mut self, now: u64) {
        let utc_ns = self.utc_offset(now) + now as i64;
        self.hub.round(Nanos(now), || ClockPair { mono: Nanos(now), utc_ns });
    }

    /// The consumer's round. True: there was something.
    fn read(&mut self) -> Result<bool, Broken> {
        let mut any = false;
        while let Ok(batch) = self.reader.batches.try_recv() {
            any = true;
            self.check_clock(&batch)?;
            {
                let mut log = self.log.borrow_mut();
                for sample in batch.iter().map(|told| told.sample) {
                    let value = sample.value ^ u64::from(sample.cycle) << 32;
                    let numbers = [u64::from(sample.tag), u64::from(sample.status), sample.t, value];
                    log.add(batch.drained.0, "sample: tag {} status {} of {} value {}", numbers);
                }
            }
            if let Some(batch) = self.parts.consumed(batch) {
                if let Some(journal) = &mut self.journal {
                    journal.take(&batch);
                }
                self.books.batch(&batch)?;
            }
        }
        Ok(any)
    }

    fn finish(&mut self) -> Result<(), Broken> {
        let now = self.now();
        self.collect(now);
        self.drain(now)?;
        self.books.image(&self.image, &self.counters).of(Kind::Image)?;
        let since = now - self.scenario.recovery_ns / 3;
        self.books.recovered(&self.image, since, now).of(Kind::NotRecovered)?;
        self.books.steady(&self.counters).of(Kind::SteadyLinkMissed)?;
        for mut cell in self.cells.drain(..) {
            cell.beat.close(&self.counters, cell.field.borrow().now).of(Kind::Beat)?;
            cell.stop.store(true, std::sync::atomic::Ordering::Relaxed);
            cell.executor.run();
            cell.connector.step();
            settle(&mut cell, now, &mut self.books, true)?;
            self.writes.0 += cell.writes.done;
            self.writes.1 += cell.writes.failed;
            self.written.extend(cell.writes.made.take().unwrap_or_default());
            self.requests += cell.field.borrow().requests;
            let dropped = self.books.dropped(&cell.field.borrow().dropped, &self.counters);
            dropped.of(Kind::DroppedUncounted)?;
            let Cell { executor, mut connector, field, .. } = cell;
            drop(executor);
            connector.end().of(Kind::Connections)?;
            if let Some(fault) = field.borrow_mut().faults.pop() {
                return Err(Kind::Misuse.says(fault));
            }
        }
        self.source = None;
        // The executors and the source are gone, and have told their last gaps.
        self.collect(now);
        self.drain(now)?;
        self.books.account(&self.counters, &self.stats, true).of(Kind::Account)?;
        self.journal.as_mut().map_or(Ok(()), |journal| journal.finish(now, self.parts)).of(Kind::Journal)?;
        self.log_lines = self.lines.finish().of(Kind::Lines)?;
        Ok(())
    }

    /// Until nothing is under way any more.
    fn drain(&mut self, now: u64) -> Result<(), Broken> {
        while self.read()? {
            // What the hub still held for want of room.
            self.collect(now);
        }
        self.books.account(&self.counters, &self.stats, false).of(Kind::Account)
    }
}

impl Reader {
    fn stops(&mut self, now: u64) -> bool {
        while let Some(span) = self.stops.due(now) {
            self.stopped_until = span.until_ns;
        }
        now < self.stopped_until
    }
}
