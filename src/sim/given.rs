//! What devices gave that send whole datagrams: each value with its place and the time that it must carry. Nothing here
//! shares code with the gateway's decoders.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::memory::{Expected, decimal, mix};
use crate::config::TagConfig;
use crate::protocol::can::model::{CanAddress, CanBits, CanBitsKind, CanFrames, CanId};
use crate::protocol::canopen::model::{CanOpenAddress, CanOpenSource};
use crate::protocol::local_io::model::{LocalIoAddress, LocalIoPoint};
use crate::rt::{Io, Stamped};
use crate::tag::{LinkId, ScalarType, Status, ValueType};

/// Bad statuses that a device itself may cause.
pub const CAUSED: [Status; 5] = [
    Status::BAD_DEVICE_FAILURE,
    Status::BAD_SENSOR_FAILURE,
    Status::BAD_DECODING_ERROR,
    Status::BAD_CONFIGURATION_ERROR,
    Status::BAD_DATA_UNAVAILABLE,
];

/// One value, or why there is none.
#[derive(Debug, Clone)]
pub struct Given {
    /// Of whom, and which place of it; see [`key_of`].
    pub link: LinkId,
    pub host: u32,
    pub key: u64,
    /// A sample of it has a time from here to there.
    pub from: u64,
    pub to: u64,
    /// When the link took it, and the first of what it is made of.
    pub received: u64,
    pub began: u64,
    pub what: What,
    /// The link must have shown it by then; else it may have passed it over, because it came too late.
    pub required: bool,
}

/// See [`Given`].
#[derive(Debug, Clone)]
pub enum What {
    /// A value as it is, and how good it is.
    Value { bits: u64, status: Status },
    /// A value that was written before.
    Held { bits: u64 },
    /// A CAN frame, or what came in several.
    Frame { data: [u8; DATA_MAX], len: u8 },
}

/// Bytes of what comes in several frames, at most.
pub const DATA_MAX: usize = 32;

/// What a peer does at the other end of a connection that carries datagrams.
pub trait Peer {
    /// When something can be read next; `u64::MAX`: nothing is under way.
    fn readable_at(&self) -> u64;

    /// A datagram of the executor's.
    fn send(&mut self, now: u64, bytes: &[u8], told: &mut PeerTold) -> Io;

    /// The next datagram for the executor, if there is one by now.
    fn receive(&mut self, now: u64, buffer: &mut [u8], told: &mut PeerTold) -> Option<Stamped>;

    /// Nothing comes of what is under way.
    fn clear(&mut self);
}

/// What came of a call to a peer.
#[derive(Default)]
pub struct PeerTold {
    /// Link and host are not known to it.
    pub given: Vec<Given>,
    pub written: Vec<super::writes::Seen>,
    pub faults: Vec<String>,
    /// The connection ends then.
    pub closes_at: Option<u64>,
    pub requests: u64,
    /// Frames that the kernel dropped, as far as it has said so.
    pub dropped: u64,
}

