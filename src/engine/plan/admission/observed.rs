//! Do devices answer as fast as was declared? What the reply times that were seen make of a link's load.

use super::super::demand::Finding;
use crate::plan::model::*;
use crate::tag::{LinkId, Nanos};

/// What the replies that were seen say against the declared time: `None` while it holds, or while the link has room
/// all the same. `p99`: the 99th percentile of received − sent.
pub fn observed(plan: &Plan, link: LinkId, p99: Nanos) -> Option<Finding> {
    plan.links.get(link)?.protocol.observed(plan, p99)
}
