//! CAN links and what their addresses say, after validation.

use std::sync::Arc;

use crate::config::Sampling;
use crate::tag::{Nanos, Scaling, ValueType};

/// A CAN interface of the kernel (SocketCAN), and what goes over it.
#[derive(Debug, Clone, PartialEq)]
pub struct CanConfig {
    /// As the system names it, such as `can0`.
    pub interface: Arc<str>,
    /// Between attempts to open it a failed attempt has this long.
    pub connect_timeout: Nanos,
    /// Frames of CAN FD are received, and may be sent.
    pub fd: bool,
    /// Bits a second: arbitration, and the data of FD frames with bit rate switch. Admission reckons with them; the
    /// interface itself is set up by the system.
    pub bitrate: u32,
    pub data_bitrate: u32,
    pub timestamps: CanTimestamps,
    pub sampling: Sampling,
    /// J1939-71: the highest raw values of a parameter group's fields are no values, unless a tag says otherwise.
    pub j1939_special_values: bool,
    /// How long nothing may come before a value counts as old; `None`: three times the message's cycle time.
    pub silent_after: Option<Nanos>,
    pub transmit: Vec<CanTransmit>,
}

/// Whose clock says when a frame came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanTimestamps {
    /// The kernel's, when its driver hands the frame over.
    Software,
    /// The controller's, where it has one; else the kernel's.
    Hardware,
}

/// An identifier of 11 or 29 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CanId {
    pub extended: bool,
    pub id: u32,
}

/// Which frames a tag is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CanFrames {
    Id(CanId),
    /// A parameter group of J1939, whatever its priority, from one source address or any.
    Group {
        pgn: u32,
        source: Option<u8>,
    },
}

/// A stretch of bits in a frame's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CanBits {
    /// Byte × 8 + bit (0 the least significant of a byte) of the field's least significant bit when it is little
    /// endian (Intel), of its most significant bit when it is big endian (Motorola): as DBC files count.
    pub start: u16,
    /// 1 to 64.
    pub len: u8,
    pub big_endian: bool,
    pub kind: CanBitsKind,
}

/// What the bits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CanBitsKind {
    Unsigned,
    /// Two's complement.
    Signed,
    /// IEEE 754, of 32 or 64 bits.
    Float,
}

/// Values of another field for which a field is in the frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanCondition {
    pub switch: CanSwitch,
    /// Raw values, both ends included.
    pub values: Vec<(u64, u64)>,
}

/// The place of a multiplexor: [`CanBits`] of unsigned kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanSwitch {
    pub start: u16,
    pub len: u8,
    pub big_endian: bool,
}

/// Where a tag lies on a CAN bus.
#[derive(Debug, Clone, PartialEq)]
pub struct CanAddress {
    pub frames: CanFrames,
    pub bits: CanBits,
    /// All must hold, the outermost first.
    pub conditions: Vec<CanCondition>,
    /// raw × scale + offset; the tag's own scale and offset come on top.
    pub scale: f64,
    pub offset: f64,
    /// Of the value before the tag's own scale and offset.
    pub ty: ValueType,
    /// The value table: raw values, extended by their sign, and their texts, ascending.
    pub texts: Arc<[(u64, Arc<str>)]>,
    /// J1939-71: the highest raw values are no values, but say "error" and "not available", unless the value table names
    /// them.
    pub special: bool,
    /// How often the frame comes, where that is known.
    pub cycle: Option<Nanos>,
    /// Data bytes of the frame as it was declared; those that the fields need where it was not.
    pub frame_bytes: u16,
    /// Engineering unit of a tag that has none of its own; may be empty.
    pub unit: Arc<str>,
}

impl CanBits {
    /// Data bytes that a frame must have.
    pub fn bytes_needed(&self) -> usize {
        self.last_bit() / 8 + 1
    }

    /// In the order in which bits go over the wire within the field's byte order.
    fn last_bit(&self) -> usize {
        let start = usize::from(self.start);
        let first = if self.big_endian { start / 8 * 8 + (7 - start % 8) } else { start };
        first + usize::from(self.len.max(1)) - 1
    }
}

/// Why a value cannot be put into bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CanRawFault {
    NotFinite,
    /// The least and the greatest value, scaled.
    Range(f64, f64),
}

