//! No executor allocates or frees once it runs, whatever its devices do.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

#[path = "support/floor_memory.rs"]
mod floor_memory;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use fieldbeat::config::model::{Reporting, Suppress};
use fieldbeat::config::{Config, DateFormat, DecodingConfig, FieldType, Guard, LinkConfig, TagConfig, WriteConfig};
use fieldbeat::hub::{self, Filter, NextRing, RingEnd, RingStats, TapsEnd};
use fieldbeat::plan::demand::Costs;
use fieldbeat::plan::{Base, Plan, UsedIds};
use fieldbeat::plant::{Fault, GatewaySettings, Plant, PlantConfig, Profile, ScanRates, SerialLines, SerialSettings};
use fieldbeat::protocol;
use fieldbeat::protocol::kinds;
use fieldbeat::protocol::modbus::model::ModbusAddress;
use fieldbeat::protocol::write::Encoded;
use fieldbeat::rt::thread::{default_cpus, lock_memory};
use fieldbeat::rt::{WriteOrder, WriteOutcome, monotonic_now};
use fieldbeat::supervise::floor::{self, Floor, Scheduling};
use fieldbeat::tag::{Batch, Encoding, Nanos, ScalarType, TagId, Value, ValueType};

use floor_memory::{ALLOCATIONS, ARMED, FREES, the_detector_bites};

fn end(ring: rtrb::Consumer<fieldbeat::tag::Sample>) -> RingEnd {
    RingEnd { ring, names: Arc::default(), filter: Filter::default() }
}

/// Minor and major page faults of this process's executors (proc(5), /proc/pid/stat).
fn page_faults() -> (u64, u64) {
    let mut sum = (0, 0);
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
        let Some((name, rest)) = stat.rsplit_once(") ") else { continue };
        if name.contains("(fb-exec") {
            let fields: Vec<&str> = rest.split(' ').collect();
            sum.0 += fields[7].parse::<u64>().unwrap();
            sum.1 += fields[9].parse::<u64>().unwrap();
        }
    }
    sum
}

const FAULTS: [Fault; 11] = [
    Fault::Silence,
    Fault::Garbage,
    Fault::DropConnection,
    Fault::Exceptions(4),
    Fault::Delay(60),
    Fault::WrongTransaction,
    Fault::HalfFrame,
    Fault::Refuse,
    Fault::Exceptions(2),
    Fault::Exceptions(6),
    // Blocks are taken apart.
    Fault::Mute(1),
];
/// The first devices misbehave, one in each way; these do not.
const HEALTHY: usize = 3;
/// Whether it fits is not the subject.
const COSTS: Costs = Costs { request: Nanos(0), sample: Nanos(0), release: Nanos(0), wake_up: Nanos(0) };
const PHASE: Duration = Duration::from_millis(700);
const ROUNDS: u32 = 11;

/// Serial lines on the same executor: the first ones misbehave in every way by turns, the last does not.
const LINES: usize = 4;
const LINE_FAULTS: [Fault; 10] = [
    Fault::Silence,
    Fault::WrongCrc,
    Fault::Garbage,
    Fault::HalfFrame,
    Fault::WrongUnit,
    Fault::Exceptions(2),
    Fault::Noise,
    Fault::Unplug,
    Fault::Trickle(3),
    Fault::Exceptions(4),
];

/// The faults come and go.
fn misbehave(plant: &Plant, lines: &SerialLines) {
    for round in 0..ROUNDS as usize {
        FAULTS.iter().enumerate().for_each(|(device, fault)| plant.set_fault(device, Some(*fault)));
        for line in 0..LINES - 1 {
            lines.set_fault(line, Some(LINE_FAULTS[(round * (LINES - 1) + line) % LINE_FAULTS.len()]));
        }
        std::thread::sleep(PHASE);
        (0..FAULTS.len()).for_each(|device| plant.set_fault(device, None));
        (0..LINES).for_each(|line| lines.set_fault(line, None));
        std::thread::sleep(PHASE);
    }
}

/// Two units each, at a speed at which several exchanges fit into a fault's time.
fn start_lines(ports: &Path) -> SerialLines {
    let plant = PlantConfig {
        devices: LINES,
        units_per_device: 2,
        profile: Profile::Line { tags_per_device: 8 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(100)),
        ..PlantConfig::default()
    };
    SerialLines::start(&SerialSettings { plant, baud_rate: 115_200, ports: ports.to_owned(), exact: None }).unwrap()
}

