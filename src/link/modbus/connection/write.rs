//! Writes: their turn among the reads, the steps of each, and its one answer.
//!
//! A write goes before the reads that wait, one at a time. It has turns: the write, and its read-back. After each at least
//! one read goes first, and the next does not begin before the plan's spacing is over, so that however many writes come,
//! no scan misses a cycle for them: see `plan::admission`. What has not gone out by its deadline never does. A write to a silent unit goes out as its probe when one is due before the deadline, and fails at once
//! otherwise.
//!
//! A bit of a register is changed by function 22. A unit that has no such function gets its register read and written
//! back, with nothing of this link in between: another master's change in that moment is lost. Likewise a unit that
//! refuses function 5, 6 or 23 is asked by 15 or 16 from then on.

use super::super::frame::{self, Shape};
use super::super::pdu::{self, Function, Pdu, Reply};
use super::{Asks, InFlight, ModbusLink};
use crate::config::{FieldType, Table};
use crate::limits::{BROADCAST_PAUSE, MODBUS_READ_WRITE_REGISTERS_MAX, MODBUS_WRITES_WAITING_MAX};
use crate::plan::{ModbusPlan, ModbusWrite};
use crate::rt::{CloseReason, Floor, Io, World, WriteAnswer, WriteOrder, WriteOutcome, WritePayload, region_of};
use crate::tag::{LinkId, Nanos};

/// Modbus exceptions (Application Protocol Specification V1.1b3, section 7).
const ILLEGAL_FUNCTION: u8 = 0x01;
const GATEWAY_PATH_UNAVAILABLE: u8 = 0x0A;
const GATEWAY_TARGET_SILENT: u8 = 0x0B;

/// See the module.
pub(super) struct Writes {
    /// In the order in which they came. No room where the plan has no writes.
    waiting: Box<[WriteOrder]>,
    len: usize,
    current: Option<Current>,
    /// A write's turn was ended, and no read has gone out since.
    read_first: bool,
    /// From the beginning of one turn to that of the next at least, and when the next may begin.
    spacing: Nanos,
    begin_at: Nanos,
    /// When a silent unit may be asked for which a write waits.
    next_look: Nanos,
    /// By the plan's units: functions that a unit has refused, as bits.
    lacks: Box<[u32]>,
}

/// The write whose turn it is.
struct Current {
    order: WriteOrder,
    step: Step,
    /// Of this step; on the wire, or next to go.
    pdu: Pdu,
    on_wire: bool,
    /// Its step begins a turn, for which it has to wait.
    begins_turn: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Write(Function),
    /// The register is read, to change a bit of it.
    ReadBefore,
    /// And written back with the bit.
    WriteAfter([u8; 2]),
    ReadBack,
}

/// A write that could go out now, as far as its unit is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// Of those that wait; `None`: the one under way, with its next step.
    waiting: Option<usize>,
    pub unit_at: usize,
    /// Nothing of this link may go out before it.
    pub at_once: bool,
}

impl Writes {
    pub fn new(plan: &ModbusPlan, spacing: Nanos) -> Writes {
        let room = if plan.writes.is_empty() { 0 } else { MODBUS_WRITES_WAITING_MAX };
        let none = WriteOrder {
            id: 0,
            link: LinkId(0),
            slot: 0,
            generation: 0,
            deadline: Nanos::ZERO,
            read_back: false,
            payload: WritePayload::default(),
        };
        Writes {
            waiting: vec![none; room].into_boxed_slice(),
            len: 0,
            current: None,
            read_first: false,
            spacing,
            begin_at: Nanos::ZERO,
            next_look: Nanos::NEVER,
            lacks: vec![0; plan.units.len()].into_boxed_slice(),
        }
    }

    pub fn regions(&self) -> [(*const u8, usize); 2] {
        [region_of(&self.waiting), region_of(&self.lacks)]
    }

    pub fn is_idle(&self) -> bool {
        self.current.is_none() && self.len == 0
    }

    /// When the next order has to be answered, or may be sent.
    pub fn deadline(&self) -> Nanos {
        let waiting = self.waiting[..self.len].iter().map(|order| order.deadline).min().unwrap_or(Nanos::NEVER);
        let current = self.current.as_ref().map_or(Nanos::NEVER, |current| current.order.deadline);
        waiting.min(current).min(self.next_look)
    }

    /// Whether a read has its turn before the next write.
    pub fn lets_read_first(&self) -> bool {
        self.read_first
    }

