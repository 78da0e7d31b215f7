//! What fuzzers feed: each function takes any bytes, must not panic, and must not grow without bound. `fuzz/` runs them
//! with cargo-fuzz, `tests/fuzz.rs` for a few seconds over the same corpora. Nothing here is for users.

/// A name, and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// By the name of its corpus and of its program under `fuzz/`.
pub const TARGETS: [Target; 16] = [
    ("tag_files", crate::config::fuzz::tag_files),
    ("toml", crate::config::fuzz::toml),
    ("dbc", crate::config::fuzz::dbc),
    ("eds", crate::config::fuzz::eds),
    ("encodings", crate::config::fuzz::encodings),
    ("modbus_tcp", crate::link::modbus::fuzz::tcp),
    ("modbus_rtu", crate::link::modbus::fuzz::rtu),
    ("modbus_ascii", crate::link::modbus::fuzz::ascii),
    ("can", crate::link::can::fuzz::frames),
    ("canopen", crate::link::canopen::fuzz::frames),
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
