//! Bad tags on `/health` and among the metrics: how many, which, and why.

use super::*;
use crate::lane::Reading;
use crate::protocol;
use crate::protocol::load_parts;
use crate::tag::{Block, Cause, Fault, Status, ValueFault};

/// Four tags of two units on one link, all good; the observed of the other tests otherwise.
fn four_tags() -> Observed {
    let tag = |name: &str, address: &str| {
        format!(r#"{{"name":"{name}","address":"plc:{address}","data_type":"uint16","scan_rate_ms":100}}"#)
    };
    let tags = [tag("a", "1:3:7"), tag("b", "1:3:9"), tag("c", "1:4:9"), tag("d", "2:3:9")].join(",");
    let text = format!(
        r#"{{"links":[{{"name":"plc","protocol":"modbus_tcp","host":"127.0.0.1","addressing":"raw"}}],"tags":[{tags}]}}"#
    );
    let loaded = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", &text)]).unwrap();
    let plan = Arc::new(protocol::build(&loaded.config, &[0]).unwrap().plan);
    let counters = Arc::new(Counters::new(&plan));
    counters.link(LinkId(0)).set_state(LinkState::Up);
    let Ok(mut observed) = Arc::try_unwrap(observed()) else { unreachable!("nobody else has it") };
    (observed.counters, observed.image) = (counters, Arc::new(Image::new([0; 4], Status::GOOD.0)));
    observed.rings = vec![];
    observed.statistics = Arc::new(Statistics::new(&plan));
    observed.current = Mutex::new(Current::new(plan));
    observed
}

fn set(observed: &Observed, tag: usize, status: Status, cause: Option<Cause>) {
    observed.image.set_cause(tag, cause.map_or(0, Cause::code));
    observed.image.write(tag, Reading { t: 1, value: 0, status: status.0, cycle: 1 });
}

fn read(unit: u8, function: u8, first: u16, fault: Fault) -> Option<Cause> {
    Some(Cause::Read { block: Block { unit, function, first, count: 1 }, fault })
}

fn health(observed: &Observed) -> serde_json::Value {
    serde_json::to_value(HealthReport::of(observed)).unwrap()
}

#[test]
fn half_of_the_tags_refused_is_not_ok_and_each_says_why() {
    let observed = four_tags();
    let report = health(&observed);
    assert_eq!((&report["status"], &report["bad_tags"]), (&"ok".into(), &serde_json::json!([])));
    assert_eq!(report["tags"], serde_json::json!({"total": 4, "good": 4, "uncertain": 0, "bad": 0, "waiting": 0}));
    set(&observed, 1, Status::BAD_CONFIGURATION_ERROR, read(1, 3, 9, Fault::Exception(2)));
    set(&observed, 2, Status::BAD_CONFIGURATION_ERROR, read(1, 4, 9, Fault::Exception(1)));
    set(&observed, 3, Status::UNCERTAIN_LAST_USABLE, read(2, 3, 9, Fault::NoReply));
    let report = health(&observed);
    assert_eq!(report["status"], "degraded");
    assert_eq!(report["tags"], serde_json::json!({"total": 4, "good": 1, "uncertain": 1, "bad": 2, "waiting": 0}));
    let reasons = report["reasons"].to_string();
    assert!(
        reasons.contains("2 of 4 tags are bad") && reasons.contains("exception 02 illegal data address"),
        "{reasons}"
    );
    assert_eq!(
        (&report["bad_tags"][0]["tag"], &report["bad_tags"][0]["status"]),
        (&"b".into(), &"BadConfigurationError".into())
    );
    let reason = report["bad_tags"][1]["reason"].as_str().unwrap();
    let expected = "unit 1, function 4 (input registers), address 9, count 1: exception 01 illegal function";
    assert!(reason.starts_with(expected), "{reason}");
    (1..4).for_each(|tag| set(&observed, tag, Status::GOOD, None));
    assert_eq!(health(&observed)["status"], "ok");
}

#[test]
fn what_a_device_has_no_value_for_is_counted_and_is_no_fault() {
    let observed = four_tags();
    set(&observed, 0, Status::BAD_DATA_UNAVAILABLE, Some(Cause::Value(ValueFault::NoValue)));
    let report = health(&observed);
    assert_eq!((&report["status"], &report["tags"]["bad"]), (&"ok".into(), &1.into()));
    assert_eq!(report["bad_tags"][0]["reason"], "the device reports that it has no value");
}

#[test]
fn a_tag_without_a_first_value_is_waiting_and_after_a_while_bad() {
    let observed = four_tags();
    set(&observed, 0, Status::BAD_WAITING_FOR_INITIAL_DATA, None);
    assert_eq!((&health(&observed)["tags"]["waiting"], &health(&observed)["status"]), (&1.into(), &"ok".into()));
    let scan = observed.plan().scans.ids().next().unwrap();
    observed.counters.scan(scan).cycles.add(101);
    let report = health(&observed);
    assert_eq!((&report["tags"]["bad"], &report["status"]), (&1.into(), &"degraded".into()));
    assert_eq!(report["bad_tags"][0]["reason"], "not read yet");
}

#[test]
fn a_link_without_a_connection_says_why_also_for_its_tags_and_few_tags_are_named() {
    let mut observed = four_tags();
    observed.link_troubles = Box::new(|| [(LinkId(0), "127.0.0.1:502 refuses the connection".to_owned())].into());
    observed.counters.link(LinkId(0)).set_state(LinkState::Down);
    (0..4).for_each(|tag| set(&observed, tag, Status::BAD_NO_COMMUNICATION, Some(Cause::NotConnected)));
    let report = health(&observed);
    assert_eq!(report["reasons"][0], "link plc is down: 127.0.0.1:502 refuses the connection");
    assert_eq!(report["bad_tags"][3]["reason"], "127.0.0.1:502 refuses the connection");
}

#[test]
fn metrics_tell_tags_by_status_and_cause_and_the_state_of_each_unit() {
    let observed = four_tags();
    set(&observed, 1, Status::BAD_CONFIGURATION_ERROR, read(1, 3, 9, Fault::Exception(2)));
    set(&observed, 2, Status::BAD_WAITING_FOR_INITIAL_DATA, None);
    set(&observed, 3, Status::BAD_NO_COMMUNICATION, read(2, 3, 9, Fault::Late(400)));
    let observed = Arc::new(observed);
    let text = || {
        super::super::metrics::Metrics::new(observed.clone(), false).write(super::super::metrics::Format::Prometheus)
    };
    let body = text().unwrap();
    for line in [
        "fieldbeat_tags{link=\"plc\",status=\"good\"} 1.0",
        "fieldbeat_tags{link=\"plc\",status=\"uncertain\"} 0.0",
        "fieldbeat_tags{link=\"plc\",status=\"bad\"} 2.0",
        "fieldbeat_tags{link=\"plc\",status=\"waiting\"} 1.0",
        "fieldbeat_bad_tags{link=\"plc\",cause=\"exception\"} 1.0",
        "fieldbeat_bad_tags{link=\"plc\",cause=\"late\"} 1.0",
        "fieldbeat_link_unit_state{link=\"plc\",unit=\"1\",state=\"up\"} 1.0",
        "fieldbeat_link_unit_state{link=\"plc\",unit=\"2\",state=\"up\"} 0.0",
        "fieldbeat_link_unit_state{link=\"plc\",unit=\"2\",state=\"silent\"} 1.0",
    ] {
        assert!(body.lines().any(|l| l == line), "{line}\nis not in\n{body}");
    }
    set(&observed, 3, Status::BAD_CONFIGURATION_ERROR, read(2, 3, 9, Fault::Exception(2)));
    let body = text().unwrap();
    assert!(body.contains("fieldbeat_link_unit_state{link=\"plc\",unit=\"2\",state=\"refused\"} 1.0"), "{body}");
    (0..4).for_each(|tag| set(&observed, tag, Status::BAD_NO_COMMUNICATION, Some(Cause::NotConnected)));
    let body = text().unwrap();
    assert!(body.contains("fieldbeat_link_unit_state{link=\"plc\",unit=\"1\",state=\"down\"} 1.0"), "{body}");
}
