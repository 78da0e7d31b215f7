//! CAN links and the addresses of their tags.

use super::model::{CanAddress, CanConfig};
use super::reader::{Obj, Text};
use super::tags::Part;
use crate::limits::CAN_OPEN_TIMEOUT;

pub(super) fn read_link(link: &Obj<'_>) -> CanConfig {
    let interface = link.required_text("interface", "the name of a CAN interface, such as \"can0\"");
    CanConfig {
        interface: interface.map(|text| text.value).unwrap_or_default().into(),
        connect_timeout: CAN_OPEN_TIMEOUT,
    }
}

/// Reads what follows the link's name. `None`: reported.
pub(super) fn read_address(
    tag: &Obj<'_>,
    text: Text<'_>,
    _parts: &[Part<'_>],
    _link: &CanConfig,
) -> Option<CanAddress> {
    tag.error(text.span, "no such address", "");
    None
}
