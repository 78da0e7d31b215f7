//! The CANopen master against a node of the Python package `canopen`: SDO expedited and segmented, PDO with SYNC,
//! heartbeat lost and back, emergencies, writes by SDO and by PDO, aborts.
//!
//! The kernel of most test machines has no CAN: a socket pair carries `struct can_frame` in its place, between the
//! real executor and python-can. On a real CAN interface: `tests/guest`.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

#[path = "../peers/mod.rs"]
mod peers;
mod rig;

use std::time::{Duration, Instant};

use fieldbeat::rt::*;
use fieldbeat::tag::*;
use serde_json::json;

use rig::{NODE, SHEET, rig, rig_with};

#[test]
fn objects_come_by_pdo_and_by_sdo_expedited_and_segmented() {
    let mut rig = rig(NODE);
    rig.wait_for("position", |status, value| status.is_good() && matches!(value, Value::Int(p) if *p < -3));
    rig.wait_good("enabled", Value::Bool(true));
    rig.wait_good("torque", Value::Int(-3));
    rig.wait_good("limit", Value::Float32(1.5));
    rig.wait_good("vendor", Value::Uint(0x29A));
    rig.wait_good("name", Value::Text("A drive with a name of several segments".into()));
    rig.wait_good("samples", Value::Array((0..100).map(Value::Uint).collect()));
    rig.wait_good("state", Value::Uint(5));
    rig.wait_for("position_by_sdo", |status, _| status.is_good());
    // Values of a PDO are samples of their own, each newer than the one before.
    std::thread::sleep(Duration::from_millis(500));
    let id = rig.id("position");
    let mut positions = Vec::new();
    while let Ok(sample) = rig.samples.pop() {
        for _ in 0..sample.payload_slots() {
            rig.samples.pop().unwrap();
        }
        if sample.tag() == id && sample.status().is_good() {
            positions.push(sample.value as i64);
        }
    }
    assert!(positions.len() > 15 && positions.windows(2).all(|w| w[1] < w[0]), "{positions:?}");
    let counters = rig.counters.link(LinkId(0));
    assert_eq!((counters.timeouts.get(), counters.garbage.get(), counters.exceptions.get()), (0, 0, 0));
    assert_eq!(rig.events().iter().filter(|e| **e == NodeEvent::Ready).count(), 1);
}

#[test]
fn a_heartbeat_that_is_lost_and_comes_back_takes_the_values_with_it() {
    let mut rig = rig(NODE);
    rig.wait_good("torque", Value::Int(-3));
    rig.node.ask(&json!({"do": "cut"}));
    rig.wait_for("state", |status, _| status == Status::BAD_NO_COMMUNICATION);
    rig.wait_for("torque", |status, value| status == Status::BAD_NO_COMMUNICATION && *value == Value::Int(-3));
    assert!(rig.events().contains(&NodeEvent::Lost));
    rig.node.ask(&json!({"do": "restart"}));
    rig.wait_good("torque", Value::Int(-3));
    rig.wait_for("position", |status, _| status.is_good());
    assert_eq!(rig.node.ask(&json!({"do": "get", "index": 0x1017}))["value"], 100, "set up again");
    assert_eq!(rig.node.ask(&json!({"do": "get", "index": 0x1017}))["state"], "OPERATIONAL");
    assert!(rig.events().contains(&NodeEvent::Ready));
}

