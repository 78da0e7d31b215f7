//! A cause as a sentence: where, what, and what to do about it; and the key that tolerates it.

use std::fmt;

use super::{Block, CanFault, Cause, CauseKind, DeviceFault, Fault, NodeFault, ObjectAt, ValueFault};

/// The exception codes of the Modbus Application Protocol Specification V1.1b3, section 7.
pub fn exception_name(code: u8) -> &'static str {
    match code {
        0x01 => "illegal function",
        0x02 => "illegal data address",
        0x03 => "illegal data value",
        0x04 => "server device failure",
        0x05 => "acknowledge",
        0x06 => "server device busy",
        0x08 => "memory parity error",
        0x0A => "gateway path unavailable",
        0x0B => "gateway target device failed to respond",
        _ => "unknown exception",
    }
}

impl CauseKind {
    /// For labels.
    pub fn name(self) -> &'static str {
        match self {
            CauseKind::NotConnected => "not_connected",
            CauseKind::NoReply => "no_reply",
            CauseKind::Mute => "mute",
            CauseKind::Late => "late",
            CauseKind::Exception => "exception",
            CauseKind::OtherUnit => "other_unit",
            CauseKind::OtherTransaction => "other_transaction",
            CauseKind::OtherFunction => "other_function",
            CauseKind::OtherLength => "other_length",
            CauseKind::HeaderLength => "header_length",
            CauseKind::Broken => "broken",
            CauseKind::Short => "short",
            CauseKind::Noise => "noise",
            CauseKind::Closed => "closed",
            CauseKind::NotDecoded => "not_decoded",
            CauseKind::Sensor => "sensor",
            CauseKind::NoValue => "no_value",
            CauseKind::CanSilent => "can_silent",
            CauseKind::CanNever => "can_never",
            CauseKind::CanShort => "can_short",
            CauseKind::BusOff => "bus_off",
            CauseKind::NodeSilent => "node_silent",
            CauseKind::NodeLate => "node_late",
            CauseKind::NodeRefused => "node_refused",
            CauseKind::NodeOtherDevice => "node_other_device",
            CauseKind::NodeAborted => "sdo_abort",
            CauseKind::NodeNoReply => "sdo_no_reply",
            CauseKind::NodeBroken => "sdo_broken",
            CauseKind::NodeNotMapped => "pdo_not_mapped",
            CauseKind::NodePdoSilent => "pdo_silent",
            CauseKind::NodePdoShort => "pdo_short",
            CauseKind::DeviceSilent => "device_silent",
            CauseKind::DeviceFailed => "device_failed",
            CauseKind::DeviceOtherChip => "device_other_chip",
            CauseKind::DeviceOverdue => "device_overdue",
        }
    }
}

fn table_name(function: u8) -> &'static str {
    match function {
        1 => "coils",
        2 => "discrete inputs",
        3 => "holding registers",
        _ => "input registers",
    }
}

/// Bytes of values that a reply to a read of the block has.
fn bytes_of(block: Block) -> u16 {
    if block.function <= 2 { block.count.div_ceil(8) } else { block.count.saturating_mul(2) }
}

/// A function that reads the same kind of things: bits, or registers.
fn is_alike(function: u8, asked: u8) -> bool {
    matches!((function, asked), (1 | 2, 1 | 2) | (3 | 4, 3 | 4))
}

/// Half as long again, in whole tens (hundreds from a second on): what a person would write.
fn timeout_for(ms: u32) -> u64 {
    let wanted = u64::from(ms) * 3 / 2;
    let step = if wanted >= 1_000 { 100 } else { 10 };
    (wanted.div_ceil(step) * step).max(step)
}

