//! Wrong tag files: each fault with its place and its own words.

use super::{LINK, MINIMAL, fault, faults, lines, loaded, refused, tag_file};
use crate::config::fields::keys;
use crate::protocol::kinds::PROTOCOLS;
use crate::protocol::modbus;

/// A right tag with some of its text replaced.
fn changed(from: &str, to: &str) -> String {
    let tag = r#"{"name": "t", "address": "plc1:1:3:40001:2", "data_type": "float32", "scan_rate_ms": 10}"#;
    assert!(tag.contains(from), "{from}");
    tag.replace(from, to)
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_one() {
    // Those of the kind of link that the tag is on.
    let own: Vec<&str> = keys::TAG.iter().chain(modbus::fields::MODBUS_TAG_KEYS).copied().collect();
    let own = own.join(", ");
    assert!(own.contains("array") && !own.contains("debounce_us"));
    let line = |key: &str, meant: &str| {
        format!(
            "tags/a.json:2:46: error: tag \"t\": the key \"{key}\" is unknown; allowed: {own} (did you mean \"{meant}\"?)"
        )
    };
    assert_eq!(fault(&changed("\"data_type\"", "\"scael\": 2, \"data_type\"")), line("scael", "scale"));
    // What other programs call it.
    assert_eq!(fault(&changed("\"data_type\"", "\"writable\": true, \"data_type\"")), line("writable", "write"));
    let all = lines(&refused(MINIMAL, &[("tags/a.json", "{\"tgas\": []}")]));
    assert_eq!(
        all,
        ["tags/a.json:1:2: error: the key \"tgas\" is unknown; allowed: $schema, groups, links, tags (did you mean \
          \"tags\"?)"]
    );
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    assert_eq!(
        fault(&changed("\"data_type\"", "\"name\": \"u\", \"data_type\"")),
        "tags/a.json:2:46: error: tag \"t\": the key \"name\" appears twice; the first one is in line 2"
    );
}

#[test]
fn a_tag_that_is_declared_twice_is_named_with_both_places() {
    let again = changed("40001", "40011");
    assert_eq!(
        faults(&[&changed("t", "t"), &again]),
        ["tags/a.json:3:10: error: tag \"t\": declared twice; first declared at tags/a.json:2:1; rename or remove \
          one of the two"]
    );
    let one = tag_file(&[&again]);
    let other = format!("{{\"tags\": [{}]}}", changed("40001", "40021"));
    assert_eq!(
        lines(&refused(MINIMAL, &[("tags/a.json", &one), ("tags/b.json", &other)])),
        ["tags/b.json:1:20: error: tag \"t\": declared twice; first declared at tags/a.json:2:1; rename or remove \
          one of the two"]
    );
}

#[test]
fn links_and_groups_that_are_declared_twice_are_named_with_both_places() {
    let one = tag_file(&[&changed("t", "t")]);
    let other = format!(
        "{{{LINK}, \"groups\": [{{\"name\": \"g\", \"scan_rate_ms\": 1}}, {{\"name\": \"g\", \"scan_rate_ms\": 1}}]}}"
    );
    let all = lines(&refused(MINIMAL, &[("tags/a.json", &one), ("tags/b.json", &other)]));
    assert_eq!(
        all,
        [
            "tags/b.json:1:21: error: link \"plc1\": declared twice; first declared at tags/a.json:1:12; rename or \
             remove one of the two",
            "tags/b.json:1:131: error: group \"g\": declared twice; first declared at tags/b.json:1:88; rename or \
             remove one of the two",
        ]
    );
}

#[test]
fn an_address_outside_the_table_is_refused() {
    for (register, line) in [
        (
            "65536",
            "2:36: error: tag \"t\": the register 65536 is outside 0 to 65535; allowed: 0 to 65535, or a reference with \
             function 3: 40001 to 465536",
        ),
        (
            "499999",
            "2:36: error: tag \"t\": the register 499999 is outside 0 to 65535; allowed: the references 40001 to 465536, \
             or offsets",
        ),
        (
            "465536",
            "2:36: error: tag \"t\": 2 registers from offset 65535 end at 65536, outside 0 to 65535; allowed: a first \
             offset of at most 65534",
        ),
        (
            "40000",
            "2:36: error: tag \"t\": the register 40000 is ambiguous: references start at 40001; write 40001 for the \
             first; for the offset 40000 set \"addressing\": \"raw\" on the link",
        ),
        (
            "00001",
            "2:36: error: tag \"t\": the register 00001 is ambiguous; the reference of function 3 starts with 4; an \
             offset has no leading zero",
        ),
        ("-1", "2:36: error: tag \"t\": the register \"-1\" is not a number; allowed: decimal digits"),
    ] {
        assert_eq!(fault(&changed("40001", register)), format!("tags/a.json:{line}"));
    }
}

#[test]
fn a_count_that_does_not_fit_the_type_is_refused() {
    assert_eq!(
        fault(&changed(":2\"", ":1\"")),
        "tags/a.json:2:42: error: tag \"t\": the count is 1, but float32 has 2 registers; allowed: 2, or no count"
    );
    assert_eq!(
        fault(&changed("\"float32\"", "\"float32\", \"array\": 3")),
        "tags/a.json:2:42: error: tag \"t\": the count is 2, but an array of 3 float32 has 6 registers; allowed: 6, or \
         no count"
    );
    assert_eq!(
        fault(&changed("40001:2", "40001").replace("\"float32\"", "\"float32\", \"array\": 63")),
        "tags/a.json:2:77: error: tag \"t\": 126 registers do not fit one read; allowed: 1 to 125 registers on this link"
    );
    assert_eq!(
        fault(&changed(":2\"", "\"").replace("float32", "string")),
        "tags/a.json:2:26: error: tag \"t\": the count is missing: the length of a string in registers; add it to the \
         address: link:unit:function:register:count, such as \"plc1:1:3:40001:2\"; a register holds two characters"
    );
    assert_eq!(
        fault(&changed(":2\"", ":126\"").replace("float32", "string")),
        "tags/a.json:2:42: error: tag \"t\": 126 registers do not fit one read; allowed: 1 to 125 registers on this link"
    );
    assert_eq!(
        fault(&changed(":2\"", ":0\"").replace("float32", "string")),
        "tags/a.json:2:42: error: tag \"t\": 0 registers do not fit one read; allowed: 1 to 125 registers on this link"
    );
}

#[test]
fn a_rate_outside_a_thousand_a_second_to_one_a_day_is_refused_in_both_units() {
    for (written, told) in [
        ("0.5", "0.5 (2000 Hz)"),
        ("86400001", "86400001 (1.2e-5 Hz)"),
        ("0", "0"),
        ("-10", "-10"),
        ("1e999", "inf"),
        ("\"10\"", "the string \"10\""),
    ] {
        assert_eq!(
            fault(&changed("10}", &format!("{written}}}"))),
            format!(
                "tags/a.json:2:86: error: tag \"t\": scan_rate_ms is {told}; allowed: a number from 1 to 86400000 ms \
                 (1000 Hz to once a day)"
            )
        );
    }
    assert_eq!(
        fault(&changed(", \"scan_rate_ms\": 10", "")),
        "tags/a.json:2:1: error: tag \"t\": scan_rate_ms and group are missing; allowed: \"scan_rate_ms\" (1 to 86400000), \
         or \"group\" with the name of a group"
    );
}

#[test]
fn overlapping_addresses_of_different_types_are_warned_of() {
    let one = changed("t", "t");
    let warnings = |other: &str| -> Vec<String> {
        let text = tag_file(&[&one, other]);
        loaded(MINIMAL, &[("tags/a.json", &text)]).warnings.iter().map(ToString::to_string).collect()
    };
    let other = changed("\"t\"", "\"u\"");
    assert_eq!(
        warnings(&other.replace("40001:2", "40002").replace("float32", "int16")),
        [
            "tags/a.json:3:1: warning: tag \"u\": reads holding registers of link \"plc1\", unit 1, as int16 ABCD at 1 to 1, \
          overlapping tag \"t\" (tags/a.json:2:1), which reads float32 ABCD at 0 to 1; one of the two is likely wrong"
        ]
    );
    assert_eq!(warnings(&other.replace("40001", "40002")).len(), 1, "shifted by one register");
    assert_eq!(warnings(&other.replace("\"float32\"", "\"float32\", \"byte_order\": \"CDAB\"")).len(), 1);
    assert_eq!(warnings(&other).len(), 0, "the same twice is fine");
    assert_eq!(
        warnings(&other.replace("40001:2", "40001:6").replace("\"float32\"", "\"float32\", \"array\": 3")).len(),
        0
    );
    assert_eq!(warnings(&other.replace("plc1:1:", "plc1:2:").replace("float32", "int32")).len(), 0, "another unit");
    assert_eq!(warnings(&other.replace(":3:40001", ":4:30001").replace("float32", "int32")).len(), 0, "another table");
}

#[test]
fn bits_may_share_their_register_with_each_other_and_its_word() {
    let text = tag_file(&[
        r#"{"name": "word", "address": "plc1:1:3:5", "data_type": "uint16", "scan_rate_ms": 10}"#,
        r#"{"name": "b0", "address": "plc1:1:3:5", "data_type": "bool", "bit": 0, "scan_rate_ms": 10}"#,
        r#"{"name": "b1", "address": "plc1:1:3:5", "data_type": "bool", "bit": 1, "scan_rate_ms": 10}"#,
    ]);
    assert_eq!(loaded(MINIMAL, &[("tags/a.json", &text)]).warnings, []);
    let text = text.replace("uint16", "bcd16");
    assert_eq!(loaded(MINIMAL, &[("tags/a.json", &text)]).warnings.len(), 1, "one warning, not one for each bit");
}

#[test]
fn an_offset_that_reads_like_another_tables_reference_is_warned_of() {
    let text = tag_file(&[&changed("40001", "30001")]);
    let warnings = loaded(MINIMAL, &[("tags/a.json", &text)]).warnings;
    assert_eq!(
        warnings[0].to_string(),
        "tags/a.json:2:36: warning: tag \"t\": 30001 looks like a reference to input registers, but the function is \
         3: used as the offset 30001; set \"addressing\": \"raw\" on the link if it is an offset"
    );
    let raw = text.replace("\"host\"", "\"addressing\": \"raw\", \"host\"");
    assert_eq!(loaded(MINIMAL, &[("tags/a.json", &raw)]).warnings, []);
}

#[test]
fn the_parts_of_an_address_are_refused_each_at_its_place() {
    let address = "link:unit:function:register:count, such as \"plc1:1:3:40001:2\"";
    for (from, to, line) in [
        ("plc1:", "plc2:", "2:27: error: tag \"t\": the link \"plc2\" is not declared; allowed: a link of \"links\" in one of the files (did you mean \"plc1\"?)".to_owned()),
        (":1:3:", ":256:3:", format!("2:32: error: tag \"t\": the unit in the address is \"256\"; allowed: a number from 0 to 255; {address}")),
        (":3:", ":6:", "2:34: error: tag \"t\": function 6 writes; use the function that reads the table (3 holding \
            registers) and allow writing with \"write\": {…}".to_owned()),
        (":3:", ":15:", "2:34: error: tag \"t\": function 15 writes; use the function that reads the table (1 coils) \
            and allow writing with \"write\": {…}".to_owned()),
        (":3:", ":7:", "2:34: error: tag \"t\": the function 7 does not read; allowed: 1 coils, 2 discrete inputs, 3 holding registers, 4 input registers".to_owned()),
        (":3:", ":x:", format!("2:34: error: tag \"t\": the function in the address is \"x\"; allowed: a number from 0 to 255; {address}")),
        (":2\"", ":two\"", format!("2:42: error: tag \"t\": the count in the address is \"two\"; allowed: a number from 0 to 65536; {address}")),
        (":40001:2", "", format!("2:26: error: tag \"t\": address \"plc1:1:3\" has 3 parts; allowed: {address}")),
    ] {
        assert_eq!(fault(&changed(from, to)), format!("tags/a.json:{line}"));
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let bits = |function: &str, keys: &str| {
        fault(&format!(
            r#"{{"name": "t", "address": "plc1:1:{function}:1", "data_type": "bool", "scan_rate_ms": 10{keys}}}"#
        ))
    };
    for (found, told) in [
        (
            bits("3", ""),
            "2:53: error: tag \"t\": bit is missing: function 3 reads registers of 16 bits; allowed: \"bit\" from 0 (least significant) to 15",
        ),
        (bits("3", ", \"bit\": 16"), "2:88: error: tag \"t\": bit is 16; allowed: a whole number from 0 to 15"),
        (bits("1", ", \"bit\": 1"), "2:88: error: tag \"t\": bit with function 1; remove it: coils are single bits"),
        (
            bits("2", ", \"byte_order\": \"CDAB\""),
            "2:95: error: tag \"t\": byte_order with function 2; remove it: discrete inputs are single bits",
        ),
        (
            bits("1", ", \"scale\": 2"),
            "2:90: error: tag \"t\": scale on a bool or a string; remove it: only numbers are scaled",
        ),
        (
            bits("1", ", \"array\": 2001"),
            "2:90: error: tag \"t\": array is 2001; allowed: a whole number from 1 to 2000 elements",
        ),
        (
            bits("1", ", \"protocol\": \"opc_ua\""),
            "2:93: error: tag \"t\": protocol is \"opc_ua\"; allowed: modbus_tcp, the protocol of link \"plc1\"",
        ),
        (
            fault(&changed(":3:40001:2", ":1:1")),
            "2:53: error: tag \"t\": data_type float32 cannot be read with function 1; allowed: bool, as coils are single bits",
        ),
        (
            fault(&changed("\"float32\"", "\"float32\", \"bit\": 1")),
            "2:77: error: tag \"t\": bit with data_type float32; remove it, or set data_type to bool",
        ),
        (
            fault(&changed("\"float32\"", "\"float32\", \"scale\": 0")),
            "2:79: error: tag \"t\": scale is 0; allowed: any number but 0",
        ),
        (
            fault(&changed("\"float32\"", "\"float32\", \"offset\": 1e999")),
            "2:80: error: tag \"t\": offset is inf; allowed: a finite number",
        ),
        (
            fault(&changed("\"t\"", "\"a/b\"")),
            "2:10: error: tag \"a/b\": the name has the character \"/\"; allowed: letters, digits, \".\", \"_\" and \"-\", at most 128 bytes",
        ),
        (fault(&changed("\"t\"", "7")), "2:10: error: tag #1: name is 7; allowed: a name"),
        (fault(&changed("\"t\"", "null")), "2:10: error: tag #1: name is null; allowed: a name"),
        (
            fault(&changed("10}", "10, \"group\": \"fast\"}")),
            "2:99: error: tag \"t\": the group \"fast\" is not declared; allowed: a group of \"groups\" in one of the files",
        ),
    ] {
        assert_eq!(found, format!("tags/a.json:{told}"));
    }
    assert_eq!(
        fault("7"),
        format!(
            "tags/a.json:2:1: error: tag #1: 7, not an object; allowed: an object with {}",
            PROTOCOLS.tag_keys().join(", ")
        )
    );
}

#[test]
fn a_tag_that_contradicts_its_group_is_refused() {
    let text = tag_file(&[&changed("10}", "20, \"group\": \"fast\"}")])
        .replace("\"tags\"", "\"groups\": [{\"name\": \"fast\", \"scan_rate_ms\": 10}],\n\"tags\"");
    assert_eq!(
        lines(&refused(MINIMAL, &[("tags/a.json", &text)])),
        ["tags/a.json:3:86: error: tag \"t\": scan_rate_ms is 20, its group \"fast\" has 10; remove scan_rate_ms, or \
          repeat the group's"]
    );
}

#[test]
fn the_group_of_tags_that_name_none_cannot_be_named_unless_it_is_declared() {
    let text = tag_file(&[
        &changed("t", "t"),
        &changed("\"t\"", "\"u\"").replace("\"scan_rate_ms\": 10", "\"group\": \"default\""),
    ]);
    let all = lines(&refused(MINIMAL, &[("tags/a.json", &text)]));
    assert!(all.len() == 1 && all[0].contains("the group \"default\" is not declared; remove group"), "{all:?}");
}

#[test]
fn unreadable_ranges_are_checked_and_kept_free() {
    let with =
        |range: &str, tag: &str| tag_file(&[tag]).replace("\"host\"", &format!("\"unreadable\": [{range}], \"host\""));
    let one = |range: &str| {
        let found = lines(&refused(MINIMAL, &[("tags/a.json", &with(range, &changed("t", "t")))]));
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0].clone()
    };
    assert_eq!(
        one(r#"{"function": 3, "from": 40002, "to": 40010}"#),
        "tags/a.json:2:36: error: tag \"t\": offsets 0 to 1 touch the unreadable range 1 to 9 of its link; move the tag, \
         or narrow the range in \"unreadable\""
    );
    assert_eq!(
        one(r#"{"function": 3, "from": 10, "to": 9}"#),
        "tags/a.json:1:94: error: link \"plc1\": unreadable #1: from is above to; allowed: from is at most to; both \
         are included"
    );
    assert!(
        one(r#"{"function": 5, "from": 1, "to": 9}"#).contains("function is 5; allowed: a whole number from 1 to 4")
    );
    for fine in [
        r#"{"function": 3, "unit": 2, "from": 1, "to": 9}"#,
        r#"{"function": 4, "from": 1, "to": 9}"#,
        r#"{"function": 3, "from": 2, "to": 9}"#,
    ] {
        loaded(MINIMAL, &[("tags/a.json", &with(fine, &changed("t", "t")))]);
    }
}

#[test]
fn wrong_links_are_refused() {
    let one = |from: &str, to: &str| {
        let text = tag_file(&[&changed("t", "t")]);
        assert!(text.contains(from));
        let found = lines(&refused(MINIMAL, &[("tags/a.json", &text.replacen(from, to, 1))]));
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0].clone()
    };
    for (from, to, told) in [
        (
            "modbus_tcp",
            "profibus",
            "1:41: error: link \"plc1\": protocol \"profibus\" is unknown; allowed: modbus_tcp, modbus_rtu, modbus_rtu_tcp, \
             can, canopen, gpio, i2c, spi, iio",
        ),
        (
            "10.0.0.1\"",
            "10.0.0.1:502\"",
            "1:63: error: link \"plc1\": host \"10.0.0.1:502\" contains a colon; use the key \"port\" for the port",
        ),
        (
            "10.0.0.1\"",
            "10.0.0.1\", \"port\": 0",
            "1:83: error: link \"plc1\": port is 0; allowed: a whole number from 1 to 65535",
        ),
        (
            "10.0.0.1\"",
            "10.0.0.1\", \"timeout_ms\": \"200\"",
            "1:89: error: link \"plc1\": timeout_ms is the string \"200\"; allowed: a whole number from 1 to 60000 ms",
        ),
        (
            "10.0.0.1\"",
            "10.0.0.1\", \"pipeline\": 1.5",
            "1:87: error: link \"plc1\": pipeline is 1.5; allowed: a whole number from 1 to 16",
        ),
        (
            "10.0.0.1\"",
            "10.0.0.1\", \"expected_reply_ms\": 300",
            "1:96: error: link \"plc1\": expected_reply_ms is longer than the timeout of 200 ms; allowed: at most timeout_ms",
        ),
        (
            "10.0.0.1\"",
            "10.0.0.1\", \"expected_reply_ms\": 0",
            "1:96: error: link \"plc1\": expected_reply_ms is 0; allowed: a number from 0.01 to 60000 ms",
        ),
        (
            ", \"host\": \"10.0.0.1\"",
            "",
            "1:12: error: link \"plc1\": host is missing; allowed: a host name or an IP address",
        ),
    ] {
        assert_eq!(one(from, to), format!("tags/a.json:{told}"));
    }
}

#[test]
fn a_link_or_group_that_nothing_uses_is_warned_of() {
    let text = tag_file(&[&changed("t", "t")]);
    let other = r#"{"links": [{"name": "plc2", "protocol": "modbus_tcp", "host": "a"}], "groups": [{"name": "g", "scan_rate_ms": 5}]}"#;
    let warnings = loaded(MINIMAL, &[("tags/a.json", &text), ("tags/b.json", other)]).warnings;
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "tags/b.json:1:12: warning: link \"plc2\": no tag reads from it",
            "tags/b.json:1:81: warning: group \"g\": no tag is in it",
        ]
    );
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    for (text, told) in [
        ("", "1:1: error: the file is empty; was it written completely?"),
        (" \n", "1:1: error: the file is empty; was it written completely?"),
        ("{\"tags\": [\n", "1:11: error: the file ends before the [ of line 1 is closed; was it written completely?"),
        (
            "{\"tags\": [],}",
            "1:12: error: not JSON: trailing commas are not allowed; remove the comma after the last entry",
        ),
        ("{\"tags\": []\n\"links\": []}", "1:12: error: not JSON: expected comma; put a comma between two entries"),
        ("{\"tags\": [ // none\n]}", "1:12: error: a comment; JSON has no comments; use \"description\""),
        ("{\"tags\": tags}", "1:10: error: not JSON: unexpected token; strings are written in \"quotes\""),
        ("{\"°C\": \"a\nb\"}", "1:8: error: this string is not closed on its line; end it with \""),
        ("[]", "1:1: error: a list, not an object; allowed: an object with $schema, groups, links, tags"),
        ("{\"tags\": {}}", "1:10: error: tags is an object; allowed: a list of tags"),
    ] {
        assert_eq!(lines(&refused(MINIMAL, &[("tags/a.json", text)])), [format!("tags/a.json:{told}")], "{text:?}");
    }
}

#[test]
fn all_faults_of_all_files_are_told_at_once_in_order() {
    let one = tag_file(&[&changed("float32", "flaot32"), &changed("10}", "0}").replace("\"t\"", "\"u\"")]);
    let other = "{\"tags\": [}";
    let found = refused("[gateway]\n", &[("tags/a.json", &one), ("tags/b.json", other)]);
    assert_eq!(
        found.to_string(),
        "fieldbeat.toml:1:1: error: [gateway]: id is missing; allowed: the gateway's name, such as \"line-4\"\n\
         tags/a.json:2:59: error: tag \"t\": data_type \"flaot32\" is unknown; allowed: bool, int8, uint8, int16, uint16, int24, uint24, int32, uint32, \
         int64, uint64, int128, uint128, float16, float32, float64, bcd16, bcd32, bcd64, string, datetime_unix32, \
         datetime_unix64, datetime_unix64_ms, datetime_iec60870, datetime_registers, datetime_bytes, datetime_bcd, \
         datetime_s7 (did you mean \"float32\"?)\n\
         tags/a.json:3:86: error: tag \"u\": scan_rate_ms is 0; allowed: a number from 1 to 86400000 ms (1000 Hz to once a day)\n\
         tags/b.json:1:11: error: not JSON: unexpected close brace\n\
         4 errors"
    );
}

#[test]
fn wrong_serial_links_are_refused_all_at_once() {
    let text = r#"{"links": [
{"name": "a", "protocol": "modbus_rtu", "port": "/dev/ttyS0", "baudrate": 300, "data_bits": 7, "parity": "even"},
{"name": "b", "protocol": "modbus_rtu", "port": "COM1", "pipeline": 2},
{"name": "c", "protocol": "modbus_rtu", "port": "/dev/ttyS0", "rs485": {"delay_before_ms": 200}, "echo": 1},
{"name": "d", "protocol": "modbus_rtu_tcp", "host": "x", "baudrate": 9600, "turnaround_ms": -1}
], "tags": [{"name": "t", "protocol": "modbus_tcp", "address": "a:1:3:1", "data_type": "int16", "scan_rate_ms": 10}]}"#;
    let found = lines(&refused(MINIMAL, &[("tags/a.json", text)]));
    for told in [
        "2:75: error: link \"a\": baudrate is 300; allowed: a whole number from 1200 to 3000000 baud",
        "2:93: error: link \"a\": data_bits is 7, but RTU needs 8; allowed: 8, or 7 with \"framing\": \"ascii\"",
        "2:106: error: link \"a\": parity \"even\" is unknown; allowed: N, E, O",
        "link \"b\": port \"COM1\" is not an absolute path; allowed: the path of a serial port",
        "link \"b\": the key \"pipeline\" is unknown",
        "link \"c\": port \"/dev/ttyS0\" is also that of link \"a\"",
        "rs485: rts is missing; allowed: kernel, manual",
        "rs485: delay_before_ms is 200; allowed: a whole number from 0 to 100 ms",
        "link \"c\": echo is 1; allowed: true or false",
        "link \"d\": the key \"baudrate\" is unknown",
        "link \"d\": turnaround_ms is -1; allowed: a number from 0 to 1000 ms",
        "tag \"t\": protocol is \"modbus_tcp\"; allowed: modbus_rtu, the protocol of link \"a\"",
    ] {
        assert!(found.iter().any(|line| line.contains(told)), "{told} in {found:#?}");
    }
    assert_eq!(found.len(), 12, "{found:#?}");
}

#[test]
fn pauses_and_any_transaction_go_with_one_request_at_a_time() {
    let text = r#"{"links": [{"name": "a", "protocol": "modbus_tcp", "host": "x", "pipeline": 4, "turnaround_ms": 5,
 "unit_pause_ms": 0, "unit_change_pause_ms": 2.5, "connect_delay_ms": 100, "any_transaction_id": true}],
"tags": [{"name": "t", "protocol": "modbus_tcp", "address": "a:1:3:1", "data_type": "int16", "scan_rate_ms": 100}]}"#;
    let found = lines(&refused(MINIMAL, &[("tags/a.json", text)]));
    for key in ["turnaround_ms", "unit_change_pause_ms", "any_transaction_id"] {
        let told = format!("{key} with a pipeline of 4 requests; allowed: with \"pipeline\": 1, one request at a time");
        assert!(found.iter().any(|line| line.contains(&told)), "{told} in {found:#?}");
    }
    assert_eq!(found.len(), 3, "{found:#?}");
}
