//! Links to the machine's own inputs and outputs, and the addresses of their tags.

use super::model::{BusAddress, BusConfig, BusKind};
use super::reader::{Obj, Text};
use super::tags::Part;
use crate::limits::BUS_OPEN_TIMEOUT;

pub(super) fn read_link(link: &Obj<'_>, kind: BusKind) -> BusConfig {
    let key = match kind {
        BusKind::Gpio => "chip",
        BusKind::I2c => "bus",
        BusKind::Spi | BusKind::Iio => "device",
    };
    let device = link.required_text(key, "the path of a device");
    BusConfig {
        kind,
        device: device.map(|text| text.value).unwrap_or_default().into(),
        connect_timeout: BUS_OPEN_TIMEOUT,
    }
}

/// Reads what follows the link's name. `None`: reported.
pub(super) fn read_address(
    tag: &Obj<'_>,
    text: Text<'_>,
    _parts: &[Part<'_>],
    _link: &BusConfig,
) -> Option<BusAddress> {
    tag.error(text.span, "no such address", "");
    None
}
