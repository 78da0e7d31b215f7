//! Will it fit? The time that one second of work takes, for each link and each executor.
//!
//! Over TCP a request takes its expected reply time, divided by the requests that may be outstanding at
//! once; on a serial line, the exact time of its characters and silences. Over 100 % is refused with the highest possible rate; over 70 % is worth a warning.

mod serial;

use std::collections::BTreeMap;
use std::fmt;

use super::model::*;
use crate::config::{Config, LinkConfig, ModbusTransport};
use crate::tag::{ById, LinkId, Nanos};

pub use serial::SerialLine;

/// A load above this is a warning.
pub const LOAD_WARNING: f64 = 0.70;
/// A load above this is refused.
pub const LOAD_MAX: f64 = 1.0;

/// What a request costs the executor besides its samples: three system calls and the bookkeeping.
const EXECUTOR_REQUEST: Nanos = Nanos::from_micros(20);
/// What a sample costs the executor.
const EXECUTOR_SAMPLE: Nanos = Nanos(25);
/// What a release costs the executor: one wake-up.
const EXECUTOR_RELEASE: Nanos = Nanos::from_micros(15);

/// The reckoning of a whole plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Admission {
    pub links: ById<LinkId, LinkLoad>,
    /// By ExecutorId.
    pub executors: Vec<ExecutorLoad>,
    /// Links and executors above [`LOAD_WARNING`].
    pub warnings: Vec<String>,
}

/// One link's work.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LinkLoad {
    pub requests_per_s: f64,
    /// Requests and replies with their TCP, IP and Ethernet headers; on a serial line, characters.
    pub wire_bytes_per_s: f64,
    /// Share of the time that the link is busy with frames or waiting for replies: 1.0 is full.
    pub load: f64,
}

/// One executor's work.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ExecutorLoad {
    pub requests_per_s: f64,
    pub samples_per_s: f64,
    /// Share of the CPU: 1.0 is full.
    pub load: f64,
}

/// Why a plan is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanError {
    pub refusals: Vec<String>,
    /// The whole reckoning, for the table.
    pub admission: Admission,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for refusal in &self.refusals {
            writeln!(f, "error: {refusal}")?;
        }
        write!(f, "{} that cannot fit; nothing was started", self.refusals.len())
    }
}

impl std::error::Error for PlanError {}

/// Ethernet, IP and TCP headers of one segment, without options.
const SEGMENT_HEADER_BYTES: usize = 54;
/// The MBAP header takes 7 bytes, the CRC of RTU 2 beside the unit.
const MBAP_FRAME_BYTES: usize = 7;
const RTU_FRAME_BYTES: usize = 3;
/// Function, address and count; function and byte count.
const READ_REQUEST_PDU_BYTES: usize = 5;
const READ_REPLY_PDU_BYTES: usize = 2;

