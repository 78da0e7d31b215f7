//! Loading a configuration for a command: warnings shown, errors as exit code 2.

use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, Loaded};

/// Loads `dir`, prints warnings, and says every error.
pub fn load(dir: &Path) -> Result<Loaded, ExitCode> {
    match config::load(dir) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("{warning}");
            }
            Ok(loaded)
        }
        Err(diagnostics) => Err(super::fail(super::EXIT_CONFIG, diagnostics)),
    }
}
