//! `fieldbeat demo`: the whole way on one machine. A plant and a broker in a child process, the gateway here,
//! a line a second, a summary in the end.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Args;

use super::plant::{PlantLine, PlantShape};
use super::signals::StopSignals;
use super::{print, run};
use crate::lane::LinkState;
use crate::plant::can;
use crate::serve::{PolledReport, RunReport};
use crate::supervise::Gateway;

#[derive(Args)]
pub struct DemoArgs {
    /// Stop after so many seconds, instead of at Ctrl-C.
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// Write timing, counts and sample totals as JSON when it ends.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Keep configuration and journal in this directory, instead of deleting them at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The simulated devices. full adds a serial line, and nodes on vcan0 if this machine has it.
    #[arg(long, value_enum, default_value_t = PlantKind::Modbus)]
    plant: PlantKind,
    #[command(flatten)]
    shape: PlantShape,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PlantKind {
    /// Modbus TCP devices.
    Modbus,
    /// Every kind of device that this machine can simulate.
    Full,
}

/// Where the full plant's CAN and CANopen nodes live. Never on hardware that nobody named.
const CAN_INTERFACE: &str = "vcan0";

impl DemoArgs {
    /// The plant that is asked for; says what of it can't be had.
    fn whole_shape(&self) -> PlantShape {
        let mut shape = self.shape.clone();
        if self.plant == PlantKind::Full {
            shape.serial = shape.serial.max(1);
            if shape.can.is_none() && shape.canopen.is_none() {
                match can::check(CAN_INTERFACE) {
                    Ok(()) => (shape.can, shape.canopen) = (Some(CAN_INTERFACE.into()), Some(CAN_INTERFACE.into())),
                    Err(why) => out!("the plant runs without CAN and CANopen: {why}"),
                }
            }
        }
        shape
    }
}

/// The plant's process; it ends when its input is closed.
struct PlantProcess {
    child: Child,
    input: Option<ChildStdin>,
    latest: Arc<Mutex<PlantLine>>,
}

/// A directory that is removed at the end, unless it was asked for by name.
struct Workplace {
    dir: PathBuf,
    temporary: bool,
}

pub fn demo(args: &DemoArgs) -> ExitCode {
    let signals = StopSignals::block();
    print::end_by_signal();
    let shape = args.whole_shape();
    // The plant's process would say it too, but later.
    if let Err(code) = shape.faults().and_then(|_| shape.can_nodes()) {
        return code;
    }
    let place = match Workplace::new(args.dir.as_deref()) {
        Ok(place) => place,
        Err(error) => return super::fail(super::EXIT_FAILED, format!("error: no directory for the demo: {error}")),
    };
    let plant = match PlantProcess::start(&place.dir, &shape) {
        Ok(plant) => plant,
        Err(error) => return super::fail(super::EXIT_FAILED, format!("error: the plant does not start: {error}")),
    };
    let gateway = match run::start(&place.dir) {
        Ok(gateway) => gateway,
        Err(code) => return code,
    };
    if let Some(broker) = plant.latest().broker {
        let port = broker.port();
        tracing::info!("plant's broker on mqtt://{broker}; watch it with: mosquitto_sub -p {port} -t 'fieldbeat/#' -v");
    }
    let end = args.seconds.map(|s| Instant::now() + Duration::from_secs_f64(s.clamp(0.0, 1e9)));
    let mut screen = Screen::new();
    let (gateway, trouble) = run::look_after(gateway, &signals, end, |gateway| screen.tick(gateway, &plant));
    let executors = gateway.observed.plan().executors().count();
    let ended = run::end_of(gateway, trouble.as_ref());
    summary(&ended.report, executors);
    let code = run::finish(&ended, args.report.as_deref(), trouble);
    drop(plant);
    drop(place);
    code
}

impl Workplace {
    fn new(wanted: Option<&Path>) -> std::io::Result<Workplace> {
        let (dir, temporary) = match wanted {
            Some(dir) => (dir.to_owned(), false),
            None => (std::env::temp_dir().join(format!("fieldbeat-demo-{}", std::process::id())), true),
        };
        std::fs::create_dir_all(&dir)?;
        Ok(Workplace { dir, temporary })
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

impl PlantProcess {
    /// Starts it and waits until it is ready.
    fn start(dir: &Path, shape: &PlantShape) -> std::io::Result<PlantProcess> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("plant").arg("--child").arg("--config").arg(dir);
        command.args(["--devices", &shape.devices.to_string(), "--tags", &shape.tags.to_string()]);
        if let Some(rate) = shape.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        if shape.float32 {
            command.arg("--float32");
        }
        command.args(["--serial", &shape.serial.to_string(), "--serial-baud", &shape.serial_baud.to_string()]);
        for fault in &shape.faults {
            command.args(["--fault", fault]);
        }
        for fault in &shape.can_faults {
            command.args(["--can-fault", fault]);
        }
        for (option, interface) in [("--can", &shape.can), ("--canopen", &shape.canopen)] {
            command.args(interface.iter().flat_map(|name| [option, name.as_str()]));
        }
        command.args(["--canopen-node", &shape.canopen_node.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| std::io::Error::other("it has no output"))?;
        let mut lines = BufReader::new(output).lines();
        let first = lines.next().ok_or_else(|| std::io::Error::other("it exited immediately; see above"))??;
        let latest: PlantLine = serde_json::from_str(&first)?;
        let latest = Arc::new(Mutex::new(latest));
        let shared = latest.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let (Ok(line), Ok(mut latest)) = (serde_json::from_str(&line), shared.lock()) {
                    *latest = line;
                }
            }
        });
        Ok(PlantProcess { child, input, latest })
    }

