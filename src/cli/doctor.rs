//! `fieldbeat doctor`: whether this machine is fit for real-time scanning, and how to fix what is not.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::files;
use crate::doctor::{self, Machine, State, Visit};

#[derive(Args)]
pub struct DoctorArgs {
    /// Directory with fieldbeat.toml and tags/: checks its CPUs, priority and journal, too. [default: /etc/fieldbeat,
    /// if it has a fieldbeat.toml]
    #[arg(short, long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn doctor(args: &DoctorArgs) -> ExitCode {
    let standard = Path::new(files::CONFIG_DIR);
    let dir = args.config.as_deref().or_else(|| standard.join("fieldbeat.toml").is_file().then_some(standard));
    let loaded = match dir.map(files::load).transpose() {
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
    if visit.is_bad() { ExitCode::from(super::EXIT_NO) } else { ExitCode::SUCCESS }
}

fn print(visit: &Visit) {
    for check in &visit.checks {
        out!("{:<8} {:<24} {}", check.state.name(), check.id, check.found);
        if let Some(mend) = &check.mend {
            out!("{:<8} {:<24} why: {}", "", "", check.why);
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
