//! Modbus TCP frames (Messaging on TCP/IP Implementation Guide V1.0b, section 3.1; Application Protocol
//! Specification V1.1b3, sections 6.1 to 6.4 and 7). No allocation, no panic on any bytes.

use crate::limits::{MODBUS_ADU_BYTES_MAX, MODBUS_EXCESS_BYTES_MAX};
use crate::protocol::modbus::model::Tolerance;
pub use crate::tag::exception_name;

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
    /// So many bytes more are told by the header than the PDU has: they follow, or the header is wrong and they do not.
    /// See [`resume`].
    pub excess: usize,
}

/// Cuts the first frame out of a stream, by what its PDU says of its own length: that of the header is wrong in some
/// devices, most of all in exceptions.
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
    if !LENGTHS.contains(&length) {
        return Parsed::Garbage;
    }
    let told = length - 1;
    let pdu = match stream.get(MBAP_BYTES..) {
        Some([function, ..]) if function & 0x80 != 0 => 2,
        // A PDU that is longer than told is not believed: what follows may be another frame.
        Some([1..=4 | 23, count, ..]) if 2 + usize::from(*count) <= told => 2 + usize::from(*count),
        Some([1..=4 | 23]) => return Parsed::Incomplete,
        Some([5 | 6 | 15 | 16, ..]) if told > 5 => 5,
        Some([22, ..]) if told > 7 => 7,
        Some([_, ..]) => told,
        _ => return Parsed::Incomplete,
    };
    let bytes = MBAP_BYTES + pdu;
    if bytes > MODBUS_ADU_BYTES_MAX {
        return Parsed::Garbage;
    }
    let Some(frame) = stream.get(..bytes) else { return Parsed::Incomplete };
    let frame = Frame {
        transaction: u16::from_be_bytes([frame[0], frame[1]]),
        unit: frame[6],
        pdu: &frame[MBAP_BYTES..],
        excess: told.saturating_sub(pdu),
    };
    Parsed::Frame { frame, bytes }
}

/// Where the next frame begins behind one whose header told of bytes that its PDU has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// Too little is there to tell.
    Incomplete,
    At(usize),
    /// Nowhere that can be told.
    Lost,
}

/// How much a header's transaction says for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    No,
    /// Of a request that is not waited for any more.
    Before,
    /// Of one that is.
    Outstanding,
}

/// Whether a frame may begin here, as far as there is something to see. One of another function is a frame, too.
pub fn may_begin(stream: &[u8]) -> bool {
    let word = |at: usize| Some(usize::from(u16::from_be_bytes([*stream.get(at)?, *stream.get(at + 1)?])));
    word(2).is_none_or(|protocol| protocol == 0)
        && word(4).is_none_or(|length| LENGTHS.contains(&length))
        && stream.get(7).is_none_or(|function| *function != 0)
}

/// Finds the next frame behind bytes that belong to none: `excess` of them were told by the last frame's header, and may
/// be there or not; or a device adds some that nobody has counted, such as a NUL behind each reply.
///
/// So the next frame begins within a few bytes, and must show it by a whole header: the protocol's two zeroes, a possible
/// length, a function that there is, and the transaction of a request that is waited for. That this is safe, shown for
/// stray bytes before a header `T t 0 0 0 L U F` (`L` is below 256): read one or two bytes early, the length is two of the
/// header's zeroes; read three to five early, the function is one of them. Up to five stray bytes are so never taken for a
/// frame, whatever they are. More would have to hold a whole header with a transaction that is under way. And what is
/// taken is a frame like any other, whose transaction, unit, function and count are judged before a value is. A late
/// frame, which nobody waits for, is known only where it may be by the count.
pub fn resume(stream: &[u8], excess: usize, known: impl Fn(u16) -> Known) -> Resumed {
    let at = |place: usize| stream.get(place..)?.first_chunk::<8>().map(|header| standing(header, &known));
    match (at(0), at(excess)) {
        (None, _) => return Resumed::Incomplete,
        (Some(Known::Before), second) if second != Some(Known::Outstanding) => return Resumed::At(0),
        _ => {}
    }
    for place in 0..=excess.max(MODBUS_EXCESS_BYTES_MAX) {
        match at(place) {
            None => return Resumed::Incomplete,
            Some(Known::Outstanding) => return Resumed::At(place),
            Some(Known::Before) if place == excess => return Resumed::At(place),
            Some(_) => {}
        }
    }
    Resumed::Lost
}

