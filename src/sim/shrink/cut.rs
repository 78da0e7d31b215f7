//! What can be left out of a case.

use std::ops::Range;

use super::super::case::Case;
use super::super::script::{Executed, Host, Phase, TagChange};
use super::files;

/// Something of which there are several.
pub struct Cut {
    pub count: fn(&Case) -> usize,
    pub leave_out: fn(&mut Case, Range<usize>),
    /// Without it, other parts do other things in detail.
    pub shifts_details: bool,
}

/// From what takes most with it.
pub const CUTS: [Cut; 12] = [
    Cut {
        count: |case| files::links(case).len(),
        leave_out: |case, range| {
            let gone = files::links(case).drain(range).collect::<Vec<_>>();
            files::without_links(case, &gone);
        },
        shifts_details: true,
    },
    Cut { count: |case| case.events.changes.len(), leave_out: leave_out_changes, shifts_details: false },
    Cut { count: count_phases, leave_out: leave_out_phases, shifts_details: false },
    Cut {
        count: |case| case.events.writes.len(),
        leave_out: |case, range| drop(case.events.writes.drain(range)),
        shifts_details: false,
    },
    Cut {
        count: |case| case.events.stalls.len(),
        leave_out: |case, range| drop(case.events.stalls.drain(range)),
        shifts_details: false,
    },
    Cut {
        count: |case| case.events.storms.len(),
        leave_out: |case, range| drop(case.events.storms.drain(range)),
        shifts_details: false,
    },
    Cut {
        count: |case| case.events.consumer_stops.len(),
        leave_out: |case, range| drop(case.events.consumer_stops.drain(range)),
        shifts_details: false,
    },
    Cut {
        count: |case| case.events.clock_steps.len(),
        leave_out: |case, range| drop(case.events.clock_steps.drain(range)),
        shifts_details: false,
    },
    Cut {
        count: |case| case.events.crashes.len(),
        leave_out: |case, range| drop(case.events.crashes.drain(range)),
        shifts_details: false,
    },
    Cut {
        count: |case| case.events.journal_faults.len(),
        leave_out: |case, range| drop(case.events.journal_faults.drain(range)),
        shifts_details: false,
    },
    Cut {
        count: |case| case.events.log_stalls.len(),
        leave_out: |case, range| drop(case.events.log_stalls.drain(range)),
        shifts_details: false,
    },
    Cut {
        count: |case| files::tags(case).len(),
        leave_out: |case, range| {
            let gone = files::tags(case).drain(range).collect::<Vec<_>>();
            files::without_tags(case, &gone);
        },
        shifts_details: true,
    },
];

/// What is simpler as a whole; with how far the run has come.
pub const SIMPLER: [fn(&mut Case, u64); 7] = [
    |case, _| case.source = false,
    |case, _| {
        case.executors = 1;
        to_first(&mut case.events.stalls);
        to_first(&mut case.events.storms);
        to_first(&mut case.events.writes);
    },
    |case, _| {
        case.commit_ns = 0;
        case.events.crashes.clear();
        case.events.journal_faults.clear();
    },
    |case, _| case.events.hosts.iter_mut().for_each(|host| host.refuses_until_ns = 0),
    |case, reached| case.trouble_ns = case.trouble_ns.min(reached),
    |case, _| case.trouble_ns /= 2,
    |case, _| case.recovery_ns = case.recovery_ns.min(3_000_000_000),
];

fn to_first<T: Executed>(events: &mut [T]) {
    events.iter_mut().for_each(|event| *event.executor_mut() = 0);
}

/// What comes after them still comes when it came.
fn leave_out_changes(case: &mut Case, range: Range<usize>) {
    let changes = &mut case.events.changes;
    let pause: u64 = changes.drain(range.clone()).map(|change| change.pause_ns).sum();
    if let Some(TagChange { pause_ns, .. }) = changes.get_mut(range.start) {
        *pause_ns += pause;
    }
}

/// Calls for the phases of each kind of device, host by host.
fn phases(host: &Host) -> [usize; 4] {
    [host.modbus.len(), host.local.len(), host.can.len(), host.canopen.len()]
}

fn count_phases(case: &Case) -> usize {
    case.events.hosts.iter().flat_map(phases).sum()
}

fn leave_out_phases(case: &mut Case, range: Range<usize>) {
    let mut first = 0;
    for host in &mut case.events.hosts {
        first = leave_out_of(&mut host.modbus, first, &range);
        first = leave_out_of(&mut host.local, first, &range);
        first = leave_out_of(&mut host.can, first, &range);
        first = leave_out_of(&mut host.canopen, first, &range);
    }
}

/// Of a list whose first one has the number `first`; the number behind it.
fn leave_out_of<T>(list: &mut Vec<T>, first: usize, range: &Range<usize>) -> usize {
    let end = first + list.len();
    let mut at = first;
    list.retain(|_| {
        at += 1;
        !range.contains(&(at - 1))
    });
    end
}

/// Every event by so much sooner; what would have been over before is left out.
pub fn come_earlier(case: &mut Case, by: u64) {
    let sooner = |at: &mut u64| *at = at.saturating_sub(by);
    let events = &mut case.events;
    sooner(&mut case.trouble_ns);
    for host in &mut events.hosts {
        phases_sooner(&mut host.modbus, by);
        phases_sooner(&mut host.local, by);
        phases_sooner(&mut host.can, by);
        phases_sooner(&mut host.canopen, by);
    }
    events.stalls.retain(|stall| stall.at_ns >= by);
    events.storms.retain(|storm| storm.at_ns >= by);
    events.writes.retain(|write| write.at_ns >= by);
    events.crashes.retain(|crash| crash.at_ns >= by);
    events.journal_faults.retain(|fault| fault.at_ns >= by);
    events.consumer_stops.retain(|span| span.until_ns > by);
    events.log_stalls.retain(|span| span.until_ns > by);
    events.stalls.iter_mut().for_each(|stall| sooner(&mut stall.at_ns));
    events.storms.iter_mut().for_each(|storm| sooner(&mut storm.at_ns));
    events.writes.iter_mut().for_each(|write| sooner(&mut write.at_ns));
    events.crashes.iter_mut().for_each(|crash| sooner(&mut crash.at_ns));
    events.clock_steps.iter_mut().for_each(|step| sooner(&mut step.at_ns));
    events.journal_faults.iter_mut().for_each(|fault| sooner(&mut fault.at_ns));
    for span in events.consumer_stops.iter_mut().chain(&mut events.log_stalls) {
        sooner(&mut span.from_ns);
        sooner(&mut span.until_ns);
    }
    if let Some(first) = events.changes.first_mut() {
        sooner(&mut first.pause_ns);
    }
}

fn phases_sooner<M>(phases: &mut Vec<Phase<M>>, by: u64) {
    phases.retain(|phase| phase.until_ns > by);
    for phase in phases {
        (phase.from_ns, phase.until_ns) = (phase.from_ns.saturating_sub(by), phase.until_ns - by);
    }
}
