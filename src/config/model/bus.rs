//! The machine's own inputs and outputs: GPIO, I2C, SPI, analogue inputs (IIO).

use std::path::PathBuf;

use crate::tag::{Nanos, ValueType};

/// A device of the machine's own that is read by a thread of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct BusConfig {
    pub kind: BusKind,
    pub device: PathBuf,
    pub connect_timeout: Nanos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusKind {
    Gpio,
    I2c,
    Spi,
    Iio,
}

impl BusKind {
    /// As it is written in the tag files.
    pub fn name(self) -> &'static str {
        match self {
            BusKind::Gpio => "gpio",
            BusKind::I2c => "i2c",
            BusKind::Spi => "spi",
            BusKind::Iio => "iio",
        }
    }
}

/// Where a tag lies on such a device.
#[derive(Debug, Clone, PartialEq)]
pub struct BusAddress {
    /// Of the value before the tag's own scale and offset.
    pub ty: ValueType,
}
