//! CAN: python-can, cantools, can-utils and the kernel's J1939 on virtual interfaces.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::guest::Guest;

/// What cansend sends in `parts/can.sh`.
const OF_CANSEND: [&str; 4] = ["123#DEADBEEF", "1F334455#1122334455667788", "7FF#R", "5A1##1000102030405060708090A0B"];

/// The frames of candump's log, without times. The kernel marks an FD frame with 4 in its flags too, which cansend and
/// python-can do not show; here it is left out.
pub fn logged(guest: &Guest, name: &str) -> Vec<String> {
    let frame = |line: &str| line.split(' ').nth(2).unwrap_or_else(|| panic!("{name}: {line}")).to_owned();
    let unmarked = |frame: String| match frame.split_once("##") {
        Some((id, rest)) => {
            let (flags, data) = rest.split_at(1);
            format!("{id}##{:X}{data}", u8::from_str_radix(flags, 16).unwrap() & !4)
        }
        None => frame,
    };
    guest.text(name).lines().map(frame).map(unmarked).collect()
}

pub fn python_can_hears_what_cansend_sends(guest: &Guest) {
    guest.assert_done("can.rig.python");
    assert_eq!(guest.text("can.rig.python").lines().collect::<Vec<_>>(), OF_CANSEND);
}

pub fn candump_hears_them_and_what_python_can_sends(guest: &Guest) {
    guest.assert_done("can.rig.candump");
    let fd: String = (0..64).map(|byte| format!("{byte:02X}")).collect();
    let fd = format!("101##0{fd}");
    let of_python = ["321#010203", "18FEF100#0000000000000000", "100#R", &fd];
    let sent: Vec<&str> = OF_CANSEND.into_iter().chain(of_python).collect();
    assert_eq!(logged(guest, "can.rig.candump"), sent);
}

/// A value of a tag, as `fieldbeat tail` tells it, and its status.
type Told = (String, String);

/// Tags' values in the journal's order.
fn told(guest: &Guest) -> BTreeMap<String, Vec<Told>> {
    let mut tags: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    for line in guest.text("can.tail").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, tag, value, .., status] = words[..] else { panic!("{line}") };
        tags.entry(tag.to_owned()).or_default().push((value.trim_matches('"').to_owned(), status.to_owned()));
    }
    tags
}

fn good(told: &[Told]) -> impl Iterator<Item = &str> {
    told.iter().filter(|(_, status)| status == "Good").map(|(value, _)| value.as_str())
}

/// A number as both sides write it.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.as_f64().unwrap().to_string(), str::to_owned)
}

pub fn the_gateway_reads_what_cantools_sends(guest: &Guest) {
    guest.assert_done("can.sent");
    let (sent, told) = (guest.json("can.sent"), told(guest));
    for (signal, values) in sent.as_object().unwrap() {
        let sent: Vec<String> = values.as_array().unwrap().iter().map(shown).collect();
        let flag = |value: &str| match value {
            "true" => "1".to_owned(),
            "false" => "0".to_owned(),
            other => other.to_owned(),
        };
        let read: Vec<String> = good(&told[signal]).map(flag).take(sent.len()).collect();
        assert_eq!(read, sent, "{signal}");
    }
    assert_eq!(sent["Motor.Speed"].as_array().unwrap().len(), 200);
    assert_eq!(sent["Fd.Last"].as_array().unwrap().len(), 100);
}

pub fn a_flood_is_read_or_counted_as_dropped(guest: &Guest) {
    let report = guest.json("can.gateway.report.json");
    let can = &report["links"]["can0"]["can"];
    let count = |name: &str| can[name].as_u64().unwrap();
    // What cantools sent, the flood and one more, and one after the outage.
    assert_eq!(count("received") + count("dropped"), 400 + 10_001 + 1, "{can}");
    let told = told(guest);
    let values: Vec<u64> = good(&told["Flood"]).map(|value| value.parse().unwrap()).collect();
    assert_eq!(values.len() as u64 + count("dropped"), 10_001, "{can}");
    assert_eq!(values.last(), Some(&0xFFFF_FFFF));
    let samples = &report["samples"];
    let number = |name: &str| samples[name].as_u64().unwrap();
    assert_eq!(number("produced"), number("stored") + number("dropped") + number("suppressed"), "{samples}");
}

