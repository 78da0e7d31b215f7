//! What the kernel's headers say of GPIO lines, I2C and SPI: structures and ioctl numbers.
//!
//! linux/gpio.h (uAPI v2), linux/i2c.h, linux/i2c-dev.h, linux/spi/spidev.h. A test compares them with the headers of
//! the machine, by a program in C.

use std::io;
use std::os::fd::RawFd;

pub const GPIO_NAME_BYTES: usize = 32;
pub const GPIO_LINES_MAX: usize = 64;
pub const GPIO_ATTRS_MAX: usize = 10;

pub const LINE_USED: u64 = 1 << 0;
pub const LINE_ACTIVE_LOW: u64 = 1 << 1;
pub const LINE_INPUT: u64 = 1 << 2;
pub const LINE_OUTPUT: u64 = 1 << 3;
pub const LINE_EDGE_RISING: u64 = 1 << 4;
pub const LINE_EDGE_FALLING: u64 = 1 << 5;
pub const LINE_OPEN_DRAIN: u64 = 1 << 6;
pub const LINE_OPEN_SOURCE: u64 = 1 << 7;
pub const LINE_PULL_UP: u64 = 1 << 8;
pub const LINE_PULL_DOWN: u64 = 1 << 9;
pub const LINE_BIAS_DISABLED: u64 = 1 << 10;
pub const ATTR_OUTPUT_VALUES: u32 = 2;
pub const ATTR_DEBOUNCE: u32 = 3;
pub const EVENT_RISING: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct GpioChipInfo {
    pub name: [u8; GPIO_NAME_BYTES],
    pub label: [u8; GPIO_NAME_BYTES],
    pub lines: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct GpioLineValues {
    pub bits: u64,
    pub mask: u64,
}

/// The union's largest member; `debounce_period_us` is its first half on little-endian machines.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct GpioLineAttribute {
    pub id: u32,
    pub padding: u32,
    pub value: AttributeValue,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union AttributeValue {
    pub flags: u64,
    pub values: u64,
    pub debounce_period_us: u32,
}

impl Default for AttributeValue {
    fn default() -> AttributeValue {
        AttributeValue { flags: 0 }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct GpioLineConfigAttribute {
    pub attr: GpioLineAttribute,
    pub mask: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct GpioLineConfig {
    pub flags: u64,
    pub num_attrs: u32,
    pub padding: [u32; 5],
    pub attrs: [GpioLineConfigAttribute; GPIO_ATTRS_MAX],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct GpioLineRequest {
    pub offsets: [u32; GPIO_LINES_MAX],
    pub consumer: [u8; GPIO_NAME_BYTES],
    pub config: GpioLineConfig,
    pub num_lines: u32,
    pub event_buffer_size: u32,
    pub padding: [u32; 5],
    pub fd: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct GpioLineInfo {
    pub name: [u8; GPIO_NAME_BYTES],
    pub consumer: [u8; GPIO_NAME_BYTES],
    pub offset: u32,
    pub num_attrs: u32,
    pub flags: u64,
    pub attrs: [GpioLineAttribute; GPIO_ATTRS_MAX],
    pub padding: [u32; 4],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct GpioLineEvent {
    pub timestamp_ns: u64,
    pub id: u32,
    pub offset: u32,
    pub seqno: u32,
    pub line_seqno: u32,
    pub padding: [u32; 6],
}

pub const I2C_RETRIES: libc::Ioctl = 0x0701;
pub const I2C_TIMEOUT: libc::Ioctl = 0x0702;
pub const I2C_SLAVE: libc::Ioctl = 0x0703;
pub const I2C_FUNCS: libc::Ioctl = 0x0705;
pub const I2C_RDWR: libc::Ioctl = 0x0707;
pub const I2C_SMBUS: libc::Ioctl = 0x0720;
pub const I2C_M_RD: u16 = 1;
pub const I2C_FUNC_I2C: u64 = 0x0000_0001;
pub const SMBUS_BLOCK_MAX: usize = 32;

#[repr(C)]
pub struct I2cMessage {
    pub addr: u16,
    pub flags: u16,
    pub len: u16,
    pub buf: *mut u8,
}

#[repr(C)]
pub struct I2cRdwrData {
    pub msgs: *mut I2cMessage,
    pub nmsgs: u32,
}

#[repr(C)]
pub struct SmbusData {
    pub read_write: u8,
    pub command: u8,
    pub size: u32,
    pub data: *mut SmbusBlock,
}

/// The union's largest member: length, up to 32 bytes, one to spare.
pub type SmbusBlock = [u8; SMBUS_BLOCK_MAX + 2];
pub const SMBUS_READ: u8 = 1;
pub const SMBUS_BYTE: u32 = 1;
pub const SMBUS_BYTE_DATA: u32 = 2;
pub const SMBUS_WORD_DATA: u32 = 3;
pub const SMBUS_I2C_BLOCK_DATA: u32 = 8;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct SpiTransfer {
    pub tx_buf: u64,
    pub rx_buf: u64,
    pub len: u32,
    pub speed_hz: u32,
    pub delay_usecs: u16,
    pub bits_per_word: u8,
    pub cs_change: u8,
    pub tx_nbits: u8,
    pub rx_nbits: u8,
    pub word_delay_usecs: u8,
    pub pad: u8,
}

pub const SPI_LSB_FIRST: u8 = 8;

const READ: u32 = 2;
const WRITE: u32 = 1;
/// asm-generic/ioctl.h, which all machines of ours use.
const fn request(direction: u32, group: u8, number: u8, bytes: usize) -> libc::Ioctl {
    (direction << 30 | (bytes as u32) << 16 | (group as u32) << 8 | number as u32) as libc::Ioctl
}

pub const GPIO_GET_CHIPINFO: libc::Ioctl = request(READ, 0xB4, 0x01, size_of::<GpioChipInfo>());
pub const GPIO_GET_LINEINFO: libc::Ioctl = request(READ | WRITE, 0xB4, 0x05, size_of::<GpioLineInfo>());
pub const GPIO_GET_LINE: libc::Ioctl = request(READ | WRITE, 0xB4, 0x07, size_of::<GpioLineRequest>());
pub const GPIO_SET_CONFIG: libc::Ioctl = request(READ | WRITE, 0xB4, 0x0D, size_of::<GpioLineConfig>());
pub const GPIO_GET_VALUES: libc::Ioctl = request(READ | WRITE, 0xB4, 0x0E, size_of::<GpioLineValues>());
pub const GPIO_SET_VALUES: libc::Ioctl = request(READ | WRITE, 0xB4, 0x0F, size_of::<GpioLineValues>());
pub const SPI_MESSAGE_OF_ONE: libc::Ioctl = request(WRITE, b'k', 0, size_of::<SpiTransfer>());
pub const SPI_MESSAGE_OF_TWO: libc::Ioctl = request(WRITE, b'k', 0, 2 * size_of::<SpiTransfer>());
pub const SPI_WR_MODE: libc::Ioctl = request(WRITE, b'k', 1, 1);
pub const SPI_WR_BITS_PER_WORD: libc::Ioctl = request(WRITE, b'k', 3, 1);
pub const SPI_WR_MAX_SPEED_HZ: libc::Ioctl = request(WRITE, b'k', 4, 4);

/// An ioctl on a structure.
///
/// # Safety
/// `T` must be what the request reads and writes, and pointers in it must be good for the call.
pub unsafe fn ioctl<T>(fd: RawFd, request: libc::Ioctl, argument: &mut T) -> io::Result<i32> {
    // SAFETY: the caller vouches for the structure, which lives through the call.
    let result = unsafe { libc::ioctl(fd, request, std::ptr::from_mut(argument)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// An ioctl with a number for an argument.
pub fn ioctl_number(fd: RawFd, request: libc::Ioctl, number: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the argument is a number; a request that is not known is an error, not undefined.
    let result = unsafe { libc::ioctl(fd, request, number) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A name of the kernel's: up to its NUL.
pub fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;
    use std::process::Command;

    const HEADERS: &str = "#include <stdio.h>\n#include <stddef.h>\n#include <linux/gpio.h>\n#include <linux/i2c.h>\n\
        #include <linux/i2c-dev.h>\n#include <linux/spi/spidev.h>\nint main(void) {\n";

    /// Each C expression beside what it is here.
    fn pairs() -> Vec<(&'static str, u64)> {
        macro_rules! size {
            ($c:literal, $ours:ty) => {
                (concat!("sizeof(", $c, ")"), size_of::<$ours>() as u64)
            };
        }
        macro_rules! place {
            ($c:literal, $field:literal, $ours:ty, $our_field:ident) => {
                (concat!("offsetof(", $c, ", ", $field, ")"), std::mem::offset_of!($ours, $our_field) as u64)
            };
        }
        let number = |request: libc::Ioctl| u64::from(request as u32);
        vec![
            size!("struct gpiochip_info", GpioChipInfo),
            size!("struct gpio_v2_line_values", GpioLineValues),
            size!("struct gpio_v2_line_attribute", GpioLineAttribute),
            size!("struct gpio_v2_line_config_attribute", GpioLineConfigAttribute),
            size!("struct gpio_v2_line_config", GpioLineConfig),
            size!("struct gpio_v2_line_request", GpioLineRequest),
            size!("struct gpio_v2_line_info", GpioLineInfo),
            size!("struct gpio_v2_line_event", GpioLineEvent),
            size!("struct i2c_msg", I2cMessage),
            size!("struct i2c_rdwr_ioctl_data", I2cRdwrData),
            size!("struct i2c_smbus_ioctl_data", SmbusData),
            size!("union i2c_smbus_data", SmbusBlock),
            size!("struct spi_ioc_transfer", SpiTransfer),
            place!("struct gpio_v2_line_request", "consumer", GpioLineRequest, consumer),
            place!("struct gpio_v2_line_request", "config", GpioLineRequest, config),
            place!("struct gpio_v2_line_request", "num_lines", GpioLineRequest, num_lines),
            place!("struct gpio_v2_line_request", "event_buffer_size", GpioLineRequest, event_buffer_size),
            place!("struct gpio_v2_line_request", "fd", GpioLineRequest, fd),
            place!("struct gpio_v2_line_config", "attrs", GpioLineConfig, attrs),
            place!("struct gpio_v2_line_attribute", "debounce_period_us", GpioLineAttribute, value),
            place!("struct gpio_v2_line_info", "consumer", GpioLineInfo, consumer),
            place!("struct gpio_v2_line_info", "offset", GpioLineInfo, offset),
            place!("struct gpio_v2_line_info", "flags", GpioLineInfo, flags),
            place!("struct gpio_v2_line_event", "id", GpioLineEvent, id),
            place!("struct gpio_v2_line_event", "offset", GpioLineEvent, offset),
            place!("struct gpio_v2_line_event", "line_seqno", GpioLineEvent, line_seqno),
            place!("struct i2c_msg", "buf", I2cMessage, buf),
            place!("struct i2c_smbus_ioctl_data", "size", SmbusData, size),
            place!("struct i2c_smbus_ioctl_data", "data", SmbusData, data),
            place!("struct spi_ioc_transfer", "len", SpiTransfer, len),
            place!("struct spi_ioc_transfer", "delay_usecs", SpiTransfer, delay_usecs),
            place!("struct spi_ioc_transfer", "cs_change", SpiTransfer, cs_change),
            ("GPIO_GET_CHIPINFO_IOCTL", number(GPIO_GET_CHIPINFO)),
            ("GPIO_V2_GET_LINEINFO_IOCTL", number(GPIO_GET_LINEINFO)),
            ("GPIO_V2_GET_LINE_IOCTL", number(GPIO_GET_LINE)),
            ("GPIO_V2_LINE_SET_CONFIG_IOCTL", number(GPIO_SET_CONFIG)),
            ("GPIO_V2_LINE_GET_VALUES_IOCTL", number(GPIO_GET_VALUES)),
            ("GPIO_V2_LINE_SET_VALUES_IOCTL", number(GPIO_SET_VALUES)),
            ("GPIO_V2_LINE_FLAG_USED", LINE_USED),
            ("GPIO_V2_LINE_FLAG_ACTIVE_LOW", LINE_ACTIVE_LOW),
            ("GPIO_V2_LINE_FLAG_INPUT", LINE_INPUT),
            ("GPIO_V2_LINE_FLAG_OUTPUT", LINE_OUTPUT),
            ("GPIO_V2_LINE_FLAG_EDGE_RISING", LINE_EDGE_RISING),
            ("GPIO_V2_LINE_FLAG_EDGE_FALLING", LINE_EDGE_FALLING),
            ("GPIO_V2_LINE_FLAG_OPEN_DRAIN", LINE_OPEN_DRAIN),
            ("GPIO_V2_LINE_FLAG_OPEN_SOURCE", LINE_OPEN_SOURCE),
            ("GPIO_V2_LINE_FLAG_BIAS_PULL_UP", LINE_PULL_UP),
            ("GPIO_V2_LINE_FLAG_BIAS_PULL_DOWN", LINE_PULL_DOWN),
            ("GPIO_V2_LINE_FLAG_BIAS_DISABLED", LINE_BIAS_DISABLED),
            ("GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES", u64::from(ATTR_OUTPUT_VALUES)),
            ("GPIO_V2_LINE_ATTR_ID_DEBOUNCE", u64::from(ATTR_DEBOUNCE)),
            ("GPIO_V2_LINE_EVENT_RISING_EDGE", u64::from(EVENT_RISING)),
            ("GPIO_V2_LINES_MAX", GPIO_LINES_MAX as u64),
            ("I2C_RETRIES", number(I2C_RETRIES)),
            ("I2C_TIMEOUT", number(I2C_TIMEOUT)),
            ("I2C_SLAVE", number(I2C_SLAVE)),
            ("I2C_FUNCS", number(I2C_FUNCS)),
            ("I2C_RDWR", number(I2C_RDWR)),
            ("I2C_SMBUS", number(I2C_SMBUS)),
            ("I2C_M_RD", u64::from(I2C_M_RD)),
            ("I2C_FUNC_I2C", I2C_FUNC_I2C),
            ("I2C_SMBUS_READ", u64::from(SMBUS_READ)),
            ("I2C_SMBUS_BYTE", u64::from(SMBUS_BYTE)),
            ("I2C_SMBUS_BYTE_DATA", u64::from(SMBUS_BYTE_DATA)),
            ("I2C_SMBUS_WORD_DATA", u64::from(SMBUS_WORD_DATA)),
            ("I2C_SMBUS_I2C_BLOCK_DATA", u64::from(SMBUS_I2C_BLOCK_DATA)),
            ("SPI_IOC_MESSAGE(1)", number(SPI_MESSAGE_OF_ONE)),
            ("SPI_IOC_MESSAGE(2)", number(SPI_MESSAGE_OF_TWO)),
            ("SPI_IOC_WR_MODE", number(SPI_WR_MODE)),
            ("SPI_IOC_WR_BITS_PER_WORD", number(SPI_WR_BITS_PER_WORD)),
            ("SPI_IOC_WR_MAX_SPEED_HZ", number(SPI_WR_MAX_SPEED_HZ)),
            ("SPI_LSB_FIRST", u64::from(SPI_LSB_FIRST)),
        ]
    }

    #[test]
    fn structures_and_numbers_are_those_of_the_machines_headers() {
        let dir = tempfile::TempDir::new().unwrap();
        let (source, program) = (dir.path().join("uapi.c"), dir.path().join("uapi"));
        let mut text = HEADERS.to_owned();
        for (expression, _) in pairs() {
            writeln!(text, "printf(\"%llu\\n\", (unsigned long long)({expression}));").unwrap();
        }
        std::fs::write(&source, text + "}\n").unwrap();
        let built = Command::new("cc").arg(&source).arg("-o").arg(&program).status().unwrap();
        assert!(built.success(), "the headers of the kernel are missing (linux-libc-dev)");
        let said = String::from_utf8(Command::new(program).output().unwrap().stdout).unwrap();
        let theirs: Vec<u64> = said.lines().map(|line| line.parse().unwrap()).collect();
        let ours = pairs();
        assert_eq!(theirs.len(), ours.len());
        for ((expression, ours), theirs) in ours.iter().zip(theirs) {
            assert_eq!(*ours, theirs, "{expression}");
        }
    }
}
