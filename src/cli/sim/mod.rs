//! `fieldbeat sim`: the gateway in virtual time, by seed or by a case; a failure says how to run it again.
//!
//! | file | subject |
//! |---|---|
//! | `fresh` | seeds that nobody has seen, on every core |
//! | `smaller` | a smaller story of what breaks |

mod fresh;
mod smaller;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::sim::{self, Case, Outcome, RealParts, Scenario, hunt};

#[derive(Args)]
pub struct SimArgs {
    /// Seed of the run: the same seed gives the same events and the same hash.
    #[arg(long, value_name = "N", required_unless_present_any = ["case", "fresh"], conflicts_with_all = ["case", "fresh"])]
    seed: Option<u64>,
    /// Virtual hours with faults, instead of the seed's own duration.
    #[arg(long, value_name = "H")]
    hours: Option<f64>,
    /// Run so many seeds, from --seed on.
    #[arg(long, value_name = "COUNT")]
    seeds: Option<u64>,
    /// Run a case file instead of a seed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fresh", "hours", "seeds"])]
    case: Option<PathBuf>,
    /// Write the run as a case file, which stays valid when the simulator changes.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fresh", "seeds"])]
    write_case: Option<PathBuf>,
    /// Reduce a failing run to the events it needs, and describe them.
    #[arg(long, conflicts_with_all = ["fresh", "seeds"])]
    shrink: bool,
    /// Reduce for at most so many seconds.
    #[arg(long, value_name = "S", requires = "shrink", default_value_t = 120)]
    shrink_seconds: u64,
    /// Print so many of the last events before a failure.
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["fresh", "shrink"])]
    last: Option<usize>,
    /// Run new seeds on every core, for --minutes or --seeds; does not stop at failures.
    #[arg(long)]
    fresh: bool,
    #[arg(long, value_name = "M", requires = "fresh")]
    minutes: Option<f64>,
    /// The first fresh seed, instead of a random one.
    #[arg(long, value_name = "B", requires = "fresh")]
    base: Option<u64>,
}

pub fn sim(args: &SimArgs) -> ExitCode {
    if args.hours.is_some_and(|hours| !(0.0..=100_000.0).contains(&hours)) {
        return super::fail(super::EXIT_CONFIG, "error: --hours: allowed are 0 to 100000");
    }
    if args.fresh {
        return fresh::fresh(args);
    }
    if let Some(path) = &args.case {
        let case = match Case::read(path) {
            Ok(case) => case,
            Err(error) => return super::fail(super::EXIT_CONFIG, format!("error: {error}")),
        };
        let again = format!("fieldbeat sim --case {}", path.display());
        if args.shrink {
            return smaller::smaller(args, &case, &again);
        }
        let done = Scenario::of_case(&case).and_then(|scenario| one(args, scenario, "case", &again));
        return match done {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => super::fail(super::EXIT_NO, error),
        };
    }
    let first = args.seed.unwrap_or_default();
    let count = args.seeds.unwrap_or(1).max(1);
    let mut virtual_ns = 0;
    for seed in first..first.saturating_add(count) {
        let again = again(seed, args.hours);
        let scenario = Scenario::of_seed(seed, args.hours);
        let scenario = scenario.map_err(|error| format!("error: {error}\nrun it again with: {again}"));
        if args.shrink {
            return match scenario.and_then(|scenario| smaller::case_of(&scenario)) {
                Ok(case) => smaller::smaller(args, &case, &again),
                Err(error) => super::fail(super::EXIT_NO, error),
            };
        }
        match scenario.and_then(|scenario| one(args, scenario, &format!("seed {seed}"), &again)) {
            Ok(ns) => virtual_ns += ns,
            Err(error) => return super::fail(super::EXIT_NO, error),
        }
    }
    if count > 1 {
        out!("{count} seeds hold, {:.2} virtual hours", virtual_ns as f64 / 3.6e12);
    }
    ExitCode::SUCCESS
}

fn again(seed: u64, hours: Option<f64>) -> String {
    match hours {
        Some(hours) => format!("fieldbeat sim --seed {seed} --hours {hours}"),
        None => format!("fieldbeat sim --seed {seed}"),
    }
}

/// One run: how long it was, or what broke.
fn one(args: &SimArgs, mut scenario: Scenario, name: &str, again: &str) -> Result<u64, String> {
    scenario.told = args.last.unwrap_or(scenario.told);
    let scenario = &scenario;
    let outcome = match &args.write_case {
        Some(path) => {
            let (outcome, recorded) = sim::record(scenario, &RealParts);
            let mut case = recorded.case(scenario).map_err(|error| format!("error: {error}"))?;
            case.about = outcome.broken.as_ref().map(|(broken, _)| broken.to_string()).unwrap_or_default();
            case.write(path).map_err(|error| format!("error: {error}"))?;
            out!("{name} is written to {}", path.display());
            outcome
        }
        None => sim::run(scenario, &RealParts),
    };
    match &outcome.broken {
        Some((broken, last)) => {
            let (last, kind) = (last.join("\n"), broken.kind);
            Err(format!(
                "the last events:\n{last}\nerror: {name}: {broken}\nof the kind {kind}\nrun it again with: {again}"
            ))
        }
        None => {
            print(name, scenario, &outcome);
            Ok(outcome.virtual_ns)
        }
    }
}

fn print(name: &str, scenario: &Scenario, outcome: &Outcome) {
    out!(
        "{name}: hash {:016x}, {:.0} s, {} executors, {} links, {} tags: {} requests, {} samples ({} good, \
         {} dropped and {} suppressed, all counted), {} writes ({} done), {} reloads, {} events",
        outcome.hash,
        outcome.virtual_ns as f64 / 1e9,
        scenario.plan.lanes.len(),
        scenario.plan.links.len(),
        scenario.plan.tags.len(),
        outcome.requests,
        outcome.samples,
        outcome.good,
        outcome.dropped,
        outcome.suppressed,
        outcome.writes_done + outcome.writes_failed,
        outcome.writes_done,
        outcome.reloads,
        outcome.events,
    );
    if outcome.journal {
        out!(
            "{name}: its journal: {} starts after a crash, {} faults of its files and its disk, {} files lost; {} log lines, \
             {} of them lost to a reader who stalled",
            outcome.crashes,
            outcome.journal_faults,
            outcome.files_lost,
            outcome.log_lines,
            outcome.log_lines_lost,
        );
    }
}
