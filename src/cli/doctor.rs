//! `fieldbeat doctor`: whether this machine is fit for a steady beat, and what mends it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::files;
use crate::doctor::{self, Machine, State, Visit};

/// Exit code when something is bad.
const EXIT_BAD: u8 = 1;

#[derive(Args)]
pub struct DoctorArgs {
    /// Directory with fieldbeat.toml and tags/: its CPUs, its priority and its journal are looked at too.
    #[arg(short, long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// For scripts: one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn doctor(args: &DoctorArgs) -> ExitCode {
    let loaded = match args.config.as_deref().map(files::load).transpose() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let config = loaded.as_ref().map(|loaded| &loaded.config);
    let mut visit = doctor::visit(&Machine::this(), config);
    doctor::measure(&mut visit, config);
    if args.json {
        out!("{:#}", serde_json::json!(visit));
    } else {
        print(&visit);
    }
    if visit.is_bad() { ExitCode::from(EXIT_BAD) } else { ExitCode::SUCCESS }
}

fn print(visit: &Visit) {
    for check in &visit.checks {
        out!("{:<8} {:<24} {}", check.state.name(), check.id, check.found);
        if let Some(mend) = &check.mend {
            out!("{:<8} {:<24} why:  {}", "", "", check.why);
            out!("{:<8} {:<24} fix: {mend}", "", "");
        }
    }
    let count = |state| visit.checks.iter().filter(|check| check.state == state).count();
    out!(
        "\n{} ok, {} warn, {} bad, {} unknown",
        count(State::Ok),
        count(State::Warn),
        count(State::Bad),
        count(State::Unknown)
    );
}
