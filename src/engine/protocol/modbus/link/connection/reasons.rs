//! Causes of missing replies. What arrives instead of a reply is kept until the reply is overdue, and
//! is then the cause of the statuses that follow; a reply that comes after that says afterwards how long it took.

use super::super::frame::Mismatch;
use super::super::unit::Unit;
use super::{Asks, InFlight, ModbusLink, Sweep};
use crate::lane::region_of;
use crate::limits::{MODBUS_PIPELINE_MAX, SILENT_AFTER_TIMEOUTS};
use crate::rt::{StepContext, World};
use crate::tag::{Block, Cause, Fault, Nanos, Status};

/// What a device was seen to do holds until so many requests in a row have shown nothing.
const FAULT_KEPT: u32 = SILENT_AFTER_TIMEOUTS;

/// See the module.
pub(super) struct Reasons {
    /// By place in flight: what came since the request went out, and was not its reply.
    seen: [Fault; MODBUS_PIPELINE_MAX],
    /// Requests that were not answered in time: their replies may still come. The oldest make room.
    overdue: [Option<Overdue>; MODBUS_PIPELINE_MAX],
    next: usize,
    /// By unit: why it gave no answer when it was last asked in vain.
    units: Box<[UnitFault]>,
}

/// Not every request that is asked in vain shows what a device does: it may be late once, and later still the next time.
#[derive(Debug, Clone, Copy, Default)]
struct UnitFault {
    fault: Fault,
    /// So many requests since then showed nothing.
    silences: u32,
}

#[derive(Debug, Clone, Copy)]
struct Overdue {
    transaction: u16,
    at: u32,
    sent: Nanos,
}

impl Reasons {
    pub fn new(units: usize) -> Reasons {
        Reasons {
            seen: [Fault::NoReply; MODBUS_PIPELINE_MAX],
            overdue: [None; MODBUS_PIPELINE_MAX],
            next: 0,
            units: vec![UnitFault::default(); units].into_boxed_slice(),
        }
    }

    pub fn region(&self) -> (*const u8, usize) {
        region_of(&self.units)
    }

    /// A new connection: nothing that was asked before can be answered on it.
    pub fn opened(&mut self) {
        (self.seen, self.overdue) = ([Fault::NoReply; MODBUS_PIPELINE_MAX], [None; MODBUS_PIPELINE_MAX]);
    }

    /// The connection has ended by itself: what came over it explains nothing of what follows.
    pub fn lost(&mut self) {
        self.units.fill(UnitFault::default());
    }

    /// The connection was given back as silent: what is late comes sooner than that, and shows that it lives.
    pub fn silent(&mut self) {
        let late = self.units.iter_mut().filter(|unit| matches!(unit.fault, Fault::Late(_)));
        late.for_each(|unit| *unit = UnitFault::default());
    }

    /// A request went out.
    pub fn sent(&mut self, slot: usize) {
        self.saw(slot, Fault::NoReply);
    }

    /// Something came while the request in this place was waited for.
    pub fn saw(&mut self, slot: usize, fault: Fault) {
        if let Some(seen) = self.seen.get_mut(slot) {
            *seen = fault;
        }
    }

    fn overdue(&mut self, flight: &InFlight, at: u32) {
        self.overdue[self.next] = Some(Overdue { transaction: flight.transaction, at, sent: flight.sent });
        self.next = (self.next + 1) % MODBUS_PIPELINE_MAX;
    }

    /// Another request is on a line: what comes from now on is not of the one before.
    pub fn sent_on_line(&mut self) {
        self.overdue[self.last()] = None;
    }

    fn last(&self) -> usize {
        (self.next + MODBUS_PIPELINE_MAX - 1) % MODBUS_PIPELINE_MAX
    }

    /// Takes the request with this transaction; `None`: the last one.
    fn take_overdue(&mut self, transaction: Option<u16>) -> Option<Overdue> {
        let last = self.last();
        let slot = match transaction {
            None => self.overdue.get_mut(last)?,
            Some(id) => self.overdue.iter_mut().find(|slot| slot.is_some_and(|request| request.transaction == id))?,
        };
        slot.take()
    }

    /// Goes on under a new plan; `units` are new and old places. Requests have other places there.
    pub fn continue_from(&mut self, old: &Reasons, units: &[(u16, u16)]) {
        self.seen = old.seen;
        for (new, before) in units {
            if let (Some(new), Some(before)) =
                (self.units.get_mut(usize::from(*new)), old.units.get(usize::from(*before)))
            {
                *new = *before;
            }
        }
    }
}

impl ModbusLink {
    /// What became of a request, with all that people need to find it.
    pub(super) fn cause(&self, at: u32, fault: Fault) -> Cause {
        let request = &self.plan.requests[at as usize];
        let block = Block {
            unit: self.plan.units[usize::from(request.unit)].0,
            function: request.table.read_function(),
            first: request.first,
            count: request.count,
        };
        Cause::Read { block, fault }
    }

    /// Something happened to a request that is worth telling, whether its tags suffer from it or not.
    pub(super) fn note<W: World>(&self, at: u32, fault: Fault, floor: &mut StepContext<W>) {
        floor.counters.links[self.id.index()].lately.note(self.cause(at, fault));
    }

