//! Paths in the gateway's file.

use std::path::Path;

use super::names::quoted;
use super::reader::Obj;

/// Where relative paths start, and whether the files they name are looked at.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    pub dir: &'a Path,
    pub look_at_files: bool,
}

/// A path that is not empty.
pub fn path<'c>(section: &Obj<'c>, key: &str) -> Option<&'c str> {
    let text = section.text(key, "a path")?;
    if text.value.is_empty() || text.value.contains('\0') {
        section.error(text.span, format!("{key} is {}", quoted(text.value)), "allowed: a path");
        return None;
    }
    Some(text.value)
}
