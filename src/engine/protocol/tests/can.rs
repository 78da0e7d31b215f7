//! CAN links and their tags, right and wrong.

use super::{MINIMAL, lines, loaded, refused};
use crate::config::*;
use crate::protocol::can::{CanAddress, CanBitsKind, CanConfig, CanFrames, CanId, CanTimestamps};
use crate::tag::{Nanos, ScalarType, ValueType};

const DBC: &str = r#"BO_ 256 Motor: 8 Node
 SG_ Speed : 0|16@1+ (0.25,-100) [0|0] "rpm" Node
 SG_ Torque : 23|16@0- (1,0) [0|0] "Nm" Node
 SG_ Gear : 32|4@1+ (1,0) [0|0] "" Node
 SG_ Running : 36|1@1+ (1,0) [0|0] "" Node
 SG_ Outside : 60|8@1+ (1,0) [0|0] "" Node
 SG_ Page M : 40|2@1+ (1,0) [0|0] "" Node
 SG_ First m1 : 42|6@1+ (1,0) [0|0] "" Node
 SG_ Second m2 : 42|6@1+ (1,0) [0|0] "" Node
BO_ 512 Command: 2 Gateway
 SG_ Target : 0|12@1+ (0.5,0) [0|0] "rpm" Node
 SG_ Mode : 12|2@1+ (1,0) [0|0] "" Node
BO_ 2565866750 EEC1: 8 Node
 SG_ EngineSpeed : 24|16@1+ (0.125,0) [0|0] "rpm" Node
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_ "GenMsgCycleTime" BO_ 256 20;
BA_ "VFrameFormat" BO_ 2565866750 3;
BA_ "GenSigStartValue" SG_ 512 Mode 2;
VAL_ 256 Gear 0 "neutral" 15 "reverse" ;
VAL_ 512 Mode 0 "off" 1 "on" ;
"#;