/// The healthy devices are scanned at 1000 Hz; nine more of those would be the plant's work, not the gateway's.
fn slow_down_the_faulty(dir: &Path) {
    for device in 0..FAULTS.len() {
        let file = dir.join(format!("tags/dev{device}.json"));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("\"scan_rate_ms\": 1,"));
        std::fs::write(&file, text.replace("\"scan_rate_ms\": 1,", "\"scan_rate_ms\": 10,")).unwrap();
    }
}

/// Every second tag tells exceptions only; those of them that can keep the last sample do.
fn tell_by_exception(config: &mut Config) {
    for tag in config.tags.iter_mut().step_by(2) {
        tag.reporting = Some(Reporting {
            deadband: 1.0,
            max_silence: Nanos::from_millis(500),
            suppress: Suppress::Ring,
            keep_last: !tag.value_type().is_long(),
        });
    }
}

/// The same registers once more, as all else that registers may hold: texts, dates, parts of them, values that are none,
/// values whose scale is another tag.
fn read_in_more_ways(config: &mut Config) {
    let mut more = Vec::new();
    for tag in &config.tags {
        let Some(address) = tag.address.get::<ModbusAddress>() else { continue };
        let mut add = |name: &str, field: FieldType, decoding: DecodingConfig| {
            let count = field.registers();
            let count = if count == 0 { address.count } else { count };
            let address = Box::new(ModbusAddress { field, count, ..address.clone() });
            more.push(TagConfig { name: format!("{}.{name}", tag.name), address, decoding, ..tag.clone() });
        };
        let none = || DecodingConfig { not_available: (0..32).collect(), ..DecodingConfig::default() };
        match address.field {
            FieldType::Text(_) => {
                add("cp1252", FieldType::Text(Encoding::Windows1252), none());
                add("wide", FieldType::Uint128, DecodingConfig::default());
                add("date", FieldType::Date(DateFormat::Iec60870), DecodingConfig::default());
                add("clock", FieldType::Date(DateFormat::Unix32), DecodingConfig::default());
            }
            FieldType::Int16 => {
                add("high", FieldType::Byte { signed: true, high: true }, none());
                add("half", FieldType::Float16, DecodingConfig::default());
                let scale_from = Some(tag.name.as_str().into());
                add("scaled", FieldType::Uint16, DecodingConfig { scale_from, ..none() });
            }
            FieldType::Float32 => add("triple", FieldType::Int24, none()),
            _ => {}
        }
    }
    assert!(more.len() > 50, "{} tags", more.len());
    config.tags.extend(more);
}

/// Changes the configuration while everything runs: a link comes and goes, another one's tags change, by turns on TCP
/// and on a serial line.
struct Reloading<'a> {
    floor: &'a mut Floor,
    writes: u64,
    /// Of the writes, by how they ended.
    outcomes: Vec<WriteOutcome>,
    plans: Vec<Arc<Plan>>,
    config: Config,
    next_rings: Sender<NextRing>,
}

