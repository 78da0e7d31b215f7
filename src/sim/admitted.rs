//! What admission accepts, runs without a miss as long as devices answer in their declared time, however much is written
//! meanwhile.

use fastrand::Rng;

use super::script::{Drawn, Hosts, Script};
use super::{RealParts, Scenario, run};
use crate::config::{Config, Guard, WriteConfig};
use crate::plan::LinkWork;
use crate::plan::demand::Costs;
use crate::plan::{Plan, PlanError};
use crate::protocol::load_parts;
use crate::protocol::modbus::line_time::SerialLine;
use crate::protocol::modbus::model::{HostPort, ModbusConfig, ModbusTransport, Table};
use crate::protocol::modbus::plan::ModbusPlan;
use crate::tag::Nanos;
use crate::{plan, protocol};

const MS: u64 = 1_000_000;

/// What the simulated machine costs: its system calls take 2 µs, half that for a look at what is ready, and waking
/// up takes up to 40 µs.
pub(super) const SIMULATED: Costs =
    Costs { request: Nanos(5_500), sample: Nanos::ZERO, release: Nanos(2_500), wake_up: Nanos(41_000) };

/// A configuration whose busiest link is asked for about `load` of its time.
fn texts(rng: &mut Rng) -> (String, String) {
    let guard = rng.u32(..60);
    let toml = format!("[gateway]\nid = \"sim\"\n[realtime]\nguard_us = {guard}\n[control]\nmax_writes_per_s = 1000\n");
    let periods = [1.0, 2.0, 2.5, 4.0, 5.0, 7.0, 10.0, 20.0, 33.0, 50.0, 100.0, 250.0, 1000.0];
    let around = rng.usize(..periods.len());
    let groups: Vec<f64> = (0..rng.usize(1..=4))
        .map(|_| periods[(around + rng.usize(..5)).saturating_sub(2).min(periods.len() - 1)])
        .collect();
    let links = match rng.u8(..4) {
        0 => 1,
        1 => rng.usize(1..=3),
        _ => rng.usize(2..=16),
    };
    // Near the border, on either side of it.
    let load = 0.4 + rng.f64() * 0.65;
    let mut link_texts = Vec::new();
    let mut tags = Vec::new();
    for link in 0..links {
        let mut requests_per_s = 0.0;
        for (group, period) in groups.iter().enumerate() {
            if groups.len() > 1 && rng.u8(..4) == 0 && requests_per_s > 0.0 {
                continue;
            }
            for block in 0..rng.usize(1..=5) {
                let address = group * 10_000 + block * 1_000;
                tags.push(format!(
                    r#"{{"name": "l{link}.g{group}.{block}", "group": "g{group}", "address": "l{link}:1:3:{address}:1", "data_type": "uint16"}}"#
                ));
                requests_per_s += 1e3 / period;
            }
        }
        let share = load * (0.5 + rng.f64() / 2.0);
        if rng.u8(..4) == 0 {
            link_texts.push(serial_link(link, share / requests_per_s * 1e3, rng));
            continue;
        }
        let pipeline = [1, 1, 1, 2, 4, 16][rng.usize(..6)];
        let expected = (share * f64::from(pipeline) / requests_per_s * 1e3).clamp(0.02, 400.0);
        link_texts.push(format!(
            r#"{{"name": "l{link}", "protocol": "modbus_tcp", "host": "10.0.0.{link}", "timeout_ms": {}, "connect_timeout_ms": 500,
            "pipeline": {pipeline}, "expected_reply_ms": {expected:.3}, "addressing": "raw"}}"#,
            (expected * 3.0).ceil().max(20.0),
        ));
    }
    let release = |rng: &mut Rng| if rng.bool() { "together" } else { "spread" };
    let group_texts: Vec<String> = groups
        .iter()
        .enumerate()
        .map(|(i, ms)| format!(r#"{{"name": "g{i}", "scan_rate_ms": {ms}, "release": "{}"}}"#, release(rng)))
        .collect();
    let tags = format!(
        "{{\"groups\": [{}],\n\"links\": [{}],\n\"tags\": [{}]}}",
        group_texts.join(", "),
        link_texts.join(",\n"),
        tags.join(",\n")
    );
    (toml, tags)
}

/// A serial line of one register a request, each taking about `each_ms` of the line's time where that is possible.
fn serial_link(link: usize, each_ms: f64, rng: &mut Rng) -> String {
    // 8 and 7 characters of 11 bits, and two silences of 3.5 characters or of 1.75 ms.
    let time = |baud: u32| {
        let silence = if baud > 19_200 { 1.75 } else { 3.5 * 11e3 / f64::from(baud) };
        (15.0 * 11e3 / f64::from(baud) + silence, silence)
    };
    let bauds = [1_200, 2_400, 9_600, 19_200, 38_400, 115_200, 1_000_000, 3_000_000];
    let baud = bauds.into_iter().find(|baud| time(*baud).0 + time(*baud).1 <= each_ms).unwrap_or(3_000_000);
    let turnaround = (each_ms - time(baud).0).clamp(0.02, 400.0);
    let parity = ["E", "O"][rng.usize(..2)];
    format!(
        r#"{{"name": "l{link}", "protocol": "modbus_rtu", "port": "/dev/sim{link}", "baudrate": {baud}, "parity": "{parity}",
            "timeout_ms": {}, "expected_reply_ms": {turnaround:.3}, "addressing": "raw"}}"#,
        (turnaround * 3.0).ceil().max(20.0),
    )
}

