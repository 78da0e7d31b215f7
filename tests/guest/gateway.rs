//! A run of the gateway on the isolated CPU, against the plant on the other one.

use crate::guest::Guest;

/// SCHED_OTHER and SCHED_FIFO, as the kernel counts them.
const OTHER: u32 = 0;
const FIFO: u32 = 1;

struct Thread {
    policy: u32,
    priority: u32,
    minor_faults: u64,
    major_faults: u64,
    cpus: String,
    name: String,
}

fn threads(guest: &Guest, when: &str) -> Vec<Thread> {
    threads_in(guest, &format!("gateway.threads.{when}"))
}

fn threads_in(guest: &Guest, file: &str) -> Vec<Thread> {
    let text = guest.text(file);
    let thread = |line: &str| {
        let words: Vec<&str> = line.splitn(6, ' ').collect();
        Thread {
            policy: words[0].parse().unwrap(),
            priority: words[1].parse().unwrap(),
            minor_faults: words[2].parse().unwrap(),
            major_faults: words[3].parse().unwrap(),
            cpus: words[4].to_owned(),
            name: words[5].to_owned(),
        }
    };
    text.lines().map(thread).collect()
}

/// Minor and major faults of the executor, as a file tells them.
pub fn faults_of_the_executor(guest: &Guest, file: &str) -> (u64, u64) {
    let all = threads_in(guest, file);
    let executor = all.iter().find(|thread| thread.name.starts_with("fb-exec")).unwrap();
    (executor.minor_faults, executor.major_faults)
}

fn executor(guest: &Guest, when: &str) -> Thread {
    let mut executors: Vec<Thread> =
        threads(guest, when).into_iter().filter(|t| t.name.starts_with("fb-exec")).collect();
    assert_eq!(executors.len(), 1, "one isolated CPU, one executor");
    executors.remove(0)
}

pub fn the_executor_has_fifo_80_on_the_isolated_cpu_alone(guest: &Guest) {
    for when in ["early", "late"] {
        let Thread { policy, priority, cpus, name, .. } = executor(guest, when);
        assert_eq!((name.as_str(), policy, priority, cpus.as_str()), ("fb-exec0", FIFO, 80, "1"));
    }
}

pub fn every_other_thread_is_ordinary_and_stays_away(guest: &Guest) {
    let others: Vec<Thread> = threads(guest, "late").into_iter().filter(|t| !t.name.starts_with("fb-exec")).collect();
    for needed in ["fieldbeat", "fb-hub", "journal", "fb-connector"] {
        assert!(others.iter().any(|t| t.name == needed), "no thread {needed}");
    }
    for Thread { policy, priority, cpus, name, .. } in others {
        assert_eq!((policy, priority, cpus.as_str()), (OTHER, 0, "0"), "{name}");
    }
}

pub fn its_memory_is_locked(guest: &Guest) {
    let status = guest.text("gateway.status");
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    let locked_kb: u64 = locked.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(locked_kb > 1024, "{locked_kb} kB");
}

pub fn the_running_executor_meets_no_page_fault(guest: &Guest) {
    let loops = ["early", "late"]
        .map(|when| guest.metric(&format!("gateway.metrics.{when}"), "fieldbeat_executor_loops_total{executor=\"0\"}"));
    assert!(loops[1] > loops[0] + 50.0, "the executor hardly turned: {loops:?}");
    let [early, late] = ["early", "late"].map(|when| executor(guest, when));
    assert_eq!(late.major_faults, early.major_faults, "major faults");
    assert_eq!(late.minor_faults, early.minor_faults, "minor faults");
}

pub fn it_misses_nothing_of_the_machine_and_is_well(guest: &Guest) {
    let log = guest.text("gateway.log");
    // A device that the emulator keeps from answering in time is no fault of the machine.
    let is_complaint = |line: &str| {
        // Behind the time.
        let level = line.split_whitespace().nth(1).unwrap_or_default();
        level == "ERROR" || (level == "WARN" && !line.contains("WARN link "))
    };
    assert!(!log.lines().any(is_complaint), "{log}");
    assert!(log.contains("1 executor on CPU 1"), "{log}");
    assert_eq!(guest.json("gateway.health")["status"], "ok");
    assert_eq!(guest.code("gateway"), 0, "{log}");
}

pub fn each_sample_is_stored_or_counted(guest: &Guest) {
    let report = guest.json("gateway.report.json");
    let [produced, stored, dropped] =
        ["produced", "stored", "dropped"].map(|key| report["samples"][key].as_u64().unwrap());
    assert_eq!(produced, stored + dropped);
    // 4 devices with 20 tags each, at 10 Hz for 11 s; half of it is left to a slow machine.
    assert!(stored > 80 * 10 * 11 / 2, "{stored} stored");
    // The last one went and came back, and its counts with it.
    for (name, link) in report["links"].as_object().unwrap().iter().filter(|(name, _)| *name != "dev3") {
        assert!(link["replies"].as_u64().unwrap() > 30, "{name}: {link:#}");
    }
}
