//! CANopen networks, and where tags lie in their nodes' object dictionaries (CiA 301).

use std::sync::Arc;

use super::eds::Eds;
use super::eds::types::DataType;
use crate::tag::{Nanos, Object, ScalarType, ValueType};

/// A CAN interface on which CANopen is spoken, with this gateway as its master.
#[derive(Debug, Clone, PartialEq)]
pub struct CanOpenConfig {
    /// As the system names it, such as `can0`.
    pub interface: Arc<str>,
    pub connect_timeout: Nanos,
    /// Bits a second; admission reckons with it.
    pub bit_rate: u32,
    /// Between two SYNCs; `None`: none are sent.
    pub sync: Option<Nanos>,
    /// The heartbeat of the master itself.
    pub heartbeat: Option<MasterHeartbeat>,
    /// What a node may take for one SDO answer.
    pub timeout: Nanos,
    /// What it is expected to take; admission reckons with it.
    pub reply_expected: Nanos,
    /// By their numbers, ascending.
    pub nodes: Vec<CanOpenNode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MasterHeartbeat {
    pub id: u8,
    pub period: Nanos,
}

/// One node of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct CanOpenNode {
    /// 1 to 127.
    pub id: u8,
    pub eds: Option<Arc<Eds>>,
    pub watching: NodeWatching,
    /// It is started (NMT operational) once it is set up.
    pub start: bool,
    /// Its communication is reset when the link comes up.
    pub reset: bool,
    /// What it says of its identity and its PDOs is checked against its data sheet.
    pub verify: bool,
    pub pdos: PdoSource,
    /// Written at each start, before it is started.
    pub boot: Vec<(Object, Vec<u8>)>,
    /// Long values are read in blocks, where the node can.
    pub block: bool,
}

/// How it is noticed that a node is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeWatching {
    Nothing,
    /// Its heartbeat, which is set to this period (object 0x1017).
    Heartbeat(Nanos),
    /// It is asked each `period`, and lost after `life` of them without an answer.
    Guarding {
        period: Nanos,
        life: u8,
    },
}

/// Where it is known from which objects a node's PDOs carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PdoSource {
    /// None are read.
    None,
    /// The data sheet, or the values of a DCF.
    Eds,
    /// The node itself, asked at each start for its first TPDOs; for its first RPDOs, where a tag is written by PDO.
    Node { tpdos: u8, rpdos: u8 },
}

/// What a tag of a CANopen link is.
#[derive(Debug, Clone, PartialEq)]
pub struct CanOpenAddress {
    /// Index into [`CanOpenConfig::nodes`].
    pub node: usize,
    pub source: CanOpenSource,
    pub field: CanOpenField,
    /// Elements; `None` for a scalar.
    pub array: Option<u16>,
    pub access: CanOpenAccess,
    /// Of the value before the tag's own scale and offset.
    pub ty: ValueType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CanOpenSource {
    Object(Object),
    /// Of the node's last emergency: code, register; how many came.
    EmergencyCode,
    EmergencyRegister,
    EmergencyCount,
    /// Its NMT state as it says it: 4 stopped, 5 operational, 127 pre-operational.
    State,
}

/// By which service an object is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CanOpenAccess {
    /// By PDO where it is mapped, else by SDO.
    Any,
    Pdo,
    Sdo,
}

/// What an object holds; numbers are little endian, sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CanOpenField {
    Bool,
    Signed(u8),
    Unsigned(u8),
    Real32,
    Real64,
    /// UTF-8, ends at the first NUL.
    Text(u16),
    /// One bit of a number, 0 the least significant.
    Bit(u8),
}

impl CanOpenField {
    /// What the type of a data sheet is read as; `None`: its type has to be given.
    pub fn of(data_type: DataType, text_bytes: u16) -> Option<CanOpenField> {
        Some(match data_type {
            DataType::Boolean => CanOpenField::Bool,
            DataType::Integer(bits) => CanOpenField::Signed(bits / 8),
            DataType::Unsigned(bits) => CanOpenField::Unsigned(bits / 8),
            DataType::Real32 => CanOpenField::Real32,
            DataType::Real64 => CanOpenField::Real64,
            DataType::VisibleString => CanOpenField::Text(text_bytes),
            DataType::OctetString | DataType::UnicodeString | DataType::Domain | DataType::Other(_) => return None,
        })
    }

    /// Bytes of one element on the wire; 0: any number up to 8, as for a bit of a number.
    pub fn bytes(self) -> u16 {
        match self {
            CanOpenField::Bool => 1,
            CanOpenField::Signed(bytes) | CanOpenField::Unsigned(bytes) => u16::from(bytes),
            CanOpenField::Real32 => 4,
            CanOpenField::Real64 => 8,
            CanOpenField::Text(bytes) => bytes,
            CanOpenField::Bit(_) => 0,
        }
    }

    /// The type of a sample of one element; text has none.
    pub fn scalar(self) -> ScalarType {
        match self {
            CanOpenField::Bool | CanOpenField::Bit(_) => ScalarType::Bool,
            CanOpenField::Signed(0..=2) => ScalarType::Int16,
            CanOpenField::Signed(3..=4) => ScalarType::Int32,
            CanOpenField::Signed(_) => ScalarType::Int64,
            CanOpenField::Unsigned(0..=2) => ScalarType::Uint16,
            CanOpenField::Unsigned(3..=4) => ScalarType::Uint32,
            CanOpenField::Unsigned(_) | CanOpenField::Text(_) => ScalarType::Uint64,
            CanOpenField::Real32 => ScalarType::Float32,
            CanOpenField::Real64 => ScalarType::Float64,
        }
    }

    pub fn value_type(self, array: Option<u16>) -> ValueType {
        match (self, array) {
            (CanOpenField::Text(bytes_max), _) => ValueType::Text { bytes_max },
            (field, Some(len)) => ValueType::Array { of: field.scalar(), len },
            (field, None) => ValueType::Scalar(field.scalar()),
        }
    }
}
