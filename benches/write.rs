//! Writes against the plant on loopback: how long from order to answer, and whether a storm of them moves the beat.
//! Quiet turns and stormy ones take place in one run, one after the other, so that they meet the same machine.

#![allow(clippy::unwrap_used, reason = "a benchmark stops where it fails")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use fieldbeat::config::{Config, Guard, WriteConfig};
use fieldbeat::lane::LinkState;
use fieldbeat::plan::Plan;
use fieldbeat::plant::{GatewaySettings, Plant, PlantConfig, Profile, ScanRates};
use fieldbeat::protocol;
use fieldbeat::protocol::{kinds, write};
use fieldbeat::rt::{Report, WriteOrder, WriteOutcome, monotonic_now, thread};
use fieldbeat::supervise::floor::{self, Floor, Scheduling};
use fieldbeat::tag::{Nanos, TagId, Value};

const PRIORITY: u8 = 80;
const DEVICES: usize = 2;
const ONE_BY_ONE: usize = 2_000;
const POLL: Duration = Duration::from_micros(20);
const TURN: Duration = Duration::from_millis(1_000);
const TURNS: usize = 10;
/// Orders under way in a storm: as many as may wait for one link, to which all of them may go.
const STORM: usize = 16;
const WITHIN: Nanos = Nanos::from_millis(1_000);

fn main() {
    let real_time = thread::try_fifo(PRIORITY).is_ok();
    if !real_time {
        println!("no SCHED_FIFO here: the executor is an ordinary thread, whose wake-ups are late");
    }
    for period in [Nanos::from_millis(10), Nanos::from_millis(1)] {
        let mut rig = Rig::start(period, real_time);
        println!("{DEVICES} devices, 8 tags each, every {} ms", period.0 / 1_000_000);
        for read_back in [false, true] {
            rig.one_by_one(read_back);
        }
        rig.storm();
        rig.floor.stop();
    }
}

struct Rig {
    // Ends after the floor.
    floor: Floor,
    plan: Arc<Plan>,
    tags: Vec<TagId>,
    next: u64,
    _plant: Plant,
}

fn writable(mut config: Config) -> Config {
    for tag in &mut config.tags {
        tag.write = Some(WriteConfig { timeout: WITHIN, ..WriteConfig::default() });
    }
    config
}

