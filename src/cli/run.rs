//! `fieldbeat run`: runs the gateway until it is stopped.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::files;
use super::signals::{StopSignals, Wanted};
use crate::doctor::{self, Machine, State, Visit};
use crate::logs;
use crate::serve::RunReport;
use crate::supervise::{Ended, Gateway, StartError, Trouble};

/// How often the gateway is looked after.
const TEND_PERIOD: Duration = Duration::from_millis(200);

#[derive(Args)]
pub struct RunArgs {
    /// Directory with fieldbeat.toml and tags/.
    #[arg(short, long, value_name = "DIR", default_value = files::CONFIG_DIR)]
    config: PathBuf,
    /// Stop after so many seconds.
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// Write timing, counts and sample totals as JSON when it ends.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub fn run(args: &RunArgs) -> ExitCode {
    let signals = StopSignals::block();
    logs::start();
    let mut gateway = match start(&args.config) {
        Ok(gateway) => gateway,
        Err(code) => return code,
    };
    if let Err(error) = gateway.watch(&args.config) {
        tracing::error!(
            "changes of the tag files are not picked up while the gateway runs: no thread for it \
            ({error})"
        );
    }
    let end = args.seconds.map(|s| Instant::now() + Duration::from_secs_f64(s.clamp(0.0, 1e9)));
    let (gateway, trouble) = look_after(gateway, &signals, end, |_| {});
    let ended = end_of(gateway, trouble.as_ref());
    finish(&ended, args.report.as_deref(), trouble)
}

/// Loads a configuration and starts its gateway; says what is wrong, or what was started.
pub fn start(config: &Path) -> Result<Gateway, ExitCode> {
    let loaded = files::load(config)?;
    tell_machine(&doctor::visit(&Machine::this(), Some(&loaded.config)), config);
    let gateway = Gateway::start(loaded).map_err(|error| match error {
        StartError::Plan(_) => super::fail(super::EXIT_CONFIG, error),
        error => super::fail(super::EXIT_FAILED, format!("error: {error}")),
    })?;
    announce(&gateway);
    Ok(gateway)
}

/// One line on what the doctor finds wrong. What the gateway misses itself it tells by itself.
fn tell_machine(visit: &Visit, config: &Path) {
    const TOLD_BY_ITSELF: [&str; 4] = ["sched_fifo", "memory_lock", "cpu_dma_latency", "cpus_online"];
    let named = |state| -> Vec<&str> {
        visit.standing(state).map(|check| check.id).filter(|id| !TOLD_BY_ITSELF.contains(id)).collect()
    };
    let (bad, warned) = (named(State::Bad), named(State::Warn));
    let of = format!("of {} of this machine", files::counted(visit.checks.len(), "check"));
    let see = format!("`fieldbeat doctor --config {}` says which and what to do", config.display());
    if !bad.is_empty() {
        let (ids, more) = (bad.join(", "), warned.len());
        tracing::warn!("{} {of} fail: {ids} (and {more} warn); {see} (expect late cycles)", bad.len());
    } else if !warned.is_empty() {
        tracing::info!("{} {of} warn; {see} (sampling works, jitter may be milliseconds)", warned.len());
    }
}

/// Says what was started, and what the machine does not give.
fn announce(gateway: &Gateway) {
    for missing in &gateway.missing {
        tracing::warn!("{missing}");
    }
    for warning in &gateway.admission.warnings {
        tracing::warn!("{warning}");
    }
    let plan = gateway.observed.plan();
    let cpus: Vec<String> = plan.executors().map(|(_, cpu, _)| cpu.to_string()).collect();
    let guards: Vec<String> = gateway.guards().iter().map(|g| format!("{} µs", g.0 / 1000)).collect();
    tracing::info!(
        "running: {} on {}, {} on CPU{} {}, guard {}",
        files::counted(plan.tags.len(), "tag"),
        files::counted(plan.links.len(), "link"),
        files::counted(cpus.len(), "executor"),
        if cpus.len() == 1 { "" } else { "s" },
        cpus.join(", "),
        guards.join(", ")
    );
    if let Some(socket) = gateway.control_socket() {
        tracing::info!("writes are accepted at {}", socket.display());
    }
    if let Some(address) = gateway.metrics_address() {
        tracing::info!("metrics on http://{address}/metrics, health on http://{address}/health");
    }
}

/// Keeps the gateway going until a signal, `end`, or a trouble that only a new start can mend. `tick` is
/// called each time it was looked after.
pub fn look_after(
    mut gateway: Gateway,
    signals: &StopSignals,
    end: Option<Instant>,
    mut tick: impl FnMut(&Gateway),
) -> (Gateway, Option<Trouble>) {
    loop {
        let left = end.map_or(TEND_PERIOD, |end| end.saturating_duration_since(Instant::now()).min(TEND_PERIOD));
        match signals.wait(left) {
            Some(Wanted::Stop) => {
                tracing::info!("stopping");
                return (gateway, None);
            }
            Some(Wanted::Look) => gateway.look_for_changes(),
            Some(Wanted::Nothing(signal)) => tracing::info!("signal {signal} is ignored"),
            None => {}
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return (gateway, None);
        }
        if let Err(trouble) = gateway.tend() {
            return (gateway, Some(trouble));
        }
        tick(&gateway);
    }
}

/// Stops the gateway; one in which a thread stands still is left as it is.
pub fn end_of(gateway: Gateway, trouble: Option<&Trouble>) -> Ended {
    match trouble {
        Some(Trouble::Stalled(stalled)) => gateway.abandon(stalled),
        _ => gateway.stop(),
    }
}

/// Writes the report and tells how it went.
pub fn finish(ended: &Ended, report: Option<&Path>, trouble: Option<Trouble>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    if let Some(path) = report
        && let Err(error) = ended.report.write(path)
    {
        code =
            super::fail(super::EXIT_FAILED, format!("error: the report {} cannot be written: {error}", path.display()));
    }
    if let Some(unsaved) = &ended.unsaved {
        code = super::fail(super::EXIT_NO, format!("error: {unsaved}"));
    }
    if let Some(trouble) = trouble {
        code = super::fail(super::EXIT_FAILED, format!("error: {trouble}"));
    }
    let RunReport { samples, .. } = &ended.report;
    tracing::info!(
        "stopped: {} samples produced, {} stored, {} dropped, {} suppressed{}",
        samples.produced,
        samples.stored,
        samples.dropped,
        samples.suppressed,
        match samples.lost_after_stored {
            0 => String::new(),
            lost => format!("; {lost} were lost after they were stored"),
        }
    );
    code
}
