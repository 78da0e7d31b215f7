//! The real-time floor as a whole: executors on their threads, their rings, the image, the connector.
//!
//! Built in two steps, so that its memory is locked after all of it is there and before anything else is
//! opened: `prepare` makes everything and parks the threads, `start` sets the beat going.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rtrb::{Consumer, Producer, RingBuffer};

use super::ends;
use super::orders::{self, Orders, SharedOrders};
use crate::config::{Guard, Suppress};
use crate::connector::{Connector, ExecutorPort, LinkNotes};
use crate::door::Door;
use crate::lane::{Counters, EventRates, Image, ReportFilter, SampleWriter};
use crate::limits;
use crate::plan::{LanePlan, Plan, SourceKind};
use crate::protocol::kinds::FieldLink;
use crate::rt::thread::{self as rt_thread, Missing};
use crate::rt::write::{WriteAnswer, WriteOrder};
use crate::rt::{
    Clock, Closed, Connected, Executor, LinuxWorld, Report, Waker, Wiring, monotonic_now, thread_cpu_time,
};
use crate::source::{self, Source};
use crate::supervise::ends::Ends;
use crate::tag::{LaneId, LinkId, Nanos, Sample};

/// Reports that may wait for the statistics: a second of a busy executor.
const REPORT_SLOTS: usize = 1 << 14;
/// From `start` to the first instant of the beat: every executor is back in its loop by then.
const START_DELAY: Nanos = Nanos::from_millis(20);

/// How executors run.
#[derive(Debug, Clone, Copy)]
pub enum Scheduling {
    /// SCHED_FIFO, pinned, with a guard.
    RealTime { priority: u8, guard: Guard },
    /// As any other thread: for one-shot work.
    Ordinary,
}

type LinuxExecutor = Executor<LinuxWorld, FieldLink>;

/// The floor, parked.
pub struct Prepared {
    // Dropped before the floor, which waits for its threads: a gate that is gone lets them end.
    gates: Vec<Sender<Nanos>>,
    ports: Vec<ExecutorPort>,
    bell: Waker,
    floor: Floor,
    plan: Arc<Plan>,
}

/// The floor, running.
pub struct Floor {
    pub image: Arc<Image>,
    pub counters: Arc<Counters>,
    /// By lane; taken by the hub.
    pub rings: Vec<Consumer<Sample>>,
    /// By executor; taken by the statistics.
    pub reports: Vec<Consumer<Report>>,
    pub notes: LinkNotes,
    /// What the machine does not give.
    pub missing: Vec<Missing>,
    /// By executor.
    pub guards: Vec<Nanos>,
    /// What sources have of the gateway; taken when their threads start.
    pub doors: Vec<(SourceKind, Door)>,
    /// By lane.
    pub(super) ends: Vec<Ends>,
    /// Writes on their way to the lanes' threads.
    pub orders: SharedOrders,
    /// What is added to the floor is to be locked, too.
    pub memory_is_locked: bool,
    threads: Vec<JoinHandle<()>>,
    sources: Vec<JoinHandle<()>>,
    sources_stop: Arc<AtomicBool>,
    pub(super) connector: Option<Connector>,
    stop: Arc<AtomicBool>,
}

/// Builds the floor and parks its threads at their priority.
///
/// # Errors
/// When the system gives no thread or no epoll instance.
pub fn prepare(plan: Arc<Plan>, scheduling: Scheduling) -> io::Result<Prepared> {
    let counters = Arc::new(Counters::new(&plan));
    let image = Arc::new(Image::default());
    ends::prepare_image(&image, &plan, &Plan::default());
    let stop = Arc::new(AtomicBool::new(false));
    let orders = Arc::new(Mutex::new(Orders::new(&plan, counters.clone())));
    let mut floor = Floor {
        image,
        counters,
        rings: Vec::new(),
        reports: Vec::new(),
        notes: LinkNotes::default(),
        missing: Vec::new(),
        guards: Vec::new(),
        doors: Vec::new(),
        sources: Vec::new(),
        sources_stop: Arc::default(),
        ends: Vec::new(),
        orders,
        memory_is_locked: false,
        threads: Vec::new(),
        connector: None,
        stop,
    };
    let bell = Waker::new()?;
    let mut gates = Vec::new();
    let mut ports = Vec::new();
    for (id, cpu, executor_plan) in plan.executors() {
        let index = id.index();
        let (mut executor, port) = floor.build_executor(id, executor_plan, &plan)?;
        executor.ring_when_closed(bell.clone());
        ports.push(port);
        let (gate, opened) = bounded(1);
        let (tell, told) = bounded(1);
        let counters = floor.counters.clone();
        let thread = thread::Builder::new().name(format!("fb-exec{index}")).stack_size(rt_thread::STACK_BYTES).spawn(
            move || {
                run_executor(executor, cpu, scheduling, &tell, &opened);
                counters.lanes[index].cpu_ns.add(thread_cpu_time().0);
            },
        )?;
        floor.threads.push(thread);
        gates.push(gate);
        if let Ok((missing, guard)) = told.recv() {
            floor.missing.extend(missing);
            floor.guards.push(guard);
        }
    }
    floor.missing = each_once(std::mem::take(&mut floor.missing));
    for (id, kind, source_plan) in plan.sources() {
        let door = floor.build_door(id, source_plan, &plan)?;
        floor.doors.push((kind, door));
    }
    Ok(Prepared { floor, gates, ports, bell, plan })
}

