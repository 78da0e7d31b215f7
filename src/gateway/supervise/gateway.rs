//! A whole gateway: floor, hub, journal, outputs, metrics.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use rtrb::Consumer;

use super::floor::{self, Floor, Scheduling};
use super::hardware::HardwareWatchdog;
use super::learned::Learned;
use super::meta::Meta;
use super::notify::ServiceManager;
use super::outputs::Outputs;
use super::reasons::Reasons;
use super::reloading::Reload;
use super::views::{journal_view, link_troubles, output_view, ring_views};
use super::watchdog::{Bounds, Part, Stall, Watchdog};
use super::writes::{self, Live, Ways};
use super::{leave, stack};
use crate::config::Loaded;
use crate::hub::stats::Statistics;
use crate::hub::{self, Filter, NextRing, RingEnd, RingStats};
use crate::limits::{EXECUTORS_MAX, JOURNAL_QUEUE_BATCHES};
use crate::plan::{self, Admission, LaneOwner, Plan, PlanError, Planned, SourceKind};
use crate::protocol;
use crate::rt::thread::{self as rt_thread, Missing};
use crate::rt::{Report, calibrate, monotonic_now};
use crate::serve::{Current, Health, HttpServer, Observed, Reloads, RunReport, Severity};
use crate::source::{Source, diagnostics::Diagnostics};
use crate::store::{BootId, Journal, JournalError, JournalState, WriterHandle};
use crate::supervise::views::output_states;
use crate::tag::{Batch, Dictionary, DictionaryTag, GroupId, LaneId, Nanos, TagId};

