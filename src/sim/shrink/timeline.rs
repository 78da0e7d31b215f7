//! The coarse events of a case in the order of their times.

use std::fmt::Debug;

use super::super::case::Case;
use super::super::orders::Manner;
use super::super::script::{Host, Phase};
use super::files;

const SECOND: f64 = 1e9;

/// Each with its time and its words.
pub fn timeline(case: &Case, changed_at: &[u64]) -> Vec<(u64, String)> {
    let events = &case.events;
    let mut all: Vec<(u64, String)> = Vec::new();
    for host in &events.hosts {
        tell(&mut all, host, "as a Modbus device", &host.modbus);
        tell(&mut all, host, "as a local device", &host.local);
        tell(&mut all, host, "as a CAN bus", &host.can);
        tell(&mut all, host, "as a CANopen network", &host.canopen);
    }
    let seconds = |ns: u64| ns as f64 / SECOND;
    all.extend(events.stalls.iter().map(|stall| {
        (stall.at_ns, format!("executor {} stalls for {:.6} s", stall.executor, seconds(stall.length_ns)))
    }));
    all.extend(
        events
            .storms
            .iter()
            .map(|storm| (storm.at_ns, format!("every connection of executor {} breaks", storm.executor))),
    );
    all.extend(
        events
            .consumer_stops
            .iter()
            .map(|span| (span.from_ns, format!("the consumer accepts nothing until {:.6} s", seconds(span.until_ns)))),
    );
    all.extend(
        events.clock_steps.iter().map(|step| (step.at_ns, format!("UTC jumps by {:.6} s", step.by_ns as f64 / SECOND))),
    );
    all.extend(events.crashes.iter().map(|crash| (crash.at_ns, "the journal's process dies".to_owned())));
    all.extend(events.journal_faults.iter().map(|fault| {
        let until = (fault.at_ns + fault.length_ns) as f64 / SECOND;
        let until = if fault.what.lasts() { format!(" until {until:.6} s") } else { String::new() };
        (fault.at_ns, format!("the journal's file: {:?}{until}", fault.what))
    }));
    all.extend(
        events
            .log_stalls
            .iter()
            .map(|span| (span.from_ns, format!("the log is not read until {:.6} s", seconds(span.until_ns)))),
    );
    all.extend(events.writes.iter().map(|write| {
        let tag = write.tag.as_deref().unwrap_or("any tag");
        let times = if write.orders > 1 { format!(", {} times", write.orders) } else { String::new() };
        let Manner { within, old, read_back } = Manner::of(write.draw);
        let plan = if old { ", by the plan before" } else { "" };
        let back = if read_back { ", read back" } else { "" };
        (write.at_ns, format!("{tag} is written{times}, within {:.6} s{back}{plan}", seconds(within)))
    }));
    let mut before = &case.tags;
    for (at, change) in changed_at.iter().zip(&events.changes) {
        all.push((*at, format!("reload: {}", files::difference(before, &change.tags))));
        before = &change.tags;
    }
    all.sort_by_key(|(at, _)| *at);
    all
}

fn tell<M: Debug>(all: &mut Vec<(u64, String)>, host: &Host, kind: &str, phases: &[Phase<M>]) {
    all.extend(phases.iter().map(|Phase { mood, from_ns, until_ns }| {
        let until = *until_ns as f64 / SECOND;
        (*from_ns, format!("host {} {kind}: {mood:?} until {until:.6} s", host.host))
    }));
}

/// When something happens, each time once.
pub fn times(case: &Case, changed_at: &[u64]) -> Vec<u64> {
    let mut times: Vec<u64> = timeline(case, changed_at).into_iter().map(|(at, _)| at).collect();
    times.dedup();
    times
}

/// Without what comes later than `end`.
pub fn up_to(case: &Case, changed_at: &[u64], end: u64) -> Case {
    let mut case = case.clone();
    let events = &mut case.events;
    for host in &mut events.hosts {
        host.modbus.retain(|phase| phase.from_ns <= end);
        host.local.retain(|phase| phase.from_ns <= end);
        host.can.retain(|phase| phase.from_ns <= end);
        host.canopen.retain(|phase| phase.from_ns <= end);
    }
    events.stalls.retain(|stall| stall.at_ns <= end);
    events.storms.retain(|storm| storm.at_ns <= end);
    events.consumer_stops.retain(|span| span.from_ns <= end);
    events.clock_steps.retain(|step| step.at_ns <= end);
    events.crashes.retain(|crash| crash.at_ns <= end);
    events.journal_faults.retain(|fault| fault.at_ns <= end);
    events.log_stalls.retain(|span| span.from_ns <= end);
    events.writes.retain(|write| write.at_ns <= end);
    events.changes.truncate(changed_at.iter().filter(|at| **at <= end).count());
    case
}