struct Admitted {
    written: bool,
    /// Made whether it is admitted or not; without writes where these are what does not fit.
    scenario: Scenario,
    refused: Option<PlanError>,
    /// It fits as long as nothing is written, and not one write does.
    no_room_for_writes: bool,
    text: String,
}

/// Devices answer in their declared time, `exact`ly or within it, and nothing else goes wrong.
pub(super) fn promised(seed: u64, config: Config, plan: Plan, writes: bool, exact: bool) -> Scenario {
    let slowest = config.groups.iter().map(|group| group.interval().0).max().unwrap_or(0);
    Scenario {
        source: false,
        seed,
        plan,
        trouble_ns: 0,
        calm: true,
        fast: false,
        tags: String::new(),
        hub_period_ns: 20 * MS,
        ring_slots: 1 << 16,
        journal_batches: 64,
        recovery_ns: (slowest * 20).clamp(1_000 * MS, 8_000 * MS),
        exact,
        promised: true,
        commit_ns: 0,
        told: super::log::KEPT,
        hosts: Hosts::new(seed, true, &[]),
        script: Script::Drawn(Drawn { writes, ..Drawn::default() }),
        config,
    }
}

fn drawn(seed: u64) -> Admitted {
    let mut rng = Rng::with_seed(seed ^ 0xadad);
    let (toml, tags) = texts(&mut rng);
    let config = load_parts(("fieldbeat.toml", &toml), &[("tags/sim.json", &tags)])
        .unwrap_or_else(|errors| panic!("seed {seed}: {errors}\n{tags}"))
        .config;
    let read_only = config.clone();
    let mut config = config;
    let written = rng.u8(..2) == 0;
    for tag in config.tags.iter_mut().filter(|_| written && rng.bool()) {
        tag.write = Some(WriteConfig::default());
    }
    let cpus: Vec<u32> = (0..if rng.u8(..3) == 0 { rng.u32(2..=3) } else { 1 }).collect();
    let costs = if rng.u8(..4) > 0 { SIMULATED } else { Costs::default() };
    let mut planned = protocol::build_with(&config, &cpus, &costs);
    let mut no_room_for_writes = false;
    if planned.is_err() {
        config = read_only;
        planned = protocol::build_with(&config, &cpus, &costs);
        no_room_for_writes = planned.is_ok();
    }
    let written = config.tags.iter().any(|tag| tag.write.is_some());
    let plan = match &planned {
        Ok(planned) => planned.plan.clone(),
        Err(_) => plan_of(&config, &cpus),
    };
    let scenario = promised(seed, config, plan, written, rng.bool());
    Admitted { scenario, refused: planned.err(), no_room_for_writes, written, text: format!("{toml}\n{tags}") }
}

