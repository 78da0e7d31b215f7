//! `fieldbeat check`: validates a configuration, and calculates whether its load fits.
//!
//! ```text
//! gateway "line-4": 300 tags, 3 links, 3 groups, 1 executor
//! reckoned with (measured on this machine): request 12.1 µs, sample 21 ns, release 5.0 µs, wake-up 16.7 µs
//!
//! executor   cpu  links   requests/s    samples/s     load  worst slot
//! 0            1      3          420        20880    0.9 %  0.08 ms of 10.00 ms at +3.33 ms in group "default"
//!
//! link                  executor  units   requests/s      bytes/s     load  worst slot
//! dev0                         0      1          140        54600    1.4 %  0.28 ms of 10.00 ms at +0.00 ms in group "default", at most 0.61 ms
//! ```
//!
//! The worst slot of an executor is the release with the largest backlog: how long until all is done that is due then,
//! of the time until the group's next release. That of a link is the release whose last reply comes nearest to its
//! next release when the device takes the declared time; "at most" is how long it could take if the link's groups and
//! its executor's other work met in the worst way, which is what decides. Where tags may be written, a table says what
//! they may be asked for, what fits beside the scans (read back), what each takes of the link, and how far apart its turns,
//! writing and reading back, are begun. Then come the groups and every request.
//! The last line is `ok: it fits`, or a refusal on standard error and exit code 2.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{counting, files, learn};
use crate::config::{Config, OutputKind, ReleaseMode};
use crate::output::{influx, mqtt};
use crate::plan::demand::Costs;
use crate::plan::{Admission, LinkPlan, Plan, Planned, PlannedRequest, Slot};
use crate::rt::calibrate;
use crate::rt::thread::default_cpus;
use crate::tag::{LinkId, Nanos};
use crate::{plan, protocol};

#[derive(Args)]
pub struct CheckArgs {
    /// Directory with fieldbeat.toml and tags/.
    #[arg(short, long, value_name = "DIR", default_value = files::CONFIG_DIR)]
    config: PathBuf,
    /// Connect to the devices and measure how long their replies take.
    #[arg(long)]
    learn: bool,
    /// How long to measure, in seconds.
    #[arg(long, value_name = "N", default_value_t = 5.0, requires = "learn")]
    seconds: f64,
}

pub fn check(args: &CheckArgs) -> ExitCode {
    let mut config = match files::load(&args.config) {
        Ok(loaded) => loaded.config,
        Err(code) => return code,
    };
    let cpus = config.realtime.cores.clone().unwrap_or_else(default_cpus);
    let lanes = plan::lanes_of(&config, &cpus);
    match config.renew_diagnostics(lanes) {
        Ok(warnings) if config.realtime.cores.is_none() => {
            warnings.iter().for_each(|warning| out!("warning: {warning}"))
        }
        Ok(_) => {}
        Err(error) => return super::fail(super::EXIT_CONFIG, format!("error: {error}")),
    }
    let config = &config;
    let (planned, fault) = calibrate::best_of(|costs| protocol::build_with(config, &cpus, costs));
    let origin = match fault {
        None => "measured on this machine".to_owned(),
        Some(error) => format!("usual figures, this machine cannot be measured: {error}"),
    };
    let mut code = ExitCode::SUCCESS;
    let mut excesses = 0;
    match planned {
        Ok(Planned { plan, admission }) => {
            excesses = admission.excesses;
            print_plan(config, &plan, &admission, &origin);
            for warning in &admission.warnings {
                out!("warning: {warning}");
            }
            counting::note(config).iter().for_each(|note| out!("{note}"));
        }
        Err(error) if args.learn => {
            // The devices may be faster than was declared.
            code = super::fail(super::EXIT_CONFIG, error);
        }
        Err(error) => return super::fail(super::EXIT_CONFIG, error),
    }
    warn_of_outputs(config);
    let learned = if args.learn { learn::learn(config, args.seconds) } else { ExitCode::SUCCESS };
    if code != ExitCode::SUCCESS {
        return code;
    }
    if learned != ExitCode::SUCCESS {
        return learned;
    }
    match excesses {
        0 => out!("ok: it fits"),
        _ => out!("ok: it does not fit, but it runs because realtime.admission is \"warn\""),
    }
    ExitCode::SUCCESS
}

/// An output whose certificate, key or CA cannot be used stops neither this nor `run`: the field is read, the journal
/// keeps what the output is to have, and the files are looked at again until they are right.
fn warn_of_outputs(config: &Config) {
    for output in &config.outputs {
        let checked = match &output.kind {
            OutputKind::Mqtt(mqtt) => mqtt::check_files(mqtt),
            OutputKind::Influx(influx) => influx::check_files(influx),
        };
        if let Err(error) = checked {
            note!(
                "warning: output \"{}\": {error}; nothing is published until this is fixed; `run` starts anyway and \
                 stores the samples",
                output.name
            );
        }
    }
}

/// How many a second; what is read each quarter of an hour is not nothing.
fn rate(per_s: f64) -> String {
    if per_s >= 10.0 { format!("{per_s:.0}") } else { format!("{per_s:.3}") }
}

/// Milliseconds with two digits.
fn ms(time: Nanos) -> String {
    format!("{:.2} ms", time.0 as f64 / 1e6)
}

