//! What the work of a Modbus link takes of its line, its devices and its executor.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::line_time::SerialLine;
use super::model::{ModbusTransport, Table};
use super::plan::{ModbusPlan, ModbusRequest, ModbusWrite};
use crate::limits::BROADCAST_PAUSE;
use crate::plan::demand::{Costs, Finding, LinkDemand, ScanDemand, WriteTurn, WriteWay};
use crate::plan::{LinkWork, Place, Refusal, *};
use crate::tag::{ById, GroupId, Nanos, TagId};

/// Ethernet, IP and TCP headers of one segment, without options.
const SEGMENT_HEADER_BYTES: usize = 54;
/// The MBAP header takes 7 bytes, the CRC of RTU 2 beside the unit.
const MBAP_FRAME_BYTES: usize = 7;
const RTU_FRAME_BYTES: usize = 3;
/// Function, address and count; function and byte count.
const READ_REQUEST_PDU_BYTES: usize = 5;
const READ_REPLY_PDU_BYTES: usize = 2;

impl LinkWork for ModbusPlan {
    fn name(&self) -> &'static str {
        "modbus"
    }

    fn parts(&self) -> usize {
        self.requests.len()
    }

    fn same_target(&self, other: &dyn LinkWork) -> bool {
        other.get::<ModbusPlan>().is_some_and(|other| {
            self.config.transport == other.config.transport
                && self.config.connect_timeout == other.config.connect_timeout
        })
    }

    fn place(&self) -> Option<(Place, Nanos)> {
        let place = match &self.config.transport {
            ModbusTransport::Tcp(at) | ModbusTransport::RtuOverTcp(at) => {
                Place::Tcp { host: at.host.as_str().into(), port: at.port }
            }
            ModbusTransport::Serial(serial) => Place::Serial(Arc::new(serial.clone())),
        };
        Some((place, self.config.connect_timeout))
    }

    fn units(&self) -> Vec<(TagId, u8)> {
        let mut units = Vec::new();
        for block in self.blocks() {
            let Some(unit) = self.units.get(usize::from(block.unit)) else { continue };
            let decodes = self.decodes.get(block.decodes.start as usize..block.decodes.end as usize);
            units.extend(decodes.unwrap_or_default().iter().map(|decode| (decode.tag, unit.0)));
        }
        units
    }

    fn requests(&self) -> Vec<PlannedRequest> {
        let request = |request: &ModbusRequest| PlannedRequest {
            group: request.group,
            unit: self.units[usize::from(request.unit)].0,
            what: format!("{:>3} {:>6} {:>6}", request.table.read_function(), request.first, request.count),
            tags: request.decodes.len(),
            wire_bytes: wire_bytes(self, request),
        };
        self.blocks().iter().map(request).collect()
    }

    fn is_polled(&self) -> bool {
        true
    }

    fn load_with(&self, plan: &Plan, reply: Nanos) -> Option<f64> {
        Some(self.load_of(plan, reply))
    }

    fn expect_reply(&mut self, expected: Nanos) {
        self.config.reply_expected = expected;
    }

    fn slots_per_s(&self, groups: &ById<GroupId, GroupPlan>) -> u64 {
        let of_request = |request: &ModbusRequest| {
            let decodes = &self.decodes[request.decodes.start as usize..request.decodes.end as usize];
            slots_per_s(ring_slots(decodes.iter().map(|d| d.ty)), groups[request.group].interval())
        };
        self.blocks().iter().map(of_request).sum()
    }

    fn demand(&self, plan: &Plan, scans: &[ScanId], costs: &Costs) -> LinkDemand {
        demand(plan, self, scans, costs)
    }

    fn write_ways(&self, _plan: &Plan) -> Vec<WriteWay> {
        self.writes.iter().map(|write| WriteWay { tag: write.place.tag, turns: write_turns(self, write) }).collect()
    }

    fn connect_delay(&self) -> Nanos {
        self.config.connect_delay
    }

    fn refusal(&self, demand: &LinkDemand) -> Refusal {
        let (each, helps) = match &self.config.transport {
            ModbusTransport::Serial(serial) => (
                format!("on the line at {} baud", serial.baud_rate),
                "Lower the rate, raise \"baudrate\", split the units over two lines,",
            ),
            ModbusTransport::Tcp(_) => (
                format!("and {} at once", demand.pipeline),
                "Lower the rate, raise \"pipeline\" if the device accepts several requests at once,",
            ),
            ModbusTransport::RtuOverTcp(_) => (format!("and {} at once", demand.pipeline), "Lower the rate,"),
        };
        let or_correct = "or correct \"expected_reply_ms\" if it answers faster";
        Refusal::Requests { each, helps, or_correct }
    }

    fn observed(&self, plan: &Plan, p99: Nanos) -> Option<Finding> {
        match SerialLine::of(&self.config) {
            Some(line) => observed_on_line(plan, self, &line, p99),
            None => Finding::of(self.config.reply_expected, p99, self.load_of(plan, p99)),
        }
    }
}

