//! Topics of MQTT outputs: per group and per tag, what the gateway says of itself, set points; and what gets in the way of what.

use super::{MINIMAL, lines, loaded, refused, tag_file};
use crate::config::{Loaded, MqttConfig, TopicPer};

const MQTT: &str = "[outputs.a]\ntype = \"mqtt\"\nurl = \"mqtts://b\"\n";

fn tag(name: &str) -> String {
    format!(r#"{{"name": "{name}", "address": "plc1:1:3:40001", "data_type": "int16", "scan_rate_ms": 10}}"#)
}

fn read(lines: &str) -> Loaded {
    loaded(&format!("{MINIMAL}{MQTT}{lines}"), &[("tags/a.json", &tag_file(&[&tag("t")]))])
}

fn mqtt(lines: &str) -> MqttConfig {
    let loaded = read(lines);
    assert_eq!(loaded.warnings, [], "{lines}");
    loaded.config.outputs[0].kind.mqtt().unwrap().clone()
}

/// What is wrong with an output and these tags.
fn faults(lines_of_output: &str, tags: &[&str]) -> Vec<String> {
    let tags: Vec<String> = tags.iter().map(|name| tag(name)).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    lines(&refused(&format!("{MINIMAL}{MQTT}{lines_of_output}"), &[("tags/a.json", &tag_file(&tags))]))
}

fn fault(lines: &str, tags: &[&str]) -> String {
    let mut all = faults(lines, tags);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

#[test]
fn a_topic_per_tag_is_retained_and_described_unless_it_is_said_otherwise() {
    let per_tag = mqtt("topic_per = \"tag\"\n");
    assert_eq!((per_tag.topic_per, per_tag.topic.as_str()), (TopicPer::Tag, "fieldbeat/{gateway}/{tag}"));
    assert_eq!((per_tag.retain, per_tag.meta_topic.as_deref()), (true, Some("fieldbeat/{gateway}/meta")));
    let other = mqtt(
        "topic_per = \"tag\"\ntopic = \"p/{link}/{tag_path}/v\"\nretain = false\nmeta = false\nmeta_topic = \"p/meta\"\n",
    );
    assert_eq!((other.topic.as_str(), other.retain, other.meta_topic), ("p/{link}/{tag_path}/v", false, None));
    let per_group = mqtt("meta = true\nretain = true\ntopic = \"{gateway}/{link}/{group}\"\n");
    assert_eq!((per_group.topic_per, per_group.retain), (TopicPer::Group, true));
    assert_eq!(per_group.meta_topic.as_deref(), Some("fieldbeat/{gateway}/meta"));
    let warnings = read("topic_per = \"tag\"\nbatch_ms = 5\n").warnings;
    assert!(warnings[0].to_string().contains("batch_ms has no effect with topic_per = \"tag\""), "{warnings:?}");
}

#[test]
fn set_points_are_off_unless_they_are_switched_on() {
    assert_eq!(mqtt("commands = true\n").commands.unwrap().set_topic, None);
    let set = mqtt("commands = true\nset_points = true\n").commands.unwrap().set_topic;
    assert_eq!(set.as_deref(), Some("fieldbeat/{gateway}/{tag}/set"));
    assert!(fault("set_points = true\n", &["t"]).contains("set_points without commands; add commands = true"));
}

#[test]
fn topics_that_brokers_or_consumers_could_not_use_are_refused() {
    for (lines, told) in [
        ("topic_per = \"tags\"\n", "topic_per \"tags\" is unknown; allowed: group, tag"),
        ("topic = \"a/{tag}\"\n", "allowed: {gateway}, {group}, {link}; {tag} and {tag_path} with topic_per = \"tag\""),
        (
            "topic_per = \"tag\"\ntopic = \"{unit}/{tag}\"\n",
            "unknown placeholder \"{unit}\"; allowed: {gateway}, {group}, {link}, {tag}, {tag_path}",
        ),
        ("topic_per = \"tag\"\ntopic = \"{gateway}/{group}\"\n", "topic is the same for all tags; add {tag} to it"),
        ("topic_per = \"tag\"\ntopic = \"a/+/{tag}\"\n", "topic has the wildcard \"+\""),
        ("topic_per = \"tag\"\ntopic = \"$SYS/{tag}\"\n", "topic begins with $"),
        (
            "meta = true\nmeta_topic = \"a/{tag}\"\n",
            "meta_topic has the unknown placeholder \"{tag}\"; allowed: {gateway}",
        ),
        ("commands = true\nset_points = true\nset_topic = \"a/b\"\n", "allowed: {tag} once, alone between slashes"),
        (
            "commands = true\nset_points = true\nset_topic = \"a/x{tag}/set\"\n",
            "allowed: {tag} once, alone between slashes",
        ),
        (
            "commands = true\nset_points = true\nset_topic = \"{tag}/{tag}\"\n",
            "allowed: {tag} once, alone between slashes",
        ),
        ("commands = true\nset_points = true\nset_topic = \"{group}/{tag}\"\n", "allowed: {gateway}, {tag}"),
    ] {
        let found = fault(lines, &["t"]);
        assert!(found.contains(told), "{found}");
    }
}

#[test]
fn topics_that_get_in_each_others_way_are_refused() {
    let commands = "commands = true\nset_points = true\n";
    for (lines, tags, told) in [
        ("topic_per = \"tag\"\n".to_owned(), vec!["t", "status"], "the topic of tag \"status\" is the status_topic"),
        ("topic_per = \"tag\"\n".to_owned(), vec!["meta"], "the topic of tag \"meta\" is the meta_topic"),
        (
            "meta = true\nmeta_topic = \"fieldbeat/{gateway}/status\"\n".to_owned(),
            vec!["t"],
            "meta_topic is the status_topic",
        ),
        (
            "topic_per = \"tag\"\ntopic = \"fieldbeat/{gateway}/meta/{tag}\"\n".to_owned(),
            vec!["t"],
            "is below meta_topic",
        ),
        (
            format!("{commands}set_topic = \"fieldbeat/{{gateway}}/{{tag}}\"\n"),
            vec!["t"],
            "set_topic also matches \"fieldbeat/line-4/status\", which is status_topic",
        ),
        (
            format!("{commands}topic_per = \"tag\"\ntopic = \"fieldbeat/{{gateway}}/{{tag_path}}\"\n"),
            vec!["boiler.set"],
            "set_topic also matches \"fieldbeat/line-4/boiler/set\", which is tag \"boiler.set\"",
        ),
        (
            format!("{commands}meta = true\nset_topic = \"fieldbeat/{{gateway}}/meta/{{tag}}\"\n"),
            vec!["t"],
            "set_topic also matches \"fieldbeat/line-4/meta/0\", which is a part of meta_topic",
        ),
    ] {
        let found = fault(&lines, &tags);
        assert!(found.contains(told), "{found}");
    }
}

#[test]
fn two_tags_never_share_a_topic() {
    let groups = r#""groups": [{"name": "bc", "scan_rate_ms": 10}, {"name": "c", "scan_rate_ms": 10}], "tags""#;
    let of = |name: &str, group: &str| tag(name).replace("\"scan_rate_ms\": 10", &format!("\"group\": \"{group}\""));
    let tags = tag_file(&[&of("a", "bc"), &of("ab", "c")]).replace("\"tags\"", groups);
    let toml = format!("{MINIMAL}{MQTT}topic_per = \"tag\"\ntopic = \"x/{{tag}}{{group}}\"\n");
    let found = lines(&refused(&toml, &[("tags/a.json", &tags)]));
    assert!(found[0].contains("tag \"a\" and tag \"ab\" have the same topic, \"x/abc\""), "{found:?}");
}

#[test]
fn two_outputs_never_take_the_same_set_points() {
    let output = |name: &str| {
        format!(
            "[outputs.{name}]\ntype = \"mqtt\"\nurl = \"mqtts://b\"\ncommands = true\nset_points = true\n\
             command_topic = \"{name}/c\"\nanswer_topic = \"{name}/a\"\n"
        )
    };
    let toml = format!("{MINIMAL}{}{}", output("a"), output("b"));
    let found = lines(&refused(&toml, &[("tags/a.json", &tag_file(&[&tag("t")]))]));
    assert!(
        found.len() == 1 && found[0].contains("set_topic is also that of output \"a\": both would write"),
        "{found:?}"
    );
}

#[test]
fn a_choice_of_groups_by_a_rate_says_where_such_tags_are_now() {
    let toml = format!("{MINIMAL}{MQTT}groups = [\"10ms\", \"default\"]\n");
    let warnings = loaded(&toml, &[("tags/a.json", &tag_file(&[&tag("t")]))]).warnings;
    let told = warnings[0].to_string();
    assert!(
        told.contains("groups: \"10ms\" matches no group; tags without a group are in the group \"default\""),
        "{told}"
    );
}
