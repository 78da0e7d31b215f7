//! Do devices answer as fast as was declared? What the reply times that were seen make of a link's load.

use super::{LOAD_MAX, LOAD_WARNING};
use crate::plan::model::*;
use crate::tag::{LinkId, Nanos};

/// The declared reply time of a link is too short for what its device does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    pub declared: Nanos,
    /// The 99th percentile of what was seen.
    pub seen: Nanos,
    /// The link's load with it.
    pub load: f64,
    /// It does not fit: deadlines are missed. Else it is only tight.
    pub is_over: bool,
}

impl Finding {
    /// `None`: the link has room all the same.
    pub fn of(declared: Nanos, seen: Nanos, load: f64) -> Option<Finding> {
        (seen > declared && load > LOAD_WARNING).then_some(Finding { declared, seen, load, is_over: load > LOAD_MAX })
    }
}

/// What the replies that were seen say against the declared time: `None` while it holds, or while the link has room
/// all the same. `p99`: the 99th percentile of received − sent.
pub fn observed(plan: &Plan, link: LinkId, p99: Nanos) -> Option<Finding> {
    plan.links.get(link)?.protocol.observed(plan, p99)
}
