//! Topic templates.

use crate::OutputError;
use crate::config::{TopicOf, TopicPart, fill_topic, is_reserved_in_topics, template_parts};
use crate::limits::{MQTT_STRING_BYTES_MAX, NAME_BYTES_MAX};

/// A topic with `{gateway}` filled in and what depends on the samples still open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    parts: Vec<TopicPart<String>>,
    bytes_max: usize,
}

impl Topic {
    /// Checks what a broker would refuse (MQTT 3.1.1, section 4.7): wildcards, NUL, nothing, too long.
    pub fn new(key: &'static str, template: &str, gateway: &str) -> Result<Topic, OutputError> {
        let refuse = |reason: String| Err(OutputError::Setting { key, reason });
        if let Some(bad) = template.chars().find(|c| is_reserved_in_topics(*c)) {
            return refuse(format!("{template:?} holds {bad:?}; a topic to publish to has no wildcards and no NUL"));
        }
        let mut parts: Vec<TopicPart<String>> = Vec::new();
        for part in template_parts(template) {
            let text = match part {
                TopicPart::Text(text) => text.to_owned(),
                TopicPart::Gateway => {
                    fill_topic::<&str>(&[TopicPart::Gateway], &TopicOf { gateway, ..TopicOf::default() })
                }
                TopicPart::Group => {
                    parts.push(TopicPart::Group);
                    continue;
                }
                TopicPart::Link => {
                    parts.push(TopicPart::Link);
                    continue;
                }
                TopicPart::Tag => {
                    parts.push(TopicPart::Tag);
                    continue;
                }
                TopicPart::TagPath => {
                    parts.push(TopicPart::TagPath);
                    continue;
                }
            };
            match parts.last_mut() {
                Some(TopicPart::Text(before)) => before.push_str(&text),
                _ => parts.push(TopicPart::Text(text)),
            }
        }
        let bytes_of =
            |part: &TopicPart<String>| if let TopicPart::Text(text) = part { text.len() } else { NAME_BYTES_MAX };
        let bytes_max: usize = parts.iter().map(bytes_of).sum();
        if bytes_max == 0 {
            return refuse("it is empty; give a topic such as fieldbeat/{gateway}/{group}".into());
        }
        if bytes_max > MQTT_STRING_BYTES_MAX {
            return refuse(format!("it may have {bytes_max} bytes; MQTT allows {MQTT_STRING_BYTES_MAX}"));
        }
        Ok(Topic { parts, bytes_max })
    }

    pub(crate) fn fill(&self, of: &TopicOf<'_>) -> String {
        fill_topic(&self.parts, of)
    }

    /// The topic when nothing in it depends on samples.
    pub(crate) fn plain(&self) -> String {
        self.fill(&TopicOf::default())
    }

    pub(crate) fn has_link(&self) -> bool {
        self.parts.contains(&TopicPart::Link)
    }

    /// The most bytes that it has when it is filled.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// What is subscribed to, so that whatever stands in the place of `{tag}` comes.
    pub(crate) fn filter(&self) -> String {
        let text =
            |part: &TopicPart<String>| if let TopicPart::Text(text) = part { text.clone() } else { "+".to_owned() };
        self.parts.iter().map(text).collect()
    }

    /// The tag's name in a topic that was made by this template with one `{tag}` in it.
    pub(crate) fn tag_of<'t>(&self, topic: &'t str) -> Option<&'t str> {
        let (before, after) = match &self.parts[..] {
            [TopicPart::Text(before), TopicPart::Tag, TopicPart::Text(after)] => (before.as_str(), after.as_str()),
            [TopicPart::Text(before), TopicPart::Tag] => (before.as_str(), ""),
            [TopicPart::Tag, TopicPart::Text(after)] => ("", after.as_str()),
            [TopicPart::Tag] => ("", ""),
            _ => return None,
        };
        let tag = topic.strip_prefix(before)?.strip_suffix(after)?;
        (!tag.is_empty() && !tag.contains('/')).then_some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(template: &str) -> Topic {
        Topic::new("topic", template, "line+4").unwrap()
    }

    const OF: TopicOf<'_> = TopicOf { gateway: "", group: "fa#st", link: "plc1", tag: "boiler.temperature" };

    #[test]
    fn names_fill_the_template_and_cannot_break_it() {
        assert_eq!(topic("plant/{gateway}/{group}").fill(&OF), "plant/line_4/fa_st");
        assert_eq!(topic("{link}/{tag}").fill(&OF), "plc1/boiler.temperature");
        assert_eq!(topic("x/{tag_path}/v").fill(&OF), "x/boiler/temperature/v");
        assert_eq!(topic("{gateway}").fill(&TopicOf { tag: "{tag}", ..OF }), "line_4");
    }

    #[test]
    fn what_brokers_keep_for_themselves_is_not_published_to() {
        let own = TopicOf { tag: "$gateway.cpu_percent", ..OF };
        assert_eq!(topic("{tag}").fill(&own), "_gateway.cpu_percent");
        assert_eq!(topic("x/{tag}").fill(&own), "x/$gateway.cpu_percent");
    }

    #[test]
    fn wildcards_and_nothing_are_refused() {
        for bad in ["a/+/b", "a/#", "", "a\0"] {
            assert!(Topic::new("topic", bad, "g").is_err(), "{bad:?}");
        }
        assert!(Topic::new("topic", &"x".repeat(70_000), "g").is_err());
        assert!(Topic::new("topic", &"{tag}".repeat(600), "g").is_err(), "filled, it is too long");
    }

    #[test]
    fn the_tag_of_a_set_point_is_found_in_its_topic() {
        let set = topic("fieldbeat/{gateway}/{tag}/set");
        assert_eq!(set.filter(), "fieldbeat/line_4/+/set");
        assert_eq!(set.tag_of("fieldbeat/line_4/boiler.setpoint/set"), Some("boiler.setpoint"));
        for other in ["fieldbeat/line_4//set", "fieldbeat/line_4/a/b/set", "fieldbeat/line_4/set", "x", ""] {
            assert_eq!(set.tag_of(other), None, "{other}");
        }
        assert_eq!(topic("{tag}").tag_of("a"), Some("a"));
    }
}
