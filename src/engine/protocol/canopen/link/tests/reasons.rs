//! Why objects have no good value: what nodes leave beside their tags' statuses.

use super::*;
use crate::tag::{AbortCode, Cause, NodeFault, ObjectAt};

const LINK: &str = r#""timeout_ms": 50, "nodes": [{"id": 5, "heartbeat_ms": 100}]"#;
const TAGS: &str = r#"
    {"name": "speed", "address": "co0:5:0x6077:0", "data_type": "int16", "scan_rate_ms": 20},
    {"name": "none", "address": "co0:5:0x2345:6", "data_type": "uint16", "scan_rate_ms": 20}"#;

fn cause(bench: &Bench, name: &str) -> Option<Cause> {
    Cause::of_code(bench.image.cause(bench.id(name).index()))
}

#[test]
fn an_object_that_a_node_lacks_is_named_with_its_abort_code_and_a_node_that_goes_is_silent() {
    let node = Device::new(5).with(0x6077, 0, &7i16.to_le_bytes());
    let mut bench = bench(&config(LINK, TAGS, &[]), vec![node]);
    bench.run_ms(2_000);
    bench.assert_good("speed", 7);
    let object = ObjectAt { index: 0x2345, sub: 6 };
    let Some(Cause::Node { node: 5, object: found, fault: NodeFault::Aborted(code) }) = cause(&bench, "none") else {
        panic!("{:?}", cause(&bench, "none"))
    };
    assert!(found == object && code == AbortCode::NO_SUCH_OBJECT, "{found:?} {code}");
    bench.network().devices.clear();
    bench.run_ms(5_000);
    assert_eq!(bench.status("speed"), Status::BAD_NO_COMMUNICATION);
    let silent = Cause::Node { node: 5, object: ObjectAt::default(), fault: NodeFault::Silent };
    assert_eq!((cause(&bench, "speed"), cause(&bench, "none")), (Some(silent), Some(silent)));
    bench.network().down = true;
    bench.run_ms(5_000);
    assert_eq!(cause(&bench, "speed"), Some(Cause::NotConnected));
}

#[test]
fn a_node_that_refuses_to_be_set_up_names_the_object_at_which_it_did() {
    let link = r#""timeout_ms": 30, "nodes": [{"id": 5, "heartbeat_ms": 0,
        "boot": [{"index": "0x2222", "value": 5, "data_type": "uint8"}]}]"#;
    let mut bench = bench(&config(link, TAGS, &[]), vec![Device::new(5)]);
    bench.run_ms(4_000);
    assert_eq!(bench.status("speed"), Status::BAD_CONFIGURATION_ERROR);
    let Some(Cause::Node { node: 5, object, fault: NodeFault::Refused(code) }) = cause(&bench, "speed") else {
        panic!("{:?}", cause(&bench, "speed"))
    };
    let text = cause(&bench, "speed").unwrap().to_string();
    assert_eq!(object, ObjectAt { index: 0x2222, sub: 0 });
    assert!(
        code.0 != 0 && text.starts_with("node 5, object 0x2222:00: the node refused to be set up: SDO abort"),
        "{text}"
    );
}
