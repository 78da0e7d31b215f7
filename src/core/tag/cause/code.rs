//! A cause as one number: six bits of kind, then what belongs to it.

use super::{Block, CanFault, Cause, CauseKind, DeviceFault, Fault, NodeFault, ObjectAt, ValueFault};
use crate::tag::AbortCode;

const KIND_SHIFT: u32 = 58;

/// Of a read: count, first, function, unit, then the fault's own number.
const FIRST_SHIFT: u32 = 11;
const FUNCTION_SHIFT: u32 = 27;
const UNIT_SHIFT: u32 = 29;
const DETAIL_SHIFT: u32 = 37;
const COUNT_MAX: u64 = (1 << FIRST_SHIFT) - 1;
const DETAIL_MAX: u32 = (1 << (KIND_SHIFT - DETAIL_SHIFT)) - 1;

/// Of a node: three bytes of the abort code, sub-index, index, node.
const SUB_SHIFT: u32 = 24;
const INDEX_SHIFT: u32 = 32;
const NODE_SHIFT: u32 = 48;

impl Fault {
    fn parts(self) -> (CauseKind, u32) {
        match self {
            Fault::NoReply => (CauseKind::NoReply, 0),
            Fault::Mute => (CauseKind::Mute, 0),
            Fault::Late(ms) => (CauseKind::Late, ms.min(DETAIL_MAX)),
            Fault::Exception(code) => (CauseKind::Exception, code.into()),
            Fault::OtherUnit(unit) => (CauseKind::OtherUnit, unit.into()),
            Fault::OtherTransaction(id) => (CauseKind::OtherTransaction, id.into()),
            Fault::OtherFunction(function) => (CauseKind::OtherFunction, function.into()),
            Fault::OtherLength(bytes) => (CauseKind::OtherLength, bytes.into()),
            Fault::HeaderLength(bytes) => (CauseKind::HeaderLength, bytes.into()),
            Fault::Broken => (CauseKind::Broken, 0),
            Fault::Short => (CauseKind::Short, 0),
            Fault::Noise => (CauseKind::Noise, 0),
            Fault::Closed => (CauseKind::Closed, 0),
        }
    }

    fn of(kind: CauseKind, detail: u32) -> Option<Fault> {
        Some(match kind {
            CauseKind::NoReply => Fault::NoReply,
            CauseKind::Mute => Fault::Mute,
            CauseKind::Late => Fault::Late(detail),
            CauseKind::Exception => Fault::Exception(detail as u8),
            CauseKind::OtherUnit => Fault::OtherUnit(detail as u8),
            CauseKind::OtherTransaction => Fault::OtherTransaction(detail as u16),
            CauseKind::OtherFunction => Fault::OtherFunction(detail as u8),
            CauseKind::OtherLength => Fault::OtherLength(detail as u8),
            CauseKind::HeaderLength => Fault::HeaderLength(detail as u8),
            CauseKind::Broken => Fault::Broken,
            CauseKind::Short => Fault::Short,
            CauseKind::Noise => Fault::Noise,
            CauseKind::Closed => Fault::Closed,
            _ => return None,
        })
    }
}

impl NodeFault {
    fn parts(self) -> (CauseKind, AbortCode) {
        let none = AbortCode(0);
        match self {
            NodeFault::Silent => (CauseKind::NodeSilent, none),
            NodeFault::Late => (CauseKind::NodeLate, none),
            NodeFault::Refused(code) => (CauseKind::NodeRefused, code),
            NodeFault::OtherDevice => (CauseKind::NodeOtherDevice, none),
            NodeFault::Aborted(code) => (CauseKind::NodeAborted, code),
            NodeFault::NoReply => (CauseKind::NodeNoReply, none),
            NodeFault::Broken => (CauseKind::NodeBroken, none),
            NodeFault::NotMapped => (CauseKind::NodeNotMapped, none),
            NodeFault::PdoSilent => (CauseKind::NodePdoSilent, none),
            NodeFault::PdoShort => (CauseKind::NodePdoShort, none),
        }
    }

    fn of(kind: CauseKind, code: AbortCode) -> Option<NodeFault> {
        Some(match kind {
            CauseKind::NodeSilent => NodeFault::Silent,
            CauseKind::NodeLate => NodeFault::Late,
            CauseKind::NodeRefused => NodeFault::Refused(code),
            CauseKind::NodeOtherDevice => NodeFault::OtherDevice,
            CauseKind::NodeAborted => NodeFault::Aborted(code),
            CauseKind::NodeNoReply => NodeFault::NoReply,
            CauseKind::NodeBroken => NodeFault::Broken,
            CauseKind::NodeNotMapped => NodeFault::NotMapped,
            CauseKind::NodePdoSilent => NodeFault::PdoSilent,
            CauseKind::NodePdoShort => NodeFault::PdoShort,
            _ => return None,
        })
    }
}

