//! The requests of writes, and what their replies say (Application Protocol Specification V1.1b3, sections 6.5, 6.6,
//! 6.11, 6.12, 6.16 and 6.17). No allocation, no panic on any bytes.

use super::frame::{self, Mismatch, Shape};
use crate::limits::{MODBUS_PDU_BYTES_MAX, MODBUS_WRITE_BITS_MAX, MODBUS_WRITE_REGISTERS_MAX};
use crate::protocol::modbus::model::{Table, Tolerance};

/// Writes a whole tag by one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Function {
    WriteCoil = 5,
    WriteRegister = 6,
    WriteCoils = 15,
    WriteRegisters = 16,
    MaskWriteRegister = 22,
    ReadWriteRegisters = 23,
}

/// A request: function code and data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pdu {
    bytes: [u8; MODBUS_PDU_BYTES_MAX],
    len: u8,
    pub shape: Shape,
}

impl Pdu {
    fn new(shape: Shape) -> Pdu {
        Pdu { bytes: [0; MODBUS_PDU_BYTES_MAX], len: 0, shape }
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let at = usize::from(self.len);
        self.bytes.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
        self.len += bytes.len() as u8;
        Some(())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    pub fn function(&self) -> u8 {
        self.bytes[0]
    }

    /// A read of `count` registers or bits.
    pub fn read(table: Table, first: u16, count: u16) -> Pdu {
        let value_bytes = if table.is_bits() { usize::from(count).div_ceil(8) } else { usize::from(count) * 2 };
        let mut pdu = Pdu::new(Shape::Values(value_bytes));
        let ([a, b], [c, d]) = (first.to_be_bytes(), count.to_be_bytes());
        let _ = pdu.push(&[table.read_function(), a, b, c, d]);
        pdu
    }

    /// A write of `values` (registers as on the wire, bits packed; the masks of function 22) from `first` on. `None`:
    /// they are not what the function writes.
    pub fn write(function: Function, first: u16, count: u16, values: &[u8]) -> Option<Pdu> {
        let registers_fit = count > 0 && values.len() == usize::from(count) * 2;
        let bits_fit = count > 0 && values.len() == usize::from(count).div_ceil(8);
        let shape = match function {
            Function::MaskWriteRegister => Shape::Echo(6),
            Function::ReadWriteRegisters => Shape::Values(values.len()),
            _ => Shape::Echo(4),
        };
        let mut pdu = Pdu::new(shape);
        pdu.push(&[function as u8])?;
        let head = |pdu: &mut Pdu| {
            pdu.push(&first.to_be_bytes())?;
            pdu.push(&count.to_be_bytes())
        };
        let counted = |pdu: &mut Pdu| {
            pdu.push(&[values.len() as u8])?;
            pdu.push(values)
        };
        match (function, values) {
            (Function::WriteCoil, [bit @ 0..=1]) if count == 1 => {
                pdu.push(&first.to_be_bytes())?;
                pdu.push(&[bit * 0xFF, 0])?;
            }
            (Function::WriteRegister, [_, _]) if count == 1 => {
                pdu.push(&first.to_be_bytes())?;
                pdu.push(values)?;
            }
            (Function::WriteCoils, _) if bits_fit && count <= MODBUS_WRITE_BITS_MAX => {
                head(&mut pdu)?;
                counted(&mut pdu)?;
            }
            (Function::WriteRegisters, _) if registers_fit && count <= MODBUS_WRITE_REGISTERS_MAX => {
                head(&mut pdu)?;
                counted(&mut pdu)?;
            }
            (Function::MaskWriteRegister, [_, _, _, _]) if count == 1 => {
                pdu.push(&first.to_be_bytes())?;
                pdu.push(values)?;
            }
            (Function::ReadWriteRegisters, _) if registers_fit => {
                head(&mut pdu)?;
                head(&mut pdu)?;
                counted(&mut pdu)?;
            }
            _ => return None,
        }
        Some(pdu)
    }
}

/// What a reply says of a write, or of a read that belongs to one.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Confirmed; the values, where the function brings some.
    Good(&'a [u8]),
    Exception(u8),
    /// It confirms something else than what was asked.
    Differs,
    /// Not an answer to this request.
    Mismatch(Mismatch),
}

/// Reads `reply` as that to `request`.
pub fn reply<'a>(reply: &'a [u8], request: &Pdu, tolerance: Tolerance) -> Reply<'a> {
    let function = request.function();
    match (reply, request.shape) {
        (_, Shape::Values(bytes)) => match frame::reply(reply, function, bytes, tolerance) {
            frame::Reply::Values(values) => Reply::Good(values),
            frame::Reply::Exception(code) => Reply::Exception(code),
            frame::Reply::Mismatch(what) => Reply::Mismatch(what),
        },
        ([code, exception], _) if *code == function | 0x80 => Reply::Exception(*exception),
        ([code, echo @ ..], Shape::Echo(bytes)) if *code == function && echo.len() == bytes => {
            // All of functions 5, 6 and 22; of 15 and 16 the address and the count.
            if request.bytes().get(1..=bytes) == Some(echo) { Reply::Good(&[]) } else { Reply::Differs }
        }
        ([code, ..], _) if *code == function => Reply::Mismatch(Mismatch::Length),
        _ => Reply::Mismatch(Mismatch::Function),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rmodbus::client::ModbusRequest;
    use rmodbus::server::ModbusFrame;
    use rmodbus::server::storage::ModbusStorageFull;
    use rmodbus::{ModbusProto, server::context::ModbusContext};

    fn read<'a>(bytes: &'a [u8], request: &Pdu) -> Reply<'a> {
        reply(bytes, request, Tolerance::STRICT)
    }

    fn pdu(function: Function, first: u16, count: u16, values: &[u8]) -> Vec<u8> {
        Pdu::write(function, first, count, values).unwrap().bytes().to_vec()
    }

    /// The examples of the specification: addresses there are those on the wire plus one.
    #[test]
    fn requests_are_the_examples_of_the_specification() {
        // 6.5: output 173 on.
        assert_eq!(pdu(Function::WriteCoil, 172, 1, &[1]), [0x05, 0x00, 0xAC, 0xFF, 0x00]);
        assert_eq!(pdu(Function::WriteCoil, 172, 1, &[0]), [0x05, 0x00, 0xAC, 0x00, 0x00]);
        // 6.6: register 2 to 00 03.
        assert_eq!(pdu(Function::WriteRegister, 1, 1, &[0, 3]), [0x06, 0x00, 0x01, 0x00, 0x03]);
        // 6.11: ten coils from 20 on.
        let coils = pdu(Function::WriteCoils, 19, 10, &[0xCD, 0x01]);
        assert_eq!(coils, [0x0F, 0x00, 0x13, 0x00, 0x0A, 0x02, 0xCD, 0x01]);
        // 6.12: two registers from 2 on to 00 0A and 01 02.
        let registers = pdu(Function::WriteRegisters, 1, 2, &[0x00, 0x0A, 0x01, 0x02]);
        assert_eq!(registers, [0x10, 0x00, 0x01, 0x00, 0x02, 0x04, 0x00, 0x0A, 0x01, 0x02]);
        // 6.16: register 5, AND mask 00 F2, OR mask 00 25.
        let mask = pdu(Function::MaskWriteRegister, 4, 1, &[0x00, 0xF2, 0x00, 0x25]);
        assert_eq!(mask, [0x16, 0x00, 0x04, 0x00, 0xF2, 0x00, 0x25]);
        // 6.17 reads six registers from 4 on and writes three from 15 on; ours reads what it writes.
        let both = pdu(Function::ReadWriteRegisters, 14, 3, &[0, 0xFF, 0, 0xFF, 0, 0xFF]);
        let expected = [0x17, 0, 0x0E, 0, 3, 0, 0x0E, 0, 3, 6, 0, 0xFF, 0, 0xFF, 0, 0xFF];
        assert_eq!(both, expected);
        // 6.3: registers 108 to 110.
        assert_eq!(Pdu::read(Table::HoldingRegisters, 107, 3).bytes(), [0x03, 0x00, 0x6B, 0x00, 0x03]);
    }

    #[test]
    fn replies_are_the_examples_of_the_specification_and_others_are_none() {
        let of = |function, first, count, values: &[u8]| Pdu::write(function, first, count, values).unwrap();
        for (request, good) in [
            (of(Function::WriteCoil, 172, 1, &[1]), &[0x05, 0x00, 0xAC, 0xFF, 0x00][..]),
            (of(Function::WriteRegister, 1, 1, &[0, 3]), &[0x06, 0x00, 0x01, 0x00, 0x03]),
            (of(Function::WriteCoils, 19, 10, &[0xCD, 1]), &[0x0F, 0x00, 0x13, 0x00, 0x0A]),
            (of(Function::WriteRegisters, 1, 2, &[0, 0x0A, 1, 2]), &[0x10, 0x00, 0x01, 0x00, 0x02]),
            (of(Function::MaskWriteRegister, 4, 1, &[0, 0xF2, 0, 0x25]), &[0x16, 0x00, 0x04, 0x00, 0xF2, 0x00, 0x25]),
        ] {
            assert_eq!(read(good, &request), Reply::Good(&[]));
            for at in 1..good.len() {
                let mut other = good.to_vec();
                other[at] ^= 0x10;
                assert_eq!(read(&other, &request), Reply::Differs, "{other:?}");
            }
            for none in [&good[..good.len() - 1], &[good, &[0]].concat(), &[], &[good[0] ^ 1, 0, 0, 0, 0]] {
                assert!(matches!(read(none, &request), Reply::Mismatch(_)), "{none:?}");
            }
            assert_eq!(read(&[good[0] | 0x80, 2], &request), Reply::Exception(2));
        }
        let both = of(Function::ReadWriteRegisters, 14, 1, &[0, 0xFF]);
        assert_eq!(read(&[0x17, 2, 0x12, 0x34], &both), Reply::Good(&[0x12, 0x34]));
        assert_eq!(read(&[0x17, 4, 0, 0, 0, 0], &both), Reply::Mismatch(Mismatch::Length));
        assert_eq!(read(&[0x97, 1], &both), Reply::Exception(1));
    }

    #[test]
    fn what_does_not_fit_a_function_is_none() {
        for (function, count, bytes) in [
            (Function::WriteCoil, 2, 1),
            (Function::WriteCoil, 1, 2),
            (Function::WriteRegister, 1, 4),
            (Function::WriteRegister, 2, 4),
            (Function::WriteCoils, 1969, 247),
            (Function::WriteCoils, 9, 1),
            (Function::WriteRegisters, 124, 248),
            (Function::WriteRegisters, 0, 0),
            (Function::WriteRegisters, 3, 4),
            (Function::MaskWriteRegister, 1, 2),
            (Function::ReadWriteRegisters, 122, 244),
        ] {
            assert_eq!(Pdu::write(function, 0, count, &vec![0; bytes]), None, "{function:?} {count} {bytes}");
        }
        assert_eq!(Pdu::write(Function::WriteCoil, 0, 1, &[2]), None);
        for (function, count, bytes) in [
            (Function::WriteCoils, 1968, 246),
            (Function::WriteRegisters, 123, 246),
            (Function::ReadWriteRegisters, 121, 242),
        ] {
            assert!(Pdu::write(function, 0, count, &vec![0; bytes]).is_some(), "{function:?}");
        }
    }

    /// A request over TCP as rmodbus's server takes it; the exception it would answer.
    fn served(pdu: &[u8], context: &mut ModbusStorageFull) -> Result<Vec<u8>, u8> {
        let mut request = vec![0, 1, 0, 0, 0, pdu.len() as u8 + 1, 1];
        request.extend_from_slice(pdu);
        let mut buffer = [0; 260];
        buffer[..request.len()].copy_from_slice(&request);
        let mut reply = Vec::new();
        let mut frame = ModbusFrame::new(1, &buffer[..request.len()], ModbusProto::TcpUdp, &mut reply);
        frame.parse().unwrap();
        if frame.processing_required {
            frame.process_write(context).unwrap();
        }
        frame.finalize_response().unwrap();
        let reply = reply[7..].to_vec();
        if reply[0] & 0x80 != 0 { Err(reply[1]) } else { Ok(reply) }
    }

    fn is_taken(request: &Pdu, context: &mut ModbusStorageFull) -> bool {
        read(&served(request.bytes(), context).unwrap(), request) == Reply::Good(&[])
    }

    proptest! {
        // That server takes no longer requests, though the specification's longest are a little longer.
        #[test]
        fn a_server_by_others_takes_writes_and_its_replies_are_good(
            first in 0u16..9_000, registers in prop::collection::vec(any::<u16>(), 1..=121), coils in prop::collection::vec(any::<bool>(), 1..=1936),
        ) {
            let mut context = ModbusStorageFull::new();
            let bytes: Vec<u8> = registers.iter().flat_map(|r| r.to_be_bytes()).collect();
            let mut packed = vec![0; coils.len().div_ceil(8)];
            coils.iter().enumerate().for_each(|(i, on)| packed[i / 8] |= u8::from(*on) << (i % 8));
            let one = Pdu::write(Function::WriteRegister, first, 1, &bytes[..2]).unwrap();
            prop_assert!(is_taken(&one, &mut context));
            prop_assert_eq!(context.get_holding(first).unwrap(), registers[0]);
            let all = Pdu::write(Function::WriteRegisters, first, registers.len() as u16, &bytes).unwrap();
            prop_assert!(is_taken(&all, &mut context));
            for (at, register) in registers.iter().enumerate() {
                prop_assert_eq!(context.get_holding(first + at as u16).unwrap(), *register);
            }
            let one = Pdu::write(Function::WriteCoil, first, 1, &[u8::from(coils[0])]).unwrap();
            prop_assert!(is_taken(&one, &mut context));
            prop_assert_eq!(context.get_coil(first).unwrap(), coils[0]);
            let all = Pdu::write(Function::WriteCoils, first % 8_000, coils.len() as u16, &packed).unwrap();
            prop_assert!(is_taken(&all, &mut context));
            for (at, on) in coils.iter().enumerate() {
                prop_assert_eq!(context.get_coil(first % 8_000 + at as u16).unwrap(), *on);
            }
        }

        #[test]
        fn requests_are_those_of_rmodbus(unit: u8, first: u16, registers in prop::collection::vec(any::<u16>(), 1..=123), coils in prop::collection::vec(any::<bool>(), 1..=1968)) {
            let bytes: Vec<u8> = registers.iter().flat_map(|r| r.to_be_bytes()).collect();
            let mut packed = vec![0; coils.len().div_ceil(8)];
            coils.iter().enumerate().for_each(|(i, on)| packed[i / 8] |= u8::from(*on) << (i % 8));
            let mut oracle = ModbusRequest::new_tcp_udp(unit, 1);
            let mut expected = Vec::new();
            oracle.generate_set_holding(first, registers[0], &mut expected).unwrap();
            prop_assert_eq!(&pdu(Function::WriteRegister, first, 1, &bytes[..2])[..], &expected[7..]);
            expected.clear();
            oracle.generate_set_holdings_bulk(first, &registers, &mut expected).unwrap();
            prop_assert_eq!(&pdu(Function::WriteRegisters, first, registers.len() as u16, &bytes)[..], &expected[7..]);
            expected.clear();
            oracle.generate_set_coil(first, coils[0], &mut expected).unwrap();
            prop_assert_eq!(&pdu(Function::WriteCoil, first, 1, &[u8::from(coils[0])])[..], &expected[7..]);
            expected.clear();
            oracle.generate_set_coils_bulk(first, &coils, &mut expected).unwrap();
            prop_assert_eq!(&pdu(Function::WriteCoils, first, coils.len() as u16, &packed)[..], &expected[7..]);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), first: u16, count: u16, values in prop::collection::vec(any::<u8>(), 0..256)) {
            use Function::*;
            for function in [WriteCoil, WriteRegister, WriteCoils, WriteRegisters, MaskWriteRegister, ReadWriteRegisters] {
                if let Some(request) = Pdu::write(function, first, count, &values) {
                    let _ = read(&bytes, &request);
                }
            }
        }
    }
}
