//! CANopen: nodes and a master of the package canopen.

use serde_json::json;

use crate::guest::Guest;

pub fn a_master_of_the_package_reads_writes_and_supervises_its_node(guest: &Guest) {
    guest.assert_done("canopen.rig");
    let seen = json!({ "before": "PRE-OPERATIONAL", "after": "OPERATIONAL", "expedited": -42, "written": 1234,
                       "segmented": "a name of more than seven bytes", "emergency": [0x4210, 8] });
    assert_eq!(guest.json("canopen.rig"), seen);
}

pub fn fieldbeat_sets_a_node_of_the_package_up_and_does_so_again_when_it_comes_back(guest: &Guest) {
    guest.assert_done("canopen.node");
    let seen = json!({ "started": true, "heartbeat": 500, "started again": true, "heartbeat again": 500 });
    assert_eq!(guest.json("canopen.node"), seen);
    let log = guest.text("canopen.log");
    assert!(log.matches("node 5 is set up").count() >= 2, "{log}");
    assert!(log.contains("node 5 is gone"), "{log}");
    assert!(log.contains("code 0x4210 (device temperature), error register 0x08"), "{log}");
    assert_eq!(guest.code("canopen"), 0, "{log}");
}

pub fn its_values_go_bad_while_it_is_gone_and_are_good_again(guest: &Guest) {
    // It follows the journal until it is stopped.
    let text = guest.text("canopen.tail");
    let of = |tag: &str| -> Vec<&str> {
        text.lines().filter(|line| line.split_whitespace().any(|word| word == tag)).collect()
    };
    let temperature = of("temperature");
    let position = |status: &str, from: usize| {
        let found = temperature[from..].iter().position(|line| line.contains(status));
        from + found.unwrap_or_else(|| panic!("no {status} behind line {from} of {temperature:#?}"))
    };
    let good = position("Good", 0);
    let bad = position("BadNoCommunication", good);
    position("Good", bad);
    assert!(
        temperature.iter().filter(|line| line.contains("Good")).all(|line| line.contains("-42")),
        "{temperature:#?}"
    );
    assert!(of("name").iter().any(|line| line.contains("a name of more than seven bytes")), "{text}");
    assert!(of("emergency").iter().any(|line| line.contains("16912")), "0x4210: {text}");
}
