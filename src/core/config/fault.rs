//! A fault at a place in a text.

/// A fault of a part of an address: what was found, what is allowed.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    pub message: String,
    pub help: String,
}
