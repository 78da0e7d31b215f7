//! The whole gateway beside plain blocking loops: 1000 float32 tags on 10 devices at 100 Hz.
//!
//! Four ways in turn, several rounds: the gateway with its MQTT output, a blocking loop on rmodbus, one on libmodbus (both in
//! benches/peers), the gateway without output. Each is a process of its own; so is the plant, with its broker, on the first CPU.
//! Executors and blocking threads run at SCHED_FIFO 80 on the last CPU.
//!
//! `cargo bench --bench gateway -- [--seconds N] [--rounds N]`; the blocking loop must have been built
//! (`cargo build --release -p fieldbeat-peers`), and real-time priority needs root.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const GATEWAY: &str = env!("CARGO_BIN_EXE_fieldbeat");
const PERIOD_US: u64 = 10_000;
/// 100 float32 a device.
const REGISTERS: u64 = 200;

/// One run of one way.
#[derive(Debug, Clone, Default)]
struct Run {
    /// Cycles of devices, skipped and late ones.
    cycles: f64,
    missed: f64,
    floor_cpu_percent: f64,
    process_cpu_percent: f64,
    anonymous_mb: f64,
    /// p50, p99, p99.9, max.
    release_us: [f64; 4],
    issue_us: [f64; 4],
    age_us: [f64; 4],
}

struct Plant {
    child: Child,
    dir: PathBuf,
}

