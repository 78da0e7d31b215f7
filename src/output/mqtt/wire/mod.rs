//! MQTT 3.1.1 and 5 on the wire, as far as a client needs it that takes requests and answers them.
//!
//! The output publishes through a library; commands do not. What strangers publish must never cost the connection that
//! everybody's commands come over: a packet that is too large is read past in bounded memory, one that is malformed is
//! acknowledged and counted, and how much is read is decided here.

mod frames;
mod read;
mod write;

pub(super) use frames::{Frame, Frames};
pub(super) use read::{ConnAck, Packet, Publish, Unreadable, decode, reason_name};
pub(super) use write::{Connect, connect, disconnect, ping, puback, publish, subscribe};

/// A broker that breaks the protocol: nothing that comes after it can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Violation(pub(super) String);

/// The first four bits of a packet (MQTT 5, section 2.1.2).
pub(super) mod kind {
    pub(in crate::mqtt) const CONNACK: u8 = 2;
    pub(in crate::mqtt) const PUBLISH: u8 = 3;
    pub(in crate::mqtt) const PUBACK: u8 = 4;
    pub(in crate::mqtt) const SUBACK: u8 = 9;
    pub(in crate::mqtt) const PINGRESP: u8 = 13;
    pub(in crate::mqtt) const DISCONNECT: u8 = 14;
}
