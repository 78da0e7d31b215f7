//! The links to local inputs and outputs in the schema of the tag files; see [`crate::config::schema`].

use schemars::JsonSchema;

use crate::config::fields::{NAME_PATTERN, words};
use crate::limits::NAME_BYTES_MAX;
use crate::protocol::local_io::fields;

/// A kind of link: common keys, and its own.
macro_rules! bus_link {
    ($(#[$about:meta])* $name:ident, $protocol:literal, $overhead:path, { $($own:tt)* }) => {
        $(#[$about])*
        #[derive(JsonSchema)]
        #[schemars(deny_unknown_fields)]
        #[expect(dead_code, reason = "read by the derive only")]
        pub struct $name {
            /// Unique in all files; the first part of its tags' addresses.
            #[schemars(length(min = 1, max = NAME_BYTES_MAX), regex(pattern = NAME_PATTERN))]
            name: String,
            /// Protocol of the link.
            #[schemars(extend("const" = $protocol))]
            protocol: String,
            $($own)*
            /// Timeout of an answer in addition to the time on the bus, in milliseconds.
            #[schemars(
                range(min = fields::LOCAL_IO_TIMEOUT_MS.min, max = fields::LOCAL_IO_TIMEOUT_MS.max),
                extend("default" = fields::LOCAL_IO_TIMEOUT_MS.default)
            )]
            timeout_ms: Option<u16>,
            /// Overhead of one access in addition to its bits, in milliseconds, used to calculate the link's load.
            #[schemars(range(min = $overhead.min, max = $overhead.max), extend("default" = $overhead.default))]
            overhead_ms: Option<f64>,
            /// Free text.
            #[schemars(length(max = fields::DESCRIPTION_BYTES_MAX))]
            description: Option<String>,
        }
    };
}

bus_link! {
    /// Lines of a GPIO chip.
    GpioLink, "gpio", fields::GPIO_OVERHEAD_MS, {
        /// Path of the chip, such as /dev/gpiochip0.
        #[schemars(length(min = 2, max = fields::PORT_PATH_BYTES_MAX), regex(pattern = "^/"))]
        chip: String,
    }
}

bus_link! {
    /// Chips on an I2C bus.
    I2cLink, "i2c", fields::I2C_OVERHEAD_MS, {
        /// Path of the bus, such as /dev/i2c-1.
        #[schemars(length(min = 2, max = fields::PORT_PATH_BYTES_MAX), regex(pattern = "^/"))]
        bus: String,
        /// Clock of the bus as set up by the system, used to calculate the link's load.
        #[schemars(
            range(min = fields::I2C_CLOCK_HZ.min, max = fields::I2C_CLOCK_HZ.max),
            extend("default" = fields::I2C_CLOCK_HZ.default)
        )]
        clock_hz: Option<u32>,
    }
}

bus_link! {
    /// A device on SPI.
    SpiLink, "spi", fields::SPI_OVERHEAD_MS, {
        /// Path of the device, such as /dev/spidev0.0.
        #[schemars(length(min = 2, max = fields::PORT_PATH_BYTES_MAX), regex(pattern = "^/"))]
        device: String,
        /// Polarity and phase of the clock.
        #[schemars(
            range(min = fields::SPI_MODE.min, max = fields::SPI_MODE.max),
            extend("default" = fields::SPI_MODE.default)
        )]
        mode: Option<u8>,
        /// Maximum clock.
        #[schemars(
            range(min = fields::SPI_SPEED_HZ.min, max = fields::SPI_SPEED_HZ.max),
            extend("default" = fields::SPI_SPEED_HZ.default)
        )]
        speed_hz: Option<u32>,
        /// Bits of a word.
        #[schemars(extend("const" = fields::SPI_BITS.default))]
        bits: Option<u8>,
        /// The least significant bit is sent first.
        lsb_first: Option<bool>,
    }
}

bus_link! {
    /// Analogue inputs and outputs of the kernel's IIO.
    IioLink, "iio", fields::IIO_OVERHEAD_MS, {
        /// The device's name, or its directory in /sys/bus/iio/devices, such as iio:device0.
        #[schemars(length(min = 1, max = 64), regex(pattern = "^[^/]+$"))]
        device: String,
        /// Sample with the device's buffer and a trigger, instead of one by one.
        buffer: Option<IioBuffer>,
    }
}

/// The buffer of an IIO device.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct IioBuffer {
    /// Scans that the kernel buffers.
    #[schemars(
        range(min = fields::IIO_LENGTH.min, max = fields::IIO_LENGTH.max),
        extend("default" = fields::IIO_LENGTH.default)
    )]
    length: Option<u32>,
    /// Scans after which Fieldbeat wakes up; default: so many that it wakes up 100 times a second.
    #[schemars(range(min = fields::IIO_WATERMARK.min, max = fields::IIO_WATERMARK.max))]
    watermark: Option<u32>,
    /// Name of the trigger, as in /sys/bus/iio/devices/trigger*/name; without it, the trigger is not changed.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[^/]+$"))]
    trigger: Option<String>,
    /// Scans per second, set at the trigger or the device; without it, the rate is not changed.
    #[schemars(range(min = fields::FREQUENCY_HZ.min, max = fields::FREQUENCY_HZ.max))]
    frequency_hz: Option<f64>,
    /// The newest sample at each scan of the group, or every sample.
    #[schemars(extend("enum" = words(fields::SAMPLING), "default" = "latest"))]
    sampling: Option<String>,
    /// Time without a scan after which values are uncertain; after three times that they are bad.
    #[schemars(range(min = fields::SILENT_AFTER_MS.min, max = fields::SILENT_AFTER_MS.max))]
    silent_after_ms: Option<u32>,
}

