//! Files that links name, as they are in the field: what is left out of them, who is told, and who is refused.

use std::fs;

use super::{MINIMAL, lines};
use crate::config::{Config, Loaded};
use crate::protocol::can::model::{CanAddress, CanFrames};
use crate::protocol::{load, load_parts};
use crate::tag::{ScalarType, ValueType};

const DBC: &str = r#"BO_ 256 Ok: 8 Node
 SG_ Speed : 0|16@1+ (1,0) [0|0] "" Node
 SG_ Broken : 16|x@1+ (1,0) [0|0] "" Node
 SG_ Gear : 32|4@1+ (1,0) [0|0] "" Node
BO_ 300 Twin: 8 Node
 SG_ A : 0|8@1+ (1,0) [0|0] "" Node
BO_ 301 Twin: 8 Node
 SG_ A : 0|8@1+ (1,0) [0|0] "" Node
BO_ 318291879 Side: 8 Node
 SG_ A : 0|8@1+ (1,0) [0|0] "" Node
BO_ 302 Sent: 2 Node
 SG_ A : 0|8@1+ (1,0) [0|0] "" Node
 SG_ B m : 8|8@1+ (1,0) [0|0] "" Node
VAL_ 256 Gear 0 "neutral" one "first" ;
"#;

const EDS: &str = "[DeviceInfo]\n[1000]\nParameterName=Device type\nDataType=7\n[2000]\nParameterName=Broken\n\
[6041]\nParameterName=Statusword\nDataType=6\n[6064]\nParameterName=Position\nDataType=4\n\
[OptionalObjects]\n1=0x2001\n\
[1400]\nObjectType=9\n[1400sub1]\nDataType=7\nDefaultValue=$NODEID+0x200\n[1600]\nObjectType=9\n\
[1600sub0]\nDataType=5\nDefaultValue=2\n[1600sub1]\nDataType=7\nDefaultValue=0x60640020\n\
[1600sub2]\nDataType=7\nDefaultValue=0x60640040\n\
[1800]\nObjectType=9\n[1800sub1]\nDataType=7\nDefaultValue=$NODEID+0x180\n[1A00]\nObjectType=9\n\
[1A00sub0]\nDataType=5\nDefaultValue=0xFE\n[1A00sub1]\nDataType=7\nDefaultValue=0x60640020\n\
[1801]\nObjectType=9\n[1801sub1]\nDataType=7\nDefaultValue=0x381\n[1A01]\nObjectType=9\n\
[1A01sub0]\nDataType=5\nDefaultValue=1\n[1A01sub1]\nDataType=7\nDefaultValue=0x60410010\n";

