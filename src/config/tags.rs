//! `"tags"` of the tag files.

use std::collections::HashMap;

use super::decoding::{self, Scaled};
use super::fields::{self, keys};
use super::groups::{DEFAULT_GROUP, Groups, read_period};
use super::links::{Link, Links, already, read_name};
use super::model::{DecodingConfig, LinkProtocol, TagAddress, TagConfig};
use super::names::{Letters, guess, quoted};
use super::node::Node;
use super::reader::{Cx, Obj, Text, subject};
use super::reporting::{self, Said};
use super::text::{File, Span};
use super::{bus, can_address, canopen_address, modbus_address, sensor, value_texts, write};
use crate::limits::TAGS_MAX;
use crate::tag::ScalarType;

/// The tags of all files.
#[derive(Default)]
pub(super) struct Tags<'c> {
    pub list: Vec<TagConfig>,
    /// Entries seen, right or wrong.
    pub seen: usize,
    /// Those that another tag scales.
    pub scaled: Vec<Scaled>,
    /// Where each name was given first.
    names: HashMap<&'c str, (&'c File, Span)>,
}

/// What tags refer to.
pub(super) struct Known<'k> {
    pub links: &'k mut Links,
    pub groups: &'k mut Groups,
    /// A file could not be read: a link or group that is not known may be declared in it.
    pub incomplete: bool,
}

impl<'c> Tags<'c> {
    /// Reads one entry of `"tags"`.
    pub fn read(&mut self, cx: Cx<'c>, node: &'c Node<'c>, index: usize, known: &mut Known<'_>) {
        self.seen += 1;
        if self.seen > TAGS_MAX {
            if self.seen == TAGS_MAX + 1 {
                let help = "share them among several gateways";
                cx.report.error(cx.source(node.span), "", format!("more than {TAGS_MAX} tags"), help);
            }
            return;
        }
        let is_told = of_its_link(node, known.links);
        let Some(tag) = Obj::open_told(cx, node, subject("tag", node, index), keys::TAG, is_told) else { return };
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
        let sensor = sensor::read(&tag, located.as_ref().map(|(_, address)| address));
        let written = (read_factor(&tag, "scale", 1.0, numeric), read_factor(&tag, "offset", 0.0, numeric));
        let (scale, offset) = sensor.map_or(written, |sensor| sensor.scale_and_offset());
        let mut unit = tag.words("unit", fields::UNIT_TEXT_BYTES_MAX);
        if let Some((_, TagAddress::Can(address))) = &located
            && tag.get("unit").is_none()
            // What a transmitter's signal means has another unit than the signal.
            && sensor.is_none()
        {
            unit = unit_of_file(&address.unit);
        }
        let description = tag.words("description", fields::DESCRIPTION_BYTES_MAX);
        let place = located.as_ref().and_then(|(link, address)| {
            let link = &known.links.list.get(*link)?.config.protocol;
            Some(write::Place { link, address, scale, offset, sensor: sensor.as_ref() })
        });
        let write = write::read(&tag, place);
        let said = Said::read(&tag);
        let decoding = decoding::read(&tag, located.as_ref().map(|(_, address)| address));
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
            let reporting = reporting::of_tag(&tag, said, &config, known.groups);
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
fn of_its_link(tag: &Node<'_>, links: &Links) -> impl Fn(&str) -> bool + use<> {
    let address = tag.member("address").and_then(Node::as_text).unwrap_or_default();
    let name = address.split(':').next().unwrap_or_default();
    let link = links.find(name).and_then(|at| links.list.get(at));
    let others: &'static [&'static [&'static str]] = match link.map(|link| &link.config.protocol) {
        None => &[],
        Some(LinkProtocol::Modbus(_)) => &[keys::OF_LOCAL_LINKS, keys::OF_CAN_LINKS, keys::OF_CANOPEN_LINKS],
        Some(LinkProtocol::Can(_)) => &[keys::OF_LOCAL_LINKS, keys::OF_MODBUS_LINKS, keys::OF_CANOPEN_LINKS],
        Some(LinkProtocol::CanOpen(_)) => &[keys::OF_LOCAL_LINKS, keys::OF_MODBUS_LINKS, keys::OF_CAN_LINKS],
        Some(LinkProtocol::Diagnostics) => &[],
        Some(LinkProtocol::Bus(_)) => &[keys::OF_MODBUS_LINKS, keys::OF_CAN_LINKS, keys::OF_CANOPEN_LINKS],
    };
    move |key| !others.iter().any(|keys| keys.contains(&key))
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
                true => "leave group out: tags that name none are in it, each at its own scan rate".to_owned(),
                false => format!("allowed: a group of \"groups\" in one of the files{guess}"),
            };
            tag.error(name.span, format!("the group {} is not declared", quoted(name.value)), help);
        }
        return None;
    };
    known.groups.mark_used(index);
    let group = known.groups.list.get(index)?;
    if let Some(period) = period
        && period != group.period
        && group.period.0 != 0
    {
        let message = format!(
            "scan_rate_ms is {}, its group {} has {}",
            period.0 as f64 / 1e6,
            quoted(name.value),
            group.period.0 as f64 / 1e6
        );
        tag.error(tag.span_of("scan_rate_ms"), message, "remove scan_rate_ms, or repeat the group's");
    }
    Some(index)
}

