//! What `rt-config/fieldbeat-rt` changes and restores on a real kernel, and what `fieldbeat doctor` says of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::guest::Guest;

const VISITS: [&str; 3] = ["doctor.before", "doctor.applied", "doctor.again"];

/// A time: no two visits find the same, and here it means nothing.
const MEASURED: &str = "wake_up";

/// Each check's state and finding.
fn visit(guest: &Guest, name: &str) -> BTreeMap<String, (String, String)> {
    let visit = guest.json(&format!("{name}.json"));
    let text = |check: &serde_json::Value, key: &str| check[key].as_str().unwrap().to_owned();
    let checks = visit["checks"].as_array().unwrap().iter().filter(|check| check["id"] != MEASURED);
    checks.map(|check| (text(check, "id"), (text(check, "state"), text(check, "found")))).collect()
}

pub fn the_doctor_sees_a_real_time_kernel_and_an_isolated_cpu(guest: &Guest) {
    for name in VISITS {
        assert_eq!(guest.json(&format!("{name}.json"))["executor_cpus"], serde_json::json!([1]));
        let visit = visit(guest, name);
        for (id, found) in [
            ("preempt_rt", "is PREEMPT_RT"),
            ("sched_fifo", "SCHED_FIFO 80 is granted"),
            ("memory_lock", ""),
            ("cpus_online", "executors on CPU 1, online 0-1"),
            ("housekeeping_cpu", "CPU 0"),
            ("isolcpus", "isolated: 1"),
            ("nohz_full", "without tick: 1"),
            ("rcu_nocbs", "offloaded on CPU 1"),
            ("cpu_dma_latency", "can open it"),
            ("swap", "off"),
        ] {
            let (state, said) = &visit[id];
            assert!(state == "ok" && said.contains(found), "{name}: {id} is {state}: {said}");
        }
    }
}

pub fn the_doctor_names_the_clock_that_the_kernel_uses(guest: &Guest) {
    let clock = guest.text("clocksource").trim().to_owned();
    let (state, found) = &visit(guest, "doctor.before")["clock_source"];
    assert_eq!(*found, clock);
    assert_eq!(state, if clock == "tsc" { "ok" } else { "warn" }, "{clock}");
}

pub fn the_doctors_exit_code_says_whether_something_is_bad(guest: &Guest) {
    for name in VISITS {
        let is_bad = visit(guest, name).values().any(|(state, _)| state == "bad");
        assert_eq!(guest.code(name), i32::from(is_bad), "{name}");
    }
}

pub fn apply_mends_what_the_doctor_found_and_nothing_else(guest: &Guest) {
    let [before, applied, again] = VISITS.map(|name| visit(guest, name));
    let mut mended = BTreeSet::from([
        "irq_affinity",
        "irq_default_affinity",
        "kernel_watchdog",
        "rt_throttling",
        "timer_migration",
        "vm_stat_interval",
    ]);
    // A kernel with huge pages starts with them on; Debian's real-time kernel has none.
    if before["transparent_huge_pages"].0 == "warn" {
        mended.insert("transparent_huge_pages");
    }
    let changed: BTreeSet<&str> =
        before.keys().filter(|id| before[*id].0 != applied[*id].0).map(String::as_str).collect();
    assert_eq!(changed, mended);
    for id in mended {
        assert_eq!((before[id].0.as_str(), applied[id].0.as_str()), ("warn", "ok"), "{id}: {}", applied[id].1);
    }
    assert_eq!(again, before, "after revert");
}

pub fn apply_leaves_cpu_1_to_the_executor(guest: &Guest) {
    assert_eq!(guest.code("rt.apply"), 0, "{}", guest.text("rt.apply"));
    let applied = guest.settings("applied");
    for (path, value) in [
        ("/proc/irq/default_smp_affinity", "1"),
        ("/sys/devices/virtual/workqueue/cpumask", "1"),
        ("/proc/sys/kernel/watchdog_cpumask", "0"),
        ("/proc/sys/kernel/sched_rt_runtime_us", "-1"),
        ("/proc/sys/kernel/timer_migration", "0"),
        ("/proc/sys/vm/stat_interval", "10"),
    ] {
        assert_eq!(applied[path], value, "{path}");
    }
    let interrupts: Vec<_> = applied.iter().filter(|(path, _)| path.ends_with("/smp_affinity_list")).collect();
    assert!(interrupts.len() > 5, "{interrupts:?}");
    assert!(interrupts.iter().all(|(_, cpus)| *cpus == "0"), "{interrupts:?}");
    for (path, value) in &applied {
        assert!(!path.ends_with("scaling_governor") || path.contains("cpu0/") || value == "performance", "{path}");
        assert!(!path.ends_with("hugepage/enabled") || value.contains("[never]"), "{path}: {value}");
    }
}

pub fn apply_raises_the_interrupt_thread_of_the_field_network(guest: &Guest) {
    let thread = |when: &str| guest.settings(when).into_iter().find(|(name, _)| name.ends_with("-eth0")).unwrap().1;
    assert_eq!(["before", "applied", "after"].map(thread), ["priority 50", "priority 70", "priority 50"]);
}

pub fn a_second_apply_changes_nothing(guest: &Guest) {
    assert_eq!((guest.text("rt.again").as_str(), guest.code("rt.again")), ("", 0));
}

pub fn show_tells_what_is_and_what_was(guest: &Guest) {
    let (before, applied) = (guest.settings("before"), guest.settings("applied"));
    let changed = before.iter().filter(|(path, value)| applied[*path] != **value);
    let expected: BTreeSet<String> = changed
        .map(|(path, was)| {
            let (name, now) = (path.trim_start_matches('/'), &applied[path]);
            format!("{name}: {now} (before: {})", was.trim_start_matches("priority "))
        })
        .collect();
    assert!(expected.len() >= 8, "{expected:#?}");
    let shown: BTreeSet<String> = guest.text("rt.show").lines().map(str::to_owned).collect();
    assert_eq!(shown, expected);
}

pub fn revert_brings_every_value_back(guest: &Guest) {
    assert_eq!(guest.code("rt.revert"), 0, "{}", guest.text("rt.revert"));
    assert_ne!(guest.settings("applied"), guest.settings("before"));
    assert_eq!(guest.settings("after"), guest.settings("before"));
}
