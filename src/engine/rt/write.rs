//! Writes on their way to an executor, and their answers.
//!
//! Each order gets exactly one answer, at its deadline plus one bounded step at the latest; what was not sent by then is
//! never sent.

use crate::limits::WRITE_BYTES_MAX;
use crate::tag::{LinkId, Nanos};

/// What is to be written: everything is decided and encoded off the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOrder {
    /// Unique for as long as the gateway runs.
    pub id: u64,
    pub link: LinkId,
    /// Into the table of writes of the link's plan.
    pub slot: u32,
    /// How many plans its executor had adopted when the order was made; another by now: refused.
    pub generation: u32,
    /// CLOCK_MONOTONIC: answered by then.
    pub deadline: Nanos,
    /// Confirmed by reading what was written.
    pub read_back: bool,
    pub payload: WritePayload,
}

/// A value as it goes over the wire, by the kind of link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WritePayload {
    len: u16,
    bytes: [u8; WRITE_BYTES_MAX],
}

impl Default for WritePayload {
    fn default() -> WritePayload {
        WritePayload { len: 0, bytes: [0; WRITE_BYTES_MAX] }
    }
}

impl WritePayload {
    /// `None`: longer than [`WRITE_BYTES_MAX`].
    pub fn new(of: &[u8]) -> Option<WritePayload> {
        let mut bytes = [0; WRITE_BYTES_MAX];
        bytes.get_mut(..of.len())?.copy_from_slice(of);
        Some(WritePayload { len: of.len() as u16, bytes })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(WRITE_BYTES_MAX)]
    }
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteAnswer {
    pub id: u64,
    pub outcome: WriteOutcome,
    /// CLOCK_MONOTONIC.
    pub at: Nanos,
    /// What was read back, where that was asked for and came.
    pub back: WritePayload,
}

/// The end of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The device confirmed it; with read-back, it holds the value.
    Done,
    /// The device confirmed it and holds another value.
    ReadBackDiffers,
    /// The device confirmed it, but gave no answer to the read-back.
    NotReadBack,
    /// The device refused: a Modbus exception code, an SDO abort code, an error number of the system.
    Refused(u32),
    /// Its answer does not fit the request.
    WrongReply,
    /// Sent by a service that confirms nothing: to all devices of a line, or in a PDO.
    Unconfirmed,
    /// Sent, and not answered: the device may or may not have taken it.
    NoReply,
    /// The connection was lost after it was sent: likewise.
    Lost,
    /// Not sent: the link has no connection.
    NoConnection,
    /// Not sent: the device is not in the state in which it takes it.
    NotOperational,
    /// Not sent: its turn did not come before its deadline.
    NotSent,
    /// Not sent: the link has as many writes waiting as it can hold.
    Busy,
    /// Not sent: the plan has changed meanwhile.
    PlanChanged,
    /// Not sent: the link cannot write what the order names.
    NotWritable,
}

impl WriteOutcome {
    /// Whether the device, as far as it tells, did what it was told to.
    pub fn is_done(self) -> bool {
        matches!(self, WriteOutcome::Done | WriteOutcome::Unconfirmed)
    }

    /// Whether a request for it went over the wire.
    pub fn was_sent(self) -> bool {
        match self {
            WriteOutcome::Done
            | WriteOutcome::ReadBackDiffers
            | WriteOutcome::NotReadBack
            | WriteOutcome::Refused(_)
            | WriteOutcome::WrongReply
            | WriteOutcome::Unconfirmed
            | WriteOutcome::NoReply
            | WriteOutcome::Lost => true,
            WriteOutcome::NoConnection
            | WriteOutcome::NotOperational
            | WriteOutcome::NotSent
            | WriteOutcome::Busy
            | WriteOutcome::PlanChanged
            | WriteOutcome::NotWritable => false,
        }
    }

    /// Whether the device may have taken the value though it is not known that it did.
    pub fn is_unknown(self) -> bool {
        matches!(
            self,
            WriteOutcome::WrongReply | WriteOutcome::Unconfirmed | WriteOutcome::NoReply | WriteOutcome::Lost
        )
    }
}
