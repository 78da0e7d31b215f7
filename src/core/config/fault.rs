//! A fault of a part of a text that is read.

/// A fault of a part of an address: what was found, what is allowed.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    pub message: String,
    pub help: String,
}
