//! Wrong gateway files: each fault with its place and its own words.

use super::{MINIMAL, lines, refused, tag_file, toml_fault};

/// The one finding on an output with these lines, of which the first is line 4.
fn output_fault(output: &str) -> String {
    toml_fault(&format!("{MINIMAL}[outputs.cloud]\n{output}"))
}

#[test]
fn the_gateway_needs_a_name() {
    assert_eq!(
        toml_fault("[metrics]\nlisten = \"off\"\n"),
        "fieldbeat.toml:1:1: error: [gateway] is missing; each gateway needs its own name: [gateway] and below it \
         id = \"line-4\""
    );
    assert_eq!(
        toml_fault("[gateway]\nid = \"line/4\""),
        "fieldbeat.toml:2:6: error: [gateway]: id has the character \"/\"; allowed: letters a-z and A-Z, digits, \".\", \
         \"_\" and \"-\", at most 128 bytes"
    );
    assert_eq!(toml_fault("  \n"), "fieldbeat.toml:1:1: error: the file is empty; was it written completely?");
}

#[test]
fn settings_outside_their_range_are_refused() {
    for (lines, told) in [
        (
            "[realtime]\ncores = []",
            "4:9: error: [realtime]: cores is an empty list; allowed: CPU numbers such as [2, 3]; without this key \
             the isolated CPUs are used, else the last CPU",
        ),
        ("[realtime]\ncores = [2, 2]", "4:13: error: [realtime]: cores names CPU 2 twice; allowed: each CPU once"),
        ("[realtime]\ncores = 2", "4:9: error: [realtime]: cores is 2; allowed: a list of CPU numbers"),
        ("[realtime]\ncores = [-1]", "4:10: error: [realtime]: cores is -1; allowed: a whole number from 0 to 1023"),
        (
            "[realtime]\npriority = 100",
            "4:12: error: [realtime]: priority is 100; allowed: a whole number from 1 to 99",
        ),
        (
            "[realtime]\nguard_us = \"fast\"",
            "4:12: error: [realtime]: guard_us is the string \"fast\"; allowed: \"auto\" or a whole number from 0 to \
             1000 µs",
        ),
        (
            "[realtime]\nprio = 80",
            "4:1: error: [realtime]: the key \"prio\" is unknown; allowed: cores, priority, guard_us, admission",
        ),
        (
            "[journal]\nmax_bytes = \"8 gigs\"",
            "4:13: error: [journal]: max_bytes is \"8 gigs\"; allowed: bytes, or a string such as \"8GiB\" (KiB, \
             MiB, GiB, TiB, KB, MB, GB, TB), from 16MiB to 16TiB",
        ),
        (
            "[journal]\nmax_bytes = 1000",
            "4:13: error: [journal]: max_bytes is 1000; allowed: a whole number from 16777216 to 17592186044416 bytes",
        ),
        (
            "[journal]\ncommit_ms = 9",
            "4:13: error: [journal]: commit_ms is 9; allowed: a whole number from 10 to 5000 ms",
        ),
        (
            "[metrics]\nlisten = \"localhost\"",
            "4:10: error: [metrics]: listen is \"localhost\"; allowed: an address and port such as \"127.0.0.1:9464\", or \"off\"",
        ),
        (
            "[metric]\nlisten = \"off\"",
            "3:2: error: the key \"metric\" is unknown; allowed: gateway, realtime, journal, metrics, control, watchdog, diagnostics, outputs (did you mean \"metrics\"?)",
        ),
        (
            "[watchdog]\nexecutor_stall_s = 0",
            "4:20: error: [watchdog]: executor_stall_s is 0; allowed: a whole number from 1 to 60 s",
        ),
        (
            "[watchdog]\njournal_stall_s = 4",
            "4:19: error: [watchdog]: journal_stall_s is 4; allowed: a whole number from 5 to 3600 s",
        ),
        (
            "[watchdog]\ndevice = \"/dev/watchdog\"\ntimeout_s = 4",
            "5:13: error: [watchdog]: timeout_s is 4; allowed: a whole number from 5 to 600 s",
        ),
        (
            "[watchdog]\ntimeout_s = 10",
            "4:13: error: [watchdog]: timeout_s without device; name the hardware watchdog: device = \"/dev/watchdog0\"",
        ),
        ("[watchdog]\ndevice = \"\"", "4:10: error: [watchdog]: device is \"\"; allowed: a path"),
        ("[journal]\npath = 1979-05-27", "4:8: error: [journal]: path is a date; allowed: a path"),
    ] {
        assert_eq!(toml_fault(&format!("{MINIMAL}{lines}\n")), format!("fieldbeat.toml:{told}"));
    }
}

