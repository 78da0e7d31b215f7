//! What admission accepts of CANopen networks, runs without a miss as long as nodes answer in their declared time and
//! frames take the time that they take on the bus, however much is written meanwhile.

use fastrand::Rng;

use super::admitted::{SIMULATED, promised};
use super::canopen::{FIRST_OBJECT, NODES, kind_of};
use super::{RealParts, Scenario, run};
use crate::config::{Config, Guard};
use crate::plan::Plan;
use crate::plan::demand::Costs;
use crate::protocol;
use crate::protocol::canopen::model::CanOpenConfig;
use crate::protocol::canopen::plan::CanOpenPlan;
use crate::protocol::load_parts;
use crate::tag::{Nanos, ScalarType};

/// A frame of eight bytes with the most stuff bits, and the pause behind it (ISO 11898-1).
const FRAME_BITS: f64 = 135.0;

/// A configuration whose busiest nodes are asked for about `load` of their time.
fn texts(rng: &mut Rng) -> (String, String) {
    let guard = rng.u32(..60);
    let toml = format!("[gateway]\nid = \"sim\"\n[realtime]\nguard_us = {guard}\n[control]\nmax_writes_per_s = 1000\n");
    let periods = [10.0, 20.0, 33.0, 50.0, 100.0, 250.0, 1000.0];
    let around = rng.usize(..periods.len());
    let near = |rng: &mut Rng| periods[(around + rng.usize(..3)).saturating_sub(1).min(periods.len() - 1)];
    let groups: Vec<f64> = (0..rng.usize(1..=3)).map(|_| near(rng)).collect();
    let load = 0.4 + rng.f64() * 0.65;
    let (mut links, mut tags) = (Vec::new(), Vec::new());
    for link in 0..rng.usize(1..=3) {
        let bit_rate = [125_000, 250_000, 500_000, 1_000_000][rng.usize(..4)];
        let (mut index, mut busiest) = (FIRST_OBJECT, 0.0f64);
        let nodes = rng.u8(1..=NODES);
        for node in 1..=nodes {
            let mut answers_per_s = 0.0;
            for (group, period) in groups.iter().enumerate() {
                for _ in 0..rng.usize(1..=4) {
                    index += 1;
                    let (ty, bytes) = kind_of(index, 0);
                    let name = match ty {
                        ScalarType::Int16 => "int16",
                        ScalarType::Uint32 => "uint32",
                        ScalarType::Float32 => "float32",
                        ScalarType::Uint16 => "uint16",
                        _ => "float64",
                    };
                    // What is longer than four bytes comes in segments.
                    answers_per_s += if bytes > 4 { 3.0 } else { 1.0 } * 1e3 / period;
                    let write = if bytes <= 4 && rng.u8(..4) == 0 { r#", "write": true"# } else { "" };
                    tags.push(format!(
                        r#"{{"name": "l{link}.n{node}.{index:x}", "group": "g{group}", "address": "l{link}:{node}:0x{index:04X}:0",
                        "data_type": "{name}"{write}}}"#
                    ));
                }
            }
            busiest = busiest.max(answers_per_s);
        }
        let share = load * (0.5 + rng.f64() / 2.0);
        let expected = (share / busiest * 1e3 - 2.0 * FRAME_BITS * 1e3 / f64::from(bit_rate)).clamp(0.1, 100.0);
        let nodes: Vec<String> = (1..=nodes).map(|id| format!(r#"{{"id": {id}, "heartbeat_ms": 0}}"#)).collect();
        links.push(format!(
            r#"{{"name": "l{link}", "protocol": "canopen", "interface": "cano{link}", "bitrate": {bit_rate},
            "timeout_ms": {}, "expected_reply_ms": {expected:.3}, "nodes": [{}]}}"#,
            (expected * 3.0).ceil().max(50.0),
            nodes.join(", ")
        ));
    }
    let release = |rng: &mut Rng| if rng.bool() { "together" } else { "spread" };
    let groups: Vec<String> = groups
        .iter()
        .enumerate()
        .map(|(i, ms)| format!(r#"{{"name": "g{i}", "scan_rate_ms": {ms}, "release": "{}"}}"#, release(rng)))
        .collect();
    let (groups, links, tags) = (groups.join(", "), links.join(",\n"), tags.join(",\n"));
    (toml, format!("{{\"groups\": [{groups}],\n\"links\": [{links}],\n\"tags\": [{tags}]}}"))
}

/// The plan, though it may not fit; `None`: it does not fit with nodes that take no time either.
fn plan_of(config: &Config, cpus: &[u32]) -> Option<Plan> {
    let mut fast = config.clone();
    for link in &mut fast.links {
        let Some(canopen) = link.protocol.get_mut::<CanOpenConfig>() else { continue };
        (canopen.reply_expected, canopen.bit_rate) = (Nanos(1), 1_000_000);
    }
    fast.tags.iter_mut().for_each(|tag| tag.write = None);
    let free = Costs { request: Nanos(1), sample: Nanos(0), release: Nanos(1), wake_up: Nanos(0) };
    fast.realtime.guard = Guard::Fixed(Nanos(0));
    let mut plan = protocol::build_with(&fast, cpus, &free).ok()?.plan;
    for ((_, link), declared) in plan.links.iter_mut().zip(&config.links) {
        if let (Some(plan), Some(config)) =
            (link.protocol.get_mut::<CanOpenPlan>(), declared.protocol.get::<CanOpenConfig>())
        {
            plan.config = config.clone();
        }
    }
    Some(plan)
}

struct Drawn {
    scenario: Scenario,
    refused: bool,
    /// Of its links, the greatest.
    load: f64,
    text: String,
}

fn drawn(seed: u64) -> Option<Drawn> {
    let mut rng = Rng::with_seed(seed ^ 0xca40);
    let (toml, tags) = texts(&mut rng);
    let mut config = load_parts(("fieldbeat.toml", &toml), &[("tags/sim.json", &tags)])
        .unwrap_or_else(|errors| panic!("seed {seed}: {errors}\n{tags}"))
        .config;
    let cpus: Vec<u32> = (0..rng.u32(1..=2)).collect();
    let mut planned = protocol::build_with(&config, &cpus, &SIMULATED);
    if planned.is_err() || rng.bool() {
        config.tags.iter_mut().for_each(|tag| tag.write = None);
        planned = protocol::build_with(&config, &cpus, &SIMULATED);
    }
    let load = planned
        .as_ref()
        .map_or(0.0, |planned| planned.admission.links.iter().map(|(_, link)| link.load).fold(0.0, f64::max));
    let (plan, refused) = match planned {
        Ok(planned) => (planned.plan, false),
        Err(_) => (plan_of(&config, &cpus)?, true),
    };
    let writes = config.tags.iter().any(|tag| tag.write.is_some());
    let scenario = promised(seed, config, plan, writes, rng.bool());
    Some(Drawn { scenario, refused, load, text: format!("{toml}\n{tags}") })
}

const SEEDS: u64 = 200;

#[test]
fn what_is_admitted_of_networks_misses_nothing_while_nodes_answer_in_their_declared_time() {
    let (mut admitted, mut tight, mut refused, mut missed, mut requests) = (0u32, 0u32, 0u32, 0u32, 0u64);
    let (mut written, mut done) = (0u32, 0u64);
    let mut broken = Vec::new();
    for drawn in (0..SEEDS).filter_map(drawn) {
        let outcome = run(&drawn.scenario, &RealParts);
        requests += outcome.requests;
        written += u32::from(drawn.scenario.script.has_writes());
        done += outcome.writes_done;
        match (drawn.refused, outcome.broken) {
            (false, Some((what, _))) => broken.push(format!("seed {}: {what}\n{}", drawn.scenario.seed, drawn.text)),
            (true, Some(_)) => missed += 1,
            _ => {}
        }
        refused += u32::from(drawn.refused);
        admitted += u32::from(!drawn.refused);
        tight += u32::from(!drawn.refused && drawn.load > 0.8);
    }
    println!(
        "{admitted} admitted ({tight} of them above 80 %), {refused} refused ({missed} of them miss indeed), \
         {requests} requests; {written} with writes, {done} of these done"
    );
    assert!(broken.is_empty(), "{} of {admitted}:\n{}", broken.len(), broken.join("\n"));
    assert!(admitted > 50 && refused > 50, "the limit is not reached");
    assert!(written > 10 && done > 200, "too little is written");
    // That all groups are due together, and each frame has the most bits, seldom comes to pass in so short a time.
    assert!(missed * 10 > refused * 3, "only {missed} of {refused} that were refused miss anything");
}
