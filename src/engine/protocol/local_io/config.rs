//! Links to the machine's own inputs and outputs, and the addresses of their tags.
//!
//! | file | subject |
//! |---|---|
//! | `gpio` | lines of a GPIO chip |
//! | `registers` | registers on I2C and SPI |
//! | `known` | channels of known chips there |
//! | `chips` | what is known of those chips |
//! | `iio` | devices of the kernel's IIO, their buffers and channels |

pub mod chips;
mod gpio;
mod iio;
mod known;
mod point;
mod registers;
pub mod schema;

use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use self::schema::{GpioLink, I2cLink, IioLink, LocalIoTag, SpiLink};
use super::fields;
use super::model::{GpioPoint, LocalIoAddress, LocalIoConfig, LocalIoDevice, LocalIoPoint};
use crate::config::diagnostic::Report;
use crate::config::kind::{AskedWrite, Link, Protocol, ReadLink};
use crate::config::model::{FieldType, LinkSettings, TagAddress, TagConfig};
use crate::config::names::quoted;
use crate::config::reader::{Obj, Part, Text, nanos_of_millis};
use crate::limits::LOCAL_IO_OPEN_TIMEOUT;
use crate::tag::{Nanos, ScalarType, ValueType};

/// The machine's own inputs and outputs.
pub struct LocalIo;

impl Protocol for LocalIo {
    fn words(&self) -> &'static [&'static str] {
        &["gpio", "i2c", "spi", "iio"]
    }

    fn link_keys(&self, word: &str) -> &'static [&'static str] {
        match LocalIoKind::of(word) {
            LocalIoKind::Gpio => fields::GPIO_LINK_KEYS,
            LocalIoKind::I2c => fields::I2C_LINK_KEYS,
            LocalIoKind::Spi => fields::SPI_LINK_KEYS,
            LocalIoKind::Iio => fields::IIO_LINK_KEYS,
        }
    }

    fn tag_keys(&self) -> &'static [&'static str] {
        fields::LOCAL_TAG_KEYS
    }

    fn link_schemas(&self, generator: &mut SchemaGenerator) -> Vec<Schema> {
        vec![
            generator.subschema_for::<GpioLink>(),
            generator.subschema_for::<I2cLink>(),
            generator.subschema_for::<SpiLink>(),
            generator.subschema_for::<IioLink>(),
        ]
    }

    fn tag_schema(&self, generator: &mut SchemaGenerator) -> Option<String> {
        generator.subschema_for::<LocalIoTag>();
        Some(LocalIoTag::schema_name().into_owned())
    }

    fn read_link(&self, word: &str, link: &Obj<'_>) -> ReadLink {
        ReadLink::new(read_link(link, LocalIoKind::of(word)), ())
    }

    fn check_beside(&self, link: &Obj<'_>, own: &dyn LinkSettings, others: &[Link]) {
        if let Some(own) = own.get::<LocalIoConfig>() {
            check_device(link, &own.device, others);
        }
    }

    fn read_address(
        &self,
        tag: &Obj<'_>,
        text: Text<'_>,
        parts: &[Part<'_>],
        link: &Link,
    ) -> Option<Box<dyn TagAddress>> {
        Some(Box::new(read_address(tag, text, parts, link.config.protocol.get()?)?))
    }

    fn check_write(&self, address: &dyn TagAddress, asked: &AskedWrite<'_>) -> bool {
        let is_writable = address.get().is_none_or(LocalIoAddress::is_writable);
        if !is_writable {
            let help = "allowed: lines of \"direction\": \"out\"; registers on I2C as a whole, without shift and mask, on \
                        SPI with \"write_command\"; IIO channels out_…";
            asked.tag.error(asked.at, "write on a read-only tag", help);
        }
        is_writable
    }

    fn refuse_keys(&self, tag: &Obj<'_>, protocol: &str) {
        refuse_keys(tag, GPIO_KEYS.iter().chain(REGISTER_KEYS).copied(), protocol);
    }

    fn check(&self, tags: &[TagConfig], links: &mut [Link], report: &Report) {
        gpio::check_lines(tags, links, report);
        iio::check_buffers(tags, links, report);
    }
}

