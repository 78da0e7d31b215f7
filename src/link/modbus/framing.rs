//! How a request is put into bytes, and how its reply is found among what comes back, where frames carry no
//! transaction id: the reply is known by unit, function and length.

use super::frame::Shape;
use super::{ascii, rtu};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Rtu,
    Ascii,
}

/// What a reply must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub unit: u8,
    pub function: u8,
    pub shape: Shape,
}

impl Expected {
    /// Whether the byte behind the function code may be this one.
    pub fn allows_count(&self, byte: u8) -> bool {
        !matches!(self.shape, Shape::Values(bytes) if usize::from(byte) != bytes)
    }

    /// Bytes behind the function code, by that code: with the exception bit, or without.
    pub fn reply_bytes(&self, function: u8) -> usize {
        if function & 0x80 != 0 { 1 } else { self.shape.bytes() }
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
    /// Puts a frame into `out`. Returns its bytes; 0: there is no room.
    pub fn request(self, unit: u8, pdu: &[u8], out: &mut [u8]) -> usize {
        match self {
            Framing::Rtu => rtu::request(unit, pdu, out),
            Framing::Ascii => ascii::request(unit, pdu, out),
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
