//! How a request is put into bytes, and how its reply is found among what comes back, where frames carry no
//! transaction id: the reply is known by unit, function and length.

use super::{ascii, rtu};
use crate::protocol::modbus::link::expected::{Expected, Found};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Rtu,
    Ascii,
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

    /// Unit, function and the byte that follows, of a whole frame that was found in these bytes, or read into this room.
    pub fn header(self, bytes: &[u8], room: &[u8; ascii::BINARY_BYTES_MAX]) -> [u8; 3] {
        let frame = match self {
            Framing::Rtu => bytes,
            Framing::Ascii => room,
        };
        frame.first_chunk().copied().unwrap_or_default()
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
