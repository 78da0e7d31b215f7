//! What a CANopen network is asked, in the terms of admission.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cost::BUS;
use super::{CanOpenPlan, CanOpenScan, CanOpenWrite};
use crate::plan::demand::{Costs, LOAD_MAX, LinkDemand, ScanDemand, WriteTurn, WriteWay};
use crate::plan::{LinkWork, Place, Refusal, *};
use crate::tag::{ById, GroupId, NANOS_PER_SEC, Nanos, TagId};

/// Bytes on the bus of a frame with eight bytes of data, about: 135 bits.
const CAN_FRAME_BYTES: f64 = 17.0;

impl LinkWork for CanOpenPlan {
    fn name(&self) -> &'static str {
        "canopen"
    }

    fn parts(&self) -> usize {
        self.items.len() + self.nodes.len()
    }

    fn same_target(&self, other: &dyn LinkWork) -> bool {
        other
            .get::<CanOpenPlan>()
            .is_some_and(|other| self.config.interface == other.config.interface && self.filters() == other.filters())
    }

    fn place(&self) -> Option<(Place, Nanos)> {
        Some((Place::Can(Arc::new(self.socket())), self.config.connect_timeout))
    }

    fn units(&self) -> Vec<(TagId, u8)> {
        let mut units = Vec::new();
        for item in &self.items {
            let Some(node) = self.nodes.get(usize::from(item.node)) else { continue };
            let decodes = self.decodes.get(item.decodes.start as usize..item.decodes.end as usize);
            units.extend(decodes.unwrap_or_default().iter().map(|decode| (decode.tag, node.id)));
        }
        units
    }

    fn is_on_can(&self) -> bool {
        true
    }

    fn unconfirmed(&self) -> &'static str {
        "sent by PDO without confirmation"
    }

    fn slots_per_s(&self, groups: &ById<GroupId, GroupPlan>) -> u64 {
        let of_scan = |scan: &CanOpenScan| {
            let items = &self.items[scan.items.start as usize..scan.items.end as usize];
            let slots = ring_slots(items.iter().flat_map(|item| self.decodes_of(item)).map(|decode| decode.ty));
            slots_per_s(slots, groups[scan.group].interval())
        };
        self.scans.iter().map(of_scan).sum()
    }

    fn demand(&self, plan: &Plan, _scans: &[ScanId], costs: &Costs) -> LinkDemand {
        demand(plan, self, costs)
    }

    fn write_ways(&self, plan: &Plan) -> Vec<WriteWay> {
        let busy = self.load_by_itself(fastest_of(plan, self));
        let of = |write: &CanOpenWrite| {
            let [download, upload] = self.write_times(write, CanOpenPlan::stretch(busy));
            WriteWay { tag: write.decode.tag, turns: vec![WriteTurn::of(&[(download, 0), (upload, 0)])] }
        };
        self.writes.iter().map(of).collect()
    }

    fn refusal(&self, demand: &LinkDemand) -> Refusal {
        let fastest = demand.scans.iter().map(|scan| scan.period).min().unwrap_or(Nanos(NANOS_PER_SEC));
        let load = self.load_by_itself(fastest);
        if load > LOAD_MAX {
            // Before anything is asked.
            return Refusal::Full(format!(
                "SYNC, heartbeats and the PDOs of its nodes need {:.0} % of the bus at {} bit/s, with the maximum \
                 number of stuff bits; raise \"sync_ms\", have PDOs sent less often, or correct \"bitrate\"",
                load * 100.0,
                self.config.bit_rate
            ));
        }
        Refusal::Requests {
            each: format!("and {} at once", demand.pipeline),
            helps: "Lower the rate,",
            or_correct: "or correct \"expected_reply_ms\" if it answers faster",
        }
    }
}

/// The shortest period of a network's groups.
fn fastest_of(plan: &Plan, canopen: &CanOpenPlan) -> Nanos {
    let period = |scan: &CanOpenScan| plan.groups[scan.group].interval();
    canopen.scans.iter().map(period).min().unwrap_or(Nanos(NANOS_PER_SEC))
}

/// Of a CANopen network: reads by SDO, of each node one after the other; and what its PDOs bring.
fn demand(plan: &Plan, canopen: &CanOpenPlan, costs: &Costs) -> LinkDemand {
    let period = |group: GroupId| plan.groups[group].interval();
    let fastest = fastest_of(plan, canopen);
    let frames_per_s = canopen.frames_by_themselves(fastest);
    let busy = canopen.load_by_itself(fastest);
    // What waits for the bus waits the longer the busier it is.
    let mut scans = canopen.scan_costs(CanOpenPlan::stretch(busy));
    let mut of_node: BTreeMap<u16, f64> = BTreeMap::new();
    for (unit, time, period) in scans.iter().flat_map(|s| s.units.iter().map(|u| (u.0, u.1, period(s.group)))) {
        if unit != BUS {
            *of_node.entry(unit).or_default() += time.as_secs_f64() / period.as_secs_f64();
        }
    }
    // Nodes answer side by side; as many count as have as much to do as the busiest.
    let busiest = of_node.values().copied().fold(0.0, f64::max);
    let abreast = if busiest > 0.0 { (of_node.values().sum::<f64>() / busiest + 1e-9) as u64 } else { 1 };
    let mut demand = LinkDemand::nothing(abreast.max(1));
    if let Some(first) = scans.first_mut() {
        let period = period(first.group);
        first.units[0].1 += Nanos((busy * period.0 as f64) as u64);
    }
    demand.handling = costs.of_request(1);
    demand.wire_bytes_per_s = frames_per_s * CAN_FRAME_BYTES;
    for (at, scan) in scans.into_iter().enumerate() {
        let period = period(scan.group);
        let by_themselves = if at == 0 { (frames_per_s * period.as_secs_f64()).ceil() as u64 } else { 0 };
        demand.samples_per_s += scan.tags as f64 / period.as_secs_f64();
        demand.wire_bytes_per_s += scan.frames as f64 * CAN_FRAME_BYTES / period.as_secs_f64();
        demand.reply = demand.reply.max(scan.longest);
        demand.scans.push(ScanDemand {
            id: scan.id,
            group: scan.group,
            period,
            phase: Nanos::ZERO,
            requests: scan.requests,
            line: scan.time,
            longest: scan.longest,
            units: scan.units,
            work: Nanos(costs.request.0 * (scan.frames / 2 + by_themselves) + costs.sample.0 * scan.tags),
        });
    }
    demand
}