impl Plant {
    fn start() -> Plant {
        let dir = std::env::temp_dir().join(format!("fieldbeat-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let mut command = Command::new(GATEWAY);
        command.args(["plant", "--child", "--float32", "--rate", "100", "--config"]).arg(&dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // SAFETY: sched_setaffinity is async-signal-safe; the set is plain memory.
        unsafe {
            command.pre_exec(|| {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                libc::CPU_SET(0, &mut set);
                match libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let mut child = command.spawn().expect("the plant starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        lines.next().expect("the plant says that it is ready").expect("text");
        thread::spawn(move || lines.for_each(drop));
        Plant { child, dir }
    }

    /// The same configuration without its outputs.
    fn without_output(&self) -> PathBuf {
        let dir = self.dir.join("quiet");
        std::fs::create_dir_all(&dir).expect("a directory");
        let text = std::fs::read_to_string(self.dir.join("fieldbeat.toml")).expect("the plant wrote it");
        let cut = text.find("[outputs").unwrap_or(text.len());
        std::fs::write(dir.join("fieldbeat.toml"), &text[..cut]).expect("writes");
        let tags = dir.join("tags");
        if !tags.exists() {
            std::os::unix::fs::symlink(self.dir.join("tags"), tags).expect("a link");
        }
        dir
    }

    fn addresses(&self) -> Vec<String> {
        (0..)
            .map(|device| self.dir.join(format!("tags/dev{device}.json")))
            .take_while(|path| path.exists())
            .map(|path| {
                let file: Value = serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON");
                let link = &file["links"][0];
                format!("{}:{}", link["host"].as_str().expect("a host"), link["port"])
            })
            .collect()
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn quantiles(of: &Value) -> [f64; 4] {
    ["p50", "p99", "p999", "max"].map(|q| of[q].as_f64().unwrap_or(f64::NAN) / 1e3)
}

/// The most anonymous memory while the process runs.
fn watch(child: &mut Child) -> f64 {
    let path = format!("/proc/{}/status", child.id());
    let mut most: f64 = 0.0;
    while child.try_wait().expect("a child").is_none() {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or("0");
        most = most.max(line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0.0) / 1024.0);
        thread::sleep(Duration::from_millis(200));
    }
    most
}

fn gateway(config: &Path, seconds: u64) -> Run {
    let _ = std::fs::remove_dir_all(config.join("journal"));
    let report = config.join("report.json");
    let log = std::fs::File::create(config.join("log")).expect("a log");
    let mut child = Command::new(GATEWAY)
        .args(["run", "--seconds", &seconds.to_string(), "--config"])
        .arg(config)
        .arg("--report")
        .arg(&report)
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("the gateway starts");
    let anonymous_mb = watch(&mut child);
    assert!(child.wait().expect("a child").success(), "see {}", config.join("log").display());
    let report: Value = serde_json::from_slice(&std::fs::read(report).expect("a report")).expect("JSON");
    let seconds = report["duration_seconds"].as_f64().expect("a duration");
    let process = &report["process"];
    let percent = |key: &str| process[key].as_f64().expect("a time") / seconds * 100.0;
    let sum = |key: &str| -> f64 {
        let scans = report["links"].as_object().expect("links").values();
        scans.flat_map(|l| l["scans"].as_array().expect("scans")).map(|s| s[key].as_f64().expect("a count")).sum()
    };
    let group = report["groups"].as_object().expect("groups").values().next().expect("a group");
    let samples = &report["samples"];
    assert_eq!(samples["produced"], samples["stored"], "the counts add up: {samples}");
    Run {
        cycles: sum("cycles"),
        missed: sum("skipped") + sum("deadline_misses"),
        floor_cpu_percent: percent("executors_cpu_seconds"),
        process_cpu_percent: percent("cpu_seconds"),
        anonymous_mb,
        release_us: quantiles(&group["release_jitter_ns"]),
        issue_us: quantiles(&group["issue_jitter_ns"]),
        age_us: quantiles(&group["sample_age_ns"]),
    }
}

fn last_cpu() -> String {
    (thread::available_parallelism().map_or(1, |n| n.get()) - 1).to_string()
}

fn rmodbus_loop(plant: &Plant, seconds: u64) -> Run {
    let program = Path::new(GATEWAY).with_file_name("blocking-loop");
    if !program.exists() {
        panic!("{} is missing; build it: cargo build --release -p fieldbeat-peers", program.display());
    }
    let mut command = Command::new(program);
    command.args(["--cpu", &last_cpu(), "--seconds", &seconds.to_string()]);
    command.args(["--period-us", &PERIOD_US.to_string(), "--registers", &REGISTERS.to_string()]);
    blocking(command, plant, seconds)
}

fn libmodbus_loop(plant: &Plant, seconds: u64) -> Run {
    let program = plant.dir.join("libmodbus_loop");
    if !program.exists() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/libmodbus_loop.c");
        let mut cc = Command::new("cc");
        let built = cc.args(["-O2", "-o"]).arg(&program).arg(source).args(["-lmodbus", "-lpthread"]).status();
        assert!(built.is_ok_and(|built| built.success()), "needs a C compiler and libmodbus-dev");
    }
    let mut command = Command::new(program);
    command.args([last_cpu(), seconds.to_string(), PERIOD_US.to_string(), REGISTERS.to_string()]);
    blocking(command, plant, seconds)
}

fn blocking(mut command: Command, plant: &Plant, seconds: u64) -> Run {
    command.args(plant.addresses()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the loop starts");
    let anonymous_mb = watch(&mut child);
    let output = child.wait_with_output().expect("output");
    assert!(output.status.success(), "the blocking loop needs real-time priority: run as root");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let number = |key: &str| report[key].as_f64().expect("a number");
    Run {
        cycles: number("cycles"),
        missed: number("skipped") + number("late") + number("errors"),
        floor_cpu_percent: number("threads_cpu_seconds") / seconds as f64 * 100.0,
        process_cpu_percent: number("cpu_seconds") / seconds as f64 * 100.0,
        anonymous_mb,
        release_us: quantiles(&report["release_jitter_ns"]),
        issue_us: quantiles(&report["issue_jitter_ns"]),
        age_us: quantiles(&report["sample_age_ns"]),
    }
}

fn median(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    let mut all: Vec<f64> = runs.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn row(name: &str, ways: &[Vec<Run>; 4], digits: usize, of: impl Fn(&Run) -> f64) {
    let cells: Vec<String> = ways.iter().map(|runs| format!("{:.digits$}", median(runs, &of))).collect();
    println!("| {name} | {} |", cells.join(" | "));
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let number = |name: &str, usual: u64| {
        let at = words.iter().position(|w| w == name);
        at.map_or(usual, |at| words[at + 1].parse().expect("a number"))
    };
    let (seconds, rounds) = (number("--seconds", 30), number("--rounds", 3));
    let started = Instant::now();
    let plant = Plant::start();
    let quiet = plant.without_output();
    let mut ways: [Vec<Run>; 4] = Default::default();
    for round in 0..rounds {
        // Each way comes first, second, third and fourth.
        for turn in 0..4 {
            let way = ((round + turn) % 4) as usize;
            let run = match way {
                0 => gateway(&plant.dir, seconds),
                1 => rmodbus_loop(&plant, seconds),
                2 => libmodbus_loop(&plant, seconds),
                _ => gateway(&quiet, seconds),
            };
            eprintln!(
                "round {round} {}: {:.0} cycles, {:.0} missed, floor {:.2} %, process {:.2} %, {:.1} MB, release {:.0?} µs",
                ["gateway, MQTT", "rmodbus loop", "libmodbus loop", "gateway alone"][way],
                run.cycles,
                run.missed,
                run.floor_cpu_percent,
                run.process_cpu_percent,
                run.anonymous_mb,
                run.release_us
            );
            ways[way].push(run);
        }
    }
    println!(
        "Medians of {rounds} rounds of {seconds} s, {:.0} s in all; CPU in percent of one core.\n",
        started.elapsed().as_secs_f64()
    );
    println!("| | gateway with MQTT | rmodbus loop | libmodbus loop | gateway without output |");
    println!("|---|---|---|---|---|");
    row("cycles of devices", &ways, 0, |r| r.cycles);
    row("missed cycles", &ways, 0, |r| r.missed);
    row("CPU of the executor or of the blocking threads, %", &ways, 2, |r| r.floor_cpu_percent);
    row("CPU of the whole process, %", &ways, 2, |r| r.process_cpu_percent);
    row("anonymous memory at most, MB", &ways, 1, |r| r.anonymous_mb);
    for (at, q) in ["p50", "p99", "p99.9", "max"].into_iter().enumerate() {
        row(&format!("release jitter {q}, µs"), &ways, 1, move |r| r.release_us[at]);
    }
    for (at, q) in ["p50", "p99", "max"].into_iter().zip([0, 1, 3]).map(|(q, at)| (at, q)) {
        row(&format!("issue jitter {q}, µs"), &ways, 1, move |r| r.issue_us[at]);
    }
    for (at, q) in [(0, "p50"), (1, "p99"), (3, "max")] {
        row(&format!("sample age {q}, µs"), &ways, 1, move |r| r.age_us[at]);
    }
    // In one round the ways met the same noise: ratios first, then their median.
    let ratio = |a: usize, peer: usize, of: fn(&Run) -> f64| {
        let mut all: Vec<f64> = ways[a].iter().zip(&ways[peer]).map(|(a, b)| of(a) / of(b)).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!();
    for (way, name) in [(0, "with MQTT"), (3, "without output")] {
        for (peer, loop_name) in [(1, "rmodbus"), (2, "libmodbus")] {
            println!(
                "{name}: executors' CPU {:.2} of the {loop_name} loop's, the whole process {:.2}",
                ratio(way, peer, |r| r.floor_cpu_percent),
                ratio(way, peer, |r| r.process_cpu_percent),
            );
        }
    }
}
