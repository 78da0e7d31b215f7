//! The command line: what people type, and the exit codes that scripts read.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done, or stopped cleanly |
//! | 1 | the command ran, and the answer is no or partial: a tag that is bad or unknown, a refused write, a finding |
//! | 2 | the command line or the configuration is wrong; nothing was started |
//! | 3 | the command could not run or not finish: no gateway, no device, no rights, I/O error, a stalled thread |
//!
//! A process that could not even end by itself after that is ended by SIGALRM.

#[macro_use]
mod print;

mod ask;
mod audit;
mod check;
mod counting;
mod demo;
mod discover;
mod doctor;
mod files;
mod get;
mod held;
mod journal;
mod learn;
mod live;
mod plant;
mod read;
mod rows;
mod run;
mod signals;
mod sim;
mod status;
mod tail;
mod write;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::limits::LOG_END_PATIENCE;
use crate::logs;

/// Exit code of a command that ran, and whose answer is no or partial.
const EXIT_NO: u8 = 1;

/// Exit code of a wrong command line or configuration.
const EXIT_CONFIG: u8 = 2;

/// Exit code of a command that could not run or not finish.
const EXIT_FAILED: u8 = 3;

/// The exit codes, behind the help of the program.
const EXIT_CODES: &str = "\
Exit codes:
  0  done, or stopped cleanly
  1  the command ran, and the answer is no or partial: a tag is bad or unknown, a write was
     refused (nothing was sent), doctor or check --learn has findings, a journal is damaged,
     samples were not stored
  2  the command line or the configuration is wrong; nothing was started
  3  the command could not run or not finish: no gateway or device answers, a write failed or
     its outcome is unknown, an address is in use, no permission, an I/O error; run: a thread
     stalled or ended";

/// Real-time data acquisition engine and industrial gateway.
#[derive(Parser)]
#[command(name = "fieldbeat", version, about, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or Ctrl-C.
    Run(run::RunArgs),
    /// Check a configuration: links, groups, requests, load. Starts nothing; --learn also reads the devices.
    #[command(
        after_help = "Examples:\n  fieldbeat check --config /etc/fieldbeat\n  fieldbeat check -c . --learn --seconds 10"
    )]
    Check(check::CheckArgs),
    /// Run a demo on this machine: a simulated plant, the gateway and a broker.
    Demo(demo::DemoArgs),
    /// Show the state of a running gateway: health, links, groups, journal, outputs.
    Status(status::StatusArgs),
    /// Show the latest values of a running gateway's tags.
    #[command(after_help = "Examples:\n  fieldbeat get 'boiler.*'\n  fieldbeat get boiler.temperature --json")]
    Get(get::GetArgs),
    /// List the tags of a running gateway: link, group, type, unit, writable or read-only.
    List(get::ListArgs),
    /// Read tags once: from the devices, or from the running gateway that polls them.
    Read(read::ReadArgs),
    /// Write a value to a tag of a running gateway.
    Write(write::WriteArgs),
    /// Show the audit log of writes from a gateway's journal: who wrote what, and the outcome.
    Audit(audit::AuditArgs),
    /// Follow the samples of a gateway: from its journal or, with --live, directly from the running gateway.
    Tail(tail::TailArgs),
    /// Verify a journal, or salvage the readable part of a damaged one.
    #[command(
        after_help = "Examples:\n  fieldbeat journal verify /var/lib/fieldbeat/journal\n  fieldbeat journal salvage \
                      /var/lib/fieldbeat/journal/damaged-2026-11-30T13-50-02Z --to /var/lib/fieldbeat/salvaged"
    )]
    Journal(journal::JournalArgs),
    /// Discover the points of a device, and write a tag file for it.
    Discover(discover::DiscoverArgs),
    /// Run a simulated plant on loopback: devices with faults on demand, a configuration for them, a broker.
    Plant(plant::PlantArgs),
    /// Check whether this machine is fit for real-time scanning, and say how to fix it. Changes nothing.
    Doctor(doctor::DoctorArgs),
    /// Simulate planner, executors, links and hub in virtual time against faulty devices, by seed.
    Sim(sim::SimArgs),
    /// Print the JSON Schema of tag files, for editors.
    #[command(
        after_help = "Example:\n  fieldbeat schema > /etc/fieldbeat/tags/tags.schema.json\n\nIn tags/ a schema file is \
                            ignored, whatever its name. A tag file refers to it with \"$schema\": \
                            \"./tags.schema.json\"."
    )]
    Schema,
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    let code = match Cli::try_parse() {
        Ok(cli) => run_command(cli.command),
        Err(said) => {
            // Help and the version are output, too.
            if let Err(error) = said.print().and_then(|()| io::stdout().flush())
                && !said.use_stderr()
            {
                print::failed(&error);
            }
            ExitCode::from(if said.use_stderr() { EXIT_CONFIG } else { 0 })
        }
    };
    logs::flush(LOG_END_PATIENCE);
    print::code(code)
}

fn run_command(command: Command) -> ExitCode {
    if !matches!(command, Command::Run(_) | Command::Demo(_) | Command::Plant(_) | Command::Tail(_)) {
        signals::end_with_the_reader();
    }
    match command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::check(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::Status(args) => status::status(&args),
        Command::Get(args) => get::get(&args),
        Command::List(args) => get::list(&args),
        Command::Read(args) => read::read(&args),
        Command::Write(args) => write::write(&args),
        Command::Audit(args) => audit::audit(&args),
        Command::Tail(args) => tail::tail(&args),
        Command::Journal(args) => journal::journal(&args),
        Command::Discover(args) => discover::discover(&args),
        Command::Plant(args) => plant::plant(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Sim(args) => sim::sim(&args),
        Command::Schema => {
            out!("{:#}", crate::protocol::schema());
            ExitCode::SUCCESS
        }
    }
}

/// Says what went wrong, on standard error.
fn fail(code: u8, message: impl std::fmt::Display) -> ExitCode {
    note!("{message}");
    ExitCode::from(code)
}