fn hashed(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// A place of a local device: what leads to it, and what is made of it there.
pub fn local_key(place: &str, making: &str) -> u64 {
    hashed(&(place, making))
}

/// CAN frames with an identifier, as linux/can.h has it.
pub fn frame_key(can_id: u32) -> u64 {
    u64::from(can_id) | 1 << 40
}

/// Those of them in which a switch has one of these values.
pub fn branch_key(can_id: u32, first: u64, last: u64) -> u64 {
    hashed(&(can_id, first, last)) | 1 << 43
}

/// Frames of a parameter group of J1939, from one source address or any.
pub fn group_key(pgn: u32, source: Option<u8>) -> u64 {
    u64::from(pgn) << 12 | source.map_or(0x100, u64::from) | 1 << 42
}

/// An entry of a CANopen node's object dictionary.
pub fn object_key(node: u8, index: u16, sub: u8) -> u64 {
    u64::from(node) << 24 | u64::from(index) << 8 | u64::from(sub) | 1 << 41
}

/// An identifier as linux/can.h has it.
pub fn can_id(id: CanId) -> u32 {
    id.id | if id.extended { 1 << 31 } else { 0 }
}

/// Where a tag lies at its link, as a number; 0: it is asked for by area.
pub fn key_of(tag: &TagConfig) -> u64 {
    if let Some(address) = tag.address.get::<CanOpenAddress>() {
        // A link's nodes are numbered from 1 on.
        match address.source {
            CanOpenSource::Object(object) => object_key(address.node as u8 + 1, object.index, object.sub),
            _ => 0,
        }
    } else if let Some(address) = tag.address.get::<CanAddress>() {
        match (address.frames, address.conditions.as_slice()) {
            (CanFrames::Id(id), []) => frame_key(can_id(id)),
            (CanFrames::Id(id), [condition, ..]) => {
                let (first, last) = condition.values.first().copied().unwrap_or_default();
                branch_key(can_id(id), first, last)
            }
            (CanFrames::Group { pgn, source }, _) => group_key(pgn, source),
        }
    } else if let Some(address) = tag.address.get::<LocalIoAddress>() {
        match &address.point {
            LocalIoPoint::Gpio(point) => {
                local_key(&format!("{:?}", point.line), if point.counts { "count" } else { "level" })
            }
            LocalIoPoint::Register { program, formula, .. } => {
                local_key(&format!("{program:?}"), &format!("{formula:?}"))
            }
            LocalIoPoint::Iio { channel } => local_key(channel, "channel"),
        }
    } else {
        0
    }
}

/// A value of that type, by what is drawn for it.
pub fn value_of(ty: ScalarType, drawn: u64) -> u64 {
    match ty {
        ScalarType::Bool => drawn & 1,
        ScalarType::Int16 | ScalarType::Int32 | ScalarType::Int64 => drawn as i16 as i64 as u64,
        ScalarType::Uint16 | ScalarType::Uint32 | ScalarType::Uint64 => drawn & 0xFFFF,
        ScalarType::Float32 => u64::from(f32::from(drawn as i16).to_bits()),
        ScalarType::Float64 => f64::from(drawn as i32).to_bits(),
    }
}

/// What is drawn for a place at a time.
pub fn drawn(seed: u64, key: u64, at: u64) -> u64 {
    mix(seed ^ mix(key) ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A field's bits, one by one as DBC files count them; `None`: the frame ends before. Of at most 32 bits.
pub fn bits_of(place: &CanBits, data: &[u8]) -> Option<u64> {
    let (mut at, mut raw) = (usize::from(place.start), 0);
    for n in 0..place.len {
        let bit = u64::from(data.get(at / 8)? >> (at % 8) & 1);
        if place.big_endian {
            raw = raw << 1 | bit;
            at = if at.is_multiple_of(8) { at + 15 } else { at - 1 };
        } else {
            raw |= bit << n;
            at += 1;
        }
    }
    Some(raw)
}

impl Given {
    /// What a tag there must read, and its status; `None`: there is no value.
    pub fn reads(&self, seed: u64, tag: &TagConfig) -> Option<(Expected, Status)> {
        match &self.what {
            What::Value { status, .. } if status.is_bad() => None,
            What::Value { bits, status } => {
                // Drawn again, for the tag that it is: a value under another tag's place shows.
                let ValueType::Scalar(ty) = tag.value_type() else { return None };
                let own = value_of(ty, drawn(seed, key_of(tag), self.from));
                (own == *bits).then_some((Expected::Scalar(own), *status))
            }
            What::Held { bits } => Some((Expected::Scalar(*bits), Status::GOOD)),
            What::Frame { data, len } => {
                let address = tag.address.get::<CanAddress>()?;
                let bits = bits_of(&address.bits, &data[..usize::from(*len)])?;
                if address.special && says_of_itself(bits, address.bits.len).is_some() {
                    return None;
                }
                let raw = match address.bits.kind {
                    CanBitsKind::Signed if bits >> (address.bits.len - 1) & 1 == 1 => {
                        bits as i64 - (1i64 << address.bits.len)
                    }
                    _ => bits as i64,
                };
                let is_plain = (tag.scale, tag.offset, address.scale, address.offset) == (1.0, 0.0, 1.0, 0.0);
                let (scale, offset) = (address.scale * tag.scale, address.offset * tag.scale + tag.offset);
                let number = decimal(raw.into(), scale, offset);
                let value = if is_plain { raw as u64 } else { number.to_bits() };
                Some((Expected::Scalar(value), Status::GOOD))
            }
        }
    }

    /// The bad status that it brings to a tag there.
    pub fn trouble(&self, tag: &TagConfig) -> Option<Status> {
        match (&self.what, tag.address.get::<CanAddress>()) {
            (What::Value { status, .. }, _) => Some(*status).filter(|status| status.is_bad()),
            (What::Frame { data, len }, Some(address)) if address.special => {
                says_of_itself(bits_of(&address.bits, &data[..usize::from(*len)])?, address.bits.len)
            }
            (What::Frame { .. } | What::Held { .. }, _) => None,
        }
    }

    /// Whether it may bring one at all.
    pub fn may_be_trouble(&self) -> bool {
        match self.what {
            What::Value { status, .. } => status.is_bad(),
            What::Frame { .. } => self.key & 1 << 42 != 0,
            What::Held { .. } => false,
        }
    }
}

/// SAE J1939-71, section 5.1.4: what a parameter says of itself by its highest values, in place of a value.
fn says_of_itself(bits: u64, len: u8) -> Option<Status> {
    let (highest, shift) = match len {
        0 | 1 => return None,
        2..=7 => ((1 << len) - 1, 0),
        _ => (0xFF, len - 8),
    };
    match (highest - (bits >> shift), len) {
        (0, _) => Some(Status::BAD_DATA_UNAVAILABLE),
        (1, _) => Some(Status::BAD_SENSOR_FAILURE),
        (2..=4, 8..) => Some(Status::BAD_DECODING_ERROR),
        _ => None,
    }
}