impl LinkSettings for LocalIoConfig {
    fn protocol(&self) -> &'static str {
        self.device.protocol()
    }

    fn patience(&self) -> Nanos {
        LOCAL_IO_OPEN_TIMEOUT
    }
}

impl TagAddress for LocalIoAddress {
    fn value_type(&self) -> ValueType {
        self.ty
    }

    fn no_transmitter(&self) -> Option<(&'static str, &'static str)> {
        let counts = matches!(&self.point, LocalIoPoint::Gpio(point) if point.counts);
        counts.then_some(("a count of edges", "remove it"))
    }

    fn no_nan(&self) -> Option<(&'static str, &'static str)> {
        Some(("allow_nan on a local bus", "remove it: NaN is never a value on a local bus"))
    }
}

/// Which of these links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LocalIoKind {
    Gpio,
    I2c,
    Spi,
    Iio,
}

impl LocalIoKind {
    fn of(word: &str) -> LocalIoKind {
        match word {
            "gpio" => LocalIoKind::Gpio,
            "i2c" => LocalIoKind::I2c,
            "spi" => LocalIoKind::Spi,
            _ => LocalIoKind::Iio,
        }
    }
}

/// Keys of tags that only such a link heeds, by its kind.
const GPIO_KEYS: &[&str] = &["direction", "bias", "drive", "active_low", "edge", "debounce_us", "initial"];
const REGISTER_KEYS: &[&str] = &["command", "delay_us", "at", "width", "shift", "mask", "chip", "write_command"];

fn read_link(link: &Obj<'_>, kind: LocalIoKind) -> LocalIoConfig {
    let device = match kind {
        LocalIoKind::Gpio => LocalIoDevice::Gpio { chip: read_path(link, "chip", "/dev/gpiochip0") },
        LocalIoKind::I2c => LocalIoDevice::I2c {
            bus: read_path(link, "bus", "/dev/i2c-1"),
            clock_hz: link.int(&fields::I2C_CLOCK_HZ) as u32,
        },
        LocalIoKind::Spi => {
            // Read for its range: words of another length than a byte are made of bytes.
            link.int(&fields::SPI_BITS);
            LocalIoDevice::Spi {
                device: read_path(link, "device", "/dev/spidev0.0"),
                mode: link.int(&fields::SPI_MODE) as u8,
                speed_hz: link.int(&fields::SPI_SPEED_HZ) as u32,
                lsb_first: link.flag("lsb_first"),
            }
        }
        LocalIoKind::Iio => iio::read_device(link),
    };
    let overhead = match kind {
        LocalIoKind::Gpio => &fields::GPIO_OVERHEAD_MS,
        LocalIoKind::I2c => &fields::I2C_OVERHEAD_MS,
        LocalIoKind::Spi => &fields::SPI_OVERHEAD_MS,
        LocalIoKind::Iio => &fields::IIO_OVERHEAD_MS,
    };
    let timeout = Nanos::from_millis(link.int(&fields::LOCAL_IO_TIMEOUT_MS));
    LocalIoConfig { device, timeout, overhead: nanos_of_millis(link.real(overhead)) }
}

fn read_path(link: &Obj<'_>, key: &str, example: &str) -> PathBuf {
    let allowed = format!("the path of a device, such as \"{example}\"");
    let Some(path) = link.required_text(key, &allowed) else { return PathBuf::new() };
    let fault = if !path.value.starts_with('/') {
        Some("is not an absolute path")
    } else if path.value.len() > fields::PORT_PATH_BYTES_MAX || path.value.contains('\0') {
        Some("is not a path")
    } else {
        None
    };
    if let Some(fault) = fault {
        link.error(path.span, format!("{key} {} {fault}", quoted(path.value)), format!("allowed: {allowed}"));
    }
    PathBuf::from(path.value)
}

