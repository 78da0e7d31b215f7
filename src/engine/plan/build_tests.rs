//! Plans as a whole: every tag is read from exactly its registers, limits are kept, what cannot fit is refused.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::config::Loaded;
use crate::protocol;
use crate::protocol::load_parts;
use crate::protocol::modbus::ModbusPlan;
use crate::protocol::modbus::model::Table;
use crate::tag::{LinkId, Nanos};

const GATEWAY: &str = "[gateway]\nid = \"g\"\n";

fn load(tags_file: &str) -> Loaded {
    load_parts(("fieldbeat.toml", GATEWAY), &[("tags/a.json", tags_file)])
        .unwrap_or_else(|e| panic!("{e}\n{tags_file}"))
}

fn links(n: usize, more: &str) -> String {
    let link = |i| format!(r#"{{"name":"l{i}","protocol":"modbus_tcp","host":"127.0.0.1","addressing":"raw"{more}}}"#);
    (0..n).map(link).collect::<Vec<_>>().join(",")
}

fn file(links: &str, tags: &[String]) -> String {
    format!(r#"{{"links":[{links}],"tags":[{}]}}"#, tags.join(","))
}

fn modbus(plan: &Plan, link: usize) -> &ModbusPlan {
    plan.links[LinkId(link as u16)].protocol.get::<ModbusPlan>().unwrap()
}

/// One tag as drawn: link, unit, function, first, type with its registers, period.
type Drawn = (usize, u8, u8, u16, (&'static str, u16), u32);

fn drawn() -> impl Strategy<Value = Drawn> {
    let types = vec![("uint16", 1u16), ("int32", 2), ("float32", 2), ("float64", 4), ("uint64", 4)];
    (0..3usize, 1..3u8, 1..=4u8, 0..500u16, prop::sample::select(types), prop::sample::select(vec![10u32, 100, 1000]))
}

fn tag_text(i: usize, (link, unit, function, first, (ty, count), period): Drawn) -> String {
    let (ty, count) = if function <= 2 { ("bool", 1) } else { (ty, count) };
    format!(
        r#"{{"name":"t{i}","address":"l{link}:{unit}:{function}:{first}:{count}","data_type":"{ty}","scan_rate_ms":{period}}}"#
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_tag_is_in_exactly_one_block_that_holds_its_registers(
        tags in prop::collection::vec(drawn(), 1..120), registers_max in 8u16..=125, cpus in 1usize..4
    ) {
        let texts: Vec<String> = tags.iter().enumerate().map(|(i, t)| tag_text(i, *t)).collect();
        let link_text = links(3, &format!(r#","max_registers":{registers_max},"max_bits":{registers_max},"expected_reply_ms":0.01"#));
        let config = load(&file(&link_text, &texts)).config;
        let cpu_list: Vec<u32> = (0..cpus as u32).collect();
        // As if work took no time: what is read how is the question here.
        let nothing = Costs { request: Nanos(0), sample: Nanos(0), release: Nanos(0), wake_up: Nanos(0) };
        let plan = protocol::build_with(&config, &cpu_list, &nothing).unwrap().plan;
        let mut seen = BTreeSet::new();
        for link in 0..plan.links.len() {
            let modbus = modbus(&plan, link);
            for (at, request) in modbus.requests.iter().enumerate() {
                prop_assert!(request.count <= registers_max && request.count > 0);
                prop_assert!(u32::from(request.first) + u32::from(request.count) <= 65_536);
                for decode in &modbus.decodes[request.decodes.start as usize..request.decodes.end as usize] {
                    let (tag_link, unit, function, first, (_, count), period) = tags[decode.tag.index()];
                    let count = if function <= 2 { 1 } else { count };
                    prop_assert_eq!(tag_link, link);
                    prop_assert_eq!(modbus.units[usize::from(request.unit)].0, unit);
                    prop_assert_eq!(request.table.read_function(), function);
                    prop_assert_eq!(plan.groups[request.group].interval(), Nanos::from_millis(u64::from(period)));
                    prop_assert!(request.first <= first && first + count <= request.first + request.count);
                    if at < modbus.block_count as usize {
                        prop_assert!(seen.insert(decode.tag), "a tag in two blocks");
                    }
                }
                if let Some(halves) = request.halves {
                    let [left, right] = halves.map(|h| &modbus.requests[h as usize]);
                    prop_assert_eq!((left.decodes.start, right.decodes.end), (request.decodes.start, request.decodes.end));
                    prop_assert_eq!(left.decodes.end, right.decodes.start);
                }
            }
        }
        prop_assert_eq!(seen.len(), tags.len());
        let owned: usize = plan.lanes.iter().map(|e| e.links.len()).sum();
        prop_assert_eq!(owned, plan.links.len(), "each link has one executor");
        let scheduled: BTreeSet<ScanId> =
            plan.lanes.iter().flat_map(|e| &e.releases).flat_map(|r| r.scans.clone()).collect();
        prop_assert_eq!(scheduled.len(), plan.scans.len(), "each scan has one release");
        for release in plan.lanes.iter().flat_map(|e| &e.releases) {
            prop_assert!(release.phase < release.period);
        }
    }
}

fn float_tags(link: usize, n: usize, period_ms: u32) -> Vec<String> {
    (0..n)
        .map(|i| {
            format!(
                r#"{{"name":"l{link}.t{i}","address":"l{link}:1:3:{}:2","data_type":"float32","scan_rate_ms":{period_ms}}}"#,
                i * 2
            )
        })
        .collect()
}

#[test]
fn a_hundred_floats_are_two_requests() {
    let config = load(&file(&links(1, ""), &float_tags(0, 100, 10))).config;
    let plan = protocol::build(&config, &[0]).unwrap().plan;
    let blocks: Vec<(u16, u16)> = modbus(&plan, 0).blocks().iter().map(|r| (r.first, r.count)).collect();
    assert_eq!(blocks, [(0, 124), (124, 76)]);
}

fn phases_us(plan: &Plan) -> Vec<u64> {
    plan.lanes[0].releases.iter().map(|r| r.phase.0 / 1_000).collect()
}

#[test]
fn links_of_a_spread_group_start_one_after_the_other_in_packs_that_are_evenly_apart() {
    let plan_of = |links_n: usize, period_ms| {
        let tags: Vec<String> = (0..links_n).flat_map(|l| float_tags(l, 1, period_ms)).collect();
        let config = load(&file(&links(links_n, r#","expected_reply_ms":0.01"#), &tags)).config;
        let nothing = Costs { request: Nanos(0), sample: Nanos(0), release: Nanos(0), wake_up: Nanos(0) };
        phases_us(&protocol::build_with(&config, &[0], &nothing).unwrap().plan)
    };
    assert_eq!(plan_of(3, 10), [0, 25, 50]);
    assert_eq!(plan_of(5, 10), [0, 25, 50, 5_000, 5_025]);
    assert_eq!(plan_of(10, 10), [0, 25, 50, 75, 3_333, 3_358, 3_383, 3_408, 6_666, 6_691]);
    // Of so many, packs would nearly meet.
    assert_eq!(plan_of(40, 1), (0..40).map(|i| i * 25).collect::<Vec<_>>());
}

#[test]
fn a_link_is_not_twice_in_a_pack() {
    let tags: Vec<String> = (0..2)
        .flat_map(|l| float_tags(l, 2, 10))
        .enumerate()
        .map(|(i, tag)| match i % 2 {
            0 => tag,
            _ => tag.replace(r#","scan_rate_ms":10"#, r#","group":"other""#),
        })
        .collect();
    let groups = r#"{"groups":[{"name":"other","scan_rate_ms":10}],"#;
    let text = file(&links(2, ""), &tags).replacen('{', groups, 1);
    let plan = protocol::build(&load(&text).config, &[0]).unwrap().plan;
    assert_eq!(phases_us(&plan), [0, 25, 5_000, 5_025]);
    let link = |release: usize| plan.scans[plan.lanes[0].releases[release].scans[0]].link;
    assert_ne!(link(0), link(1));
    assert_ne!(link(2), link(3));
}

#[test]
fn links_of_a_group_together_start_at_one_instant() {
    let mut tags: Vec<String> = (0..4).flat_map(|l| float_tags(l, 1, 10)).collect();
    for tag in &mut tags {
        *tag = tag.replace(r#","scan_rate_ms":10"#, r#","group":"press""#);
    }
    let text = file(&links(4, ""), &tags).replacen(
        '{',
        r#"{"groups":[{"name":"press","scan_rate_ms":10,"release":"together"}],"#,
        1,
    );
    let plan = protocol::build(&load(&text).config, &[0]).unwrap().plan;
    assert_eq!(plan.lanes[0].releases.len(), 1);
    assert_eq!(plan.lanes[0].releases[0].scans.len(), 4);
}

#[test]
fn heavy_links_are_dealt_out_among_the_executors() {
    let tags: Vec<String> = (0..4).flat_map(|l| float_tags(l, 100, 10)).collect();
    let config = load(&file(&links(4, ""), &tags)).config;
    let plan = protocol::build(&config, &[2, 3]).unwrap().plan;
    assert_eq!(
        plan.lanes.iter().map(|e| (e.owner.cpu(), e.links.len())).collect::<Vec<_>>(),
        [(Some(2), 2), (Some(3), 2)]
    );
}

#[test]
fn what_cannot_fit_is_refused_with_the_highest_possible_rate() {
    let config = load(&file(&links(1, r#","expected_reply_ms":5"#), &float_tags(0, 100, 4))).config;
    let error = protocol::build(&config, &[0]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("tags/a.json:1"), "{text}");
    assert!(text.contains("link \"l0\", group \"default\": 2 requests at 250 Hz"), "{text}");
    assert!(text.contains("at most 97 Hz is possible"), "{text}");
    assert_eq!(error.admission.links[LinkId(0)].load, 2.5);
}

#[test]
fn a_load_above_seventy_percent_is_a_warning() {
    let config = load(&file(&links(1, r#","expected_reply_ms":4"#), &float_tags(0, 100, 10))).config;
    let planned = protocol::build(&config, &[0]).unwrap();
    assert_eq!(planned.admission.warnings, ["link \"l0\" is at 80 % of its time"]);
    assert_eq!(planned.plan.links[LinkId(0)].lane.0, 0);
}

#[test]
fn an_unreadable_range_parts_two_blocks() {
    let tags = [
        r#"{"name":"a","address":"l0:1:3:0:1","data_type":"uint16","scan_rate_ms":10}"#.to_owned(),
        r#"{"name":"b","address":"l0:1:3:9:1","data_type":"uint16","scan_rate_ms":10}"#.to_owned(),
    ];
    let hole = r#","unreadable":[{"unit":1,"function":3,"from":4,"to":5}]"#;
    let plan = protocol::build(&load(&file(&links(1, hole), &tags)).config, &[0]).unwrap().plan;
    let blocks: Vec<(Table, u16, u16)> =
        modbus(&plan, 0).blocks().iter().map(|r| (r.table, r.first, r.count)).collect();
    assert_eq!(blocks, [(Table::HoldingRegisters, 0, 1), (Table::HoldingRegisters, 9, 1)]);
}

/// All tags writable; the link's protocol decides what of it can be.
fn plan_of_writable(link: &str, tags: &[&str]) -> Plan {
    let tag = |(i, rest): (usize, &&str)| format!(r#"{{"name":"t{i}","address":"l0:{rest},"scan_rate_ms":1000}}"#);
    let tags: Vec<String> = tags.iter().enumerate().map(tag).collect();
    let mut config = load(&file(link, &tags)).config;
    for tag in &mut config.tags {
        tag.write = Some(crate::config::WriteConfig::default());
    }
    protocol::build(&config, &[0]).unwrap().plan
}

#[test]
fn coils_and_holding_registers_that_fit_a_request_are_writable() {
    let tags = [
        r#"1:1:5","data_type":"bool""#,
        r#"1:2:5","data_type":"bool""#,
        r#"1:3:5","data_type":"float32""#,
        r#"1:4:5","data_type":"float32""#,
        r#"2:3:100","data_type":"uint16","array":123"#,
        r#"2:3:300","data_type":"uint16","array":124"#,
    ];
    let plan = plan_of_writable(&links(1, ""), &tags);
    let writes = &modbus(&plan, 0).writes;
    let names: Vec<&str> = writes.iter().map(|write| &*plan.tags[write.place.tag].name).collect();
    assert_eq!(names, ["t0", "t2", "t4"]);
    assert!(writes.is_sorted_by_key(|write| write.place.tag), "they are looked up by tag");
    assert_eq!(writes.iter().map(|write| (write.unit, write.count)).collect::<Vec<_>>(), [(0, 1), (0, 2), (1, 123)]);
}

#[test]
fn unit_0_of_a_serial_line_is_written_and_never_read() {
    let serial = r#"{"name":"l0","protocol":"modbus_rtu","port":"/dev/ttyS0","baudrate":115200,"addressing":"raw"}"#;
    let tags = [r#"0:3:5","data_type":"uint16""#, r#"3:3:6","data_type":"uint16""#];
    for (link, read) in [(serial.to_owned(), vec![1]), (links(1, ""), vec![0, 1])] {
        let plan = plan_of_writable(&link, &tags);
        let modbus = modbus(&plan, 0);
        assert_eq!((modbus.writes.len(), modbus.units.len()), (2, 2));
        assert_eq!(modbus.requests.iter().map(|request| request.unit).collect::<Vec<_>>(), read);
    }
}
