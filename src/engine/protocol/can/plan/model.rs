//! What a CAN link walks: which frames it expects, and what is cut out of each.

use std::ops::Range;
use std::sync::Arc;

use super::bits::BitPlace;
use crate::plan::{CanFilter, Checks, ScanId};
use crate::protocol::can::model::{CanBits, CanConfig, CanFrames, CanId};
use crate::tag::{GroupId, Nanos, Scaling, TagId, ValueType};

/// The work of one CAN interface.
#[derive(Debug, Clone, PartialEq)]
pub struct CanPlan {
    pub config: CanConfig,
    pub lookup: Lookup,
    pub messages: Vec<CanMessage>,
    pub cases: Vec<CanCase>,
    pub conditions: Vec<Condition>,
    /// Raw values of switches, both ends included.
    pub ranges: Vec<(u64, u64)>,
    /// Those of a case side by side.
    pub decodes: Vec<CanDecode>,
    /// Those of a value table side by side, ascending by their raw values.
    pub texts: Vec<CanText>,
    /// Raw values that a value table names, where the highest ones are special; those of a decode side by side, ascending.
    pub named: Vec<u64>,
    /// What values of some tags have to pass.
    pub checks: Checks,
    /// The bytes of all texts.
    pub text_bytes: Vec<u8>,
    /// The scans of its groups, ascending by their ids.
    pub scans: Vec<CanScan>,
    /// Indices into `decodes`, those of a scan side by side.
    pub beats: Vec<u32>,
    /// Rooms for messages of several packets.
    pub transports: Vec<TransportSlot>,
    /// What the kernel lets through.
    pub filters: Vec<CanFilter>,
    pub transmits: Vec<CanTransmitPlan>,
    /// Those of a message side by side.
    pub frames: Vec<CanFramePlan>,
    /// By the slot of a write order.
    pub writes: Vec<CanWrite>,
}

/// A group's tags on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanScan {
    pub id: ScanId,
    pub group: GroupId,
    /// Into [`CanPlan::beats`].
    pub beats: Range<u32>,
}

/// From identifiers to messages: one look for 11 bits, a search among those in use for 29.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lookup {
    /// By identifier: the message and one more, zero for none. Empty when no such frame is expected.
    pub standard: Vec<u16>,
    /// Ascending, and the message of each.
    pub extended: Vec<(u32, u16)>,
    /// Parameter groups of J1939, ascending, those from any source address behind those from one.
    pub groups: Vec<(GroupKey, u16)>,
}

/// A parameter group and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    pub pgn: u32,
    /// [`GroupKey::ANY_SOURCE`], or an address.
    pub source: u16,
}

impl GroupKey {
    pub const ANY_SOURCE: u16 = 0x100;
}

/// A parameter group's number: 18 bits of the identifier, without the destination where it has one (J1939-21, 5.2).
#[inline]
pub fn pgn_of(id: u32) -> u32 {
    let whole = id >> 8 & 0x3_FFFF;
    // PDU1: what follows the format is a destination.
    if whole >> 8 & 0xFF < 0xF0 { whole & 0x3_FF00 } else { whole }
}

impl Lookup {
    /// The message with this very identifier.
    #[inline]
    pub fn message(&self, id: u32, extended: bool) -> Option<u16> {
        if !extended {
            return self.standard.get(id as usize)?.checked_sub(1);
        }
        let at = self.extended.binary_search_by_key(&id, |(known, _)| *known).ok()?;
        self.extended.get(at).map(|(_, message)| *message)
    }

    /// Messages of the frame's parameter group: from its source address, and from any.
    #[inline]
    pub fn of_group(&self, id: u32) -> [Option<u16>; 2] {
        let pgn = pgn_of(id);
        [(id & 0xFF) as u16, GroupKey::ANY_SOURCE].map(|source| {
            let at = self.groups.binary_search_by_key(&GroupKey { pgn, source }, |(key, _)| *key).ok()?;
            self.groups.get(at).map(|(_, message)| *message)
        })
    }
}

/// A kind of frame that is expected.
#[derive(Debug, Clone, PartialEq)]
pub struct CanMessage {
    pub frames: CanFrames,
    /// Into [`CanPlan::cases`].
    pub cases: Range<u32>,
    /// How often it comes, where that is known.
    pub cycle: Option<Nanos>,
    /// Data bytes, as far as they are known.
    pub bytes: u16,
    pub extended: bool,
    /// It is one that the link sends itself.
    pub is_sent: bool,
}

/// Fields that are in a frame together.
#[derive(Debug, Clone, PartialEq)]
pub struct CanCase {
    /// Into [`CanPlan::conditions`]; all must hold.
    pub conditions: Range<u32>,
    /// Into [`CanPlan::decodes`].
    pub decodes: Range<u32>,
    /// How long it may not come before its values count as old; [`Nanos::NEVER`] where nothing is known.
    pub silent_after: Nanos,
}

/// A switch has one of these values.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub place: BitPlace,
    /// Into [`CanPlan::ranges`].
    pub ranges: Range<u32>,
}

/// Room for one message of several packets (SAE J1939-21, section 5.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportSlot {
    pub key: GroupKey,
    /// Up to the last that a field lies in.
    pub bytes: u16,
}

/// How one tag is cut out of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct CanDecode {
    pub tag: TagId,
    pub group: GroupId,
    /// Behind `base` bytes of the message; those are none in all that fits a frame.
    pub place: BitPlace,
    pub base: u16,
    /// Data bytes that a message must have.
    pub bytes_needed: u16,
    pub ty: ValueType,
    /// [`ValueType::code`] of the type.
    pub code: u8,
    /// The sample is the scaled raw value.
    pub scaled: bool,
    pub scaling: Scaling,
    /// The tag is one of [`CanPlan::checks`].
    pub is_checked: bool,
    /// A float that is not a number, or infinite, is a value.
    pub allow_nan: bool,
    /// J1939-71: the highest values say "error" and "not available", unless they are among `named`.
    pub special: bool,
    /// Into [`CanPlan::named`].
    pub named: Range<u32>,
    /// Into [`CanPlan::texts`]; of texts only.
    pub texts: Range<u32>,
    /// Into [`CanPlan::scans`].
    pub scan_at: u16,
}

/// A raw value's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanText {
    pub raw: u64,
    /// Into [`CanPlan::text_bytes`].
    pub start: u32,
    pub len: u32,
}

/// A message that is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct CanTransmitPlan {
    pub id: CanId,
    pub bytes: u8,
    pub fd: bool,
    /// Into [`CanPlan::frames`]: one, or those of its branches.
    pub frames: Range<u32>,
    pub period: Option<Nanos>,
    pub on_change: Option<Nanos>,
}

/// A frame of a message that is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct CanFramePlan {
    pub initial: Vec<u8>,
    /// Fields that have no value before they are written: bits of [`CanWrite::unset`].
    pub unset: u64,
}

/// Where a written value goes.
#[derive(Debug, Clone, PartialEq)]
pub struct CanWrite {
    pub tag: TagId,
    /// Into [`CanPlan::transmits`].
    pub transmit: u16,
    /// Into [`CanPlan::frames`]; `None`: all of the message's.
    pub frame: Option<u32>,
    pub place: BitPlace,
    /// Of the fields that had no value, this one has one then.
    pub unset: u64,
    pub bits: CanBits,
    /// Of the raw value.
    pub scaling: Scaling,
    /// Of the tag's value.
    pub ty: ValueType,
    /// Raw values and their texts.
    pub texts: Arc<[(u64, Arc<str>)]>,
}
