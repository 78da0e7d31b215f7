//! MQTT topic templates, and conflicts between the topics of one gateway.

use std::collections::{HashMap, HashSet};

use super::diagnostic::Report;
use super::model::{GroupConfig, MqttConfig, OutputConfig, TagConfig, TopicPer};
use super::names::quoted;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicPart<T> {
    Text(T),
    Gateway,
    Group,
    Link,
    Tag,
    /// The tag's name, its dots as levels.
    TagPath,
}

/// What a template is filled with.
#[derive(Debug, Clone, Copy, Default)]
pub struct TopicOf<'a> {
    pub gateway: &'a str,
    pub group: &'a str,
    pub link: &'a str,
    pub tag: &'a str,
}

/// The pieces of a template. What is in braces and no placeholder is text.
pub fn template_parts(template: &str) -> Vec<TopicPart<&str>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let known: [(&str, TopicPart<&str>); 5] = [
            ("{gateway}", TopicPart::Gateway),
            ("{group}", TopicPart::Group),
            ("{link}", TopicPart::Link),
            ("{tag}", TopicPart::Tag),
            ("{tag_path}", TopicPart::TagPath),
        ];
        if let Some((word, part)) = known.into_iter().find(|(word, _)| rest.starts_with(word)) {
            parts.push(part);
            rest = &rest[word.len()..];
            continue;
        }
        let end = rest.char_indices().skip(1).find(|(_, c)| *c == '{').map_or(rest.len(), |(at, _)| at);
        parts.push(TopicPart::Text(&rest[..end]));
        rest = &rest[end..];
    }
    parts
}

/// What MQTT reserves for filters (MQTT 3.1.1, section 4.7).
pub fn is_reserved_in_topics(c: char) -> bool {
    matches!(c, '+' | '#' | '\0')
}

/// A topic. In names, what MQTT reserves becomes `_`; so does a `$` at the topic's beginning, since brokers keep such topics
/// for themselves.
pub fn fill_topic<T: AsRef<str>>(parts: &[TopicPart<T>], of: &TopicOf<'_>) -> String {
    let mut topic = String::new();
    for part in parts {
        let name = match part {
            TopicPart::Text(text) => {
                topic.push_str(text.as_ref());
                continue;
            }
            TopicPart::Gateway => of.gateway,
            TopicPart::Group => of.group,
            TopicPart::Link => of.link,
            TopicPart::Tag | TopicPart::TagPath => of.tag,
        };
        let as_levels = matches!(part, TopicPart::TagPath);
        topic.extend(name.chars().map(|c| match c {
            c if is_reserved_in_topics(c) => '_',
            '.' if as_levels => '/',
            c => c,
        }));
    }
    if topic.starts_with('$') {
        topic.replace_range(..1, "_");
    }
    topic
}

/// Whether a filter with `+` hears a topic.
fn hears(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (None, None) => return true,
            (Some(asked), Some(level)) if asked == "+" || asked == level => {}
            _ => return false,
        }
    }
}

