//! Files beside the tag files that links name: DBC, EDS, DCF.

use std::path::Path;

use super::files::{TAGS_DIR, read_side_file};
use super::names::quoted;
use super::reader::{Obj, Text};

/// What names of such files end in, in small letters.
pub(super) const ENDS: [&str; 3] = [".dbc", ".eds", ".dcf"];

/// Where they are looked for.
#[derive(Clone, Copy)]
pub(super) enum Beside<'a> {
    /// In `tags/` of this directory.
    Dir(&'a Path),
    /// Among these, each its name as messages give it, and its text.
    Parts(&'a [(&'a str, &'a str)]),
}

/// Such a file.
pub(super) struct SideFile {
    /// As messages give it: `tags/vehicle.dbc`.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Whether a name is that of a file that a link may name.
pub(super) fn is_one(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ENDS.iter().any(|end| name.ends_with(end))
}

/// Reads the file that the key's text names. `None`: reported.
pub(super) fn read(object: &Obj<'_>, key: &str, text: Text<'_>, ends: &[&str]) -> Option<SideFile> {
    let lower = text.value.to_ascii_lowercase();
    if text.value.contains(['/', '\0']) || !ends.iter().any(|end| lower.ends_with(end)) || lower.starts_with('.') {
        let message = format!("{key} is {}", quoted(text.value));
        let help = format!("allowed: the name of a file in {TAGS_DIR}/ that ends in {}", ends.join(" or "));
        object.error(text.span, message, help);
        return None;
    }
    let name = format!("{TAGS_DIR}/{}", text.value);
    let bytes = match object.cx.beside {
        Beside::Dir(dir) => read_side_file(&dir.join(&name)),
        Beside::Parts(parts) => match parts.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Ok(text.as_bytes().to_vec()),
            None => Err("there is no such file".to_owned()),
        },
    };
    match bytes {
        Ok(bytes) => Some(SideFile { name, bytes }),
        Err(message) => {
            object.error(text.span, format!("{name}: {message}"), "put it beside the tag files, or correct its name");
            None
        }
    }
}
