//! From a request frame to a reply frame (Modbus Application Protocol Specification V1.1b3, sections 6.1 to
//! 6.4 and 7; Modbus Messaging on TCP/IP V1.0b, section 3.1).

use crate::limits::{MODBUS_ADU_BYTES_MAX, MODBUS_BITS_MAX, MODBUS_REGISTERS_MAX};
use crate::tag::UnitId;
use fieldbeat_engine::protocol::modbus::model::Table;

use super::device::{DeviceMemory, UnitMemory};
use super::write::write;

/// What a request for a unit that the device lacks gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownUnit {
    /// Exception 0B, as a gateway answers for a device that does not respond.
    Exception,
    /// Nothing.
    Silence,
}

pub(super) const ILLEGAL_FUNCTION: u8 = 0x01;
pub(super) const ILLEGAL_ADDRESS: u8 = 0x02;
pub(super) const ILLEGAL_VALUE: u8 = 0x03;
pub(super) const TARGET_FAILED_TO_RESPOND: u8 = 0x0B;

/// Transaction, protocol, length; the unit that follows is counted by the length.
pub(super) const HEADER_BYTES: usize = 6;
/// A unit and a function.
const LENGTH_MIN: usize = 2;

/// A frame being built, at its greatest size from the start.
pub(super) type Frame = [u8; MODBUS_ADU_BYTES_MAX];

/// What stands at the front of the received bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Not yet a whole frame.
    Partial,
    /// A frame of this many bytes, header included.
    Whole(usize),
    /// No Modbus; there is no way to find the next frame.
    Broken,
}

pub(super) fn frame_at(bytes: &[u8]) -> Received {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Received::Partial };
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[2..4] != [0, 0] || !(LENGTH_MIN..=MODBUS_ADU_BYTES_MAX - HEADER_BYTES).contains(&length) {
        return Received::Broken;
    }
    if bytes.len() < HEADER_BYTES + length { Received::Partial } else { Received::Whole(HEADER_BYTES + length) }
}

/// Answers one whole request frame; returns the reply's bytes in `out`, `None` where there is no reply.
pub(super) fn answer(
    device: &DeviceMemory,
    unknown: UnknownUnit,
    request: &[u8],
    tick: u64,
    out: &mut Frame,
) -> Option<usize> {
    let (unit, function) = (request[HEADER_BYTES], request[HEADER_BYTES + 1]);
    out[..HEADER_BYTES + 2].copy_from_slice(&request[..HEADER_BYTES + 2]);
    let data = &request[HEADER_BYTES + 2..];
    let result = match device.unit(UnitId(unit)) {
        Some(memory) if Table::from_read_function(function).is_some() => {
            read(memory, function, data, tick, &mut out[HEADER_BYTES + 2..])
        }
        Some(memory) => write(memory, function, data, tick, &mut out[HEADER_BYTES + 2..]),
        None if unknown == UnknownUnit::Silence => return None,
        None => Err(TARGET_FAILED_TO_RESPOND),
    };
    Some(match result {
        Ok(bytes) => finish(out, bytes),
        Err(code) => exception(request, code, out),
    })
}

/// Whether a request reaches an address.
pub(super) fn reaches(request: &[u8], address: u32) -> bool {
    let Some(&[a, b, c, d]) = request.get(HEADER_BYTES + 2..HEADER_BYTES + 6) else { return false };
    u32::from(u16::from_be_bytes([a, b])) + u32::from(u16::from_be_bytes([c, d])) > address
}

/// An exception reply to a request.
pub(super) fn exception(request: &[u8], code: u8, out: &mut Frame) -> usize {
    out[..HEADER_BYTES + 2].copy_from_slice(&request[..HEADER_BYTES + 2]);
    out[HEADER_BYTES + 1] |= 0x80;
    out[HEADER_BYTES + 2] = code;
    finish(out, 1)
}

fn finish(out: &mut Frame, data_bytes: usize) -> usize {
    let length = 2 + data_bytes;
    out[4..HEADER_BYTES].copy_from_slice(&(length as u16).to_be_bytes());
    HEADER_BYTES + length
}

/// Reads into `out` (byte count and values); the checks stand in the order of the specification's flow charts.
pub(super) fn read(memory: &UnitMemory, function: u8, data: &[u8], tick: u64, out: &mut [u8]) -> Result<usize, u8> {
    let table = Table::from_read_function(function).ok_or(ILLEGAL_FUNCTION)?;
    let [a, b, c, d] = *data else { return Err(ILLEGAL_VALUE) };
    let (first, count) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let most = if table.is_bits() { MODBUS_BITS_MAX } else { MODBUS_REGISTERS_MAX };
    if !(1..=most).contains(&count) {
        return Err(ILLEGAL_VALUE);
    }
    if usize::from(first) + usize::from(count) > memory.len(table) {
        return Err(ILLEGAL_ADDRESS);
    }
    let values = if table.is_bits() {
        let bytes = usize::from(count).div_ceil(8);
        out[1..=bytes].fill(0);
        let mut at = 0;
        memory.read(table, first, count, tick, |bit| {
            out[1 + at / 8] |= u8::from(bit != 0) << (at % 8);
            at += 1;
        });
        bytes
    } else {
        let mut at = 1;
        memory.read(table, first, count, tick, |word| {
            out[at..at + 2].copy_from_slice(&word.to_be_bytes());
            at += 2;
        });
        usize::from(count) * 2
    };
    out[0] = values as u8;
    Ok(1 + values)
}

