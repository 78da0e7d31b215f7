//! A tag as one line of an answer: what it is, or what it holds.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use crate::command::json_of;
use crate::hub::clock_pair;
use crate::lane::Reading;
use crate::plan::{Plan, TagPlan};
use crate::rt::monotonic_now;
use crate::serve::{Observed, cause_of, newest, reason};
use crate::tag::{BatchSample, ClockPair, DictionaryTag, LinkId, Stamp, Status, TagId, Value, utc_text};

/// What a tag is.
#[derive(Serialize)]
pub(super) struct Described<'a> {
    tag: &'a str,
    link: &'a str,
    group: &'a str,
    r#type: String,
    unit: &'a str,
    writable: bool,
    description: &'a str,
}

pub(super) fn described<'a>(plan: &'a Plan, tag: &'a TagPlan) -> Described<'a> {
    Described {
        tag: &tag.name,
        link: plan.links.get(tag.link).map_or("", |link| &link.name),
        group: plan.groups.get(tag.group).map_or("", |group| &group.name),
        r#type: tag.ty.to_string(),
        unit: &tag.unit,
        writable: tag.write.is_some(),
        description: &tag.description,
    }
}

/// What a tag holds.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    /// `null`: it was never read.
    time: Option<String>,
    tag: &'a str,
    /// `null`: there is none.
    value: Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    unit: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// JSON has no word for what is no number.
fn json_of_any(value: Option<&Value>) -> Json {
    match value {
        None => Json::Null,
        Some(Value::Float32(value)) if !value.is_finite() => Json::from(value.to_string()),
        Some(Value::Float64(value)) if !value.is_finite() => Json::from(value.to_string()),
        Some(value) => json_of(value),
    }
}

/// The latest values out of the process image.
pub(super) struct Values<'a> {
    observed: &'a Observed,
    plan: &'a Plan,
    clock: ClockPair,
    troubles: BTreeMap<LinkId, String>,
}

impl<'a> Values<'a> {
    pub(super) fn new(observed: &'a Observed, plan: &'a Plan) -> Values<'a> {
        Values { observed, plan, clock: clock_pair(), troubles: (observed.link_troubles)() }
    }

    pub(super) fn row<'t>(&self, id: TagId, tag: &'t TagPlan) -> Row<'t> {
        let Observed { image, counters, .. } = self.observed;
        let (Reading { t, value: bits, status, .. }, value) = newest(image, id, tag.ty);
        let status = Status(status);
        let reason = (!status.is_good()).then(|| {
            let trouble = self.troubles.get(&tag.link).map(String::as_str);
            reason(status, cause_of(self.plan, image, counters, id, status), trouble)
        });
        let was_read = t != 0;
        let has_text = was_read && !tag.ty.is_long();
        Row {
            time: was_read.then(|| utc_text(Stamp(t).utc_ns(&self.clock))),
            tag: &tag.name,
            value: json_of_any(value.as_ref()),
            text: Some(bits).filter(|_| has_text).and_then(|bits| tag.texts.of(bits)),
            unit: &tag.unit,
            status: status.name(),
            age_ms: was_read.then(|| Stamp(t).age(monotonic_now(), &self.clock).0 as f64 / 1e6),
            reason,
        }
    }
}

/// A sample as it came.
pub(super) fn sampled<'a>(item: &BatchSample<'_>, tag: &'a DictionaryTag, clock: &ClockPair) -> Row<'a> {
    let has_text = !item.sample.has_no_value() && !item.sample.is_long();
    Row {
        time: Some(utc_text(item.sample.stamp().utc_ns(clock))),
        tag: &tag.name,
        value: json_of_any(item.value(tag.ty).as_ref()),
        text: Some(item.sample.value).filter(|_| has_text).and_then(|bits| tag.texts.of(bits)),
        unit: &tag.unit,
        status: item.sample.status().name(),
        age_ms: None,
        reason: None,
    }
}
