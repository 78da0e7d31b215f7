//! Devices that misbehave, each in its own way at the same time, beside devices that don't: on the real executor,
//! over real sockets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fieldbeat::config::Guard;
use fieldbeat::hub::{self, Filter, RingEnd, RingStats, TapsEnd};
use fieldbeat::plan::{self, Plan};
use fieldbeat::plant::{Fault, GatewaySettings, Plant, PlantConfig, Profile, ScanRates};
use fieldbeat::protocol;
use fieldbeat::rt::monotonic_now;
use fieldbeat::rt::thread::default_cpus;
use fieldbeat::supervise::floor::{self, Floor, Scheduling};
use fieldbeat::tag::{Batch, Nanos, Status, TagId};

use crate::rig::Site;

/// A floor with its hub, whose batches are counted and let go.
struct Bench {
    plan: Arc<Plan>,
    floor: Floor,
    rings: Arc<[RingStats]>,
    hub: JoinHandle<()>,
    /// Samples in the batches.
    counted: JoinHandle<u64>,
}

impl Bench {
    fn start(site: &Site) -> Bench {
        let loaded = protocol::load(site.path()).unwrap();
        let plan = Arc::new(protocol::build(&loaded.config, &default_cpus()).unwrap().plan);
        let scheduling = Scheduling::RealTime { priority: 80, guard: Guard::Auto };
        let mut floor = floor::prepare(plan.clone(), scheduling).unwrap().start();
        let rings: Arc<[RingStats]> = plan.lanes.iter().map(|_| RingStats::default()).collect();
        let (sender, batches) = crossbeam_channel::bounded::<Arc<Batch>>(64);
        let ends = std::mem::take(&mut floor.rings).into_iter();
        let ends = ends.map(|ring| RingEnd { ring, names: Arc::default(), filter: Filter::default() }).collect();
        let hub = hub::spawn(ends, crossbeam_channel::never(), sender, TapsEnd::default(), rings.clone()).unwrap();
        let counted = std::thread::spawn(move || batches.iter().map(|b| u64::from(b.samples)).sum());
        Bench { plan, floor, rings, hub, counted }
    }

    /// Tags of a device, by the name of its link.
    fn tags_of(&self, device: usize) -> Vec<usize> {
        let name = format!("dev{device}");
        let of = |tag: &plan::TagPlan| *self.plan.links[tag.link].name == name;
        self.plan.tags.iter().filter(|(_, tag)| of(tag)).map(|(id, _)| id.index()).collect()
    }

    fn reading(&self, tag: usize) -> (Status, u64) {
        let reading = self.floor.image.read(tag).unwrap();
        (Status(reading.status), reading.t)
    }

    fn all_good(&self, tags: &[usize]) -> bool {
        tags.iter().all(|tag| self.reading(*tag).0 == Status::GOOD)
    }

    /// Releases (cycles and skipped ones) and misses of each device's scans.
    fn beat(&self) -> BTreeMap<String, (Vec<u64>, u64)> {
        let mut beat: BTreeMap<String, (Vec<u64>, u64)> = BTreeMap::new();
        for (id, scan) in self.plan.scans.iter() {
            let counts = self.floor.counters.scan(id);
            let entry = beat.entry(self.plan.links[scan.link].name.to_string()).or_default();
            entry.0.push(counts.cycles.get() + counts.skipped.get());
            entry.1 += counts.deadline_misses.get();
        }
        beat
    }

    /// Every sample that was made was delivered or is counted as dropped.
    fn stop_and_close_the_account(mut self) {
        self.floor.stop();
        self.hub.join().unwrap();
        let counted = self.counted.join().unwrap();
        let delivered: u64 = self.rings.iter().map(|r| r.delivered.load(Relaxed)).sum();
        let missing: u64 = self.rings.iter().map(|r| r.missing.load(Relaxed)).sum();
        assert_eq!(counted, delivered);
        let counters = &self.floor.counters;
        assert_eq!(counters.produced(), delivered + counters.dropped());
        assert!(missing <= counters.dropped());
        for (id, link) in self.plan.links.iter() {
            let c = counters.link(id);
            let ended = c.replies.get() + c.exceptions.get() + c.timeouts.get() + c.aborted.get();
            assert_eq!(c.requests.get(), ended, "{}: every request ends in one way", link.name);
        }
    }
}

