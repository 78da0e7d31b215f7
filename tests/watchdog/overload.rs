//! More work than the machine has time for, on one CPU: what is late is skipped and counted, the watchdog stays
//! quiet, and the gateway can be reached.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fieldbeat::plant::{GatewaySettings, Plant, PlantConfig, Profile, ScanRates};
use fieldbeat::tag::Nanos;
use serde_json::Value as Json;

use crate::peers::Killed;
use crate::rig::{Ended, PROGRAM, Site, http_get};
use crate::stall::one_at_a_time;

/// What a person or a scraper waits at most.
const REACHABLE: Duration = Duration::from_secs(4);
const DEVICES: usize = 24;

fn last_cpu() -> u32 {
    *fieldbeat::rt::thread::default_cpus().last().unwrap()
}

/// A program that runs on one CPU; `more` stands before its own name.
fn on_cpu(cpu: u32, more: &[&str], program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &cpu.to_string()]).args(more).arg(program);
    command
}

/// Work that never ends, at ordinary priority.
fn busy(cpu: u32) -> Killed {
    Killed(on_cpu(cpu, &[], "sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap())
}

/// Runs a gateway on the plant's own CPU for a few seconds, and asks it for its health and its metrics all the
/// time.
fn run(site: &Site, cpu: u32, more: &[&str]) -> Ended {
    let mut gateway = site.run_as(on_cpu(cpu, more, PROGRAM), &[]);
    let metrics = gateway.metrics();
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        for (path, part) in [("/health", "\"links\""), ("/metrics", "fieldbeat_")] {
            let asked = Instant::now();
            let (_, body) = http_get(&metrics, path);
            assert!(body.contains(part), "{path}: {body}");
            assert!(asked.elapsed() < REACHABLE, "{path} took {:?}", asked.elapsed());
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    gateway.stop()
}

fn plant(cpu: u32) -> Plant {
    Plant::start(PlantConfig {
        devices: DEVICES,
        profile: Profile::Float32 { tags_per_device: 10 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(1)),
        cpu: Some(cpu as usize),
        ..PlantConfig::default()
    })
    .unwrap()
}

fn settings(cpu: u32) -> GatewaySettings {
    GatewaySettings {
        cores: Some(vec![cpu]),
        journal_path: Some("journal".into()),
        journal_bytes_max: Some(256 << 20),
        metrics_listen: Some("127.0.0.1:0".into()),
        overload: true,
        ..GatewaySettings::default()
    }
}

fn sum(ended: &Ended, key: &str) -> u64 {
    let links = ended.report["links"].as_object().unwrap();
    let scans = links.values().flat_map(|link| link["scans"].as_array().unwrap());
    scans.map(|scan: &Json| scan[key].as_u64().unwrap()).sum()
}

/// At most one request a cycle went out on each link, and no cycle came twice in a period.
fn assert_no_burst(ended: &Ended) {
    let periods = (ended.report["duration_seconds"].as_f64().unwrap() * 1000.0) as u64 + 2;
    for (name, link) in ended.report["links"].as_object().unwrap() {
        let cycles = link["scans"][0]["cycles"].as_u64().unwrap();
        assert!(link["requests"].as_u64().unwrap() <= cycles, "{name}: {link}");
        assert!(cycles + link["scans"][0]["skipped"].as_u64().unwrap() <= periods, "{name}: {periods}, {link}");
    }
}

#[test]
fn more_requests_than_the_cpu_has_time_for_are_missed_and_counted() {
    let _one = one_at_a_time();
    let cpu = last_cpu();
    let plant = plant(cpu);
    let site = Site::of(&plant, &settings(cpu));
    let ended = run(&site, cpu, &[]);
    ended.assert_clean();
    assert!(!ended.log.contains("stalled for"), "{}", ended.log);
    let (cycles, missed) = (sum(&ended, "cycles"), sum(&ended, "skipped") + sum(&ended, "deadline_misses"));
    assert!(missed > cycles / 100, "no overload: {missed} of {cycles} cycles were missed or skipped");
    assert_no_burst(&ended);
}

#[test]
fn an_executor_that_gets_too_little_time_skips_releases_and_makes_up_for_none() {
    let _one = one_at_a_time();
    let cpu = last_cpu();
    let plant = plant(cpu);
    let site = Site::of(&plant, &settings(cpu));
    let _work = [busy(cpu), busy(cpu), busy(cpu)];
    // Without the right to a priority: an ordinary thread among others.
    let ended = run(&site, cpu, &["setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice"]);
    ended.assert_clean();
    assert!(ended.log.contains("executor has no SCHED_FIFO"), "{}", ended.log);
    assert!(!ended.log.contains("stalled for"), "{}", ended.log);
    let (cycles, skipped) = (sum(&ended, "cycles"), sum(&ended, "skipped"));
    assert!(skipped > cycles / 10, "no overload: {skipped} skipped, {cycles} cycles");
    assert_no_burst(&ended);
}
