//! `fieldbeat check`: what a configuration will do, and whether it fits.

use std::path::Path;
use std::process::ExitCode;

use super::files;
use crate::config::{Config, OutputKind, ReleaseMode};
use crate::output::mqtt;
use crate::plan::{self, Admission, LinkProtocolPlan, Plan, Planned};
use crate::rt::thread::default_cpus;

pub fn check(dir: &Path) -> ExitCode {
    let loaded = match files::load(dir) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let config = &loaded.config;
    let cpus = config.realtime.cores.clone().unwrap_or_else(default_cpus);
    match plan::build(config, &cpus) {
        Ok(Planned { plan, admission }) => {
            print_plan(config, &plan, &admission);
            for warning in &admission.warnings {
                println!("warning: {warning}");
            }
        }
        Err(error) => return super::fail(super::EXIT_CONFIG, error),
    }
    let mut wrong = 0;
    for output in &config.outputs {
        let OutputKind::Mqtt(mqtt) = &output.kind;
        if let Err(error) = mqtt::check_files(mqtt) {
            eprintln!("error: output \"{}\": {error}", output.name);
            wrong += 1;
        }
    }
    if wrong > 0 {
        return ExitCode::from(super::EXIT_CONFIG);
    }
    println!("ok: it fits");
    ExitCode::SUCCESS
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn print_plan(config: &Config, plan: &Plan, admission: &Admission) {
    println!(
        "gateway \"{}\": {} tags, {} links, {} groups, {} executors\n",
        config.gateway.id,
        plan.tags.len(),
        plan.links.len(),
        plan.groups.len(),
        plan.executors.len()
    );
    println!("{:<9} {:>4} {:>6} {:>12} {:>12} {:>8}", "executor", "cpu", "links", "requests/s", "samples/s", "load");
    for (id, (executor, load)) in plan.executors.iter().zip(&admission.executors).enumerate() {
        println!(
            "{id:<9} {:>4} {:>6} {:>12.0} {:>12.0} {:>8}",
            executor.cpu,
            executor.links.len(),
            load.requests_per_s,
            load.samples_per_s,
            percent(load.load)
        );
    }
    println!("\n{:<20} {:>9} {:>6} {:>12} {:>12} {:>8}", "link", "executor", "units", "requests/s", "bytes/s", "load");
    for (id, link) in plan.links.iter() {
        let load = &admission.links[id];
        let LinkProtocolPlan::Modbus(modbus) = &link.protocol;
        println!(
            "{:<20} {:>9} {:>6} {:>12.0} {:>12.0} {:>8}",
            link.name,
            link.executor.0,
            modbus.units.len(),
            load.requests_per_s,
            load.wire_bytes_per_s,
            percent(load.load)
        );
    }
    println!("\n{:<20} {:>10} {:>9} {:>6} {:>9}", "group", "period ms", "release", "links", "requests");
    for (id, group) in plan.groups.iter() {
        let scans = plan.scans.values().filter(|s| s.group == id);
        let (links, requests) = scans.fold((0, 0), |(links, sum), s| (links + 1, sum + s.requests.len()));
        let release = match group.release {
            ReleaseMode::Spread => "spread",
            ReleaseMode::Together => "together",
        };
        let period_ms = group.period.0 as f64 / 1e6;
        println!("{:<20} {period_ms:>10} {release:>9} {links:>6} {requests:>9}", group.name);
    }
    println!(
        "\n{:<20} {:<12} {:>4} {:>3} {:>6} {:>6} {:>5} {:>11}",
        "request: link", "group", "unit", "fc", "first", "count", "tags", "wire bytes"
    );
    for link in plan.links.values() {
        let LinkProtocolPlan::Modbus(modbus) = &link.protocol;
        for request in modbus.blocks() {
            println!(
                "{:<20} {:<12} {:>4} {:>3} {:>6} {:>6} {:>5} {:>11}",
                link.name,
                plan.groups[request.group].name,
                modbus.units[usize::from(request.unit)].0,
                request.table.read_function(),
                request.first,
                request.count,
                request.decodes.len(),
                plan::wire_bytes(modbus, request)
            );
        }
    }
    println!();
}
