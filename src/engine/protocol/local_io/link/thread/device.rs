//! What a device's thread asks of the hardware, so that tests can put something else in its place.

use std::os::fd::RawFd;

use crate::tag::{Nanos, Status};

/// Why an access did not come off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device did not acknowledge.
    Silent,
    /// The bus did not come to an end in time: something holds it.
    Stuck,
    /// The kernel's error.
    Failed(i32),
    /// Another chip than the one that was named.
    Other,
    /// The device file leads nowhere any more.
    Gone,
}

impl Fault {
    /// Of an error of the kernel.
    pub fn of(error: &std::io::Error) -> Fault {
        match error.raw_os_error() {
            Some(libc::ENXIO | libc::EREMOTEIO) => Fault::Silent,
            Some(libc::ETIMEDOUT) => Fault::Stuck,
            Some(libc::ENODEV | libc::ESHUTDOWN | libc::EBADF) => Fault::Gone,
            code => Fault::Failed(code.unwrap_or(libc::EIO)),
        }
    }

    /// What becomes of the tags.
    pub fn status(self) -> Status {
        if self == Fault::Other { Status::BAD_CONFIGURATION_ERROR } else { Status::BAD_DEVICE_FAILURE }
    }
}

/// The time of CLOCK_MONOTONIC, and waiting.
pub trait Clock: Send {
    fn now(&mut self) -> Nanos;
    fn sleep(&mut self, pause: Nanos);
}

/// I2C or SPI. Each call is one transfer, and bounded in time.
pub trait RegisterBus: Send {
    fn write(&mut self, address: u8, bytes: &[u8]) -> Result<(), Fault>;

    /// Writes the command, which may be empty, and fills `out`, without letting go of the device in between.
    fn read(&mut self, address: u8, command: &[u8], out: &mut [u8]) -> Result<(), Fault>;

    /// Sends bytes and receives as many. Not on I2C.
    fn exchange(&mut self, sent: &[u8], received: &mut [u8]) -> Result<(), Fault>;
}

/// An edge that the kernel saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineEvent {
    /// Of the setup's lines.
    pub line: usize,
    pub rising: bool,
    /// CLOCK_MONOTONIC, by the kernel.
    pub t: Nanos,
    /// Counts the line's edges from 1; wraps. A gap: the kernel's buffer was full.
    pub number: u32,
}

/// Lines of a GPIO chip, by the setup's order. Levels are logical: a line that is active low is true when low.
pub trait GpioLines: Send {
    /// Fills in the levels of the lines that are wanted, and leaves the others.
    fn levels(&mut self, wanted: &[bool], levels: &mut [bool]) -> Result<(), Fault>;

    fn set(&mut self, line: usize, level: bool) -> Result<(), Fault>;

    /// Readable when there are edges.
    fn descriptors(&self) -> &[RawFd];

    /// Takes edges that are there, of one line in the order of time, without waiting; nothing more: false.
    fn events(&mut self, events: &mut Vec<LineEvent>) -> Result<bool, Fault>;
}

/// Channels of an IIO device, by the setup's order; values in the kernel's unit.
pub trait Channels: Send {
    fn read(&mut self, channel: usize) -> Result<f64, ChannelFault>;

    fn write(&mut self, channel: usize, value: f64) -> Result<(), Fault>;

    /// What an output holds: the value that was written, if it is that to its nearest step.
    fn read_back(&mut self, channel: usize) -> Result<f64, ChannelFault>;
}

/// The buffer of an IIO device.
pub trait Scans: Send {
    /// Takes whole scans that are there, without waiting; how many bytes.
    fn read(&mut self, scans: &mut [u8]) -> Result<usize, Fault>;

    /// Readable when there are scans.
    fn descriptors(&self) -> &[RawFd];
}

/// Why a channel has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelFault {
    Of(Fault),
    /// The file holds no number.
    NoNumber,
    /// An output that cannot be read, and has not been written.
    Unwritten,
}
