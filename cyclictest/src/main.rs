//! How late Fieldbeat's executor wakes, beside rt-tests' cyclictest, with a gate per board.
//!
//! | file | subject |
//! |---|---|
//! | `options` | what people type |
//! | `probe` | Fieldbeat's own wake-up, measured with the floor itself |
//! | `cyclictest` | rt-tests' cyclictest: run and read |
//! | `load`, `own_load` | work for the other CPUs |
//! | `histogram` | counted latencies and their quantiles |
//! | `gate` | limits by board |
//! | `report`, `plot` | table, JSON, SVG |
//! | `machine` | the machine, and which of its CPUs do what |
//! | `child`, `stop` | nothing is left behind |
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | measured, and the gate, where one was asked for, passed |
//! | 1 | measured, and the gate failed or the run is not comparable |
//! | 2 | the command line or the gate file is wrong; nothing was started |
//! | 3 | measuring failed |
//! | 130 | interrupted: no result is written |

mod child;
mod cyclictest;
mod gate;
mod histogram;
mod load;
mod machine;
mod options;
mod own_load;
mod plot;
mod probe;
mod report;
mod stop;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use fieldbeat::rt::thread::{default_cpus, hold_cpu_awake};

use cyclictest::Cyclictest;
use gate::{Judged, Limits};
use load::Loads;
use machine::{Machine, Places};
use options::{LoadKind, Options};
use report::{Report, Turns};
use stop::Stop;

const EXIT_NO: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_FAILED: u8 = 3;
const EXIT_INTERRUPTED: u8 = 130;
/// Loads come up to speed.
const LOAD_SETTLES: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == load::OWN_LOAD_WORD) {
        return match own_load::run(&words[1..]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(EXIT_FAILED, error),
        };
    }
    let options = Options::parse();
    let machine = Machine::this();
    let cpus = options.cpus.clone().map_or_else(default_cpus, |cpus| cpus.0);
    let places = match Places::choose(&cpus, &machine, &child::allowed_cpus()) {
        Ok(places) => places,
        Err(what) => return fail(EXIT_USAGE, what),
    };
    let limits = match limits(&options) {
        Ok(limits) => limits,
        Err(what) => return fail(EXIT_USAGE, what),
    };
    let stop = Stop::block();
    child::stay_on(&places.others);
    match measure_and_tell(&options, machine, &places, limits, &stop) {
        Ok(code) => code,
        Err(error) => fail(EXIT_FAILED, error),
    }
}

/// Says what went wrong, on standard error.
fn fail(code: u8, what: impl std::fmt::Display) -> ExitCode {
    eprintln!("fieldbeat-latency: {what}");
    ExitCode::from(code)
}

/// The limits of the board that was named.
fn limits(options: &Options) -> Result<Option<Limits>, String> {
    let Some(board) = &options.board else { return Ok(None) };
    let Some(path) = &options.gate else {
        return gate::limits_of(board, gate::BUILT_IN, "built-in cyclictest/gate.toml").map(Some);
    };
    let name = path.display().to_string();
    let of = |error: io::Error| format!("{name}: {error}");
    let length = std::fs::metadata(path).map_err(of)?.len();
    if length > gate::GATE_FILE_BYTES_MAX {
        return Err(format!("{name}: {length} bytes; a gate file has at most {}", gate::GATE_FILE_BYTES_MAX));
    }
    gate::limits_of(board, &std::fs::read_to_string(path).map_err(of)?, &name).map(Some)
}

