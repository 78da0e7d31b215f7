//! What a master does, case by case.

use super::*;
use crate::limits::PROBE_PAUSE_MAX;

const SHEET: &str = "[DeviceInfo]\nVendorNumber=0x29A\n[1000]\nParameterName=Device type\nDataType=7\nDefaultValue=0x20192\n\
[1018]\nParameterName=Identity\nObjectType=9\n[1018sub1]\nParameterName=Vendor\nDataType=7\n\
[1800]\nParameterName=TPDO1\nObjectType=9\n[1800sub1]\nParameterName=COB\nDataType=7\nDefaultValue=$NODEID+0x180\n\
[1800sub2]\nParameterName=Type\nDataType=5\nDefaultValue=1\n[1A00]\nParameterName=Map1\nObjectType=9\n\
[1A00sub0]\nParameterName=n\nDataType=5\nDefaultValue=2\n[1A00sub1]\nParameterName=e1\nDataType=7\nDefaultValue=0x60410010\n\
[1A00sub2]\nParameterName=e2\nDataType=7\nDefaultValue=0x60640020\n[6041]\nParameterName=Statusword\nDataType=6\n\
[6064]\nParameterName=Position\nDataType=4\n[6077]\nParameterName=Torque\nDataType=3\n[1008]\nParameterName=Name\nDataType=9\n";
const SHEETS: &[(&str, &str)] = &[("tags/drive.eds", SHEET)];

/// A node as the data sheet tells it.
fn drive() -> Device {
    let mut drive = Device::new(5)
        .with(0x1018, 1, &0x29Au32.to_le_bytes())
        .with_tpdo(0x185, 1, &[0x6041_0010, 0x6064_0020])
        .with(0x6041, 0, &[0x37, 6])
        .with(0x6064, 0, &7i32.to_le_bytes())
        .with(0x6077, 0, &(-3i16).to_le_bytes())
        .with(0x1008, 0, b"a drive with a long name");
    drive.on_sync = Some((0x185, vec![0x37, 0x06, 0x18, 0xFC, 0xFF, 0xFF]));
    drive
}

const DRIVE_LINK: &str = r#""sync_ms": 10, "timeout_ms": 50,
    "nodes": [{"id": 5, "eds": "drive.eds", "heartbeat_ms": 100}]"#;
const DRIVE_TAGS: &str = r#"
    {"name": "pos", "address": "co0:5:0x6064:0", "scan_rate_ms": 10},
    {"name": "enabled", "address": "co0:5:0x6041:0", "bit": 2, "scan_rate_ms": 10},
    {"name": "torque", "address": "co0:5:Torque", "scan_rate_ms": 20, "scale": 0.5},
    {"name": "name", "address": "co0:5:0x1008:0", "scan_rate_ms": 1000},
    {"name": "emcy", "address": "co0:5:emcy", "scan_rate_ms": 100},
    {"name": "emcys", "address": "co0:5:emcy_count", "scan_rate_ms": 100},
    {"name": "state", "address": "co0:5:state", "scan_rate_ms": 100}"#;

fn drive_bench() -> Bench {
    bench(&config(DRIVE_LINK, DRIVE_TAGS, SHEETS), vec![drive()])
}

#[test]
fn a_node_is_set_up_and_started_and_a_scan_mixes_pdo_and_sdo() {
    let mut bench = drive_bench();
    bench.run_ms(2_000);
    assert_eq!(bench.network().device(5).state, 5, "started");
    assert_eq!(bench.network().device(5).written, [((0x1017, 0), vec![100, 0])]);
    bench.assert_good("pos", (-1000i64) as u64);
    bench.assert_good("enabled", 1);
    bench.assert_good("torque", (-1.5f64).to_bits());
    bench.assert_good("state", 5);
    assert_eq!(bench.status("name"), Status::GOOD);
    let mut text = [0; 64];
    let reading = bench.image.read_long(bench.id("name").index(), &mut text).unwrap();
    assert_eq!(&text[..reading.value as usize], b"a drive with a long name");
    assert_eq!(bench.events(), [NodeEvent::Ready]);
    let by_sdo = bench.sent(0x605).iter().any(|(_, m)| m.data[0] == 0x40 && m.data[1..4] == [0x64, 0x60, 0]);
    assert!(!by_sdo, "what comes by PDO is not asked for");
    let samples = bench.samples("pos");
    assert!((150..=200).contains(&samples.len()), "one a beat: {}", samples.len());
    assert!(samples.iter().all(|s| s.has_no_value() || s.value == (-1000i64) as u64));
    assert_eq!(bench.counters.links[0].timeouts.get(), 0);
}

