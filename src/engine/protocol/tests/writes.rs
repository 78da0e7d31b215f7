//! `"write"` of tags, `[control]`, and commands over MQTT: what is read, and what is refused.

use super::{MINIMAL, config, fault, lines, loaded, refused, tag_file, toml_fault};
use crate::config::WriteConfig;
use crate::tag::Nanos;

/// A tag that may be written so; the value of `"write"` starts at column 16.
fn tag(write: &str, address: &str, more: &str) -> String {
    format!(r#"{{     "write": {write}, "name": "t", "address": "{address}", {more}, "scan_rate_ms": 10}}"#)
}

const INT16: &str = r#""data_type": "int16""#;

fn write_of(write: &str, address: &str, more: &str) -> Option<WriteConfig> {
    config(&tag_file(&[&tag(write, address, more)])).tags.remove(0).write
}

/// Finding on a register of 16 bits.
fn fault_of(write: &str) -> String {
    fault(&tag(write, "plc1:1:3:40001", INT16))
}

#[test]
fn a_tag_is_written_only_when_its_file_says_so() {
    let plain =
        config(&tag_file(&[r#"{"name": "t", "address": "plc1:1:1:1", "data_type": "bool", "scan_rate_ms": 10}"#]));
    assert_eq!(plain.tags[0].write, None);
    assert_eq!(write_of("false", "plc1:1:1:1", r#""data_type": "bool""#), None);
    let defaults = WriteConfig {
        interval_min: Nanos::from_millis(100),
        timeout: Nanos::from_millis(1000),
        ..WriteConfig::default()
    };
    assert_eq!(write_of("true", "plc1:1:1:1", r#""data_type": "bool""#), Some(defaults.clone()));
    assert_eq!(write_of("{}", "plc1:1:3:40001:4", r#""data_type": "string""#), Some(defaults));
    let all = r#"{"min": -5, "max": 99.5, "max_step": 2.5, "min_interval_ms": 0, "read_back": true, "timeout_ms": 250,
                  "function": 23}"#
        .replace('\n', " ");
    let expected = WriteConfig {
        min: Some(-5.0),
        max: Some(99.5),
        step_max: Some(2.5),
        interval_min: Nanos::ZERO,
        read_back: true,
        timeout: Nanos::from_millis(250),
        read_write_in_one: true,
        function: None,
        by_pdo: false,
    };
    assert_eq!(write_of(&all, "plc1:1:3:40001", INT16), Some(expected));
}

#[test]
fn a_number_without_a_range_is_warned_of() {
    for (write, missing) in [("true", "min and max"), (r#"{"min": 0}"#, "max"), (r#"{"max": 5}"#, "min")] {
        let file = tag_file(&[&tag(write, "plc1:1:3:40001", INT16)]);
        let warnings = loaded(MINIMAL, &[("tags/a.json", &file)]).warnings;
        assert_eq!(warnings.len(), 1);
        assert_eq!(
            warnings[0].to_string(),
            format!(
                "tags/a.json:2:16: warning: tag \"t\": a writable number without {missing}; set what the \
                 machine tolerates; without limits, every number of the type can be written"
            )
        );
    }
}

#[test]
fn limits_that_cannot_be_are_refused() {
    for (write, told) in [
        (
            "1",
            "2:16: error: tag \"t\": write is 1; allowed: true, false, or an object such as {\"min\": 0, \"max\": 100}",
        ),
        (r#"{"min": 2, "max": 1}"#, "2:24: error: tag \"t\": min 2 is above max 1; allowed: min of at most max"),
        (
            r#"{"min": 0, "max": 9, "max_step": 0}"#,
            "2:49: error: tag \"t\": max_step is 0; allowed: a number above 0, or no max_step",
        ),
        (
            r#"{"min": 0, "max": 9, "max_step": "x"}"#,
            "2:49: error: tag \"t\": max_step is the string \"x\"; allowed: a finite number",
        ),
        (
            r#"{"min": 0, "max": 32768}"#,
            "2:34: error: tag \"t\": max is 32768, and the tag holds -32768 to 32767; allowed: -32768 to 32767",
        ),
        (
            r#"{"min": -32769, "max": 0}"#,
            "2:24: error: tag \"t\": min is -32769, and the tag holds -32768 to 32767; allowed: -32768 to 32767",
        ),
        (
            r#"{"min": 0, "max": 9, "timeout_ms": 5}"#,
            "2:51: error: tag \"t\": timeout_ms is 5; allowed: a whole number from 10 to 60000 ms",
        ),
        (
            r#"{"min": 0, "max": 9, "function": 5}"#,
            "2:49: error: tag \"t\": function is 5; allowed: 6, 16, 23 for one register; without it, the function is \
             chosen automatically",
        ),
        (
            r#"{"min": 0, "max": 9, "maxstep": 1}"#,
            "2:37: error: tag \"t\": the key \"maxstep\" is unknown; allowed: min, max, max_step, min_interval_ms, \
             read_back, timeout_ms, function, via (did you mean \"max_step\"?)",
        ),
    ] {
        assert_eq!(fault_of(write), format!("tags/a.json:{told}"), "{write}");
    }
}

#[test]
fn the_range_is_that_of_the_scaled_value() {
    let scaled = r#""data_type": "uint16", "scale": -0.1, "offset": 100"#;
    assert!(write_of(r#"{"min": -6453.5, "max": 100}"#, "plc1:1:3:40001", scaled).is_some());
    let told = fault(&tag(r#"{"min": 0, "max": 100.5}"#, "plc1:1:3:40001", scaled));
    assert!(told.contains("max is 100.5, and the tag holds -6453.5 to 100;"), "{told}");
    let told = fault(&tag(r#"{"min": 0, "max": 10000}"#, "plc1:1:3:40001", r#""data_type": "bcd16""#));
    assert!(told.contains("allowed: 0 to 9999"), "{told}");
}

#[test]
fn what_modbus_cannot_write_is_refused() {
    let range = r#"{"min": 0, "max": 1}"#;
    let told = fault(&tag(range, "plc1:1:4:30001", INT16));
    assert!(
        told.ends_with(
            "write on a tag of function 4, which is read-only in Modbus; allowed: tags of function 1 \
        (coils) and 3 (holding registers)"
        ),
        "{told}"
    );
    let told = fault(&tag("true", "plc1:1:2:10001", r#""data_type": "bool""#));
    assert!(told.contains("write on a tag of function 2"), "{told}");
    let told = fault(&tag("true", "plc1:1:3:40001:124", r#""data_type": "string""#));
    assert!(told.contains("124 registers do not fit one write; allowed: at most 123 registers"), "{told}");
    let told = fault(&tag(r#"{"function": 23}"#, "plc1:1:3:40001:122", r#""data_type": "string""#));
    assert!(told.contains("allowed: at most 121 registers"), "{told}");
    let told = fault(&tag("true", "plc1:1:1:1:1969", r#""data_type": "bool", "array": 1969"#));
    assert!(told.contains("1969 coils do not fit one write; allowed: at most 1968 coils"), "{told}");
    let told = fault(&tag(r#"{"function": 23}"#, "plc1:1:3:40001", r#""data_type": "bool", "bit": 3"#));
    assert!(told.contains("function is 23; allowed: 22, 6, 16 for a part of a register"), "{told}");
    let told = fault(&tag(r#"{"function": 5}"#, "plc1:1:1:1:8", r#""data_type": "bool", "array": 8"#));
    assert!(told.contains("function is 5; allowed: 15 for several coils"), "{told}");
    let told = fault(&tag(r#"{"function": 6}"#, "plc1:1:3:40001:4", r#""data_type": "string""#));
    assert!(told.contains("function is 6; allowed: 16, 23 for several registers"), "{told}");
    for (function, at, is_there) in
        [(22, "plc1:1:3:40001", true), (16, "plc1:1:3:40001", true), (23, "plc1:1:3:40001", false)]
    {
        let ty = if is_there { r#""data_type": "bool", "bit": 3"# } else { INT16 };
        let write = format!(r#"{{"function": {function}{}}}"#, if is_there { "" } else { r#", "min": 0, "max": 1"# });
        let found = write_of(&write, at, ty).unwrap();
        assert_eq!((found.function, found.read_write_in_one), (is_there.then_some(function), !is_there));
    }
    let told = fault(&tag(r#"{"min": 0}"#, "plc1:1:1:1", r#""data_type": "bool""#));
    assert!(told.contains("min on a bool or a string; remove it"), "{told}");
}

#[test]
fn the_control_socket_lies_beside_the_journal_unless_it_is_said_otherwise() {
    let right = tag_file(&[r#"{"name": "t", "address": "plc1:1:1:1", "data_type": "bool", "scan_rate_ms": 10}"#]);
    let socket = |toml: &str| {
        let config = loaded(&format!("{MINIMAL}{toml}"), &[("tags/a.json", &right)]).config;
        config.control.socket.map(|path| path.display().to_string())
    };
    assert_eq!(socket("").as_deref(), Some("/var/lib/fieldbeat/journal/control.sock"));
    assert_eq!(socket("[journal]\npath = \"j\"").as_deref(), Some("j/control.sock"));
    assert_eq!(socket("[control]\nsocket = \"/run/f/c\"").as_deref(), Some("/run/f/c"));
    assert_eq!(socket("[control]\nsocket = \"off\""), None);
    for (lines, told) in [
        ("[control]\nsocket = \"\"", "4:10: error: [control]: socket is \"\"; allowed: a path"),
        (
            "[control]\nsocket = \"off\"\ngroup = \"plant\"",
            "5:9: error: [control]: group without a socket; remove it, or the line socket = \"off\"",
        ),
        (
            "[control]\ngroup = \"a b\"",
            "4:9: error: [control]: group is \"a b\"; allowed: the name of a group of users of this machine",
        ),
        (
            "[control]\nmax_writes_per_s = 0",
            "4:20: error: [control]: max_writes_per_s is 0; allowed: a whole number from 1 to 1000",
        ),
    ] {
        assert_eq!(toml_fault(&format!("{MINIMAL}{lines}")), format!("fieldbeat.toml:{told}"));
    }
    let long = format!("{MINIMAL}[control]\nsocket = \"/{}\"", "x".repeat(107));
    assert!(toml_fault(&long).contains("has 108 bytes; allowed: 107"));
}

#[test]
fn command_topics_are_topics_of_their_own() {
    let output =
        |lines: &str| format!("{MINIMAL}[outputs.a]\ntype = \"mqtt\"\nurl = \"mqtts://b\"\ncommands = true\n{lines}");
    for (toml, told) in [
        (
            output("command_topic = \"x\"\nanswer_topic = \"x\""),
            "7:17: error: output \"a\": command_topic is the answer_topic, \"x\"; allowed: a topic of its own",
        ),
        (
            output("command_topic = \"fieldbeat/{gateway}/status\""),
            "7:17: error: output \"a\": command_topic is the status_topic, \"fieldbeat/{gateway}/status\"; allowed: a \
             topic of its own",
        ),
        (
            output("command_topic = \"x/#\""),
            "7:20: error: output \"a\": command_topic has the wildcard \"#\"; allowed: the topic of one message, without + and #",
        ),
        (
            output("commands_topic = \"x\""),
            "7:1: error: output \"a\": the key \"commands_topic\" is unknown; allowed: type, tags, groups, exclude_tags, url, urls, return_after_s, version, ca, cert, key, user, password, password_file, client_id, qos, topic_per, topic, retain, status_topic, meta, meta_topic, batch_ms, max_message_bytes, max_in_flight, keep_alive_s, commands, command_topic, answer_topic, set_points, set_topic (did you mean \"command_topic\"?)",
        ),
        (
            output("[outputs.b]\ntype = \"mqtt\"\nurl = \"mqtts://b\"\ncommands = true"),
            "10:12: error: output \"b\": command_topic \"fieldbeat/{gateway}/command\" is also that of output \"a\": \
             both would write; allowed: commands by one of the two",
        ),
    ] {
        assert_eq!(toml_fault(&toml), format!("fieldbeat.toml:{told}"));
    }
    let file = tag_file(&[r#"{"name": "t", "address": "plc1:1:1:1", "data_type": "bool", "group": "command"}"#])
        .replace("\"tags\"", "\"groups\": [{\"name\": \"command\", \"scan_rate_ms\": 10}], \"tags\"");
    let told = lines(&refused(&output(""), &[("tags/a.json", &file)]));
    assert!(told[0].contains("the topic of group \"command\" is the command_topic"), "{told:?}");
}

#[test]
fn commands_in_the_clear_are_warned_of() {
    let right = tag_file(&[r#"{"name": "t", "address": "plc1:1:1:1", "data_type": "bool", "scan_rate_ms": 10}"#]);
    let warnings = |url: &str| {
        let toml = format!("{MINIMAL}[outputs.a]\ntype = \"mqtt\"\nurl = \"{url}\"\ncommands = true\n");
        loaded(&toml, &[("tags/a.json", &right)]).warnings.len()
    };
    assert_eq!((warnings("mqtt://broker"), warnings("mqtts://broker"), warnings("mqtt://127.0.0.1")), (1, 0, 0));
}
