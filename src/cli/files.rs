//! Loading a configuration for a command: warnings shown, errors as exit code 2.

use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, Loaded};
use crate::protocol;

/// Where a configuration is looked for when none is named.
pub const CONFIG_DIR: &str = "/etc/fieldbeat";

/// Tags that are shown for a name that is none.
const NEAR_SHOWN_MAX: usize = 5;

/// `; there is: …`, with what a name that is no tag may have been meant for: slips of the pen, a part of a longer name, a
/// name with too much. Empty when there is nothing like it.
pub fn near<'n>(name: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    let slip = config::nearest(name, names.clone());
    let part = names.filter(|known| known.contains(name) || name.contains(known));
    let mut near: Vec<&str> = slip.into_iter().collect();
    near.extend(part.filter(|known| Some(*known) != slip).take(NEAR_SHOWN_MAX - near.len()));
    if near.is_empty() { String::new() } else { format!("; available: {}", near.join(", ")) }
}

/// `1 link`, `2 links`.
pub fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Loads `dir`, prints warnings, and says every error.
pub fn load(dir: &Path) -> Result<Loaded, ExitCode> {
    match protocol::load(dir) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                note!("{warning}");
            }
            Ok(loaded)
        }
        Err(diagnostics) => Err(super::fail(super::EXIT_CONFIG, diagnostics)),
    }
}