impl Reloading<'_> {
    fn adopt_another(&mut self) {
        let round = self.plans.len();
        let mut config = self.config.clone();
        let name = if round % 4 < 2 { "dev" } else { "line" };
        let of_kind = |(at, link): (usize, &LinkConfig)| link.name.starts_with(name).then_some(at);
        let links: Vec<usize> = config.links.iter().enumerate().filter_map(of_kind).collect();
        let [.., other, gone] = links[..] else { panic!("{links:?}") };
        let mut changing = config.tags.iter().enumerate().filter(|(_, tag)| tag.link == other);
        let changing = changing.nth(round % 4).unwrap().0;
        config.tags.remove(changing);
        if !round.is_multiple_of(2) {
            config.tags.retain(|tag| tag.link != gone);
            config.links.remove(gone);
            config.tags.iter_mut().filter(|tag| tag.link > gone).for_each(|tag| tag.link -= 1);
        }
        let image = self.floor.image.clone();
        let long_fits = move |tag: TagId, bytes| image.long_fits(tag.index(), bytes);
        let old = self.plans.last().unwrap().clone();
        let resting: Vec<UsedIds> = self.plans.iter().map(|plan| UsedIds::of(plan)).collect();
        let base = Base { plan: &old, resting: &resting, long_fits: &long_fits };
        let new = Arc::new(protocol::rebuild_with(&config, &base, &COSTS).unwrap().plan);
        let next_rings = &self.next_rings;
        let next = |executor, ring| next_rings.send(NextRing { lane: executor, end: end(ring) }).unwrap();
        self.floor.adopt(&old, &new, round as u32, next);
        while !self.floor.has_adopted() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.plans.push(new);
    }

    /// Writes to every device, a few at a time, and more than a link holds now and then.
    fn write_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        let plan = self.plans.last().unwrap().clone();
        let mut at = self.writes as usize;
        while Instant::now() < end {
            let burst = if self.writes.is_multiple_of(64) { 40 } else { 1 };
            let (tag, _) = plan.tags.iter().nth(at % plan.tags.len()).unwrap();
            at += 7;
            for _ in 0..burst {
                self.writes += 1;
                self.order(&plan, tag);
            }
            self.outcomes.extend(self.floor.take_answers().map(|answer| answer.outcome));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn order(&mut self, plan: &Plan, tag: TagId) {
        let value = match plan.tags[tag].ty {
            ValueType::Scalar(ScalarType::Bool) => Value::Bool(self.writes.is_multiple_of(2)),
            ValueType::Scalar(ScalarType::Float32 | ScalarType::Float64) => Value::Float64(self.writes as f64),
            _ => Value::Int((self.writes % 100) as i64),
        };
        let Ok(Encoded { link, slot, payload }) = kinds::encode(plan, tag, &value) else { return };
        let generation = self.floor.generation(link).unwrap();
        let deadline = monotonic_now() + Nanos::from_millis(5 + self.writes % 300);
        let (id, read_back) = (self.writes, self.writes.is_multiple_of(3));
        let _ = self.floor.write(WriteOrder { id, link, slot, generation, deadline, read_back, payload });
    }
}

/// Every way in which a write can end that faults and reloads bring about.
fn assert_writes_met_all(outcomes: &[WriteOutcome], ordered: u64) {
    let of = |wanted: &dyn Fn(WriteOutcome) -> bool| outcomes.iter().filter(|outcome| wanted(**outcome)).count();
    println!("{ordered} writes, {} answered", outcomes.len());
    for (what, count) in [
        ("done", of(&|o| o == WriteOutcome::Done)),
        ("refused", of(&|o| matches!(o, WriteOutcome::Refused(_)))),
        ("without reply or lost", of(&|o| matches!(o, WriteOutcome::NoReply | WriteOutcome::Lost))),
        ("without connection", of(&|o| o == WriteOutcome::NoConnection)),
        ("not sent", of(&|o| o == WriteOutcome::NotSent)),
        ("busy", of(&|o| o == WriteOutcome::Busy)),
    ] {
        println!("writes {what}: {count}");
        assert!(count > 0, "no write was {what}");
    }
}

fn assert_all_was_met(floor: &Floor, plan: &Plan) {
    let sum = |count: fn(&fieldbeat::lane::LinkCounters) -> u64| -> u64 {
        plan.links.ids().map(|link| count(floor.counters.link(link))).sum()
    };
    for (what, count) in [
        ("timeouts", sum(|c| c.timeouts.get())),
        ("exceptions", sum(|c| c.exceptions.get())),
        ("aborted", sum(|c| c.aborted.get())),
        ("garbage", sum(|c| c.garbage.get())),
        ("late or foreign", sum(|c| c.late.get() + c.foreign.get())),
        ("suppressed", sum(|c| c.suppressed.get())),
        ("wrong checks", sum(|c| c.crc_errors.get())),
        ("short frames", sum(|c| c.short_frames.get())),
        ("disconnects", sum(|c| c.disconnects.get())),
        ("second connections", sum(|c| c.connects.get().saturating_sub(1))),
    ] {
        println!("{what}: {count}");
        assert!(count > 0, "no {what} happened: nothing was shown about them");
    }
}

/// Each line was read, and all but the last misbehaved.
fn assert_lines_were_used(lines: &SerialLines) {
    for line in 0..LINES {
        let counts = lines.counts(line);
        println!("line{line}: {counts:?}");
        assert!(counts.replies > 50, "line{line}");
        assert_eq!(counts.faults > 0, line < LINES - 1, "line{line}");
    }
}

/// The first loops have nothing to do with the running: threads settle, connections are made.
fn floor_has_settled() {
    std::thread::sleep(Duration::from_millis(500));
}