impl Cause {
    /// The key of the link that tolerates it.
    pub fn tolerated_by(self) -> Option<&'static str> {
        let Cause::Read { block, fault } = self else { return None };
        match fault {
            Fault::OtherUnit(_) => Some("any_unit_id"),
            Fault::OtherTransaction(_) => Some("any_transaction_id"),
            Fault::OtherFunction(function) if is_alike(function, block.function) => Some("any_read_function"),
            Fault::OtherLength(bytes) if u16::from(bytes) > bytes_of(block) => Some("longer_replies"),
            Fault::Late(_) => Some("timeout_ms"),
            _ => None,
        }
    }

    /// Which part of the link it is about, such as `unit 1, function 3 (holding registers)`; may be empty.
    pub fn scope(self) -> String {
        match self {
            Cause::Read { block: Block { unit, function, .. }, .. } => {
                format!("unit {unit}, function {function} ({})", table_name(function))
            }
            Cause::Node { node, .. } => format!("node {node}"),
            _ => String::new(),
        }
    }

    /// Where in its scope, such as `address 499, count 2`; may be empty.
    pub fn place(self) -> String {
        match self {
            Cause::Read { block: Block { first, count, .. }, .. } if count > 0 => {
                format!("address {first}, count {count}")
            }
            Cause::Node { object: ObjectAt { index, sub }, .. } if index > 0 => {
                format!("object 0x{index:04X}:{sub:02X}")
            }
            _ => String::new(),
        }
    }

    /// What happened, without the place.
    pub fn fault(self) -> String {
        match self {
            Cause::NotConnected => "the link is not connected".to_owned(),
            Cause::Read { block, fault } => read_fault(block, fault),
            Cause::Value(ValueFault::NotDecoded) => "the data read is not a valid value of this data type".to_owned(),
            Cause::Value(ValueFault::Sensor) => "the sensor reports a failure, or its wire is broken".to_owned(),
            Cause::Value(ValueFault::NoValue) => "the device reports that it has no value".to_owned(),
            Cause::Can(CanFault::Silent) => "no message with this signal was received for too long".to_owned(),
            Cause::Can(CanFault::Never) => "no message with this signal was received yet".to_owned(),
            Cause::Can(CanFault::Short) => "the message is too short to contain the signal".to_owned(),
            Cause::Can(CanFault::BusOff) => "the controller has left the bus (bus-off)".to_owned(),
            Cause::Node { fault, .. } => node_fault(fault),
            Cause::Device(DeviceFault::Silent) => "the device's driver does not answer in time".to_owned(),
            Cause::Device(DeviceFault::Failed(0)) => "the device failed, or does not acknowledge".to_owned(),
            Cause::Device(DeviceFault::Failed(error)) => {
                format!("the device failed: {}", std::io::Error::from_raw_os_error(error.into()))
            }
            Cause::Device(DeviceFault::OtherChip) => "the chip that answers is not the configured one".to_owned(),
            Cause::Device(DeviceFault::Overdue) => "the device has sent no data for too long".to_owned(),
        }
    }

    /// What to do about it; may be empty.
    pub fn advice(self) -> String {
        if let Some(key) = self.tolerated_by() {
            return match self {
                Cause::Read { fault: Fault::Late(0), .. } => format!("set a larger \"{key}\" on the link"),
                Cause::Read { fault: Fault::Late(ms), .. } => {
                    format!("set \"{key}\": {} or more on the link", timeout_for(ms))
                }
                _ => format!("if the device is meant to answer like this, set \"{key}\": true on the link"),
            };
        }
        let text = match self {
            Cause::Read { fault, block } => return read_advice(block, fault).to_owned(),
            Cause::Value(ValueFault::NotDecoded) => "check the data type and the byte order",
            Cause::Can(CanFault::Silent | CanFault::Never) => "check the sender, the bitrate and the message's id",
            Cause::Can(CanFault::Short) => "check the DBC file against the device",
            Cause::Can(CanFault::BusOff) => "check bitrate, wiring and termination",
            Cause::Node { fault: NodeFault::Silent | NodeFault::NoReply, .. } => {
                "check the node's power, its node id and the bitrate"
            }
            Cause::Node { fault: NodeFault::Aborted(code), .. } if code.is_missing() => {
                "check index and sub-index against the node's EDS file"
            }
            Cause::Node { fault: NodeFault::OtherDevice, .. } => "check the node id and its EDS file",
            Cause::Node { fault: NodeFault::NotMapped, .. } => "map it in the node, or read it by SDO",
            Cause::Device(DeviceFault::Failed(_)) => "check address, wiring and power of the device",
            Cause::Device(DeviceFault::OtherChip) => "check the chip's name and its address",
            _ => "",
        };
        text.to_owned()
    }
}

