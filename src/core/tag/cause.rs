//! Why a tag has no good value: the one table of causes. The log, `read`, `check --learn`, health and metrics all take
//! their words from here.
//!
//! The floor keeps a cause as one number beside the tag's reading ([`Cause::code`]), so that it is written without a lock
//! and without memory of its own. The number says for itself which block, node or object was at fault: it stays true
//! whatever plan is made after it.
//!
//! | file | subject |
//! |---|---|
//! | `code` | a cause as a number |
//! | `words` | a cause as a sentence, and the key that tolerates it |

mod code;
#[cfg(test)]
mod tests;
mod words;

use super::{AbortCode, Status};
pub use words::exception_name;

/// Why a tag has no good value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The link has no connection.
    NotConnected,
    /// A read of a Modbus device.
    Read {
        block: Block,
        fault: Fault,
    },
    /// The bytes came, and hold no value.
    Value(ValueFault),
    Can(CanFault),
    /// A node of a CANopen network; `object` where the fault is about one.
    Node {
        node: u8,
        object: ObjectAt,
        fault: NodeFault,
    },
    /// A device of the machine's own.
    Device(DeviceFault),
}

/// What a Modbus request reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub unit: u8,
    /// 1 to 4.
    pub function: u8,
    /// Offset from 0.
    pub first: u16,
    /// Registers or bits.
    pub count: u16,
}

/// What came in place of the reply to a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing, within the timeout.
    #[default]
    NoReply,
    /// Nothing, while the unit answers other requests.
    Mute,
    /// The reply, after so many milliseconds: later than the timeout.
    Late(u32),
    Exception(u8),
    /// A reply of this unit.
    OtherUnit(u8),
    /// A reply with this transaction id.
    OtherTransaction(u16),
    /// A reply by this function.
    OtherFunction(u8),
    /// A reply with so many bytes of values.
    OtherLength(u8),
    /// The reply, taken; its header counts so many bytes too many.
    HeaderLength(u8),
    /// A reply whose CRC or LRC is wrong.
    Broken,
    /// A part of a reply.
    Short,
    /// Bytes that are no frame.
    Noise,
    /// The end of the connection.
    Closed,
}

/// Why bytes hold no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueFault {
    /// They are no value of the type.
    NotDecoded,
    /// The sensor behind the input has failed.
    Sensor,
    /// The device says that it has none.
    NoValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanFault {
    /// No message with the signal has come for longer than allowed.
    Silent,
    /// No message with the signal has come yet.
    Never,
    /// The message has fewer bytes than the signal needs.
    Short,
    /// The controller has left the bus.
    BusOff,
}

/// An object of a CANopen node; 0:0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ObjectAt {
    pub index: u16,
    pub sub: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeFault {
    /// Nothing is heard of it.
    Silent,
    /// Its heartbeat, or its answer to guarding, is overdue.
    Late,
    /// It refused to be set up.
    Refused(AbortCode),
    /// It is another device than its data sheet's.
    OtherDevice,
    /// It refused to read the object.
    Aborted(AbortCode),
    /// It did not answer the read of the object.
    NoReply,
    /// Its answer breaks the protocol.
    Broken,
    /// The object is in none of its PDOs.
    NotMapped,
    /// Its PDO has not come for longer than allowed.
    PdoSilent,
    /// Its PDO is shorter than the object's place in it.
    PdoShort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceFault {
    /// The thread that reads it does not answer.
    Silent,
    /// The device or the bus failed; the kernel's error number, 0 where it gave none.
    Failed(u16),
    /// Another chip than the one that was named.
    OtherChip,
    /// It has given nothing for longer than allowed.
    Overdue,
}

/// One row of the table of causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CauseKind {
    NotConnected = 1,
    NoReply,
    Mute,
    Late,
    Exception,
    OtherUnit,
    OtherTransaction,
    OtherFunction,
    OtherLength,
    HeaderLength,
    Broken,
    Short,
    Noise,
    Closed,
    NotDecoded,
    Sensor,
    NoValue,
    CanSilent,
    CanNever,
    CanShort,
    BusOff,
    NodeSilent,
    NodeLate,
    NodeRefused,
    NodeOtherDevice,
    NodeAborted,
    NodeNoReply,
    NodeBroken,
    NodeNotMapped,
    NodePdoSilent,
    NodePdoShort,
    DeviceSilent,
    DeviceFailed,
    DeviceOtherChip,
    DeviceOverdue,
}

impl CauseKind {
    pub const ALL: [CauseKind; 35] = [
        CauseKind::NotConnected,
        CauseKind::NoReply,
        CauseKind::Mute,
        CauseKind::Late,
        CauseKind::Exception,
        CauseKind::OtherUnit,
        CauseKind::OtherTransaction,
        CauseKind::OtherFunction,
        CauseKind::OtherLength,
        CauseKind::HeaderLength,
        CauseKind::Broken,
        CauseKind::Short,
        CauseKind::Noise,
        CauseKind::Closed,
        CauseKind::NotDecoded,
        CauseKind::Sensor,
        CauseKind::NoValue,
        CauseKind::CanSilent,
        CauseKind::CanNever,
        CauseKind::CanShort,
        CauseKind::BusOff,
        CauseKind::NodeSilent,
        CauseKind::NodeLate,
        CauseKind::NodeRefused,
        CauseKind::NodeOtherDevice,
        CauseKind::NodeAborted,
        CauseKind::NodeNoReply,
        CauseKind::NodeBroken,
        CauseKind::NodeNotMapped,
        CauseKind::NodePdoSilent,
        CauseKind::NodePdoShort,
        CauseKind::DeviceSilent,
        CauseKind::DeviceFailed,
        CauseKind::DeviceOtherChip,
        CauseKind::DeviceOverdue,
    ];
}

impl Cause {
    /// Of a status that says it all; `None`: there is more to know.
    pub fn of_status(status: Status) -> Option<Cause> {
        match status {
            Status::BAD_DECODING_ERROR => Some(Cause::Value(ValueFault::NotDecoded)),
            Status::BAD_SENSOR_FAILURE => Some(Cause::Value(ValueFault::Sensor)),
            Status::BAD_DATA_UNAVAILABLE => Some(Cause::Value(ValueFault::NoValue)),
            _ => None,
        }
    }

    /// The same for all that fails alike: of the block only unit and function count, and of times and counts nothing.
    pub fn alike(self) -> Cause {
        match self {
            Cause::Read { block, fault } => {
                let fault = match fault {
                    Fault::Late(_) => Fault::Late(0),
                    Fault::OtherTransaction(_) => Fault::OtherTransaction(0),
                    Fault::OtherLength(_) => Fault::OtherLength(0),
                    Fault::HeaderLength(_) => Fault::HeaderLength(0),
                    other => other,
                };
                Cause::Read { block: Block { first: 0, count: 0, ..block }, fault }
            }
            Cause::Node { node, fault, .. } => Cause::Node { node, object: ObjectAt::default(), fault },
            other => other,
        }
    }

    /// The device answers, and refuses what it is asked for.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Cause::Read { fault: Fault::Exception(_), .. }
                | Cause::Node { fault: NodeFault::Aborted(_) | NodeFault::Refused(_), .. }
        )
    }

    /// Nothing is wrong: the device has no value at the moment, and says so.
    pub fn is_no_trouble(self) -> bool {
        self == Cause::Value(ValueFault::NoValue)
    }
}

impl Fault {
    /// Something came that shows what the device does.
    pub fn is_seen(self) -> bool {
        !matches!(self, Fault::NoReply | Fault::Mute | Fault::Closed)
    }
}