/// A part of an address and the bytes it has in the address.
#[derive(Clone, Copy)]
pub(super) struct Part<'c> {
    pub text: &'c str,
    pub start: usize,
}

/// Reads the address with everything that says what lies there: the link's name, and behind a colon what its kind of
/// link has there. `None`: reported.
fn read_address(tag: &Obj<'_>, known: &mut Known<'_>) -> Option<(usize, TagAddress)> {
    let text = tag.required_text("address", ADDRESS_ALLOWED);
    let name = text.and_then(|text| text.value.split(':').next()).unwrap_or_default();
    let found = text.and_then(|text| find_link(tag, text, Part { text: name, start: 0 }, known));
    let link = found.and_then(|at| known.links.list.get_mut(at));
    let (Some(text), Some(link_index), Some(link)) = (text, found, link) else {
        check_type(tag);
        return None;
    };
    link.used = true;
    if link.broken {
        check_type(tag);
        return None;
    }
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
    if !matches!(link.config.protocol, LinkProtocol::Bus(_)) {
        bus::refuse_own_keys(tag, link.config.protocol.name());
    }
    let protocol = link.config.protocol.name();
    if !matches!(link.config.protocol, LinkProtocol::Can(_)) && tag.get("j1939_special_values").is_some() {
        let message = format!("j1939_special_values on a {protocol} link");
        tag.error(tag.span_of("j1939_special_values"), message, "remove it: only CAN links have J1939");
    }
    if !matches!(link.config.protocol, LinkProtocol::Modbus(_)) {
        for key in ["byte", "encoding"].into_iter().filter(|key| tag.get(key).is_some()) {
            let message = format!("{key} on a {protocol} link");
            tag.error(tag.span_of(key), message, "remove it: only Modbus links have registers");
        }
    }
    let address = match &link.config.protocol {
        LinkProtocol::Modbus(modbus) => {
            TagAddress::Modbus(modbus_address::read(tag, text, &parts, modbus, link.addressing)?)
        }
        LinkProtocol::Can(config) => TagAddress::Can(can_address::read(tag, text, &parts, config, &link.dbc)?),
        LinkProtocol::CanOpen(config) => {
            TagAddress::CanOpen(canopen_address::read(tag, text, &parts, config, &link.unread_sheets)?)
        }
        LinkProtocol::Bus(config) => TagAddress::Bus(bus::read_address(tag, text, &parts, config)?),
        // Its link's name begins with `$`, which no address that is right has.
        LinkProtocol::Diagnostics => return None,
    };
    Some((link_index, address))
}

const ADDRESS_ALLOWED: &str = "link:… as its kind of link has it, such as \"plc1:1:3:40001:2\"";

/// What can be said of a tag's type while its link is not known: that of a Modbus tag has to be there.
fn check_type(tag: &Obj<'_>) {
    match tag.get("protocol").and_then(Node::as_text) {
        Some(other) if !other.starts_with("modbus") => tag.choice("data_type", fields::DATA_TYPE),
        _ => tag.required_choice("data_type", fields::DATA_TYPE),
    };
}

/// Where a part stands in the file.
pub(super) fn span(text: Text<'_>, part: Part<'_>) -> Span {
    text.part(part.start, part.start + part.text.len())
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
    let expected = link.config.protocol.name();
    let Some(protocol) = tag.text("protocol", expected) else { return };
    if protocol.value != expected {
        let message = format!("protocol is {}", quoted(protocol.value));
        let help = format!("allowed: {expected}, the protocol of link {}", quoted(&link.config.name));
        tag.error(protocol.span, message, help);
    }
}