/// A tag file with one CAN link; the tags begin in line 2.
fn file(link: &str, tags: &[&str]) -> String {
    let tags: Vec<String> = tags
        .iter()
        .enumerate()
        .map(|(at, tag)| format!(r#"{{ "name": "t{at}", "scan_rate_ms": 10, {tag} }}"#))
        .collect();
    format!(
        "{{\"links\": [{{\"name\": \"c\", \"protocol\": \"can\", \"interface\": \"can0\"{link}}}], \"tags\": [\n{}\n]}}",
        tags.join(",\n")
    )
}

fn read(link: &str, tags: &[&str]) -> Config {
    let link = format!(r#", "dbc": "v.dbc"{link}"#);
    loaded(MINIMAL, &[("tags/a.json", &file(&link, tags)), ("tags/v.dbc", DBC)]).config
}

fn faults(link: &str, tags: &[&str]) -> Vec<String> {
    let link = format!(r#", "dbc": "v.dbc"{link}"#);
    lines(&refused(MINIMAL, &[("tags/a.json", &file(&link, tags)), ("tags/v.dbc", DBC)]))
}

fn address(config: &Config, tag: usize) -> &CanAddress {
    let Some(address) = config.tags[tag].address.get::<CanAddress>() else { panic!("a CAN tag") };
    address
}

fn can(config: &Config) -> &CanConfig {
    let Some(can) = config.links[0].protocol.get::<CanConfig>() else { panic!("a CAN link") };
    can
}

#[test]
fn a_link_has_its_defaults() {
    let config = read("", &[r#""address": "c:Motor.Speed""#]);
    let link = can(&config);
    assert_eq!((&*link.interface, link.fd, link.bitrate), ("can0", false, 500_000));
    assert_eq!((link.timestamps, link.sampling), (CanTimestamps::Software, Sampling::Latest));
    assert_eq!((link.silent_after, link.transmit.len()), (None, 0));
}

#[test]
fn signals_bring_their_type_unit_and_cycle() {
    let tags = [
        r#""address": "c:Motor.Speed""#,
        r#""address": "c:Motor.Torque", "unit": "kNm", "scale": 0.001"#,
        r#""address": "c:Motor.Running""#,
        r#""address": "c:Motor.Gear", "data_type": "string""#,
        r#""address": "c:Motor.Gear", "data_type": "uint32""#,
        r#""address": "c:Motor.Torque", "data_type": "float64""#,
        r#""address": "c:Motor.First""#,
        r#""address": "c:EEC1.EngineSpeed""#,
    ];
    let config = read("", &tags);
    let types: Vec<ValueType> = config.tags.iter().map(TagConfig::value_type).collect();
    use ScalarType::*;
    let scalars = [Float64, Float64, Bool, Bool, Uint32, Float64, Uint16, Float64].map(ValueType::Scalar);
    assert_eq!(types[3], ValueType::Text { bytes_max: 7 });
    assert!(types.iter().zip(&scalars).enumerate().all(|(at, (a, b))| at == 3 || a == b), "{types:?}");
    assert_eq!((&*config.tags[0].unit, &*config.tags[1].unit), ("rpm", "kNm"));
    assert_eq!(address(&config, 0).cycle, Some(Nanos::from_millis(20)));
    assert_eq!(address(&config, 6).cycle, Some(Nanos::from_millis(40)), "one of two cases");
    assert_eq!(address(&config, 6).conditions[0].values, [(1, 1)]);
    let group = CanFrames::Group { pgn: 0xF004, source: None };
    assert_eq!((address(&config, 7).frames, address(&config, 7).special), (group, true));
}

#[test]
fn identifiers_and_parameter_groups_are_told_apart() {
    let tags = [
        r#""address": "c:0x123:0:8""#,
        r#""address": "c:0x123x:0:8""#,
        r#""address": "c:0x18F00400:7:16", "byte_order": "big", "data_type": "int16""#,
        r#""address": "c:291:0:32", "data_type": "float32""#,
        r#""address": "c:pgn:0xF004:0x21:24:16""#,
        r#""address": "c:pgn:0xEF00:0:8", "multiplexor": { "start": 8, "length": 8, "value": 3 }"#,
    ];
    let config = read("", &tags);
    let frames: Vec<CanFrames> = (0..6).map(|tag| address(&config, tag).frames).collect();
    let id = |id, extended| CanFrames::Id(CanId { id, extended });
    assert_eq!(frames[..4], [id(0x123, false), id(0x123, true), id(0x18F0_0400, true), id(291, false)]);
    assert_eq!(frames[4], CanFrames::Group { pgn: 0xF004, source: Some(0x21) });
    assert_eq!(frames[5], CanFrames::Group { pgn: 0xEF00, source: None });
    let bits = address(&config, 2).bits;
    assert_eq!((bits.start, bits.len, bits.big_endian, bits.kind), (7, 16, true, CanBitsKind::Signed));
    assert_eq!(address(&config, 5).conditions.len(), 1);
}

#[test]
fn a_tag_that_does_not_fit_says_why() {
    for (tag, parts) in [
        (r#""address": "c:0x123:60:8""#, ["2:", "8 bits from bit 60 exceed the frame of 8 bytes"].as_slice()),
        (r#""address": "c:0x123:0:16", "byte_order": "big""#, &[]),
        (r#""address": "c:0x123:56:16", "byte_order": "big""#, &["16 bits from bit 56 exceed the frame"]),
        (r#""address": "c:0x123:64:8""#, &["the start bit is \"64\"", "0 to 63"]),
        (r#""address": "c:0x123:0:65""#, &["the length is \"65\""]),
        (r#""address": "c:0x123:0:0""#, &["the length is \"0\""]),
        (r#""address": "c:0x20000000:0:8""#, &["the identifier is \"0x20000000\""]),
        (r#""address": "c:speed:0:8""#, &["the identifier is \"speed\""]),
        (r#""address": "c:0x123:0""#, &["has 3 parts", "MESSAGE.SIGNAL"]),
        (r#""address": "c:pgn:0xEE05:0:8""#, &["the parameter group is \"0xEE05\""]),
        (r#""address": "c:pgn:0xF004:300:0:8""#, &["the source address is \"300\""]),
        (r#""address": "c:0x1:0:16", "data_type": "bool""#, &["data_type bool with 16 bits"]),
        (r#""address": "c:0x1:0:16", "data_type": "float64""#, &["float64 with 16 bits", "float32 for 32 bits"]),
        (r#""address": "c:0x1:0:33", "data_type": "int32""#, &["data_type int32 with 33 bits"]),
        (r#""address": "c:0x1:0:8", "data_type": "string""#, &["data_type string", "DBC file"]),
        (r#""address": "c:0x1:0:8", "multiplexor": { "start": 0, "length": 2, "value": 4 }"#, &["does not fit 2 bits"]),
        (r#""address": "c:Motor.Speeed""#, &["the signal \"Speeed\" is not known", "v.dbc:1", "Speed"]),
        (r#""address": "c:Moter.Speed""#, &["the message \"Moter\" is not known", "Motor"]),
        (r#""address": "c:Motor.Outside""#, &["tags/v.dbc:6", "exceeds message Motor of 8 bytes"]),
        (r#""address": "c:Motor.Speed", "data_type": "int16""#, &["data_type int16", "tags/v.dbc:2", "float64"]),
        (r#""address": "c:Motor.Torque", "data_type": "uint16""#, &["data_type uint16", "int16"]),
        (r#""address": "c:Motor.Torque", "data_type": "string""#, &["value table"]),
        (r#""address": "c:Motor.Speed", "byte_order": "big""#, &["byte_order with a signal"]),
        (r#""address": "c:Motor.Running", "scale": 2"#, &["scale on a single bit"]),
        (r#""address": "c:Motor.Speed", "array": 3"#, &["array on a CAN tag"]),
    ] {
        if parts.is_empty() {
            continue;
        }
        let found = faults("", &[tag]);
        assert_eq!(found.len(), 1, "{tag}: {found:#?}");
        assert!(found[0].starts_with("tags/a.json:2:"), "{}", found[0]);
        for part in parts.iter().filter(|part| **part != "2:") {
            assert!(found[0].contains(part), "{tag}: {}: {part}", found[0]);
        }
    }
}

#[test]
fn a_link_that_does_not_fit_says_why() {
    let tag = [r#""address": "c:0x1:0:8""#];
    for (link, part) in [
        (r#", "bitrate": 100"#, "bitrate is 100"),
        (r#", "data_bitrate": 2000000"#, "data_bitrate without fd"),
        (r#", "fd": true, "bitrate": 1000000, "data_bitrate": 500000"#, "below the bitrate"),
        (r#", "timestamps": "gps""#, "timestamps \"gps\" is unknown"),
        (r#", "sampling": "all""#, "sampling \"all\" is unknown"),
        (r#", "baudrate": 5"#, "the key \"baudrate\" is unknown"),
        (r#", "transmit": [{ "message": "Command" }]"#, "neither period_ms nor on_change"),
        (r#", "transmit": [{ "period_ms": 10 }]"#, "message is missing"),
        (r#", "transmit": [{ "message": "Comand", "period_ms": 10 }]"#, "\"Comand\" is not known"),
        (
            r#", "transmit": [{ "message": "Motor", "period_ms": 10 }]"#,
            "the signal Outside of 8 bits from bit 60 exceeds",
        ),
        (r#", "transmit": [{ "message": "Command", "period_ms": 10 }]"#, "would never be sent: 2 of its signals"),
        (
            r#", "transmit": [{ "message": "Command", "period_ms": 10, "initial": { "Target": 3000, "Mode": 0 } }]"#,
            "Target is 3000; allowed: 0 to 2047.5",
        ),
        (
            r#", "transmit": [{ "message": "Command", "period_ms": 10, "initial": { "Target": 3, "Mode": "maybe" } }]"#,
            "Mode has no value \"maybe\"",
        ),
        (
            r#", "transmit": [{ "message": "Command", "period_ms": 10, "initial": { "Targt": 3 } }]"#,
            "the signal \"Targt\" is not known",
        ),
        (r#", "transmit": [{ "id": "0x200", "bytes": 2, "period_ms": 10 }]"#, "would never be sent: it has no values"),
        (r#", "transmit": [{ "id": "0x200", "bytes": 2, "period_ms": 10, "initial_bytes": "0" }]"#, "initial_bytes is"),
        (r#", "transmit": [{ "id": "0x200", "bytes": 12, "period_ms": 10 }]"#, "12 bytes"),
    ] {
        let found = faults(link, &tag);
        assert!(found.iter().any(|fault| fault.contains(part)), "{link}: {found:#?}");
    }
}

#[test]
fn messages_to_send_have_their_initial_values() {
    let link = r#", "transmit": [
        { "message": "Command", "period_ms": 50, "initial": { "Target": 100.5, "Mode": "on" } },
        { "id": "0x300x", "bytes": 3, "on_change": true, "min_distance_ms": 5, "initial_bytes": "01 02 ff" }]"#;
    let config = read(link, &[r#""address": "c:Motor.Speed""#]);
    let [command, bytes] = &can(&config).transmit[..] else { panic!("two messages") };
    // 201 and, from bit 12 on, 1.
    assert_eq!(
        (&command.initial[..], command.period, command.on_change),
        (&[0xC9, 0x10][..], Some(Nanos::from_millis(50)), None)
    );
    assert_eq!((bytes.id, &bytes.initial[..]), (CanId { id: 0x300, extended: true }, &[1, 2, 0xFF][..]));
    assert_eq!(bytes.on_change, Some(Nanos::from_millis(5)));
    let start = r#", "transmit": [{ "message": "Command", "period_ms": 50, "start_values": true, "initial": { "Target": 0 } }]"#;
    let config = read(start, &[r#""address": "c:Motor.Speed""#]);
    assert_eq!(can(&config).transmit[0].initial, [0, 0x20], "GenSigStartValue");
}

#[test]
fn a_tag_that_is_written_lies_in_a_message_that_is_sent() {
    let write = r#""address": "c:Command.Target", "write": { "min": 0, "max": 1 }"#;
    let found = faults("", &[write]);
    assert!(found.len() == 1 && found[0].contains("its message is not sent"), "{found:#?}");
    let link = r#", "transmit": [{ "message": "Command", "on_change": true }]"#;
    let both = [write, r#""address": "c:Command.Mode", "write": { "min": 0, "max": 1 }"#];
    let config = read(link, &both);
    assert_eq!(can(&config).transmit[0].unset.len(), 2);
    let one = faults(link, &[write]);
    assert!(one.len() == 1 && one[0].contains("1 of its signals have no value"), "{one:#?}");
    let raw = r#", "transmit": [{ "id": "0x400", "bytes": 2, "on_change": true }]"#;
    let config = read(raw, &[r#""address": "c:0x400:0:8", "write": { "min": 0, "max": 1 }"#]);
    assert_eq!(can(&config).transmit[0].unset.len(), 1);
    let outside = faults(raw, &[r#""address": "c:0x400:16:8", "write": { "min": 0, "max": 1 }"#]);
    assert!(outside.iter().any(|fault| fault.contains("outside the sent frames of 2 bytes")), "{outside:#?}");
}

/// A switch, one signal in each frame, branches of one and of two signals; then a message of two levels, and one whose
/// signal is in the frame for several values.
const BRANCHES: &str = r#"BO_ 256 Setup: 8 Gateway
 SG_ Page M : 0|8@1+ (1,0) [0|0] "" Node
 SG_ Counter : 56|8@1+ (1,0) [0|0] "" Node
 SG_ A m1 : 8|16@1+ (1,0) [0|0] "" Node
 SG_ B m2 : 8|16@1+ (1,0) [0|0] "" Node
 SG_ C m2 : 24|8@1+ (1,0) [0|0] "" Node
BO_ 257 Deep: 8 Gateway
 SG_ Upper M : 0|4@1+ (1,0) [0|0] "" Node
 SG_ Lower m1M : 4|4@1+ (1,0) [0|0] "" Node
 SG_ D m2 : 8|8@1+ (1,0) [0|0] "" Node
BO_ 258 Wide: 8 Gateway
 SG_ Switch M : 0|4@1+ (1,0) [0|0] "" Node
 SG_ E m1 : 8|8@1+ (1,0) [0|0] "" Node
SG_MUL_VAL_ 257 Lower Upper 1-1;
SG_MUL_VAL_ 257 D Lower 2-2;
SG_MUL_VAL_ 258 E Switch 1-3;
"#;

#[test]
fn a_multiplexed_message_is_sent_branch_by_branch() {
    let transmit = |message: &str, initial: &str| {
        format!(
            r#", "dbc": "v.dbc", "transmit": [{{ "message": "{message}", "period_ms": 10, "initial": {{ {initial} }} }}]"#
        )
    };
    let write = |signal: &str| format!(r#""address": "c:Setup.{signal}", "write": {{ "min": 0, "max": 9 }}"#);
    let load = |link: &str, tags: &[String]| {
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let text = file(link, &tags);
        crate::protocol::load_parts(("fieldbeat.toml", MINIMAL), &[("tags/a.json", &text), ("tags/v.dbc", BRANCHES)])
    };
    let whole = load(&transmit("Setup", r#""Counter": 7, "A": 258"#), &[write("B"), write("C"), write("Counter")]);
    let config = whole.unwrap_or_else(|e| panic!("{e}")).config;
    let [one, two] = &can(&config).transmit[0].branches[..] else { panic!("two branches") };
    assert_eq!((one.value, one.initial.len(), one.unset.len()), (1, 1, 0));
    assert_eq!((two.value, two.initial.len(), two.unset.len()), (2, 0, 2));
    for (message, initial, tags, part) in [
        (
            "Setup",
            r#""Counter": 7, "A": 1"#,
            vec![write("B")],
            "the branch 2 of the message 0x100 would never be sent: 1",
        ),
        ("Setup", r#""Counter": 7"#, vec![write("B")], "the message 0x100 would never be sent: 1 of its signals"),
        ("Setup", r#""A": 1"#, vec![], "the message 0x100 would never be sent: 1 of its signals"),
        ("Setup", r#""Counter": 7, "A": 1, "Page": 1"#, vec![], "Page selects which signals are in the frame"),
        ("Setup", r#""Counter": 7, "A": 1"#, vec![write("Page")], "its bits select which signals are in the frame"),
        ("Deep", "", vec![], "the signal D (tags/v.dbc:10) is multiplexed in more than one level"),
        ("Wide", "", vec![], "the signal E (tags/v.dbc:13) is multiplexed by several values"),
    ] {
        let mut tags = tags;
        tags.push(r#""address": "c:0x1:0:8""#.into());
        let Err(fault) = load(&transmit(message, initial), &tags) else { panic!("{part} is not found") };
        let found = lines(&fault);
        assert!(found.len() == 1 && found[0].contains(part), "{part:?} is not the one of {found:#?}");
    }
}

#[test]
fn groups_of_j1939_have_fields_in_all_of_1785_bytes_and_nowhere_else() {
    let config = read("", &[r#""address": "c:pgn:0xFECA:14264:16""#, r#""address": "c:pgn:0xFECA:0:1785:8""#]);
    assert_eq!((address(&config, 0).bits.start, address(&config, 0).frame_bytes), (14_264, 1_785));
    for (address, part) in [
        ("c:pgn:0xFECA:14264:17", "17 bits from bit 14264 exceed the frame of 1785 bytes"),
        ("c:pgn:0xFECA:14280:1", "allowed: 0 to 14279"),
        ("c:0x18FECA00:64:8", "allowed: 0 to 63"),
    ] {
        let found = faults("", &[&format!(r#""address": "{address}""#)]);
        assert!(found.len() == 1 && found[0].contains(part), "{part:?}: {found:#?}");
    }
    let dbc = "BO_ 2566834686 DM1: 40 Node\n SG_ Far : 304|16@1+ (1,0) [0|0] \"\" Node\n\
               BA_DEF_ BO_ \"VFrameFormat\" ENUM \"StandardCAN\",\"ExtendedCAN\",\"reserved\",\"J1939PG\";\n\
               BA_ \"VFrameFormat\" BO_ 2566834686 3;\n";
    let text = file(r#", "dbc": "v.dbc""#, &[r#""address": "c:DM1.Far""#]);
    let config = loaded(MINIMAL, &[("tags/a.json", &text), ("tags/v.dbc", dbc)]).config;
    assert_eq!((address(&config, 0).bits.start, address(&config, 0).frame_bytes), (304, 40));
}