/// One plain warning per missing thing, however many executors miss it.
fn each_once(missing: Vec<Missing>) -> Vec<Missing> {
    let mut once: Vec<Missing> = Vec::new();
    for what in missing {
        if once.iter().all(|known| known.how != what.how) {
            once.push(what);
        }
    }
    once
}

fn run_executor(
    mut executor: LinuxExecutor,
    cpu: u32,
    scheduling: Scheduling,
    tell: &Sender<(Vec<Missing>, Nanos)>,
    opened: &Receiver<Nanos>,
) {
    let (missing, guard) = match scheduling {
        Scheduling::Ordinary => (Vec::new(), Nanos::ZERO),
        Scheduling::RealTime { priority, guard } => {
            let missing = rt_thread::enter(cpu, priority);
            (missing, calibrated(guard, executor.wake_ups_per_s()))
        }
    };
    let _ = tell.send((missing, guard));
    if let Ok(start) = opened.recv() {
        executor.start_at(Clock { start, guard });
        executor.run();
    }
}

fn calibrated(guard: Guard, wake_ups_per_s: f64) -> Nanos {
    match guard {
        Guard::Fixed(guard) => guard,
        Guard::Auto => rt_thread::guard_for(rt_thread::measure_wake_up(rt_thread::CALIBRATION_ROUNDS), wake_ups_per_s),
    }
}

impl Floor {
    fn build_executor(
        &mut self,
        id: LaneId,
        plan_of_executor: &LanePlan,
        plan: &Plan,
    ) -> io::Result<(LinuxExecutor, ExecutorPort)> {
        let links: Vec<FieldLink> =
            plan_of_executor.links.iter().filter_map(|link| FieldLink::new(*link, plan)).collect();
        let (samples, ring) = prefaulted_ring(ring_slots(plan_of_executor), false);
        let (reports, report_ring) = RingBuffer::new(REPORT_SLOTS);
        // A link has one connection at a time, and there are no more links than this, so it never fills.
        let connections = limits::LINKS_MAX * 2 + 1;
        let (connected_in, connected) = RingBuffer::<Connected>::new(connections);
        let (closed, closed_out) = RingBuffer::<Closed>::new(connections);
        let (ends, adoptions, adopted) = Ends::new();
        let world = LinuxWorld::new()?;
        self.missing.extend(world.wait_call().cost().map(|cost| Missing {
            what: format!("executors wait by {}: {cost}", world.wait_call().name()),
            how: "a kernel from 5.11 on and a system call filter that allows epoll_pwait2 perform better",
        }));
        let waker = world.waker();
        let (writes, orders, answers) = orders::Ends::new(waker.clone());
        orders::lock(&self.orders).add(writes);
        self.rings.push(ring);
        self.reports.push(report_ring);
        self.ends.push(ends);
        let sink = self.writer(id, samples, plan);
        let wiring = Wiring {
            sink,
            reports,
            connected,
            closed,
            adoptions,
            adopted,
            orders,
            answers,
            counters: self.counters.clone(),
            stop: self.stop.clone(),
        };
        let executor = Executor::new(id, plan, links, world, wiring);
        Ok((executor, ExecutorPort { connected: connected_in, closed: closed_out, waker: Some(waker) }))
    }

    fn writer(&self, id: LaneId, ring: Producer<Sample>, plan: &Plan) -> SampleWriter {
        SampleWriter::new(ring, self.image.clone(), self.counters.clone(), id, long_bytes_max(plan))
            .with_filter(ReportFilter::new(id, Suppress::Ring, plan))
    }

    fn build_door(&mut self, id: LaneId, lane: &LanePlan, plan: &Plan) -> io::Result<Door> {
        let (samples, ring) = prefaulted_ring(ring_slots(lane), false);
        let waker = Waker::new()?;
        let (writes, orders, answers) = orders::Ends::new(waker.clone());
        orders::lock(&self.orders).add(writes);
        let samples = self.writer(id, samples, plan).with_rates(EventRates::new(id, plan));
        let stop = self.sources_stop.clone();
        let (door, ends) = Door::new(id, samples, self.counters.clone(), orders, answers, stop, waker);
        self.rings.push(ring);
        self.ends.push(Ends::of_source(ends));
        Ok(door)
    }