fn measure_and_tell(
    options: &Options,
    machine: Machine,
    places: &Places,
    limits: Option<Limits>,
    stop: &Stop,
) -> io::Result<ExitCode> {
    let mut notes = notes(options, &machine, places);
    let cyclictest = if options.own_probe_only { None } else { Cyclictest::find() };
    match &cyclictest {
        Some(found) => notes.push(format!("beside cyclictest {} of rt-tests", found.version)),
        None if options.own_probe_only => notes.push("Fieldbeat's own probe only, as requested".to_owned()),
        None => notes.push(
            "cyclictest is not installed: Fieldbeat's own probe only (Debian: apt-get install rt-tests)".to_owned(),
        ),
    }
    println!("{}, {}, CPUs {}", machine.kernel, machine.cpu_model, machine.online_cpus);
    notes.iter().for_each(|note| println!("note: {note}"));
    let measured = measure(options, places, cyclictest.as_ref(), stop)?;
    let Some(Measured { turns, missing, more_notes }) = measured else {
        return Ok(fail(EXIT_INTERRUPTED, "interrupted; no result is written"));
    };
    notes.extend(more_notes);
    let probe = report::together(&turns.probe);
    let seconds = options.turns().0 * options.turns().1;
    let verdict = limits.zip(options.board.as_ref()).map(|(limits, board)| {
        limits.judge(board, &Judged { by_cpu: &probe, load: options.load, seconds, missing: &missing })
    });
    let report = Report {
        program: format!("fieldbeat-latency {}", env!("CARGO_PKG_VERSION")),
        machine,
        options: shown_options(options, places),
        missing,
        notes,
        results: report::rows(&turns),
        ratios: report::ratios(&turns),
        guards_us: turns
            .guards
            .iter()
            .map(|(cpu, all)| (*cpu, all.iter().map(|g| g.0 as f64 / 1e3).collect()))
            .collect(),
        probe_cpu_percent: turns
            .cpu_time
            .iter()
            .map(|(cpu, time)| (*cpu, time.as_secs_f64() * 100.0 / seconds as f64))
            .collect(),
        gate: verdict,
    };
    print!("{}", report.table());
    write_files(options, &report, &turns)?;
    Ok(match &report.gate {
        Some(verdict) => {
            print!("{}", verdict.table());
            if verdict.pass { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NO) }
        }
        None => ExitCode::SUCCESS,
    })
}

/// What the reader should know before the figures.
fn notes(options: &Options, machine: &Machine, places: &Places) -> Vec<String> {
    let mut notes = Vec::new();
    if !machine.preempt_rt {
        notes.push("this kernel is not PREEMPT_RT: its latency is unbounded".to_owned());
    }
    if machine.isolated_cpus.is_empty() {
        notes.push("no CPU is isolated: other threads also run on the measured CPUs".to_owned());
    }
    if options.load != LoadKind::None && places.others.is_empty() {
        notes.push("all CPUs are measured: the load runs on the same CPUs, at normal priority".to_owned());
    }
    if options.load.parts().contains(&LoadKind::Inference) {
        notes.push("the inference load is matrix multiplications in place of a model".to_owned());
    }
    notes
}

fn shown_options(options: &Options, places: &Places) -> BTreeMap<&'static str, serde_json::Value> {
    let (turns, turn_seconds) = options.turns();
    let guard = match options.guard {
        fieldbeat::config::Guard::Auto => "auto".into(),
        fieldbeat::config::Guard::Fixed(guard) => (guard.0 as f64 / 1e3).into(),
    };
    BTreeMap::from([
        ("turns", turns.into()),
        ("turn_seconds", turn_seconds.into()),
        ("cpus", places.measured.clone().into()),
        ("other_cpus", places.others.clone().into()),
        ("load", options.load.name().into()),
        ("priority", options.priority.into()),
        ("period_us", options::PERIOD_US.into()),
        ("guard_us", guard),
    ])
}

/// All turns, and what was found missing.
struct Measured {
    turns: Turns,
    missing: Vec<String>,
    more_notes: Vec<String>,
}

