//! What is read by which service, what the kernel lets through, and what does not fit the bus.

use super::cost::frame_time;
use super::*;
use crate::plan::{PlanError, Planned};
use crate::protocol;
use crate::protocol::load_parts;
use crate::tag::{LinkId, Nanos};

const SHEET: &str = "[DeviceInfo]\nVendorNumber=5\n[1000]\nParameterName=Type\nDataType=7\nDefaultValue=0x20192\n\
[1018]\nParameterName=Id\nObjectType=9\n[1018sub1]\nParameterName=V\nDataType=7\n\
[6041]\nParameterName=Status\nDataType=6\n[6064]\nParameterName=Position\nDataType=4\n[6077]\nParameterName=Torque\nDataType=3\n\
[1008]\nParameterName=Name\nDataType=9\n\
[1801]\nParameterName=T2\nObjectType=9\n[1801sub1]\nParameterName=C\nDataType=7\nDefaultValue=0x2C5\n\
[1801sub2]\nParameterName=K\nDataType=5\nDefaultValue=2\n[1A01]\nParameterName=M2\nObjectType=9\n\
[1A01sub0]\nParameterName=n\nDataType=5\nDefaultValue=2\n[1A01sub1]\nParameterName=a\nDataType=7\nDefaultValue=0x60410010\n\
[1A01sub2]\nParameterName=b\nDataType=7\nDefaultValue=0x60640020\n";

fn planned(link: &str, tags: &str) -> Result<Planned, PlanError> {
    let text = format!(
        r#"{{"links": [{{"name": "co0", "protocol": "canopen", "interface": "can0", {link}}}], "tags": [{tags}]}}"#
    );
    let files = [("tags/a.json", &*text), ("tags/d.eds", SHEET)];
    let config = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &files).unwrap_or_else(|e| panic!("{e}"));
    protocol::build(&config.config, &[0])
}

fn canopen(link: &str, tags: &str) -> CanOpenPlan {
    let plan = planned(link, tags).unwrap_or_else(|e| panic!("{e}")).plan;
    let Some(canopen) = plan.links[LinkId(0)].protocol.get::<CanOpenPlan>() else { panic!("another kind of link") };
    canopen.clone()
}