#[test]
fn what_is_no_toml_is_refused_with_its_place() {
    assert!(
        toml_fault("[gateway]\nid = \"a\"\nid = \"b\"\n")
            .starts_with("fieldbeat.toml:3:1: error: not TOML: duplicate key")
    );
    assert!(toml_fault("[gateway]\nid = \n").starts_with("fieldbeat.toml:2:"));
}

#[test]
fn broker_urls_are_checked() {
    let url = |url: &str| output_fault(&format!("type = \"mqtt\"\nurl = \"{url}\"\n"));
    let allowed = "allowed: mqtt://HOST, mqtt://HOST:PORT, mqtts://HOST or mqtts://HOST:PORT";
    for (written, told) in [
        ("http://b", format!("the URL's scheme \"http\" is unknown; {allowed}")),
        ("broker.example", format!("the URL \"broker.example\" cannot be read: relative URL without a base; {allowed}")),
        ("mqtt://b:99999", format!("the URL \"mqtt://b:99999\" cannot be read: invalid port number; {allowed}")),
        ("mqtt://b/topic", format!("the URL \"mqtt://b/topic\" has more text after the port; {allowed}")),
        ("mqtt:b", format!("the URL \"mqtt:b\" has more text after the port; {allowed}")),
        ("mqtt://10.0.0.256", "the URL's host \"10.0.0.256\" is not an IP address; allowed: four numbers from 0 to 255, such as 192.168.10.21".into()),
    ] {
        assert_eq!(url(written), format!("fieldbeat.toml:5:7: error: output \"cloud\": {told}"));
    }
    let found = url("mqtt://u:secret@b");
    let told = "the URL contains a user; write user and password (or password_file) as keys of their own";
    assert_eq!(found, format!("fieldbeat.toml:5:7: error: output \"cloud\": {told}"));
    for written in ["mqtt://u:secret@b b", "mqtt://u:secret@b:99999", "xx://u:secret@b"] {
        assert!(!url(written).contains("secret"), "a password is never repeated");
    }
}

