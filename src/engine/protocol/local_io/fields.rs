//! Keys of links to local inputs and outputs, and of their tags.

use super::model::{GpioBias, GpioDrive, GpioEdge};
pub use crate::config::fields::*;
use crate::limits;

pub const LOCAL_IO_TIMEOUT_MS: Int = int("timeout_ms", 1, 10_000, 100, " ms");
/// What an access costs beside its bits, until the thread that made it runs again: an estimate, with room for
/// a driver that works by interrupts.
pub const I2C_OVERHEAD_MS: Real = Real { key: "overhead_ms", min: 0.0, max: 1_000.0, default: 0.1, unit: " ms" };
pub const SPI_OVERHEAD_MS: Real = Real { default: 0.06, ..I2C_OVERHEAD_MS };
/// One call for all lines of a setting.
pub const GPIO_OVERHEAD_MS: Real = Real { default: 0.02, ..I2C_OVERHEAD_MS };
/// Reading a channel starts a conversion and waits for it.
pub const IIO_OVERHEAD_MS: Real = Real { default: 0.5, ..I2C_OVERHEAD_MS };
pub const IIO_LENGTH: Int = int("length", 2, 65_536, 1024, " scans");
pub const IIO_WATERMARK: Int = int("watermark", 1, 65_536, 1, " scans");
pub const FREQUENCY_HZ: Real = Real { key: "frequency_hz", min: 0.001, max: 1_000_000.0, default: 100.0, unit: " Hz" };
/// Standard mode (NXP UM10204).
pub const I2C_CLOCK_HZ: Int =
    int("clock_hz", limits::I2C_CLOCK_HZ_MIN as u64, limits::I2C_CLOCK_HZ_MAX as u64, 100_000, " Hz");
pub const SPI_MODE: Int = int("mode", 0, 3, 0, "");
pub const SPI_SPEED_HZ: Int =
    int("speed_hz", limits::SPI_SPEED_HZ_MIN as u64, limits::SPI_SPEED_HZ_MAX as u64, 1_000_000, " Hz");
pub const SPI_BITS: Int = int("bits", 8, 8, 8, "");
pub const GPIO_DIRECTION: &[(&str, bool)] = &[("in", false), ("out", true)];
pub const GPIO_BIAS: &[(&str, GpioBias)] = &[
    ("as-is", GpioBias::AsIs),
    ("disabled", GpioBias::Disabled),
    ("pull-up", GpioBias::PullUp),
    ("pull-down", GpioBias::PullDown),
];
pub const GPIO_DRIVE: &[(&str, GpioDrive)] =
    &[("push-pull", GpioDrive::PushPull), ("open-drain", GpioDrive::OpenDrain), ("open-source", GpioDrive::OpenSource)];
pub const GPIO_EDGE: &[(&str, GpioEdge)] =
    &[("rising", GpioEdge::Rising), ("falling", GpioEdge::Falling), ("both", GpioEdge::Both)];
pub const DEBOUNCE_US: Int = int("debounce_us", 0, 1_000_000, 0, " µs");
pub const DELAY_US: Int = int("delay_us", 0, limits::LOCAL_IO_WAIT_MAX.0 / 1_000, 0, " µs");
/// Bytes of what was read.
pub const AT: Int = int("at", 0, limits::LOCAL_IO_READ_BYTES_MAX as u64 - 1, 0, "");
pub const WIDTH: Int = int("width", 1, 8, 2, " bytes");
pub const SHIFT: Int = int("shift", 0, 63, 0, " bits");
pub const SHUNT_OHM: Real = Real { key: "shunt_ohm", min: 1e-6, max: 1e6, default: 0.1, unit: " Ω" };
pub const REFERENCE_V: Real = Real { key: "reference_v", min: 0.1, max: 100.0, default: 3.3, unit: " V" };
pub const RATE_SPS: Int = int("rate_sps", 1, 100_000, 128, "");
pub const GPIO_LINK_KEYS: &[&str] = &["name", "protocol", "chip", "timeout_ms", "overhead_ms", "description"];
pub const I2C_LINK_KEYS: &[&str] = &["name", "protocol", "bus", "clock_hz", "timeout_ms", "overhead_ms", "description"];
pub const SPI_LINK_KEYS: &[&str] = &[
    "name",
    "protocol",
    "device",
    "mode",
    "speed_hz",
    "bits",
    "lsb_first",
    "timeout_ms",
    "overhead_ms",
    "description",
];
pub const IIO_LINK_KEYS: &[&str] =
    &["name", "protocol", "device", "buffer", "timeout_ms", "overhead_ms", "description"];
pub const IIO_BUFFER_KEYS: &[&str] = &["length", "watermark", "trigger", "frequency_hz", "sampling", "silent_after_ms"];
pub const CHIP_KEYS: &[&str] = &["full_scale_v", "rate_sps", "shunt_ohm", "reference_v"];
/// Keys of tags that only these links have: what they are for, and which keys. All others are told for every link.
pub const LOCAL_TAG_KEYS: &[&str] = &[
    "direction",
    "bias",
    "drive",
    "active_low",
    "edge",
    "debounce_us",
    "initial",
    "command",
    "delay_us",
    "at",
    "width",
    "shift",
    "mask",
    "chip",
    "write_command",
];
