//! CANopen links in tag files: right ones, and each fault with its place and its own words.

use super::{MINIMAL, lines, loaded, refused};
use crate::protocol::canopen::model::{
    CanOpenAccess, CanOpenAddress, CanOpenConfig, CanOpenField, CanOpenSource, NodeWatching, PdoSource,
};
use crate::tag::{Nanos, Object, ScalarType, ValueType};

const SHEET: &str = "[DeviceInfo]\n[1000]\nDataType=7\n[6041]\nParameterName=Statusword\nDataType=6\nAccessType=ro\n\
[6064]\nParameterName=Position\nDataType=4\n[2001]\nParameterName=Secret\nDataType=7\nAccessType=wo\n\
[2002]\nParameterName=Twin\nDataType=7\n[2003]\nParameterName=Twin\nDataType=7\n[2004]\nParameterName=Data\nDataType=15\n\
[1800]\nParameterName=T1\nObjectType=9\n[1800sub1]\nParameterName=C\nDataType=7\nDefaultValue=$NODEID+0x180\n\
[1A00]\nParameterName=M1\nObjectType=9\n[1A00sub0]\nParameterName=n\nDataType=5\nDefaultValue=1\n\
[1A00sub1]\nParameterName=e\nDataType=7\nDefaultValue=0x60410010\n";

/// The link in line 1, a tag in line 2.
fn file(link: &str, tag: &str) -> String {
    format!("{{\"links\": [{{\"name\": \"co0\", \"protocol\": \"canopen\", {link}}}], \"tags\": [\n{tag}\n]}}")
}

const LINK: &str = r#""interface": "can0", "nodes": [{"id": 5, "eds": "d.eds"}, {"id": 6}]"#;
const TAG: &str = r#"{"name": "t", "address": "co0:5:0x6064:0", "scan_rate_ms": 10}"#;

fn read(link: &str, tag: &str) -> (CanOpenConfig, CanOpenAddress) {
    let config = loaded(MINIMAL, &[("tags/a.json", &file(link, tag)), ("tags/d.eds", SHEET)]).config;
    let (link, address) = (config.links[0].protocol.get::<CanOpenConfig>(), config.tags[0].address.get());
    (link.unwrap().clone(), CanOpenAddress::clone(address.unwrap()))
}

#[track_caller]
fn fault(link: &str, tag: &str, expected: &str) {
    let found = lines(&refused(MINIMAL, &[("tags/a.json", &file(link, tag)), ("tags/d.eds", SHEET)]));
    assert!(found.len() == 1 && found[0].contains(expected), "{expected:?} is not the one of {found:#?}");
}

/// Of a tag with this address and these keys more.
#[track_caller]
fn address_fault(address: &str, more: &str, expected: &str) {
    let tag = format!(r#"{{"name": "t", "address": "{address}", "scan_rate_ms": 10{more}}}"#);
    fault(LINK, &tag, expected);
}

fn address(address: &str, more: &str) -> CanOpenAddress {
    read(LINK, &format!(r#"{{"name": "t", "address": "{address}", "scan_rate_ms": 10{more}}}"#)).1
}

#[test]
fn a_link_has_its_defaults() {
    let (link, _) = read(LINK, TAG);
    assert_eq!((&*link.interface, link.bit_rate, link.sync, link.heartbeat), ("can0", 500_000, None, None));
    assert_eq!(link.timeout, Nanos::from_millis(500));
    let [drive, other] = &link.nodes[..] else { panic!("{:?}", link.nodes) };
    assert_eq!((drive.id, drive.pdos, drive.start, drive.verify), (5, PdoSource::Eds, true, true));
    assert_eq!(drive.watching, NodeWatching::Heartbeat(Nanos::from_millis(1000)));
    assert_eq!((other.id, other.pdos), (6, PdoSource::None));
}

#[test]
fn what_is_written_at_the_start_is_typed_by_the_data_sheet_or_by_itself() {
    let link = r#""interface": "can0", "nodes": [{"id": 5, "eds": "d.eds", "guarding": {"time_ms": 100}, "boot": [
        {"index": "0x2002", "value": 258}, {"index": 8193, "value": "0xFF"},
        {"index": "0x3000", "sub": 2, "value": -1, "data_type": "int24"}]}]"#;
    let node = read(link, TAG).0.nodes[0].clone();
    let object = |index, sub| Object { index, sub };
    let boot = [
        (object(0x2002, 0), vec![2, 1, 0, 0]),
        (object(0x2001, 0), vec![0xFF, 0, 0, 0]),
        (object(0x3000, 2), vec![0xFF, 0xFF, 0xFF]),
    ];
    assert_eq!(node.boot, boot);
    assert_eq!(node.watching, NodeWatching::Guarding { period: Nanos::from_millis(100), life: 3 });
}

