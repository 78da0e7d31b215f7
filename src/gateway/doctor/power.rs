//! Sleep states and frequency of the executors' CPUs.

use nix::unistd::{AccessFlags, access};

use super::cpus::{CpuSet, words};
use super::{Check, Machine};

const LATENCY: &str =
    "While this file is held open at 0, no CPU enters a deep sleep state; the gateway holds it while it runs.";
const IDLE: &str = "Waking from a deep state takes tens to hundreds of microseconds, and a release waits for it.";
const GOVERNOR: &str = "A CPU whose clock is lowered between releases starts each release slowly.";

/// A state that takes longer to leave is a deep one.
const EXIT_LATENCY_US_MAX: i64 = 10;

pub fn checks(machine: &Machine, cpus: &CpuSet) -> Vec<Check> {
    let held = dma_latency(machine);
    let can_hold = held.state == super::State::Ok;
    vec![held, idle_states(machine, cpus, can_hold), governor(machine, cpus)]
}

fn dma_latency(machine: &Machine) -> Check {
    let id = "cpu_dma_latency";
    let path = machine.path("dev/cpu_dma_latency");
    if !path.exists() {
        return Check::warn(
            id,
            LATENCY,
            "/dev/cpu_dma_latency is not there",
            "processor.max_cstate=1 intel_idle.max_cstate=0 (x86) or cpuidle.off=1 on the kernel command line",
        );
    }
    match access(&path, AccessFlags::W_OK) {
        Ok(()) => Check::ok(id, LATENCY, "this user can open it"),
        Err(error) => Check::warn(
            id,
            LATENCY,
            format!("this user cannot write it: {error}"),
            "a udev rule: KERNEL==\"cpu_dma_latency\", GROUP=\"fieldbeat\", MODE=\"0660\"",
        ),
    }
}

fn idle_states(machine: &Machine, cpus: &CpuSet, can_hold: bool) -> Check {
    let id = "idle_states";
    let mut told = false;
    let mut deep = Vec::new();
    for cpu in cpus.iter() {
        let dir = format!("sys/devices/system/cpu/cpu{cpu}/cpuidle");
        for state in machine.names(&dir) {
            let Some(latency) = machine.number(&format!("{dir}/{state}/latency")) else { continue };
            told = true;
            if latency > EXIT_LATENCY_US_MAX && machine.number(&format!("{dir}/{state}/disable")) != Some(1) {
                let name = machine.read(&format!("{dir}/{state}/name")).unwrap_or_else(|| state.clone());
                deep.push(format!("CPU {cpu} {name} ({latency} µs)"));
            }
        }
    }
    if !told {
        return Check::unknown(id, IDLE, "no sleep states listed (no cpuidle driver, or a virtual machine)");
    }
    if deep.is_empty() {
        return Check::ok(id, IDLE, "no deep state is enabled");
    }
    let found = deep.join(", ");
    if can_hold {
        return Check::ok(id, IDLE, format!("{found}; disabled while the gateway holds /dev/cpu_dma_latency"));
    }
    let mend = format!(
        "`for c in {}; do for s in /sys/devices/system/cpu/cpu$c/cpuidle/state[1-9]*; do echo 1 > $s/disable; done; done`",
        words(cpus)
    );
    Check::warn(id, IDLE, found, mend)
}

fn governor(machine: &Machine, cpus: &CpuSet) -> Check {
    let id = "frequency_governor";
    let mut told = false;
    let mut slow = Vec::new();
    for cpu in cpus.iter() {
        let path = format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
        if let Some(governor) = machine.read(&path) {
            told = true;
            if governor != "performance" {
                slow.push(format!("CPU {cpu} {governor}"));
            }
        }
    }
    if !told {
        return Check::unknown(id, GOVERNOR, "no governor listed (fixed frequency, or a virtual machine)");
    }
    if slow.is_empty() {
        return Check::ok(id, GOVERNOR, "performance");
    }
    let mend = format!(
        "`for c in {}; do echo performance > /sys/devices/system/cpu/cpu$c/cpufreq/scaling_governor; done`, or \
         fieldbeat-rt apply",
        words(cpus)
    );
    Check::warn(id, GOVERNOR, slow.join(", "), mend)
}
