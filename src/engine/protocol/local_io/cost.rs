//! What a device file of the machine takes of its thread and of its executor.

use super::model::{LocalIoDevice, Step};
use super::plan::{LocalIoRequest, LocalIoWrite, step_time};
use crate::limits::{GPIO_EDGES_PER_S_MAX, LOCAL_IO_EDGES_AT_ONCE_MAX, LOCAL_IO_OPEN_TIMEOUT};
use crate::plan::demand::{Costs, Finding, LinkDemand, ScanDemand, WriteTurn, WriteWay};
use crate::plan::{LinkWork, Place, Refusal, *};
use crate::protocol::local_io::LocalIoPlan;
use crate::tag::{ById, GroupId, Nanos, TagId};

impl LinkWork for LocalIoPlan {
    fn name(&self) -> &'static str {
        "local_io"
    }

    fn parts(&self) -> usize {
        self.tags.len()
    }

    /// The thread of a device knows all that is read and written: with another setup, it is another one.
    fn same_target(&self, other: &dyn LinkWork) -> bool {
        other.get::<LocalIoPlan>().is_some_and(|other| self.setup == other.setup)
    }

    fn place(&self) -> Option<(Place, Nanos)> {
        Some((Place::Own(self.setup.clone()), LOCAL_IO_OPEN_TIMEOUT))
    }

    fn reply_key(&self) -> &'static str {
        "overhead_ms"
    }

    fn slots_per_s(&self, groups: &ById<GroupId, GroupPlan>) -> u64 {
        let of_request =
            |request: &LocalIoRequest| slots_per_s(request.items.len() as u64, groups[request.group].interval());
        let edges = self.items_that_tell() as u64 * GPIO_EDGES_PER_S_MAX;
        self.requests.iter().map(of_request).sum::<u64>() + edges + self.samples_per_s()
    }

    fn demand(&self, plan: &Plan, scans: &[ScanId], costs: &Costs) -> LinkDemand {
        demand(plan, self, scans, costs)
    }

    fn write_ways(&self, _plan: &Plan) -> Vec<WriteWay> {
        let of = |(write, tag): (&LocalIoWrite, &TagId)| WriteWay {
            tag: *tag,
            turns: vec![WriteTurn::of(&[(write_time(self, write), 0)])],
        };
        self.setup.writes.iter().zip(&self.writes).map(of).collect()
    }

    fn refusal(&self, _demand: &LinkDemand) -> Refusal {
        Refusal::Requests {
            each: format!("on {}", on_what(&self.config.device)),
            helps: "Lower the rate, read fewer tags of it, use a faster clock if all chips support it,",
            or_correct: "or correct \"overhead_ms\" if an access costs less",
        }
    }

    fn observed(&self, plan: &Plan, p99: Nanos) -> Option<Finding> {
        observed(plan, self, p99)
    }
}

/// Of a device with a thread of its own: one request at a time, each as long as its accesses take.
fn demand(plan: &Plan, bus: &LocalIoPlan, scans: &[ScanId], costs: &Costs) -> LinkDemand {
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
        let datagram = costs.request.0 as f64 / 2.0 / LOCAL_IO_EDGES_AT_ONCE_MAX as f64;
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

/// One request to the device's thread: written, and read back.
fn write_time(bus: &LocalIoPlan, write: &LocalIoWrite) -> Nanos {
    match write {
        LocalIoWrite::Line(_) | LocalIoWrite::Channel(_) => Nanos(bus.config.overhead.0 * 2),
        LocalIoWrite::Register { write, .. } => {
            let bytes = write.command.iter().copied().chain((0..write.width).map(|_| 0)).collect();
            let there = step_time(&bus.config, &Step::Write(bytes));
            let back = Step::Read { command: write.read_command.clone(), bytes: write.width };
            there + step_time(&bus.config, &back)
        }
    }
}

/// A local bus: what is beyond the longest request as it is reckoned, each of them may take. `declared` is that request,
/// with its accesses' `overhead_ms`.
fn observed(plan: &Plan, bus: &LocalIoPlan, p99: Nanos) -> Option<Finding> {
    let declared = bus.requests.iter().map(|request| request.time).max()?;
    let over = p99.since(declared);
    let share = |r: &LocalIoRequest| (r.time + over).as_secs_f64() / plan.groups[r.group].interval().as_secs_f64();
    let load: f64 = bus.requests.iter().map(share).sum();
    Finding::of(declared, p99, load)
}

/// A local bus, with its clock.
fn on_what(device: &LocalIoDevice) -> String {
    match device {
        LocalIoDevice::I2c { clock_hz, .. } => format!("the bus at {clock_hz} Hz"),
        LocalIoDevice::Spi { speed_hz, .. } => format!("SPI at {speed_hz} Hz"),
        LocalIoDevice::Gpio { .. } => "the GPIO chip".to_owned(),
        LocalIoDevice::Iio { .. } => "the device".to_owned(),
    }
}
