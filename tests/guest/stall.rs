//! A thread above the executor's priority takes its CPU away.

use crate::guest::Guest;

pub fn an_executor_without_a_cpu_is_seen_and_named(guest: &Guest) {
    let health = guest.text("stall.health");
    assert!(health.starts_with("HTTP/1.1 503 "), "{health}");
    assert!(health.contains("executor 0: its loop stands still"), "{health}");
    assert!(guest.text("stall.health.after").contains("\"status\":\"ok\""));
}

pub fn the_beat_goes_on_without_a_burst(guest: &Guest) {
    let report = guest.json("stall.report.json");
    let group = &report["groups"]["50ms"];
    let [cycles, skipped] = ["cycles", "skipped"].map(|key| group[key].as_u64().unwrap());
    // At least 2 s at 20 Hz on each of 4 links.
    assert!(skipped >= 4 * 40, "{group:#}");
    let periods = report["duration_seconds"].as_f64().unwrap() / 0.05;
    assert!(cycles as f64 <= periods - skipped as f64 / 4.0 + 2.0, "a burst: {group:#}, {periods} periods");
    assert_eq!(guest.code("stall"), 0);
}