#[test]
fn a_node_that_restarts_is_set_up_and_started_again() {
    let mut rig = rig(NODE);
    rig.wait_good("state", Value::Uint(5));
    rig.node.ask(&json!({"do": "restart"}));
    let until = Instant::now() + Duration::from_secs(5);
    let mut events = Vec::new();
    while !events.contains(&NodeEvent::BootUp) && Instant::now() < until {
        events.extend(rig.events());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(events.contains(&NodeEvent::BootUp), "{events:?}");
    rig.wait_good("state", Value::Uint(5));
}

#[test]
fn an_emergency_is_an_event_and_a_tag() {
    let mut rig = rig(NODE);
    rig.wait_good("emcys", Value::Uint(0));
    rig.node.ask(&json!({"do": "emergency", "code": 0x4210, "register": 9, "data": [1, 2, 3, 4, 5]}));
    rig.wait_good("emcy", Value::Uint(0x4210));
    rig.wait_good("emcys", Value::Uint(1));
    let event = NodeEvent::Emergency { code: 0x4210, register: 9, manufacturer: [1, 2, 3, 4, 5] };
    assert!(rig.events().contains(&event));
}

#[test]
fn writes_go_by_sdo_expedited_and_segmented_and_an_abort_is_the_answer() {
    let mut rig = rig(NODE);
    rig.wait_good("recipe", Value::Text("none".into()));
    assert_eq!(rig.write("control", &Value::Uint(0x0F)).outcome, WriteOutcome::Done);
    assert_eq!(rig.write("limit", &Value::Float64(2.25)).outcome, WriteOutcome::Done);
    let text = "a recipe that takes more than one segment, and more than one block of seven".to_owned();
    // The node has no block download, and says so; the next attempt goes without.
    let first = rig.write("recipe", &Value::Text(text.clone())).outcome;
    assert!(matches!(first, WriteOutcome::Done), "{first:?}");
    assert_eq!(rig.node.ask(&json!({"do": "get", "index": 0x2000}))["value"], text.as_str());
    assert_eq!(rig.node.ask(&json!({"do": "get", "index": 0x6040}))["value"], 15);
    rig.wait_good("limit", Value::Float32(2.25));
    // 0x06010002: attempt to write a read-only object.
    assert_eq!(rig.write("name", &Value::Text("x".into())).outcome, WriteOutcome::Refused(0x0601_0002));
}

#[test]
fn writes_by_pdo_reach_the_node_and_leave_the_other_objects_of_the_pdo_as_they_are() {
    let mut rig = rig(NODE);
    rig.wait_good("state", Value::Uint(5));
    rig.wait_good("target", Value::Int(1000));
    assert_eq!(rig.node.ask(&json!({"do": "received"}))["received"], json!([]), "nothing before the first write");
    assert_eq!(rig.write("target", &Value::Int(-77)).outcome, WriteOutcome::Done, "read back");
    assert_eq!(rig.write("control", &Value::Uint(0x06)).outcome, WriteOutcome::Done, "by SDO");
    assert_eq!(rig.write_as("power", &Value::Bool(true), false).outcome, WriteOutcome::Unconfirmed);
    rig.wait_good("power", Value::Bool(true));
    rig.wait_good("control", Value::Uint(0x0E));
    rig.wait_good("target", Value::Int(-77));
    let received = &rig.node.ask(&json!({"do": "received"}))["received"];
    let pdo = |control: u16, target: i32| json!({"Controlword": control, "Target position": target});
    assert_eq!(*received, json!([pdo(0, -77), pdo(0x0E, -77)]));
    // In another state it takes none, and gets none.
    rig.node.ask(&json!({"do": "stop"}));
    rig.wait_good("state", Value::Uint(4));
    assert_eq!(rig.write("target", &Value::Int(5)).outcome, WriteOutcome::NotOperational);
    rig.wait_good("state", Value::Uint(5));
    assert_eq!(rig.node.ask(&json!({"do": "received"}))["received"].as_array().unwrap().len(), 2);
}

#[test]
fn a_guarded_or_unwatched_node_is_read_as_well() {
    let rig = rig(r#"{"id": 5, "eds": "drive.eds", "heartbeat_ms": 0, "pdos": "node", "verify": false}"#);
    rig.wait_good("torque", Value::Int(-3));
    rig.wait_for("position", |status, value| status.is_good() && matches!(value, Value::Int(p) if *p < 0));
}

#[test]
fn another_device_than_the_data_sheets_is_refused() {
    let mut rig = rig_with(NODE, &SHEET.replace("ProductNumber=0x00000007", "ProductNumber=0x00000008"));
    rig.wait_for("torque", |status, _| status == Status::BAD_CONFIGURATION_ERROR);
    let object = fieldbeat::tag::Object { index: 0x1018, sub: 2 };
    assert!(rig.events().contains(&NodeEvent::OtherDevice { object, found: 7 }));
    assert_eq!(rig.node.ask(&json!({"do": "get", "index": 0x1017}))["state"], "PRE-OPERATIONAL", "it is not started");
}
