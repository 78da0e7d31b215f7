//! Topic templates.

use crate::limits::{MQTT_STRING_BYTES_MAX, NAME_BYTES_MAX};
use crate::output::OutputError;

/// A topic with `{gateway}` filled in and `{group}` still open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topic(String);

impl Topic {
    /// Checks what a broker would refuse (MQTT 3.1.1, section 4.7): wildcards, NUL, nothing, too long.
    pub(crate) fn new(key: &'static str, template: &str, gateway: &str) -> Result<Topic, OutputError> {
        let refuse = |reason: String| Err(OutputError::Setting { key, reason });
        if let Some(bad) = template.chars().find(|c| is_reserved(*c)) {
            return refuse(format!("{template:?} holds {bad:?}; a topic to publish to has no wildcards and no NUL"));
        }
        let topic = template.replace("{gateway}", &clean(gateway));
        if topic.is_empty() {
            return refuse("it is empty; give a topic such as fieldbeat/{gateway}/{group}".into());
        }
        if topic.len() + NAME_BYTES_MAX > MQTT_STRING_BYTES_MAX {
            return refuse(format!("it has {} bytes; MQTT allows {MQTT_STRING_BYTES_MAX}", topic.len()));
        }
        Ok(Topic(topic))
    }

    pub(crate) fn for_group(&self, group: &str) -> String {
        self.0.replace("{group}", &clean(group))
    }

    /// The topic when it names no group.
    pub(crate) fn plain(&self) -> &str {
        &self.0
    }
}

fn is_reserved(c: char) -> bool {
    matches!(c, '+' | '#' | '\0')
}

/// A name as part of a topic: what MQTT reserves becomes `_`.
fn clean(name: &str) -> String {
    name.replace(is_reserved, "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fill_the_template_and_cannot_break_it() {
        let topic = Topic::new("topic", "plant/{gateway}/{group}", "line+4").unwrap();
        assert_eq!(topic.for_group("fa#st"), "plant/line_4/fa_st");
    }

    #[test]
    fn wildcards_and_nothing_are_refused() {
        for bad in ["a/+/b", "a/#", "", "a\0"] {
            assert!(Topic::new("topic", bad, "g").is_err(), "{bad:?}");
        }
        assert!(Topic::new("topic", &"x".repeat(70_000), "g").is_err());
    }
}
