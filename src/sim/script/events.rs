//! Events, each with its time, and how a run takes them one after the other.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An executor's CPU stalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    pub executor: u16,
    pub at_ns: u64,
    pub length_ns: u64,
}

/// Every connection of an executor breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    pub executor: u16,
    pub at_ns: u64,
}

/// The consumer of batches takes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    pub from_ns: u64,
    pub until_ns: u64,
}

/// UTC jumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockStep {
    pub at_ns: u64,
    pub by_ns: i64,
}

/// The process with the journal dies, and comes again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    pub at_ns: u64,
}

/// Something befalls the journal's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalFault {
    pub at_ns: u64,
    pub what: JournalTrouble,
    /// What of the disk lasts, lasts so long.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub length_ns: u64,
    /// The details.
    pub draw: u64,
}

/// What befalls a journal's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalTrouble {
    /// While they are written: its file becomes shorter.
    Cut,
    /// Its file, its name or its directory goes, or another file gets its name.
    Removed,
    /// Bits of what is stored change.
    Flipped,
    /// Nothing can be written, for some time.
    Full,
    ReadOnly,
    /// The next commit is written in part.
    Short,
    /// The process dies, and comes again at once; meanwhile the file becomes shorter,
    RestCut,
    /// or goes,
    RestRemoved,
    /// or bits change anywhere in it,
    RestFlipped,
    /// or of a commit that was under way, a part is on the disk.
    RestTorn,
}

impl JournalTrouble {
    pub const ALL: [JournalTrouble; 10] = [
        JournalTrouble::Cut,
        JournalTrouble::Removed,
        JournalTrouble::Flipped,
        JournalTrouble::Full,
        JournalTrouble::ReadOnly,
        JournalTrouble::Short,
        JournalTrouble::RestCut,
        JournalTrouble::RestRemoved,
        JournalTrouble::RestFlipped,
        JournalTrouble::RestTorn,
    ];

    /// Whether it lasts.
    pub fn lasts(self) -> bool {
        matches!(self, JournalTrouble::Full | JournalTrouble::ReadOnly)
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// One write, or several at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    pub executor: u16,
    pub at_ns: u64,
    /// What is written, and by when: from this number, and for the n-th of several from the n-th number after it.
    pub draw: u64,
    /// How many; all at once.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub orders: u16,
    /// Of a plan without it, nothing is written; `None`: any tag, by the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

fn one() -> u16 {
    1
}

fn is_one(count: &u16) -> bool {
    *count == 1
}

/// Another configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagChange {
    /// After the one before was taken up by every executor, or refused.
    pub pause_ns: u64,
    /// The whole tag file.
    pub tags: Value,
}

/// An event with a time of its own.
pub trait Timed {
    fn at(&self) -> u64;
}

/// An event of one executor.
pub trait Executed: Timed {
    fn executor(&self) -> u16;
    fn executor_mut(&mut self) -> &mut u16;
}

macro_rules! timed {
    ($($event:ident $at:ident),*) => {
        $(impl Timed for $event {
            fn at(&self) -> u64 {
                self.$at
            }
        })*
    };
}

macro_rules! executed {
    ($($event:ident),*) => {
        $(impl Executed for $event {
            fn executor(&self) -> u16 {
                self.executor
            }
            fn executor_mut(&mut self) -> &mut u16 {
                &mut self.executor
            }
        })*
    };
}

timed!(Stall at_ns, Storm at_ns, Span from_ns, ClockStep at_ns, Crash at_ns, JournalFault at_ns, Write at_ns);
executed!(Stall, Storm, Write);

/// Events of one kind in the order of their times: made as they come due, so that a long run holds no long list.
pub struct Series<T> {
    next: Option<T>,
    next_at: u64,
    rest: Box<dyn Iterator<Item = T>>,
}

impl<T: Timed> Series<T> {
    pub fn new(mut events: impl Iterator<Item = T> + 'static) -> Series<T> {
        let next = events.next();
        Series { next_at: next.as_ref().map_or(u64::MAX, T::at), next, rest: Box::new(events) }
    }

    pub fn none() -> Series<T>
    where
        T: 'static,
    {
        Series::new(std::iter::empty())
    }

    /// When the next one comes; never: `u64::MAX`.
    pub fn next_at(&self) -> u64 {
        self.next_at
    }

    /// The next one, without taking it.
    pub fn next(&self) -> Option<&T> {
        self.next.as_ref()
    }

    /// Takes the next one, if its time has come.
    pub fn due(&mut self, now: u64) -> Option<T> {
        if now < self.next_at {
            return None;
        }
        let due = std::mem::replace(&mut self.next, self.rest.next());
        self.next_at = self.next.as_ref().map_or(u64::MAX, T::at);
        due
    }
}
