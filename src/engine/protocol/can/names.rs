//! DBC files by whose names tags and messages are known.

use std::sync::Arc;

use super::dbc::Dbc;

/// A DBC file, under the name that messages give it.
#[derive(Debug, Clone)]
pub struct CanDbc {
    pub name: Arc<str>,
    pub dbc: Arc<Dbc>,
}

/// What a link's "dbc" came to.
#[derive(Debug, Clone)]
pub enum LinkDbc {
    None,
    /// It cannot be read, which is reported: nothing can be said of names.
    Broken,
    Read(CanDbc),
}