pub fn an_interface_that_goes_down_and_up_is_used_again(guest: &Guest) {
    let told = told(guest);
    let speed = &told["Motor.Speed"];
    let last: Vec<&str> = speed.iter().rev().take(2).map(|(_, status)| status.as_str()).collect();
    assert_eq!(last[0], "Good", "{:?}", speed.last());
    assert_eq!(speed.last().unwrap().0, "0", "0x190 × 0.25 − 100");
    assert!(["UncertainNoCommunicationLastUsableValue", "BadNoCommunication"].contains(&last[1]), "{last:?}");
    let report = guest.json("can.gateway.report.json");
    assert_eq!(report["links"]["can0"]["reconnects"], 1);
    assert_eq!(guest.code("can.gateway"), 0);
}

pub fn candump_hears_the_message_that_is_sent_on_its_beat(guest: &Guest) {
    guest.assert_done("can.cyclic");
    let heard = logged(guest, "can.cyclic");
    assert_eq!(heard, ["200#7D000100"; 5]);
    let own = told(guest);
    assert!(good(&own["Own"]).all(|value| value == "12.5") && good(&own["Own"]).count() > 5, "what it sent itself");
}

pub fn an_interface_that_is_not_there_is_named(guest: &Guest) {
    let log = guest.text("can.gateway.log");
    assert!(log.contains("CAN interface vcan9 does not exist"), "{log}");
    assert!(!told(guest).contains_key("Nobody") || told(guest)["Nobody"].iter().all(|(value, _)| value == "-"));
}

pub fn messages_of_the_kernels_j1939_are_put_together(guest: &Guest) {
    guest.assert_done("can.j1939");
    let (sent, told) = (guest.json("can.j1939"), told(guest));
    for (tag, count) in [("Dm.First", 3), ("Dm.Far", 3), ("Session.Last", 10)] {
        let sent: Vec<String> = sent[tag].as_array().unwrap().iter().map(shown).collect();
        assert_eq!(sent.len(), count);
        assert_eq!(good(&told[tag]).collect::<Vec<_>>(), sent, "{tag}");
    }
}

/// A count of a link's frames in a page of metrics.
fn frames(page: &str, event: &str) -> u64 {
    let start = format!("fieldbeat_can_frames_total{{link=\"truck\",event=\"{event}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("{start} is not in {page}")).parse().unwrap()
}

pub fn metrics_and_health_show_what_a_controller_tells_of_itself(guest: &Guest) {
    let (off, on) = (guest.text("can.off.metrics"), guest.text("can.on.metrics"));
    let once = ["passives", "overflows", "lost_arbitrations", "unacknowledged", "bus_errors", "bus_offs", "tp_lost"];
    for event in once {
        assert_eq!((frames(&off, event), frames(&on, event)), (1, 1), "{event}");
    }
    // Three broadcasts of 22 packets, ten sessions of 255, each announced, and three frames of what was not whole; what
    // the receiver of the sessions answered comes on top.
    assert_eq!((frames(&on, "tp_messages"), frames(&on, "dropped")), (13, 0));
    assert!(frames(&on, "received") > 3 * 23 + 10 * 256 + 3, "{}", frames(&on, "received"));
    let state =
        |page: &str, state: &str| page.contains(&format!("fieldbeat_link_state{{link=\"truck\",state=\"{state}\"}} 1"));
    assert!(state(&off, "bus_off") && !state(&off, "up") && state(&on, "up"));
    let reasons = |name: &str| {
        let health = guest.json(name);
        health["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .map(|reason| reason.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(reasons("can.off.health").iter().any(|reason| reason == "link truck is bus_off"));
    assert!(!reasons("can.on.health").iter().any(|reason| reason.contains("truck")));
}
