//! How much of a serial line's time is used: a line that always has a request waiting, over a pseudo terminal whose
//! bytes take their time, against the most that the frames and their silences allow.
//!
//! Where time is lost is told apart by clocks at each hop. The line's own figure is how long it stood idle beyond the
//! silence; of that, the executor's part is from taking a reply to putting the next request on the wire, less the
//! silence. The rest is the way through the pseudo terminal and the wake-up on the reply: a UART has that, too.

#![allow(clippy::unwrap_used, reason = "a benchmark stops where it fails")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use fieldbeat::config::{self, Guard};
use fieldbeat::plan::{self, LinkProtocolPlan, SerialLine};
use fieldbeat::plant::{GatewaySettings, LineCounts, PlantConfig, Profile, ScanRates, SerialLines, SerialSettings};
use fieldbeat::rt::{Report, thread};
use fieldbeat::supervise::floor::{self, Floor, Scheduling};
use fieldbeat::tag::{LinkId, Nanos};

const RUN: Duration = Duration::from_secs(5);
/// The executor's, as `realtime.priority` has it, and the line's below it.
const PRIORITY: u8 = 80;
const LINE_PRIORITY: u8 = 70;

fn main() {
    let real_time = thread::try_fifo(PRIORITY).is_ok();
    if !real_time {
        println!("no SCHED_FIFO here: executor and line are ordinary threads, whose wake-ups are late");
    }
    println!(
        "{:>8} {:>10} {:>12} {:>12} {:>8} {:>9} {:>30} {:>10}",
        "baud",
        "registers",
        "requests/s",
        "possible/s",
        "share",
        "too soon",
        "lost µs a request (executor's)",
        "late µs"
    );
    for baud_rate in [19_200, 115_200] {
        for registers in [2, 20, 120] {
            run(baud_rate, registers, real_time);
        }
    }
}

fn run(baud_rate: u32, registers: usize, real_time: bool) {
    let plant = PlantConfig {
        devices: 1,
        profile: Profile::Float32 { tags_per_device: registers / 2 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(1000)),
        cpu: Some(0),
        ..PlantConfig::default()
    };
    let exact = real_time.then_some(LINE_PRIORITY);
    let lines = SerialLines::start(&SerialSettings { plant, baud_rate, exact }).unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let settings = GatewaySettings::default();
    std::fs::write(dir.path().join("fieldbeat.toml"), format!("[gateway]\nid = {:?}\n", settings.id)).unwrap();
    std::fs::create_dir(dir.path().join("tags")).unwrap();
    lines.write_tags(&dir.path().join("tags")).unwrap();
    let config = config::load(dir.path()).unwrap().config;
    let mut plan = plan::build(&config, &thread::default_cpus()).unwrap().plan;
    // Admission would refuse it: each millisecond another request.
    let ids: Vec<_> = plan.groups.ids().collect();
    ids.into_iter().for_each(|id| plan.groups[id].period = Nanos::from_millis(1));
    for release in plan.executors.iter_mut().flat_map(|executor| &mut executor.releases) {
        (release.period, release.phase) = (Nanos::from_millis(1), Nanos::ZERO);
    }
    let LinkProtocolPlan::Modbus(modbus) = &plan.links[LinkId(0)].protocol;
    let line = SerialLine { turnaround: Nanos::ZERO, ..SerialLine::of(&modbus.config).unwrap() };
    let [block] = modbus.blocks() else { panic!("one request") };
    let possible = 1.0 / line.line_time(block.table, block.count).as_secs_f64();
    let scheduling = match real_time {
        true => Scheduling::RealTime { priority: PRIORITY, guard: Guard::Auto },
        false => Scheduling::Ordinary,
    };
    let mut floor = floor::prepare(Arc::new(plan), scheduling).unwrap().start();
    std::thread::sleep(Duration::from_millis(500));
    let counters = floor.counters.clone();
    let replies = || counters.link(LinkId(0)).replies.get();
    pauses(&mut floor, line.silence());
    let (start, before, lost) = (Instant::now(), replies(), lines.counts(0));
    std::thread::sleep(RUN);
    let rate = (replies() - before) as f64 / start.elapsed().as_secs_f64();
    let counts = lines.counts(0);
    let share = rate / possible * 100.0;
    let each = |of: fn(&LineCounts) -> u64| {
        (of(&counts) - of(&lost)) as f64 / (counts.replies - lost.replies).max(1) as f64 / 1e3
    };
    let lost = format!("{:.0} ({:.0})", each(|c| c.idle_ns), pauses(&mut floor, line.silence()));
    println!(
        "{baud_rate:>8} {registers:>10} {rate:>12.1} {possible:>12.1} {share:>7.1}% {:>9} {lost:>30} {:>10.0}",
        counts.too_soon,
        each(|c| c.late_ns)
    );
    floor.stop();
}

/// From each reply to the next request, less the silence: the mean in microseconds of what was told so far.
fn pauses(floor: &mut Floor, silence: Nanos) -> f64 {
    let (mut sum, mut count, mut taken) = (0.0, 0.0, None);
    while let Ok(report) = floor.reports[0].pop() {
        match report {
            Report::Finished { received, .. } => taken = Some(received),
            Report::Issued { sent, .. } => {
                if let Some(taken) = taken.take() {
                    sum += sent.since(taken + silence).0 as f64 / 1e3;
                    count += 1.0;
                }
            }
            Report::Released { .. } => {}
        }
    }
    if count > 0.0 { sum / count } else { 0.0 }
}
