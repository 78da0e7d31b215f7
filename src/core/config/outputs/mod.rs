//! `[outputs.NAME]`: what outputs of every kind have, and the kinds.

mod common;
mod influx;
mod mqtt;

use crate::config::diagnostic::Report;
use crate::config::fields::keys;
use crate::config::model::{GroupConfig, OutputConfig, TagChoice, TagConfig};
use crate::config::names::{Letters, fault, quoted};
use crate::config::node::Node;
use crate::config::paths::Base;
use crate::config::reader::Obj;
use crate::config::text::Span;
use crate::limits::{OUTPUT_PATTERNS_MAX, PATTERN_BYTES_MAX};
use crate::tag::{Nanos, glob_has};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Mqtt,
    Influx,
}

const TYPES: &[(&str, Type)] = &[("mqtt", Type::Mqtt), ("influxdb", Type::Influx)];

/// What is wrong has been reported; such outputs are left out.
pub fn read(root: &Obj<'_>, gateway_id: &str, base: Base<'_>) -> Vec<OutputConfig> {
    let mut outputs: Vec<OutputConfig> = Vec::new();
    for member in root.entries("outputs", "outputs, such as [outputs.cloud]") {
        let subject = format!("output {}", quoted(&member.name));
        let at: Span = member.name_span;
        if let Some(fault) = fault(&member.name, Letters::Ascii) {
            root.cx.report.error(root.cx.source(at), &subject, format!("the name {fault}"), Letters::Ascii.allowed());
        }
        // The type decides which keys there may be.
        let written = member.value.member("type").and_then(Node::as_text);
        let known = TYPES.iter().find(|(word, _)| Some(*word) == written).map(|(_, kind)| *kind);
        let keys = if known == Some(Type::Influx) { keys::INFLUX } else { keys::MQTT };
        let Some(output) = Obj::open(root.cx, &member.value, subject, keys) else { continue };
        let Some(kind) = output.required_choice("type", TYPES) else { continue };
        let choice = read_choice(&output);
        let kind = match kind {
            Type::Mqtt => mqtt::read(&output, &member.name, gateway_id, base),
            Type::Influx => influx::read(&output, base),
        };
        let Some(kind) = kind else { continue };
        let config = OutputConfig { name: member.name.to_string(), source: root.cx.source(at), choice, kind };
        mqtt::check_client_ids(&output, &config, &outputs);
        mqtt::check_commands(&output, &config, &outputs);
        outputs.push(config);
    }
    outputs
}

fn read_choice(output: &Obj<'_>) -> TagChoice {
    TagChoice {
        tags: read_patterns(output, "tags"),
        groups: read_patterns(output, "groups"),
        exclude_tags: read_patterns(output, "exclude_tags"),
    }
}

fn read_patterns(output: &Obj<'_>, key: &str) -> Vec<String> {
    let elements = output.list(key, "names and patterns, such as [\"boiler.*\"]");
    if elements.len() > OUTPUT_PATTERNS_MAX {
        let message = format!("{key} has {} patterns", elements.len());
        output.error(output.span_of(key), message, format!("allowed: at most {OUTPUT_PATTERNS_MAX}"));
    }
    if output.get(key).is_some() && elements.is_empty() && key != "exclude_tags" {
        let help = "allowed: names and patterns; without the key all are used";
        output.error(output.span_of(key), format!("{key} is an empty list"), help);
    }
    let read = |element: &Node<'_>| {
        let text = element.as_text().filter(|text| !text.is_empty() && text.len() <= PATTERN_BYTES_MAX);
        if text.is_none() {
            let help =
                format!("allowed: strings of 1 to {PATTERN_BYTES_MAX} bytes; * matches any characters, ? matches one");
            output.error(element.span, format!("{key} has an element that is not a pattern"), help);
        }
        text.map(str::to_owned)
    };
    elements.iter().take(OUTPUT_PATTERNS_MAX).filter_map(read).collect()
}

/// A pattern that matches nothing is a slip of the pen; an output that sends nothing is useless. Names that begin with `$`
/// are the gateway's own and stand in no file.
pub fn check_choices(outputs: &[OutputConfig], tags: &[TagConfig], groups: &[GroupConfig], report: &Report) {
    for output in outputs {
        let choice = &output.choice;
        let subject = format!("output {}", quoted(&output.name));
        let tag_names = || tags.iter().map(|tag| &*tag.name);
        for (key, patterns, of) in [
            ("tags", &choice.tags, "tag"),
            ("groups", &choice.groups, "group"),
            ("exclude_tags", &choice.exclude_tags, "tag"),
        ] {
            for pattern in patterns.iter().filter(|pattern| !pattern.starts_with('$')) {
                let matches = |name: &str| glob_has(pattern, name);
                let any = match of {
                    "group" => groups.iter().any(|group| matches(&group.name)),
                    _ => tag_names().any(matches),
                };
                if !any {
                    let message = format!("{key}: {} matches no {of}", quoted(pattern));
                    let is_rate = |text: &str| text.strip_suffix("ms").is_some_and(|ms| ms.parse::<f64>().is_ok());
                    let help = match of == "group" && is_rate(pattern) {
                        true => "tags without a group are in the group \"default\", whatever their scan rate",
                        false => "",
                    };
                    report.warning(output.source.clone(), &subject, message, help);
                }
            }
        }
        let is_sent = |tag: &&TagConfig| choice.takes_tag(&tag.name) && choice.takes_group(&groups[tag.group].name);
        let sent: Vec<&TagConfig> = tags.iter().filter(is_sent).collect();
        let own = choice.tags.iter().chain(&choice.groups).any(|pattern| pattern.starts_with('$'));
        if sent.is_empty() && !tags.is_empty() && !own {
            let help = "change tags, groups or exclude_tags, or remove the output";
            report.error(output.source.clone(), &subject, "no tag is selected: the output would publish nothing", help);
        }
        let periods: Vec<Nanos> = sent.iter().map(|tag| groups[tag.group].interval()).collect();
        influx::check_tags(output, &sent, &periods, report);
    }
}
