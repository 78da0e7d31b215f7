//! Will it fit? The time that one second of work takes, for each link and each executor.
//!
//! Over TCP a request takes its expected reply time, divided by the requests that may be outstanding at
//! once. Over 100 % is refused with the highest possible rate; over 70 % is worth a warning.

use std::fmt;

use super::model::*;
use crate::config::{Config, LinkConfig};
use crate::tag::{ById, LinkId, Nanos};

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
    /// Requests and replies with their TCP, IP and Ethernet headers.
    pub wire_bytes_per_s: f64,
    /// Share of the time that the link is waiting for replies: 1.0 is full.
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
const REQUEST_BYTES: usize = SEGMENT_HEADER_BYTES + 12;
const REPLY_HEADER_BYTES: usize = SEGMENT_HEADER_BYTES + 9;

/// Bytes on the wire for a request and its reply.
pub fn wire_bytes(request: &ModbusRequest) -> usize {
    REQUEST_BYTES + REPLY_HEADER_BYTES + request.value_bytes()
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

fn request_time_s(modbus: &ModbusPlan) -> f64 {
    modbus.config.reply_expected.as_secs_f64() / f64::from(modbus.config.pipeline.max(1))
}

fn link_load(plan: &Plan, link: &LinkPlan) -> LinkLoad {
    let LinkProtocolPlan::Modbus(modbus) = &link.protocol;
    let mut sum = LinkLoad::default();
    for request in modbus.blocks() {
        let rate = rate_hz(plan, request);
        sum.requests_per_s += rate;
        sum.wire_bytes_per_s += rate * wire_bytes(request) as f64;
    }
    sum.load = sum.requests_per_s * request_time_s(modbus);
    sum
}

/// Names the group that asks the most of the link, and the rate at which everything would fit.
fn link_refusal(plan: &Plan, id: LinkId, link: &LinkPlan, load: LinkLoad, file: &str, line: u32) -> String {
    let LinkProtocolPlan::Modbus(modbus) = &link.protocol;
    let heaviest = plan
        .scans
        .values()
        .filter(|s| s.link == id)
        .map(|s| {
            let group = &plan.groups[s.group];
            let requests = s.requests.len();
            (requests as f64 / group.period.as_secs_f64(), requests, group)
        })
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((group_requests_per_s, requests, group)) = heaviest else {
        return format!("link \"{}\" does not fit", link.name);
    };
    let others_s = (load.requests_per_s - group_requests_per_s) * request_time_s(modbus);
    let possible_hz = (LOAD_MAX - others_s).max(0.0) / (requests as f64 * request_time_s(modbus));
    let asked_hz = 1.0 / group.period.as_secs_f64();
    let advice = if possible_hz >= 1.0 {
        format!("at most {:.0} Hz is possible", possible_hz.floor())
    } else {
        "not even 1 Hz is possible beside the link's other groups".to_owned()
    };
    format!(
        "{file}:{line}: link \"{}\", group \"{}\": {requests} requests at {asked_hz:.0} Hz, {:.3} ms each and {} at \
         once, need {:.0} % of the link's time; {advice}. Lower the rate, raise \"pipeline\" if the device takes \
         several requests at once, or correct \"expected_reply_ms\" if it answers faster",
        link.name,
        group.name,
        modbus.config.reply_expected.as_secs_f64() * 1e3,
        modbus.config.pipeline,
        load.load * 100.0,
    )
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