/// What a header may count.
const LENGTHS: std::ops::RangeInclusive<usize> = 2..=MODBUS_ADU_BYTES_MAX - 6 + MODBUS_EXCESS_BYTES_MAX;

fn is_known(function: u8) -> bool {
    matches!(function & 0x7F, 1..=6 | 15 | 16 | 22 | 23)
}

fn standing(header: &[u8; 8], known: impl Fn(u16) -> Known) -> Known {
    let [transaction, protocol, length] =
        [0, 2, 4].map(|at| usize::from(u16::from_be_bytes([header[at], header[at + 1]])));
    if protocol == 0 && LENGTHS.contains(&length) && is_known(header[7]) {
        return known(transaction as u16);
    }
    Known::No
}

/// In what a reply is not the one that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    Unit,
    Transaction,
    Function,
    /// Its byte count, or what there is of it.
    Length,
}

/// What a reply to a read says.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The value bytes, exactly as many as asked for.
    Values(&'a [u8]),
    Exception(u8),
    /// Not an answer to this request: another function, or a byte count that does not fit.
    Mismatch(Mismatch),
}

/// Whether a reply by `function` may be to a request by `asked`.
pub fn is_function(function: u8, asked: u8, tolerance: Tolerance) -> bool {
    // Of the same kind: bits are not registers, and a write is confirmed by its own function.
    function == asked || tolerance.any_function && matches!((function, asked), (1 | 2, 1 | 2) | (3 | 4, 3 | 4))
}