/// All that one output publishes to, and hears.
struct Used {
    /// By key of the configuration.
    own: Vec<(&'static str, String)>,
    /// Topics of samples, with whose they are.
    data: Vec<(String, String)>,
}

impl Used {
    fn of(
        output: &OutputConfig,
        mqtt: &MqttConfig,
        gateway: &str,
        (tags, groups, links): (&[TagConfig], &[GroupConfig], &[&str]),
    ) -> Used {
        let plain = |template: &str| fill_topic(&template_parts(template), &TopicOf { gateway, ..TopicOf::default() });
        let mut own = vec![("status_topic", plain(&mqtt.status_topic))];
        own.extend(mqtt.meta_topic.iter().map(|topic| ("meta_topic", plain(topic))));
        if let Some(commands) = &mqtt.commands {
            own.push(("command_topic", plain(&commands.command_topic)));
            own.push(("answer_topic", plain(&commands.answer_topic)));
        }
        let parts = template_parts(&mqtt.topic);
        let group_of = |tag: &TagConfig| groups.get(tag.group).map_or("", |group| &group.name);
        let link_of = |tag: &TagConfig| links.get(tag.link).copied().unwrap_or_default();
        let is_sent = |tag: &&TagConfig| output.choice.takes_tag(&tag.name) && output.choice.takes_group(group_of(tag));
        let data = match mqtt.topic_per {
            TopicPer::Tag => {
                let topic = |tag: &TagConfig| {
                    let of = TopicOf { gateway, group: group_of(tag), link: link_of(tag), tag: &tag.name };
                    (fill_topic(&parts, &of), format!("tag {}", quoted(&tag.name)))
                };
                tags.iter().filter(is_sent).map(topic).collect()
            }
            TopicPer::Group if parts.contains(&TopicPart::Link) => {
                let pairs: HashSet<(&str, &str)> =
                    tags.iter().filter(is_sent).map(|tag| (group_of(tag), link_of(tag))).collect();
                let topic = |(group, link)| fill_topic(&parts, &TopicOf { gateway, group, link, tag: "" });
                let mut data: Vec<_> =
                    pairs.into_iter().map(|of| (topic(of), format!("group {}", quoted(of.0)))).collect();
                data.sort();
                data
            }
            TopicPer::Group => groups
                .iter()
                .map(|group| {
                    let of = TopicOf { gateway, group: &group.name, ..TopicOf::default() };
                    (fill_topic(&parts, &of), format!("group {}", quoted(&group.name)))
                })
                .collect(),
        };
        Used { own, data }
    }
}

/// A status, a request or an answer among the samples would look like one to who subscribes, and the other way round; and
/// what is heard as a set point must be none of ours.
pub(super) fn check(
    outputs: &[OutputConfig],
    gateway: &str,
    (tags, groups, links): (&[TagConfig], &[GroupConfig], &[&str]),
    report: &Report,
) {
    let all: Vec<(&OutputConfig, &MqttConfig, Used)> = outputs
        .iter()
        .filter_map(|output| output.kind.mqtt().map(|mqtt| (output, mqtt)))
        .map(|(output, mqtt)| (output, mqtt, Used::of(output, mqtt, gateway, (tags, groups, links))))
        .collect();
    for (output, mqtt, used) in &all {
        let subject = format!("output {}", quoted(&output.name));
        let error = |message: String, help: &str| report.error(output.source.clone(), &subject, message, help);
        for (at, (key, topic)) in used.own.iter().enumerate() {
            if let Some((_, of)) = used.data.iter().find(|(data, _)| data == topic) {
                let kind = of.split(' ').next().unwrap_or_default();
                error(format!("the topic of {of} is the {key}"), &format!("rename the {kind}, or set topic or {key}"));
            }
            let same = used.own[..at].iter().find(|(_, other)| other == topic);
            // Of commands, that is told where they are read.
            if let Some((other, _)) = same.filter(|_| *key == "meta_topic") {
                error(format!("{key} is the {other}, {}", quoted(topic)), "allowed: a topic of its own");
            }
            let below = |data: &str| data.strip_prefix(topic.as_str()).is_some_and(|rest| rest.starts_with('/'));
            if *key == "meta_topic"
                && let Some((data, of)) = used.data.iter().find(|(data, _)| below(data))
            {
                let message = format!("the topic of {of}, {}, is below meta_topic", quoted(data));
                error(message, "change topic or meta_topic: topics below meta_topic carry its parts");
            }
        }
        if mqtt.topic_per == TopicPer::Tag {
            let mut known: HashMap<&str, &str> = HashMap::new();
            for (topic, of) in &used.data {
                if let Some(other) = known.insert(topic, of) {
                    let message = format!("{other} and {of} have the same topic, {}", quoted(topic));
                    error(message, "change topic so that {tag} is a level of its own, or rename one of them");
                    break;
                }
            }
        }
        let Some(set) = mqtt.commands.as_ref().and_then(|commands| commands.set_topic.as_ref()) else { continue };
        let filter = fill_topic(&template_parts(set), &TopicOf { gateway, tag: "{tag}", ..TopicOf::default() });
        let filter = filter.replace("{tag}", "+");
        for (other, _, theirs) in &all {
            let own = theirs.own.iter().map(|(key, topic)| (topic, *key));
            let data = theirs.data.iter().map(|(topic, of)| (topic, of.as_str()));
            let parts = theirs.own.iter().filter(|(key, _)| *key == "meta_topic");
            let parts: Vec<String> = parts.map(|(_, topic)| format!("{topic}/0")).collect();
            let parts = parts.iter().map(|topic| (topic, "a part of meta_topic"));
            if let Some((topic, what)) = own.chain(parts).chain(data).find(|(topic, _)| hears(&filter, topic)) {
                let whose =
                    if other.name == output.name { String::new() } else { format!(" of output {}", other.name) };
                let message = format!("set_topic also matches {}, which is {what}{whose}", quoted(topic));
                error(message, "allowed: a topic of its own, such as fieldbeat/{gateway}/{tag}/set");
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_falls_into_its_pieces_and_is_filled() {
        let of = TopicOf { gateway: "g+1", group: "fast", link: "plc1", tag: "$a.b" };
        let filled = |template| fill_topic(&template_parts(template), &of);
        assert_eq!(filled("x/{gateway}/{group}{link}é{"), "x/g_1/fastplc1é{");
        assert_eq!(filled("{tag}/{tag_path}"), "_a.b/$a/b");
        assert_eq!(filled("{{tag}}{tagg}"), "{$a.b}{tagg}");
        assert_eq!(filled(""), "");
    }

    #[test]
    fn a_filter_hears_what_has_its_levels() {
        for (filter, topic, expected) in [
            ("a/+/set", "a/b/set", true),
            ("a/+/set", "a/b/c/set", false),
            ("a/+", "a/status", true),
            ("a/+", "a", false),
            ("a/b", "a/b", true),
        ] {
            assert_eq!(hears(filter, topic), expected, "{filter} {topic}");
        }
    }
}
