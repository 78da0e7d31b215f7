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
    // Ten releases a second; one more when the run starts at a release.
    let releases = report["duration_seconds"].as_f64().unwrap() * 10.0 + 1.0;
    let links = report["links"].as_object().unwrap();
    assert_eq!(links.len(), 4);
    for (name, link) in links {
        let [cycles, skipped] = ["cycles", "skipped"].map(|key| link["scans"][0][key].as_u64().unwrap());
        // It stood still for two seconds at least.
        assert!(cycles > 10 && skipped >= 20, "{name}: {link:#}");
        assert!((cycles + skipped) as f64 <= releases, "{name}: a burst after {releases} releases: {link:#}");
    }
    assert_eq!(guest.code("stall"), 0);
}