/// Reads what follows the link's name. `None`: reported.
fn read_address(tag: &Obj<'_>, text: Text<'_>, parts: &[Part<'_>], link: &LocalIoConfig) -> Option<LocalIoAddress> {
    let foreign: &[&[&str]] = match link.device {
        LocalIoDevice::Gpio { .. } => &[REGISTER_KEYS],
        LocalIoDevice::I2c { .. } | LocalIoDevice::Spi { .. } => &[GPIO_KEYS],
        LocalIoDevice::Iio { .. } => &[GPIO_KEYS, REGISTER_KEYS],
    };
    let protocol = link.device.protocol();
    refuse_keys(tag, foreign.iter().copied().flatten().copied(), protocol);
    refuse_keys(tag, ["array"].into_iter(), protocol);
    if !matches!(link.device, LocalIoDevice::I2c { .. } | LocalIoDevice::Spi { .. }) {
        refuse_keys(tag, ["bit", "byte_order"].into_iter(), protocol);
    }
    let written = read_type(tag);
    let (point, ty) = match &link.device {
        LocalIoDevice::Gpio { .. } => gpio::read(tag, text, parts, written)?,
        LocalIoDevice::I2c { .. } => registers::read_i2c(tag, text, parts, written)?,
        LocalIoDevice::Spi { .. } => registers::read_spi(tag, text, parts, written)?,
        LocalIoDevice::Iio { buffer, .. } => iio::read(tag, text, parts, written, buffer.is_some())?,
    };
    if ty == ScalarType::Bool {
        for key in ["scale", "offset"].into_iter().filter(|key| tag.get(key).is_some()) {
            tag.error(tag.span_of(key), format!("{key} on a bool"), "remove it: only numbers are scaled");
        }
    }
    Some(LocalIoAddress { point, ty: ValueType::Scalar(ty) })
}

/// Keys that mean nothing on this kind of link are no slip of the pen to be passed over.
fn refuse_keys<'k>(tag: &Obj<'_>, keys: impl Iterator<Item = &'k str>, protocol: &str) {
    for key in keys.filter(|key| tag.get(key).is_some()) {
        tag.error(tag.span_of(key), format!("{key} on a link of protocol {protocol}"), "remove it");
    }
}

/// The written type; one that no such link has is reported.
fn read_type(tag: &Obj<'_>) -> Option<ScalarType> {
    let written = tag.choice("data_type", fields::DATA_TYPE)?;
    let scalar = match written {
        of_registers if of_registers.is_of_registers() => None,
        FieldType::Bit => Some(ScalarType::Bool),
        number => Some(number.scalar()),
    };
    if scalar.is_none() {
        let message = format!("data_type {} on a link of local inputs", fields::type_name(written));
        tag.error(tag.span_of("data_type"), message, "allowed: bool, or a type of integers or floats");
    }
    scalar
}

/// A number as people write it, decimal or with 0x.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()) => u64::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        None => None,
    }
}

impl LocalIoAddress {
    /// Whether a value can be written there.
    pub fn is_writable(&self) -> bool {
        match &self.point {
            LocalIoPoint::Gpio(GpioPoint { setting, counts, .. }) => setting.is_output && !counts,
            LocalIoPoint::Register { write, .. } => write.is_some(),
            LocalIoPoint::Iio { channel } => channel.starts_with("out_"),
        }
    }
}

/// A device has one thread: the second would never get it, or would break into what chips are told in several steps.
fn check_device(link: &Obj<'_>, device: &LocalIoDevice, others: &[Link]) {
    let Some(path) = device.path().filter(|path| !path.as_os_str().is_empty()) else { return };
    let is_same = |other: &LocalIoConfig| other.device.path() == Some(path);
    let same = others.iter().find(|other| other.config.protocol.get().is_some_and(is_same));
    if let Some(other) = same {
        let name = quoted(&path.to_string_lossy());
        let message = format!("{name} is also that of link {}", quoted(&other.config.name));
        link.error(link.span, message, "a device has one link; the address selects the chip or line");
    }
}