impl Rig {
    fn start(period: Nanos, real_time: bool) -> Rig {
        let plant = Plant::start(PlantConfig {
            devices: DEVICES,
            profile: Profile::Float32 { tags_per_device: 8 },
            scan_rates: ScanRates::Uniform(period),
            cpu: Some(0),
            ..PlantConfig::default()
        })
        .unwrap();
        let dir = tempfile::TempDir::new().unwrap();
        plant.write_config(dir.path(), &GatewaySettings::default()).unwrap();
        let config = writable(protocol::load(dir.path()).unwrap().config);
        let plan = Arc::new(protocol::build(&config, &thread::default_cpus()).unwrap().plan);
        let scheduling = match real_time {
            true => Scheduling::RealTime { priority: PRIORITY, guard: Guard::Auto },
            false => Scheduling::Ordinary,
        };
        let floor = floor::prepare(plan.clone(), scheduling).unwrap().start();
        let tags = plan.tags.ids().collect();
        while plan.links.ids().any(|link| floor.counters.link(link).state() != LinkState::Up) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(300));
        Rig { floor, plan, tags, next: 0, _plant: plant }
    }

    fn order(&mut self, read_back: bool) -> Nanos {
        let tag = self.tags[self.next as usize % self.tags.len()];
        let encoded = kinds::encode(&self.plan, tag, &Value::Float32(self.next as f32)).unwrap();
        let write::Encoded { link, slot, payload } = encoded;
        let generation = self.floor.generation(link).unwrap();
        self.next += 1;
        let now = monotonic_now();
        let order = WriteOrder { id: self.next, link, slot, generation, deadline: now + WITHIN, read_back, payload };
        self.floor.write(order).unwrap();
        now
    }

    /// The next is ordered when the one before is answered, after a pause that is no multiple of the beat.
    fn one_by_one(&mut self, read_back: bool) {
        let mut times = Vec::new();
        let mut rng = fastrand::Rng::with_seed(4711);
        for _ in 0..ONE_BY_ONE {
            let start = self.order(read_back);
            let answer = loop {
                if let Some(answer) = self.floor.take_answers().next() {
                    break answer;
                }
                // The plant needs a processor, too; answers have the executor's time.
                std::thread::sleep(POLL);
            };
            assert_eq!(answer.outcome, WriteOutcome::Done);
            times.push((answer.at - start).0);
            std::thread::sleep(Duration::from_micros(rng.u64(100..1_500)));
        }
        let what = if read_back { "with read-back" } else { "without" };
        println!("  one by one, {what:<15} {}", Quantiles::of(times));
    }

    /// How late releases begin, without writes and with as many as go through.
    fn storm(&mut self) {
        let (mut jitter, mut times) = ([Vec::new(), Vec::new()], Vec::new());
        let (mut done, mut missed) = (0u64, [0, 0]);
        self.releases();
        for turn in 0..TURNS * 2 {
            let stormy = turn % 2 == 1;
            let before = self.misses();
            let end = Instant::now() + TURN;
            let mut open: Vec<(u64, Nanos)> = Vec::new();
            while Instant::now() < end || !open.is_empty() {
                if stormy && open.len() < STORM && Instant::now() < end {
                    let start = self.order(false);
                    open.push((self.next, start));
                }
                for answer in self.floor.take_answers().collect::<Vec<_>>() {
                    let at = open.iter().position(|(id, _)| *id == answer.id).unwrap();
                    let (_, start) = open.remove(at);
                    assert_eq!(answer.outcome, WriteOutcome::Done);
                    times.push((answer.at - start).0);
                    done += 1;
                }
                if !stormy {
                    std::thread::sleep(Duration::from_millis(1));
                } else if open.len() == STORM {
                    std::thread::sleep(POLL);
                }
            }
            jitter[usize::from(stormy)].extend(self.releases());
            missed[usize::from(stormy)] += self.misses() - before;
        }
        let [quiet, stormy] = jitter.map(Quantiles::of);
        println!("  release jitter, quiet           {quiet}, {} cycles missed", missed[0]);
        println!("  release jitter, storm           {stormy}, {} cycles missed", missed[1]);
        println!("  {STORM} at once                      {}", Quantiles::of(times));
        println!("  {:.0} writes/s in the storm", done as f64 / (TURN.as_secs_f64() * TURNS as f64));
    }

    fn misses(&self) -> u64 {
        let scans = self.plan.scans.ids().map(|id| self.floor.counters.scan(id));
        scans.map(|scan| scan.deadline_misses.get() + scan.skipped.get()).sum()
    }

    /// How late each release since the last look began.
    fn releases(&mut self) -> Vec<u64> {
        let mut late = Vec::new();
        for reports in &mut self.floor.reports {
            while let Ok(report) = reports.pop() {
                if let Report::Released { nominal, actual, .. } = report {
                    late.push((actual - nominal).0);
                }
            }
        }
        late
    }
}

struct Quantiles {
    count: usize,
    p50: u64,
    p99: u64,
    max: u64,
}

impl Quantiles {
    fn of(mut times: Vec<u64>) -> Quantiles {
        times.sort_unstable();
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
        Quantiles { count: times.len(), p50: at(0.5), p99: at(0.99), max: times.last().copied().unwrap_or_default() }
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = |ns: u64| ns as f64 / 1e3;
        let Quantiles { count, p50, p99, max } = *self;
        write!(f, "p50 {:>8.1} µs, p99 {:>8.1} µs, most {:>8.1} µs of {count}", us(p50), us(p99), us(max))
    }
}