#[test]
fn an_executor_neither_allocates_nor_frees_through_ten_thousand_cycles_of_faults_and_reloads() {
    the_detector_bites();
    let plant = Plant::start(PlantConfig {
        devices: FAULTS.len() + HEALTHY,
        profile: Profile::Line { tags_per_device: 8 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(1)),
        cpu: Some(0),
        ..PlantConfig::default()
    })
    .unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let settings = GatewaySettings { timeout: Nanos::from_millis(20), ..GatewaySettings::default() };
    plant.write_config(dir.path(), &settings).unwrap();
    slow_down_the_faulty(dir.path());
    let lines = start_lines(&dir.path().join("ports"));
    lines.write_tags(&dir.path().join("tags")).unwrap();
    let mut loaded = protocol::load(dir.path()).unwrap();
    read_in_more_ways(&mut loaded.config);
    tell_by_exception(&mut loaded.config);
    loaded.config.tags.iter_mut().for_each(|tag| tag.write = Some(WriteConfig::default()));
    let plan = Arc::new(protocol::build_with(&loaded.config, &default_cpus(), &COSTS).unwrap().plan);
    let scheduling = Scheduling::RealTime { priority: 80, guard: Guard::Auto };
    let prepared = floor::prepare(plan.clone(), scheduling).unwrap();
    let unlocked = lock_memory();
    if let Some(missing) = &unlocked {
        println!("page faults are not to be judged: {missing}");
    }
    let mut floor = prepared.start();
    floor.memory_is_locked = unlocked.is_none();
    let rings: Arc<[RingStats]> = plan.lanes.iter().map(|_| RingStats::default()).collect();
    let (sender, batches) = crossbeam_channel::bounded::<Arc<Batch>>(16);
    let (next_rings, nexts) = crossbeam_channel::bounded(16);
    let hub = hub::spawn(
        std::mem::take(&mut floor.rings).into_iter().map(end).collect(),
        nexts,
        sender,
        TapsEnd::default(),
        rings.clone(),
    )
    .unwrap();
    let plans = vec![plan.clone()];
    let mut reloading =
        Reloading { plans, config: loaded.config, next_rings, floor: &mut floor, writes: 0, outcomes: Vec::new() };
    floor_has_settled();
    let counters = reloading.floor.counters.clone();
    let scans = || plan.scans.ids().map(|id| counters.scan(id).cycles.get()).max().unwrap();

    let (faults, cycles) = (page_faults(), scans());
    ARMED.store(true, Relaxed);
    let end = Instant::now() + PHASE * 2 * ROUNDS;
    // Nobody takes what the hub brings in the end: the ring runs full, and samples are dropped.
    let taken = end - PHASE * 11;
    std::thread::scope(|scope| {
        scope.spawn(|| misbehave(&plant, &lines));
        scope.spawn(|| {
            while Instant::now() < taken {
                reloading.adopt_another();
                reloading.write_for(Duration::from_millis(100));
            }
        });
        while Instant::now() < end {
            match Instant::now() < taken {
                true => drop(batches.recv_timeout(Duration::from_millis(10))),
                false => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    });
    ARMED.store(false, Relaxed);
    let (after, cycles) = (page_faults(), scans() - cycles);
    assert_lines_were_used(&lines);
    let reloads = reloading.plans.len() - 1;
    assert_writes_met_all(&reloading.outcomes, reloading.writes);
    drop(reloading);
    println!("{cycles} cycles of the fastest of {} scans, {reloads} reloads", plan.scans.len());
    println!("page faults of the executor: {} minor, {} major", after.0 - faults.0, after.1 - faults.1);
    assert_eq!((ALLOCATIONS.load(Relaxed), FREES.load(Relaxed)), (0, 0), "allocations and frees of an executor");
    assert!(cycles >= 10_000, "{cycles} cycles were too few to say anything");
    assert!(reloads >= 30, "{reloads} reloads");
    assert_all_was_met(&floor, &plan);
    assert!(floor.counters.dropped() > 0, "the ring never ran full");
    assert!(floor.counters.suppressed() > 0, "nothing was held back");
    assert!(floor.counters.lanes[0].reports_dropped.get() > 0, "nor did that of the reports");

    floor.stop();
    while batches.recv().is_ok() {}
    hub.join().unwrap();
    let delivered: u64 = rings.iter().map(|r| r.delivered.load(Relaxed)).sum();
    assert_eq!(floor.counters.produced(), delivered + floor.counters.dropped() + floor.counters.suppressed());
}
