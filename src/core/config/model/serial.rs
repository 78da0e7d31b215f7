//! Serial ports.

use std::path::PathBuf;

use crate::tag::Nanos;

/// A serial port, and what is spoken on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialConfig {
    pub port: PathBuf,
    /// Bits a second.
    pub baud_rate: u32,
    /// 8 with RTU, 7 or 8 with ASCII.
    pub data_bits: u8,
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
    pub framing: SerialFraming,
    pub rs485: Option<Rs485Config>,
    /// The port hears what it sends.
    pub echo: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    None,
    Even,
    Odd,
}

/// Modbus over Serial Line V1.02, sections 2.5.1 and 2.5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SerialFraming {
    Rtu,
    Ascii,
}

/// How the driver of an RS-485 line is switched on and off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rs485Config {
    pub switched_by: Rs485Switch,
    /// RTS is high while sending; else low.
    pub rts_on_send: bool,
    /// From the switch to the first bit, and from the last bit to the switch back.
    pub delay_before: Nanos,
    pub delay_after: Nanos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rs485Switch {
    /// The kernel's driver or the port itself (TIOCSRS485).
    Kernel,
    /// Fieldbeat sets RTS itself, by the computed time of the frame.
    Manual,
}
