//! `"groups"` of the tag files, and the groups that tags without one fall into.

use std::collections::HashMap;

use super::fields::{self, keys};
use super::links::{already, read_name};
use super::model::{GroupConfig, ReleaseMode};
use super::names::Letters;
use super::node::{Kind, Node};
use super::reader::{Cx, Obj, found, nanos_of_millis, subject};
use super::reporting::Said;
use crate::config::Pace;
use crate::limits::{GROUPS_MAX, PERIOD_MAX, PERIOD_MIN};
use crate::tag::Nanos;

/// What the group of tags that name none is called.
pub(super) const DEFAULT_GROUP: &str = "default";

/// The groups of all files.
#[derive(Default)]
pub struct Groups {
    pub list: Vec<GroupConfig>,
    /// What each says of its tags' samples.
    said: Vec<Said>,
    used: Vec<bool>,
    /// Those that were declared.
    by_name: HashMap<String, usize>,
    /// Groups of tags that name none, by period.
    by_period: HashMap<Nanos, usize>,
}

impl Groups {
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Of those that were declared.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let declared = |(at, group): &(usize, &GroupConfig)| self.by_name.get(&group.name) == Some(at);
        self.list.iter().enumerate().filter(declared).map(|(_, group)| &*group.name)
    }

    /// Declared groups that no tag is in.
    pub fn unused(&self) -> impl Iterator<Item = &GroupConfig> {
        self.list.iter().zip(&self.used).filter(|(_, used)| !**used).map(|(group, _)| group)
    }

    pub fn said(&self, index: usize) -> Said {
        self.said.get(index).copied().unwrap_or_default()
    }

    pub fn mark_used(&mut self, index: usize) {
        if let Some(used) = self.used.get_mut(index) {
            *used = true;
        }
    }

    /// Reads one entry of `"groups"`.
    pub fn read<'c>(&mut self, cx: Cx<'c>, node: &'c Node<'c>, index: usize) {
        let Some(group) = Obj::open(cx, node, subject("group", node, index), keys::GROUP) else { return };
        let name = read_name(&group, Letters::Ascii);
        let period = read_period(&group);
        if group.get("scan_rate_ms").is_none() {
            group.error(group.span, "scan_rate_ms is missing", RATE_ALLOWED);
        }
        let release = group.choice("release", fields::RELEASE).unwrap_or(ReleaseMode::Spread);
        group.words("description", fields::DESCRIPTION_BYTES_MAX);
        let said = Said::read(&group);
        said.check_silence(&group, period.unwrap_or(Nanos::ZERO));
        let Some(name) = name else { return };
        if let Some(first) = self.find(&name).and_then(|at| self.list.get(at)) {
            already(&group, &first.source);
            return;
        }
        // After a fault the name still counts, so that the group's tags are not reported as well.
        let period = period.unwrap_or(Nanos::ZERO);
        let config = GroupConfig { name, source: cx.source(group.span), pace: Pace::Every(period), release };
        match self.push(config, said) {
            Some(index) => {
                let name = self.list[index].name.clone();
                self.by_name.insert(name, index);
            }
            None => group.error(group.span, format!("more than {GROUPS_MAX} groups"), ""),
        }
    }

    fn push(&mut self, group: GroupConfig, said: Said) -> Option<usize> {
        let index = self.list.len();
        if index == GROUPS_MAX {
            return None;
        }
        self.list.push(group);
        self.said.push(said);
        self.used.push(false);
        Some(index)
    }

    /// The group of a tag that names none: [`DEFAULT_GROUP`], whatever its scan rate. Each rate is a group of the plan, and all
    /// of them have that name, so that topics, labels and choices stay when a rate changes. A declared group of that period
    /// is joined if it has that name, or the one that earlier versions gave by the rate: `10ms`.
    pub fn of_period(&mut self, tag: &Obj<'_>, period: Nanos) -> Option<usize> {
        if let Some(index) = self.by_period.get(&period) {
            return Some(*index);
        }
        let by_rate = format!("{}ms", period.0 as f64 / 1e6);
        let declared =
            |name: &str| self.find(name).filter(|at| self.list.get(*at).is_some_and(|g| g.interval() == period));
        let index = match declared(DEFAULT_GROUP).or_else(|| declared(&by_rate)) {
            Some(index) => index,
            None => {
                let source = tag.cx.source(tag.span_of("scan_rate_ms"));
                let (name, pace) = (DEFAULT_GROUP.into(), Pace::Every(period));
                let group = GroupConfig { name, source, pace, release: ReleaseMode::Spread };
                let pushed = self.push(group, Said::default());
                if pushed.is_none() {
                    let message = format!("more than {GROUPS_MAX} groups: each scan rate is one");
                    tag.error(tag.span_of("scan_rate_ms"), message, "use fewer different scan rates");
                }
                pushed?
            }
        };
        self.mark_used(index);
        self.by_period.insert(period, index);
        Some(index)
    }
}

const RATE_ALLOWED: &str = "allowed: a number from 1 to 86400000 ms (1000 Hz to once a day)";
const _: () = assert!(PERIOD_MIN.0 == 1_000_000 && PERIOD_MAX.0 == 86_400_000_000_000);

/// Reads `"scan_rate_ms"`, if it is there and right.
pub fn read_period(object: &Obj<'_>) -> Option<Nanos> {
    let node = object.get(fields::SCAN_RATE_MS.key)?;
    let ms = match node.kind {
        Kind::Int(number) => number as f64,
        Kind::Float(number) => number,
        _ => {
            object.error(node.span, format!("scan_rate_ms is {}", found(node)), RATE_ALLOWED);
            return None;
        }
    };
    if !(fields::SCAN_RATE_MS.min..=fields::SCAN_RATE_MS.max).contains(&ms) {
        let hertz = if ms > 0.0 && ms.is_finite() { format!(" ({} Hz)", hertz(ms)) } else { String::new() };
        object.error(node.span, format!("scan_rate_ms is {}{hertz}", found(node)), RATE_ALLOWED);
        return None;
    }
    Some(nanos_of_millis(ms))
}

/// A rate of `ms` milliseconds, to three places.
fn hertz(ms: f64) -> String {
    let hertz = 1000.0 / ms;
    if (0.001..1e6).contains(&hertz) { format!("{}", (hertz * 1e3).round() / 1e3) } else { format!("{hertz:.1e}") }
}
