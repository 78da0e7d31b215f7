//! What ten busy links do to the beat: release and issue jitter at 1 kHz beside an idle executor.
//!
//! Three ways in turn, several rounds: an executor with nothing to read, with ten devices each at a phase of its own,
//! and with ten devices whose requests leave at one instant. The devices are one thread on the first CPU, on loopback;
//! the executor runs at SCHED_FIFO 80 on the last. Each reply is one request's: 50 float32.
//!
//! `cargo bench --bench wake -- [--seconds N] [--rounds N]`; real-time priority needs root.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fieldbeat::config::{Config, Guard, ReleaseMode};
use fieldbeat::plan::Plan;
use fieldbeat::plant::{GatewaySettings, Plant, PlantConfig, Profile, ScanRates};
use fieldbeat::protocol;
use fieldbeat::rt::thread::{hold_cpu_awake, lock_memory};
use fieldbeat::rt::{Report, RequestResult};
use fieldbeat::supervise::floor::{self, Scheduling};
use fieldbeat::tag::{ById, Nanos};

const DEVICES: usize = 10;
const PERIOD: Nanos = Nanos::from_millis(1);
/// Connections are made and the first replies are in.
const SETTLED: Duration = Duration::from_millis(500);
const WAYS: [&str; 3] = ["idle", "10 links, spread", "10 links, together"];

/// Times of one run, in nanoseconds.
#[derive(Default)]
struct Run {
    release: Vec<u64>,
    /// The first and the last request of a release, and the time between.
    first: Vec<u64>,
    last: Vec<u64>,
    between: Vec<u64>,
    good: u64,
    not_good: u64,
    skipped: u64,
}

/// One kind of times of a run.
type Values = fn(&Run) -> &Vec<u64>;

/// Requests of one release.
#[derive(Default)]
struct Issued {
    first: u64,
    last: u64,
    count: usize,
}

fn quantile(values: &[u64], of_1000: usize) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let rank = (values.len() * of_1000).div_ceil(1000).max(1);
    values[rank - 1] as f64 / 1e3
}

fn run(plan: &Arc<Plan>, seconds: u64) -> Run {
    let scheduling = Scheduling::RealTime { priority: 80, guard: Guard::Auto };
    let mut prepared = floor::prepare(plan.clone(), scheduling).expect("a floor");
    let missing = &prepared.floor_mut().missing;
    assert!(missing.is_empty(), "real-time priority needs root: {missing:?}");
    lock_memory();
    let mut floor = prepared.start();
    let (mut run, mut issued) = (Run::default(), BTreeMap::<u64, Issued>::new());
    let begin = Instant::now() + SETTLED;
    let skipped =
        |floor: &floor::Floor| plan.scans.ids().map(|scan| floor.counters.scan(scan).skipped.get()).sum::<u64>();
    let mut skipped_before = None;
    while begin.elapsed() < Duration::from_secs(seconds) {
        thread::sleep(Duration::from_millis(20));
        // The samples are not the subject: they are taken, so that the executor stores them as always.
        for ring in &mut floor.rings {
            let waiting = ring.slots();
            if let Ok(chunk) = ring.read_chunk(waiting) {
                chunk.commit_all();
            }
        }
        let is_settled = Instant::now() >= begin;
        if is_settled && skipped_before.is_none() {
            skipped_before = Some(skipped(&floor));
        }
        for report in floor.reports.iter_mut().flat_map(|ring| std::iter::from_fn(|| ring.pop().ok())) {
            match report {
                _ if !is_settled => {}
                Report::Released { due, actual, .. } => run.release.push(actual.since(due).0),
                Report::Issued { nominal, sent, .. } => {
                    let late = sent.since(nominal).0;
                    let all = issued.entry(nominal.0).or_insert(Issued { first: late, last: late, count: 0 });
                    *all = Issued { first: all.first.min(late), last: all.last.max(late), count: all.count + 1 };
                }
                Report::Finished { result: RequestResult::Good, .. } => run.good += 1,
                Report::Finished { .. } => run.not_good += 1,
                Report::Node { .. } => {}
            }
        }
    }
    assert_eq!(floor.counters.lanes[0].reports_dropped.get(), 0, "reports were lost");
    run.skipped = skipped(&floor) - skipped_before.unwrap_or(0);
    floor.stop();
    let whole = plan.lanes[0].releases.first().map_or(0, |release| release.scans.len());
    for Issued { first, last, .. } in issued.into_values().filter(|issued| issued.count == whole) {
        run.first.push(first);
        run.last.push(last);
        run.between.push(last - first);
    }
    for values in [&mut run.release, &mut run.first, &mut run.last, &mut run.between] {
        values.sort_unstable();
    }
    run
}