/// Reads a PDU as the reply to a read of `value_bytes` bytes by `function`.
#[inline]
pub fn reply(pdu: &[u8], function: u8, value_bytes: usize, tolerance: Tolerance) -> Reply<'_> {
    match pdu {
        [code, exception] if code & 0x80 != 0 && is_function(code & 0x7F, function, tolerance) => {
            Reply::Exception(*exception)
        }
        [code, ..] if !is_function(*code, function, tolerance) => Reply::Mismatch(Mismatch::Function),
        [_, count, values @ ..] if usize::from(*count) == values.len() => match values.get(..value_bytes) {
            Some(asked) if values.len() == value_bytes || tolerance.longer_replies => Reply::Values(asked),
            _ => Reply::Mismatch(Mismatch::Length),
        },
        _ => Reply::Mismatch(Mismatch::Length),
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
        let frame = Frame { transaction: 7, unit: 1, pdu: &whole[7..], excess: 0 };
        assert_eq!(parse(&whole), Parsed::Frame { frame, bytes: 11 });
    }

    #[test]
    fn another_protocol_or_an_impossible_length_is_garbage() {
        assert_eq!(parse(b"HTTP/1.1"), Parsed::Garbage);
        assert_eq!(parse(&[0, 1, 0, 0, 0, 1, 1]), Parsed::Garbage);
        assert_eq!(parse(&[0, 1, 0, 0, 0xFF, 0xFF, 1]), Parsed::Garbage);
    }

    const STRICT: Tolerance = Tolerance::STRICT;

    #[test]
    fn a_reply_of_the_wrong_size_or_function_is_no_answer() {
        let (function, length) = (Reply::Mismatch(Mismatch::Function), Reply::Mismatch(Mismatch::Length));
        assert_eq!(reply(&[3, 2, 1, 2], 3, 2, STRICT), Reply::Values(&[1, 2]));
        assert_eq!(reply(&[3, 2, 1, 2], 3, 4, STRICT), length);
        assert_eq!(reply(&[3, 4, 1, 2], 3, 4, STRICT), length);
        assert_eq!(reply(&[3, 4, 1, 2, 3, 4], 3, 2, STRICT), length);
        assert_eq!(reply(&[4, 2, 1, 2], 3, 2, STRICT), function);
        assert_eq!(reply(&[0x83, 2], 3, 2, STRICT), Reply::Exception(2));
        assert_eq!(reply(&[0x84, 2], 3, 2, STRICT), function);
    }

    #[test]
    fn what_is_tolerated_is_taken_and_nothing_else() {
        let longer = Tolerance { longer_replies: true, ..STRICT };
        assert_eq!(reply(&[3, 4, 1, 2, 3, 4], 3, 2, longer), Reply::Values(&[1, 2]));
        assert_eq!(reply(&[3, 2, 1, 2], 3, 4, longer), Reply::Mismatch(Mismatch::Length));
        let any = Tolerance { any_function: true, ..STRICT };
        assert_eq!(reply(&[4, 2, 1, 2], 3, 2, any), Reply::Values(&[1, 2]));
        assert_eq!(reply(&[0x84, 2], 3, 2, any), Reply::Exception(2));
        assert_eq!(reply(&[1, 2, 1, 2], 3, 2, any), Reply::Mismatch(Mismatch::Function));
        assert_eq!(reply(&[6, 2, 1, 2], 3, 2, any), Reply::Mismatch(Mismatch::Function));
    }

    #[test]
    fn a_frame_ends_where_its_pdu_does_whatever_its_header_tells() {
        let exception = [0, 7, 0, 0, 0, 4, 1, 0x83, 2];
        let pdu = &exception[7..];
        assert_eq!(
            parse(&exception),
            Parsed::Frame { frame: Frame { transaction: 7, unit: 1, pdu, excess: 1 }, bytes: 9 }
        );
        let long = [0, 7, 0, 0, 0, 9, 1, 3, 2, 0xAB, 0xCD];
        let pdu = &long[7..];
        assert_eq!(parse(&long), Parsed::Frame { frame: Frame { transaction: 7, unit: 1, pdu, excess: 4 }, bytes: 11 });
        // What is shorter than its own count is not filled up with what follows.
        let short = [0, 7, 0, 0, 0, 5, 1, 3, 4, 0xAB, 0xCD, 9, 9];
        let pdu = &short[7..11];
        assert_eq!(
            parse(&short),
            Parsed::Frame { frame: Frame { transaction: 7, unit: 1, pdu, excess: 0 }, bytes: 11 }
        );
    }

    fn ours(transaction: u16) -> Known {
        match transaction {
            0x0107 | 0 | 7 => Known::Outstanding,
            0x0106 | 6 => Known::Before,
            _ => Known::No,
        }
    }

    #[test]
    fn behind_a_wrong_length_the_next_frame_is_found_with_the_bytes_that_were_told_and_without() {
        for transaction in [0x0107u16, 0x0106, 7, 6] {
            let [high, low] = transaction.to_be_bytes();
            let next = [high, low, 0, 0, 0, 5, 1, 3, 2, 0xAB, 0xCD];
            for excess in 1..=5usize {
                assert_eq!(resume(&next, excess, ours), Resumed::At(0));
                for fill in [0u8, 1, 3, 7, 0x83, 0xFF] {
                    let mut bytes = vec![fill; excess];
                    bytes.extend(next);
                    assert_eq!(resume(&bytes, excess, ours), Resumed::At(excess), "{excess} of {fill}");
                    // In pieces it is not guessed.
                    for n in 0..excess + 8 {
                        let cut = resume(&bytes[..n], excess, ours);
                        assert_eq!(cut, Resumed::Incomplete, "{n} of {excess} of {fill}");
                    }
                }
            }
        }
        assert_eq!(resume(&[9; 40], 3, ours), Resumed::Lost);
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
            let Reply::Values(values) = reply(frame.pdu, 3, registers.len() * 2, STRICT) else { panic!("no values") };
            let ours: Vec<u16> = values.chunks(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect();
            prop_assert_eq!(ours, expected);
        }

        #[test]
        fn up_to_five_stray_bytes_are_never_taken_for_a_header(stray in prop::collection::vec(any::<u8>(), 1..=5), transaction: u16, length in 3u8..=254, unit: u8, function in 1u8..=4) {
            let [high, low] = transaction.to_be_bytes();
            let mut bytes = stray.clone();
            bytes.extend([high, low, 0, 0, 0, length, unit, function]);
            prop_assert!(!may_begin(&bytes));
            for excess in [0, stray.len(), 9] {
                prop_assert_eq!(resume(&bytes, excess, |_| Known::Outstanding), Resumed::At(stray.len()));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), function: u8, n in 0usize..300) {
            if let Parsed::Frame { frame, bytes: consumed } = parse(&bytes) {
                prop_assert!(consumed <= bytes.len() && consumed >= 8);
                let _ = reply(frame.pdu, function, n, STRICT);
            }
            if let Resumed::At(at) = resume(&bytes, n, |transaction| if transaction % 3 == 0 { Known::Before } else { Known::No }) {
                prop_assert!(at + 8 <= bytes.len() && at <= n.max(MODBUS_EXCESS_BYTES_MAX));
            }
        }
    }
}