/// The plan, though it may not fit.
fn plan_of(config: &Config, cpus: &[u32]) -> Plan {
    let mut fast = config.clone();
    for link in &mut fast.links {
        let modbus = link.protocol.get_mut::<ModbusConfig>().unwrap();
        modbus.reply_expected = Nanos(1);
        modbus.transport = ModbusTransport::Tcp(HostPort { host: "10.0.0.0".into(), port: 502 });
    }
    let free = Costs { request: Nanos(1), sample: Nanos(0), release: Nanos(1), wake_up: Nanos(0) };
    fast.realtime.guard = Guard::Fixed(Nanos(0));
    let mut plan = protocol::build_with(&fast, cpus, &free).unwrap().plan;
    for ((_, link), declared) in plan.links.iter_mut().zip(&config.links) {
        let modbus = declared.protocol.get::<ModbusConfig>().unwrap();
        link.protocol.get_mut::<ModbusPlan>().unwrap().config = modbus.clone();
    }
    plan
}

fn fullest(plan: &Plan) -> f64 {
    let load = |(_, link): (_, &plan::LinkPlan)| {
        let modbus = link.protocol.get::<ModbusPlan>().unwrap();
        let of_line = |line: SerialLine| line.line_time(Table::HoldingRegisters, 1);
        let each = SerialLine::of(&modbus.config).map_or(modbus.config.reply_expected, of_line);
        modbus.load_with(plan, each).unwrap_or_default()
    };
    plan.links.iter().map(load).fold(0.0, f64::max)
}

const SEEDS: u64 = 1000;

#[test]
fn what_is_admitted_misses_nothing_while_devices_answer_in_their_declared_time() {
    let (mut admitted, mut tight, mut refused, mut missed, mut requests) = (0u32, 0u32, 0u32, 0u32, 0u64);
    let (mut written, mut tight_written, mut done, mut no_room) = (0u32, 0u32, 0u64, 0u32);
    let mut broken = Vec::new();
    for seed in 0..SEEDS {
        let drawn = drawn(seed);
        let load = fullest(&drawn.scenario.plan);
        let outcome = run(&drawn.scenario, &RealParts);
        requests += outcome.requests;
        no_room += u32::from(drawn.no_room_for_writes);
        written += u32::from(drawn.written);
        tight_written += u32::from(drawn.written && load > 0.5);
        done += outcome.writes_done;
        match (&drawn.refused, outcome.broken) {
            (None, Some((what, last))) => {
                broken.push(format!("seed {seed}: {what}\n{}\n{}", last.join("\n"), drawn.text));
            }
            (Some(_), Some(_)) => missed += 1,
            _ => {}
        }
        if drawn.refused.is_some() {
            refused += 1;
        } else {
            admitted += 1;
            tight += u32::from(load > 0.8);
        }
    }
    println!(
        "{admitted} admitted ({tight} of them above 80 %), {refused} refused ({missed} of them miss indeed), \
         {requests} requests; {written} with writes ({tight_written} of them above 50 %), {done} of these done, \
         {no_room} more had no room for any"
    );
    assert!(broken.is_empty(), "{} of {admitted}:\n{}", broken.len(), broken.join("\n"));
    assert!(admitted > 250 && tight > 15 && refused > 250, "the limit is not reached");
    assert!(written > 80 && tight_written > 40 && done > 2_000, "too little is written");
    // Admission reckons with the worst, which does not come to pass in every run; but it is no mere caution.
    assert!(missed * 10 > refused * 7, "only {missed} of {refused} that were refused miss anything");
}
