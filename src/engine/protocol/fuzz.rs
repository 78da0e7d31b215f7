//! Any bytes as the files of a configuration.

use super::can::dbc::Dbc;
use super::canopen::eds::Eds;
use super::canopen::eds::pdo::PdoDirection;
use super::load_parts;
use crate::config::beside;
use crate::config::text::{File, decode};

const TOML: &str = "[gateway]\nid = \"line-4\"\n";

/// A tag file beside a right fieldbeat.toml.
pub fn tag_files(bytes: &[u8]) {
    if let Ok(text) = decode(bytes.to_vec()) {
        refused_in_words(load_parts(("fieldbeat.toml", TOML), &[("tags/a.json", &text)]));
    }
}

/// fieldbeat.toml beside an empty tag file.
pub fn toml(bytes: &[u8]) {
    if let Ok(text) = decode(bytes.to_vec()) {
        refused_in_words(load_parts(("fieldbeat.toml", &text), &[("tags/a.json", "{}")]));
    }
}

fn refused_in_words(loaded: Result<crate::config::Loaded, crate::config::Diagnostics>) {
    if let Err(diagnostics) = loaded {
        assert!(diagnostics.iter().count() > 0 && diagnostics.to_string().len() < 1 << 20);
    }
}

pub fn dbc(bytes: &[u8]) {
    let Ok(dbc) = Dbc::read(bytes) else { return };
    for message in &dbc.messages {
        let _ = dbc.message(&message.name);
        for signal in &message.signals {
            let _ = (message.switches_of(signal), message.signal(signal.written()));
        }
    }
}

pub fn eds(bytes: &[u8]) {
    let Ok(eds) = Eds::read(bytes) else { return };
    for direction in [PdoDirection::Transmit, PdoDirection::Receive] {
        let _ = eds.pdos(direction, 5);
    }
    for (object, _) in eds.objects() {
        let _ = (eds.number(object, 127), eds.why_left_out(object));
    }
}

pub fn encodings(bytes: &[u8]) {
    let lenient = beside::text_of(bytes);
    assert!(!lenient.contains('\r'));
    let _ = File::new("f", lenient).source(usize::MAX);
    match decode(bytes.to_vec()) {
        Ok(text) => {
            assert!(bytes.ends_with(text.as_bytes()));
            let _ = File::new("f", text).source(bytes.len() / 2);
        }
        Err(why) => assert!(!why.message.is_empty() && why.before.len() <= bytes.len()),
    }
}