fn slot_text(plan: &Plan, slot: Option<Slot>) -> String {
    let Some(slot) = slot else { return "-".to_owned() };
    let group = plan.group_called(slot.group);
    let part = if slot.is_whole { "" } else { " (of the first releases; the periods rarely coincide)" };
    format!("{} of {} at +{} in group {group}{part}", ms(slot.takes), ms(slot.of), ms(slot.at))
}

fn link_slot_text(plan: &Plan, admission: &Admission, link: LinkId) -> String {
    let load = &admission.links[link];
    let most = match load.slot {
        None => String::new(),
        Some(_) if load.worst_phase == Nanos::NEVER => ", unbounded at the worst phase".to_owned(),
        Some(_) => format!(", at most {}", ms(load.worst_phase)),
    };
    slot_text(plan, load.slot) + &most
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn print_plan(config: &Config, plan: &Plan, admission: &Admission, origin: &str) {
    out!(
        "gateway \"{}\": {}, {}, {}, {}",
        config.gateway.id,
        files::counted(plan.tags.len(), "tag"),
        files::counted(plan.links.len(), "link"),
        files::counted(plan.groups.len(), "group"),
        files::counted(plan.executors().count(), "executor")
    );
    let Costs { request, sample, release, wake_up } = admission.costs;
    let us = |time: Nanos| time.0 as f64 / 1e3;
    out!(
        "calculated with ({origin}): request {:.1} µs, sample {} ns, release {:.1} µs, wake-up {:.1} µs\n",
        us(request),
        sample.0,
        us(release),
        us(wake_up)
    );
    out!(
        "{:<9} {:>4} {:>6} {:>12} {:>12} {:>8}  worst slot",
        "executor",
        "cpu",
        "links",
        "requests/s",
        "samples/s",
        "load"
    );
    for ((id, cpu, executor), load) in plan.executors().zip(&admission.executors) {
        out!(
            "{:<9} {cpu:>4} {:>6} {:>12} {:>12} {:>8}  {}",
            id.0,
            executor.links.len(),
            rate(load.requests_per_s),
            rate(load.samples_per_s),
            percent(load.load),
            slot_text(plan, load.slot)
        );
    }
    out!(
        "\n{:<20} {:>9} {:>6} {:>12} {:>12} {:>8}  worst slot",
        "link",
        "executor",
        "units",
        "requests/s",
        "bytes/s",
        "load"
    );
    for (id, link) in plan.field_links() {
        let load = &admission.links[id];
        out!(
            "{:<20} {:>9} {:>6} {:>12} {:>12} {:>8}  {}",
            link.name,
            link.lane.0,
            units_of(link).len().max(1),
            rate(load.requests_per_s),
            rate(load.wire_bytes_per_s),
            percent(load.load),
            link_slot_text(plan, admission, id)
        );
    }
    print_writes(plan, admission);
    out!("\n{:<20} {:>10} {:>9} {:>6} {:>9}", "group", "period ms", "release", "links", "requests");
    for (id, group) in plan.groups.iter() {
        let scans = plan.scans.values().filter(|s| s.group == id);
        let (links, requests) = scans.fold((0, 0), |(links, sum), s| (links + 1, sum + s.requests.len()));
        let release = match group.release {
            ReleaseMode::Spread => "spread",
            ReleaseMode::Together => "together",
        };
        let period = group.pace.period().map_or("on event".to_owned(), |period| (period.0 as f64 / 1e6).to_string());
        let release = if group.pace.period().is_some() { release } else { "" };
        out!("{:<20} {period:>10} {release:>9} {links:>6} {requests:>9}", group.name);
    }
    out!(
        "\n{:<20} {:<12} {:>4} {:>3} {:>6} {:>6} {:>5} {:>11}",
        "request: link",
        "group",
        "unit",
        "fc",
        "first",
        "count",
        "tags",
        "wire bytes"
    );
    for link in plan.links.values() {
        for PlannedRequest { group, unit, what, tags, wire_bytes } in link.protocol.requests() {
            let group = &plan.groups[group].name;
            out!("{:<20} {group:<12} {unit:>4} {what:<17} {tags:>5} {wire_bytes:>11}", link.name);
        }
    }
    out!("");
}

/// Those that it asks.
fn units_of(link: &LinkPlan) -> BTreeSet<u8> {
    link.protocol.units().into_iter().map(|(_, unit)| unit).collect()
}

fn print_writes(plan: &Plan, admission: &Admission) {
    let written: Vec<_> =
        plan.field_links().filter_map(|(id, link)| Some((link, admission.links[id].writes?))).collect();
    if written.is_empty() {
        return;
    }
    out!("\n{:<20} {:>5} {:>9} {:>9} {:>11} {:>11}", "writes: link", "tags", "asked/s", "fit/s", "each", "turn every");
    for (link, writes) in written {
        let fit = if writes.fits { format!("{:.1}", writes.possible_per_s()) } else { "none".to_owned() };
        out!(
            "{:<20} {:>5} {:>9.1} {fit:>9} {:>11} {:>11}",
            link.name,
            writes.tags,
            writes.asked_per_s,
            ms(writes.takes),
            ms(writes.spacing)
        );
    }
}
