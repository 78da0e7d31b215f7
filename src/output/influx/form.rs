//! Samples as points: one line each, all lanes and groups in one request.
//!
//! - A sample that was read and whose status is not bad: value and status at its own time.
//! - One whose status is bad, or whose value has no form in line protocol: the status alone at its own time. A value that is
//!   not to be used must not end up in somebody's mean.
//! - A held one: the status alone, at the time at which it changed ([`super::held`]).
//! - One that was never read: the status alone, at the time of the status.
//! - An array: a field for each element, `value[0]`, `value[1]`, …

use std::collections::HashMap;
use std::sync::Arc;

use super::held;
use super::line::{self, NUMBER_BYTES_MAX, Unsigned};
use crate::config::{InfluxApi, InfluxConfig};
use crate::engine::{Form, Head, Key, UNKNOWN_LINK};
use crate::store::Block;
use crate::tag::{
    BatchSample, ClockPair, Dictionary, GroupId, LaneId, Sample, ScalarType, Stamp, TagId, ValueType, flags,
};

#[derive(Debug)]
pub(super) struct InfluxForm {
    measurement: String,
    tag_set: Vec<(String, String)>,
    field: String,
    status_field: String,
    unit: u64,
    unsigned: Unsigned,
    /// Where the names of a block say none.
    gateway: String,
}

/// The lines of one request.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) body: Vec<u8>,
    /// Where each line ends, its line feed included.
    pub(super) ends: Vec<u32>,
    /// Values that have no form.
    pub(super) untold: u64,
}

/// What is written of one tag of one group before its value.
#[derive(Debug)]
struct Point {
    group: u16,
    /// `measurement,tag=value ` with the space.
    series: Box<[u8]>,
    /// Escaped, without the equals sign.
    field: Box<[u8]>,
    status: Box<[u8]>,
}

#[derive(Debug)]
pub(super) struct Names {
    dictionary: Arc<Dictionary>,
    /// By tag; made when the tag comes first.
    points: Vec<Option<Point>>,
    /// Of the block that is being written.
    held: HashMap<u64, Stamp>,
    bytes: Vec<u8>,
}

impl InfluxForm {
    pub(super) fn new(config: &InfluxConfig, gateway: &str) -> InfluxForm {
        InfluxForm {
            measurement: config.measurement.clone(),
            tag_set: config.tag_set.clone(),
            field: config.field.clone(),
            status_field: config.status_field.clone(),
            unit: config.precision.nanos(),
            unsigned: match config.api {
                InfluxApi::V1 { .. } => Unsigned::Signed,
                InfluxApi::V2 { .. } => Unsigned::Own,
            },
            gateway: gateway.to_owned(),
        }
    }

    fn point(&self, dictionary: &Dictionary, tag: u32, group: u16) -> Point {
        let gateway = if dictionary.gateway.is_empty() { &self.gateway } else { &dictionary.gateway };
        let named = dictionary.tag(TagId(tag));
        let link = named.map(|tag| &*tag.link).filter(|link| !link.is_empty()).unwrap_or(UNKNOWN_LINK);
        let tag = named.map_or_else(|| format!("#{tag}"), |tag| tag.name.clone());
        let group_name = dictionary.group(GroupId(group)).map_or_else(|| format!("group-{group}"), str::to_owned);
        let filled = |template: &str| {
            let filled = template.replace("{gateway}", gateway).replace("{group}", &group_name);
            filled.replace("{link}", link).replace("{tag}", &tag)
        };
        let field = |template| {
            let mut out = Vec::new();
            line::key(&mut out, &filled(template));
            out.into_boxed_slice()
        };
        let mut series = Vec::new();
        line::measurement(&mut series, &filled(&self.measurement));
        for (key, value) in &self.tag_set {
            series.push(b',');
            line::key(&mut series, key);
            series.push(b'=');
            line::key(&mut series, &filled(value));
        }
        series.push(b' ');
        Point { group, series: series.into(), field: field(&self.field), status: field(&self.status_field) }
    }

