//! The protocols that tag files can name.

use super::kind::Protocol;
use super::{bus, can, canopen, modbus};

const ALL: &[&dyn Protocol] = &[&modbus::Modbus, &can::Can, &canopen::CanOpen, &bus::LocalIo];

pub fn all() -> impl Iterator<Item = &'static dyn Protocol> {
    ALL.iter().copied()
}

/// Their words for `"protocol"`.
pub fn words() -> impl Iterator<Item = &'static str> {
    all().flat_map(|protocol| protocol.words()).copied()
}

/// The protocol with a word of its own, and the word.
pub fn find(text: &str) -> Option<(&'static dyn Protocol, &'static str)> {
    all().find_map(|protocol| Some((protocol, *protocol.words().iter().find(|word| **word == text)?)))
}

/// What stands for a link that does not say its protocol.
pub fn commonest() -> (&'static dyn Protocol, &'static str) {
    (&modbus::Modbus, "modbus_tcp")
}

/// All but one.
pub fn others(than: &dyn Protocol) -> impl Iterator<Item = &'static dyn Protocol> {
    let own = than.words();
    all().filter(move |protocol| protocol.words() != own)
}