#[test]
fn sync_keeps_its_beat() {
    let mut bench = drive_bench();
    bench.run_ms(1_000);
    let sync: Vec<u64> = bench.sent(0x80).iter().map(|(at, _)| *at).collect();
    assert!((99..=101).contains(&sync.len()), "{}", sync.len());
    assert!(sync.windows(2).all(|w| (w[1] - w[0]).abs_diff(10 * MS) < MS));
}

#[test]
fn a_lost_heartbeat_is_uncertain_then_bad_and_a_boot_up_sets_the_node_up_again() {
    let mut bench = drive_bench();
    bench.run_ms(1_000);
    bench.network().device(5).dead = true;
    let read_at = bench.reading("state").t;
    bench.run_ms(250);
    assert_eq!(bench.status("state"), Status::UNCERTAIN_LAST_USABLE);
    assert!(bench.reading("state").t <= read_at + 200 * MS, "the old value with its old time");
    bench.run_ms(300);
    for tag in ["pos", "enabled", "torque", "state", "emcy"] {
        assert_eq!(bench.status(tag), Status::BAD_NO_COMMUNICATION, "{tag}");
    }
    assert_eq!(bench.counters.links[0].state(), LinkState::Silent);
    bench.events();
    bench.run_ms(3_000);
    let boot_up = {
        let mut network = bench.network();
        let now = network.now;
        network.device(5).power_on(now)
    };
    bench.network().post(vec![boot_up]);
    bench.run_ms(300);
    assert_eq!(bench.network().device(5).state, 5, "started again");
    bench.assert_good("pos", (-1000i64) as u64);
    bench.assert_good("torque", (-1.5f64).to_bits());
    assert_eq!(bench.network().device(5).written.len(), 2, "set up again");
    assert_eq!(bench.events().last(), Some(&NodeEvent::Ready));
    assert_eq!(bench.counters.links[0].state(), LinkState::Up);
}

#[test]
fn a_node_that_starts_anew_between_two_heartbeats_is_set_up_again() {
    let mut bench = drive_bench();
    bench.run_ms(1_000);
    let boot_up = {
        let mut network = bench.network();
        let now = network.now;
        network.device(5).power_on(now)
    };
    bench.network().post(vec![boot_up]);
    bench.run_ms(100);
    assert_eq!(bench.events(), [NodeEvent::Ready, NodeEvent::BootUp, NodeEvent::Ready]);
    bench.assert_good("pos", (-1000i64) as u64);
    assert_eq!(bench.network().device(5).state, 5);
}

#[test]
fn a_node_that_left_the_operational_state_is_started_again() {
    let mut bench = drive_bench();
    bench.run_ms(1_000);
    bench.network().device(5).state = 127;
    bench.run_ms(1_500);
    assert_eq!(bench.network().device(5).state, 5);
    bench.assert_good("pos", (-1000i64) as u64);
}

#[test]
fn a_node_that_is_not_there_at_first_is_found_without_a_boot_up_message() {
    let mut bench = drive_bench();
    bench.network().device(5).dead = true;
    bench.run_ms(3_000);
    assert_eq!(bench.status("pos"), Status::BAD_NO_COMMUNICATION);
    bench.network().device(5).dead = false;
    bench.run_ms(PROBE_PAUSE_MAX.0 / MS + 200);
    bench.assert_good("pos", (-1000i64) as u64);
}

