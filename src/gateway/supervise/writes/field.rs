//! The interface of the write service to tags and executors.

use std::time::Duration;

use crate::command::{Reason, Refusal};
use crate::config::WriteConfig;
use crate::tag::{Nanos, Status, TagId, Value, ValueType};

/// A tag that someone wants to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub id: TagId,
    pub ty: ValueType,
    /// `None`: it may not be written.
    pub limits: Option<WriteConfig>,
}

/// The newest value of a tag.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// `None`: it was never read.
    pub value: Option<Value>,
    pub status: Status,
    /// CLOCK_MONOTONIC.
    pub at: Nanos,
}

/// How an order ended.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldAnswer {
    pub id: u64,
    /// Why it is not done: a word, and a sentence.
    pub failure: Option<(Reason, String)>,
    /// What is to be said though it is done.
    pub note: Option<String>,
    /// Whether the device may have taken the value though it is not known.
    pub is_unknown: bool,
    /// What the device holds, where that was read back.
    pub back: Option<Value>,
}

/// Tags by name, their newest values, and the way to their executors.
pub trait Field: Send {
    /// An order, ready but for its deadline.
    type Order: Send;

    /// CLOCK_MONOTONIC.
    fn now(&self) -> Nanos;

    /// Whether a new configuration is being adopted.
    fn is_changing(&self) -> bool;

    /// The tag of that name in the plan that runs.
    fn find(&mut self, tag: &str) -> Option<Target>;

    /// ` (did you mean "…"?)`, or nothing.
    fn guess(&mut self, tag: &str) -> String;

    fn newest(&self, tag: &Target) -> Reading;

    /// The value as it goes over the wire.
    ///
    /// # Errors
    /// The wire does not hold it.
    fn prepare(&mut self, id: u64, tag: &Target, value: &Value, read_back: bool) -> Result<Self::Order, Refusal>;

    /// Gives an order, to be answered within `timeout`.
    ///
    /// # Errors
    /// It is not given: its executor has too many.
    fn give(&mut self, order: Self::Order, timeout: Duration) -> Result<(), Refusal>;

    /// Nothing is to be done: what belongs to a plan of the past is let go.
    fn idle(&mut self);

    /// The answers since the last call; each order gets one.
    fn answers(&mut self) -> Vec<FieldAnswer>;
}
