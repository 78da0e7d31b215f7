//! Whether the gateway does its work: conditions that its parts set and clear.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::limits::HEALTH_REASONS_MAX;
use crate::plan::Plan;
use crate::rt::{Counters, LinkState};

use super::Observed;

/// How bad a condition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing to do.
    Ok,
    /// A part of the work is not done: a device is silent, a broker is away.
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

/// What `/health` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// The worst that holds.
    pub status: Severity,
    /// The worst first.
    pub reasons: Vec<String>,
    pub links: LinksSummary,
}

impl HealthReport {
    /// The conditions of the parts, and the links that do not answer.
    pub fn of(observed: &Observed) -> HealthReport {
        let mut reasons: Vec<(Severity, String)> = observed
            .health
            .conditions()
            .into_iter()
            .filter(|(_, condition)| condition.severity != Severity::Ok)
            .map(|(part, condition)| (condition.severity, format!("{part}: {}", condition.text)))
            .collect();
        let plan = observed.plan();
        for (id, link) in plan.links.iter() {
            let state = observed.counters.link(id).state();
            if state != LinkState::Up {
                reasons.push((Severity::Degraded, format!("link {} is {}", link.name, state.name())));
            }
        }
        reasons.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
        let status = reasons.first().map_or(Severity::Ok, |(severity, _)| *severity);
        let more = reasons.len().saturating_sub(HEALTH_REASONS_MAX);
        let mut reasons: Vec<String> = reasons.into_iter().take(HEALTH_REASONS_MAX).map(|(_, text)| text).collect();
        if more > 0 {
            reasons.push(format!("and {more} more"));
        }
        HealthReport { status, reasons, links: LinksSummary::of(&plan, &observed.counters) }
    }
}
