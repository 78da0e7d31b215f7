//! What links are asked to do, in the terms of the reckoning.

use std::collections::BTreeMap;

use super::Costs;
use super::serial::SerialLine;
use super::writes::WriteDemand;
use crate::config::CanConfig;
use crate::limits::{BUS_EDGES_AT_ONCE_MAX, CAN_FRAMES_PER_STEP};
use crate::plan::can::FrameShape;
use crate::plan::canopen::BUS as CANOPEN_BUS;
use crate::plan::model::*;
use crate::tag::{GroupId, LinkId, NANOS_PER_SEC, Nanos};

/// Bytes on the bus of a frame with eight bytes of data, about: 135 bits.
const CAN_FRAME_BYTES: f64 = 17.0;

/// One group's requests on a link.
#[derive(Debug, Clone)]
pub(super) struct ScanDemand {
    pub id: ScanId,
    pub group: GroupId,
    pub period: Nanos,
    pub phase: Nanos,
    pub requests: u64,
    /// What a cycle takes of the link's time, and its longest request.
    pub line: Nanos,
    pub longest: Nanos,
    /// Units that need a pause after each request: what a cycle takes of each one's time. Empty where none does.
    pub units: Vec<(u16, Nanos)>,
    /// What a cycle costs the executor, without the release.
    pub work: Nanos,
}

/// One link's scans in the order in which they are served: the faster first.
#[derive(Debug, Clone)]
pub(super) struct LinkDemand {
    pub scans: Vec<ScanDemand>,
    /// Requests that may be outstanding.
    pub pipeline: u64,
    /// The same, and never more than there are requests.
    pub places: u64,
    /// What the longest request takes of the link's time: from request to reply by the device, and on a serial line
    /// the exact time of all that is on the wire, silences included.
    pub reply: Nanos,
    /// What the costliest reply keeps the executor busy, with the request that follows it.
    pub handling: Nanos,
    pub samples_per_s: f64,
    pub wire_bytes_per_s: f64,
    /// Share of the wire's time that is taken whatever the scans ask.
    pub wire_load: f64,
    /// What comes without being asked for, as often as it is said to.
    pub streams: Vec<Stream>,
    /// Share of the executor's time that it takes when the wire is full of it, which nobody said.
    pub flood: f64,
    /// What is written to it, so far as that is reckoned with.
    pub writes: Option<WriteDemand>,
}

/// Things that come by themselves, one each interval, and what each costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stream {
    pub interval: Nanos,
    pub work: Nanos,
}

impl LinkDemand {
    fn nothing(pipeline: u64) -> LinkDemand {
        LinkDemand {
            scans: Vec::new(),
            pipeline,
            places: 1,
            reply: Nanos::ZERO,
            handling: Nanos::ZERO,
            samples_per_s: 0.0,
            wire_bytes_per_s: 0.0,
            wire_load: 0.0,
            streams: Vec::new(),
            flood: 0.0,
            writes: None,
        }
    }

    /// The same, with writes.
    pub fn with_writes(&self, writes: WriteDemand, costs: &Costs) -> LinkDemand {
        let mut demand = LinkDemand {
            reply: self.reply.max(writes.longest),
            handling: self.handling.max(costs.of_request(1)),
            writes: Some(writes),
            ..self.clone()
        };
        demand.places = demand.pipeline.min(demand.side_by_side()).max(1);
        demand
    }

    /// Requests that may want a place at once: a write is one at a time.
    pub fn side_by_side(&self) -> u64 {
        self.requests() + u64::from(self.writes.is_some())
    }

    /// Of one cycle of every scan.
    pub fn requests(&self) -> u64 {
        self.scans.iter().map(|s| s.requests).sum()
    }

    pub fn requests_per_s(&self) -> f64 {
        self.scans.iter().map(|s| s.requests as f64 / s.period.as_secs_f64()).sum()
    }

    /// Share of the time that the device is busy with it.
    pub fn load(&self) -> f64 {
        let line: f64 = self.scans.iter().map(|s| s.line.as_secs_f64() / s.period.as_secs_f64()).sum();
        // All may be of the busiest unit.
        let writes = self.writes.map_or(0.0, |w| w.line.as_secs_f64() / w.spacing.as_secs_f64());
        let busiest = self.load_of_busiest_unit();
        let of_unit = if busiest > 0.0 { busiest + writes } else { 0.0 };
        ((line + writes) / self.pipeline as f64).max(of_unit) + self.wire_load
    }

    /// Where units are to be left alone after each request: the share of its time that the busiest is taken.
    fn load_of_busiest_unit(&self) -> f64 {
        let mut load_of_unit: BTreeMap<u16, f64> = BTreeMap::new();
        for scan in &self.scans {
            for (unit, time) in &scan.units {
                *load_of_unit.entry(*unit).or_default() += time.as_secs_f64() / scan.period.as_secs_f64();
            }
        }
        load_of_unit.into_values().fold(0.0, f64::max)
    }

