//! Writes that end without a reply: their time is over, their connection is gone, or their plan.

use super::super::{Asks, ModbusLink};
use super::answer;
use crate::rt::{CloseReason, StepContext, World, WriteOutcome};
use crate::tag::Nanos;

impl ModbusLink {
    /// Answers the orders whose time is over, and those whose units will not be asked in their time.
    pub fn expire_writes<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        self.expire_current(now, floor);
        let mut at = 0;
        while at < self.writes.len {
            let order = &self.writes.waiting[at];
            let asked_at = self.units[self.unit_of_order(order)].probe_at().unwrap_or(Nanos::ZERO);
            if now < order.deadline && asked_at < order.deadline {
                at += 1;
                continue;
            }
            let order = self.writes.take(at);
            answer(&order, WriteOutcome::NotSent, &[], now, floor);
        }
    }

    /// Answers the order whose turn it is, if its time is over. What has not left of its request never does.
    pub fn expire_current<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let Some(current) = &self.writes.current else { return };
        if now < current.order.deadline {
            return;
        }
        let (on_wire, unwritten) = (current.on_wire, current.outcome(WriteOutcome::NotSent, WriteOutcome::NotSent));
        let outcome = current.outcome(WriteOutcome::NoReply, WriteOutcome::NotSent);
        if !on_wire {
            return self.end_write(unwritten, &[], now, floor);
        }
        let unit_at = self.unit_of_order(&current.order);
        if self.is_taken_back() {
            return self.end_write(unwritten, &[], now, floor);
        }
        if self.drop_unsent(now, floor) {
            return;
        }
        let slot = self.write_in_flight();
        let reply = self.expected_frame(Asks::Write);
        // The device has it, and its reply is nobody's.
        if let Some(flight) = slot.and_then(|slot| self.in_flight[slot].as_mut()) {
            flight.asks = Asks::Nobody(reply);
            if let Some(line) = &mut self.line {
                line.leave_alone(Some(unit_at), flight.deadline);
            }
        }
        self.end_write(outcome, &[], now, floor);
    }

    fn write_in_flight(&self) -> Option<usize> {
        self.in_flight.iter().position(|f| f.is_some_and(|f| f.asks == Asks::Write))
    }

    /// Takes the write's request back if nothing of it has left. What waits to leave may as well be a read that came
    /// after it.
    fn is_taken_back(&mut self) -> bool {
        let slot = self.write_in_flight();
        let last = slot.and_then(|slot| self.in_flight[slot]).is_some_and(|f| f.transaction == self.transaction);
        let Some(connection) = self.connection.as_mut().filter(|connection| last && connection.out.is_untouched())
        else {
            return false;
        };
        connection.out.clear();
        if let Some(slot) = slot {
            self.in_flight[slot] = None;
        }
        true
    }

    /// Another plan comes, under which nobody waits for this one's writes: none of them may reach the device after it
    /// was answered.
    pub fn give_up_writes<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        if self.writes.is_on_wire()
            && self.is_taken_back()
            && let Some(current) = &mut self.writes.current
        {
            current.on_wire = false;
        }
        if self.writes.is_on_wire() {
            self.drop_unsent(now, floor);
        }
        self.end_writes(WriteOutcome::NoReply, WriteOutcome::PlanChanged, now, floor);
    }

    /// A write that is no longer waited for must not reach the device later: where a part of it has not left this
    /// machine, or was not taken by the device's, the connection ends with it. True: so it was.
    pub(super) fn drop_unsent<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) -> bool {
        let Some(connection) = &self.connection else { return false };
        let unsent = connection.out.unsent_len > 0 || floor.world.unsent(connection.conn) > 0;
        if unsent {
            self.drop_connection(CloseReason::Silent, now, floor);
        }
        unsent
    }

    /// The connection is gone under the write on the wire; those that wait go on waiting.
    pub fn lose_write_on_wire<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let Some(current) = &self.writes.current else { return };
        let outcome = current.outcome(WriteOutcome::Lost, WriteOutcome::NoConnection);
        self.end_write(outcome, &[], now, floor);
    }

    /// All orders that are here get their answer: the connection is gone, or the plan.
    pub fn end_writes<W: World>(
        &mut self,
        written: WriteOutcome,
        unwritten: WriteOutcome,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        if let Some(current) = &self.writes.current {
            let outcome = current.outcome(written, unwritten);
            self.end_write(outcome, &[], now, floor);
        }
        while self.writes.len > 0 {
            let order = self.writes.take(0);
            answer(&order, unwritten, &[], now, floor);
        }
    }
}
