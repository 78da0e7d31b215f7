//! A thread above the executor's priority takes its CPU away, and the watchdog ends the process.

use crate::guest::Guest;

/// The exit code that says "start me again: a thread stood still".
const STALLED: i32 = 3;

pub fn a_starved_executor_ends_the_process(guest: &Guest) {
    assert_eq!(guest.code("stall"), STALLED, "{}", guest.text("stall.log"));
}

pub fn the_log_names_the_thread_and_who_holds_its_cpu(guest: &Guest) {
    let log = guest.text("stall.log");
    for told in [
        "executor 0 (thread fb-exec0) stalled for ",
        "is runnable (R), last on CPU 1, SCHED_FIFO 80",
        "may run on CPUs 1;",
        "CPU 1 runs /proc/",
        "\"sh\" with SCHED_FIFO 90 before it",
        "no stack: the thread did not handle a signal",
    ] {
        assert!(log.contains(told), "no {told:?}:\n{log}");
    }
}

pub fn what_was_read_before_the_stall_is_stored(guest: &Guest) {
    let samples = &guest.json("stall.report.json")["samples"];
    let [produced, stored, dropped] = ["produced", "stored", "dropped"].map(|key| samples[key].as_u64().unwrap());
    assert!(stored > 0, "{samples}");
    // What the executor had in its hands can't be had from it any more, and the log tells how much that is.
    let lost = produced - stored - dropped;
    let log = guest.text("stall.log");
    assert!(lost <= 80, "{lost} are lost:\n{log}");
    assert!(lost == 0 || log.contains(&format!("{lost} samples may not be in the journal")), "{lost}:\n{log}");
}
