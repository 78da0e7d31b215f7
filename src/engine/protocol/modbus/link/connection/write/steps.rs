//! How a write is done: its steps, their requests, and what they come to.

use super::super::super::pdu::{Function, Pdu};
use crate::limits::MODBUS_READ_WRITE_REGISTERS_MAX;
use crate::protocol::modbus::model::Table;
use crate::protocol::modbus::plan::ModbusWrite;
use crate::rt::WriteOutcome;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Write(Function),
    /// The register is read, to change a part of it.
    ReadBefore,
    /// And written back with it.
    WriteAfter([u8; 2]),
    ReadBack,
}

/// How a write is done that has not yet begun, by a unit that `lacks` some functions.
pub(super) fn first_step(write: &ModbusWrite, broadcast: bool, lacks: u32) -> Step {
    let may = |function: Function| {
        lacks & 1 << function as u8 == 0 && write.function.is_none_or(|asked| asked == function as u8)
    };
    let has = |function: Function| lacks & 1 << function as u8 == 0;
    let function = match (write.table, write.place.field) {
        (Table::Coils, _) if write.count == 1 && may(Function::WriteCoil) => Function::WriteCoil,
        (Table::Coils, _) => Function::WriteCoils,
        // Who asks for it wants one step for the device, or none.
        (_, field)
            if field.is_part_of_register()
                && (broadcast || may(Function::MaskWriteRegister) || is_mask_only(write)) =>
        {
            Function::MaskWriteRegister
        }
        (_, field) if field.is_part_of_register() => return Step::ReadBefore,
        _ if write.in_one
            && !broadcast
            && write.count <= MODBUS_READ_WRITE_REGISTERS_MAX
            && has(Function::ReadWriteRegisters) =>
        {
            Function::ReadWriteRegisters
        }
        _ => register_function(write, lacks),
    };
    Step::Write(function)
}

/// Function 22 was asked for: there is no other way.
fn is_mask_only(write: &ModbusWrite) -> bool {
    write.function == Some(Function::MaskWriteRegister as u8)
}

/// By which function registers are written, those that a bit was changed in among them.
pub(super) fn register_function(write: &ModbusWrite, lacks: u32) -> Function {
    let has_one = lacks & 1 << Function::WriteRegister as u8 == 0;
    let one = write.count == 1 && has_one && write.function != Some(Function::WriteRegisters as u8);
    if one { Function::WriteRegister } else { Function::WriteRegisters }
}

/// Which function a step writes with, where there is another that does the same.
pub(super) fn replaceable(write: &ModbusWrite, step: Step, lacks: u32) -> Option<Function> {
    let function = match step {
        Step::Write(function) => function,
        Step::WriteAfter(_) => register_function(write, lacks),
        Step::ReadBefore | Step::ReadBack => return None,
    };
    let is_last = match function {
        Function::WriteCoils | Function::WriteRegisters => true,
        Function::MaskWriteRegister => is_mask_only(write),
        Function::WriteCoil | Function::WriteRegister | Function::ReadWriteRegisters => false,
    };
    (!is_last).then_some(function)
}

/// The request of a step; `None`: the payload is nothing that it can write.
pub(super) fn request(write: &ModbusWrite, step: Step, payload: &[u8], lacks: u32) -> Option<Pdu> {
    let ModbusWrite { table, count, .. } = *write;
    let first = write.place.first;
    match step {
        Step::Write(function) => Pdu::write(function, first, count, payload),
        Step::WriteAfter(register) => Pdu::write(register_function(write, lacks), first, 1, &register),
        Step::ReadBefore | Step::ReadBack => Some(Pdu::read(table, first, count)),
    }
}

/// Whether what was read back is what was written.
pub(super) fn is_written(write: &ModbusWrite, payload: &[u8], back: &[u8]) -> bool {
    match (write.place.field, payload, back) {
        (field, &[a, b, c, d], &[high, low]) if field.is_part_of_register() => {
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
pub(super) fn masked(register: &[u8], payload: &[u8]) -> Option<[u8; 2]> {
    let (&[high, low], &[a, b, c, d]) = (register, payload) else { return None };
    let [register, and, or] = [[high, low], [a, b], [c, d]].map(u16::from_be_bytes);
    Some((register & and | or & !and).to_be_bytes())
}

impl Step {
    /// What becomes of an order that ends at this step without a reply.
    pub fn outcome(self, written: WriteOutcome, unwritten: WriteOutcome) -> WriteOutcome {
        match self {
            Step::Write(_) | Step::WriteAfter(_) => written,
            Step::ReadBefore => unwritten,
            Step::ReadBack => WriteOutcome::NotReadBack,
        }
    }
}