    /// A read is on its way.
    pub fn read_went(&mut self) {
        self.read_first = false;
    }

    /// A write went out, and is not yet answered.
    pub fn is_on_wire(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.on_wire)
    }

    /// Nothing is looked for until the next look at what waits.
    pub fn rest(&mut self) {
        self.next_look = Nanos::NEVER;
    }

    /// A new connection, perhaps to another device.
    pub fn opened(&mut self) {
        self.lacks.fill(0);
    }

    /// Goes on under a new plan; `units` are new and old places.
    pub fn continue_from(&mut self, old: &Writes, units: &[(u16, u16)]) {
        (self.read_first, self.begin_at) = (old.read_first, old.begin_at);
        for (new, before) in units {
            self.lacks[usize::from(*new)] = old.lacks[usize::from(*before)];
        }
    }

    fn take(&mut self, at: usize) -> WriteOrder {
        let order = self.waiting[at];
        self.waiting.copy_within(at + 1..self.len, at);
        self.len -= 1;
        order
    }
}

/// How a write is done that has not yet begun.
fn first_step(write: &ModbusWrite, broadcast: bool, lacks: u32) -> Step {
    let has = |function: Function| lacks & 1 << function as u8 == 0;
    let function = match (write.table, write.place.field) {
        (Table::Coils, _) if write.count == 1 && has(Function::WriteCoil) => Function::WriteCoil,
        (Table::Coils, _) => Function::WriteCoils,
        (_, FieldType::RegisterBit(_)) if broadcast || has(Function::MaskWriteRegister) => Function::MaskWriteRegister,
        (_, FieldType::RegisterBit(_)) => return Step::ReadBefore,
        _ if write.in_one
            && !broadcast
            && write.count <= MODBUS_READ_WRITE_REGISTERS_MAX
            && has(Function::ReadWriteRegisters) =>
        {
            Function::ReadWriteRegisters
        }
        _ => register_function(write.count, lacks),
    };
    Step::Write(function)
}

fn register_function(count: u16, lacks: u32) -> Function {
    let one = count == 1 && lacks & 1 << Function::WriteRegister as u8 == 0;
    if one { Function::WriteRegister } else { Function::WriteRegisters }
}

/// The request of a step; `None`: the payload is nothing that it can write.
fn request(write: &ModbusWrite, step: Step, payload: &[u8], lacks: u32) -> Option<Pdu> {
    let ModbusWrite { table, count, .. } = *write;
    let first = write.place.first;
    match step {
        Step::Write(function) => Pdu::write(function, first, count, payload),
        Step::WriteAfter(register) => Pdu::write(register_function(1, lacks), first, 1, &register),
        Step::ReadBefore | Step::ReadBack => Some(Pdu::read(table, first, count)),
    }
}

/// Whether what was read back is what was written.
fn is_written(write: &ModbusWrite, payload: &[u8], back: &[u8]) -> bool {
    match (write.place.field, payload, back) {
        (FieldType::RegisterBit(_), &[a, b, c, d], &[high, low]) => {
            let [and, or] = [[a, b], [c, d]].map(u16::from_be_bytes);
            u16::from_be_bytes([high, low]) & !and == or & !and
        }
        // Bits behind the last one mean nothing.
        _ if write.table.is_bits() && !write.count.is_multiple_of(8) => match (payload.split_last(), back.split_last())
        {
            (Some((last, rest)), Some((last_back, rest_back))) => {
                rest == rest_back && (last ^ last_back) & ((1 << (write.count % 8)) - 1) == 0
            }
            _ => false,
        },
        _ => payload == back,
    }
}

/// The register with the masks' bits changed; `None`: these are no masks, or it is no register.
fn masked(register: &[u8], payload: &[u8]) -> Option<[u8; 2]> {
    let (&[high, low], &[a, b, c, d]) = (register, payload) else { return None };
    let [register, and, or] = [[high, low], [a, b], [c, d]].map(u16::from_be_bytes);
    Some((register & and | or & !and).to_be_bytes())
}

impl Step {
    /// What becomes of an order that ends at this step without a reply.
    fn outcome(self, written: WriteOutcome, unwritten: WriteOutcome) -> WriteOutcome {
        match self {
            Step::Write(_) | Step::WriteAfter(_) => written,
            Step::ReadBefore => unwritten,
            Step::ReadBack => WriteOutcome::NotReadBack,
        }
    }
}

