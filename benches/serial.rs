//! How much of a serial line's time is used: a line that always has a request waiting, over a pseudo terminal whose
//! bytes take their time, against the most that the frames and their silences allow.

#![allow(clippy::unwrap_used, reason = "a benchmark stops where it fails")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use fieldbeat::config;
use fieldbeat::plan::{self, SerialLine};
use fieldbeat::plant::{GatewaySettings, PlantConfig, Profile, ScanRates, SerialLines, SerialSettings};
use fieldbeat::supervise::floor::{self, Scheduling};
use fieldbeat::tag::{LinkId, Nanos};

const RUN: Duration = Duration::from_secs(5);

fn main() {
    println!(
        "{:>8} {:>10} {:>12} {:>12} {:>8} {:>9}",
        "baud", "registers", "requests/s", "possible/s", "share", "too soon"
    );
    for baud_rate in [19_200, 115_200] {
        for registers in [2, 20, 120] {
            run(baud_rate, registers);
        }
    }
}

fn run(baud_rate: u32, registers: usize) {
    let plant = PlantConfig {
        devices: 1,
        profile: Profile::Float32 { tags_per_device: registers / 2 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(1000)),
        ..PlantConfig::default()
    };
    let lines = SerialLines::start(&SerialSettings { plant, baud_rate }).unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let settings = GatewaySettings::default();
    std::fs::write(dir.path().join("fieldbeat.toml"), format!("[gateway]\nid = {:?}\n", settings.id)).unwrap();
    std::fs::create_dir(dir.path().join("tags")).unwrap();
    lines.write_tags(&dir.path().join("tags")).unwrap();
    let config = config::load(dir.path()).unwrap().config;
    let mut plan = plan::build(&config, &[0]).unwrap().plan;
    // Admission would refuse it: each millisecond another request.
    let ids: Vec<_> = plan.groups.ids().collect();
    ids.into_iter().for_each(|id| plan.groups[id].period = Nanos::from_millis(1));
    for release in plan.executors.iter_mut().flat_map(|executor| &mut executor.releases) {
        (release.period, release.phase) = (Nanos::from_millis(1), Nanos::ZERO);
    }
    let modbus = plan.links[LinkId(0)].protocol.modbus().expect("a Modbus link");
    let line = SerialLine { turnaround: Nanos::ZERO, ..SerialLine::of(&modbus.config).unwrap() };
    let [block] = modbus.blocks() else { panic!("one request") };
    let possible = 1.0 / line.line_time(block.table, block.count).as_secs_f64();
    let mut floor = floor::prepare(Arc::new(plan), Scheduling::Ordinary).unwrap().start();
    std::thread::sleep(Duration::from_millis(500));
    let counters = floor.counters.clone();
    let replies = || counters.link(LinkId(0)).replies.get();
    let (start, before) = (Instant::now(), replies());
    std::thread::sleep(RUN);
    let rate = (replies() - before) as f64 / start.elapsed().as_secs_f64();
    let too_soon = lines.counts(0).too_soon;
    let share = rate / possible * 100.0;
    println!("{baud_rate:>8} {registers:>10} {rate:>12.1} {possible:>12.1} {share:>7.1}% {too_soon:>9}");
    floor.stop();
}
