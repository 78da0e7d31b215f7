//! Modbus TCP frames (Messaging on TCP/IP Implementation Guide V1.0b, section 3.1; Application Protocol
//! Specification V1.1b3, sections 6.1 to 6.4 and 7). No allocation, no panic on any bytes.

use crate::limits::MODBUS_ADU_BYTES_MAX;

/// Transaction id, protocol id, length, unit id.
pub const MBAP_BYTES: usize = 7;

/// The longest read request of all framings: in ASCII.
const READ_REQUEST_BYTES_MAX: usize = 17;

/// A read request's bytes on the wire.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    bytes: [u8; READ_REQUEST_BYTES_MAX],
    len: u8,
}

impl Request {
    /// `fill` puts the bytes in their place and says how many they are.
    pub fn new(fill: impl FnOnce(&mut [u8]) -> usize) -> Request {
        let mut bytes = [0; READ_REQUEST_BYTES_MAX];
        let len = fill(&mut bytes).min(READ_REQUEST_BYTES_MAX);
        Request { bytes, len: len as u8 }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// How the reply to a request looks behind its function code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A byte count, and so many bytes of values.
    Values(usize),
    /// So many bytes, which stand in the request in the same place.
    Echo(usize),
}

impl Shape {
    /// Bytes behind the function code.
    pub fn bytes(self) -> usize {
        match self {
            Shape::Values(bytes) => 1 + bytes,
            Shape::Echo(bytes) => bytes,
        }
    }
}

/// Puts a frame into `out`; the transaction id (bytes 0 and 1) is filled in when it is sent. Returns its bytes; 0: there
/// is no room.
pub fn request(unit: u8, pdu: &[u8], out: &mut [u8]) -> usize {
    let bytes = MBAP_BYTES + pdu.len();
    let Some(out) = out.get_mut(..bytes) else { return 0 };
    let [high, low] = (pdu.len() as u16 + 1).to_be_bytes();
    let (header, rest) = out.split_at_mut(MBAP_BYTES);
    header.copy_from_slice(&[0, 0, 0, 0, high, low, unit]);
    rest.copy_from_slice(pdu);
    bytes
}

/// What stands at the start of a receive buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Not a whole frame yet.
    Incomplete,
    /// These bytes are no Modbus TCP; where the next frame starts can't be known.
    Garbage,
    /// A whole frame of `bytes` bytes.
    Frame { frame: Frame<'a>, bytes: usize },
}

/// A reply's envelope. `pdu` starts with the function code and has at least one byte.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub transaction: u16,
    pub unit: u8,
    pub pdu: &'a [u8],
}

/// Cuts the first frame out of a stream.
#[inline]
pub fn parse(stream: &[u8]) -> Parsed<'_> {
    if stream.len() >= 4 && (stream[2] != 0 || stream[3] != 0) {
        return Parsed::Garbage;
    }
    if stream.len() < 6 {
        return Parsed::Incomplete;
    }
    // The length counts the unit id and the PDU.
    let length = usize::from(u16::from_be_bytes([stream[4], stream[5]]));
    if length < 2 || 6 + length > MODBUS_ADU_BYTES_MAX {
        return Parsed::Garbage;
    }
    let bytes = 6 + length;
    if stream.len() < bytes {
        return Parsed::Incomplete;
    }
    let frame = Frame {
        transaction: u16::from_be_bytes([stream[0], stream[1]]),
        unit: stream[6],
        pdu: &stream[MBAP_BYTES..bytes],
    };
    Parsed::Frame { frame, bytes }
}

/// What a reply to a read says.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The value bytes, exactly as many as asked for.
    Values(&'a [u8]),
    Exception(u8),
    /// Not an answer to this request: another function, or a byte count that does not fit.
    Mismatch,
}

/// Reads a PDU as the reply to a read of `value_bytes` bytes by `function`.
#[inline]
pub fn reply(pdu: &[u8], function: u8, value_bytes: usize) -> Reply<'_> {
    match pdu {
        [code, exception] if *code == function | 0x80 => Reply::Exception(*exception),
        [code, count, values @ ..]
            if *code == function && usize::from(*count) == values.len() && values.len() == value_bytes =>
        {
            Reply::Values(values)
        }
        _ => Reply::Mismatch,
    }
}