    /// What a step of the link costs its executor at most: every reply that may be there at once.
    pub fn pass(&self) -> Nanos {
        Nanos(self.places * self.handling.0)
    }

    /// What a place is taken for by one request: the device's time, until the executor is awake, and until it has
    /// handled all that may have come with the reply.
    pub fn turn(&self, wake_up: Nanos) -> Nanos {
        self.reply + wake_up + self.pass()
    }

    /// The same, of a scan's longest request.
    pub fn turn_of(&self, at: usize, wake_up: Nanos) -> Nanos {
        self.scans[at].longest + wake_up + self.pass()
    }
}

/// What each link is asked, by the plan's order of links; `phases` by scan.
pub(super) fn link_demand(plan: &Plan, id: LinkId, phases: &[Nanos], scans: &[ScanId], costs: &Costs) -> LinkDemand {
    let phase = |scan: ScanId| phases.get(scan.index()).copied().unwrap_or_default();
    let mut demand = match &plan.links[id].protocol {
        LinkProtocolPlan::Modbus(modbus) => modbus_demand(plan, modbus, scans, costs),
        LinkProtocolPlan::Can(can) => can_demand(plan, can, costs),
        LinkProtocolPlan::CanOpen(canopen) => canopen_demand(plan, canopen, costs),
        LinkProtocolPlan::Bus(bus) => bus_demand(plan, bus, scans, costs),
        // An ordinary thread's: it takes nothing of an executor, and is no field link.
        LinkProtocolPlan::Diagnostics(_) => LinkDemand::nothing(1),
    };
    demand.scans.iter_mut().for_each(|scan| scan.phase = phase(scan.id));
    // As the link serves them; equal periods by their ids.
    demand.scans.sort_by_key(|scan| scan.period);
    demand.places = demand.pipeline.min(demand.requests()).max(1);
    demand
}

/// Of a link that asks nothing: its device sends by itself, and a release takes what came.
fn sampled_demand(plan: &Plan, scans: &[(ScanId, GroupId, usize)], costs: &Costs) -> LinkDemand {
    let mut demand = LinkDemand::nothing(1);
    for (id, group, tags) in scans {
        let period = plan.groups[*group].interval();
        demand.samples_per_s += *tags as f64 / period.as_secs_f64();
        demand.scans.push(ScanDemand {
            id: *id,
            group: *group,
            period,
            phase: Nanos::ZERO,
            requests: 0,
            line: Nanos::ZERO,
            longest: Nanos::ZERO,
            units: Vec::new(),
            work: Nanos(costs.sample.0 * *tags as u64),
        });
    }
    demand
}