impl Cause {
    pub fn kind(self) -> CauseKind {
        match self {
            Cause::NotConnected => CauseKind::NotConnected,
            Cause::Read { fault, .. } => fault.parts().0,
            Cause::Value(ValueFault::NotDecoded) => CauseKind::NotDecoded,
            Cause::Value(ValueFault::Sensor) => CauseKind::Sensor,
            Cause::Value(ValueFault::NoValue) => CauseKind::NoValue,
            Cause::Can(CanFault::Silent) => CauseKind::CanSilent,
            Cause::Can(CanFault::Never) => CauseKind::CanNever,
            Cause::Can(CanFault::Short) => CauseKind::CanShort,
            Cause::Can(CanFault::BusOff) => CauseKind::BusOff,
            Cause::Node { fault, .. } => fault.parts().0,
            Cause::Device(DeviceFault::Silent) => CauseKind::DeviceSilent,
            Cause::Device(DeviceFault::Failed(_)) => CauseKind::DeviceFailed,
            Cause::Device(DeviceFault::OtherChip) => CauseKind::DeviceOtherChip,
            Cause::Device(DeviceFault::Overdue) => CauseKind::DeviceOverdue,
        }
    }

    /// As a number that is never 0.
    pub fn code(self) -> u64 {
        let rest = match self {
            Cause::Read { block: Block { unit, function, first, count }, fault } => {
                u64::from(fault.parts().1) << DETAIL_SHIFT
                    | u64::from(unit) << UNIT_SHIFT
                    | u64::from(function.wrapping_sub(1) & 3) << FUNCTION_SHIFT
                    | u64::from(first) << FIRST_SHIFT
                    | u64::from(count).min(COUNT_MAX)
            }
            Cause::Node { node, object, fault } => {
                // The third byte is zero in every code of the specification.
                let [a, b, _, d] = fault.parts().1.0.to_be_bytes();
                u64::from(node) << NODE_SHIFT
                    | u64::from(object.index) << INDEX_SHIFT
                    | u64::from(object.sub) << SUB_SHIFT
                    | u64::from(u32::from_be_bytes([0, a, b, d]))
            }
            Cause::Device(DeviceFault::Failed(error)) => u64::from(error),
            _ => 0,
        };
        u64::from(self.kind() as u8) << KIND_SHIFT | rest
    }

    /// What [`Cause::code`] made a number of; `None`: nothing is known.
    pub fn of_code(code: u64) -> Option<Cause> {
        let kind = CauseKind::ALL.into_iter().find(|kind| u64::from(*kind as u8) == code >> KIND_SHIFT)?;
        let rest = code & ((1 << KIND_SHIFT) - 1);
        if let Some(fault) = Fault::of(kind, (rest >> DETAIL_SHIFT) as u32) {
            let block = Block {
                unit: (rest >> UNIT_SHIFT) as u8,
                function: (rest >> FUNCTION_SHIFT & 3) as u8 + 1,
                first: (rest >> FIRST_SHIFT) as u16,
                count: (rest & COUNT_MAX) as u16,
            };
            return Some(Cause::Read { block, fault });
        }
        let [_, a, b, d] = (rest as u32 & 0x00FF_FFFF).to_be_bytes();
        if let Some(fault) = NodeFault::of(kind, AbortCode(u32::from_be_bytes([a, b, 0, d]))) {
            let object = ObjectAt { index: (rest >> INDEX_SHIFT) as u16, sub: (rest >> SUB_SHIFT) as u8 };
            return Some(Cause::Node { node: (rest >> NODE_SHIFT) as u8, object, fault });
        }
        Some(match kind {
            CauseKind::NotConnected => Cause::NotConnected,
            CauseKind::NotDecoded => Cause::Value(ValueFault::NotDecoded),
            CauseKind::Sensor => Cause::Value(ValueFault::Sensor),
            CauseKind::NoValue => Cause::Value(ValueFault::NoValue),
            CauseKind::CanSilent => Cause::Can(CanFault::Silent),
            CauseKind::CanNever => Cause::Can(CanFault::Never),
            CauseKind::CanShort => Cause::Can(CanFault::Short),
            CauseKind::BusOff => Cause::Can(CanFault::BusOff),
            CauseKind::DeviceSilent => Cause::Device(DeviceFault::Silent),
            CauseKind::DeviceFailed => Cause::Device(DeviceFault::Failed(rest as u16)),
            CauseKind::DeviceOtherChip => Cause::Device(DeviceFault::OtherChip),
            CauseKind::DeviceOverdue => Cause::Device(DeviceFault::Overdue),
            _ => return None,
        })
    }
}