/// What a device's tags are to show while it misbehaves.
#[derive(Clone, Copy, PartialEq)]
enum Shows {
    /// Uncertain, then BadNoCommunication.
    Silence,
    DeviceFailure,
    /// Uncertain, for as long as it goes on.
    Busy,
}

const PERIOD: Duration = Duration::from_millis(10);
const TIMEOUT: Nanos = Nanos::from_millis(100);
const FAULT: Duration = Duration::from_millis(4000);

#[test]
fn a_device_that_misbehaves_costs_its_own_tags_and_nobody_elses() {
    let faults = [
        (Fault::Delay(300), Shows::Silence),
        (Fault::Silence, Shows::Silence),
        (Fault::Trickle(1000), Shows::Silence),
        (Fault::Garbage, Shows::Silence),
        (Fault::WrongTransaction, Shows::Silence),
        (Fault::HalfFrame, Shows::Silence),
        (Fault::DropConnection, Shows::Silence),
        (Fault::Refuse, Shows::Silence),
        (Fault::Exceptions(4), Shows::DeviceFailure),
        (Fault::Exceptions(6), Shows::Busy),
    ];
    let healthy = faults.len()..faults.len() + 3;
    let plant = Plant::start(PlantConfig {
        devices: healthy.end,
        profile: Profile::Line { tags_per_device: 30 },
        scan_rates: ScanRates::Uniform(Nanos(PERIOD.as_nanos() as u64)),
        cpu: Some(0),
        ..PlantConfig::default()
    })
    .unwrap();
    let site = Site::of(&plant, &GatewaySettings { timeout: TIMEOUT, ..GatewaySettings::default() });
    let bench = Bench::start(&site);
    let everyone: Vec<usize> = bench.plan.tags.ids().map(|id| id.index()).collect();
    crate::rig::wait_until("every tag is good", Duration::from_secs(5), || bench.all_good(&everyone));
    std::thread::sleep(Duration::from_millis(500));

    let before = bench.beat();
    for (device, (fault, _)) in faults.iter().enumerate() {
        plant.set_fault(device, Some(*fault));
    }
    let started = Instant::now();
    let mut watched: Vec<Watched> = (0..faults.len()).map(|device| Watched::new(&bench, device)).collect();
    let healthy_tags: Vec<usize> = healthy.clone().flat_map(|device| bench.tags_of(device)).collect();
    let mut oldest = Nanos::ZERO;
    while started.elapsed() < FAULT {
        watched.iter_mut().for_each(|w| w.look(&bench));
        for tag in &healthy_tags {
            let now = monotonic_now();
            let (status, t) = bench.reading(*tag);
            assert_eq!(status, Status::GOOD, "{} of a healthy device", bench.plan.tags[TagId(*tag as u32)].name);
            oldest = oldest.max(now.since(Nanos(t)));
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    let after = bench.beat();
    for (device, ((fault, shows), watched)) in faults.iter().zip(&watched).enumerate() {
        let tags = bench.tags_of(device);
        watched.assert_showed(&bench, *fault, *shows);
        let last = match shows {
            Shows::Silence => Status::BAD_NO_COMMUNICATION,
            Shows::DeviceFailure => Status::BAD_DEVICE_FAILURE,
            Shows::Busy => Status::UNCERTAIN_LAST_USABLE,
        };
        for tag in &tags {
            assert_eq!(bench.reading(*tag).0, last, "{fault}: {}", bench.plan.tags[TagId(*tag as u32)].name);
        }
        plant.set_fault(device, None);
    }

    let releases = |name: &str| -> Vec<u64> {
        after[name].0.iter().zip(&before[name].0).map(|(after, before)| after - before).collect()
    };
    let all: Vec<u64> = after.keys().flat_map(|name| releases(name)).collect();
    let (least, most) = (*all.iter().min().unwrap(), *all.iter().max().unwrap());
    assert!(most - least <= 1, "every device keeps the same beat: {least} to {most} releases");
    let misses = |name: &str| after[name].1 - before[name].1;
    let cycles = |name: &str| releases(name).iter().sum::<u64>();
    for device in healthy {
        let name = format!("dev{device}");
        println!("{name}: {} misses in {} cycles", misses(&name), cycles(&name));
        assert!(misses(&name) * 20 < cycles(&name), "{name}: {} misses in {}", misses(&name), cycles(&name));
    }
    let silent = "dev1";
    assert!(misses(silent) * 10 > cycles(silent) * 9, "a silent device misses nearly all: {}", misses(silent));
    println!("oldest value of a healthy device: {:.1} ms", oldest.0 as f64 / 1e6);
    assert!(oldest < Nanos::from_millis(500), "a healthy device's value was {oldest:?} old");

    let ended = Instant::now();
    crate::rig::wait_until("every tag is good again", Duration::from_secs(12), || bench.all_good(&everyone));
    println!("all good again after {:?}", ended.elapsed());
    bench.stop_and_close_the_account();
}

/// What was seen of a device's tags while it misbehaved.
struct Watched {
    tags: Vec<usize>,
    /// By tag: each status once it changed, with the value's time then.
    seen: Vec<Vec<(Status, u64)>>,
}

impl Watched {
    fn new(bench: &Bench, device: usize) -> Watched {
        let tags = bench.tags_of(device);
        Watched { seen: vec![Vec::new(); tags.len()], tags }
    }

    fn look(&mut self, bench: &Bench) {
        for (tag, seen) in self.tags.iter().zip(&mut self.seen) {
            let (status, time) = bench.reading(*tag);
            if status == Status::GOOD && seen.last().is_none_or(|(last, _)| *last == Status::GOOD) {
                // Still the old replies: the fault is just beginning.
                seen.clear();
            } else if let Some((last, held)) = seen.last()
                && *last != Status::GOOD
                && status != Status::GOOD
            {
                assert_eq!(*held, time, "{}: a held value keeps its time", bench.plan.tags[TagId(*tag as u32)].name);
            }
            if seen.last().is_none_or(|(last, _)| *last != status) {
                seen.push((status, time));
            }
        }
    }

    fn assert_showed(&self, bench: &Bench, fault: Fault, shows: Shows) {
        for (tag, seen) in self.tags.iter().zip(&self.seen) {
            let name = &bench.plan.tags[TagId(*tag as u32)].name;
            let told: Vec<Status> = seen.iter().map(|s| s.0).filter(|s| *s != Status::GOOD).collect();
            let allowed: &[&[Status]] = match shows {
                // The request that is the third to go unanswered may be the first of its block.
                Shows::Silence => {
                    &[&[Status::UNCERTAIN_LAST_USABLE, Status::BAD_NO_COMMUNICATION], &[Status::BAD_NO_COMMUNICATION]]
                }
                Shows::DeviceFailure => &[&[Status::BAD_DEVICE_FAILURE]],
                Shows::Busy => &[&[Status::UNCERTAIN_LAST_USABLE]],
            };
            assert!(allowed.contains(&told.as_slice()), "{fault}: {name} showed {told:?}");
            let good_again = seen.iter().skip(1).any(|(status, _)| *status == Status::GOOD);
            assert!(!good_again, "{fault}: {name} was good in between: {seen:?}");
            let age = monotonic_now().since(Nanos(seen[0].1));
            assert!(age.0 > FAULT.as_nanos() as u64 - 500_000_000, "{fault}: {name}'s time is that of its value");
        }
        if shows == Shows::Silence {
            let uncertain = self.seen.iter().flatten().any(|(s, _)| *s == Status::UNCERTAIN_LAST_USABLE);
            assert!(uncertain, "{fault}: at first the last value is still usable");
        }
    }
}
