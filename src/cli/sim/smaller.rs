//! `fieldbeat sim --shrink`: reduces a failing run to the events it needs.

use std::process::ExitCode;
use std::time::Duration;

use super::SimArgs;
use crate::cli;
use crate::sim::shrink::{Limits, shrink, story};
use crate::sim::{self, Case, RealParts, Scenario};

/// So many runs at most; the time ends it sooner where runs are long.
const TRIES_MAX: u64 = 20_000;

/// A run of a seed as a case.
pub fn case_of(scenario: &Scenario) -> Result<Case, String> {
    let (_, recorded) = sim::record(scenario, &RealParts);
    recorded.case(scenario).map_err(|error| format!("error: {error}"))
}

pub fn smaller(args: &SimArgs, case: &Case, again: &str) -> ExitCode {
    let limits = Limits { tries: TRIES_MAX, time: Duration::from_secs(args.shrink_seconds) };
    let Some(mut shrunk) = shrink(case, || RealParts, limits) else {
        out!("no failure: {again}");
        return ExitCode::SUCCESS;
    };
    out!("{}", story(&shrunk).trim_end());
    if let Some(path) = &args.write_case {
        shrunk.case.about = format!("{}: {}", shrunk.broken.kind, shrunk.broken);
        if let Err(error) = shrunk.case.write(path) {
            return cli::fail(cli::EXIT_FAILED, format!("error: {error}"));
        }
        out!("run it again with: fieldbeat sim --case {}", path.display());
    }
    ExitCode::from(cli::EXIT_NO)
}
