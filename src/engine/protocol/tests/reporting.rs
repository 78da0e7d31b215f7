//! Report by exception: what groups and tags say, and what does not go together.

use super::{LINK, MINIMAL, config, fault, lines, refused};
use crate::config::model::{Reporting, Suppress};
use crate::tag::Nanos;

/// A file with one group and one tag in it, both with more keys.
fn file(group: &str, data_type: &str, tag: &str) -> String {
    let function = if data_type == "bool" { "1" } else { "3" };
    let count = if data_type == "string" { ":4" } else { "" };
    format!(
        r#"{{{LINK}, "groups": [{{"name": "g", "scan_rate_ms": 10{group}}}], "tags": [
{{"name": "t", "address": "plc1:1:{function}:1{count}", "data_type": "{data_type}", "group": "g"{tag}}}]}}"#
    )
}

fn reporting(group: &str, data_type: &str, tag: &str) -> Option<Reporting> {
    config(&file(group, data_type, tag)).tags[0].reporting
}

const CHANGE: Reporting =
    Reporting { deadband: 0.0, max_silence: Nanos::from_millis(60_000), suppress: Suppress::Ring, keep_last: false };

#[test]
fn every_sample_is_told_unless_something_else_is_said() {
    assert_eq!(reporting("", "int16", ""), None);
    assert_eq!(reporting("", "int16", r#", "report": "every", "range": [0, 10]"#), None);
    assert_eq!(reporting(r#", "max_silence_ms": 500, "suppress": "journal""#, "int16", ""), None);
}

#[test]
fn a_deadband_is_absolute_or_a_part_of_the_range() {
    let with = |deadband| Some(Reporting { deadband, ..CHANGE });
    assert_eq!(reporting("", "float32", r#", "deadband": 0.5"#), with(0.5));
    assert_eq!(reporting("", "int16", r#", "deadband_percent": 1.5, "range": [-50, 150]"#), with(3.0));
    assert_eq!(reporting("", "int16", r#", "report": "change""#), Some(CHANGE));
    let all = r#", "deadband": 2, "max_silence_ms": 20, "suppress": "journal", "keep_last": true"#;
    let said =
        Reporting { deadband: 2.0, max_silence: Nanos::from_millis(20), suppress: Suppress::Journal, keep_last: true };
    assert_eq!(reporting("", "uint32", all), Some(said));
}

#[test]
fn a_slow_tag_may_be_silent_for_four_scans_where_nothing_else_is_said() {
    for (period_ms, silence_ms) in [(10_000, 60_000), (900_000, 3_600_000), (86_400_000, 345_600_000)] {
        let text = file("", "int16", r#", "report": "change""#)
            .replace("\"scan_rate_ms\": 10", &format!("\"scan_rate_ms\": {period_ms}"));
        let found = config(&text).tags[0].reporting.unwrap().max_silence;
        assert_eq!(found, Nanos::from_millis(silence_ms), "{period_ms} ms");
    }
}

#[test]
fn a_tag_goes_before_its_group() {
    let group = r#", "deadband": 2, "max_silence_ms": 5000, "suppress": "journal", "keep_last": true"#;
    let said = Reporting {
        deadband: 2.0,
        max_silence: Nanos::from_millis(5000),
        suppress: Suppress::Journal,
        keep_last: true,
    };
    assert_eq!(reporting(group, "int16", ""), Some(said));
    assert_eq!(reporting(group, "int16", r#", "report": "every""#), None);
    let own = r#", "report": "change", "max_silence_ms": 100, "keep_last": false"#;
    let change = Reporting { deadband: 0.0, max_silence: Nanos::from_millis(100), keep_last: false, ..said };
    assert_eq!(reporting(group, "int16", own), Some(change));
    assert_eq!(
        reporting(r#", "deadband_percent": 10"#, "int16", r#", "range": [0, 100]"#),
        Some(Reporting { deadband: 10.0, ..CHANGE })
    );
}

#[test]
fn a_groups_deadband_tells_changes_of_what_is_no_number() {
    let group = r#", "deadband": 2, "keep_last": true"#;
    assert_eq!(reporting(group, "bool", ""), Some(Reporting { keep_last: true, ..CHANGE }));
    assert_eq!(reporting(group, "string", ""), Some(CHANGE), "a string is not kept");
    assert_eq!(reporting(r#", "deadband_percent": 2"#, "bool", ""), Some(CHANGE), "and needs no range");
    assert_eq!(reporting(group, "int16", r#", "array": 3"#), Some(Reporting { deadband: 2.0, ..CHANGE }));
}

#[test]
fn what_does_not_suit_a_tag_is_refused() {
    let with = |data_type: &str, keys: &str| {
        let mut found = lines(&refused(MINIMAL, &[("tags/a.json", &file("", data_type, keys))]));
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0).split_once("tag \"t\": ").map(|(_, told)| told.to_owned()).unwrap()
    };
    for (data_type, keys, told) in [
        (
            "int16",
            r#""deadband": 1, "deadband_percent": 1, "range": [0, 1]"#,
            "deadband and deadband_percent together; allowed: one of report, deadband and deadband_percent",
        ),
        (
            "int16",
            r#""report": "change", "deadband": 1"#,
            "report and deadband together; allowed: one of report, deadband and deadband_percent",
        ),
        ("int16", r#""deadband": -1"#, "deadband is -1; allowed: a number from 0 to 1"),
        ("int16", r#""deadband": 1e999"#, "deadband is inf; allowed: a number from 0 to 1"),
        (
            "int16",
            r#""deadband_percent": 101, "range": [0, 1]"#,
            "deadband_percent is 101; allowed: a number from 0 to 100 %",
        ),
        (
            "int16",
            r#""deadband_percent": 1"#,
            "range is missing: deadband_percent refers to it; allowed: \"range\": [lowest, highest] in the tag's unit",
        ),
        ("bool", r#""deadband": 1"#, "deadband on a bool; remove it, or set \"report\": \"change\""),
        (
            "string",
            r#""deadband_percent": 1"#,
            "deadband_percent on a string; remove it, or set \"report\": \"change\"",
        ),
        ("bool", r#""range": [0, 1]"#, "range on a bool; remove it: only numbers have a range"),
        (
            "int16",
            r#""range": [5, 5]"#,
            "range is from 5 to 5; allowed: two numbers, the lower first, such as [0, 100]",
        ),
        ("int16", r#""range": [5]"#, "range is a list; allowed: two numbers, the lower first, such as [0, 100]"),
        ("int16", r#""range": 5"#, "range is 5; allowed: two numbers, the lower first, such as [0, 100]"),
        ("string", r#""report": "change", "keep_last": true"#, "keep_last on a string; allowed: on single values"),
        (
            "int16",
            r#""keep_last": true"#,
            "keep_last on a tag whose every sample is reported; remove it, or set deadband, deadband_percent or \
             \"report\": \"change\"",
        ),
        (
            "int16",
            r#""report": "every", "suppress": "ring""#,
            "suppress on a tag whose every sample is reported; remove it, or set deadband, deadband_percent or \
             \"report\": \"change\"",
        ),
        (
            "int16",
            r#""report": "change", "max_silence_ms": 19"#,
            "max_silence_ms is 19, and the scan period is 10 ms; allowed: 20 or more",
        ),
        (
            "int16",
            r#""report": "change", "max_silence_ms": 0"#,
            "max_silence_ms is 0; allowed: a whole number from 10 to 604800000 ms",
        ),
        (
            "int16",
            r#""report": "chnage""#,
            "report \"chnage\" is unknown; allowed: every, change (did you mean \"change\"?)",
        ),
        ("int16", r#""report": "change", "suppress": "hub""#, "suppress \"hub\" is unknown; allowed: ring, journal"),
    ] {
        let found = with(data_type, &format!(", {keys}"));
        assert!(found.starts_with(told), "{keys}: {found}");
    }
}

#[test]
fn a_groups_silence_must_be_one_that_its_scans_can_keep() {
    let text = file(r#", "report": "change", "max_silence_ms": 15"#, "int16", "");
    let found = lines(&refused(MINIMAL, &[("tags/a.json", &text)]));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].ends_with("group \"g\": max_silence_ms is 15, and the scan period is 10 ms; allowed: 20 or more"));
    let tag = r#"{"name": "t", "address": "plc1:1:3:1", "data_type": "int16", "scan_rate_ms": 1000, "deadband": 1,
        "max_silence_ms": 1500}"#;
    assert!(fault(tag).ends_with("max_silence_ms is 1500, and the scan period is 1000 ms; allowed: 2000 or more"));
}