/// Settings of a known chip.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct ChipSettings {
    /// ADS1115 and ADS1015: the range, ± so many volts.
    #[schemars(extend("enum" = super::chips::FULL_SCALES_V))]
    full_scale_v: Option<f64>,
    /// ADS1115 and ADS1015: conversions per second.
    #[schemars(range(min = fields::RATE_SPS.min, max = fields::RATE_SPS.max))]
    rate_sps: Option<u32>,
    /// INA219: the shunt.
    #[schemars(
        range(min = fields::SHUNT_OHM.min, max = fields::SHUNT_OHM.max),
        extend("default" = fields::SHUNT_OHM.default)
    )]
    shunt_ohm: Option<f64>,
    /// MCP3208, MCP3204 and MCP3008: the reference voltage.
    #[schemars(
        range(min = fields::REFERENCE_V.min, max = fields::REFERENCE_V.max),
        extend("default" = fields::REFERENCE_V.default)
    )]
    reference_v: Option<f64>,
}

/// A byte, as a number or a string such as "0x2C".
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum Byte {
    Number(u8),
    Text(#[schemars(regex(pattern = "^(0x[0-9A-Fa-f]{1,2}|[0-9]{1,3})$"))] String),
}

/// Mask of the bits to keep, as a number or a string such as "0x0FFF".
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub enum Mask {
    Number(#[schemars(range(min = 1))] u64),
    Text(#[schemars(regex(pattern = "^(0x[0-9A-Fa-f]{1,16}|[0-9]{1,20})$"))] String),
}

/// Keys of tags on these links.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read by the derive only")]
pub struct LocalIoTag {
    /// GPIO lines: the direction.
    #[schemars(extend("enum" = words(fields::GPIO_DIRECTION), "default" = "in"))]
    direction: Option<String>,
    /// GPIO lines: the pull resistor of the chip.
    #[schemars(extend("enum" = words(fields::GPIO_BIAS), "default" = "as-is"))]
    bias: Option<String>,
    /// GPIO outputs: the drive.
    #[schemars(extend("enum" = words(fields::GPIO_DRIVE), "default" = "push-pull"))]
    drive: Option<String>,
    /// GPIO lines: true when the level is low.
    active_low: Option<bool>,
    /// GPIO inputs: edges that are reported immediately, or counted if the data type is a number.
    #[schemars(extend("enum" = words(fields::GPIO_EDGE)))]
    edge: Option<String>,
    /// GPIO inputs: debounce time, in microseconds.
    #[schemars(
        range(min = fields::DEBOUNCE_US.min, max = fields::DEBOUNCE_US.max),
        extend("default" = fields::DEBOUNCE_US.default)
    )]
    debounce_us: Option<u32>,
    /// GPIO outputs: the level set when the device is opened; without it, the level is not changed.
    initial: Option<bool>,
    /// Registers on I2C or SPI: bytes sent before the read.
    #[schemars(length(min = 1, max = crate::limits::LOCAL_IO_COMMAND_BYTES_MAX))]
    command: Option<Vec<Byte>>,
    /// Registers on I2C or SPI: the pause between command and read, in microseconds.
    #[schemars(
        range(min = fields::DELAY_US.min, max = fields::DELAY_US.max),
        extend("default" = fields::DELAY_US.default)
    )]
    delay_us: Option<u32>,
    /// Registers on I2C or SPI: the first byte of the value in the bytes read.
    #[schemars(range(min = fields::AT.min, max = fields::AT.max), extend("default" = fields::AT.default))]
    at: Option<u8>,
    /// Registers on I2C or SPI: number of bytes of the value.
    #[schemars(range(min = fields::WIDTH.min, max = fields::WIDTH.max))]
    width: Option<u8>,
    /// Registers on I2C or SPI: right shift in bits.
    #[schemars(range(min = fields::SHIFT.min, max = fields::SHIFT.max), extend("default" = fields::SHIFT.default))]
    shift: Option<u8>,
    /// Registers on I2C or SPI: mask of the bits to keep, after the shift.
    mask: Option<Mask>,
    /// Known chips on I2C or SPI: settings of the chip.
    chip: Option<ChipSettings>,
    /// Registers on I2C or SPI: bytes sent before the value in a write. On I2C, without it, the
    /// register's number.
    #[schemars(length(min = 1, max = crate::limits::LOCAL_IO_COMMAND_BYTES_MAX))]
    write_command: Option<Vec<Byte>>,
}
