//! How much of a serial line's time is used: a line that always has a request waiting, over a pseudo terminal whose
//! bytes take their time, against the most that the frames and their silences allow.
//!
//! Where time is lost is told apart by clocks at each hop. The line's own figure is how long it stood idle beyond the
//! silence; of that, the executor's part is from taking a reply to putting the next request on the wire, less the
//! silence. The rest is the way through the pseudo terminal and the wake-up on the reply: a UART has that, too.

#![allow(clippy::unwrap_used, reason = "a benchmark stops where it fails")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use fieldbeat::config::{Guard, Pace};
use fieldbeat::plant::{GatewaySettings, LineCounts, PlantConfig, Profile, ScanRates, SerialLines, SerialSettings};
use fieldbeat::protocol;
use fieldbeat::protocol::modbus::line_time::SerialLine;
use fieldbeat::protocol::modbus::plan::ModbusPlan;
use fieldbeat::rt::{Report, thread};
use fieldbeat::supervise::floor::{self, Floor, Scheduling};
use fieldbeat::tag::{LinkId, Nanos};

const RUN: Duration = Duration::from_secs(5);
/// The executor's, as `realtime.priority` has it, and the line's below it.
const PRIORITY: u8 = 80;
const LINE_PRIORITY: u8 = 70;
const LINES_MAX: usize = 4;

fn main() {
    let real_time = thread::try_fifo(PRIORITY).is_ok();
    if !real_time {
        println!("no SCHED_FIFO here: executor and line are ordinary threads, whose wake-ups are late");
    }
    println!(
        "{:>8} {:>6} {:>10} {:>12} {:>12} {:>8} {:>9} {:>30} {:>8} {:>14}",
        "baud",
        "lines",
        "registers",
        "requests/s",
        "possible/s",
        "share",
        "too soon",
        "lost µs a request (executor's)",
        "late µs",
        "executor CPU %"
    );
    for baud_rate in [19_200, 115_200] {
        for registers in [2, 20, 120] {
            run(Line { baud_rate, registers, lines: 1 }, real_time);
        }
    }
    // More lines on one executor, which wakes for every 16 bytes of each.
    for lines in [2, 4] {
        run(Line { baud_rate: 115_200, registers: 120, lines }, real_time);
    }
}

struct Line {
    baud_rate: u32,
    registers: usize,
    lines: usize,
}

fn run(of: Line, real_time: bool) {
    let Line { baud_rate, registers, lines: count } = of;
    let plant = PlantConfig {
        devices: count,
        profile: Profile::Float32 { tags_per_device: registers / 2 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(1000)),
        cpu: Some(0),
        ..PlantConfig::default()
    };
    let exact = real_time.then_some(LINE_PRIORITY);
    let dir = tempfile::TempDir::new().unwrap();
    let lines =
        SerialLines::start(&SerialSettings { plant, baud_rate, ports: dir.path().join("ports"), exact }).unwrap();
    let settings = GatewaySettings::default();
    std::fs::write(dir.path().join("fieldbeat.toml"), format!("[gateway]\nid = {:?}\n", settings.id)).unwrap();
    std::fs::create_dir(dir.path().join("tags")).unwrap();
    lines.write_tags(&dir.path().join("tags")).unwrap();
    let config = protocol::load(dir.path()).unwrap().config;
    let mut plan = protocol::build(&config, &thread::default_cpus()).unwrap().plan;
    // Admission would refuse it: each millisecond another request.
    let ids: Vec<_> = plan.groups.ids().collect();
    ids.into_iter().for_each(|id| plan.groups[id].pace = Pace::Every(Nanos::from_millis(1)));
    for release in plan.lanes.iter_mut().flat_map(|executor| &mut executor.releases) {
        (release.period, release.phase) = (Nanos::from_millis(1), Nanos::ZERO);
    }
    let modbus = plan.links[LinkId(0)].protocol.get::<ModbusPlan>().expect("a Modbus link");
    let line = SerialLine { turnaround: Nanos::ZERO, ..SerialLine::of(&modbus.config).unwrap() };
    let [block] = modbus.blocks() else { panic!("one request") };
    let possible = count as f64 / line.line_time(block.table, block.count).as_secs_f64();
    let scheduling = match real_time {
        true => Scheduling::RealTime { priority: PRIORITY, guard: Guard::Auto },
        false => Scheduling::Ordinary,
    };
    let began = Instant::now();
    let mut floor = floor::prepare(Arc::new(plan), scheduling).unwrap().start();
    std::thread::sleep(Duration::from_millis(500));
    let counters = floor.counters.clone();
    let replies = || (0..count).map(|link| counters.link(LinkId(link as u16)).replies.get()).sum::<u64>();
    let silence = line.silence();
    pauses(&mut floor, silence);
    let (start, before, lost) = (Instant::now(), replies(), sum_of(&lines, count));
    std::thread::sleep(RUN);
    let rate = (replies() - before) as f64 / start.elapsed().as_secs_f64();
    let now = sum_of(&lines, count);
    let own = pauses(&mut floor, silence);
    floor.stop();
    let cpu = counters.lanes[0].cpu_ns.get() as f64 / began.elapsed().as_nanos() as f64 * 100.0;
    let share = rate / possible * 100.0;
    let each = |now: u64, before: u64| (now - before) as f64 / rate / RUN.as_secs_f64() / 1e3;
    let lost_us = format!("{:.0} ({own:.0})", each(now.idle_ns, lost.idle_ns));
    println!(
        "{baud_rate:>8} {count:>6} {registers:>10} {rate:>12.1} {possible:>12.1} {share:>7.1}% {:>9} {lost_us:>30} \
         {:>8.0} {cpu:>14.1}",
        now.too_soon,
        each(now.late_ns, lost.late_ns)
    );
}

fn sum_of(lines: &SerialLines, count: usize) -> LineCounts {
    (0..count).map(|line| lines.counts(line)).fold(LineCounts::default(), |sum, line| LineCounts {
        too_soon: sum.too_soon + line.too_soon,
        idle_ns: sum.idle_ns + line.idle_ns,
        late_ns: sum.late_ns + line.late_ns,
        ..sum
    })
}

/// From each reply to the next request, less the silence: the mean in microseconds of what was told so far.
fn pauses(floor: &mut Floor, silence: Nanos) -> f64 {
    let (mut sum, mut count, mut taken) = (0.0, 0.0, [None; LINES_MAX]);
    while let Ok(report) = floor.reports[0].pop() {
        match report {
            Report::Finished { link, received, .. } => taken[link.index()] = Some(received),
            Report::Issued { link, sent, .. } => {
                if let Some(taken) = taken[link.index()].take() {
                    sum += sent.since(taken + silence).0 as f64 / 1e3;
                    count += 1.0;
                }
            }
            Report::Released { .. } | Report::Node { .. } => {}
        }
    }
    if count > 0.0 { sum / count } else { 0.0 }
}
