//! Registers of chips on I2C and SPI, as addresses name them.

use crate::protocol::local_io::LocalIoPoint;
use crate::tag::ScalarType;

pub type Point = (LocalIoPoint, ScalarType);

pub const I2C_ALLOWED: &str = "link:address:register:bytes or link:address:chip.channel, such as \"i2c:0x48:0x02:2\" or \
                           \"i2c:0x48:ads1115.ain0\"";

pub const SPI_ALLOWED: &str = "link:bytes-to-send:bytes-to-read or link:chip.channel, such as \"spi:0x8A:3\" or \
                           \"spi:mcp3208.ch3\"";