/// A directory of our own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> io::Result<Scratch> {
        let path = std::env::temp_dir().join(format!("fieldbeat-latency-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Measures in turns. `None`: interrupted.
fn measure(
    options: &Options,
    places: &Places,
    cyclictest: Option<&Cyclictest>,
    stop: &Stop,
) -> io::Result<Option<Measured>> {
    let (turns_count, turn_seconds) = options.turns();
    let scratch = cyclictest.map(|_| Scratch::make()).transpose()?;
    let mut measured = Measured { turns: Turns::default(), missing: Vec::new(), more_notes: Vec::new() };
    // Held all the time, as cyclictest does while it runs: both find the CPUs in the same state.
    let awake = hold_cpu_awake();
    if let Err(missing) = &awake {
        // A kernel without the file has no deep states to keep out of, or other means; that can't be mended here.
        match Path::new("/dev/cpu_dma_latency").exists() {
            true => measured.missing.push(missing.to_string()),
            false => measured.more_notes.push(missing.to_string()),
        }
    }
    let pause = |time| stop.pause(time);
    let load_dir = options.load_dir.clone().unwrap_or_else(std::env::temp_dir);
    let most = turns_count * (turn_seconds * 2 + 30) + 60;
    let mut loads = Loads::start(options.load, &places.others, most, &load_dir)?;
    if options.load != LoadKind::None {
        let note = format!("load {} by {} on CPUs {}", options.load.name(), loads.by, machine::words(&places.others));
        println!("note: {note}");
        measured.more_notes.push(note);
        if pause(LOAD_SETTLES) {
            return Ok(None);
        }
    }
    let run = cyclictest::Run {
        seconds: turn_seconds,
        priority: options.priority,
        cpus: places.measured.clone(),
        is_all_cpus: places.is_all,
        other_cpus: places.others.clone(),
    };
    let mut beside = cyclictest;
    for turn in 0..turns_count {
        // Each comes first as often as the other.
        for tool in [turn % 2, (turn + 1) % 2] {
            match (tool, beside.zip(scratch.as_ref())) {
                (0, _) => {
                    let probed = probe::run(&places.measured, options.priority, options.guard, turn_seconds, &pause)?;
                    let Some(probed) = probed else { return Ok(None) };
                    measured.add(probed);
                }
                (_, Some((cyclictest, scratch))) => match cyclictest.run(&run, &scratch.0, &pause) {
                    Ok(Some(by_cpu)) => measured.turns.cyclictest.push(by_cpu),
                    Ok(None) => return Ok(None),
                    // What the probe goes without, cyclictest may refuse to go without.
                    Err(error) if !measured.missing.is_empty() => {
                        let note = format!("own probe only from here: {error}");
                        println!("note: {note}");
                        measured.more_notes.push(note);
                        beside = None;
                    }
                    Err(error) => return Err(error),
                },
                (_, None) => {}
            }
            loads.still_run()?;
        }
    }
    Ok(Some(measured))
}

impl Measured {
    fn add(&mut self, probed: probe::Measured) {
        for missing in probed.missing {
            if !self.missing.contains(&missing) {
                println!("missing: {missing}");
                self.missing.push(missing);
            }
        }
        for (cpu, guard) in probed.guards {
            self.turns.guards.entry(cpu).or_default().push(guard);
        }
        for (cpu, time) in probed.cpu_time {
            let all = self.turns.cpu_time.entry(cpu).or_default();
            *all += time;
        }
        self.turns.probe.push(probed.by_cpu);
    }
}

fn write_files(options: &Options, report: &Report, turns: &Turns) -> io::Result<()> {
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
    };
    if let Some(path) = &options.json {
        write(path, serde_json::to_string_pretty(report)? + "\n")?;
    }
    if let Some(path) = &options.plot {
        let all = |turns| {
            report::together(turns).into_values().reduce(|mut a, b| {
                a.merge(&b);
                a
            })
        };
        let (probe, cyclictest) = (all(&turns.probe), all(&turns.cyclictest));
        let named = [("fieldbeat", "#0a7d52", &probe), ("cyclictest", "#c2410c", &cyclictest)];
        let curves: Vec<plot::Curve> = named
            .into_iter()
            .filter_map(|(name, color, latencies)| Some(plot::Curve { name, color, latencies: latencies.as_ref()? }))
            .collect();
        let machine = &report.machine;
        let subtitle = format!("{}, {}, load {}", machine.kernel, machine.cpu_model, options.load.name());
        write(path, plot::svg("Wake-up of Fieldbeat's idle executor at 1 kHz", &subtitle, &curves))?;
    }
    Ok(())
}
