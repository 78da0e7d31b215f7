//! Local inputs and outputs: GPIO lines, chips on I2C and SPI, analogue inputs of the kernel's IIO.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::tag::{Nanos, ValueType};

/// A device file of this machine, read by a thread of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalIoConfig {
    pub device: LocalIoDevice,
    /// How long an answer may take on top of the time on the bus.
    pub timeout: Nanos,
    /// What one access costs beside its bits: the system call, the driver, its interrupts.
    pub overhead: Nanos,
}

/// What the device file stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum LocalIoDevice {
    /// A chip of the GPIO character device, such as `/dev/gpiochip0`.
    Gpio { chip: PathBuf },
    /// A bus of i2c-dev, such as `/dev/i2c-1`.
    I2c { bus: PathBuf, clock_hz: u32 },
    /// A device of spidev, such as `/dev/spidev0.0`; words have 8 bits.
    Spi { device: PathBuf, mode: u8, speed_hz: u32, lsb_first: bool },
    /// A device of the kernel's IIO, by its folder (`iio:device0`) or by its name.
    Iio { device: String, buffer: Option<IioBufferConfig> },
}

/// The buffer of an IIO device: its samples are taken by a trigger, not one by one.
#[derive(Debug, Clone, PartialEq)]
pub struct IioBufferConfig {
    /// Scans that the kernel keeps.
    pub length: u32,
    /// Scans that wake its thread up.
    pub watermark: u32,
    /// `None`: as it is set, or the device samples by itself.
    pub trigger: Option<String>,
    /// Scans a second; `None`: as it is set.
    pub frequency_hz: Option<f64>,
    /// Each sample is told, not the newest on the beat alone.
    pub every: bool,
    /// How long scans may stay away before the values count as old.
    pub silent_after: Nanos,
}

impl IioBufferConfig {
    /// Scans of a second that are told one by one: a quarter more than there should be, for clocks that differ.
    pub fn scans_per_s_max(&self) -> u64 {
        (self.frequency_hz.unwrap_or_default() * 1.25).ceil() as u64 + 1
    }
}

impl Default for LocalIoDevice {
    fn default() -> LocalIoDevice {
        LocalIoDevice::Iio { device: String::new(), buffer: None }
    }
}

impl LocalIoDevice {
    /// Its device file, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            LocalIoDevice::Gpio { chip } => Some(chip),
            LocalIoDevice::I2c { bus, .. } => Some(bus),
            LocalIoDevice::Spi { device, .. } => Some(device),
            LocalIoDevice::Iio { .. } => None,
        }
    }

    /// As it is written in the tag files.
    pub fn protocol(&self) -> &'static str {
        match self {
            LocalIoDevice::Gpio { .. } => "gpio",
            LocalIoDevice::I2c { .. } => "i2c",
            LocalIoDevice::Spi { .. } => "spi",
            LocalIoDevice::Iio { .. } => "iio",
        }
    }
}

/// Where a tag's value comes from, and what it is made into.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalIoAddress {
    pub point: LocalIoPoint,
    /// Of the value before the tag's own scale and offset.
    pub ty: ValueType,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LocalIoPoint {
    Gpio(GpioPoint),
    /// A register of a device on I2C or SPI, or a channel of a chip that is known.
    Register {
        program: Arc<Program>,
        formula: Formula,
        write: Option<RegisterWrite>,
    },
    /// A channel of an IIO device, such as `in_voltage0`; an output may be written.
    Iio {
        channel: String,
    },
}

/// One line of a GPIO chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioPoint {
    pub line: GpioLine,
    pub setting: GpioSetting,
    /// The value is the number of edges since the device was opened, not the level.
    pub counts: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GpioLine {
    Offset(u32),
    Name(String),
}

/// How a line is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GpioSetting {
    pub is_output: bool,
    /// Of an output: what it is set to when the device is opened; `None`: it stays as it is.
    pub initial: Option<bool>,
    pub active_low: bool,
    pub bias: GpioBias,
    pub drive: GpioDrive,
    /// Edges that are told, or counted.
    pub edge: Option<GpioEdge>,
    /// Microseconds; 0: none.
    pub debounce_us: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum GpioBias {
    #[default]
    AsIs,
    Disabled,
    PullUp,
    PullDown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum GpioDrive {
    #[default]
    PushPull,
    OpenDrain,
    OpenSource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GpioEdge {
    Rising,
    Falling,
    Both,
}

/// What is done on the bus to read something once; the bytes of its reads, one after the other, are the result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// Of the device on I2C, 7 bits; 0 on SPI.
    pub address: u8,
    /// Done once after the device was opened, and again after it failed.
    pub setup: Vec<Step>,
    /// Likewise: what it reads is kept, for the formula.
    pub calibration: Vec<Step>,
    pub measure: Vec<Step>,
}

impl Program {
    /// Bytes of the result of some steps.
    pub fn bytes(steps: &[Step]) -> usize {
        steps.iter().map(Step::result_bytes).sum()
    }
}

/// One access to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Write(Vec<u8>),
    Wait(Nanos),
    /// Writes the command, may be empty, and reads so many bytes without letting go of the bus in between.
    Read {
        command: Vec<u8>,
        bytes: u8,
    },
    /// SPI: sends these bytes and receives as many at the same time.
    Exchange(Vec<u8>),
    /// Reads a byte that says which chip it is.
    Identify {
        command: u8,
        expected: u8,
    },
}

impl Step {
    pub fn result_bytes(&self) -> usize {
        match self {
            Step::Write(_) | Step::Wait(_) | Step::Identify { .. } => 0,
            Step::Read { bytes, .. } => usize::from(*bytes),
            Step::Exchange(bytes) => bytes.len(),
        }
    }
}

/// How a register is written: these bytes, then the value. And read back by those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterWrite {
    pub command: Vec<u8>,
    pub read_command: Vec<u8>,
    /// Bytes of the value, 1 to 8.
    pub width: u8,
    pub little_endian: bool,
}

/// How a value is made of a program's result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Formula {
    Field(Field),
    /// The field times a factor. At `clip` the converter is at its end.
    Linear {
        field: Field,
        factor: f64,
        clip: Option<(i64, i64)>,
    },
    /// Two fields and a factor, multiplied.
    Product {
        one: Field,
        other: Field,
        factor: f64,
    },
    /// Bosch BME280 data sheet, section 4.2.3 and appendix 8.1.
    Bme280(Bme280Value),
    /// A thermocouple converter: degrees, unless its fault bit is set (Maxim MAX31855 data sheet, memory map).
    Max31855,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bme280Value {
    /// °C.
    Temperature,
    /// Pa.
    Pressure,
    /// % of relative humidity.
    Humidity,
}

/// Bits of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The first byte.
    pub at: u8,
    /// Bytes, 1 to 8.
    pub width: u8,
    pub little_endian: bool,
    /// To the right, before the mask.
    pub shift: u8,
    pub mask: u64,
    pub kind: FieldKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    Unsigned,
    /// Two's complement of so many bits.
    Signed {
        bits: u8,
    },
    Float32,
    Float64,
    /// Any bit of the mask is set.
    Bool,
}
