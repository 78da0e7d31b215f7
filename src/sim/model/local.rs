//! The machine's own inputs and outputs as people write them.

use fastrand::Rng;

/// Lines of one chip.
pub const LINES_MAX: u32 = 64;

/// What a link's device file stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Gpio,
    I2c,
    Spi,
    Iio,
}

impl Device {
    pub fn any(rng: &mut Rng) -> Device {
        [Device::Gpio, Device::I2c, Device::Spi, Device::Iio][rng.usize(..4)]
    }

    /// Protocol and device of a link.
    pub fn text(self, host: u32) -> String {
        match self {
            Device::Gpio => format!(r#""gpio", "chip": "/dev/gpiochip{host}""#),
            Device::I2c => format!(r#""i2c", "bus": "/dev/i2c-{host}", "clock_hz": 400000"#),
            Device::Spi => format!(r#""spi", "device": "/dev/spi{host}", "mode": 0, "speed_hz": 1000000"#),
            Device::Iio => format!(r#""iio", "device": "iio:device{host}""#),
        }
    }

    /// How many places it has.
    pub fn places_max(self) -> u32 {
        match self {
            Device::Gpio => LINES_MAX,
            Device::I2c => 100 * 200,
            Device::Spi => 0x4000,
            Device::Iio => u32::MAX,
        }
    }

    /// The `n`-th place of a device, and what else is written of a tag there.
    pub fn spot(self, n: u32, rng: &mut Rng) -> (String, String) {
        let write = if rng.bool() { r#", "write": {"read_back": false}"# } else { "" };
        match self {
            Device::Gpio => {
                let keys = match rng.u8(..5) {
                    0 | 1 => r#""data_type": "bool""#.to_owned(),
                    2 => r#""data_type": "bool", "edge": "both""#.to_owned(),
                    3 => r#""data_type": "uint64", "edge": "rising""#.to_owned(),
                    _ => format!(r#""data_type": "bool", "direction": "out"{write}"#),
                };
                (n.to_string(), keys)
            }
            Device::I2c => {
                let (name, bytes) = [("int16", 2), ("uint16", 2), ("int32", 4), ("float32", 4)][rng.usize(..4)];
                let at = format!("0x{:02x}:0x{:02x}:{bytes}", 0x08 + n / 200, n % 200);
                let scaled = if rng.u8(..4) == 0 { r#", "scale": 0.5, "offset": -3"# } else { "" };
                (at, format!(r#""data_type": "{name}"{scaled}{write}"#))
            }
            Device::Spi => {
                let (name, bytes) = [("int16", 2), ("uint16", 2), ("int32", 4), ("float32", 4)][rng.usize(..4)];
                let scaled = if rng.u8(..4) == 0 { r#", "scale": 2, "offset": 5"# } else { "" };
                let how = match write {
                    "" => String::new(),
                    write => format!(r#", "write_command": ["0x{:02x}", "0x{:02x}"]{write}"#, n >> 8, n & 0xFF),
                };
                (format!("0x{:04x}:{bytes}", 0x8000 | n), format!(r#""data_type": "{name}"{scaled}{how}"#))
            }
            Device::Iio => (format!("in_voltage{n}"), r#""data_type": "float64""#.to_owned()),
        }
    }
}
