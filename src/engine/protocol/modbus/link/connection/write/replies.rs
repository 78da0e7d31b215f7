//! What a write's request was answered, and what follows.

use super::super::super::frame::{Mismatch, Shape};
use super::super::super::pdu::{self, Function, Reply};
use super::super::ModbusLink;
use super::answer;
use super::steps::{Step, first_step, is_written, masked, replaceable, request};
use crate::protocol::modbus::plan::ModbusWrite;
use crate::rt::{StepContext, World, WriteOutcome};
use crate::tag::Nanos;

/// Modbus exceptions (Application Protocol Specification V1.1b3, section 7).
const ILLEGAL_FUNCTION: u8 = 0x01;
const ILLEGAL_DATA_VALUE: u8 = 0x03;
const GATEWAY_PATH_UNAVAILABLE: u8 = 0x0A;
const GATEWAY_TARGET_SILENT: u8 = 0x0B;

impl ModbusLink {
    /// Unit, function and shape of the reply to the write on the wire.
    pub fn expected_of_write(&self) -> Option<(usize, u8, Shape)> {
        let current = self.writes.current.as_ref().filter(|current| current.on_wire)?;
        Some((self.unit_of_order(&current.order), current.pdu.function(), current.pdu.shape))
    }

    /// What the write in flight in `slot` was answered.
    pub fn take_write_reply<W: World>(
        &mut self,
        slot: usize,
        unit: u8,
        pdu: &[u8],
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let Some(current) = &self.writes.current else { return };
        let Some(write) = self.write_of(&current.order) else { return };
        let unit_at = usize::from(write.unit);
        let tolerance = self.plan.config.tolerance;
        let reply = if unit == self.plan.units[unit_at].0 || tolerance.any_unit {
            pdu::reply(pdu, &current.pdu, tolerance)
        } else {
            Reply::Mismatch(Mismatch::Unit)
        };
        if let Reply::Mismatch(what) = reply {
            return self.mismatched(what, floor);
        }
        let (step, payload) = (current.step, current.order.payload);
        self.in_flight[slot] = None;
        self.note_answer(unit_at, now);
        match reply {
            Reply::Exception(code @ (GATEWAY_PATH_UNAVAILABLE | GATEWAY_TARGET_SILENT)) => {
                self.connection_answers();
                self.unit_timed_out(unit_at, None, now, floor);
                self.end_write(
                    step.outcome(WriteOutcome::Refused(code.into()), WriteOutcome::Refused(code.into())),
                    &[],
                    now,
                    floor,
                );
            }
            Reply::Exception(code) => {
                self.answered(unit_at, now, floor);
                if !self.falls_back(&write, step, code, now, floor) {
                    let refused = WriteOutcome::Refused(self.told_refusal(code).into());
                    self.end_write(step.outcome(refused, refused), &[], now, floor);
                }
            }
            Reply::Differs => {
                self.answered(unit_at, now, floor);
                self.end_write(WriteOutcome::WrongReply, &[], now, floor);
            }
            Reply::Good(values) => {
                self.answered(unit_at, now, floor);
                self.go_on(&write, step, payload.bytes(), values, now, floor);
            }
            Reply::Mismatch(_) => {}
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
        floor: &mut StepContext<W>,
    ) {
        if matches!(step, Step::Write(_) | Step::WriteAfter(_)) {
            self.learn_functions(write);
        }
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

    /// A function was refused: the write is done by another that does the same, if there is one. False: there is none.
    ///
    /// By the specification a server checks the function (01), the address (02) and the value (03) before it does anything,
    /// so nothing was done; 04 and the others it may say in the midst. 01 says that the unit has no such function, and that
    /// is known from then on. 02 and 03 may say so as well, or mean what they say: the other function is tried for this
    /// write, and only if that is taken does the unit count as one that lacks the first.
    fn falls_back<W: World>(
        &mut self,
        write: &ModbusWrite,
        step: Step,
        code: u8,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) -> bool {
        let Some(refused) = replaceable(write, step, self.lacks_of(write)) else { return false };
        if !(ILLEGAL_FUNCTION..=ILLEGAL_DATA_VALUE).contains(&code) {
            return false;
        }
        let Some(current) = &mut self.writes.current else { return false };
        current.tried |= 1 << refused as u8;
        if code == ILLEGAL_FUNCTION {
            if let Some(lacks) = self.writes.lacks.get_mut(usize::from(write.unit)) {
                *lacks |= 1 << refused as u8;
            }
        } else {
            current.refused.get_or_insert(code);
        }
        // From the beginning: what a register held that was read may be another by the next turn.
        self.next_step(write, first_step(write, false, self.lacks_of(write)), now, floor);
        true
    }

    /// What is said of a write that was refused by `code`: where another function was tried in vain, what the first said of
    /// the address or the value.
    fn told_refusal(&self, code: u8) -> u8 {
        let first = self.writes.current.as_ref().and_then(|current| current.refused);
        first.filter(|_| (ILLEGAL_FUNCTION..=ILLEGAL_DATA_VALUE).contains(&code)).unwrap_or(code)
    }

    /// A write was taken: what was refused before it was the function.
    fn learn_functions(&mut self, write: &ModbusWrite) {
        let tried = self.writes.current.as_ref().map_or(0, |current| current.tried);
        if let Some(lacks) = self.writes.lacks.get_mut(usize::from(write.unit)) {
            *lacks |= tried;
        }
    }

    fn next_step<W: World>(&mut self, write: &ModbusWrite, step: Step, now: Nanos, floor: &mut StepContext<W>) {
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
    pub(super) fn end_write<W: World>(
        &mut self,
        outcome: WriteOutcome,
        back: &[u8],
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let Some(current) = self.writes.current.take() else { return };
        self.writes.read_first = true;
        answer(&current.order, outcome, back, now, floor);
    }

    /// The write in flight got no reply in time; its place is free again.
    pub fn write_timed_out<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let Some(current) = &self.writes.current else { return };
        let outcome = current.outcome(WriteOutcome::NoReply, WriteOutcome::NotSent);
        let unit_at = self.unit_of_order(&current.order);
        self.unanswered_on_line(unit_at, now, floor);
        self.unit_timed_out(unit_at, None, now, floor);
        if !self.drop_unsent(now, floor) {
            self.end_write(outcome, &[], now, floor);
        }
    }

    /// The reply of the write in flight can't be read; its place is free again.
    pub fn write_reply_broken<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let Some(current) = &self.writes.current else { return };
        let outcome = current.outcome(WriteOutcome::WrongReply, WriteOutcome::NotSent);
        let unit_at = self.unit_of_order(&current.order);
        self.units[unit_at].answered_badly();
        self.end_write(outcome, &[], now, floor);
    }
}