/// Bytes on the wire for a request and its reply.
pub fn wire_bytes(modbus: &ModbusPlan, request: &ModbusRequest) -> usize {
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

impl PlanError {
    /// For what has nothing to do with time.
    pub(super) fn of_text(refusal: String) -> PlanError {
        PlanError { refusals: vec![refusal], admission: Admission::default() }
    }
}

/// Reckons, and refuses what cannot fit. `ids` are those of the configuration's links.
pub fn admit(config: &Config, ids: &[LinkId], plan: &Plan) -> Result<Admission, PlanError> {
    let mut admission = Admission::default();
    let mut refusals = Vec::new();
    for (id, LinkConfig { source, .. }) in ids.iter().copied().zip(&config.links) {
        let link = &plan.links[id];
        let load = link_load(plan, link);
        if load.load > LOAD_MAX {
            refusals.push(link_refusal(plan, id, link, load, &source.file, source.line));
        } else if load.load > LOAD_WARNING {
            admission.warnings.push(format!("link \"{}\" is at {:.0} % of its time", link.name, load.load * 100.0));
        }
        admission.links.insert(id, load);
    }
    for (index, executor) in plan.executors.iter().enumerate() {
        let load = executor_load(plan, executor, &admission);
        if load.load > LOAD_MAX {
            refusals.push(format!(
                "executor {index} on CPU {} would need {:.0} % of it ({:.0} requests/s, {:.0} samples/s); \
                 give realtime.cores more CPUs, or scan at {:.0} % of the asked rates",
                executor.cpu,
                load.load * 100.0,
                load.requests_per_s,
                load.samples_per_s,
                100.0 / load.load,
            ));
        } else if load.load > LOAD_WARNING {
            admission.warnings.push(format!(
                "executor {index} on CPU {} is at {:.0} % of its time",
                executor.cpu,
                load.load * 100.0
            ));
        }
        admission.executors.push(load);
    }
    if refusals.is_empty() { Ok(admission) } else { Err(PlanError { refusals, admission }) }
}

fn rate_hz(plan: &Plan, request: &ModbusRequest) -> f64 {
    1.0 / plan.groups[request.group].period.as_secs_f64()
}

/// What a request takes of the link's time.
fn request_time_s(modbus: &ModbusPlan, request: &ModbusRequest) -> f64 {
    let config = &modbus.config;
    match SerialLine::of(config) {
        Some(line) => line.line_time(request.table, request.count).as_secs_f64(),
        None => (config.reply_expected + config.turnaround).as_secs_f64() / f64::from(config.pipeline.max(1)),
    }
}

/// The load of the busiest unit, where units are given a pause between their requests.
fn busiest_unit(plan: &Plan, modbus: &ModbusPlan) -> f64 {
    let pause = modbus.config.unit_pause;
    if pause == Nanos::ZERO {
        return 0.0;
    }
    let mut load_of_unit: BTreeMap<u16, f64> = BTreeMap::new();
    for request in modbus.blocks() {
        let exchange = match SerialLine::of(&modbus.config) {
            Some(line) => line.exchange(request.table, request.count),
            None => modbus.config.reply_expected,
        };
        *load_of_unit.entry(request.unit).or_default() += rate_hz(plan, request) * (exchange + pause).as_secs_f64();
    }
    load_of_unit.into_values().fold(0.0, f64::max)
}

fn link_load(plan: &Plan, link: &LinkPlan) -> LinkLoad {
    let LinkProtocolPlan::Modbus(modbus) = &link.protocol;
    let mut sum = LinkLoad::default();
    for request in modbus.blocks() {
        let rate = rate_hz(plan, request);
        sum.requests_per_s += rate;
        sum.wire_bytes_per_s += rate * wire_bytes(modbus, request) as f64;
        sum.load += rate * request_time_s(modbus, request);
    }
    sum.load = sum.load.max(busiest_unit(plan, modbus));
    sum
}

/// Names the group that asks the most of the link, and the rate at which everything would fit.
fn link_refusal(plan: &Plan, id: LinkId, link: &LinkPlan, load: LinkLoad, file: &str, line: u32) -> String {
    let LinkProtocolPlan::Modbus(modbus) = &link.protocol;
    let time_of = |scan: &ScanPlan| -> f64 {
        let requests = &modbus.requests[scan.requests.start as usize..scan.requests.end as usize];
        requests.iter().map(|request| request_time_s(modbus, request)).sum()
    };
    let heaviest = plan
        .scans
        .values()
        .filter(|s| s.link == id)
        .map(|s| {
            let group = &plan.groups[s.group];
            let cycle_s = time_of(s);
            (cycle_s / group.period.as_secs_f64(), cycle_s, s.requests.len(), group)
        })
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((share, cycle_s, requests, group)) = heaviest else {
        return format!("link \"{}\" does not fit", link.name);
    };
    // A unit's pauses are not the line's time: where they are what does not fit, all rates go down alike.
    let lines = load.load - busiest_unit(plan, modbus) > f64::EPSILON;
    let asked_hz = 1.0 / group.period.as_secs_f64();
    let possible_hz = match lines || modbus.config.unit_pause == Nanos::ZERO {
        true => (LOAD_MAX - (load.load - share)).max(0.0) / cycle_s,
        false => asked_hz / load.load,
    };
    let advice = if possible_hz >= 1.0 {
        format!("at most {:.0} Hz is possible", possible_hz.floor())
    } else {
        "not even 1 Hz is possible beside the link's other groups".to_owned()
    };
    let each_ms = cycle_s * 1e3 / requests as f64;
    let percent = load.load * 100.0;
    let asked = format!(
        "{file}:{line}: link \"{}\", group \"{}\": {requests} requests at {asked_hz:.0} Hz",
        link.name, group.name
    );
    match &modbus.config.transport {
        ModbusTransport::Serial(serial) => format!(
            "{asked}, {each_ms:.3} ms each on the line at {} baud, need {percent:.0} % of the link's time; {advice}. \
             Lower the rate, raise \"baudrate\" if the devices can, split the units over two lines, or correct \
             \"expected_reply_ms\" if they answer faster",
            serial.baud_rate
        ),
        ModbusTransport::RtuOverTcp(_) => format!(
            "{asked}, {each_ms:.3} ms each, need {percent:.0} % of the link's time; {advice}. Lower the rate, or correct \
             \"expected_reply_ms\" if it answers faster"
        ),
        ModbusTransport::Tcp(_) => format!(
            "{asked}, {:.3} ms each and {} at once, need {percent:.0} % of the link's time; {advice}. Lower the rate, \
             raise \"pipeline\" if the device takes several requests at once, or correct \"expected_reply_ms\" if it \
             answers faster",
            modbus.config.reply_expected.as_secs_f64() * 1e3,
            modbus.config.pipeline,
        ),
    }
}

fn executor_load(plan: &Plan, executor: &ExecutorPlan, admission: &Admission) -> ExecutorLoad {
    let requests_per_s: f64 = executor.links.iter().map(|l| admission.links[*l].requests_per_s).sum();
    let releases_per_s: f64 = executor.releases.iter().map(|r| 1.0 / r.period.as_secs_f64()).sum();
    let samples_per_s = executor
        .links
        .iter()
        .map(|l| {
            let LinkProtocolPlan::Modbus(modbus) = &plan.links[*l].protocol;
            modbus.blocks().iter().map(|r| r.decodes.len() as f64 * rate_hz(plan, r)).sum::<f64>()
        })
        .sum();
    let load = requests_per_s * EXECUTOR_REQUEST.as_secs_f64()
        + releases_per_s * EXECUTOR_RELEASE.as_secs_f64()
        + samples_per_s * EXECUTOR_SAMPLE.as_secs_f64();
    ExecutorLoad { requests_per_s, samples_per_s, load }
}