#[test]
fn cyclic_pdos_that_stay_away_are_held_though_the_heartbeat_goes_on() {
    let mut bench = drive_bench();
    bench.run_ms(1_000);
    bench.network().device(5).on_sync = None;
    bench.run_ms(60);
    assert_eq!(bench.status("pos"), Status::UNCERTAIN_LAST_USABLE);
    bench.assert_good("torque", (-1.5f64).to_bits());
    bench.run_ms(100);
    assert_eq!(bench.status("pos"), Status::BAD_NO_COMMUNICATION);
    bench.network().device(5).on_sync = Some((0x185, vec![0x37, 0x06, 1, 0, 0, 0]));
    bench.run_ms(30);
    bench.assert_good("pos", 1);
}

#[test]
fn a_pdo_that_is_shorter_than_its_mapping_gives_no_value_for_what_is_missing() {
    let mut bench = drive_bench();
    bench.run_ms(1_000);
    bench.network().device(5).on_sync = Some((0x185, vec![0x33, 0x06, 1, 0]));
    bench.run_ms(30);
    assert_eq!(bench.status("pos"), Status::BAD_DECODING_ERROR);
    bench.assert_good("enabled", 0);
}

#[test]
fn a_mapping_that_is_another_than_the_data_sheets_gives_no_wrong_value() {
    let mut swapped = drive().with_tpdo(0x185, 1, &[0x6064_0020, 0x6041_0010]);
    swapped.on_sync = Some((0x185, vec![9, 0, 0, 0, 4, 0]));
    let mut bench = bench(&config(DRIVE_LINK, DRIVE_TAGS, SHEETS), vec![swapped]);
    bench.run_ms(1_000);
    bench.assert_good("pos", 9);
    bench.assert_good("enabled", 1);

    let elsewhere = drive().with_tpdo(0x195, 1, &[0x6041_0010, 0x6064_0020]);
    let mut bench = super::bench(&config(DRIVE_LINK, DRIVE_TAGS, SHEETS), vec![elsewhere]);
    bench.run_ms(1_000);
    assert_eq!(bench.status("pos"), Status::BAD_CONFIGURATION_ERROR);
    assert!(matches!(bench.events()[0], NodeEvent::NotMapped { .. }));
    bench.assert_good("torque", (-1.5f64).to_bits());
}

#[test]
fn another_device_than_the_data_sheets_is_refused() {
    let other = drive().with(0x1018, 1, &0x111u32.to_le_bytes());
    let mut bench = bench(&config(DRIVE_LINK, DRIVE_TAGS, SHEETS), vec![other]);
    bench.run_ms(1_000);
    assert_eq!(bench.status("pos"), Status::BAD_CONFIGURATION_ERROR);
    let object = crate::tag::Object { index: 0x1018, sub: 1 };
    assert_eq!(bench.events()[0], NodeEvent::OtherDevice { object, found: 0x111 });
    assert_eq!(bench.network().device(5).state, 127, "it is not started");
}

#[test]
fn the_nodes_own_mapping_is_read_where_there_is_no_data_sheet() {
    let link = r#""sync_ms": 10, "timeout_ms": 50, "nodes": [{"id": 5, "pdos": "node", "heartbeat_ms": 100}]"#;
    let tags = r#"{"name": "pos", "address": "co0:5:0x6064:0", "data_type": "int32", "scan_rate_ms": 10},
        {"name": "torque", "address": "co0:5:0x6077:0", "data_type": "int16", "scan_rate_ms": 10},
        {"name": "wide", "address": "co0:5:0x6041:0", "data_type": "uint32", "scan_rate_ms": 100}"#;
    let mut bench = bench(&config(link, tags, &[]), vec![drive()]);
    bench.run_ms(1_000);
    bench.assert_good("pos", (-1000i64) as u64);
    bench.assert_good("torque", (-3i64) as u64);
    assert_eq!(bench.status("wide"), Status::BAD_DECODING_ERROR, "the object has 16 bits");
}

