//! Tables from addresses, and what a bus is reckoned to cost.

use super::*;
use crate::config::{Config, Pace};
use crate::plan::{LinkWork, Planned};
use crate::protocol;
use crate::protocol::load_parts;
use crate::tag::LinkId;

fn config(link: &str, tags: &[&str]) -> Config {
    let tag = |(at, address): (usize, &&str)| {
        format!(r#"{{ "name": "t{at}", "address": "c:{address}", "scan_rate_ms": 10 }}"#)
    };
    let tags: Vec<String> = tags.iter().enumerate().map(tag).collect();
    let file = format!(
        r#"{{ "links": [{{ "name": "c", "protocol": "can", "interface": "can0" {link} }}], "tags": [ {} ] }}"#,
        tags.join(",")
    );
    let loaded = load_parts(("fieldbeat.toml", "[gateway]\nid = \"g\"\n"), &[("tags/a.json", &file)]);
    loaded.unwrap_or_else(|error| panic!("{error}")).config
}

fn planned(link: &str, tags: &[&str]) -> Planned {
    protocol::build(&config(link, tags), &[0]).unwrap_or_else(|error| panic!("{error}"))
}

fn can(planned: &Planned) -> &CanPlan {
    let Some(can) = planned.plan.links[LinkId(0)].protocol.get::<CanPlan>() else { panic!("a CAN link") };
    can
}

#[test]
fn frames_are_found_by_their_identifier_and_by_their_group() {
    let planned = planned(
        "",
        &["0x123:0:8", "0x123:8:8", "0x123x:0:8", "0x1ABCDEF:0:8", "pgn:0xF004:0:8", "pgn:0xF004:0x21:0:8"],
    );
    let plan = can(&planned);
    let tags = |message: Option<u16>| {
        message.map(|at| plan.decodes_of(&plan.messages[usize::from(at)]).iter().map(|d| d.tag.0).collect::<Vec<_>>())
    };
    assert_eq!(tags(plan.lookup.message(0x123, false)), Some(vec![0, 1]));
    assert_eq!(tags(plan.lookup.message(0x123, true)), Some(vec![2]));
    assert_eq!(tags(plan.lookup.message(0x1AB_CDEF, true)), Some(vec![3]));
    assert_eq!([plan.lookup.message(0x124, false), plan.lookup.message(0x124, true)], [None; 2]);
    let of_group = |id| plan.lookup.of_group(id).map(tags);
    assert_eq!(of_group(0x18F0_0421), [Some(vec![5]), Some(vec![4])]);
    assert_eq!(of_group(0x0CF0_0422), [None, Some(vec![4])]);
    assert_eq!(of_group(0x18F0_0521), [None, None]);
    assert_eq!(plan.filters.len(), 7, "and the two of the transport protocol");
}

#[test]
fn a_scan_has_the_beats_of_its_own_tags() {
    let mut config = config("", &["0x1:0:8", "0x2:0:8", "0x3:0:8"]);
    let mut slow = config.groups[0].clone();
    (slow.name, slow.pace) = ("slow".into(), Pace::Every(Nanos::from_millis(100)));
    config.groups.push(slow);
    config.tags[1].group = 1;
    let planned = protocol::build(&config, &[0]).unwrap();
    let plan = can(&planned);
    let beats: Vec<Vec<u32>> = plan
        .scans
        .iter()
        .map(|scan| {
            let beats = &plan.beats[scan.beats.start as usize..scan.beats.end as usize];
            beats.iter().map(|at| plan.decodes[*at as usize].tag.0).collect()
        })
        .collect();
    assert_eq!(beats, [vec![0, 2], vec![1]]);
}

#[test]
fn an_executor_is_reckoned_with_what_comes_and_warned_of_a_full_bus() {
    let planned = |link: &str, costs: &crate::plan::demand::Costs| {
        crate::protocol::build_with(&config(link, &["0x1:0:64"]), &[0], costs).unwrap_or_else(|error| panic!("{error}"))
    };
    let costs = crate::plan::demand::Costs::default();
    let usual = planned(r#", "bitrate": 1000000"#, &costs).admission;
    // A hundred frames, beats and samples a second; a frame is a third of a request, and a sample.
    let expected = 100.0 * (20e-6 / 3.0 + 25e-9) + 100.0 * 15e-6 + 100.0 * 25e-9;
    assert!((usual.executors[0].load - expected).abs() < 1e-5, "{} {expected}", usual.executors[0].load);
    assert!(usual.warnings.is_empty(), "{:?}", usual.warnings);
    // A frame takes 200 µs, and 9009 of them fit into a second.
    let slow = crate::plan::demand::Costs { request: Nanos::from_micros(600), ..costs };
    let warned = planned(r#", "bitrate": 1000000"#, &slow).admission;
    assert!(warned.executors[0].load < 0.03, "{}", warned.executors[0].load);
    assert!(warned.warnings.iter().any(|w| w.contains("if its CAN buses are full")), "{:?}", warned.warnings);
}

#[test]
fn messages_that_fill_the_bus_are_refused() {
    let send = |period: u32| {
        let message = |id: u32| {
            format!(r#"{{ "id": "{id:#x}", "period_ms": {period}, "initial_bytes": "00 00 00 00 00 00 00 00" }}"#)
        };
        let messages: Vec<String> = (0x200..0x20A).map(message).collect();
        format!(r#", "bitrate": 500000, "transmit": [ {} ]"#, messages.join(","))
    };
    // Ten frames of 270 µs each 10 ms.
    let load = planned(&send(10), &["0x1:0:8"]).admission.links[LinkId(0)].load;
    assert!((load - 0.27).abs() < 1e-9, "{load}");
    let full = planned(&send(3), &["0x1:0:8"]);
    assert!(
        full.admission.warnings.iter().any(|w| w.contains("link \"c\" is at 90 %")),
        "{:?}",
        full.admission.warnings
    );
    let refused = protocol::build(&config(&send(2), &["0x1:0:8"]), &[0]).unwrap_err().to_string();
    assert!(refused.contains("need 135 % of the bus at 500000 bit/s"), "{refused}");
}

#[test]
fn the_ring_has_room_for_each_frame_where_each_is_a_sample() {
    let slots = |link: &str| planned(link, &["0x1:0:64", "0x1:0:8"]).plan.lanes[0].slots_per_s;
    assert_eq!(slots(""), 200);
    // 4504 frames of 8 bytes a second at 500 kbit/s, with two samples each.
    assert_eq!(slots(r#", "sampling": "every""#), 9010);
}

#[test]
fn another_set_of_filters_is_another_socket() {
    let [a, b, c] =
        [planned("", &["0x1:0:8"]), planned("", &["0x1:0:8", "0x1:8:8"]), planned("", &["0x1:0:8", "0x2:0:8"])];
    assert!(can(&a).same_target(can(&b)) && !can(&a).same_target(can(&c)));
}
