//! Why a device could not be opened.

/// Why a device could not be opened.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Someone has it who may be about to leave.
    Busy(String),
    Other(String),
}