impl Current {
    /// What becomes of it now, without a reply.
    fn outcome(&self, written: WriteOutcome, unwritten: WriteOutcome) -> WriteOutcome {
        let written = if self.on_wire { written } else { unwritten };
        self.step.outcome(written, unwritten)
    }
}

fn answer<W: World>(order: &WriteOrder, outcome: WriteOutcome, back: &[u8], at: Nanos, floor: &mut Floor<W>) {
    let back = WritePayload::new(back).unwrap_or_default();
    floor.answer(WriteAnswer { id: order.id, outcome, at, back });
}

impl ModbusLink {
    /// A new order.
    pub(super) fn take_order<W: World>(&mut self, order: &WriteOrder, now: Nanos, floor: &mut Floor<W>) {
        let refused = if self.plan.writes.get(order.slot as usize).is_none() {
            Some(WriteOutcome::NotWritable)
        } else if self.connection.is_none() {
            Some(WriteOutcome::NoConnection)
        } else if now >= order.deadline {
            Some(WriteOutcome::NotSent)
        } else {
            None
        };
        if let Some(outcome) = refused {
            return answer(order, outcome, &[], now, floor);
        }
        let len = self.writes.len;
        let Some(place) = self.writes.waiting.get_mut(len) else {
            return answer(order, WriteOutcome::Busy, &[], now, floor);
        };
        *place = *order;
        self.writes.len += 1;
    }

    fn write_of(&self, order: &WriteOrder) -> Option<ModbusWrite> {
        self.plan.writes.get(order.slot as usize).copied()
    }

    fn unit_of_order(&self, order: &WriteOrder) -> usize {
        self.write_of(order).map_or(0, |write| usize::from(write.unit))
    }

    fn lacks_of(&self, write: &ModbusWrite) -> u32 {
        self.writes.lacks.get(usize::from(write.unit)).copied().unwrap_or_default()
    }

    /// On a serial line, unit 0 is everyone, and nobody answers (Modbus over Serial Line V1.02, section 2.1).
    fn is_broadcast(&self, write: &ModbusWrite) -> bool {
        self.line.is_some() && self.plan.units[usize::from(write.unit)].0 == 0
    }