    fn latest(&self) -> PlantLine {
        self.latest.lock().map(|line| line.clone()).unwrap_or_default()
    }
}

impl Drop for PlantProcess {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// A line a second.
struct Screen {
    started: Instant,
    next: Instant,
    lines: u64,
    produced: u64,
    cycles: u64,
    messages: u64,
    at: Instant,
}

impl Screen {
    fn new() -> Screen {
        let now = Instant::now();
        Screen {
            started: now,
            next: now + Duration::from_secs(1),
            lines: 0,
            produced: 0,
            cycles: 0,
            messages: 0,
            at: now,
        }
    }

    fn tick(&mut self, gateway: &Gateway, plant: &PlantProcess) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next += Duration::from_secs(1);
        if self.lines.is_multiple_of(20) {
            out!(
                "{:>5} {:>9} {:>10} {:>6} {:>22} {:>14} {:>6} {:>16} {:>20} {:>7} {:>7}",
                "time",
                "scans/s",
                "samples/s",
                "missed",
                "jitter µs p50/p99/max",
                "age ms p50/p99",
                "ring",
                "journal",
                "mqtt msg/s (behind)",
                "links",
                "faults"
            );
        }
        self.lines += 1;
        let observed = &gateway.observed;
        let plan = observed.plan();
        let seconds = (now - self.at).as_secs_f64();
        self.at = now;
        let (cycles, missed) = plan.scans.ids().fold((0, 0), |(cycles, missed), scan| {
            let scan = observed.counters.scan(scan);
            (cycles + scan.cycles.get(), missed + scan.deadline_misses.get() + scan.skipped.get())
        });
        let produced = observed.counters.produced();
        let timing = gateway.report();
        let jitter = worst(&timing, |g| [g.release_jitter_ns.p50, g.release_jitter_ns.p99, g.release_jitter_ns.max]);
        let age = worst(&timing, |g| [g.sample_age_ns.p50, g.sample_age_ns.p99, 0]);
        let ring = observed.rings.iter().map(|view| view()).map(|r| r.used as f64 / r.capacity.max(1) as f64);
        let journal = (observed.journal)();
        let up = plan.links.ids().filter(|id| observed.counters.link(*id).state() == LinkState::Up).count();
        let behind: u64 = observed.outputs.iter().map(|(_, view)| view().lag).sum();
        let line = plant.latest();
        out!(
            "{:>4}s {:>9.0} {:>10.0} {:>6} {:>22} {:>14} {:>5.1}% {:>16} {:>20} {:>7} {:>7}",
            (now - self.started).as_secs(),
            (cycles - self.cycles) as f64 / seconds,
            (produced - self.produced) as f64 / seconds,
            missed,
            format!("{:.0}/{:.0}/{:.0}", jitter[0] as f64 / 1e3, jitter[1] as f64 / 1e3, jitter[2] as f64 / 1e3),
            format!("{:.2}/{:.2}", age[0] as f64 / 1e6, age[1] as f64 / 1e6),
            ring.fold(0.0, f64::max) * 100.0,
            format!("{:.1} MB", journal.bytes as f64 / 1e6),
            format!("{:.0} ({behind})", (line.messages - self.messages.min(line.messages)) as f64 / seconds),
            format!("{up}/{}", plan.links.len()),
            line.faults,
        );
        (self.cycles, self.produced, self.messages) = (cycles, produced, line.messages);
    }
}

/// The largest of each figure over the groups.
fn worst<const N: usize>(report: &RunReport, figures: impl Fn(&PolledReport) -> [u64; N]) -> [u64; N] {
    report.groups.values().filter_map(|group| group.polled.as_ref()).map(figures).fold([0; N], |mut worst, new| {
        for (w, n) in worst.iter_mut().zip(new) {
            *w = (*w).max(n);
        }
        worst
    })
}

fn summary(report: &RunReport, executors: usize) {
    out!(
        "\n{:<10} {:>9} {:>8} {:>7} {:>8} {:>24} {:>24}",
        "group",
        "period",
        "cycles",
        "skipped",
        "missed",
        "release jitter µs",
        "sample age µs"
    );
    out!("{:<10} {:>9} {:>8} {:>7} {:>8} {:>24} {:>24}", "", "", "", "", "", "p50 / p99 / max", "p50 / p99 / max");
    for (name, group) in &report.groups {
        let Some(group) = &group.polled else { continue };
        let quantiles = |q: &crate::serve::Quantiles| {
            format!("{:.0} / {:.0} / {:.0}", q.p50 as f64 / 1e3, q.p99 as f64 / 1e3, q.max as f64 / 1e3)
        };
        out!(
            "{name:<10} {:>6} ms {:>8} {:>7} {:>8} {:>24} {:>24}",
            group.period_ns / 1_000_000,
            group.cycles,
            group.skipped,
            group.deadline_misses,
            quantiles(&group.release_jitter_ns),
            quantiles(&group.sample_age_ns)
        );
    }
    let samples = &report.samples;
    let closes = samples.produced == samples.stored + samples.dropped + samples.suppressed;
    out!(
        "\nsamples: {} produced = {} stored + {} dropped + {} suppressed: {}",
        samples.produced,
        samples.stored,
        samples.dropped,
        samples.suppressed,
        if closes { "the counts add up" } else { "THE COUNTS DO NOT ADD UP" }
    );
    for (name, output) in &report.outputs {
        out!("output {name}: {} samples acknowledged, {} pending", output.acked, output.pending);
    }
    out!(
        "process: {:.1} s CPU in {:.1} s on {executors} executor(s), {:.1} MB anonymous memory",
        report.process.cpu_seconds,
        report.duration_seconds,
        report.process.anonymous_bytes as f64 / 1e6
    );
}