#[test]
fn a_pdo_by_event_that_does_not_come_is_read_once_by_sdo() {
    let link = r#""timeout_ms": 50, "nodes": [{"id": 5, "pdos": "node", "heartbeat_ms": 100}]"#;
    let tags = r#"{"name": "pos", "address": "co0:5:0x6064:0", "data_type": "int32", "scan_rate_ms": 10}"#;
    let mut bench = bench(&config(link, tags, &[]), vec![drive().with_tpdo(0x185, 255, &[0x6041_0010, 0x6064_0020])]);
    bench.run_ms(2_000);
    bench.assert_good("pos", 7);
    let asked = bench.sent(0x605).iter().filter(|(_, m)| m.data[1..3] == [0x64, 0x60]).count();
    assert_eq!(asked, 1);
    let now = bench.network().now;
    bench.network().post(vec![(now, Message::new(0x185, &[0, 0, 8, 0, 0, 0]))]);
    bench.run_ms(20);
    bench.assert_good("pos", 8);
}

#[test]
fn emergencies_are_counted_and_told() {
    let mut bench = drive_bench();
    bench.run_ms(1_000);
    bench.events();
    let now = bench.network().now;
    bench.network().post(vec![(now, Message::new(0x85, &[0x10, 0x42, 9, 1, 2, 3, 4, 5]))]);
    bench.run_ms(200);
    bench.assert_good("emcy", 0x4210);
    bench.assert_good("emcys", 1);
    let event = NodeEvent::Emergency { code: 0x4210, register: 9, manufacturer: [1, 2, 3, 4, 5] };
    assert_eq!(bench.events(), [event]);
}

#[test]
fn a_guarded_node_is_asked_and_noticed_when_it_is_gone() {
    let link = r#""timeout_ms": 50, "nodes": [{"id": 5, "guarding": {"time_ms": 100, "life": 3}}]"#;
    let tags = r#"{"name": "torque", "address": "co0:5:0x6077:0", "data_type": "int16", "scan_rate_ms": 1000},
        {"name": "state", "address": "co0:5:state", "scan_rate_ms": 100}"#;
    let mut bench = bench(&config(link, tags, &[]), vec![drive()]);
    bench.run_ms(1_050);
    bench.assert_good("torque", (-3i64) as u64);
    bench.assert_good("state", 5);
    assert!((9..=11).contains(&bench.sent(0x705).len()), "{}", bench.sent(0x705).len());
    assert!(bench.sent(0x705).iter().all(|(_, m)| m.remote));
    bench.network().device(5).dead = true;
    bench.run_ms(450);
    assert_eq!(bench.status("torque"), Status::BAD_NO_COMMUNICATION);
    assert_eq!(bench.events(), [NodeEvent::Ready, NodeEvent::Late, NodeEvent::Lost]);
}

#[test]
fn a_node_that_nothing_watches_is_lost_by_its_unanswered_sdos_and_costs_the_others_nothing() {
    let link = r#""timeout_ms": 30, "nodes": [{"id": 5, "heartbeat_ms": 0}, {"id": 6, "heartbeat_ms": 0}]"#;
    let tags = r#"{"name": "a", "address": "co0:5:0x6077:0", "data_type": "int16", "scan_rate_ms": 20},
        {"name": "b", "address": "co0:6:0x6077:0", "data_type": "int16", "scan_rate_ms": 20}"#;
    let other = Device::new(6).with(0x6077, 0, &[4, 0]);
    let mut bench = bench(&config(link, tags, &[]), vec![drive(), other]);
    bench.run_ms(1_000);
    bench.assert_good("a", (-3i64) as u64);
    bench.network().device(5).dead = true;
    bench.run_ms(35);
    assert_eq!(bench.status("a"), Status::UNCERTAIN_LAST_USABLE);
    bench.run_ms(1_000);
    assert_eq!(bench.status("a"), Status::BAD_NO_COMMUNICATION);
    bench.assert_good("b", 4);
    let asked = bench.sent(0x606).len();
    assert!(asked > 95, "the other keeps its beat: {asked}");
    bench.network().device(5).dead = false;
    bench.run_ms(3_000);
    bench.assert_good("a", (-3i64) as u64);
}