    /// What keeps a tag of this request from its value while its unit is silent, or the link has no connection.
    pub(super) fn cause_of_absence(&self, at: u32) -> Cause {
        let unit_at = usize::from(self.plan.requests[at as usize].unit);
        let fault = self.reasons.units[unit_at].fault;
        if self.units[unit_at].is_silent() && (fault.is_seen() || self.connection.is_some()) {
            self.cause(at, fault)
        } else {
            Cause::NotConnected
        }
    }

    /// What came over a connection on which no unit gives answers.
    pub(super) fn cause_of_silence(&self) -> Option<Cause> {
        let unit_at = self.reasons.units.iter().position(|unit| unit.fault.is_seen())?;
        let request = self.plan.blocks().iter().position(|request| usize::from(request.unit) == unit_at)?;
        Some(self.cause(request as u32, self.reasons.units[unit_at].fault))
    }

    /// Why the request in this place was not answered in time.
    pub(super) fn fault_of_timeout(&mut self, slot: usize, at: u32, flight: &InFlight) -> Fault {
        let seen = std::mem::take(&mut self.reasons.seen[slot]);
        let late = std::mem::take(&mut self.requests[at as usize].late);
        self.reasons.overdue(flight, at);
        match () {
            () if seen.is_seen() => seen,
            () if late.is_seen() => late,
            () if self.line.is_some() && self.received > 0 => Fault::Short,
            () => Fault::NoReply,
        }
    }

    /// A unit that is silent was asked in vain. All of its tags are so for the last reason that is known, which is
    /// returned.
    pub(super) fn unit_failed(&mut self, unit_at: usize, fault: Fault) -> Fault {
        let unit = &mut self.reasons.units[unit_at];
        let before = *unit;
        let silences = if fault.is_seen() { 0 } else { before.silences.saturating_add(1) };
        let is_kept = !fault.is_seen() && before.fault.is_seen() && silences < FAULT_KEPT;
        *unit = UnitFault { fault: if is_kept { before.fault } else { fault }, silences };
        let fault = unit.fault;
        if std::mem::discriminant(&before.fault) != std::mem::discriminant(&fault) {
            self.explain_silence();
        }
        fault
    }

    /// The tags of silent units are to have the reason that is known now.
    pub(super) fn explain_silence(&mut self) {
        if self.units.iter().any(Unit::is_silent) {
            self.sweep.get_or_insert(Sweep { status: Status::BAD_NO_COMMUNICATION, next: 0 });
        }
    }

    /// A reply came for which nobody waits any more: of the request with this transaction, or of the last one. False: of
    /// none that is known.
    pub(super) fn came_late<W: World>(
        &mut self,
        transaction: Option<u16>,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) -> bool {
        let Some(Overdue { at, sent, .. }) = self.reasons.take_overdue(transaction) else { return false };
        let fault = Fault::Late(u32::try_from(now.since(sent).0.div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1));
        let cause = self.cause(at, fault);
        floor.counters.links[self.id.index()].lately.note(cause);
        if let (Some(_), Some(connection)) = (transaction, &mut self.connection) {
            // It is slow, not half open.
            connection.quiet_timeouts = 0;
        }
        let request = &mut self.requests[at as usize];
        request.late = fault;
        // The parts of one that is apart have causes of their own.
        if !request.apart && request.misses > 0 {
            let decodes = self.plan.requests[at as usize].decodes.clone();
            for decode in &self.plan.decodes[decodes.start as usize..decodes.end as usize] {
                floor.sink.explain(decode.tag, Some(cause));
            }
        }
        let unit_at = usize::from(self.plan.requests[at as usize].unit);
        if self.units[unit_at].is_silent() {
            self.unit_failed(unit_at, fault);
        }
        true
    }

    /// A frame came that no request asked for, by its transaction.
    pub(super) fn came_unasked<W: World>(&mut self, transaction: u16, floor: &mut StepContext<W>) {
        let fault = Fault::OtherTransaction(transaction);
        for slot in 0..self.in_flight.len() {
            if let Some(InFlight { asks: Asks::Read(at), .. }) = self.in_flight[slot] {
                self.reasons.saw(slot, fault);
                self.note(at, fault, floor);
            }
        }
    }

    /// Not the reply to the read in this place after all, which goes on waiting. `header`: its unit, function and count.
    pub(super) fn mismatched_read<W: World>(
        &mut self,
        slot: usize,
        what: Mismatch,
        header: [u8; 3],
        floor: &mut StepContext<W>,
    ) {
        self.mismatched(what, floor);
        let [unit, function, count] = header;
        let fault = match what {
            Mismatch::Unit => Fault::OtherUnit(unit),
            Mismatch::Transaction => return,
            Mismatch::Function => Fault::OtherFunction(function & 0x7F),
            Mismatch::Length => Fault::OtherLength(count),
        };
        self.reasons.saw(slot, fault);
        if let Some(InFlight { asks: Asks::Read(at), .. }) = self.in_flight[slot] {
            self.note(at, fault, floor);
        }
    }
}
