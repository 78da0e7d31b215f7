//! Modbus connections, and where tags lie in Modbus devices.

use crate::config::WordOrder;
use crate::config::model::{FieldType, SerialConfig};
use crate::tag::{Nanos, UnitId, ValueType};

/// A connection over which Modbus is spoken.
#[derive(Debug, Clone, PartialEq)]
pub struct ModbusConfig {
    pub transport: ModbusTransport,
    /// How long the device may take; on a serial line, the time on the wire comes on top.
    pub timeout: Nanos,
    pub connect_timeout: Nanos,
    /// Outstanding requests on the connection; 1 where frames carry no transaction id.
    pub pipeline: u8,
    /// What one reply is expected to take (on a serial line: what the device takes to begin it); admission reckons
    /// with it.
    pub reply_expected: Nanos,
    /// Between a reply and the next request at least, whatever the framing asks for.
    pub turnaround: Nanos,
    /// Between a reply of a unit and the next request to it at least.
    pub unit_pause: Nanos,
    /// Between a reply of a unit and the next request to another at least.
    pub unit_change_pause: Nanos,
    /// From the connection, or from the opening of the port, to the first request at least.
    pub connect_delay: Nanos,
    /// What replies may be that are not quite as the specification has them.
    pub tolerance: Tolerance,
    /// Registers and bits of one request at most.
    pub registers_max: u16,
    pub bits_max: u16,
    /// Never part of a request.
    pub unreadable: Vec<UnreadableRange>,
}

/// Replies that are taken though they are not quite what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tolerance {
    /// Of any unit id.
    pub any_unit: bool,
    /// With any transaction id; there is one request outstanding then.
    pub any_transaction: bool,
    /// To a read by the other function that reads registers, or bits.
    pub any_function: bool,
    /// Of more registers or bits than were asked for: the first are taken.
    pub longer_replies: bool,
}

impl Tolerance {
    pub const STRICT: Tolerance =
        Tolerance { any_unit: false, any_transaction: false, any_function: false, longer_replies: false };
}

impl ModbusConfig {
    /// What the device needs between a reply and the next request of whichever unit, at worst.
    pub fn pause(&self, units: usize) -> Nanos {
        if units > 1 { self.turnaround.max(self.unit_change_pause) } else { self.turnaround }
    }
}

/// What carries the requests, and how they are framed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModbusTransport {
    /// Modbus TCP: frames with an MBAP header.
    Tcp(HostPort),
    /// RTU frames through a serial server.
    RtuOverTcp(HostPort),
    Serial(SerialConfig),
}

impl ModbusTransport {
    /// Of a device that is reached over TCP.
    pub fn host(&self) -> Option<&HostPort> {
        match self {
            ModbusTransport::Tcp(host) | ModbusTransport::RtuOverTcp(host) => Some(host),
            ModbusTransport::Serial(_) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

/// Addresses (offsets, both included) that the device refuses to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadableRange {
    /// `None`: every unit of the link.
    pub unit: Option<UnitId>,
    pub table: Table,
    pub first: u16,
    pub last: u16,
}

/// The four tables of Modbus (Application Protocol Specification V1.1b3, section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    Coils,
    DiscreteInputs,
    HoldingRegisters,
    InputRegisters,
}

impl Table {
    /// The function code that reads it.
    pub fn read_function(self) -> u8 {
        match self {
            Table::Coils => 1,
            Table::DiscreteInputs => 2,
            Table::HoldingRegisters => 3,
            Table::InputRegisters => 4,
        }
    }

    pub fn from_read_function(function: u8) -> Option<Table> {
        match function {
            1 => Some(Table::Coils),
            2 => Some(Table::DiscreteInputs),
            3 => Some(Table::HoldingRegisters),
            4 => Some(Table::InputRegisters),
            _ => None,
        }
    }

    /// Bits (coils, discrete inputs) or registers.
    pub fn is_bits(self) -> bool {
        matches!(self, Table::Coils | Table::DiscreteInputs)
    }
}

/// Where a tag lies in a Modbus device.
#[derive(Debug, Clone, PartialEq)]
pub struct ModbusAddress {
    pub unit: UnitId,
    pub table: Table,
    /// Offset from 0, as on the wire.
    pub first: u16,
    /// Registers (or bits), of the whole array if it is one; `first + count <= 65536`.
    pub count: u16,
    pub field: FieldType,
    /// Elements; `None` for a scalar.
    pub array: Option<u16>,
    pub order: WordOrder,
    /// The number as it was written, where it is a reference that counts from 1 and could be an offset as well: what is
    /// read if the device's manual counts from 0.
    pub reference: Option<u16>,
}

impl ModbusAddress {
    /// The type of what lies there, before it is scaled.
    pub fn value_type(&self) -> ValueType {
        self.field.text(self.count).unwrap_or(match self.array {
            Some(len) => ValueType::Array { of: self.field.scalar(), len },
            None => ValueType::Scalar(self.field.scalar()),
        })
    }
}
