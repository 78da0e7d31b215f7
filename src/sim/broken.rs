//! Invariants that break: of which kind, and what is to be seen of it.

use std::any::Any;
use std::fmt;

/// Which promise it is that does not hold. The name is what a case file and a summary of many runs go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A run cannot begin: its configuration or its plan is refused.
    Unrunnable,
    Panic,
    /// Releases: their phase, their number, their time.
    Beat,
    /// A link whose device always answers in time missed a cycle, or told that it was not answered.
    SteadyLinkMissed,
    /// Units that answer are not read beside one that does not.
    NeighbourNotRead,
    /// A device is not read that does nothing worse than to close its connections, or to count its bytes wrongly.
    OddNotRead,
    /// A plan is taken up late, or ids, phases or executors change that must stay.
    Reload,
    /// An executor asks what it may not, or uses a connection as it may not.
    Misuse,
    /// Connections are left when all is over.
    Connections,
    WriteWithoutOrder,
    FrameWithoutOrder,
    WriteWithoutAnswer,
    /// As done, and it never was.
    WriteToldAsDone,
    /// As not sent, and the device has it.
    WriteToldAsNotSent,
    /// Another outcome that cannot be.
    WriteToldWrongly,
    SampleNeverGiven,
    SampleMisnamed,
    StatusWithoutCause,
    /// A tag stays without any.
    WithoutStatus,
    HeldWrongly,
    /// Image and samples differ.
    Image,
    ShownNeverGiven,
    TooOld,
    NotRecovered,
    Account,
    DroppedUncounted,
    Clock,
    Journal,
    /// Log lines are neither read nor told to be lost.
    Lines,
}

impl Kind {
    pub const ALL: [Kind; 29] = [
        Kind::Unrunnable,
        Kind::Panic,
        Kind::Beat,
        Kind::SteadyLinkMissed,
        Kind::NeighbourNotRead,
        Kind::OddNotRead,
        Kind::Reload,
        Kind::Misuse,
        Kind::Connections,
        Kind::WriteWithoutOrder,
        Kind::FrameWithoutOrder,
        Kind::WriteWithoutAnswer,
        Kind::WriteToldAsDone,
        Kind::WriteToldAsNotSent,
        Kind::WriteToldWrongly,
        Kind::SampleNeverGiven,
        Kind::SampleMisnamed,
        Kind::StatusWithoutCause,
        Kind::WithoutStatus,
        Kind::HeldWrongly,
        Kind::Image,
        Kind::ShownNeverGiven,
        Kind::TooOld,
        Kind::NotRecovered,
        Kind::Account,
        Kind::DroppedUncounted,
        Kind::Clock,
        Kind::Journal,
        Kind::Lines,
    ];

    pub fn says(self, what: impl Into<String>) -> Broken {
        Broken { kind: self, what: what.into() }
    }
}

impl fmt::Display for Kind {
    /// As it is written in the code, in small letters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, letter) in format!("{self:?}").chars().enumerate() {
            if letter.is_uppercase() && at > 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub kind: Kind,
    pub what: String,
}

impl Broken {
    /// Of what a panic carries.
    pub fn of_panic(panic: &(dyn Any + Send)) -> Broken {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Kind::Panic.says(text.unwrap_or("a panic without a text"))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Where all that can break is of one kind.
pub trait OfKind<T> {
    /// # Errors
    /// The same, with its kind.
    fn of(self, kind: Kind) -> Result<T, Broken>;
}

impl<T, S: Into<String>> OfKind<T> for Result<T, S> {
    fn of(self, kind: Kind) -> Result<T, Broken> {
        self.map_err(|what| kind.says(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let mut names: Vec<String> = Kind::ALL.iter().map(Kind::to_string).collect();
        assert_eq!(names[13], "write-told-as-not-sent");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
