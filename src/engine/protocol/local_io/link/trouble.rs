//! Faults: a thread that does not answer, a lost device, and the status of their tags.

use super::LocalIoLink;
use crate::lane::{Frame, LinkState};
use crate::limits::SILENT_AFTER_TIMEOUTS;
use crate::rt::{CloseReason, RequestResult, StepContext, World};
use crate::tag::{Cause, DeviceFault, Nanos, Status};

/// A status on its way to the tags of every request.
pub(super) struct Sweep {
    pub status: Status,
    pub next: u32,
}

impl LocalIoLink {
    /// Gives a request's tags a status; a tag that has it already stays as it is.
    pub(super) fn hold<W: World>(
        &mut self,
        request: u32,
        (status, cause): (Status, Cause),
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let cycle = self.scan_of(request).map_or(0, |at| self.scans[at].cycle);
        let Some(planned) = self.plan.requests.get(request as usize) else { return };
        let frame = Frame { group: planned.group, cycle, t: now.into() };
        for tag in &self.plan.tags[planned.items.start as usize..planned.items.end as usize] {
            floor.sink.hold_because(frame, tag.tag, tag.ty as u8, false, status, Some(cause));
        }
        floor.sink.flush();
    }

    /// One step of a sweep: a single request's tags.
    pub(super) fn sweep_step<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let Some(Sweep { status, next }) = self.sweep else { return };
        if next as usize >= self.requests.len() {
            self.sweep = None;
            return;
        }
        self.sweep = Some(Sweep { status, next: next + 1 });
        if self.connection.is_none() {
            self.hold(next, (status, Cause::NotConnected), now, floor);
        }
    }

    /// The thread has not answered in time. It may be stuck in the driver of its device; what it was asked is not
    /// asked again before it comes back, and after the third time it is given up.
    pub(super) fn time_out<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let Some(out) = self.out.filter(|out| out.deadline <= now) else { return };
        if let (Some(request), false) = (out.request, out.is_overdue) {
            self.finish(out, now, RequestResult::Timeout, floor);
            let cause = Cause::Device(DeviceFault::Silent);
            self.hold(request, (Status::UNCERTAIN_LAST_USABLE, cause), now, floor);
        }
        let deadline = now + self.plan.config.timeout;
        self.out = Some(super::Out { deadline, is_overdue: true, ..out });
        let Some(connection) = &mut self.connection else { return };
        connection.quiet_timeouts += 1;
        if connection.quiet_timeouts >= SILENT_AFTER_TIMEOUTS {
            self.drop_connection(CloseReason::Silent, now, floor);
        }
    }

    pub(super) fn drop_connection<W: World>(&mut self, reason: CloseReason, now: Nanos, floor: &mut StepContext<W>) {
        let Some(connection) = self.connection.take() else { return };
        floor.give_up(self.id, connection.conn, reason);
        let counters = &floor.counters.links[self.id.index()];
        counters.disconnects.add(1);
        counters.set_state(LinkState::Down);
        if let Some(out) = self.out.take().filter(|out| !out.is_overdue) {
            self.finish(out, now, RequestResult::Aborted, floor);
        }
        for at in 0..self.requests.len() {
            if std::mem::take(&mut self.requests[at].is_queued)
                && let Some(scan) = self.scan_of(at as u32)
            {
                self.scans[scan].open = self.scans[scan].open.saturating_sub(1);
                self.scans[scan].missed = true;
            }
        }
        self.writes.lost(now, floor);
        self.sweep = Some(Sweep { status: Status::UNCERTAIN_LAST_USABLE, next: 0 });
        // A thread that answered nothing gives no new grace.
        if connection.answered || self.lost_for_good_at == Nanos::ZERO {
            self.lost_for_good_at = now + self.grace();
        }
    }
}
