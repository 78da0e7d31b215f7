//! Writes: their turn among the reads, the steps of each, and its one answer.
//!
//! A write goes before the reads that wait, one at a time. It has turns: the write, and its read-back. After each at least
//! one read goes first, and the next does not begin before the plan's spacing is over, so that however many writes come,
//! no scan misses a cycle for them: see `plan::admission`. What has not gone out by its deadline never does; nor, on a line,
//! what could not be answered by then. A write to a silent unit goes out as its probe when one is due before the deadline, and fails at once
//! otherwise.
//!
//! A bit of a register is changed by function 22. A unit that has no such function gets its register read and written
//! back, with nothing of this link in between: another master's change in that moment is lost. Likewise a unit that
//! refuses function 5, 6 or 23 is asked by 15 or 16 from then on. What is asked again was refused by an exception; a write
//! whose fate is not known never is.
//!
//! | file | subject |
//! |---|---|
//! | `steps` | how a write is done: its requests |
//! | `replies` | what they are answered, and what follows |
//! | `ends` | what ends without a reply |

mod ends;
mod replies;
mod steps;

use self::steps::{Step, first_step, request};
use super::super::frame;
use super::super::pdu::Pdu;
use super::ending::Returning;
use super::{Asks, InFlight, ModbusLink};
use crate::lane::region_of;
use crate::limits::{BROADCAST_PAUSE, MODBUS_WRITES_WAITING_MAX, WRITE_HAND_OVER};
use crate::protocol::modbus::plan::{ModbusPlan, ModbusWrite};
use crate::rt::{Io, StepContext, World, WriteAnswer, WriteOrder, WriteOutcome, WritePayload};
use crate::tag::{LinkId, Nanos};

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
    /// Functions that were refused for it, as bits; and the first refusal that may have meant the address or the value.
    tried: u32,
    refused: Option<u8>,
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

impl Current {
    /// What becomes of it now, without a reply.
    fn outcome(&self, written: WriteOutcome, unwritten: WriteOutcome) -> WriteOutcome {
        let written = if self.on_wire { written } else { unwritten };
        self.step.outcome(written, unwritten)
    }
}

fn answer<W: World>(order: &WriteOrder, outcome: WriteOutcome, back: &[u8], at: Nanos, floor: &mut StepContext<W>) {
    let back = WritePayload::new(back).unwrap_or_default();
    floor.answer(WriteAnswer { id: order.id, outcome, at, back });
}

impl ModbusLink {
    /// A new order.
    pub(super) fn take_order<W: World>(&mut self, order: &WriteOrder, now: Nanos, floor: &mut StepContext<W>) {
        let refused = if self.plan.writes.get(order.slot as usize).is_none() {
            Some(WriteOutcome::NotWritable)
        } else if self.connection.is_none() && self.returning != Returning::Expected {
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

    /// The unit of the write whose turn it is.
    pub(super) fn written_unit(&self) -> Option<usize> {
        self.writes.current.as_ref().map(|current| self.unit_of_order(&current.order))
    }

    fn unit_of_order(&self, order: &WriteOrder) -> usize {
        self.write_of(order).map_or(0, |write| usize::from(write.unit))
    }

    /// What the unit lacks, and what it has refused of the write under way.
    fn lacks_of(&self, write: &ModbusWrite) -> u32 {
        let tried = self.writes.current.as_ref().map_or(0, |current| current.tried);
        self.writes.lacks.get(usize::from(write.unit)).copied().unwrap_or_default() | tried
    }

    /// On a serial line, unit 0 is everyone, and nobody answers (Modbus over Serial Line V1.02, section 2.1).
    fn is_broadcast(&self, write: &ModbusWrite) -> bool {
        self.line.is_some() && self.plan.units[usize::from(write.unit)].0 == 0
    }

    /// The write that may go out next. What can't any more is answered.
    pub(super) fn next_write<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) -> Option<Turn> {
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
    pub(super) fn send_write<W: World>(&mut self, turn: Turn, slot: usize, floor: &mut StepContext<W>) -> bool {
        // What this step has done so far took its time, too.
        let now = floor.world.now();
        if let Some(at) = turn.waiting {
            let order = self.writes.take(at);
            let write = self.write_of(&order);
            let begun = write.and_then(|write| {
                let lacks = self.lacks_of(&write);
                let step = first_step(&write, self.is_broadcast(&write), lacks);
                let pdu = request(&write, step, order.payload.bytes(), lacks)?;
                Some(Current { order, step, pdu, on_wire: false, begins_turn: true, tried: 0, refused: None })
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
        let reply_bytes = if broadcast { 0 } else { 1 + current.pdu.shape.bytes() };
        // A reply on a line for which nobody waits any more costs it a rest: what cannot be answered in time is not sent.
        let answered = match &self.line {
            Some(line) if !broadcast => {
                line.time_of_exchange(connection.out.len, reply_bytes, self.plan.config.reply_expected)
            }
            _ => out,
        };
        if now + answered + WRITE_HAND_OVER > current.order.deadline {
            connection.out.clear();
            let outcome = current.outcome(WriteOutcome::NotSent, WriteOutcome::NotSent);
            self.end_write(outcome, &[], now, floor);
            return true;
        }
        current.on_wire = true;
        if std::mem::take(&mut current.begins_turn) {
            self.writes.begin_at = now + self.writes.spacing;
        }
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
            self.peer_closed(sent, floor);
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
}