#[test]
fn settings_of_an_output_that_do_not_fit_are_refused() {
    let mqtt = "type = \"mqtt\"\nurl = \"mqtt://b\"\n";
    let mqtts = "type = \"mqtt\"\nurl = \"mqtts://b\"\n";
    for (lines, told) in [
        (
            format!("{mqtts}cert = \"c\"\n"),
            "6:8: error: output \"cloud\": cert without key; a client certificate needs both: cert and key",
        ),
        (
            format!("{mqtts}key = \"c\"\n"),
            "6:7: error: output \"cloud\": key without cert; a client certificate needs both: cert and key",
        ),
        (
            format!("{mqtt}ca = \"c\"\n"),
            "6:6: error: output \"cloud\": ca has no meaning without TLS; write the url with mqtts://, or remove the key",
        ),
        (
            format!("{mqtt}version = \"4\"\n"),
            "6:11: error: output \"cloud\": version \"4\" is unknown; allowed: 3.1.1, 5",
        ),
        (format!("{mqtt}version = 5\n"), "6:11: error: output \"cloud\": version is 5; allowed: 3.1.1, 5"),
        (format!("{mqtt}qos = 2\n"), "6:7: error: output \"cloud\": qos is 2; allowed: a whole number from 0 to 1"),
        (format!("{mqtt}password = \"p\"\n"), "6:12: error: output \"cloud\": password without user; add user = \"…\""),
        (
            format!("{mqtt}user = \"u\"\npassword = 4711\n"),
            "7:12: error: output \"cloud\": password is a number; allowed: a string",
        ),
        (
            format!("{mqtt}user = \"u\"\npassword = \"p\"\npassword_file = \"f\"\n"),
            "8:17: error: output \"cloud\": password and password_file together; allowed: one of the two",
        ),
        (
            format!("{mqtt}topic = \"a/{{tag}}\"\n"),
            "6:12: error: output \"cloud\": topic has the unknown placeholder \"{tag}\"; allowed: {gateway}, {group}, {link}; {tag} \
             and {tag_path} with topic_per = \"tag\"",
        ),
        (
            format!("{mqtt}topic = \"a/#\"\n"),
            "6:12: error: output \"cloud\": topic has the wildcard \"#\"; allowed: the topic of one message, without + and #",
        ),
        (
            format!("{mqtt}status_topic = \"a/{{group}}\"\n"),
            "6:19: error: output \"cloud\": status_topic has the unknown placeholder \"{group}\"; allowed: {gateway}",
        ),
        (
            format!("{mqtt}max_message_bytes = 100\n"),
            "6:21: error: output \"cloud\": max_message_bytes is 100; allowed: a whole number from 1024 to 1048576 bytes",
        ),
        ("url = \"mqtt://b\"\n".into(), "3:1: error: output \"cloud\": type is missing; allowed: mqtt, influxdb"),
        (
            "type = \"kafka\"\nurl = \"x\"\n".into(),
            "4:8: error: output \"cloud\": type \"kafka\" is unknown; allowed: mqtt, influxdb",
        ),
        (
            "type = \"mqtt\"\n".into(),
            "3:1: error: output \"cloud\": url is missing; allowed: mqtt://HOST, mqtt://HOST:PORT, mqtts://HOST or mqtts://HOST:PORT",
        ),
    ] {
        assert_eq!(output_fault(&lines), format!("fieldbeat.toml:{told}"));
    }
}

#[test]
fn a_password_file_that_is_missing_is_named() {
    let found = output_fault("type = \"mqtt\"\nurl = \"mqtt://b\"\nuser = \"u\"\npassword_file = \"/gone/secret\"\n");
    let start = "fieldbeat.toml:7:17: error: output \"cloud\": password_file \"/gone/secret\" cannot be read: ";
    assert!(found.starts_with(start), "{found}");
}

#[test]
fn two_outputs_do_not_share_a_client_id() {
    let output = |name: &str| format!("[outputs.{name}]\ntype = \"mqtt\"\nurl = \"mqtt://b\"\nclient_id = \"c\"\n");
    assert_eq!(
        toml_fault(&format!("{MINIMAL}{}{}", output("a"), output("b"))),
        "fieldbeat.toml:10:13: error: output \"b\": client_id \"c\" is also that of output \"a\"; allowed: a unique \
         id for each output of a broker"
    );
}

#[test]
fn samples_never_go_to_the_status_topic() {
    let tag = r#"{"name": "t", "address": "plc1:1:3:40001", "data_type": "int16", "group": "status"}"#;
    let tags =
        tag_file(&[tag]).replace("\"tags\"", "\"groups\": [{\"name\": \"status\", \"scan_rate_ms\": 10}], \"tags\"");
    let toml = format!("{MINIMAL}[outputs.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://b\"\n");
    assert_eq!(
        lines(&refused(&toml, &[("tags/a.json", &tags)])),
        [
            "fieldbeat.toml:3:10: error: output \"cloud\": the topic of group \"status\" is the status_topic; rename the \
          group, or set topic or status_topic"
        ]
    );
}