    /// Answers the orders whose time is over, and those whose units will not be asked in their time.
    pub(super) fn expire_writes<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) {
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

    fn expire_current<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) {
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
        // The device has it, and its reply is nobody's.
        if let Some(flight) = slot.and_then(|slot| self.in_flight[slot].as_mut()) {
            flight.asks = Asks::Nobody;
            if let Some(line) = &mut self.line {
                line.leave_alone(unit_at, flight.deadline);
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
    pub(super) fn give_up_writes<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) {
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
    fn drop_unsent<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) -> bool {
        let Some(connection) = &self.connection else { return false };
        let unsent = connection.out.unsent_len > 0 || floor.world.unsent(connection.conn) > 0;
        if unsent {
            self.drop_connection(CloseReason::Silent, now, floor);
        }
        unsent
    }

    /// The write that may go out next. What can't any more is answered.
    pub(super) fn next_write<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) -> Option<Turn> {
        if self.writes.is_idle() {
            return None;
        }
        self.expire_writes(now, floor);
        let may_begin = now >= self.writes.begin_at;
        if let Some(current) = &self.writes.current {
            if current.on_wire {
                return None;
            }
            if current.begins_turn && !may_begin {
                self.writes.next_look = self.writes.begin_at;
                return None;
            }
            let at_once = matches!(current.step, Step::WriteAfter(_));
            let unit_at = self.unit_of_order(&current.order);
            return Some(Turn { waiting: None, unit_at, at_once });
        }
        if !may_begin {
            if self.writes.len > 0 {
                self.writes.next_look = self.writes.begin_at;
            }
            return None;
        }
        for at in 0..self.writes.len {
            let unit_at = self.unit_of_order(&self.writes.waiting[at]);
            match self.units[unit_at].probe_at() {
                Some(probe_at) if now < probe_at => self.writes.next_look = self.writes.next_look.min(probe_at),
                _ => return Some(Turn { waiting: Some(at), unit_at, at_once: false }),
            }
        }
        None
    }

    /// Sends a write's next request into `slot`. False: the connection is gone.
    pub(super) fn send_write<W: World>(&mut self, turn: Turn, slot: usize, now: Nanos, floor: &mut Floor<W>) -> bool {
        if let Some(at) = turn.waiting {
            let order = self.writes.take(at);
            let write = self.write_of(&order);
            let begun = write.and_then(|write| {
                let lacks = self.lacks_of(&write);
                let step = first_step(&write, self.is_broadcast(&write), lacks);
                let pdu = request(&write, step, order.payload.bytes(), lacks)?;
                Some(Current { order, step, pdu, on_wire: false, begins_turn: true })
            });
            if begun.is_none() {
                answer(&order, WriteOutcome::NotWritable, &[], now, floor);
                return true;
            }
            self.writes.current = begun;
            self.writes.read_first = false;
        }
        let Some(current) = &mut self.writes.current else { return true };
        let Some(write) = self.plan.writes.get(current.order.slot as usize) else { return true };
        let unit = self.plan.units[turn.unit_at].0;
        let broadcast = self.line.is_some() && unit == 0;
        let Some(connection) = &mut self.connection else { return false };
        let framing = self.line.as_ref().map(|line| line.framing());
        connection.out.fill(|out| match framing {
            Some(framing) => framing.request(unit, current.pdu.bytes(), out),
            None => frame::request(unit, current.pdu.bytes(), out),
        });
        let out = self.line.as_ref().map_or(Nanos::ZERO, |line| line.time_of(connection.out.len));
        if now + out > current.order.deadline {
            connection.out.clear();
            let outcome = current.outcome(WriteOutcome::NotSent, WriteOutcome::NotSent);
            self.end_write(outcome, &[], now, floor);
            return true;
        }
        current.on_wire = true;
        if std::mem::take(&mut current.begins_turn) {
            self.writes.begin_at = now + self.writes.spacing;
        }
        let reply_bytes = if broadcast { 0 } else { 1 + current.pdu.shape.bytes() };
        let nominal = now;
        debug_assert_eq!(usize::from(write.unit), turn.unit_at);
        // The probe of a silent unit.
        self.units[turn.unit_at].may_ask(now);
        let (sent, deadline, outcome) = self.transmit(reply_bytes, floor);
        let transaction = self.transaction;
        if !broadcast {
            let asks = Asks::Write;
            self.in_flight[slot] = Some(InFlight { asks, transaction, nominal, cycle: 0, sent, deadline });
        }
        if outcome == Io::Closed {
            self.drop_connection(CloseReason::Lost, sent, floor);
            return false;
        }
        if broadcast {
            if let Some(line) = &mut self.line {
                line.hold(sent + out + BROADCAST_PAUSE);
            }
            self.end_write(WriteOutcome::Unconfirmed, &[], sent, floor);
        }
        true
    }

    /// Unit, function and shape of the reply to the write on the wire.
    pub(super) fn expected_of_write(&self) -> Option<(usize, u8, Shape)> {
        let current = self.writes.current.as_ref().filter(|current| current.on_wire)?;
        Some((self.unit_of_order(&current.order), current.pdu.function(), current.pdu.shape))
    }

    /// What the write in flight in `slot` was answered.
    pub(super) fn take_write_reply<W: World>(
        &mut self,
        slot: usize,
        unit: u8,
        pdu: &[u8],
        now: Nanos,
        floor: &mut Floor<W>,
    ) {
        let Some(current) = &self.writes.current else { return };
        let Some(write) = self.write_of(&current.order) else { return };
        let unit_at = usize::from(write.unit);
        let reply = if unit == self.plan.units[unit_at].0 { pdu::reply(pdu, &current.pdu) } else { Reply::Mismatch };
        if reply == Reply::Mismatch {
            // Not ours after all: the write goes on waiting for its own.
            floor.counters.links[self.id.index()].foreign.add(1);
            return;
        }
        let (step, payload) = (current.step, current.order.payload);
        self.in_flight[slot] = None;
        match reply {
            Reply::Exception(code @ (GATEWAY_PATH_UNAVAILABLE | GATEWAY_TARGET_SILENT)) => {
                self.unit_timed_out(unit_at, now, floor);
                self.end_write(
                    step.outcome(WriteOutcome::Refused(code.into()), WriteOutcome::Refused(code.into())),
                    &[],
                    now,
                    floor,
                );
            }
            Reply::Exception(code) => {
                self.answered(unit_at, floor);
                if code != ILLEGAL_FUNCTION || !self.falls_back(&write, step, now, floor) {
                    let refused = WriteOutcome::Refused(code.into());
                    self.end_write(step.outcome(refused, refused), &[], now, floor);
                }
            }
            Reply::Differs => {
                self.answered(unit_at, floor);
                self.end_write(WriteOutcome::WrongReply, &[], now, floor);
            }
            Reply::Good(values) => {
                self.answered(unit_at, floor);
                self.go_on(&write, step, payload.bytes(), values, now, floor);
            }
            Reply::Mismatch => {}
        }
    }

    /// A step was answered well.
    fn go_on<W: World>(
        &mut self,
        write: &ModbusWrite,
        step: Step,
        payload: &[u8],
        values: &[u8],
        now: Nanos,
        floor: &mut Floor<W>,
    ) {
        match step {
            Step::ReadBack | Step::Write(Function::ReadWriteRegisters) => {
                let same = is_written(write, payload, values);
                let outcome = if same { WriteOutcome::Done } else { WriteOutcome::ReadBackDiffers };
                self.end_write(outcome, values, now, floor);
            }
            Step::ReadBefore => match masked(values, payload) {
                Some(register) => self.next_step(write, Step::WriteAfter(register), now, floor),
                None => self.end_write(WriteOutcome::NotWritable, &[], now, floor),
            },
            Step::Write(_) | Step::WriteAfter(_) => {
                let read_back = self.writes.current.as_ref().is_some_and(|current| current.order.read_back);
                if read_back {
                    self.next_step(write, Step::ReadBack, now, floor);
                } else {
                    self.end_write(WriteOutcome::Done, &[], now, floor);
                }
            }
        }
    }

    /// A unit has no such function: it is done by others from now on. False: there is no other way.
    fn falls_back<W: World>(&mut self, write: &ModbusWrite, step: Step, now: Nanos, floor: &mut Floor<W>) -> bool {
        let refused = match step {
            Step::Write(function) => function,
            Step::WriteAfter(_) => register_function(1, self.lacks_of(write)),
            Step::ReadBefore | Step::ReadBack => return false,
        };
        if matches!(refused, Function::WriteCoils | Function::WriteRegisters) {
            return false;
        }
        if let Some(lacks) = self.writes.lacks.get_mut(usize::from(write.unit)) {
            *lacks |= 1 << refused as u8;
        }
        // From the beginning: what a register held that was read may be another by the next turn.
        self.next_step(write, first_step(write, false, self.lacks_of(write)), now, floor);
        true
    }

    fn next_step<W: World>(&mut self, write: &ModbusWrite, step: Step, now: Nanos, floor: &mut Floor<W>) {
        let lacks = self.lacks_of(write);
        let Some(current) = &mut self.writes.current else { return };
        let Some(pdu) = request(write, step, current.order.payload.bytes(), lacks) else {
            return self.end_write(WriteOutcome::NotWritable, &[], now, floor);
        };
        (current.step, current.pdu, current.on_wire) = (step, pdu, false);
        current.begins_turn = !matches!(step, Step::WriteAfter(_));
        self.writes.read_first |= current.begins_turn;
    }

    /// The present write's one answer.
    fn end_write<W: World>(&mut self, outcome: WriteOutcome, back: &[u8], now: Nanos, floor: &mut Floor<W>) {
        let Some(current) = self.writes.current.take() else { return };
        self.writes.read_first = true;
        answer(&current.order, outcome, back, now, floor);
    }

    /// The write in flight got no reply in time; its place is free again.
    pub(super) fn write_timed_out<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) {
        let Some(current) = &self.writes.current else { return };
        let outcome = current.outcome(WriteOutcome::NoReply, WriteOutcome::NotSent);
        let unit_at = self.unit_of_order(&current.order);
        self.unanswered_on_line(unit_at, now, floor);
        self.unit_timed_out(unit_at, now, floor);
        if !self.drop_unsent(now, floor) {
            self.end_write(outcome, &[], now, floor);
        }
    }

    /// The reply of the write in flight can't be read; its place is free again.
    pub(super) fn write_reply_broken<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) {
        let Some(current) = &self.writes.current else { return };
        let outcome = current.outcome(WriteOutcome::WrongReply, WriteOutcome::NotSent);
        let unit_at = self.unit_of_order(&current.order);
        self.units[unit_at].answered_badly();
        self.end_write(outcome, &[], now, floor);
    }

    /// All orders that are here get their answer: the connection is gone, or the plan.
    pub(super) fn end_writes<W: World>(
        &mut self,
        written: WriteOutcome,
        unwritten: WriteOutcome,
        now: Nanos,
        floor: &mut Floor<W>,
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
