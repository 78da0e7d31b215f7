//! Do devices answer as fast as was declared? What the reply times that were seen make of a link's load.

use super::{LOAD_MAX, LOAD_WARNING, SerialLine};
use crate::plan::model::*;
use crate::tag::{LinkId, Nanos};

/// The declared reply time of a link is too short for what its device does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    pub declared: Nanos,
    /// The 99th percentile of what was seen.
    pub seen: Nanos,
    /// The link's load with it.
    pub load: f64,
    /// It does not fit: deadlines are missed. Else it is only tight.
    pub is_over: bool,
}

/// A link's load when each of its requests takes `reply`.
pub fn load_with(plan: &Plan, link: LinkId, reply: Nanos) -> f64 {
    let Some(modbus) = plan.links.get(link).and_then(|link| link.protocol.modbus()) else { return 0.0 };
    let rate = |request: &ModbusRequest| 1.0 / plan.groups[request.group].interval().as_secs_f64();
    let requests_per_s: f64 = modbus.blocks().iter().map(rate).sum();
    requests_per_s * reply.as_secs_f64() / f64::from(modbus.config.pipeline.max(1))
}

/// What the replies that were seen say against the declared time: `None` while it holds, or while the link has room
/// all the same. `p99`: the 99th percentile of received − sent.
pub fn observed(plan: &Plan, link: LinkId, p99: Nanos) -> Option<Finding> {
    let modbus = match &plan.links.get(link)?.protocol {
        LinkProtocolPlan::Modbus(modbus) => modbus,
        LinkProtocolPlan::Bus(bus) => return observed_on_bus(plan, bus, p99),
        LinkProtocolPlan::Can(_) | LinkProtocolPlan::CanOpen(_) | LinkProtocolPlan::Diagnostics(_) => return None,
    };
    let declared = modbus.config.reply_expected;
    if let Some(line) = SerialLine::of(&modbus.config) {
        return observed_on_line(plan, modbus, &line, p99);
    }
    let load = load_with(plan, link, p99);
    (p99 > declared && load > LOAD_WARNING).then_some(Finding { declared, seen: p99, load, is_over: load > LOAD_MAX })
}

/// A local bus: what is beyond the longest request as it is reckoned, each of them may take. `declared` is that request,
/// with its accesses' `overhead_ms`.
fn observed_on_bus(plan: &Plan, bus: &BusPlan, p99: Nanos) -> Option<Finding> {
    let declared = bus.requests.iter().map(|request| request.time).max()?;
    let over = p99.since(declared);
    let share = |r: &BusRequest| (r.time + over).as_secs_f64() / plan.groups[r.group].interval().as_secs_f64();
    let load: f64 = bus.requests.iter().map(share).sum();
    let is_found = over > Nanos::ZERO && load > LOAD_WARNING;
    is_found.then_some(Finding { declared, seen: p99, load, is_over: load > LOAD_MAX })
}

/// On a serial line what was seen has the frames in it: what is beyond the longest exchange is the device's.
fn observed_on_line(plan: &Plan, modbus: &ModbusPlan, line: &SerialLine, p99: Nanos) -> Option<Finding> {
    let blocks = modbus.blocks().iter();
    let longest = blocks.clone().map(|r| line.exchange(r.table, r.count)).max()?;
    let over = p99.since(longest);
    let time = |r: &ModbusRequest| (line.line_time(r.table, r.count) + over).as_secs_f64();
    let load: f64 = blocks.map(|r| time(r) / plan.groups[r.group].interval().as_secs_f64()).sum();
    let declared = modbus.config.reply_expected;
    (over > Nanos::ZERO && load > LOAD_WARNING).then_some(Finding {
        declared,
        seen: declared + over,
        load,
        is_over: load > LOAD_MAX,
    })
}
