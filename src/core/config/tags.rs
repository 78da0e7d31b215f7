//! `"tags"` of the tag files.

use std::collections::HashMap;

use super::decoding::{self, Scaled};
use super::groups::{DEFAULT_GROUP, Groups, read_period};
use super::kind::{Link, Protocols};
use super::links::{Links, already, read_name};
use super::model::{DecodingConfig, TagAddress, TagConfig};
use super::names::{Letters, guess, quoted};
use super::node::Node;
use super::reader::{Cx, Obj, Text, subject};
use super::reporting::{self, Said};
use super::text::{File, Span};
use super::{fields, sensor, value_texts, write};
use crate::config::reader::{Part, span};
use crate::limits::TAGS_MAX;
use crate::tag::{Nanos, ScalarType};

/// The tags of all files.
pub struct Tags<'c> {
    /// All that any tag may have.
    keys: Vec<&'static str>,
    pub list: Vec<TagConfig>,
    /// Entries seen, right or wrong.
    pub seen: usize,
    /// Those that another tag scales.
    pub scaled: Vec<Scaled>,
    /// Where each name was given first.
    names: HashMap<&'c str, (&'c File, Span)>,
}

/// What tags refer to.
pub struct Known<'k> {
    pub links: &'k mut Links,
    pub groups: &'k mut Groups,
    /// A file could not be read: a link or group that is not known may be declared in it.
    pub incomplete: bool,
}

impl<'c> Tags<'c> {
    pub fn new(protocols: Protocols) -> Tags<'c> {
        let (list, scaled, names) = (Vec::new(), Vec::new(), HashMap::new());
        Tags { keys: protocols.tag_keys(), list, seen: 0, scaled, names }
    }

    /// Reads one entry of `"tags"`.
    pub fn read(&mut self, cx: Cx<'c>, node: &'c Node<'c>, index: usize, known: &mut Known<'_>) {
        self.seen += 1;
        if self.seen > TAGS_MAX {
            if self.seen == TAGS_MAX + 1 {
                let help = "split them over several gateways";
                cx.report.error(cx.source(node.span), "", format!("more than {TAGS_MAX} tags"), help);
            }
            return;
        }
        let is_told = of_its_link(known.links.protocols, node, known.links);
        let Some(tag) = Obj::open_told(cx, node, subject("tag", node, index), &self.keys, is_told) else { return };
        let name = read_name(&tag, Letters::Any);
        if let Some(name) = node.member("name").and_then(Node::as_text)
            && let Some((file, span)) = self.names.insert(name, (cx.file, tag.span))
        {
            already(&tag, &file.source(span.start));
            self.names.insert(name, (file, span));
        }
        let located = read_address(&tag, known);
        let group = read_group(&tag, known);
        let numeric = is_numeric(&tag);
        let sensor = sensor::read(&tag, located.as_ref().map(|(_, address)| &**address));
        let written = (read_factor(&tag, "scale", 1.0, numeric), read_factor(&tag, "offset", 0.0, numeric));
        let (scale, offset) = sensor.map_or(written, |sensor| sensor.scale_and_offset());
        let mut unit = tag.words("unit", fields::UNIT_TEXT_BYTES_MAX);
        if let Some((_, address)) = &located
            && let Some(of_file) = address.unit_of_file()
            && tag.get("unit").is_none()
            // What a transmitter's signal means has another unit than the signal.
            && sensor.is_none()
        {
            unit = unit_of_file(of_file);
        }
        let description = tag.words("description", fields::DESCRIPTION_BYTES_MAX);
        let place = located.as_ref().and_then(|(link, address)| {
            let link = known.links.list.get(*link)?;
            Some(write::Place {
                protocols: known.links.protocols,
                link,
                address: &**address,
                scale,
                offset,
                sensor: sensor.as_ref(),
            })
        });
        let write = write::read(&tag, place);
        let said = Said::read(&tag);
        let decoding = decoding::read(&tag, located.as_ref().map(|(_, address)| &**address));
        if let (Some(name), Some((link, address)), Some(group)) = (name, located, group) {
            let source = cx.source(tag.span);
            let reporting = None;
            let config = TagConfig {
                name,
                source,
                link,
                group,
                address,
                scale,
                offset,
                range: None,
                sensor,
                unit,
                description,
                write,
                reporting,
                decoding,
            };
            let period = known.groups.list.get(group).map_or(Nanos::ZERO, |group| group.interval());
            let reporting = reporting::of_tag(&tag, said, &config, known.groups.said(group), period);
            let texts = value_texts::read(&tag, &config);
            if config.decoding.scale_from.is_some() {
                let (at, subject) = (cx.source(tag.span_of("scale_from")), tag.subject.clone());
                self.scaled.push(Scaled { tag: self.list.len(), at, subject });
            }
            let range = reporting::usual_range(&tag, &config);
            let decoding = DecodingConfig { texts, ..config.decoding };
            self.list.push(TagConfig { range, reporting, decoding, ..config });
        }
    }
}

/// Which keys a message on a tag tells: those that its kind of link has, as far as the link is known.
fn of_its_link(protocols: Protocols, tag: &Node<'_>, links: &Links) -> impl Fn(&str) -> bool + use<> {
    let address = tag.member("address").and_then(Node::as_text).unwrap_or_default();
    let name = address.split(':').next().unwrap_or_default();
    let link = links.find(name).and_then(|at| links.list.get(at));
    let own = link.and_then(|link| link.protocol);
    let others = own.into_iter().flat_map(|own| protocols.others(own)).flat_map(|protocol| protocol.tag_keys());
    let others: Vec<&'static str> = others.copied().collect();
    move |key| !others.contains(&key)
}

