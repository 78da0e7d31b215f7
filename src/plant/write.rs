//! Writes to a device (Modbus Application Protocol Specification V1.1b3, sections 6.5, 6.6, 6.11, 6.12, 6.16, 6.17).

use super::device::UnitMemory;
use super::protocol::{ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE, read};
use crate::limits::{MODBUS_READ_WRITE_REGISTERS_MAX, MODBUS_WRITE_BITS_MAX, MODBUS_WRITE_REGISTERS_MAX};
use fieldbeat_engine::protocol::modbus::model::Table;

/// Answers into `out`, from behind the function code on; the checks stand in the order of the specification's flow
/// charts.
pub(super) fn write(memory: &UnitMemory, function: u8, data: &[u8], tick: u64, out: &mut [u8]) -> Result<usize, u8> {
    let confirm = |bytes: usize, out: &mut [u8]| {
        out[..bytes].copy_from_slice(&data[..bytes]);
        Ok(bytes)
    };
    match (function, data) {
        (5, &[a, b, on @ (0 | 0xFF), 0]) => {
            let first = exists(memory, Table::Coils, [a, b], 1)?;
            memory.write(Table::Coils, first, u16::from(on != 0));
            confirm(4, out)
        }
        (6, &[a, b, high, low]) => {
            let first = exists(memory, Table::HoldingRegisters, [a, b], 1)?;
            memory.write(Table::HoldingRegisters, first, u16::from_be_bytes([high, low]));
            confirm(4, out)
        }
        (15, &[a, b, c, d, bytes, ref values @ ..]) => {
            let count = counted([c, d], MODBUS_WRITE_BITS_MAX)?;
            let fits = usize::from(count).div_ceil(8) == values.len() && values.len() == usize::from(bytes);
            if !fits {
                return Err(ILLEGAL_VALUE);
            }
            let first = exists(memory, Table::Coils, [a, b], count)?;
            for at in 0..count {
                memory.write(Table::Coils, first + at, u16::from(values[usize::from(at) / 8] >> (at % 8) & 1));
            }
            confirm(4, out)
        }
        (16, &[a, b, c, d, bytes, ref values @ ..]) => {
            let count = counted([c, d], MODBUS_WRITE_REGISTERS_MAX)?;
            write_registers(memory, [a, b], count, bytes, values)?;
            confirm(4, out)
        }
        (22, &[a, b, and_high, and_low, or_high, or_low]) => {
            let first = exists(memory, Table::HoldingRegisters, [a, b], 1)?;
            let (and, or) = (u16::from_be_bytes([and_high, and_low]), u16::from_be_bytes([or_high, or_low]));
            let before = memory.register(Table::HoldingRegisters, first, tick).unwrap_or_default();
            memory.write(Table::HoldingRegisters, first, before & and | or & !and);
            confirm(6, out)
        }
        (23, &[a, b, c, d, e, f, g, h, bytes, ref values @ ..]) => {
            let count = counted([g, h], MODBUS_READ_WRITE_REGISTERS_MAX)?;
            write_registers(memory, [e, f], count, bytes, values)?;
            read(memory, Table::HoldingRegisters.read_function(), &[a, b, c, d], tick, out)
        }
        (5 | 6 | 15 | 16 | 22 | 23, _) => Err(ILLEGAL_VALUE),
        _ => Err(ILLEGAL_FUNCTION),
    }
}

fn counted(count: [u8; 2], most: u16) -> Result<u16, u8> {
    let count = u16::from_be_bytes(count);
    if (1..=most).contains(&count) { Ok(count) } else { Err(ILLEGAL_VALUE) }
}

fn exists(memory: &UnitMemory, table: Table, first: [u8; 2], count: u16) -> Result<u16, u8> {
    let first = u16::from_be_bytes(first);
    let exists = usize::from(first) + usize::from(count) <= memory.len(table);
    if exists { Ok(first) } else { Err(ILLEGAL_ADDRESS) }
}

fn write_registers(memory: &UnitMemory, first: [u8; 2], count: u16, bytes: u8, values: &[u8]) -> Result<(), u8> {
    if values.len() != usize::from(count) * 2 || values.len() != usize::from(bytes) {
        return Err(ILLEGAL_VALUE);
    }
    let first = exists(memory, Table::HoldingRegisters, first, count)?;
    for (at, pair) in (first..).zip(values.chunks_exact(2)) {
        memory.write(Table::HoldingRegisters, at, u16::from_be_bytes([pair[0], pair[1]]));
    }
    Ok(())
}
