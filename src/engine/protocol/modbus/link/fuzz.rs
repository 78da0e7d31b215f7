//! Any bytes as replies.

use super::expected::{Expected, Found};
use super::frame::{self, Known, Parsed, Shape};
use super::pdu::{self, Pdu};
use crate::limits::ASCII_FRAME_BYTES_MAX;
use crate::protocol::modbus::model::{Table, Tolerance};

const LENIENT: Tolerance =
    Tolerance { any_unit: true, any_transaction: true, any_function: true, longer_replies: true };

/// The first bytes choose what was asked; the rest is what came.
fn asked(bytes: &[u8]) -> Option<(Expected, &[u8])> {
    let (&[how, unit, function, len], came) = bytes.split_first_chunk()?;
    let shape = if how & 1 == 0 { Shape::Values(len.into()) } else { Shape::Echo(4) };
    let tolerance = if how & 2 == 0 { Tolerance::STRICT } else { LENIENT };
    Some((Expected { unit, function: function & 0x7f, shape, tolerance }, came))
}

pub fn tcp(bytes: &[u8]) {
    let Some((expected, mut rest)) = asked(bytes) else { return };
    let read = Pdu::read(Table::HoldingRegisters, 0, 10);
    loop {
        let _ = frame::may_begin(rest);
        match frame::parse(rest) {
            Parsed::Frame { frame, bytes } => {
                assert!(bytes > 0 && bytes <= rest.len() && !frame.pdu.is_empty());
                let _ = frame::reply(frame.pdu, expected.function, expected.shape.bytes(), expected.tolerance);
                let _ = pdu::reply(frame.pdu, &read, expected.tolerance);
                rest = &rest[bytes..];
                let known = |transaction: u16| match transaction % 3 {
                    0 => Known::No,
                    1 => Known::Before,
                    _ => Known::Outstanding,
                };
                let _ = frame::resume(rest, frame.excess, known);
            }
            Parsed::Incomplete | Parsed::Garbage => return,
        }
    }
}

pub fn rtu(bytes: &[u8]) {
    let Some((expected, came)) = asked(bytes) else { return };
    let _ = super::rtu::is_padding(came);
    match super::rtu::find(came, &expected) {
        Found::Begun { at } => assert!(at < came.len()),
        Found::Reply(pdu) => assert!(!pdu.is_empty() && expected.allows_function(pdu[0] & 0x7f)),
        _ => {}
    }
}

pub fn ascii(bytes: &[u8]) {
    let Some((expected, came)) = asked(bytes) else { return };
    let mut room = [0; super::ascii::BINARY_BYTES_MAX];
    match super::ascii::find(came, &expected, &mut room) {
        Found::Begun { at } => assert!(came.len() - at <= ASCII_FRAME_BYTES_MAX),
        Found::Reply(pdu) => assert!(!pdu.is_empty() && expected.allows_function(pdu[0] & 0x7f)),
        _ => {}
    }
}