    /// The value of a sample as fields, with a comma behind. Whether it has a form.
    fn value(&self, out: &mut Vec<u8>, field: &[u8], bytes: &mut Vec<u8>, item: &BatchSample<'_>) -> bool {
        let sample = item.sample;
        if !sample.is_long() {
            out.extend_from_slice(field);
            out.push(b'=');
            let told = line::scalar(out, ScalarType::from_code(sample.ty), sample.value, self.unsigned);
            out.push(b',');
            return told;
        }
        bytes.clear();
        item.payload_into(bytes);
        if sample.ty == ValueType::TEXT_CODE {
            out.extend_from_slice(field);
            out.push(b'=');
            line::string(out, bytes);
            out.push(b',');
            return true;
        }
        let of = ScalarType::from_code(sample.ty & !ValueType::ARRAY_CODE);
        let mut all = true;
        for (i, element) in bytes.chunks_exact(8).enumerate() {
            let before = out.len();
            out.extend_from_slice(field);
            out.push(b'[');
            line::integer(out, i);
            out.extend_from_slice(b"]=");
            let mut word = [0u8; 8];
            word.copy_from_slice(element);
            if line::scalar(out, of, u64::from_le_bytes(word), self.unsigned) {
                out.push(b',');
            } else {
                out.truncate(before);
                all = false;
            }
        }
        all
    }
}

impl Form for InfluxForm {
    type Names = Names;
    type Draft = Lines;
    type Message = Lines;

    fn names(&self, dictionary: &Arc<Dictionary>) -> Names {
        let points = dictionary.tags.iter().map(|_| None).collect();
        Names { dictionary: dictionary.clone(), points, held: HashMap::new(), bytes: Vec::new() }
    }

    fn sibling(&self, names: &Names) -> Names {
        self.names(&names.dictionary)
    }

    fn begin_block(&self, names: &mut Names, block: &Block) {
        names.held = held::times(&block.batch, self.unit);
    }

    fn key(&self, _: &Names, _: LaneId, _: &Sample) -> Key {
        (LaneId(0), 0)
    }

    fn begin(&self, head: &Head<'_>, _: &Names, _: &Sample) -> Lines {
        Lines { body: Vec::with_capacity(head.bytes), ..Lines::default() }
    }

    fn bytes(&self, draft: &Lines) -> usize {
        draft.body.len()
    }

    fn bytes_of(&self, names: &Names, item: &BatchSample<'_>) -> usize {
        let point = names.points.get(item.sample.tag as usize).and_then(Option::as_ref);
        // A name is not written yet: each of its bytes may be escaped.
        let unknown = || {
            let texts = self.tag_set.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>();
            let own = self.measurement.len() + self.field.len() + self.status_field.len() + texts;
            (own + 4 * (3 + self.tag_set.len()) * crate::limits::NAME_BYTES_MAX) * 2
        };
        let (series, field) = point.map_or_else(
            || (unknown(), unknown()),
            |point| (point.series.len() + point.status.len(), point.field.len()),
        );
        let elements = if item.sample.ty & ValueType::ARRAY_CODE != 0 { item.payload.len() * 4 } else { 1 };
        // Of text, each byte may be escaped, or become a U+FFFD.
        let text = item.payload.len() * crate::tag::Sample::PAYLOAD_BYTES * 3;
        series + elements * (field + 2 * NUMBER_BYTES_MAX) + text + 3 * NUMBER_BYTES_MAX
    }

    fn push(&self, draft: &mut Lines, names: &mut Names, item: &BatchSample<'_>, clock: &ClockPair) {
        let sample = item.sample;
        let Names { dictionary, points, held, bytes } = names;
        let made_up;
        let point = match points.get_mut(sample.tag as usize) {
            Some(Some(point)) if point.group == sample.group => &*point,
            Some(slot) => slot.insert(self.point(dictionary, sample.tag, sample.group)),
            None => {
                made_up = self.point(dictionary, sample.tag, sample.group);
                &made_up
            }
        };
        let out = &mut draft.body;
        out.extend_from_slice(&point.series);
        let is_read = sample.flags & (flags::HELD | flags::NO_VALUE) == 0;
        if is_read && !sample.status().is_bad() {
            let before = out.len();
            if !self.value(out, &point.field, bytes, item) {
                draft.untold += 1;
                if !sample.is_long() {
                    out.truncate(before);
                }
            }
        }
        out.extend_from_slice(&point.status);
        out.push(b'=');
        line::status(out, sample.status());
        out.push(b' ');
        let t = held.get(&item.sequence).copied().unwrap_or(sample.stamp());
        line::integer(out, t.utc_ns(clock).div_euclid(self.unit as i64));
        out.push(b'\n');
        draft.ends.push(u32::try_from(out.len()).unwrap_or(u32::MAX));
    }

    fn close(&self, draft: Lines) -> Lines {
        draft
    }
}

#[cfg(test)]
mod tests;
