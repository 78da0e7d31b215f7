//! The age of the fields of one message.

use crate::tag::Nanos;

/// What is known of the fields that come together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Case {
    pub seen: Nanos,
    pub age: Age,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Age {
    /// Nothing came yet.
    #[default]
    Never,
    New,
    /// Nothing newer came for longer than it may.
    Old,
    /// And that several times over.
    Lost,
}
