//! What the work of a link has to answer, whatever its protocol.
//!
//! A protocol's own plan implements [`LinkWork`]; all that is shared (ids, phases, admission, change of plan) asks it here,
//! and knows no protocol.

use std::any::Any;
use std::fmt::Debug;

use super::admission::{Costs, Finding, LinkDemand, WriteWay};
use super::model::*;
use super::place::Place;
use crate::config::{LinkConfig, TagConfig};
use crate::plan::Scanning;
use crate::tag::{ById, GroupId, Nanos, TagId, kept};

/// Plans the work of one link: which of the protocols does it, the caller knows.
pub type PlanLink = fn(&LinkConfig, &[(TagId, &TagConfig)], &mut Scanning<'_>) -> Box<dyn LinkWork>;

/// The work of one link: what is asked of its device, and how values are made of the answers.
pub trait LinkWork: Any + Debug + Send + Sync + KeptWork {
    /// The family of protocols.
    fn name(&self) -> &'static str;

    /// How many things its link keeps a state of: a measure of what a change of plan takes.
    fn parts(&self) -> usize;

    /// Which source serves it; `None`: an executor does.
    fn source(&self) -> Option<SourceKind> {
        None
    }

    /// Whether the same connection serves both.
    fn same_target(&self, other: &dyn LinkWork) -> bool;

    /// Where its device is reached, and how long an attempt may take for each address that the host has. `None`: there is
    /// nothing to connect to.
    fn place(&self) -> Option<(Place, Nanos)> {
        None
    }

    /// Slots of the ring that it fills in a second when all goes well.
    fn slots_per_s(&self, groups: &ById<GroupId, GroupPlan>) -> u64;

    /// What the link is asked, and what that takes of it and of its executor; `scans` are the link's.
    fn demand(&self, plan: &Plan, scans: &[ScanId], costs: &Costs) -> LinkDemand;

    /// How each tag that may be written is written. Empty: nothing may be, or it costs the link nothing that is not
    /// reckoned already.
    fn write_ways(&self, _plan: &Plan) -> Vec<WriteWay> {
        Vec::new()
    }

    /// How long nothing is asked for after a connection is made.
    fn connect_delay(&self) -> Nanos {
        Nanos::ZERO
    }

    /// The unit or node that each tag is read of, where there are such.
    fn units(&self) -> Vec<(TagId, u8)> {
        Vec::new()
    }

    /// Its devices speak by themselves: a tag waits for its message, however well the connection is.
    fn listens(&self) -> bool {
        false
    }

    /// It is on a CAN bus, whose controller counts errors.
    fn is_on_can(&self) -> bool {
        false
    }

    /// The key by which people declare how long its device takes, and what helps to find that out.
    fn reply_key(&self) -> &'static str {
        "expected_reply_ms (`fieldbeat check --learn` shows it)"
    }

    /// Why nothing confirms a write that it has sent.
    fn unconfirmed(&self) -> &'static str {
        "sent to all devices of the line, which confirm nothing"
    }

    /// What to say of a link that does not fit.
    fn refusal(&self, demand: &LinkDemand) -> Refusal;

    /// What the times of its replies say against what was declared: `None` while that holds, or while there is room all
    /// the same. `p99`: the 99th percentile of received − sent.
    fn observed(&self, _plan: &Plan, _p99: Nanos) -> Option<Finding> {
        None
    }
}

kept!(LinkWork, KeptWork);

/// What a refusal of a link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The bus is full whatever is asked for: what is to be said behind the link's name.
    Full(String),
    /// The group with the most requests has to give way.
    Requests {
        /// Behind the time that one request takes: on what, or how many at once.
        each: String,
        /// What helps beside other rates, and what to set if the device is faster than was declared.
        helps: &'static str,
        or_correct: &'static str,
    },
}
