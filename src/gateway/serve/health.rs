//! Health of the gateway: conditions that its parts set and clear.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::lane::{Counters, LinkState};
use crate::limits::{FIRST_VALUE_PATIENCE, HEALTH_REASONS_MAX, HEALTH_TAGS_MAX};
use crate::plan::Plan;

use super::{Observed, TagCounts, TagTrouble, Tags, reason};

/// How bad a condition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing to do.
    Ok,
    /// A part of the work is not done: a device is silent, a tag is bad, a broker is away.
    Degraded,
    /// The work itself is in danger: the journal cannot store, an executor stands still.
    Failed,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub severity: Severity,
    /// What happened and what to do, for a person.
    pub text: String,
}

/// The conditions that hold now, each under the name of the part that set it.
#[derive(Debug, Default)]
pub struct Health {
    conditions: Mutex<BTreeMap<String, Condition>>,
}

impl Health {
    /// Sets a part's condition, in place of the one it had.
    pub fn set(&self, part: &str, severity: Severity, text: impl Into<String>) {
        self.lock().insert(part.into(), Condition { severity, text: text.into() });
    }

    /// The part is as it should be.
    pub fn clear(&self, part: &str) {
        self.lock().remove(part);
    }

    /// Every condition that holds now, by part.
    pub fn conditions(&self) -> BTreeMap<String, Condition> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Condition>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many links are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct LinksSummary {
    pub total: usize,
    pub up: usize,
    pub down: usize,
    pub silent: usize,
}

impl LinksSummary {
    pub(super) fn of(plan: &Plan, counters: &Counters) -> LinksSummary {
        let mut summary = LinksSummary { total: plan.links.len(), ..LinksSummary::default() };
        for link in plan.links.ids() {
            match counters.link(link).state() {
                LinkState::Up => summary.up += 1,
                LinkState::Down => summary.down += 1,
                LinkState::Silent | LinkState::BusOff => summary.silent += 1,
            }
        }
        summary
    }
}

/// A tag that is bad, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadTag {
    pub tag: String,
    pub status: &'static str,
    pub reason: String,
}

/// What `/health` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// The worst that holds.
    pub status: Severity,
    /// The worst first.
    pub reasons: Vec<String>,
    pub links: LinksSummary,
    pub tags: TagCounts,
    /// The first ones, each with its reason.
    pub bad_tags: Vec<BadTag>,
}

impl HealthReport {
    /// The conditions of the parts, the links that do not answer, and the tags that are bad.
    pub fn of(observed: &Observed) -> HealthReport {
        let mut reasons: Vec<(Severity, String)> = observed
            .health
            .conditions()
            .into_iter()
            .filter(|(_, condition)| condition.severity != Severity::Ok)
            .map(|(part, condition)| (condition.severity, format!("{part}: {}", condition.text)))
            .collect();
        let plan = observed.plan();
        let troubles = (observed.link_troubles)();
        for (id, link) in plan.links.iter() {
            let state = observed.counters.link(id).state();
            if state != LinkState::Up {
                let why = troubles.get(&id).map_or(String::new(), |trouble| format!(": {trouble}"));
                reasons.push((Severity::Degraded, format!("link {} is {}{why}", link.name, state.name())));
            }
        }
        let tags = Tags::look(&plan, &observed.image, &observed.counters, FIRST_VALUE_PATIENCE);
        let named = |bad: &&TagTrouble| BadTag {
            tag: plan.tags.get(bad.tag).map_or(String::new(), |tag| tag.name.to_string()),
            status: bad.status.name(),
            reason: reason(bad.status, bad.cause, troubles.get(&bad.link).map(String::as_str)),
        };
        let bad_tags: Vec<BadTag> = tags.bad().take(HEALTH_TAGS_MAX).map(|bad| named(&bad)).collect();
        // What a device has no value for is bad, and no fault.
        let at_fault = || tags.bad().filter(|bad| bad.cause.is_none_or(|cause| !cause.is_no_trouble()));
        if let Some(first) = at_fault().next() {
            let BadTag { tag, reason, .. } = named(&first);
            let text =
                format!("{} of {} tags are bad, such as \"{tag}\": {reason}", at_fault().count(), plan.tags.len());
            reasons.push((Severity::Degraded, text));
        }
        reasons.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
        let status = reasons.first().map_or(Severity::Ok, |(severity, _)| *severity);
        let more = reasons.len().saturating_sub(HEALTH_REASONS_MAX);
        let mut reasons: Vec<String> = reasons.into_iter().take(HEALTH_REASONS_MAX).map(|(_, text)| text).collect();
        if more > 0 {
            reasons.push(format!("and {more} more"));
        }
        let links = LinksSummary::of(&plan, &observed.counters);
        HealthReport { status, reasons, links, tags: tags.counts(), bad_tags }
    }
}