impl ModbusPlan {
    /// Its link's load when each of its requests takes `reply`.
    fn load_of(&self, plan: &Plan, reply: Nanos) -> f64 {
        let rate = |request: &ModbusRequest| 1.0 / plan.groups[request.group].interval().as_secs_f64();
        let requests_per_s: f64 = self.blocks().iter().map(rate).sum();
        requests_per_s * reply.as_secs_f64() / f64::from(self.config.pipeline.max(1))
    }
}

/// Bytes on the wire for a request and its reply.
fn wire_bytes(modbus: &ModbusPlan, request: &ModbusRequest) -> usize {
    let frame = match &modbus.config.transport {
        ModbusTransport::Tcp(_) => SEGMENT_HEADER_BYTES + MBAP_FRAME_BYTES,
        ModbusTransport::RtuOverTcp(_) => SEGMENT_HEADER_BYTES + RTU_FRAME_BYTES,
        ModbusTransport::Serial(_) => {
            let line = SerialLine::of(&modbus.config);
            let characters =
                |line: SerialLine| line.request_characters() + line.reply_characters(request.table, request.count);
            return line.map_or(0, characters) as usize;
        }
    };
    2 * frame + READ_REQUEST_PDU_BYTES + READ_REPLY_PDU_BYTES + request.value_bytes()
}

fn demand(plan: &Plan, modbus: &ModbusPlan, scans: &[ScanId], costs: &Costs) -> LinkDemand {
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
            demand.wire_bytes_per_s += wire_bytes(modbus, request) as f64 * rate;
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

/// What an executor does while a reply comes in piece by piece: each wakes it to a wait and a receive, two of a
/// request's three calls.
fn early_work(modbus: &ModbusPlan, request: &ModbusRequest, costs: &Costs) -> Nanos {
    let wake_ups = SerialLine::of(&modbus.config).map_or(0, |line| line.early_wake_ups(request.table, request.count));
    Nanos(costs.request.0 * 2 / 3 * u64::from(wake_ups))
}

/// The serial line of a link, with the pause that its devices need between two requests: any may be to another unit than
/// the one before, since blocks of several groups meet in any order.
fn line_of(modbus: &ModbusPlan) -> Option<SerialLine> {
    let pause = modbus.config.pause(modbus.units.len());
    SerialLine::of(&modbus.config).map(|line| SerialLine { pause, ..line })
}

/// What a request takes of the link's time.
fn request_time(modbus: &ModbusPlan, request: &ModbusRequest) -> Nanos {
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

/// With the functions that take longest, since a unit may lack the others: 15 and 16 instead of 5 and 6, and for a bit of
/// a register its register read and written with nothing in between.
fn write_turns(modbus: &ModbusPlan, write: &ModbusWrite) -> Vec<WriteTurn> {
    let config = &modbus.config;
    let is_on_line = !matches!(config.transport, ModbusTransport::Tcp(_));
    let line = line_of(modbus);
    // Bytes from the function code on, of request and reply.
    let exchange = |request: u32, reply: u32| match line {
        Some(line) => line.time_of_pdus(request, reply),
        None => config.reply_expected + config.pause(modbus.units.len()),
    };
    let early = |reply: u32| line.map_or(0, |line| line.early_wake_ups_of(reply));
    let values = if write.table.is_bits() { u32::from(write.count).div_ceil(8) } else { u32::from(write.count) * 2 };
    let unit = modbus.units.get(usize::from(write.unit)).copied().unwrap_or_default();
    if is_on_line && unit.0 == 0 {
        let frame = line.map_or(Nanos::ZERO, |line| line.characters(line.pdu_characters(6 + values)));
        return vec![WriteTurn::of(&[(frame + BROADCAST_PAUSE, 0)])];
    }
    // What a unit rests after each exchange is reckoned as the line's, since its reads wait for it.
    let of = |request, reply| (exchange(request, reply) + config.unit_pause, early(reply));
    let (read, written) = (of(5, 2 + values), of(6 + values, 5));
    let is_part_of_register = write.table == Table::HoldingRegisters && write.place.field.is_part_of_register();
    let first = if is_part_of_register { WriteTurn::of(&[read, written]) } else { WriteTurn::of(&[written]) };
    vec![first, WriteTurn::of(&[read])]
}

/// On a serial line what was seen has the frames in it: what is beyond the longest exchange is the device's.
fn observed_on_line(plan: &Plan, modbus: &ModbusPlan, line: &SerialLine, p99: Nanos) -> Option<Finding> {
    let blocks = modbus.blocks().iter();
    let longest = blocks.clone().map(|r| line.exchange(r.table, r.count)).max()?;
    let over = p99.since(longest);
    let time = |r: &ModbusRequest| (line.line_time(r.table, r.count) + over).as_secs_f64();
    let load: f64 = blocks.map(|r| time(r) / plan.groups[r.group].interval().as_secs_f64()).sum();
    let declared = modbus.config.reply_expected;
    Finding::of(declared, declared + over, load)
}