fn tag(name: &str, address: &str, more: &str) -> String {
    format!(r#"{{"name": "{name}", "address": "co0:{address}", "scan_rate_ms": 100{more}}}"#)
}

#[test]
fn the_longest_frame_has_every_stuff_bit() {
    // ISO 11898-1: 47 bits, 64 of data, 24 stuffed.
    assert_eq!(frame_time(1_000_000, 8), Nanos::from_micros(135));
    assert_eq!(frame_time(500_000, 0), Nanos::from_micros(110));
}

#[test]
fn what_a_tpdo_carries_comes_by_pdo_and_the_rest_by_sdo() {
    let tags = [
        tag("p", "5:Position", ""),
        tag("s", "5:Status", ""),
        tag("bit", "5:Status", r#", "bit": 3"#),
        tag("t", "5:Torque", ""),
        tag("again", "5:Position", r#", "access": "sdo""#),
        tag("e", "5:emcy", ""),
    ];
    let plan = canopen(r#""nodes": [{"id": 5, "eds": "d.eds", "heartbeat_ms": 100}]"#, &tags.join(","));
    let ways: Vec<Way> = plan.items.iter().map(|item| item.way).collect();
    let count = |way: Way| ways.iter().filter(|w| **w == way).count();
    assert_eq!((count(Way::Pdo), count(Way::Sdo), count(Way::Own)), (2, 2, 1), "two tags share the status word");
    let node = &plan.nodes[0];
    assert_eq!(node.tpdos.iter().map(|tpdo| tpdo.number).collect::<Vec<_>>(), [2]);
    let steps = [
        BootStep::Check { object: Object { index: 0x1000, sub: 0 }, expected: 0x20192 },
        BootStep::Check { object: Object { index: 0x1018, sub: 1 }, expected: 5 },
        BootStep::Write { object: Object { index: 0x1017, sub: 0 }, value: vec![100, 0] },
        BootStep::ReadTpdo(0),
    ];
    assert_eq!(node.steps, steps);
    let ids: Vec<u32> = plan.filters().iter().map(|filter| filter.id).collect();
    assert_eq!(ids, [0x085, 0x2C5, 0x585, 0x705]);
    assert!(plan.filters().iter().all(|filter| filter.mask & 0x7FF == 0x7FF));
}

#[test]
fn a_node_that_is_asked_for_its_mapping_may_use_any_identifier_of_pdos() {
    let tags = tag("p", "5:0x6064:0", r#", "data_type": "int32""#);
    let plan = canopen(r#""nodes": [{"id": 5, "pdos": "node", "tpdos": 2}]"#, &tags);
    assert_eq!(plan.items[0].way, Way::AsMapped);
    let passes = |id: u32| plan.filters().iter().any(|filter| id & filter.mask == filter.id);
    assert!((0x181..0x580).all(passes));
    assert!(!passes(0x601) && !passes(0x000) && !passes(0x080) && passes(0x585) && !passes(0x586));
}

#[test]
fn long_texts_are_read_in_blocks_unless_that_is_switched_off() {
    let tags = tag("n", "5:0x1008:0:100", "");
    assert!(canopen(r#""nodes": [{"id": 5, "eds": "d.eds"}]"#, &tags).items[0].block);
    assert!(!canopen(r#""nodes": [{"id": 5, "eds": "d.eds", "block": false}]"#, &tags).items[0].block);
}

#[test]
fn reads_that_do_not_fit_a_node_are_refused_with_what_is_possible() {
    let tags: Vec<String> = (0..60)
        .map(|i| {
            format!(r#"{{"name": "t{i}", "address": "co0:5:0x2000:{i}", "data_type": "int32", "scan_rate_ms": 100}}"#)
        })
        .collect();
    let error = planned(r#""nodes": [{"id": 5}]"#, &tags.join(",")).unwrap_err().to_string();
    assert!(error.contains("link \"co0\", group \"default\"") && error.contains("Hz is possible"), "{error}");
    let half = planned(r#""nodes": [{"id": 5}]"#, &tags[..25].join(",")).unwrap();
    let load = half.admission.links[LinkId(0)].load;
    // 25 reads of 2 ms and two frames of 270 µs each, in 100 ms.
    assert!((0.63..0.65).contains(&load), "{load}");
}

#[test]
fn two_nodes_answer_side_by_side() {
    let tags = |node: u8| -> Vec<String> {
        (0..25)
            .map(|i| {
                format!(
                    r#"{{"name": "n{node}.{i}", "address": "co0:{node}:0x2000:{i}", "data_type": "int32", "scan_rate_ms": 100}}"#
                )
            })
            .collect()
    };
    let all = [tags(5), tags(6)].concat().join(",");
    let planned = planned(r#""nodes": [{"id": 5}, {"id": 6}]"#, &all).unwrap();
    let load = planned.admission.links[LinkId(0)].load;
    assert!((0.63..0.66).contains(&load), "{load}");
}

#[test]
fn a_bus_that_is_full_of_pdos_is_refused() {
    let tags = r#"{"name": "p", "address": "co0:5:Position", "scan_rate_ms": 1}"#;
    let slow = r#""bitrate": 20000, "sync_ms": 1, "nodes": [{"id": 5, "eds": "d.eds"}]"#;
    let error = planned(slow, tags).unwrap_err().to_string();
    assert!(error.contains("the PDOs of its nodes need") && error.contains("20000 bit/s"), "{error}");
    assert!(planned(&slow.replace("20000", "1000000"), tags).is_ok());
}

#[test]
fn more_nodes_than_the_kernel_has_filters_for_are_heard_all_the_same() {
    let nodes: Vec<String> = (1..=127).map(|id| format!(r#"{{"id": {id}, "pdos": "node"}}"#)).collect();
    let mut plan = canopen(&format!(r#""bitrate": 1000000, "nodes": [{}]"#, nodes.join(",")), &tag("e", "5:emcy", ""));
    for node in &mut plan.nodes {
        for (at, tpdo) in node.tpdos.iter_mut().enumerate() {
            let cob_id = 0x180 + 0x100 * at as u16 + u16::from(node.id);
            let (kind, event_timer_ms, fields) = (255, 0, vec![]);
            tpdo.planned = Some(Pdo { number: at as u16 + 1, cob_id, kind, inhibit_100us: 0, event_timer_ms, fields });
        }
    }
    let filters = plan.filters();
    assert!(filters.len() <= crate::limits::CAN_FILTERS_MAX, "{}", filters.len());
    let passes = |id: u32| filters.iter().any(|filter| id & filter.mask == filter.id);
    for id in 1..=127 {
        assert!([0x080, 0x180, 0x280, 0x380, 0x480, 0x580, 0x700].into_iter().all(|base| passes(base + id)), "{id}");
        assert!(!passes(0x600 + id) && !passes(0x100 + id));
    }
}

#[test]
fn what_is_written_by_pdo_needs_all_that_its_pdo_carries() {
    const RPDO: &str = "[6040]\nDataType=6\n[607A]\nDataType=4\n[1402]\nObjectType=9\n\
[1402sub1]\nDataType=7\nDefaultValue=$NODEID+0x400\n[1402sub2]\nDataType=5\nDefaultValue=255\n\
[1402sub3]\nDataType=6\nDefaultValue=100\n[1402sub5]\nDataType=6\nDefaultValue=50\n[1602]\nObjectType=9\n\
[1602sub0]\nDataType=5\nDefaultValue=2\n[1602sub1]\nDataType=7\nDefaultValue=0x60400010\n\
[1602sub2]\nDataType=7\nDefaultValue=0x607A0020\n";
    let sheet = format!("{SHEET}{RPDO}");
    let plan = |verify: bool, write: &str| {
        let text = format!(
            r#"{{"links": [{{"name": "co0", "protocol": "canopen", "interface": "can0", "bitrate": 20000,
                "nodes": [{{"id": 5, "eds": "d.eds", "heartbeat_ms": 0, "verify": {verify}}}]}}], "tags": [{}]}}"#,
            tag("target", "5:0x607A:0", write)
        );
        let files = [("tags/a.json", &*text), ("tags/d.eds", &*sheet)];
        let config =
            load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &files).unwrap_or_else(|e| panic!("{e}"));
        let planned = protocol::build(&config.config, &[0]).unwrap_or_else(|e| panic!("{e}"));
        let load = planned.admission.links[LinkId(0)].load;
        let Some(canopen) = planned.plan.links[LinkId(0)].protocol.get::<CanOpenPlan>() else { panic!("another kind") };
        (canopen.clone(), load)
    };
    let (by_pdo, load) = plan(true, r#", "write": {"via": "pdo", "min": 0, "max": 9}"#);
    let node = &by_pdo.nodes[0];
    let rpdo = node.rpdos[0].planned.as_ref().unwrap();
    assert_eq!((rpdo.number, rpdo.cob_id, rpdo.inhibit_100us), (3, 0x405, 100));
    assert_eq!(node.steps[node.steps.len() - 2..], [BootStep::ReadRpdo(0), BootStep::ReadImage(0)]);
    assert_eq!(node.pdo_writes, [0]);
    let (unverified, _) = plan(false, r#", "write": {"via": "pdo", "min": 0, "max": 9}"#);
    assert_eq!(unverified.nodes[0].steps, [BootStep::ReadImage(0)], "its objects are read all the same");
    let (by_sdo, without) = plan(true, r#", "write": {"min": 0, "max": 9}"#);
    assert!(by_sdo.nodes[0].rpdos.is_empty() && by_sdo.nodes[0].pdo_writes.is_empty());
    // Repeated each 25 ms, since the node watches for 50 ms: 40 frames a second of 6.75 ms at 20 kbit/s.
    let fastest = Nanos::from_millis(100);
    assert_eq!((by_pdo.frames_by_themselves(fastest), by_sdo.frames_by_themselves(fastest)), (40.0, 0.0));
    assert!((0.40..0.41).contains(&load) && without < 0.2, "with two frames for the read: {load}; {without}");
}