#[test]
fn addresses_are_objects_names_or_what_the_link_knows_itself() {
    let position = CanOpenSource::Object(Object { index: 0x6064, sub: 0 });
    let by_index = address("co0:5:0x6064:0", "");
    assert_eq!((by_index.source, by_index.field), (position, CanOpenField::Signed(4)));
    assert_eq!(address("co0:5:Position", "").source, position);
    assert_eq!(address("co0:5:24676:0", "").source, position, "decimal");
    assert_eq!(address("co0:6:0x6064:0x10", r#", "data_type": "uint8""#).field, CanOpenField::Unsigned(1));
    assert_eq!(address("co0:5:0x6041:0", r#", "bit": 12"#).ty, ValueType::Scalar(ScalarType::Bool));
    assert_eq!(address("co0:5:emcy", "").source, CanOpenSource::EmergencyCode);
    assert_eq!(address("co0:6:0x2000:0:40", r#", "data_type": "string""#).ty, ValueType::Text { bytes_max: 40 });
    let array = address("co0:5:Data", r#", "data_type": "int16", "array": 9"#);
    assert_eq!(array.ty, ValueType::Array { of: ScalarType::Int16, len: 9 });
    assert_eq!(address("co0:5:Statusword", r#", "access": "pdo""#).access, CanOpenAccess::Pdo);
}

#[test]
fn each_fault_of_an_address_is_told() {
    address_fault("co0:7:0x6064:0", "", "2:31: error: tag \"t\": node \"7\" is not a node of the link; allowed: 5, 6");
    address_fault("co0:5", "", "does not name an object");
    address_fault("co0:5:0x60641:0", "", "2:33: error: tag \"t\": the index in the address is \"0x60641\"");
    address_fault("co0:5:0x6064:0x100", "", "the sub-index in the address is \"0x100\"");
    address_fault("co0:5:0x6064:0:1:2", "", "has 6 parts");
    address_fault(
        "co0:5:Positoin",
        "",
        "no parameter \"Positoin\"; allowed: a ParameterName, or Object.Sub-object (did you mean \"Position\"?)",
    );
    address_fault("co0:5:Twin", "", "is the name of several objects, such as 0x2002:00 and 0x2003:00");
    address_fault("co0:6:Position", "", "is not an index, and node 6 has no data sheet");
    address_fault("co0:5:0x7000:0", "", "the data sheet has no object 0x7000:00");
    address_fault("co0:5:0x6064:0", r#", "data_type": "int16""#, "data_type differs from int32, the data sheet's type");
    address_fault("co0:6:0x6064:0", "", "data_type is missing");
    address_fault("co0:5:Data", "", "DOMAIN of the data sheet has no default type");
    address_fault("co0:5:Secret", "", "is write-only in the data sheet");
    address_fault("co0:5:Position", r#", "access": "pdo""#, "no TPDO of node 5 carries 0x6064:00");
    address_fault("co0:6:0x6064:0", r#", "data_type": "int32", "access": "pdo""#, "no TPDO of node 6");
    address_fault("co0:5:0x6064:0:4", "", "a length, but the object is not a string");
    address_fault("co0:6:0x6064:0:4097", r#", "data_type": "string""#, "the length of a string");
    address_fault("co0:5:0x6064:0", r#", "bit": 64"#, "bit is 64");
    address_fault("co0:5:0x6064:0", r#", "byte_order": "ABCD""#, "CANopen is little endian");
}

#[test]
fn each_fault_of_a_link_is_told() {
    let node = |keys: &str| format!(r#""interface": "can0", "nodes": [{{"id": 5, "eds": "d.eds"{keys}}}]"#);
    fault(r#""nodes": [{"id": 5, "eds": "d.eds"}]"#, TAG, "interface is missing");
    fault(r#""interface": "can 0", "nodes": [{"id": 5, "eds": "d.eds"}]"#, TAG, "interface is \"can 0\"");
    fault(&node(r#"}, {"id": 5"#), TAG, "node 5 is declared twice");
    fault(&node(r#", "eds2": 1"#), TAG, "the key \"eds2\" is unknown");
    fault(&node(r#", "heartbeat_ms": 100, "guarding": {"time_ms": 100}"#), TAG, "guarding and heartbeat_ms");
    fault(&node(r#", "guarding": {}"#), TAG, "time_ms is missing");
    fault(&node(r#", "tpdos": 2"#), TAG, "tpdos without");
    fault(&node(r#", "boot": [{"index": "0x2002", "value": 4294967296}]"#), TAG, "value is 4294967296");
    fault(&node(r#", "boot": [{"index": "x", "value": 1}]"#), TAG, "index is the string \"x\"");
    let link = format!("{}, \"master_id\": 5, \"heartbeat_ms\": 100", node(""));
    fault(&link, TAG, "master_id 5 is also that of a node");
    fault(&format!("{}, \"master_id\": 1", node("")), TAG, "master_id without heartbeat_ms");
    fault(&format!("{}, \"bitrate\": 2000000", node("")), TAG, "bitrate is 2000000");
    let missing = r#""interface": "can0", "nodes": [{"id": 5, "pdos": "eds"}]"#;
    let typed = r#"{"name": "t", "address": "co0:5:0x6064:0", "data_type": "int32", "scan_rate_ms": 10}"#;
    fault(missing, typed, "pdos is eds, but eds is missing");
    let none = r#""interface": "can0", "nodes": [{"id": 5, "eds": "none.eds"}]"#;
    fault(none, typed, "tags/none.eds: there is no such file");
}

#[test]
fn a_network_has_one_master() {
    let text = r#"{"links": [
        {"name": "a", "protocol": "canopen", "interface": "can0", "nodes": [{"id": 5}]},
        {"name": "b", "protocol": "canopen", "interface": "can0", "nodes": [{"id": 6}]}],
        "tags": [{"name": "t", "address": "a:5:state", "scan_rate_ms": 100}]}"#;
    let found = lines(&refused(MINIMAL, &[("tags/a.json", text)]));
    assert!(found.len() == 1 && found[0].contains("interface \"can0\" is also that of link \"a\""), "{found:#?}");
}

/// A data sheet with an RPDO that carries the position and two bytes, and objects of each access.
const OUTPUTS: &str = "[DeviceInfo]\n[1000]\nDataType=7\nAccessType=const\n[6041]\nDataType=6\nAccessType=ro\n\
[607A]\nDataType=4\n[6200]\nObjectType=8\n[6200sub1]\nDataType=5\n[6200sub2]\nDataType=5\nAccessType=rww\n[2100]\nDataType=15\n\
[1400]\nObjectType=9\n[1400sub1]\nDataType=7\nDefaultValue=$NODEID+0x200\n[1400sub3]\nDataType=6\nDefaultValue=50\n\
[1600]\nObjectType=9\n[1600sub0]\nDataType=5\nDefaultValue=3\n[1600sub1]\nDataType=7\nDefaultValue=0x607A0020\n\
[1600sub2]\nDataType=7\nDefaultValue=0x62000108\n[1600sub3]\nDataType=7\nDefaultValue=0x62000208\n";

/// The one finding on a tag with this address and these keys, or none; warnings aside.
fn finding(nodes: &str, address: &str, more: &str) -> Option<String> {
    let link = format!(r#""interface": "can0", "nodes": [{nodes}]"#);
    let tag = format!(r#"{{"name": "t", "address": "{address}", "scan_rate_ms": 10, {more}}}"#);
    let text = file(&link, &tag);
    let files = [("tags/a.json", &*text), ("tags/d.eds", OUTPUTS)];
    match crate::protocol::load_parts(("fieldbeat.toml", MINIMAL), &files) {
        Ok(_) => None,
        Err(fault) => {
            let found = lines(&fault);
            assert_eq!(found.len(), 1, "{found:#?}");
            found.first().cloned()
        }
    }
}

#[test]
fn what_cannot_be_written_is_refused_when_it_is_read_and_not_when_it_is_written() {
    const DRIVE: &str = r#"{"id": 5, "eds": "d.eds"}"#;
    const PLAIN: &str = r#"{"id": 5}"#;
    const ASKED: &str = r#"{"id": 5, "pdos": "node"}"#;
    for (node, address, more) in [
        (DRIVE, "co0:5:0x607A:0", r#""write": true"#),
        (DRIVE, "co0:5:0x607A:0", r#""write": {"via": "sdo", "min": 0, "max": 1}"#),
        (DRIVE, "co0:5:0x607A:0", r#""write": {"via": "pdo", "min": 0, "max": 1}"#),
        (DRIVE, "co0:5:0x6200:2", r#""bit": 7, "write": {"via": "pdo"}"#),
        (ASKED, "co0:5:0x9999:2", r#""bit": 7, "write": {"via": "pdo"}"#),
        (PLAIN, "co0:5:0x9999:2:500", r#""data_type": "string", "write": true"#),
    ] {
        assert_eq!(finding(node, address, more), None, "{address} {more}");
    }
    for (node, address, more, expected) in [
        (DRIVE, "co0:5:0x6041:0", r#""write": true"#, "write on 0x6041:00, which is read-only in the data sheet"),
        (DRIVE, "co0:5:0x1000:0", r#""write": true"#, "write on 0x1000:00, which is read-only"),
        (PLAIN, "co0:5:emcy", r#""write": true"#, "write on a value of the link about the node"),
        (PLAIN, "co0:5:state", r#""write": true"#, "write on a value of the link about the node"),
        (PLAIN, "co0:5:0x6200:1", r#""bit": 3, "write": true"#, "write on a bit: an SDO writes whole objects"),
        (PLAIN, "co0:5:0x2002:0", r#""data_type": "uint64", "array": 500, "write": true"#, "4000 bytes do not fit one"),
        (DRIVE, "co0:5:0x2100:0", r#""data_type": "uint64", "write": {"via": "pdo"}"#, "no RPDO of node 5 carries"),
        (
            PLAIN,
            "co0:5:0x6200:1",
            r#""data_type": "uint8", "write": {"via": "pdo"}"#,
            "without pdos; set \"pdos\": \"node\"",
        ),
        (DRIVE, "co0:5:0x6200:2", r#""bit": 8, "write": {"via": "pdo"}"#, "RPDO 1 carries 0x6200:02 with 8 bits"),
        (
            ASKED,
            "co0:5:0x2100:0",
            r#""data_type": "string", "write": {"via": "pdo"}"#,
            "arrays and strings do not fit a PDO",
        ),
        (DRIVE, "co0:5:0x607A:0", r#""write": {"via": "usb", "min": 0, "max": 1}"#, "via \"usb\" is unknown"),
    ] {
        let found = finding(node, address, more).unwrap_or_default();
        assert!(found.starts_with("tags/a.json:2:") && found.contains(expected), "{expected:?} is not in {found:?}");
    }
    fault(
        r#""interface": "can0", "nodes": [{"id": 5, "eds": "d.eds", "rpdos": 2}]"#,
        TAG,
        "rpdos without \"pdos\": \"node\"",
    );
}