/// Whether the data type, as far as it is written, is one of numbers.
fn is_numeric(tag: &Obj<'_>) -> bool {
    let written = tag.get("data_type").and_then(Node::as_text);
    let found = fields::DATA_TYPE.iter().find(|(name, _)| Some(*name) == written);
    found.is_none_or(|(_, field)| !field.is_text() && field.scalar() != ScalarType::Bool)
}

/// A unit that people did not write here: cut to what one may be.
fn unit_of_file(unit: &str) -> String {
    let mut text: String = unit.chars().filter(|c| !c.is_control()).collect();
    while text.len() > fields::UNIT_TEXT_BYTES_MAX {
        text.pop();
    }
    text
}

fn read_factor(tag: &Obj<'_>, key: &str, default: f64, numeric: bool) -> f64 {
    if tag.get(key).is_some() && !numeric {
        tag.error(tag.span_of(key), format!("{key} on a bool or a string"), "remove it: only numbers are scaled");
        return default;
    }
    let value = tag.finite(key).unwrap_or(default);
    if key == "scale" && value == 0.0 {
        tag.error(tag.span_of(key), "scale is 0", "allowed: any number but 0");
    }
    value
}

fn read_group(tag: &Obj<'_>, known: &mut Known<'_>) -> Option<usize> {
    let period = read_period(tag);
    let Some(name) = tag.text("group", "the name of a group") else {
        if tag.get("scan_rate_ms").is_none() && tag.get("group").is_none() {
            let help = "allowed: \"scan_rate_ms\" (1 to 86400000), or \"group\" with the name of a group";
            tag.error(tag.span, "scan_rate_ms and group are missing", help);
        }
        return known.groups.of_period(tag, period?);
    };
    let Some(index) = known.groups.find(name.value) else {
        if !known.incomplete {
            let guess = guess(name.value, known.groups.names());
            let help = match name.value == DEFAULT_GROUP {
                true => "remove group: tags without a group are in it, each at its own scan rate".to_owned(),
                false => format!("allowed: a group of \"groups\" in one of the files{guess}"),
            };
            tag.error(name.span, format!("the group {} is not declared", quoted(name.value)), help);
        }
        return None;
    };
    known.groups.mark_used(index);
    let group = known.groups.list.get(index)?;
    if let Some(period) = period
        && period != group.interval()
        && group.interval().0 != 0
    {
        let message = format!(
            "scan_rate_ms is {}, its group {} has {}",
            period.0 as f64 / 1e6,
            quoted(name.value),
            group.interval().0 as f64 / 1e6
        );
        tag.error(tag.span_of("scan_rate_ms"), message, "remove scan_rate_ms, or repeat the group's");
    }
    Some(index)
}

/// Reads the address with everything that says what lies there: the link's name, and behind a colon what its kind of
/// link has there. `None`: reported.
fn read_address(tag: &Obj<'_>, known: &mut Known<'_>) -> Option<(usize, Box<dyn TagAddress>)> {
    let text = tag.required_text("address", ADDRESS_ALLOWED);
    let name = text.and_then(|text| text.value.split(':').next()).unwrap_or_default();
    let found = text.and_then(|text| find_link(tag, text, Part { text: name, start: 0 }, known));
    let link = found.and_then(|at| known.links.list.get_mut(at));
    let (Some(text), Some(link_index), Some(link)) = (text, found, link) else {
        check_type(tag, known.links.protocols);
        return None;
    };
    link.used = true;
    let Some(protocol) = link.protocol else {
        check_type(tag, known.links.protocols);
        return None;
    };
    check_protocol(tag, link);
    let mut start = name.len() + 1;
    let parts: Vec<Part<'_>> = text
        .value
        .split(':')
        .skip(1)
        .map(|part| {
            let at = start;
            start += part.len() + 1;
            Part { text: part, start: at }
        })
        .collect();
    let word = link.config.protocol.protocol();
    known.links.protocols.others(protocol).for_each(|other| other.refuse_keys(tag, word));
    Some((link_index, protocol.read_address(tag, text, &parts, link)?))
}

const ADDRESS_ALLOWED: &str = "link:… in the form of its kind of link, such as \"plc1:1:3:40001:2\"";

/// What can be said of a tag's type while its link is not known.
fn check_type(tag: &Obj<'_>, protocols: Protocols) {
    let protocol = tag.get("protocol").and_then(Node::as_text).and_then(|word| protocols.find(word));
    match protocol {
        Some((protocol, _)) if !protocol.needs_data_type() => tag.choice("data_type", fields::DATA_TYPE),
        _ => tag.required_choice("data_type", fields::DATA_TYPE),
    };
}

fn find_link(tag: &Obj<'_>, text: Text<'_>, part: Part<'_>, known: &Known<'_>) -> Option<usize> {
    let found = known.links.find(part.text);
    if found.is_none() && !known.incomplete {
        let guess = guess(part.text, known.links.names());
        let help = format!("allowed: a link of \"links\" in one of the files{guess}");
        tag.error(span(text, part), format!("the link {} is not declared", quoted(part.text)), help);
    }
    found
}

fn check_protocol(tag: &Obj<'_>, link: &Link) {
    let expected = link.config.protocol.protocol();
    let Some(protocol) = tag.text("protocol", expected) else { return };
    if protocol.value != expected {
        let message = format!("protocol is {}", quoted(protocol.value));
        let help = format!("allowed: {expected}, the protocol of link {}", quoted(&link.config.name));
        tag.error(protocol.span, message, help);
    }
}