fn read_fault(block: Block, fault: Fault) -> String {
    match fault {
        Fault::NoReply => "no reply within timeout_ms".to_owned(),
        Fault::Mute => "no reply, while the unit answers other requests".to_owned(),
        Fault::Late(0) => "the reply comes later than timeout_ms".to_owned(),
        Fault::Late(ms) => format!("the reply comes after {ms} ms, later than timeout_ms"),
        Fault::Exception(code) => format!("exception {code:02X} {}", exception_name(code)),
        Fault::OtherUnit(unit) => format!("answered with unit id {unit} instead of {}", block.unit),
        Fault::OtherTransaction(id) => format!("answered with transaction id {id}, which is not that of the request"),
        Fault::OtherFunction(function) => {
            format!("answered with function {function} instead of {}", block.function)
        }
        Fault::OtherLength(bytes) if block.count > 0 => {
            format!("answered with {bytes} bytes of values instead of {}", bytes_of(block))
        }
        Fault::OtherLength(_) => "answered with a wrong number of bytes".to_owned(),
        Fault::HeaderLength(bytes) => {
            format!("the length in the header of the reply is {bytes} bytes too large; the reply is accepted anyway")
        }
        Fault::Broken => "the reply's checksum (CRC or LRC) is wrong".to_owned(),
        Fault::Short => "only a part of the reply arrived within timeout_ms".to_owned(),
        Fault::Noise => "the data received is not a Modbus frame".to_owned(),
        Fault::Closed => "the device closed the connection before it answered".to_owned(),
    }
}

fn read_advice(block: Block, fault: Fault) -> &'static str {
    match fault {
        Fault::NoReply => "check the device's power and the unit id",
        Fault::Mute => "check the address; if the device has no such register, list it under \"unreadable\"",
        Fault::Exception(0x01) => "the device does not serve this function; check the table in the address",
        Fault::Exception(0x02) => {
            "the device has no such address; check the address, the table and \"addressing\" (40001 is address 0)"
        }
        Fault::Exception(0x03) => {
            "the device does not accept this address or quantity; check the address, the data type and \"max_registers\""
        }
        Fault::Exception(0x04) => "the device cannot serve it; check the address and the device itself",
        Fault::Exception(0x05 | 0x06) => "the device is busy; a slower scan or a \"turnaround_ms\" helps",
        Fault::Exception(0x0A | 0x0B) => {
            "the gateway in between gets no answer from this unit; check the unit id and the wiring behind the gateway"
        }
        Fault::OtherFunction(_) => "check the device; no key tolerates this",
        Fault::OtherLength(_) if block.count > 0 => {
            "check the address and \"max_registers\"; the device sends too little"
        }
        Fault::OtherLength(_) => "\"longer_replies\": true on the link accepts longer replies",
        Fault::Broken | Fault::Noise => {
            "check baud rate, parity, wiring, termination, and that there is only one \
            master"
        }
        Fault::Short => "check the line, or set a larger \"timeout_ms\" on the link",
        _ => "",
    }
}

fn node_fault(fault: NodeFault) -> String {
    match fault {
        NodeFault::Silent => "the node is silent".to_owned(),
        NodeFault::Late => "its heartbeat or guarding reply is overdue".to_owned(),
        NodeFault::Refused(code) => format!("the node refused to be set up: SDO abort {code}"),
        NodeFault::OtherDevice => "the node is another device than its EDS file describes".to_owned(),
        NodeFault::Aborted(code) => format!("SDO abort {code}"),
        NodeFault::NoReply => "no reply to the SDO read".to_owned(),
        NodeFault::Broken => "the reply to the SDO read breaks the protocol".to_owned(),
        NodeFault::NotMapped => "no PDO of the node contains the object".to_owned(),
        NodeFault::PdoSilent => "its PDO was not received for too long".to_owned(),
        NodeFault::PdoShort => "its PDO is too short to contain the object".to_owned(),
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scope, place, advice) = (self.scope(), self.place(), self.advice());
        let between = if scope.is_empty() || place.is_empty() { "" } else { ", " };
        if !scope.is_empty() || !place.is_empty() {
            write!(f, "{scope}{between}{place}: ")?;
        }
        f.write_str(&self.fault())?;
        if advice.is_empty() { Ok(()) } else { write!(f, "; {advice}") }
    }
}