#[test]
fn an_object_that_is_not_there_is_a_fault_of_the_configuration_and_its_neighbours_go_on() {
    let link = r#""timeout_ms": 30, "nodes": [{"id": 5, "heartbeat_ms": 0}]"#;
    let tags = r#"{"name": "none", "address": "co0:5:0x7000:1", "data_type": "int16", "scan_rate_ms": 20},
        {"name": "torque", "address": "co0:5:0x6077:0", "data_type": "int16", "scan_rate_ms": 20}"#;
    let mut bench = bench(&config(link, tags, &[]), vec![drive()]);
    bench.run_ms(1_000);
    assert_eq!(bench.status("none"), Status::BAD_CONFIGURATION_ERROR);
    bench.assert_good("torque", (-3i64) as u64);
    assert_eq!(bench.counters.links[0].exceptions.get(), 1, "it is not asked again and again");
}

#[test]
fn a_node_that_will_not_be_set_up_is_tried_again_with_pauses() {
    let link = r#""timeout_ms": 30, "nodes": [{"id": 5, "heartbeat_ms": 0,
        "boot": [{"index": "0x2222", "value": 5, "data_type": "uint8"}]}]"#;
    let tags = r#"{"name": "torque", "address": "co0:5:0x6077:0", "data_type": "int16", "scan_rate_ms": 20}"#;
    let mut bench = bench(&config(link, tags, &[]), vec![drive()]);
    bench.run_ms(4_000);
    assert_eq!(bench.status("torque"), Status::BAD_CONFIGURATION_ERROR);
    let events = bench.events();
    let object = crate::tag::Object { index: 0x2222, sub: 0 };
    assert_eq!(events[0], NodeEvent::Refused { object, code: 0x0609_0031 });
    assert!((3..=5).contains(&events.len()), "{events:?}");
}

#[test]
fn an_interface_that_goes_down_holds_everything_and_coming_up_sets_all_up_again() {
    let mut bench = drive_bench();
    bench.run_ms(1_000);
    bench.network().down = true;
    bench.run_ms(20);
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Lost);
    assert_eq!(bench.status("pos"), Status::UNCERTAIN_LAST_USABLE);
    bench.run_ms(500);
    assert_eq!(bench.status("pos"), Status::BAD_NO_COMMUNICATION);
    bench.network().down = false;
    bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
    bench.run_ms(300);
    bench.assert_good("pos", (-1000i64) as u64);
    bench.assert_good("torque", (-1.5f64).to_bits());
}

#[test]
fn frames_that_the_kernel_dropped_are_counted_once() {
    let mut bench = drive_bench();
    for dropped in [0, 3, 5] {
        bench.network().dropped = dropped;
        bench.run_ms(500);
        assert_eq!(bench.counters.links[0].can.dropped.get(), u64::from(dropped));
    }
}

#[test]
fn a_full_interface_is_waited_for_without_spinning() {
    let mut bench = drive_bench();
    bench.run_ms(1_000);
    bench.network().full = true;
    let turns = bench.counters.lanes[0].loops.get();
    bench.run_ms(100);
    let turns = bench.counters.lanes[0].loops.get() - turns;
    assert!(turns < 200, "{turns} turns in 100 ms");
    bench.network().full = false;
    bench.run_ms(200);
    bench.assert_good("torque", (-1.5f64).to_bits());
}