/// Two links, the CAN one with these keys more, and these tags from line 4 on.
fn file(can: &str, nodes: &str, tags: &[&str]) -> String {
    let tags: Vec<String> = tags
        .iter()
        .enumerate()
        .map(|(at, tag)| format!(r#"{{ "name": "t{at}", "scan_rate_ms": 10, {tag} }}"#))
        .collect();
    format!(
        "{{\"links\": [\n{{\"name\": \"c\", \"protocol\": \"can\", \"interface\": \"can0\"{can}}},\n{{\"name\": \"o\", \
         \"protocol\": \"canopen\", \"interface\": \"can1\", \"nodes\": [{nodes}]}}], \"tags\": [\n{}\n]}}",
        tags.join(",\n")
    )
}

const LINK: &str = r#", "dbc": "v.dbc""#;
const NODE: &str = r#"{"id": 5, "eds": "d.eds"}"#;

fn read(can: &str, nodes: &str, tags: &[&str]) -> Result<Loaded, Vec<String>> {
    let text = file(can, nodes, tags);
    let files = [("tags/a.json", &*text), ("tags/v.dbc", DBC), ("tags/d.eds", EDS)];
    load_parts(("fieldbeat.toml", MINIMAL), &files).map_err(|faults| lines(&faults))
}

/// The errors, without warnings.
#[track_caller]
fn errors(can: &str, nodes: &str, tags: &[&str]) -> Vec<String> {
    let Err(mut found) = read(can, nodes, tags) else { panic!("it is accepted") };
    found.retain(|line| line.contains(": error: "));
    found
}

#[test]
fn what_no_tag_needs_is_left_out_with_a_warning_that_names_file_and_line() {
    let loaded = read(LINK, NODE, &[r#""address": "c:Ok.Speed""#, r#""address": "o:5:Position""#]).unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    let expected = [
        "tags/d.eds:5:1: warning: link \"o\": node #1: the object 0x2000:00 is ignored: its DataType is missing",
        "tags/d.eds:14:1: warning: link \"o\": node #1: the object 0x2001 is ignored: it is listed here, but its \
         section",
        "tags/d.eds:28:1: warning: link \"o\": RPDO 1 of node 5 is ignored: the object 1600 maps more than 64 bits",
        "tags/d.eds:38:1: warning: link \"o\": TPDO 1 of node 5 is ignored: the object 1A00 makes it a multiplexed \
         PDO (0xFE)",
        "tags/v.dbc:3:1: warning: link \"c\": the signal Broken of message Ok is ignored: x found here",
        "tags/v.dbc:7:1: warning: link \"c\": the message Twin is ignored: line 5 has a message of the same name",
        "tags/v.dbc:9:1: warning: link \"c\": the message Side is ignored: its id 318291879 does not fit 11 bits",
        "tags/v.dbc:13:1: warning: link \"c\": the signal B of message Sent is ignored: m found here",
        "tags/v.dbc:14:1: warning: link \"c\": this VAL_ statement is ignored: one found here",
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.starts_with(expected), "{warning} is not {expected}");
    }
}

#[test]
fn a_tag_that_uses_what_was_left_out_is_refused_with_the_reason() {
    let transmit = r#", "dbc": "v.dbc", "transmit": [{ "message": "Sent", "period_ms": 10, "initial": { "A": 1 } }]"#;
    for (can, tag, part) in [
        (LINK, r#""address": "c:Ok.Broken""#, "the signal \"Broken\" is ignored: tags/v.dbc:3: x found here"),
        (
            LINK,
            r#""address": "c:Twin.A""#,
            "the message \"Twin\" is ignored: tags/v.dbc:7: line 5 has a message of \
            the same",
        ),
        (LINK, r#""address": "c:Side.A""#, "ignored: tags/v.dbc:9: its id 318291879"),
        (LINK, r#""address": "c:Side.A""#, "write 2465775527 for the identifier 0x12F8BFA7"),
        (LINK, r#""address": "c:Ok.Gear", "data_type": "string""#, "are ignored: tags/v.dbc:14: one found here"),
        (transmit, r#""address": "c:Ok.Speed""#, "a signal of message Sent is ignored: tags/v.dbc:13: m found here"),
        (
            LINK,
            r#""address": "o:5:Broken""#,
            "\"Broken\" of the data sheet (line 5) is ignored: its DataType is missing",
        ),
        (LINK, r#""address": "o:5:0x2000:0""#, "0x2000:00 of the data sheet (line 5) is ignored: its DataType"),
        (LINK, r#""address": "o:5:0x2001:3""#, "0x2001:03 of the data sheet (line 14) is ignored: it is listed"),
        (LINK, r#""address": "o:5:0x2001:0", "bit": 3"#, "0x2001:00 of the data sheet (line 14) is ignored"),
        (
            LINK,
            r#""address": "o:5:Position", "access": "pdo""#,
            "TPDO 1 of node 5, which carries 0x6064:00, is ignored in its data sheet (line 38): the object 1A00 makes",
        ),
        (
            LINK,
            r#""address": "o:5:Position", "write": {"via": "pdo", "min": 0, "max": 1}"#,
            "RPDO 1 of node 5, which carries 0x6064:00, is ignored in its data sheet (line 28)",
        ),
    ] {
        let found = errors(can, NODE, &[tag]);
        assert!(found.len() == 1 && found[0].contains(part), "{part:?} is not the one of {found:#?}");
        assert!(found[0].starts_with("tags/a.json:"), "{found:#?}");
    }
    // What a tag says itself, it does not need the file for.
    for tag in [
        r#""address": "c:Ok.Gear""#,
        r#""address": "o:5:0x2000:0", "data_type": "uint16""#,
        r#""address": "o:5:Position""#,
        r#""address": "o:5:Statusword", "access": "pdo""#,
    ] {
        assert!(read(LINK, NODE, &[tag]).is_ok(), "{tag}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_said_first_and_what_follows_from_it_is_not() {
    let tags = [
        r#""address": "c:Ok.Speed""#,
        r#""address": "c:0x12E:0:8", "write": {"min": 0, "max": 1}"#,
        r#""address": "o:5:Position""#,
        r#""address": "o:5:0x6064:0""#,
        r#""address": "o:5:0x6064:0", "bit": 40"#,
        r#""address": "o:5:Position", "write": {"via": "pdo", "min": 0, "max": 1}"#,
        r#""address": "o:5:Position", "access": "pdo""#,
    ];
    let can = r#", "dbc": "v.dbc", "transmit": [{ "message": "Sent", "period_ms": 10 }]"#;
    let nodes = r#"{"id": 5, "eds": "d.eds", "boot": [{"index": "0x6060", "value": 3}]}"#;
    let broken = "\u{1}\u{2}".to_owned();
    let read = |dbc: Option<&str>, eds: Option<&str>, more: &str| {
        let mut tags = tags.to_vec();
        tags.extend((!more.is_empty()).then_some(more));
        let text = file(can, nodes, &tags);
        let mut files = vec![("tags/a.json", &*text)];
        files.extend(dbc.map(|text| ("tags/v.dbc", text)));
        files.extend(eds.map(|text| ("tags/d.eds", text)));
        lines(&load_parts(("fieldbeat.toml", MINIMAL), &files).expect_err("it is accepted"))
    };
    let missing = read(None, None, "");
    assert_eq!(missing.len(), 2, "{missing:#?}");
    assert!(missing[0].starts_with("tags/a.json:2:") && missing[0].contains("tags/v.dbc: there is no such file"));
    assert!(missing[1].starts_with("tags/a.json:3:") && missing[1].contains("tags/d.eds: there is no such file"));
    let unreadable = read(Some(&broken), Some(&broken), "");
    assert_eq!(unreadable.len(), 2, "{unreadable:#?}");
    assert!(unreadable[0].starts_with("tags/d.eds: error: link \"o\": node #1: neither [DeviceInfo] nor an object"));
    assert!(unreadable[1].starts_with("tags/v.dbc: error: link \"c\": it has no statement such as BO_, and in line 1"));
    // Another error is told all the same, behind them.
    let other = read(Some(&broken), None, r#""address": "nowhere:1:3:1", "data_type": "int16""#);
    assert_eq!(other.len(), 3, "{other:#?}");
    assert!(other[0].contains("there is no such file") && other[1].contains("no statement such as BO_"), "{other:#?}");
    assert!(other[2].contains("the link \"nowhere\" is not declared"), "{other:#?}");
}

#[test]
fn files_of_windows_editors_are_read_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("tags")).unwrap();
    fs::write(dir.path().join("fieldbeat.toml"), MINIMAL).unwrap();
    let tags = [r#""address": "c:Ok.Temperatur""#, r#""address": "o:5:“short” stop""#];
    fs::write(dir.path().join("tags/a.json"), file(LINK, NODE, &tags)).unwrap();
    let dbc = b"BO_ 1 Ok: 8 X\r\n SG_ Temperatur : 0|8@1+ (1,0) [0|0] \"\xB0C\" X\r\n";
    fs::write(dir.path().join("tags/v.dbc"), dbc).unwrap();
    let eds = b"[DeviceInfo]\r\n[2000]\r\nParameterName=\x93short\x94 stop\r\nDataType=7\r\n";
    fs::write(dir.path().join("tags/d.eds"), eds).unwrap();
    let loaded = load(dir.path()).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!((loaded.warnings.len(), &*loaded.config.tags[0].unit), (0, "°C"));
}

#[test]
fn an_identifier_that_two_nodes_send_is_an_error_only_where_a_tag_is_read_from_it() {
    let nodes = r#"{"id": 5, "eds": "d.eds"}, {"id": 6, "eds": "d.eds"}"#;
    let message = "TPDO 2 of node 6 has the identifier 0x381, as TPDO 2 of node 5";
    for tag in [r#""address": "o:6:Position""#, r#""address": "o:6:Statusword", "access": "sdo""#] {
        let loaded = read(LINK, nodes, &[r#""address": "c:Ok.Speed""#, tag]).unwrap();
        let warned = loaded.warnings.iter().filter(|warning| warning.message == message).count();
        assert_eq!(warned, 1, "{tag}: {:#?}", loaded.warnings);
    }
    let found = errors(LINK, nodes, &[r#""address": "o:5:Statusword""#]);
    assert!(found.len() == 1 && found[0].contains(message), "{found:#?}");
}

const J1939: &str = r#"BO_ 2566914558 Gearbox: 8 ECU
 SG_ Gear : 0|8@1+ (1,-125) [-125|125] "" ECU
 SG_ Temperature : 24|8@1- (1,0) [-125|125] "" ECU
 SG_ Wide : 32|16@1+ (1,0) [0|65535] "" ECU
BO_ 512 Other: 8 ECU
 SG_ Gear : 0|8@1+ (1,0) [0|255] "" ECU
BA_DEF_DEF_ "VFrameFormat" "J1939PG";
VAL_ 2566914558 Gear 251 "Park" 0 "Reverse" ;
VAL_ 2566914558 Wide -1 "Missing" -2 "Error" 70000 "beyond" ;
"#;

fn j1939(link: &str, tags: &[&str]) -> Result<Config, Vec<String>> {
    let text = file(&format!(", \"dbc\": \"v.dbc\"{link}"), NODE, tags);
    let files = [("tags/a.json", &*text), ("tags/v.dbc", J1939), ("tags/d.eds", EDS)];
    load_parts(("fieldbeat.toml", MINIMAL), &files).map(|loaded| loaded.config).map_err(|faults| lines(&faults))
}

#[test]
fn special_values_of_j1939_are_switched_off_by_the_link_or_by_the_tag() {
    let tags = [
        r#""address": "c:Gearbox.Gear""#,
        r#""address": "c:pgn:0xF004:0:8""#,
        r#""address": "c:Gearbox.Gear", "j1939_special_values": false"#,
        r#""address": "c:pgn:0xF004:8:8", "j1939_special_values": true"#,
        r#""address": "c:Gearbox.Temperature", "j1939_special_values": true"#,
        r#""address": "c:Other.Gear""#,
    ];
    let special = |link: &str| {
        let config = j1939(link, &tags).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let of = |tag: &crate::config::TagConfig| {
            let address = tag.address.get::<CanAddress>().unwrap();
            (address.special, matches!(address.frames, CanFrames::Group { .. }))
        };
        config.tags.iter().map(of).map(|(special, is_group)| special && is_group).collect::<Vec<_>>()
    };
    // The signed one and the message without a parameter group have none.
    assert_eq!(special(""), [true, true, false, true, false, false]);
    assert_eq!(special(r#", "j1939_special_values": false"#), [false, false, false, true, false, false]);
    for (tag, part) in [
        (
            r#""address": "c:0x123:0:8", "j1939_special_values": false"#,
            "j1939_special_values on a tag that is not \
            J1939",
        ),
        (
            r#""address": "c:Other.Gear", "j1939_special_values": true"#,
            "j1939_special_values on a tag that is not \
            J1939",
        ),
        (r#""address": "o:5:Position", "j1939_special_values": true"#, "j1939_special_values on a canopen link"),
    ] {
        let found = j1939("", &[tag]).unwrap_err();
        assert!(found.iter().any(|fault| fault.contains(part)), "{part:?} is not in {found:#?}");
    }
}

#[test]
fn the_value_table_is_kept_beside_the_number_and_has_its_text() {
    let tags = [
        r#""address": "c:Gearbox.Gear""#,
        r#""address": "c:Gearbox.Gear", "scale": 2, "offset": 1"#,
        r#""address": "c:Gearbox.Wide""#,
    ];
    let config = j1939("", &tags).unwrap();
    let text = |tag: usize, value: f64| {
        let tag = &config.tags[tag];
        let bits = match tag.value_type() {
            ValueType::Scalar(ScalarType::Float64) => value.to_bits(),
            _ => value as u64,
        };
        tag.decoding.texts.of(bits).map(str::to_owned)
    };
    assert_eq!([text(0, 126.0), text(0, -125.0), text(0, 0.0)], [Some("Park".into()), Some("Reverse".into()), None]);
    assert_eq!([text(1, 253.0), text(1, 126.0)], [Some("Park".into()), None]);
    // Negative raw values of what has no sign are counted from the end; what the bits cannot hold is no value.
    assert_eq!(
        [text(2, 65535.0), text(2, 65534.0), text(2, 70000.0)],
        [Some("Missing".into()), Some("Error".into()), None]
    );
}