/// The three plans, by way.
fn plans(config: &mut Config, cpu: u32) -> [Arc<Plan>; 3] {
    let mut planned = |mode| {
        config.groups.iter_mut().for_each(|group| group.release = mode);
        protocol::build(config, &[cpu]).expect("a plan").plan
    };
    let (spread, together) = (planned(ReleaseMode::Spread), planned(ReleaseMode::Together));
    assert_eq!(spread.lanes[0].releases.len(), DEVICES);
    assert_eq!(together.lanes[0].releases[0].scans.len(), DEVICES);
    let mut idle = together.clone();
    (idle.tags, idle.links, idle.scans) = (ById::new(), ById::new(), ById::new());
    idle.lanes[0].links.clear();
    idle.lanes[0].releases[0].scans.clear();
    [idle, spread, together].map(Arc::new)
}

/// The median over rounds.
fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let number = |name: &str, usual: u64| {
        let at = words.iter().position(|w| w == name);
        at.map_or(usual, |at| words[at + 1].parse().expect("a number"))
    };
    let (seconds, rounds) = (number("--seconds", 5), number("--rounds", 5));
    let plant = Plant::start(PlantConfig {
        devices: DEVICES,
        profile: Profile::Float32 { tags_per_device: 50 },
        scan_rates: ScanRates::Uniform(PERIOD),
        cpu: Some(0),
        ..PlantConfig::default()
    })
    .expect("a plant");
    let dir = std::env::temp_dir().join(format!("fieldbeat-wake-{}", std::process::id()));
    plant.write_config(&dir, &GatewaySettings::default()).expect("a directory");
    let loaded = protocol::load(&dir);
    let _ = std::fs::remove_dir_all(&dir);
    let mut config = loaded.expect("a configuration").config;
    let cpu = thread::available_parallelism().map_or(1, |n| n.get()) - 1;
    let plans = plans(&mut config, cpu as u32);
    let _awake = hold_cpu_awake();
    let mut ways: [Vec<Run>; 3] = Default::default();
    for round in 0..rounds {
        for turn in 0..3 {
            let way = ((round + turn) % 3) as usize;
            ways[way].push(run(&plans[way], seconds));
        }
    }
    println!("Medians of {rounds} rounds of {seconds} s, µs.\n\n| | {} |\n|---|---|---|---|", WAYS.join(" | "));
    let row = |name: String, of: &dyn Fn(&Run) -> f64| {
        let cells = ways.iter().map(|runs| median(runs.iter().map(of).collect()));
        let cells: Vec<String> =
            cells.map(|value| if value.is_nan() { String::new() } else { format!("{value:.1}") }).collect();
        println!("| {name} | {} |", cells.join(" | "));
    };
    let subjects: [(&str, Values); 4] = [
        ("release jitter", |run| &run.release),
        ("issue jitter of a release's first request", |run| &run.first),
        ("issue jitter of its last", |run| &run.last),
        ("first to last", |run| &run.between),
    ];
    for (name, values) in subjects {
        for (quantile_name, of_1000) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
            row(format!("{name} {quantile_name}"), &|run| quantile(values(run), of_1000));
        }
    }
    row("releases".into(), &|run| run.release.len() as f64);
    row("releases whose requests all left".into(), &|run| run.first.len() as f64);
    row("cycles of links skipped".into(), &|run| run.skipped as f64);
    row("replies good".into(), &|run| run.good as f64);
    row("requests without".into(), &|run| run.not_good as f64);
    println!();
    for (name, of_1000) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
        for way in [1, 2] {
            let pairs = ways[way].iter().zip(&ways[0]);
            let ratios = pairs.map(|(busy, idle)| quantile(&busy.release, of_1000) / quantile(&idle.release, of_1000));
            println!("release jitter {name}, {}: {:.2} of the idle executor's", WAYS[way], median(ratios.collect()));
        }
    }
}
