//! `fieldbeat sim --fresh`: runs many new seeds, and summarises the failures by kind.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::hunt::{Bag, FIXED_BELOW, Find, Hunt};
use super::{SimArgs, again};
use crate::cli;
use crate::sim::hunt;

/// Where cargo builds, if nothing else is said.
const FOLDER: &str = "target";
/// Commands that are shown of one kind; the file has them all.
const SHOWN_MAX: usize = 5;

pub fn fresh(args: &SimArgs) -> ExitCode {
    if args.minutes.is_none() && args.seeds.is_none() {
        return cli::fail(cli::EXIT_CONFIG, "error: --fresh: for how long? allowed: --minutes, --seeds or both");
    }
    if args.minutes.is_some_and(|minutes| !(0.0..=100_000.0).contains(&minutes)) {
        return cli::fail(cli::EXIT_CONFIG, "error: --minutes: allowed are 0 to 100000");
    }
    if let Some(base) = args.base.filter(|base| *base < FIXED_BELOW) {
        return cli::fail(cli::EXIT_CONFIG, format!("error: --base is {base}; allowed are {FIXED_BELOW} and above"));
    }
    let base = args.base.unwrap_or_else(|| hunt::fresh_base(entropy()));
    let hunt = Hunt {
        base,
        hours: args.hours,
        time: args.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0)),
        seeds: args.seeds,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from(FOLDER), PathBuf::from);
    let file = folder.join(format!("sim-broken-{base}.txt"));
    out!("fresh seeds from {base} on, {} threads; failures are written to {}", hunt.threads, file.display());
    let found = |find: &Find| {
        out!("seed {}: {}: {}", find.seed, find.broken.kind, find.broken);
        if let Err(error) = keep(&file, find, args.hours) {
            note!("error: {}: {error}", file.display());
        }
    };
    let bag = hunt::hunt(&hunt, found, |progress| {
        out!(
            "{:>6.0} s: {} seeds, {:.1} virtual hours, {} failed",
            progress.after.as_secs_f64(),
            progress.seeds,
            progress.virtual_ns as f64 / 3.6e12,
            progress.broken
        );
    });
    summary(&bag, base, args.hours, &file)
}

/// Never the same twice: when, and who.
fn entropy() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    now ^ u64::from(std::process::id()).rotate_left(40) ^ fastrand::u64(..)
}

fn keep(file: &Path, find: &Find, hours: Option<f64>) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    let Find { seed, broken, last } = find;
    writeln!(file, "{}\n{}\nseed {seed}: {broken}\n{}\n", broken.kind, again(*seed, hours), last.join("\n"))
}

fn summary(bag: &Bag, base: u64, hours: Option<f64>, file: &Path) -> ExitCode {
    let progress = &bag.progress;
    out!(
        "{} seeds from {base} on in {:.0} s, {:.1} virtual hours: {} failed",
        progress.seeds,
        progress.after.as_secs_f64(),
        progress.virtual_ns as f64 / 3.6e12,
        progress.broken
    );
    for (kind, seeds) in &bag.finds {
        out!("{kind}: {}", seeds.len());
        seeds.iter().take(SHOWN_MAX).for_each(|seed| out!("    {}", again(*seed, hours)));
        if seeds.len() > SHOWN_MAX {
            out!("    and {} more in {}", seeds.len() - SHOWN_MAX, file.display());
        }
    }
    if bag.finds.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(cli::EXIT_NO) }
}
