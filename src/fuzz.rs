//! Entry points of the fuzzers: each function accepts any bytes, must not panic or grow without bound. `fuzz/` runs
//! them with cargo-fuzz, `tests/fuzz.rs` for a few seconds over the same corpora. Nothing here is for users.

/// A name, and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// By the name of its corpus and of its program under `fuzz/`.
pub const TARGETS: [Target; 16] = [
    ("tag_files", crate::protocol::fuzz::tag_files),
    ("toml", crate::protocol::fuzz::toml),
    ("dbc", crate::protocol::fuzz::dbc),
    ("eds", crate::protocol::fuzz::eds),
    ("encodings", crate::protocol::fuzz::encodings),
    ("modbus_tcp", crate::protocol::modbus::link::fuzz::tcp),
    ("modbus_rtu", crate::protocol::modbus::link::fuzz::rtu),
    ("modbus_ascii", crate::protocol::modbus::link::fuzz::ascii),
    ("can", crate::protocol::can::link::fuzz::frames),
    ("canopen", crate::protocol::canopen::link::fuzz::frames),
    ("mqtt_commands", crate::output::mqtt::fuzz::commands),
    ("influx_answers", crate::output::influx::fuzz::answers),
    ("control", crate::serve::fuzz::control),
    ("http", crate::serve::fuzz::requests),
    ("journal_blocks", crate::store::fuzz::blocks),
    ("dictionaries", crate::store::fuzz::dictionaries),
];

/// Feeds one of [`TARGETS`].
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("no target {name}")).1(bytes);
}
