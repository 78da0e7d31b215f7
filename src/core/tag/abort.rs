//! SDO abort codes (CiA 301, section 7.2.4.3.17, table 22).

use std::fmt;

/// Why a transfer was ended, by either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AbortCode(pub u32);

impl AbortCode {
    pub const TOGGLE: AbortCode = AbortCode(0x0503_0000);
    pub const TIMED_OUT: AbortCode = AbortCode(0x0504_0000);
    pub const UNKNOWN_COMMAND: AbortCode = AbortCode(0x0504_0001);
    pub const BLOCK_SIZE: AbortCode = AbortCode(0x0504_0002);
    pub const SEQUENCE_NUMBER: AbortCode = AbortCode(0x0504_0003);
    pub const CRC: AbortCode = AbortCode(0x0504_0004);
    pub const OUT_OF_MEMORY: AbortCode = AbortCode(0x0504_0005);
    pub const NO_SUCH_OBJECT: AbortCode = AbortCode(0x0602_0000);
    pub const LENGTH: AbortCode = AbortCode(0x0607_0010);
    pub const NO_SUCH_SUB_INDEX: AbortCode = AbortCode(0x0609_0011);
    pub const GENERAL: AbortCode = AbortCode(0x0800_0000);

    /// What it means; codes of manufacturers have no name.
    pub fn name(self) -> &'static str {
        match self.0 {
            0x0503_0000 => "toggle bit not alternated",
            0x0504_0000 => "SDO protocol timed out",
            0x0504_0001 => "client/server command specifier not valid or unknown",
            0x0504_0002 => "invalid block size",
            0x0504_0003 => "invalid sequence number",
            0x0504_0004 => "CRC error",
            0x0504_0005 => "out of memory",
            0x0601_0000 => "unsupported access to an object",
            0x0601_0001 => "attempt to read a write-only object",
            0x0601_0002 => "attempt to write a read-only object",
            0x0602_0000 => "object does not exist in the object dictionary",
            0x0604_0041 => "object cannot be mapped to the PDO",
            0x0604_0042 => "the number and length of the objects to be mapped would exceed the PDO length",
            0x0604_0043 => "general parameter incompatibility",
            0x0604_0047 => "general internal incompatibility in the device",
            0x0606_0000 => "access failed due to a hardware error",
            0x0607_0010 => "data type does not match, length of service parameter does not match",
            0x0607_0012 => "data type does not match, length of service parameter too high",
            0x0607_0013 => "data type does not match, length of service parameter too low",
            0x0609_0011 => "sub-index does not exist",
            0x0609_0030 => "invalid value for parameter",
            0x0609_0031 => "value of parameter written too high",
            0x0609_0032 => "value of parameter written too low",
            0x0609_0036 => "maximum value is less than minimum value",
            0x060A_0023 => "resource not available: SDO connection",
            0x0800_0000 => "general error",
            0x0800_0020 => "data cannot be transferred or stored to the application",
            0x0800_0021 => "data cannot be transferred or stored to the application because of local control",
            0x0800_0022 => "data cannot be transferred or stored because of the present device state",
            0x0800_0023 => "object dictionary dynamic generation fails or no object dictionary is present",
            0x0800_0024 => "no data available",
            _ => "unknown abort code",
        }
    }

    /// The device says that there is no such object: asking again and again is of no use.
    pub fn is_missing(self) -> bool {
        matches!(self, AbortCode::NO_SUCH_OBJECT | AbortCode::NO_SUCH_SUB_INDEX | AbortCode(0x0601_0001))
    }
}

impl fmt::Display for AbortCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08X} ({})", self.0, self.name())
    }
}