impl CanBits {
    /// The raw bits of a value, rounded to the nearest.
    ///
    /// # Errors
    /// When it is no number or does not fit.
    pub fn raw_of(&self, value: f64, scaling: &Scaling) -> Result<u64, CanRawFault> {
        let exact = scaling.undo(value);
        if !exact.is_finite() {
            return Err(CanRawFault::NotFinite);
        }
        let len = u32::from(self.len);
        let scaled = |raw: f64| scaling.apply(raw);
        let (min, max) = match self.kind {
            CanBitsKind::Float if len == 32 => (f64::from(f32::MIN), f64::from(f32::MAX)),
            CanBitsKind::Float => (f64::MIN, f64::MAX),
            CanBitsKind::Unsigned => (0.0, (u64::MAX >> (64 - len)) as f64),
            CanBitsKind::Signed => (-((1u64 << (len - 1)) as f64), ((1u64 << (len - 1)) - 1) as f64),
        };
        let rounded = if self.kind == CanBitsKind::Float { exact } else { exact.round() };
        if !(min..=max).contains(&rounded) {
            return Err(CanRawFault::Range(scaled(min).min(scaled(max)), scaled(min).max(scaled(max))));
        }
        Ok(match self.kind {
            CanBitsKind::Float if len == 32 => u64::from((rounded as f32).to_bits()),
            CanBitsKind::Float => rounded.to_bits(),
            // Saturating: the greatest of 64 bits is no float64, and the next one is beyond it.
            CanBitsKind::Unsigned => rounded as u64,
            CanBitsKind::Signed => rounded as i64 as u64 & (u64::MAX >> (64 - len)),
        })
    }

    /// Puts raw bits into a frame's data, as far as that reaches.
    pub fn put(&self, data: &mut [u8], raw: u64) {
        let mut at = usize::from(self.start);
        for i in 0..u32::from(self.len) {
            // From the least significant bit up when that is where it starts, else from the most significant down.
            let bit = if self.big_endian { raw >> (u32::from(self.len) - 1 - i) & 1 } else { raw >> i & 1 };
            if let Some(byte) = data.get_mut(at / 8) {
                *byte = *byte & !(1 << (at % 8)) | (bit as u8) << (at % 8);
            }
            at = match (self.big_endian, at % 8) {
                (false, _) => at + 1,
                (true, 0) => at + 15,
                (true, _) => at - 1,
            };
        }
    }
}

/// One of the frames of a multiplexed message, beside what all of them carry.
#[derive(Debug, Clone, PartialEq)]
pub struct CanBranch {
    pub switch: CanSwitch,
    /// Of the switch.
    pub value: u64,
    /// Its own fields that have a value at first, and those that have none.
    pub initial: Vec<(CanBits, u64)>,
    pub unset: Vec<CanBits>,
}

/// A message that is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct CanTransmit {
    pub id: CanId,
    /// Data bytes.
    pub bytes: u8,
    /// As a frame of CAN FD, with bit rate switch.
    pub fd: bool,
    /// As it is known so far; bits that belong to no field stay as they are.
    pub initial: Vec<u8>,
    /// Fields without an initial value: nothing is sent before each was written.
    pub unset: Vec<CanBits>,
    /// Of a multiplexed message: which of its fields are in the frame. Empty: all are in each.
    pub branches: Vec<CanBranch>,
    pub period: Option<Nanos>,
    /// A write sends at once, though not sooner than this after the last.
    pub on_change: Option<Nanos>,
    /// The fields are those of a DBC file, or all bytes have a value: no tag adds one without.
    pub fields_known: bool,
}

impl CanTransmit {
    /// The branch that an address is in; `Some(None)`: all frames have it. `None`: no frame that is sent.
    pub fn branch_of(&self, conditions: &[CanCondition]) -> Option<Option<usize>> {
        match conditions {
            [] => Some(None),
            [CanCondition { switch, values }] => match values[..] {
                [(value, last)] if value == last => {
                    let is_it = |branch: &CanBranch| branch.switch == *switch && branch.value == value;
                    self.branches.iter().position(is_it).map(Some)
                }
                _ => None,
            },
            _ => None,
        }
    }
}
