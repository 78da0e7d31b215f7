//! Values that are told as texts: characters in an encoding, dates, the digits of numbers of 128 bits.

use super::date::{self, NoDate};
use crate::config::{FieldType, WordOrder};
use crate::limits::{MODBUS_REGISTERS_MAX, WRITE_BYTES_MAX};
use crate::protocol::modbus::plan::Decode;
use crate::protocol::no_value::NoValue;
use crate::protocol::write::WriteFault;
use crate::tag::Encoding;

/// The text of a value, in `out`; how many bytes it has.
pub fn read(decode: &Decode, bytes: &[u8], at: usize, out: &mut [u8]) -> Result<usize, NoValue> {
    match decode.field {
        FieldType::Text(encoding) => read_characters(decode, encoding, bytes, at, out),
        FieldType::Date(format) => {
            let (registers, len) = in_usual_order(decode, bytes, at)?;
            date::read(format, &registers[..len], out).map_err(|fault| match fault {
                NoDate::Wrong => NoValue::Wrong,
                NoDate::NotValid => NoValue::Absent,
            })
        }
        FieldType::Int128 => {
            let (registers, _) = in_usual_order(decode, bytes, at)?;
            let number = i128::from_be_bytes(registers);
            digits(number.unsigned_abs(), number < 0, out)
        }
        FieldType::Uint128 => {
            let (registers, _) = in_usual_order(decode, bytes, at)?;
            digits(u128::from_be_bytes(registers), false, out)
        }
        _ => Err(NoValue::Wrong),
    }
}

/// The registers of one element, and how many bytes they are.
fn in_usual_order(decode: &Decode, bytes: &[u8], at: usize) -> Result<([u8; 16], usize), NoValue> {
    let len = usize::from(decode.field.registers()) * 2;
    let mut registers = [0; 16];
    let own = registers.get_mut(..len).ok_or(NoValue::Wrong)?;
    own.copy_from_slice(bytes.get(at * 2..at * 2 + len).ok_or(NoValue::Wrong)?);
    reorder(own, decode.order);
    Ok((registers, len))
}

/// A number's decimal digits.
fn digits(mut number: u128, negative: bool, out: &mut [u8]) -> Result<usize, NoValue> {
    let mut backwards = [0; 40];
    let mut len = 0;
    for slot in &mut backwards {
        *slot = b'0' + (number % 10) as u8;
        number /= 10;
        len += 1;
        if number == 0 {
            break;
        }
    }
    if negative && let Some(slot) = backwards.get_mut(len) {
        *slot = b'-';
        len += 1;
    }
    let slots = out.get_mut(..len).ok_or(NoValue::Wrong)?;
    slots.iter_mut().zip(backwards[..len].iter().rev()).for_each(|(slot, byte)| *slot = *byte);
    Ok(len)
}

/// Two characters a register. The order says which of the two is first; registers of text are in reading order in every
/// device.
fn read_characters(
    decode: &Decode,
    encoding: Encoding,
    bytes: &[u8],
    at: usize,
    out: &mut [u8],
) -> Result<usize, NoValue> {
    let len = usize::from(decode.len) * 2;
    let mut registers = [0; MODBUS_REGISTERS_MAX as usize * 2];
    let own = registers.get_mut(..len).ok_or(NoValue::Wrong)?;
    own.copy_from_slice(bytes.get(at * 2..at * 2 + len).ok_or(NoValue::Wrong)?);
    if decode.order.swaps_bytes() {
        own.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    }
    encoding.decode(own, out).ok_or(NoValue::Wrong)
}

/// Registers from the wire's order to the usual one, or back.
fn reorder(registers: &mut [u8], order: WordOrder) {
    if order.swaps_words() {
        registers.reverse();
    }
    // Reversed bytes are swapped in each register already.
    if order.swaps_bytes() != order.swaps_words() {
        registers.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    }
}

/// The registers of a text, as on the wire; how many bytes they are.
///
/// # Errors
/// What is wrong with the text.
pub fn write(place: &Decode, text: &str, out: &mut [u8; WRITE_BYTES_MAX]) -> Result<usize, WriteFault> {
    let mut registers = [0; 16];
    let len = match place.field {
        FieldType::Text(encoding) => return write_characters(place, encoding, text, out),
        FieldType::Date(format) => date::write(format, text, &mut registers)
            .ok_or(WriteFault::Unreadable { allowed: date::example(format) })?,
        FieldType::Int128 => {
            let allowed = "a whole number from -170141183460469231731687303715884105728 to \
                           170141183460469231731687303715884105727";
            registers = text.parse::<i128>().map_err(|_| WriteFault::Unreadable { allowed })?.to_be_bytes();
            registers.len()
        }
        FieldType::Uint128 => {
            let allowed = "a whole number from 0 to 340282366920938463463374607431768211455";
            registers = text.parse::<u128>().map_err(|_| WriteFault::Unreadable { allowed })?.to_be_bytes();
            registers.len()
        }
        _ => return Err(WriteFault::NotWritable),
    };
    let own = registers.get_mut(..len).ok_or(WriteFault::NotWritable)?;
    reorder(own, place.order);
    out.get_mut(..len).ok_or(WriteFault::NotWritable)?.copy_from_slice(own);
    Ok(len)
}

/// Two characters a register, NUL to the end of the place.
fn write_characters(
    place: &Decode,
    encoding: Encoding,
    text: &str,
    out: &mut [u8; WRITE_BYTES_MAX],
) -> Result<usize, WriteFault> {
    let room = usize::from(place.len) * 2;
    if text.contains('\0') {
        return Err(WriteFault::Nul);
    }
    let out = out.get_mut(..room).ok_or(WriteFault::NotWritable)?;
    out.fill(0);
    let mut bytes = 0;
    for c in text.chars() {
        let mut own = [0; 4];
        let lacks = WriteFault::NoSuchCharacter { found: c, encoding: encoding.name() };
        let len = encoding.encode(c, &mut own).ok_or(lacks)?;
        if let Some(slot) = out.get_mut(bytes..bytes + len) {
            slot.copy_from_slice(&own[..len]);
        }
        bytes += len;
    }
    if bytes > room {
        return Err(WriteFault::TooLong { bytes, bytes_max: room });
    }
    if place.order.swaps_bytes() {
        out.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    }
    Ok(room)
}