#[cfg(test)]
mod tests {
    use super::super::{PlantConfig, Profile, device, layout};
    use super::*;

    fn memory() -> DeviceMemory {
        let config =
            PlantConfig { devices: 1, profile: Profile::Float32 { tags_per_device: 100 }, ..PlantConfig::default() };
        device::memories(&config, &layout::tags(&config).unwrap()).remove(0)
    }

    fn ask(unit: u8, pdu: &[u8]) -> Option<Vec<u8>> {
        ask_of(&memory(), unit, pdu)
    }

    fn ask_of(memory: &DeviceMemory, unit: u8, pdu: &[u8]) -> Option<Vec<u8>> {
        let mut request = vec![0xAB, 0xCD, 0, 0, 0, pdu.len() as u8 + 1, unit];
        request.extend_from_slice(pdu);
        assert_eq!(frame_at(&request), Received::Whole(request.len()));
        let mut out = [0; MODBUS_ADU_BYTES_MAX];
        let bytes = answer(memory, UnknownUnit::Exception, &request, 0, &mut out)?;
        assert_eq!(frame_at(&out[..bytes]), Received::Whole(bytes));
        assert_eq!(out[..2], [0xAB, 0xCD]);
        Some(out[HEADER_BYTES..bytes].to_vec())
    }

    #[test]
    fn a_whole_block_is_answered_with_all_its_registers() {
        let reply = ask(1, &[3, 0, 0, 0, 125]).unwrap();
        assert_eq!(reply[..3], [1, 3, 250]);
        assert_eq!(reply.len(), 253);
    }

    #[test]
    fn what_the_device_lacks_is_an_exception() {
        assert_eq!(ask(1, &[7]), Some(vec![1, 0x87, ILLEGAL_FUNCTION]));
        assert_eq!(ask(1, &[3, 0, 0, 0, 0]), Some(vec![1, 0x83, ILLEGAL_VALUE]));
        assert_eq!(ask(1, &[3, 0, 0, 0, 126]), Some(vec![1, 0x83, ILLEGAL_VALUE]));
        assert_eq!(ask(1, &[3, 0, 0, 0]), Some(vec![1, 0x83, ILLEGAL_VALUE]));
        assert_eq!(ask(1, &[3, 0, 199, 0, 2]), Some(vec![1, 0x83, ILLEGAL_ADDRESS]));
        assert_eq!(ask(1, &[3, 0xFF, 0xFF, 0, 1]), Some(vec![1, 0x83, ILLEGAL_ADDRESS]));
        assert_eq!(ask(1, &[1, 0, 0, 0, 1]), Some(vec![1, 0x81, ILLEGAL_ADDRESS]));
        assert_eq!(ask(2, &[3, 0, 0, 0, 1]), Some(vec![2, 0x83, TARGET_FAILED_TO_RESPOND]));
        assert_eq!(ask(0, &[3, 0, 0, 0, 1]), Some(vec![0, 0x83, TARGET_FAILED_TO_RESPOND]));
    }

    #[test]
    fn what_is_written_stays_and_what_cannot_be_is_an_exception() {
        let memory = memory();
        for (pdu, reply) in [
            // A register, several, one of its bits by mask, and both ways at once.
            (&[6, 0, 10, 0x12, 0x34][..], &[6, 0, 10, 0x12, 0x34][..]),
            (&[16, 0, 11, 0, 2, 4, 0, 1, 0, 2], &[16, 0, 11, 0, 2]),
            (&[22, 0, 10, 0xFF, 0xFE, 0, 1], &[22, 0, 10, 0xFF, 0xFE, 0, 1]),
            (&[3, 0, 10, 0, 3], &[3, 6, 0x12, 0x35, 0, 1, 0, 2]),
            (&[23, 0, 12, 0, 2, 0, 12, 0, 1, 2, 7, 7], &[23, 4, 7, 7]),
            (&[6, 0, 200, 0, 0], &[0x86, ILLEGAL_ADDRESS]),
            (&[16, 0, 199, 0, 2, 4, 0, 1, 0, 2], &[0x90, ILLEGAL_ADDRESS]),
            (&[16, 0, 11, 0, 2, 3, 0, 1, 0], &[0x90, ILLEGAL_VALUE]),
            (&[16, 0, 11, 0, 0, 0], &[0x90, ILLEGAL_VALUE]),
            (&[5, 0, 0, 0xFF, 0], &[0x85, ILLEGAL_ADDRESS]),
            (&[5, 0, 0, 1, 0], &[0x85, ILLEGAL_VALUE]),
            (&[15, 0, 0, 0, 3, 1, 5], &[0x8F, ILLEGAL_ADDRESS]),
        ] {
            let found = ask_of(&memory, 1, pdu).unwrap();
            assert_eq!(found[1..][..reply.len()], *reply, "{pdu:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_modbus_are_told_from_a_part_of_a_frame() {
        assert_eq!(frame_at(&[0, 1, 0, 0, 0]), Received::Partial);
        assert_eq!(frame_at(&[0, 1, 0, 0, 0, 6, 1, 3]), Received::Partial);
        assert_eq!(frame_at(&[0, 1, 0, 9, 0, 6, 1, 3]), Received::Broken);
        assert_eq!(frame_at(&[0, 1, 0, 0, 0, 1, 1, 3]), Received::Broken);
        assert_eq!(frame_at(&[0, 1, 0, 0, 0, 255, 1, 3]), Received::Broken);
    }
}