/// Messages come as often as they are said to; a step takes no more than so many of them, also from a bus that is full.
/// What is sent itself takes exact times.
fn can_demand(plan: &Plan, can: &CanPlan, costs: &Costs) -> LinkDemand {
    // One system call of the three that a request has.
    let receive = Nanos(costs.request.0 / 3);
    let scans: Vec<_> = can.scans.iter().map(|scan| (scan.id, scan.group, scan.beats.len())).collect();
    let mut demand = sampled_demand(plan, &scans, costs);
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

fn modbus_demand(plan: &Plan, modbus: &ModbusPlan, scans: &[ScanId], costs: &Costs) -> LinkDemand {
    let mut demand = LinkDemand::nothing(u64::from(modbus.config.pipeline.max(1)));
    for scan_id in scans {
        let scan = &plan.scans[*scan_id];
        let period = plan.groups[scan.group].interval();
        let rate = 1.0 / period.as_secs_f64();
        let (mut work, mut line, mut longest) = (Nanos::ZERO, Nanos::ZERO, Nanos::ZERO);
        let requests = &modbus.requests[scan.requests.start as usize..scan.requests.end as usize];
        for request in requests {
            let handling = costs.of_request(request.decodes.len());
            work += handling + early_work(modbus, request, costs);
            demand.handling = demand.handling.max(handling);
            demand.samples_per_s += request.decodes.len() as f64 * rate;
            demand.wire_bytes_per_s += super::wire_bytes(modbus, request) as f64 * rate;
            let time = request_time(modbus, request);
            line += time;
            longest = longest.max(time);
        }
        demand.reply = demand.reply.max(longest);
        demand.scans.push(ScanDemand {
            id: *scan_id,
            group: scan.group,
            period,
            phase: Nanos::ZERO,
            requests: requests.len() as u64,
            line,
            longest,
            units: unit_times(modbus, requests),
            work,
        });
    }
    demand
}

/// The shortest period of a network's groups.
pub(super) fn fastest_of(plan: &Plan, canopen: &CanOpenPlan) -> Nanos {
    let period = |scan: &CanOpenScan| plan.groups[scan.group].interval();
    canopen.scans.iter().map(period).min().unwrap_or(Nanos(NANOS_PER_SEC))
}

/// Of a CANopen network: reads by SDO, of each node one after the other; and what its PDOs bring.
fn canopen_demand(plan: &Plan, canopen: &CanOpenPlan, costs: &Costs) -> LinkDemand {
    let period = |group: GroupId| plan.groups[group].interval();
    let fastest = fastest_of(plan, canopen);
    let frames_per_s = canopen.frames_by_themselves(fastest);
    let busy = canopen.load_by_itself(fastest);
    // What waits for the bus waits the longer the busier it is.
    let mut scans = canopen.scan_costs(CanOpenPlan::stretch(busy));
    let mut of_node: BTreeMap<u16, f64> = BTreeMap::new();
    for (unit, time, period) in scans.iter().flat_map(|s| s.units.iter().map(|u| (u.0, u.1, period(s.group)))) {
        if unit != CANOPEN_BUS {
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

/// Of a device with a thread of its own: one request at a time, each as long as its accesses take.
fn bus_demand(plan: &Plan, bus: &BusPlan, scans: &[ScanId], costs: &Costs) -> LinkDemand {
    let mut demand = LinkDemand::nothing(1);
    let by_themselves = bus.samples_per_s() as f64;
    demand.samples_per_s += by_themselves;
    for id in scans {
        let scan = &plan.scans[*id];
        let period = plan.groups[scan.group].interval();
        let requests = &bus.requests[scan.requests.start as usize..scan.requests.end as usize];
        let (mut work, mut line, mut longest) = (Nanos::ZERO, Nanos::ZERO, Nanos::ZERO);
        for request in requests {
            let handling = costs.of_request(request.items.len());
            work += handling;
            demand.handling = demand.handling.max(handling);
            demand.samples_per_s += request.items.len() as f64 / period.as_secs_f64();
            line += request.time;
            longest = longest.max(request.time);
        }
        // What comes meanwhile, so many to a datagram, which is half of a request's work.
        let samples = by_themselves * period.as_secs_f64() / scans.len() as f64;
        let datagram = costs.request.0 as f64 / 2.0 / BUS_EDGES_AT_ONCE_MAX as f64;
        work += Nanos((samples * (datagram + costs.sample.0 as f64)) as u64);
        demand.reply = demand.reply.max(longest);
        demand.scans.push(ScanDemand {
            id: *id,
            group: scan.group,
            period,
            phase: Nanos::ZERO,
            requests: requests.len() as u64,
            line,
            longest,
            units: Vec::new(),
            work,
        });
    }
    demand
}

/// What an executor does while a reply comes in piece by piece: each wakes it to a wait and a receive, two of a
/// request's three calls.
fn early_work(modbus: &ModbusPlan, request: &ModbusRequest, costs: &Costs) -> Nanos {
    let wake_ups = SerialLine::of(&modbus.config).map_or(0, |line| line.early_wake_ups(request.table, request.count));
    Nanos(costs.request.0 * 2 / 3 * u64::from(wake_ups))
}

/// The serial line of a link, with the pause that its devices need between two requests: any may be to another unit than
/// the one before, since blocks of several groups meet in any order.
pub(super) fn line_of(modbus: &ModbusPlan) -> Option<SerialLine> {
    let pause = modbus.config.pause(modbus.units.len());
    SerialLine::of(&modbus.config).map(|line| SerialLine { pause, ..line })
}

/// What a request takes of the link's time.
pub(super) fn request_time(modbus: &ModbusPlan, request: &ModbusRequest) -> Nanos {
    match line_of(modbus) {
        Some(line) => line.line_time(request.table, request.count),
        None => modbus.config.reply_expected + modbus.config.pause(modbus.units.len()),
    }
}

/// What a cycle of these requests takes of each unit's time, pauses included; empty where units need no pause.
fn unit_times(modbus: &ModbusPlan, requests: &[ModbusRequest]) -> Vec<(u16, Nanos)> {
    let pause = modbus.config.unit_pause;
    let mut time_of_unit: BTreeMap<u16, Nanos> = BTreeMap::new();
    if pause > Nanos::ZERO {
        for request in requests {
            let exchange = match SerialLine::of(&modbus.config) {
                Some(line) => line.exchange(request.table, request.count),
                None => modbus.config.reply_expected,
            };
            *time_of_unit.entry(request.unit).or_default() += exchange + pause;
        }
    }
    time_of_unit.into_iter().collect()
}

/// The phase of each scan, by its id.
pub(super) fn phases(plan: &Plan) -> Vec<Nanos> {
    let mut phases = vec![Nanos::ZERO; plan.scans.end()];
    for release in plan.lanes.iter().flat_map(|executor| &executor.releases) {
        release.scans.iter().for_each(|scan| phases[scan.index()] = release.phase);
    }
    phases
}
