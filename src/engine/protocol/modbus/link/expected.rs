//! What a reply must look like where frames carry no transaction id, and what is found of it among the bytes that came.

use super::frame::{self, Mismatch, Shape};
use crate::protocol::modbus::Tolerance;

/// What a reply must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub unit: u8,
    pub function: u8,
    pub shape: Shape,
    pub tolerance: Tolerance,
}

impl Expected {
    pub fn allows_unit(&self, unit: u8) -> bool {
        unit == self.unit || self.tolerance.any_unit
    }

    /// With the exception bit or without.
    pub fn allows_function(&self, code: u8) -> bool {
        frame::is_function(code & 0x7F, self.function, self.tolerance)
    }

    /// Whether the byte behind the function code may be this one.
    pub fn allows_count(&self, byte: u8) -> bool {
        match self.shape {
            Shape::Values(bytes) if self.tolerance.longer_replies => usize::from(byte) >= bytes,
            Shape::Values(bytes) => usize::from(byte) == bytes,
            Shape::Echo(_) => true,
        }
    }

    /// Bytes behind the function code, by that code, with the exception bit or without, and by the byte that follows.
    pub fn reply_bytes(&self, code: u8, count: u8) -> usize {
        match self.shape {
            _ if code & 0x80 != 0 => 1,
            Shape::Values(_) => 1 + usize::from(count),
            Shape::Echo(bytes) => bytes,
        }
    }

    /// Whether a whole frame is the reply, as far as its form says.
    pub fn is_met(&self, unit: u8, pdu: &[u8]) -> bool {
        let (code, count) = (*pdu.first().unwrap_or(&0), *pdu.get(1).unwrap_or(&0));
        let is_refusal = code & 0x80 != 0;
        self.allows_unit(unit)
            && self.allows_function(code)
            && pdu.len() == 1 + self.reply_bytes(code, count)
            && (is_refusal || self.allows_count(count))
    }

    /// In what a whole frame that is not the reply differs from it.
    pub fn mismatch(&self, unit: u8, code: u8) -> Mismatch {
        match () {
            () if !self.allows_unit(unit) => Mismatch::Unit,
            () if !self.allows_function(code) => Mismatch::Function,
            () => Mismatch::Length,
        }
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
    Foreign(Mismatch),
    /// What could have been the reply fails its check.
    Broken,
    /// The reply's PDU.
    Reply(&'a [u8]),
}
