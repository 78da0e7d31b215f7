//! `[control]`: the socket at which writes are asked for, and how many there may be.

use super::fields;
use super::model::ControlConfig;
use super::names::quoted;
use super::paths::{Base, path};
use super::reader::Obj;
use crate::limits::CONTROL_PATH_BYTES_MAX;

/// Beside the journal: each gateway has one of its own, which its user can write.
const SOCKET_NAME: &str = "control.sock";

pub fn read(section: Option<&Obj<'_>>, journal: &std::path::Path, base: Base<'_>) -> ControlConfig {
    let mut control = ControlConfig {
        socket: Some(journal.join(SOCKET_NAME)),
        group: None,
        writes_per_s: fields::MAX_WRITES_PER_S.default as u32,
    };
    let Some(section) = section else { return control };
    control.writes_per_s = section.int(&fields::MAX_WRITES_PER_S) as u32;
    let written = path(section, "socket");
    match written {
        None => {}
        Some("off") => control.socket = None,
        Some(written) => {
            let socket = base.dir.join(written);
            let bytes = socket.as_os_str().len();
            if bytes > CONTROL_PATH_BYTES_MAX {
                let message =
                    format!("the path of the socket, {}, has {bytes} bytes", quoted(&socket.to_string_lossy()));
                let help = format!("allowed: {CONTROL_PATH_BYTES_MAX}, the longest address of a Unix socket");
                section.error(section.span_of("socket"), message, help);
            }
            control.socket = Some(socket);
        }
    }
    if let Some(group) = section.text("group", "the name of a group of users") {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if group.value.is_empty() || group.value.len() > 32 || !group.value.chars().all(plain) {
            let help = "allowed: the name of a group of users of this machine";
            section.error(group.span, format!("group is {}", quoted(group.value)), help);
        }
        if written == Some("off") {
            section.error(group.span, "group without a socket", "remove it, or the line socket = \"off\"");
        }
        control.group = Some(group.value.to_owned());
    }
    control
}
