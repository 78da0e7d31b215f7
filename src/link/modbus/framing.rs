//! How a request is put into bytes, and how its reply is found among what comes back, where frames carry no
//! transaction id: the reply is known by unit, function and length.

use super::frame::Request;
use super::{ascii, rtu};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Rtu,
    Ascii,
}

/// What the reply to a read must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub unit: u8,
    pub function: u8,
    pub value_bytes: usize,
}

impl Expected {
    /// Bytes of the reply's PDU less one, by its function: with the exception bit, or without.
    pub fn reply_bytes(&self, function: u8) -> usize {
        if function & 0x80 != 0 { 1 } else { 1 + self.value_bytes }
    }
}

/// What is among the bytes that came since a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nothing that could become the reply.
    Nothing,
    /// What may become the reply begins at `at`.
    Begun { at: usize },
    /// A whole frame that is not the reply.
    Foreign,
    /// What could have been the reply fails its check.
    Broken,
    /// The reply's PDU.
    Reply(&'a [u8]),
}

/// More than this for one request is noise, whatever stands in it: two of the longest frames.
pub const LINE_BYTES_MAX: usize = 2 * crate::limits::ASCII_FRAME_BYTES_MAX;

impl Framing {
    pub fn read_request(self, unit: u8, function: u8, first: u16, count: u16) -> Request {
        let ([a, b], [c, d]) = (first.to_be_bytes(), count.to_be_bytes());
        let pdu = [function, a, b, c, d];
        match self {
            Framing::Rtu => Request::of(&rtu::read_request(unit, pdu)),
            Framing::Ascii => Request::of(&ascii::read_request(unit, pdu)),
        }
    }

    /// `room` is for frames that are not binary on the wire.
    pub fn find<'a>(
        self,
        bytes: &'a [u8],
        expected: &Expected,
        room: &'a mut [u8; ascii::BINARY_BYTES_MAX],
    ) -> Found<'a> {
        if bytes.len() > LINE_BYTES_MAX {
            return Found::Nothing;
        }
        match self {
            Framing::Rtu => rtu::find(bytes, expected),
            Framing::Ascii => ascii::find(bytes, expected, room),
        }
    }
}
