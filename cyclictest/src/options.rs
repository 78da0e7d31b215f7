//! Command line options.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use fieldbeat::config::Guard;
use fieldbeat::rt::thread::parse_cpu_list;
use fieldbeat::tag::Nanos;

/// The beat of both tools: 1 kHz.
pub const PERIOD_US: u64 = 1000;
/// A week: a longer run is a mistake.
const SECONDS_MAX: u64 = 7 * 24 * 3600;

/// Measure the wake-up latency of Fieldbeat's executor beside cyclictest of rt-tests, on the same CPU, priority and
/// period.
#[derive(Debug, Clone, Parser)]
#[command(name = "fieldbeat-latency", version, max_term_width = 100)]
pub struct Options {
    /// Total measuring time of each of the two, in seconds.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub seconds: u64,
    /// Alternating turns of the two, so that noise affects both; a turn takes at least a second.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub rounds: u64,
    /// CPUs to measure, such as 2-3,5 (default: as the gateway: the isolated CPUs, else the last one).
    #[arg(long, value_name = "LIST", value_parser = cpus)]
    pub cpus: Option<Cpus>,
    /// Load on the other CPUs while measuring, at normal priority.
    #[arg(long, value_enum, default_value_t = LoadKind::None)]
    pub load: LoadKind,
    /// Directory for the files of the disk load (default: the directory for temporary files).
    #[arg(long, value_name = "DIR")]
    pub load_dir: Option<PathBuf>,
    /// SCHED_FIFO priority of both.
    #[arg(long, value_name = "N", default_value_t = 80, value_parser = clap::value_parser!(u8).range(1..=98))]
    pub priority: u8,
    /// Guard: how many microseconds before its release the executor stops sleeping and spins; 0: it never spins.
    #[arg(long, value_name = "auto|US", default_value = "auto", value_parser = guard)]
    pub guard: Guard,
    /// Measure with Fieldbeat's own probe only.
    #[arg(long)]
    pub own_probe_only: bool,
    /// Write all results as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a plot of the latencies.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Check against the limits of this board; exit code 1 if one is exceeded.
    #[arg(long, value_name = "NAME")]
    pub board: Option<String>,
    /// Limits of the boards (default: those of cyclictest/gate.toml, as built in).
    #[arg(long, value_name = "FILE", requires = "board")]
    pub gate: Option<PathBuf>,
}

/// CPU numbers, ascending, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpus(pub Vec<u32>);

/// What keeps the other CPUs busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadKind {
    None,
    /// Integer and floating point work, and walks through memory.
    Cpu,
    /// Sockets on loopback.
    Net,
    /// Files written and synced.
    Disk,
    /// Matrix multiplications, in place of a model.
    Inference,
    /// All of these at once.
    All,
}

impl LoadKind {
    /// The loads it is made of.
    pub fn parts(self) -> Vec<LoadKind> {
        match self {
            LoadKind::None => vec![],
            LoadKind::All => vec![LoadKind::Cpu, LoadKind::Net, LoadKind::Disk, LoadKind::Inference],
            one => vec![one],
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            LoadKind::None => "none",
            LoadKind::Cpu => "cpu",
            LoadKind::Net => "net",
            LoadKind::Disk => "disk",
            LoadKind::Inference => "inference",
            LoadKind::All => "all",
        }
    }
}

fn cpus(text: &str) -> Result<Cpus, String> {
    let shown = || format!("{text:?} is not a list of CPUs; write it as 2 or 2-3,5");
    let is_list = text.split(',').all(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        matches!((first.parse::<u32>(), last.parse::<u32>()), (Ok(first), Ok(last)) if first <= last && last < 4096)
    });
    let mut list = if is_list { parse_cpu_list(text) } else { return Err(shown()) };
    list.sort_unstable();
    list.dedup();
    Ok(Cpus(list))
}

fn guard(text: &str) -> Result<Guard, String> {
    match text {
        "auto" => Ok(Guard::Auto),
        us => match us.parse::<u64>() {
            Ok(us) if us <= 500 => Ok(Guard::Fixed(Nanos::from_micros(us))),
            _ => Err(format!("{text:?} is neither auto nor 0 to 500 microseconds")),
        },
    }
}

impl Options {
    /// Turns of each tool, and whole seconds of one: never longer in all than asked, unless below a second a turn.
    pub fn turns(&self) -> (u64, u64) {
        let rounds = self.rounds.min(self.seconds);
        (rounds, self.seconds / rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("fieldbeat-latency").chain(line.split_whitespace()))
    }

    #[test]
    fn the_usual_is_the_sheet() {
        let options = parse("").unwrap();
        assert_eq!((options.seconds, options.rounds, options.priority), (30, 5, 80));
        assert_eq!((options.guard, options.load), (Guard::Auto, LoadKind::None));
        assert_eq!(options.turns(), (5, 6));
        assert_eq!(parse("--seconds 2").unwrap().turns(), (2, 1));
        assert_eq!(parse("--seconds 7 --rounds 3").unwrap().turns(), (3, 2));
    }

    #[test]
    fn lists_of_cpus_are_read_and_refused() {
        assert_eq!(parse("--cpus 3,0-1,1").unwrap().cpus, Some(Cpus(vec![0, 1, 3])));
        for bad in ["", "x", "1-", "3-1", "-1", "1,,2", "0-9999999"] {
            assert!(parse(&format!("--cpus={bad}")).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in
            ["--seconds 0", "--priority 99", "--guard 5000", "--guard no", "--load gpu", "--gate x", "--rounds 0"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn all_loads_are_all_of_them() {
        assert_eq!(LoadKind::All.parts().len(), 4);
        assert!(LoadKind::None.parts().is_empty());
    }
}
