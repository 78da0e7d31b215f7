//! What a CAN link takes of its bus and of its executor.

use std::sync::Arc;

use super::model::{CanMessage, CanPlan, CanScan};
use super::time::FrameShape;
use crate::config::Sampling;
use crate::limits::CAN_FRAMES_PER_STEP;
use crate::plan::demand::{Costs, LinkDemand, Stream};
use crate::plan::{LinkWork, Place, Refusal, *};
use crate::protocol::can::model::CanConfig;
use crate::tag::{ById, GroupId, Nanos};

impl LinkWork for CanPlan {
    fn name(&self) -> &'static str {
        "can"
    }

    fn parts(&self) -> usize {
        self.decodes.len() + self.cases.len()
    }

    fn same_target(&self, other: &dyn LinkWork) -> bool {
        other.get::<CanPlan>().is_some_and(|other| {
            self.socket() == other.socket() && self.config.connect_timeout == other.config.connect_timeout
        })
    }

    fn place(&self) -> Option<(Place, Nanos)> {
        Some((Place::Can(Arc::new(self.socket())), self.config.connect_timeout))
    }

    fn listens(&self) -> bool {
        true
    }

    fn is_on_can(&self) -> bool {
        true
    }

    fn slots_per_s(&self, groups: &ById<GroupId, GroupPlan>) -> u64 {
        let per_s = slots_per_s;
        match self.config.sampling {
            Sampling::Latest => {
                let of_scan = |scan: &CanScan| {
                    let beats = &self.beats[scan.beats.start as usize..scan.beats.end as usize];
                    let slots = ring_slots(beats.iter().map(|at| self.decodes[*at as usize].ty));
                    per_s(slots, groups[scan.group].interval())
                };
                self.scans.iter().map(of_scan).sum()
            }
            Sampling::Every => {
                let slots = |message: &CanMessage| ring_slots(self.decodes_of(message).iter().map(|d| d.ty));
                let known = self.messages.iter().filter_map(|m| Some(per_s(slots(m), m.cycle?))).sum::<u64>();
                // Of messages that come when they like, one may fill the bus.
                let unknown = self.messages.iter().filter(|message| message.cycle.is_none());
                known + unknown.map(|message| per_s(slots(message), self.interval_min(message))).max().unwrap_or(0)
            }
        }
    }

    fn demand(&self, plan: &Plan, _scans: &[ScanId], costs: &Costs) -> LinkDemand {
        demand(plan, self, costs)
    }

    fn refusal(&self, demand: &LinkDemand) -> Refusal {
        Refusal::Full(format!(
            "its messages need {:.0} % of the bus at {} bit/s, with the maximum number of stuff bits; send less \
             often, or correct \"bitrate\"",
            demand.load() * 100.0,
            self.config.bitrate
        ))
    }
}

/// Messages come as often as they are said to; a step takes no more than so many of them, also from a bus that is full.
/// What is sent itself takes exact times.
fn demand(plan: &Plan, can: &CanPlan, costs: &Costs) -> LinkDemand {
    // One system call of the three that a request has.
    let receive = Nanos(costs.request.0 / 3);
    let of_scan = |scan: &CanScan| (scan.id, scan.group, plan.groups[scan.group].interval(), scan.beats.len());
    let scans: Vec<_> = can.scans.iter().map(of_scan).collect();
    let mut demand = LinkDemand::sampled(&scans, costs);
    for message in &can.messages {
        let decodes = can.decodes_of(message);
        let (_, frames) = can.frames_of(message);
        let work = Nanos(receive.0 * frames) + Nanos(costs.sample.0 * decodes.len() as u64);
        let full = can.interval_min(message);
        // A message whose cycle time nobody said comes as often as its fastest tag is looked at.
        let looked_at = decodes.iter().map(|decode| plan.groups[decode.group].interval()).min();
        let interval = message.cycle.or(looked_at).unwrap_or(Nanos::from_millis(1_000)).max(full);
        demand.streams.push(Stream { interval, work });
        demand.flood = demand.flood.max(work.0 as f64 / full.0.max(1) as f64);
        demand.handling = demand.handling.max(Nanos(work.0 * CAN_FRAMES_PER_STEP as u64));
    }
    let CanConfig { bitrate, data_bitrate, .. } = can.config;
    for message in can.messages.iter().filter(|message| !message.is_sent) {
        let Some(cycle) = message.cycle else { continue };
        let (shape, frames) = can.frames_of(message);
        demand.wire_bytes_per_s += f64::from(message.bytes) / cycle.as_secs_f64();
        demand.wire_load += frames as f64 * shape.time_max(bitrate, data_bitrate).as_secs_f64() / cycle.as_secs_f64();
    }
    for transmit in &can.transmits {
        let Some(interval) = transmit.period.into_iter().chain(transmit.on_change).min() else { continue };
        let shape = FrameShape { extended: transmit.id.extended, fd: transmit.fd, bytes: transmit.bytes };
        let interval = interval.as_secs_f64().max(1e-9);
        demand.wire_bytes_per_s += f64::from(transmit.bytes) / interval;
        demand.wire_load += shape.time_max(bitrate, data_bitrate).as_secs_f64() / interval;
    }
    demand
}
