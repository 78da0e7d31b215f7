//! The latency harness: that it measures here, not what.

use crate::guest::{self, Guest};

pub fn the_harness_measures_on_the_isolated_cpu(guest: &Guest) {
    assert_eq!(guest.code("latency"), 0, "{}", guest.text("latency.log"));
    let report = guest.json("latency.json");
    assert_eq!(report["machine"]["preempt_rt"], true);
    assert_eq!(report["missing"], serde_json::json!([]), "what the machine does not give");
    let mut tools = vec!["fieldbeat"];
    tools.extend(guest::on_path("cyclictest").map(|_| "cyclictest"));
    let rows = report["results"].as_array().unwrap();
    let measured: Vec<&str> = rows.iter().map(|row| row["tool"].as_str().unwrap()).collect();
    assert_eq!(measured, tools);
    for row in rows {
        assert_eq!(row["cpu"], 1, "{row}");
        assert!(row["count"].as_u64().unwrap() > 10, "{row}");
    }
    assert!(guest.text("latency.svg").contains("<svg"));
}