#[test]
fn a_new_plan_keeps_nodes_running_that_stay_as_they_are() {
    let mut bench = drive_bench();
    bench.run_ms(1_000);
    bench.events();
    let more = format!(r#"{DRIVE_TAGS}, {{"name": "status", "address": "co0:5:0x6041:0", "scan_rate_ms": 50}}"#);
    bench.adopt(&config(DRIVE_LINK, &more, SHEETS));
    bench.run_ms(100);
    assert!(bench.adopted.pop().is_ok());
    bench.assert_good("pos", (-1000i64) as u64);
    bench.assert_good("status", 0x0637);
    bench.assert_good("torque", (-1.5f64).to_bits());
    assert_eq!(bench.network().device(5).written.len(), 1, "it was not set up again");
    assert!(bench.closed.pop().is_err(), "the connection stays");
}

#[test]
fn a_pdo_that_comes_with_a_new_plan_is_not_stored_by_the_places_of_the_old_one() {
    let few = r#"{"name": "torque", "address": "co0:5:Torque", "scan_rate_ms": 20, "scale": 0.5},
        {"name": "pos", "address": "co0:5:0x6064:0", "scan_rate_ms": 10}"#;
    let mut bench = drive_bench();
    bench.run_ms(500);
    for turn in 0..60 {
        bench.adopt(&config(DRIVE_LINK, if turn % 2 == 0 { few } else { DRIVE_TAGS }, SHEETS));
        // Over all places in the node's beat.
        bench.run_ms(47);
        assert!(bench.adopted.pop().is_ok());
        bench.assert_good("pos", (-1000i64) as u64);
        bench.assert_good("torque", (-1.5f64).to_bits());
    }
}

const MASTER: &str =
    r#""timeout_ms": 50, "master_id": 1, "heartbeat_ms": 200, "nodes": [{"id": 5, "heartbeat_ms": 0}]"#;

#[test]
fn the_master_has_a_heartbeat_of_its_own_when_asked() {
    let tags = r#"{"name": "torque", "address": "co0:5:0x6077:0", "data_type": "int16", "scan_rate_ms": 20}"#;
    let mut bench = bench(&config(MASTER, tags, &[]), vec![drive()]);
    bench.run_ms(1_000);
    let own = bench.sent(0x701);
    assert!((5..=6).contains(&own.len()) && own.iter().all(|(_, m)| m.bytes() == [5]), "{own:?}");
}

const WRITABLE: &str = r#""timeout_ms": 50, "nodes": [{"id": 5, "heartbeat_ms": 0}]"#;

/// A node of which two objects may be written: 0x6040, and 0x2222, which refuses everything.
fn writable() -> Bench {
    let tags = r#"{"name": "control", "address": "co0:5:0x6040:0", "data_type": "uint16", "scan_rate_ms": 100},
        {"name": "refusing", "address": "co0:5:0x2222:0", "data_type": "uint8", "scan_rate_ms": 100},
        {"name": "text", "address": "co0:5:0x2100:0:40", "data_type": "string", "scan_rate_ms": 100}"#;
    let mut config = config(WRITABLE, tags, &[]);
    for tag in &mut config.tags {
        tag.write = Some(crate::config::WriteConfig::default());
    }
    let device = drive().with(0x6040, 0, &[0, 0]).with(0x2222, 0, &[0]).with(0x2100, 0, b"before");
    bench(&config, vec![device])
}

#[test]
fn a_write_that_the_interface_had_no_room_for_is_not_sent_once_its_time_is_over() {
    let mut bench = writable();
    bench.run_ms(500);
    let before = bench.network().device(5).written.len();
    bench.network().full = true;
    bench.order(1, "control", &Value::Uint(9), false);
    bench.run_ms(300);
    assert!(matches!(bench.outcomes()[..], [(1, WriteOutcome::NoReply | WriteOutcome::NotSent)]));
    bench.network().full = false;
    bench.run_ms(1_000);
    assert_eq!(bench.network().device(5).written.len(), before);
}

#[test]
fn no_write_leaves_after_its_time_when_there_is_room_again() {
    // When the write is on the bus, and what was told of it, both from when it was ordered.
    let written = |within: u64| {
        let mut bench = writable();
        bench.run_ms(500);
        (bench.network().look_ns, bench.network().full) = (30_000, true);
        let mut order = bench.made(1, "control", &Value::Uint(9), false);
        let begun = bench.network().now;
        order.deadline = Nanos(begun + within);
        bench.orders.push(order).unwrap();
        bench.run_ms(48);
        bench.network().full = false;
        bench.run_ms(100);
        let sent = bench.sent(0x605).into_iter().find(|(at, message)| *at > begun && message.data[0] >> 5 == 1);
        (sent.map(|(at, _)| at - begun), bench.outcomes())
    };
    let (tried, told) = written(140 * MS);
    assert_eq!(told, [(1, WriteOutcome::Done)]);
    let tried = tried.unwrap();
    let mut in_time = 0;
    for within in (tried - 600_000..tried + 600_000).step_by(20_000) {
        let (sent, told) = written(within);
        assert!(sent.is_none_or(|sent| sent < within), "{sent:?}, due {within}");
        assert!(told != [(1, WriteOutcome::Done)] || sent.is_some());
        in_time += usize::from(sent.is_some());
    }
    assert!((1..60).contains(&in_time), "{in_time}");
}

#[test]
fn writes_go_by_sdo_and_are_answered_with_what_the_node_says() {
    let mut bench = writable();
    bench.run_ms(500);
    bench.order(1, "control", &Value::Uint(0x000F), true);
    bench.run_ms(100);
    bench.order(2, "refusing", &Value::Uint(1), false);
    bench.run_ms(100);
    bench.order(3, "text", &Value::Text("a text of several segments".into()), true);
    bench.run_ms(200);
    assert_eq!(
        bench.outcomes(),
        [(1, WriteOutcome::Done), (2, WriteOutcome::Refused(0x0609_0031)), (3, WriteOutcome::Done)]
    );
    let written = bench.network().device(5).written.clone();
    assert_eq!(written[0], ((0x6040, 0), vec![0x0F, 0]));
    assert_eq!(written[1].1, b"a text of several segments");
    bench.assert_good("control", 0x0F);
}

#[test]
fn writes_are_begun_no_closer_together_than_the_plan_says() {
    let mut bench = writable();
    bench.run_ms(500);
    let spacing = bench.plan.links.values().next().unwrap().write_spacing;
    for id in 1..=4 {
        bench.order(id, "control", &Value::Uint(id), false);
    }
    assert!((Nanos::from_millis(5)..Nanos::from_millis(100)).contains(&spacing), "{spacing:?}");
    bench.run_ms(199);
    let answers: Vec<WriteAnswer> = std::iter::from_fn(|| bench.answers.pop().ok()).collect();
    let done: Vec<Nanos> = answers.iter().filter(|a| a.outcome == WriteOutcome::Done).map(|a| a.at).collect();
    assert!(done.len() >= 3, "{answers:?}");
    // Each takes the same, but for reads that go on meanwhile.
    assert!(done.windows(2).all(|pair| pair[1] - pair[0] + Nanos::from_millis(2) >= spacing), "{done:?}, {spacing:?}");
}

#[test]
fn a_write_to_a_silent_node_is_answered_in_time_and_never_sent_later() {
    let mut bench = writable();
    bench.run_ms(500);
    bench.network().device(5).mute = true;
    for id in 1..=6 {
        bench.order(id, "control", &Value::Uint(id), false);
    }
    bench.run_ms(250);
    let outcomes = bench.outcomes();
    assert_eq!(outcomes.len(), 6);
    assert!(outcomes.contains(&(1, WriteOutcome::NoReply)), "{outcomes:?}");
    assert!(outcomes.contains(&(6, WriteOutcome::Busy)), "{outcomes:?}");
    bench.network().device(5).mute = false;
    let before = bench.network().device(5).written.len();
    bench.run_ms(3_000);
    assert_eq!(bench.network().device(5).written.len(), before, "nothing is sent later");
    bench.order(7, "control", &Value::Uint(7), false);
    bench.run_ms(100);
    assert_eq!(bench.outcomes(), [(7, WriteOutcome::Done)]);
}

#[test]
fn a_write_while_the_interface_is_down_is_refused_at_once() {
    let mut bench = writable();
    bench.run_ms(500);
    bench.network().down = true;
    bench.run_ms(20);
    bench.order(1, "control", &Value::Uint(1), false);
    bench.run_ms(20);
    assert_eq!(bench.outcomes(), [(1, WriteOutcome::NoConnection)]);
}

#[test]
fn a_node_whose_cable_was_out_for_long_is_set_up_with_its_first_heartbeat() {
    let mut bench = drive_bench();
    bench.run_ms(1_000);
    bench.network().device(5).dead = true;
    bench.run_ms(60_000);
    assert_eq!(bench.status("pos"), Status::BAD_NO_COMMUNICATION);
    bench.network().device(5).dead = false;
    bench.run_ms(250);
    bench.assert_good("pos", (-1000i64) as u64);
}

#[test]
fn a_node_that_speaks_and_answers_no_sdo_does_not_take_the_bus() {
    let mut bench = drive_bench();
    bench.run_ms(1_000);
    let boot_up = {
        let mut network = bench.network();
        let now = network.now;
        network.device(5).mute = true;
        network.device(5).power_on(now)
    };
    bench.network().post(vec![boot_up]);
    let before = bench.sent(0x605).len();
    bench.network().device(5).objects.insert((0x1017, 0), vec![10, 0]);
    bench.run_ms(30_000);
    let asked = bench.sent(0x605).len() - before;
    assert!(asked < 100, "{asked} requests in 30 s");
    assert_eq!(bench.status("pos"), Status::BAD_NO_COMMUNICATION);
}

#[test]
fn an_answer_that_came_before_its_request_is_none_to_it() {
    let mut bench = drive_bench();
    bench.run_ms(1_000);
    bench.network().device(5).mute = true;
    // The next question for the torque, and while it is open the node's answer to one before.
    let asked = |bench: &Bench| {
        let sent = bench.sent(0x605);
        sent.iter().filter(|(_, message)| message.data[..3] == [0x40, 0x77, 0x60]).count()
    };
    let before = asked(&bench);
    while asked(&bench) == before {
        bench.run_ms(1);
    }
    let mut answer = |waited| {
        let mut network = bench.network();
        let at = network.now + MS / 10;
        network.waited = waited;
        network.post(vec![(at, Message::new(0x585, &[0x4B, 0x77, 0x60, 0, 98, 0, 0, 0]))]);
        drop(network);
        bench.run_ms(1);
        bench.reading("torque").value
    };
    assert_eq!(answer(15 * MS), (-1.5f64).to_bits(), "not what it was asked for earlier");
    assert_eq!(answer(0), 49.0f64.to_bits());
}

#[test]
fn a_transmitter_tells_a_broken_wire_by_pdo_and_by_sdo() {
    // Counts of the drive's objects as an input of 4 to 20 mA: 0x6064 by PDO is −1000, 0x6077 by SDO is −3.
    let sensor = r#""sensor": {"type": "4-20mA", "raw_min": 0, "raw_max": 27648, "range": [0, 16]}"#;
    let tags = format!(
        r#"{{"name": "pdo", "address": "co0:5:0x6064:0", "scan_rate_ms": 10, {sensor}}},
           {{"name": "sdo", "address": "co0:5:Torque", "scan_rate_ms": 20, {sensor}}}"#
    );
    let mut bench = bench(&config(DRIVE_LINK, &tags, SHEETS), vec![drive()]);
    bench.run_ms(1_000);
    assert_eq!(bench.status("pdo"), Status::BAD_SENSOR_FAILURE, "-1000 of 27648 is 3.42 mA");
    bench.assert_good("sdo", (-3.0f64 * (16.0 / 27_648.0)).to_bits());
    bench.network().device(5).on_sync = Some((0x185, vec![0x37, 0x06, 0x00, 0x36, 0, 0]));
    bench.run_ms(100);
    bench.assert_good("pdo", 8.0f64.to_bits());
    bench.network().device(5).on_sync = Some((0x185, vec![0x37, 0x06, 0x18, 0xFC, 0xFF, 0xFF]));
    bench.run_ms(100);
    assert_eq!((bench.status("pdo"), bench.reading("pdo").value), (Status::BAD_SENSOR_FAILURE, 8.0f64.to_bits()));
    let samples = bench.samples("pdo");
    let good = samples.iter().filter(|s| s.status() == Status::GOOD && s.value == 8.0f64.to_bits()).count();
    assert!((8..=12).contains(&good), "one a beat while it was good: {good}");
    let last = samples.last().unwrap();
    assert_eq!((last.status(), last.value), (Status::BAD_SENSOR_FAILURE, 8.0f64.to_bits()));
}