    /// Starts a source whose door was taken from [`Floor::doors`].
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start_source(&mut self, kind: SourceKind, source: Box<dyn Source>, door: Door) -> io::Result<()> {
        self.sources.push(source::spawn(kind, source, door)?);
        Ok(())
    }

    /// Whether a source's thread has ended though nobody told it to.
    pub fn has_lost_a_source(&self) -> bool {
        !self.sources_stop.load(Ordering::Relaxed) && self.sources.iter().any(JoinHandle::is_finished)
    }

    /// Stops the sources and waits for them. The rings keep what they hold.
    pub fn stop_sources(&mut self) {
        self.sources_stop.store(true, Ordering::Relaxed);
        self.ends.iter().for_each(Ends::wake);
        // A door that no thread took ends its ring here.
        self.doors.clear();
        for thread in self.sources.drain(..) {
            let _ = thread.join();
        }
    }

    /// Whether an executor's thread has ended though nobody told it to.
    pub fn has_lost_an_executor(&self) -> bool {
        !self.stop.load(Ordering::Relaxed) && self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Tells the executors to stop and waits up to `patience` for those that do. A thread that stands still is
    /// left behind, and so is the connector, which waits for it.
    pub fn abandon(&mut self, patience: Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.sources_stop.store(true, Ordering::Relaxed);
        self.ends.iter().for_each(Ends::wake);
        let end = Instant::now() + patience;
        let lives = |threads: &[JoinHandle<()>]| !threads.iter().all(JoinHandle::is_finished);
        while (lives(&self.threads) || lives(&self.sources)) && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
        self.threads.clear();
        self.sources.clear();
        self.connector = None;
    }

    /// Stops the executors, then closes every connection. The rings keep what they hold.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if let Some(connector) = self.connector.take() {
            connector.join();
        }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.stop();
        self.stop_sources();
    }
}

/// The longest of the plan's long values.
pub(super) fn long_bytes_max(plan: &Plan) -> usize {
    plan.tags.values().map(|tag| tag.ty.long_bytes_max()).max().unwrap_or(0)
}

pub(super) fn ring_slots(plan: &LanePlan) -> usize {
    let wanted = plan.slots_per_s.saturating_mul(limits::RING_SECONDS) as usize;
    wanted.clamp(limits::RING_SLOTS_MIN, limits::RING_SLOTS_MAX)
}

/// A ring whose pages are all there before the executor writes to it, and stay there with `lock`.
pub(super) fn prefaulted_ring(slots: usize, lock: bool) -> (Producer<Sample>, Consumer<Sample>) {
    let (mut producer, mut consumer) = RingBuffer::new(slots);
    if let Ok(mut chunk) = producer.write_chunk(slots) {
        let (first, second) = chunk.as_mut_slices();
        first.fill(Sample::default());
        if lock {
            rt_thread::lock_region((first.as_ptr().cast(), size_of_val(first)));
        }
        second.fill(Sample::default());
        chunk.commit_all();
    }
    if let Ok(chunk) = consumer.read_chunk(slots) {
        chunk.commit_all();
    }
    (producer, consumer)
}

impl Prepared {
    /// What the machine does not give, so far.
    pub fn floor_mut(&mut self) -> &mut Floor {
        &mut self.floor
    }

    /// Starts connecting and sets the beat going.
    pub fn start(self) -> Floor {
        let Prepared { mut floor, gates, ports, bell, plan } = self;
        floor.connector = Some(Connector::start(&plan, ports, bell, floor.notes.clone(), floor.stop.clone()));
        let start = monotonic_now() + START_DELAY;
        for gate in gates {
            let _ = gate.send(start);
        }
        floor
    }
}

impl Floor {
    /// [`Orders::generation`].
    pub fn generation(&self, link: LinkId) -> Option<u32> {
        orders::lock(&self.orders).generation(link)
    }

    /// [`Orders::write`].
    ///
    /// # Errors
    /// There is no room for it.
    pub fn write(&mut self, order: WriteOrder) -> Result<(), orders::Full> {
        orders::lock(&self.orders).write(order)
    }

    /// [`Orders::take_answers`].
    pub fn take_answers(&mut self) -> impl Iterator<Item = WriteAnswer> {
        orders::lock(&self.orders).take_answers().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_executors_that_miss_the_same_are_one_warning_each() {
        let missing = |what: &str, how| Missing { what: what.to_owned(), how };
        let all = vec![missing("a0", "pin"), missing("b0", "fifo"), missing("a1", "pin"), missing("b1", "fifo")];
        let told: Vec<String> = each_once(all).into_iter().map(|m| m.what).collect();
        assert_eq!(told, ["a0", "b0"]);
    }
}