/// The exception codes of section 7, for people.
pub fn exception_name(code: u8) -> &'static str {
    match code {
        0x01 => "illegal function",
        0x02 => "illegal data address",
        0x03 => "illegal data value",
        0x04 => "server device failure",
        0x05 => "acknowledge",
        0x06 => "server device busy",
        0x08 => "memory parity error",
        0x0A => "gateway path unavailable",
        0x0B => "gateway target device failed to respond",
        _ => "unknown exception",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rmodbus::client::ModbusRequest;

    #[test]
    fn a_frame_in_pieces_is_incomplete_until_its_last_byte() {
        let whole = [0, 7, 0, 0, 0, 5, 1, 3, 2, 0xAB, 0xCD];
        for n in 0..whole.len() {
            assert_eq!(parse(&whole[..n]), Parsed::Incomplete, "{n} bytes");
        }
        let frame = Frame { transaction: 7, unit: 1, pdu: &whole[7..] };
        assert_eq!(parse(&whole), Parsed::Frame { frame, bytes: 11 });
    }

    #[test]
    fn another_protocol_or_an_impossible_length_is_garbage() {
        assert_eq!(parse(b"HTTP/1.1"), Parsed::Garbage);
        assert_eq!(parse(&[0, 1, 0, 0, 0, 1, 1]), Parsed::Garbage);
        assert_eq!(parse(&[0, 1, 0, 0, 0xFF, 0xFF, 1]), Parsed::Garbage);
    }

    #[test]
    fn a_reply_of_the_wrong_size_or_function_is_no_answer() {
        assert_eq!(reply(&[3, 2, 1, 2], 3, 2), Reply::Values(&[1, 2]));
        assert_eq!(reply(&[3, 2, 1, 2], 3, 4), Reply::Mismatch);
        assert_eq!(reply(&[3, 4, 1, 2], 3, 4), Reply::Mismatch);
        assert_eq!(reply(&[4, 2, 1, 2], 3, 2), Reply::Mismatch);
        assert_eq!(reply(&[0x83, 2], 3, 2), Reply::Exception(2));
        assert_eq!(reply(&[0x84, 2], 3, 2), Reply::Mismatch);
    }

    proptest! {
        #[test]
        fn requests_are_those_of_rmodbus(unit: u8, function in 1u8..=4, first: u16, count in 1u16..=125, transaction: u16) {
            let mut oracle = ModbusRequest::new_tcp_udp(unit, transaction);
            let mut expected = Vec::new();
            match function {
                1 => oracle.generate_get_coils(first, count, &mut expected),
                2 => oracle.generate_get_discretes(first, count, &mut expected),
                3 => oracle.generate_get_holdings(first, count, &mut expected),
                _ => oracle.generate_get_inputs(first, count, &mut expected),
            }.unwrap();
            let ([a, b], [c, d]) = (first.to_be_bytes(), count.to_be_bytes());
            let mut ours = [0; 20];
            let bytes = request(unit, &[function, a, b, c, d], &mut ours);
            ours[..2].copy_from_slice(&transaction.to_be_bytes());
            prop_assert_eq!(&ours[..bytes], &expected[..]);
        }

        #[test]
        fn replies_read_like_rmodbus_reads_them(registers in prop::collection::vec(any::<u16>(), 1..=125)) {
            let mut oracle = ModbusRequest::new_tcp_udp(1, 9);
            let mut request = Vec::new();
            oracle.generate_get_holdings(0, registers.len() as u16, &mut request).unwrap();
            let mut bytes = vec![0, 9, 0, 0, 0, (3 + registers.len() * 2) as u8, 1, 3, (registers.len() * 2) as u8];
            bytes.extend(registers.iter().flat_map(|r| r.to_be_bytes()));
            let mut expected = Vec::new();
            oracle.parse_u16(&bytes, &mut expected).unwrap();
            let Parsed::Frame { frame, bytes: consumed } = parse(&bytes) else { panic!("no frame") };
            prop_assert_eq!(consumed, bytes.len());
            let Reply::Values(values) = reply(frame.pdu, 3, registers.len() * 2) else { panic!("no values") };
            let ours: Vec<u16> = values.chunks(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect();
            prop_assert_eq!(ours, expected);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), function: u8, n in 0usize..300) {
            if let Parsed::Frame { frame, bytes: consumed } = parse(&bytes) {
                prop_assert!(consumed <= bytes.len() && consumed >= 8);
                let _ = reply(frame.pdu, function, n);
            }
        }
    }
}
