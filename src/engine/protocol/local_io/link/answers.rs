//! What comes from the thread: values and statuses of a scan, edges, ends of writes.

use super::LocalIoLink;
use super::wire::{self, Entries, Told};
use crate::lane::{Frame, LinkState};
use crate::rt::{RequestResult, StepContext, World};
use crate::tag::{Cause, DeviceFault, Nanos, Status};

/// As Modbus names it (04, server device failure): the statistics count exceptions by their codes.
const DEVICE_FAILURE: u8 = 4;

impl LocalIoLink {
    /// Takes one datagram. False: it is none of ours.
    pub(super) fn take_datagram<W: World>(&mut self, bytes: &[u8], now: Nanos, floor: &mut StepContext<W>) -> bool {
        match wire::told(bytes) {
            Some(Told::Scanned { request, sequence, entries }) => {
                self.take_scan(request, sequence, entries, now, floor)
            }
            Some(Told::Edges { lost, entries }) => self.take_edges(lost, entries, floor),
            Some(Told::Written { id, end, at, back }) => {
                if self.out.is_some_and(|out| out.request.is_none()) {
                    self.out = None;
                    self.heard();
                }
                self.writes.written(id, end, at, back, floor);
                true
            }
            None => false,
        }
    }

    /// The thread is there.
    fn heard(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.quiet_timeouts = 0;
            connection.answered = true;
        }
    }

    fn take_scan<W: World>(
        &mut self,
        request: u32,
        sequence: u32,
        entries: Entries<'_>,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) -> bool {
        let Some(out) = self.out.filter(|out| out.sequence == sequence && out.request == Some(request)) else {
            return false;
        };
        let Some(planned) = self.plan.requests.get(request as usize) else { return false };
        if entries.len() != planned.items.len() {
            return false;
        }
        self.out = None;
        self.heard();
        if out.is_overdue {
            // Its tags were told that it timed out, and its cycle has been counted.
            floor.counters.links[self.id.index()].late.add(1);
            return true;
        }
        let Some(planned) = self.plan.requests.get(request as usize) else { return false };
        let mut good = 0;
        for (tag, entry) in self.plan.tags[planned.items.start as usize..planned.items.end as usize].iter().zip(entries)
        {
            let frame = Frame { group: planned.group, cycle: out.cycle, t: entry.t.into() };
            if entry.item == wire::UNCHANGED {
                good += 1;
            } else if entry.status.is_bad() || entry.status == Status::UNCERTAIN_LAST_USABLE {
                let cause = cause_of(entry.status, entry.value);
                floor.sink.hold_because(frame, tag.tag, tag.ty as u8, false, entry.status, cause);
            } else {
                good += 1;
                floor.sink.scalar_with_status(frame, tag.tag, tag.ty as u8, entry.value, entry.status);
            }
        }
        floor.sink.flush();
        self.requests[request as usize].is_dead = good == 0;
        let silent = self.requests.iter().all(|request| request.is_dead);
        let state = if silent { LinkState::Silent } else { LinkState::Up };
        floor.counters.links[self.id.index()].set_state(state);
        let result = if good > 0 { RequestResult::Good } else { RequestResult::Exception(DEVICE_FAILURE) };
        self.finish(out, now, result, floor);
        true
    }

    fn take_edges<W: World>(&mut self, lost: u32, entries: Entries<'_>, floor: &mut StepContext<W>) -> bool {
        floor.counters.links[self.id.index()].lost.add(u64::from(lost));
        for entry in entries {
            let place = self.request_of.get(entry.item as usize).copied();
            let (Some(request), Some(tag)) = (place, self.plan.tags.get(entry.item as usize)) else { return false };
            let cycle = self.scan_of(request).map_or(0, |at| self.scans[at].cycle);
            let group = self.plan.requests[request as usize].group;
            let frame = Frame { group, cycle, t: entry.t.into() };
            floor.sink.judged(frame, tag.tag, tag.ty as u8, entry.value, entry.status);
        }
        floor.sink.flush();
        true
    }
}

/// Why an item has no value; `error`: the kernel's number, if it gave one.
fn cause_of(status: Status, error: u64) -> Option<Cause> {
    let fault = match status {
        Status::BAD_DEVICE_FAILURE => DeviceFault::Failed(u16::try_from(error).unwrap_or(0)),
        Status::BAD_CONFIGURATION_ERROR => DeviceFault::OtherChip,
        Status::BAD_NO_COMMUNICATION | Status::UNCERTAIN_LAST_USABLE => DeviceFault::Overdue,
        other => return Cause::of_status(other),
    };
    Some(Cause::Device(fault))
}