/// How often the statistics are taken from the executors' rings.
const STATISTICS_PERIOD: Duration = Duration::from_millis(50);
/// A journal whose thread stands still this long is not well.
const JOURNAL_SLOW: Duration = Duration::from_secs(2);

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Plan(#[from] PlanError),
    #[error("{0}")]
    Journal(#[from] JournalError),
    #[error("cannot create a thread or descriptor ({0}): see `ulimit -u` and `ulimit -n`")]
    System(#[from] io::Error),
}

/// A running gateway.
pub struct Gateway {
    pub admission: Admission,
    pub observed: Arc<Observed>,
    /// What the machine does not give.
    pub missing: Vec<Missing>,
    pub(super) floor: Floor,
    pub(super) reload: Reload,
    learned: Learned,
    reasons: Reasons,
    meta: Meta,
    hub: JoinHandle<()>,
    /// Takes the ring that an executor goes on with, before the executor gets its other end.
    pub(super) next_rings: Sender<NextRing>,
    writer: WriterHandle,
    writes: Ways,
    outputs: Outputs,
    statistics: JoinHandle<()>,
    statistics_stop: Arc<AtomicBool>,
    statistics_rounds: Arc<AtomicU64>,
    http: Option<HttpServer>,
    pub(super) rings: Arc<[RingStats]>,
    started: Nanos,
    /// By lane.
    pub(super) lane_owners: Vec<LaneOwner>,
    watchdog: Watchdog,
    hardware: Option<HardwareWatchdog>,
    manager: ServiceManager,
    /// As they were told.
    failed_waits: u64,
    _cpu_awake: Option<File>,
}

/// What cannot be mended from inside: the process must end, so that it is started again.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("{0} has ended unexpectedly")]
    Ended(&'static str),
    /// Nobody may wait for these: [`Gateway::abandon`].
    #[error("{}", leave::told(.0))]
    Stalled(Vec<Stall>),
}

/// What is left of a gateway that was stopped.
#[derive(Debug)]
pub struct Ended {
    pub report: RunReport,
    /// Samples that the journal could not take in the end, and why.
    pub unsaved: Option<String>,
}

impl Gateway {
    /// Starts everything. The floor's memory is locked after it is built and before the journal and the rest
    /// are opened, whose maps would be pinned too.
    ///
    /// # Errors
    /// What does not fit (nothing was started), a journal that can't be opened and won't be by itself, a system without
    /// threads.
    pub fn start(loaded: Loaded) -> Result<Gateway, StartError> {
        let cpus = loaded.config.realtime.cores.clone().unwrap_or_else(rt_thread::default_cpus);
        Gateway::start_on(loaded, &cpus)
    }

    /// The same, with executors on these CPUs.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn start_on(loaded: Loaded, cpus: &[u32]) -> Result<Gateway, StartError> {
        let mut config = loaded.config;
        let lanes = plan::lanes_of(&config, cpus);
        let warnings = config.renew_diagnostics(lanes).map_err(PlanError::of_text)?;
        // Where cores are named, whoever read the file has warned.
        if config.realtime.cores.is_none() {
            warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        let (planned, fault) = calibrate::best_of(|costs| protocol::build_with(&config, cpus, costs));
        if let Some(error) = fault {
            tracing::warn!("admission uses typical costs because this machine's cannot be measured: {error}");
        }
        let Planned { plan, admission } = planned?;
        let plan = Arc::new(plan);
        let scheduling = Scheduling::RealTime { priority: config.realtime.priority, guard: config.realtime.guard };
        limit_malloc();
        let mut prepared = floor::prepare(plan.clone(), scheduling)?;
        let mut missing = std::mem::take(&mut prepared.floor_mut().missing);
        let unlocked = rt_thread::lock_memory();
        prepared.floor_mut().memory_is_locked = unlocked.is_none();
        missing.extend(unlocked);
        let cpu_awake = match rt_thread::hold_cpu_awake() {
            Ok(file) => Some(file),
            Err(what) => {
                missing.push(what);
                None
            }
        };

        let boot = new_boot();
        let mut journal = Journal::open_or_wait(&config.journal, boot)?;
        let names: Vec<&str> = config.outputs.iter().map(|o| o.name.as_str()).collect();
        journal.register_or_wait(&names)?;
        let reader = journal.reader();
        let writes = writes::Prepared::new(journal.audit());
        let (to_journal, batches) = bounded::<Arc<Batch>>(JOURNAL_QUEUE_BATCHES);
        let writer = crate::store::spawn_writer(journal, batches)?;

        let rings: Arc<[RingStats]> = plan.lanes.iter().map(|_| RingStats::default()).collect();
        // The beat begins now: all that is reported of a run is of the time from here on.
        let started = monotonic_now();
        let mut floor = prepared.start();
        let names_of_ids = Arc::new(dictionary(&config.gateway.id, &plan));
        // One for each executor is a reload; the hub takes them every few milliseconds.
        let (next_rings, nexts) = bounded(EXECUTORS_MAX);
        let ends = std::mem::take(&mut floor.rings).into_iter().enumerate().map(|(id, ring)| RingEnd {
            ring,
            names: names_of_ids.clone(),
            filter: Filter::new(LaneId(id as u16), &plan, floor.counters.clone()),
        });
        let (taps, taps_end) = hub::taps();
        let hub = hub::spawn(ends.collect(), nexts, to_journal, taps_end, rings.clone())?;
        let statistics = Arc::new(Statistics::new(&plan));
        let statistics_stop = Arc::new(AtomicBool::new(false));
        let statistics_rounds = Arc::new(AtomicU64::new(0));
        let statistics_thread = spawn_statistics(
            std::mem::take(&mut floor.reports),
            statistics.clone(),
            statistics_stop.clone(),
            statistics_rounds.clone(),
        )?;

        let health = Arc::new(Health::default());
        let desk = writes.desk.clone();
        let meta = Meta::new(&config.outputs);
        let outputs =
            Outputs::start(&config.gateway.id, &config.outputs, reader.clone(), health.clone(), desk, meta.board());
        let observed = Arc::new(Observed {
            gateway: config.gateway.id.clone(),
            boot: boot.to_string(),
            started,
            taps,
            current: Mutex::new(Current::new(plan.clone())),
            counters: floor.counters.clone(),
            image: floor.image.clone(),
            link_troubles: link_troubles(&floor.notes),
            statistics,
            rings: ring_views(&rings),
            journal: journal_view(writer.stats(), config.journal.bytes_max),
            outputs: outputs.stats().into_iter().map(|(name, stats)| output_view(name, stats, &reader)).collect(),
            health: health.clone(),
            reloads: Reloads::started_now(),
            writes: writes.stats.clone(),
        });
        for (kind, door) in std::mem::take(&mut floor.doors) {
            let source: Box<dyn Source> = match kind {
                SourceKind::Diagnostics => {
                    Box::new(Diagnostics::new(observed.clone(), reader.clone(), output_states(&outputs.stats())))
                }
            };
            floor.start_source(kind, source, door)?;
        }
        let reload = Reload::new(&config);
        let live = Live::new(observed.clone(), floor.image.clone(), floor.orders.clone(), reload.is_changing());
        let writes = writes.start(live, &reader, &config.control, observed.clone())?;
        let per_link = config.metrics.per_link;
        let http =
            config.metrics.listen.and_then(|listen| match HttpServer::start(listen, observed.clone(), per_link) {
                Ok(server) => Some(server),
                Err(error) => {
                    tracing::error!("no metrics: {error}; everything else runs");
                    health.set("metrics", Severity::Degraded, error.to_string());
                    None
                }
            });
        if let Err(error) = stack::prepare() {
            tracing::warn!("no stack will be logged for a stalled thread: {error}");
        }
        let hardware = config.watchdog.hardware.as_ref().and_then(HardwareWatchdog::arm);
        let mut manager = ServiceManager::of_environment();
        manager.ready();
        Ok(Gateway {
            reload,
            learned: Learned::new(),
            reasons: Reasons::new(),
            meta,
            admission,
            observed,
            missing,
            floor,
            hub,
            next_rings,
            writer,
            writes,
            outputs,
            statistics: statistics_thread,
            statistics_stop,
            statistics_rounds,
            http,
            rings,
            started,
            lane_owners: plan.lanes.iter().map(|lane| lane.owner).collect(),
            watchdog: Watchdog::new(Bounds::new(&config.watchdog)),
            hardware,
            manager,
            failed_waits: 0,
            _cpu_awake: cpu_awake,
        })
    }

    /// Where the metrics are served.
    pub fn metrics_address(&self) -> Option<std::net::SocketAddr> {
        self.http.as_ref().map(HttpServer::address)
    }

    /// Where writes are asked for.
    pub fn control_socket(&self) -> Option<&std::path::Path> {
        self.writes.socket()
    }

    /// By executor.
    pub fn guards(&self) -> &[Nanos] {
        &self.floor.guards
    }

    /// Looks after everything; to be called a few times a second.
    ///
    /// # Errors
    /// What cannot be mended from inside.
    pub fn tend(&mut self) -> Result<(), Trouble> {
        self.look_for_life();
        let stalled = self.watchdog.stalled();
        if !stalled.is_empty() {
            return Err(Trouble::Stalled(stalled));
        }
        self.outputs.tend();
        self.tell_failed_waits();
        self.tend_reload();
        self.learned.tend(&self.observed);
        self.reasons.tend(&self.observed);
        self.meta.tend(&self.observed);
        self.tell_journal();
        if self.floor.has_lost_an_executor() {
            return Err(Trouble::Ended("an executor's thread"));
        }
        if self.floor.has_lost_a_source() {
            return Err(Trouble::Ended("a source's thread"));
        }
        if self.hub.is_finished() {
            return Err(Trouble::Ended("the hub's thread"));
        }
        if self.writer.is_finished() {
            return Err(Trouble::Ended("the journal's thread"));
        }
        self.manager.status(&leave::status(&self.observed));
        self.manager.alive();
        if let Some(dog) = &mut self.hardware {
            dog.feed();
        }
        Ok(())
    }

    /// A wait that the system refuses is no empty answer: whoever looks must learn why devices are seen late.
    fn tell_failed_waits(&mut self) {
        let failed = self.observed.counters.lanes.iter().map(|executor| executor.failed_waits.get()).sum();
        if failed > 0 && std::mem::replace(&mut self.failed_waits, failed) == 0 {
            let text = "the system refuses the preferred wait call of the executors; another one is used, see \
                `fieldbeat doctor`";
            tracing::error!("{text}");
            self.observed.health.set("executors", Severity::Degraded, text);
        }
    }

    /// Takes every sign of life.
    fn look_for_life(&mut self) {
        let owners = self.lane_owners.iter().enumerate();
        let lanes = owners.zip(&self.observed.counters.lanes).map(|((id, owner), lane)| {
            let part = owner.source().map_or(Part::Executor(id), Part::Source);
            (part, lane.loops.get())
        });
        let journal = (Part::Journal, self.writer.heartbeat());
        let hub = (Part::Hub, self.rings.iter().map(|r| r.rounds.load(Relaxed)).sum());
        let statistics = (Part::Statistics, self.statistics_rounds.load(Relaxed));
        self.watchdog.look(Instant::now(), lanes.chain([journal, hub, statistics]));
    }

    fn tell_journal(&self) {
        let stats = self.writer.stats();
        let health = &self.observed.health;
        match stats.state() {
            JournalState::Ok if self.watchdog.still(Part::Journal) > JOURNAL_SLOW => {
                health.set("journal", Severity::Failed, "its thread waits for the disk");
            }
            JournalState::Ok => health.clear("journal"),
            _ => health.set("journal", Severity::Failed, stats.error().unwrap_or_default()),
        }
        match stats.loss() {
            Some(text) => health.set("journal file", Severity::Degraded, text),
            None => health.clear("journal file"),
        }
    }

    /// The account and the timing so far.
    pub fn report(&self) -> RunReport {
        RunReport::of(&self.observed, monotonic_now() - self.started)
    }

    /// Stops: the executors first; what is in the rings reaches the journal; the outputs deliver what they can
    /// in a bounded time; their cursors are saved.
    pub fn stop(mut self) -> Ended {
        self.manager.stopping();
        if let Some(dog) = self.hardware.take() {
            dog.disarm();
        }
        // Writes under way are waited for while their executors run.
        self.writes.stop();
        self.floor.stop();
        self.floor.stop_sources();
        // Before the hub is waited for: on a full disk it waits for the journal, which would try for ever.
        self.writer.close();
        drop(self.next_rings);
        let _ = self.hub.join();
        let delivered = self.rings.iter().map(|r| r.delivered.load(Relaxed)).sum::<u64>();
        let mut unsaved = None;
        let journal = self.writer.stats();
        let end = self.writer.join();
        self.outputs.stop();
        match end {
            Ok(mut end) => {
                if let Some(error) = end.error {
                    unsaved = Some(format!("{} samples could not be stored: {error}", end.samples_unsaved));
                }
                if let Err(error) = end.journal.append(&[]) {
                    tracing::error!("the outputs' positions in the journal are not saved: {error}");
                }
            }
            Err(_) => {
                let settled = journal.samples_stored.load(Relaxed) + journal.samples_refused.load(Relaxed);
                let lost = delivered.saturating_sub(settled);
                unsaved = Some(format!("{lost} samples could not be stored: the journal's thread failed"));
            }
        }
        self.statistics_stop.store(true, Ordering::Relaxed);
        let _ = self.statistics.join();
        Ended { report: RunReport::of(&self.observed, monotonic_now() - self.started), unsaved }
    }

    /// Ends without waiting for what stands still: says all that is known of it, lets what is in the rings reach
    /// the journal while that one lives, and leaves every thread behind. The process must end next; if it does
    /// not within [`crate::limits::STALL_EXIT`], the kernel ends it. The hardware watchdog stays armed.
    pub fn abandon(mut self, stalled: &[Stall]) -> Ended {
        leave::set_alarm();
        self.manager.status(&leave::told(stalled));
        leave::describe(stalled, &self.observed);
        self.floor.abandon(crate::limits::STALL_EXIT_EXECUTORS);
        let hub_lives = stalled.iter().all(|stall| stall.part != Part::Hub && stall.part != Part::Journal);
        let settled = || leave::settled(&self.writer.stats());
        let unsaved = leave::let_settle(&self.observed, &self.rings, settled, hub_lives);
        let ended = Ended { report: RunReport::of(&self.observed, monotonic_now() - self.started), unsaved };
        // Nothing of it is dropped: that would wait for its threads.
        std::mem::forget(self);
        ended
    }
}

/// Few arenas and no give-and-take with the kernel: the floor's pages stay where they are, and a gateway's
/// memory stays small.
fn limit_malloc() {
    // SAFETY: mallopt only sets the allocator's own parameters; unknown ones are refused.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, rt_thread::MALLOC_ARENAS_MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

/// UTC milliseconds and 16 random bits.
fn new_boot() -> BootId {
    let utc_ms = (hub::clock_pair().utc_ns / 1_000_000).max(0) as u64;
    BootId(utc_ms << 16 | u64::from(fastrand::u16(..)))
}

pub(super) fn dictionary(gateway: &str, plan: &Plan) -> Dictionary {
    let tag = |tag: &plan::TagPlan| DictionaryTag {
        name: tag.name.to_string(),
        ty: tag.ty.code(),
        unit: tag.unit.to_string(),
        texts: tag.texts.clone(),
        link: plan.links.get(tag.link).map(|link| link.name.clone()).unwrap_or_default(),
    };
    Dictionary {
        gateway: gateway.to_owned(),
        tags: (0..plan.tags.end() as u32).map(|id| plan.tags.get(TagId(id)).map(tag).unwrap_or_default()).collect(),
        groups: (0..plan.groups.end() as u16)
            .map(|id| plan.groups.get(GroupId(id)).map(|g| g.name.to_string()).unwrap_or_default())
            .collect(),
    }
}

fn spawn_statistics(
    mut reports: Vec<Consumer<Report>>,
    statistics: Arc<Statistics>,
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("fb-stats".to_owned()).stack_size(256 << 10).spawn(move || {
        loop {
            let last = stop.load(Relaxed);
            rounds.fetch_add(1, Relaxed);
            for ring in &mut reports {
                statistics.drain(ring);
            }
            if last {
                return;
            }
            thread::sleep(STATISTICS_PERIOD);
        }
    })
}
