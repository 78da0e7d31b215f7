//! The kernel: PREEMPT_RT, real-time throttling, timers, the watchdog, the clock.

use super::cpus::CpuSet;
use super::{Check, Machine};

const PREEMPT: &str = "Only PREEMPT_RT bounds how long the kernel itself can delay an executor.";
const THROTTLE: &str =
    "Throttling stops all SCHED_FIFO threads for the rest of a period once they have used their share.";
const MIGRATION: &str =
    "A sleeping executor's timer can be moved to another CPU, and the wake-up then waits for an interrupt from there.";
const STAT: &str = "At each interval the kernel wakes a worker on every CPU to update its memory statistics.";
const WATCHDOG: &str = "The lockup detector runs a timer, and above every priority a thread, on each CPU it watches.";
const CLOCK: &str = "Each request is stamped; a slow clock source costs a device access or a system call each time.";

pub fn checks(machine: &Machine, cpus: &CpuSet) -> Vec<Check> {
    vec![
        preemption(machine),
        throttling(machine),
        timer_migration(machine),
        stat_interval(machine),
        watchdog(machine, cpus),
        clock_source(machine),
    ]
}

fn preemption(machine: &Machine) -> Check {
    let id = "preempt_rt";
    let version = machine.read("proc/version");
    let release = machine.read("proc/sys/kernel/osrelease").unwrap_or_else(|| "this kernel".to_owned());
    let flagged = machine.number("sys/kernel/realtime") == Some(1);
    let named = version.as_deref().is_some_and(|v| v.contains("PREEMPT_RT") || v.contains("PREEMPT RT"));
    if flagged || named {
        return Check::ok(id, PREEMPT, format!("{release} is PREEMPT_RT"));
    }
    let Some(version) = version else { return Check::unknown(id, PREEMPT, "/proc/version can't be read") };
    let model = version
        .split_whitespace()
        .find(|word| word.starts_with("PREEMPT"))
        .map_or("no preemption model named".to_owned(), str::to_owned);
    Check::warn(
        id,
        PREEMPT,
        format!("{release}: {model}"),
        "boot an RT kernel: `apt-get install linux-image-rt-amd64` (Debian), MACHINE with linux-yocto-rt (Yocto), or \
         build with the fragments in kernel/",
    )
}

fn throttling(machine: &Machine) -> Check {
    let id = "rt_throttling";
    let period = machine.number("proc/sys/kernel/sched_rt_period_us").unwrap_or(1_000_000);
    match machine.number("proc/sys/kernel/sched_rt_runtime_us") {
        None => Check::unknown(id, THROTTLE, "/proc/sys/kernel/sched_rt_runtime_us can't be read"),
        Some(0) => {
            Check::bad(id, THROTTLE, "real-time threads get no CPU time", "sysctl -w kernel.sched_rt_runtime_us=-1")
        }
        Some(runtime) if runtime < 0 || runtime >= period => Check::ok(id, THROTTLE, "off"),
        Some(runtime) => Check::warn(
            id,
            THROTTLE,
            format!("after {runtime} µs of each {period} µs"),
            "sysctl -w kernel.sched_rt_runtime_us=-1 (only where a CPU is left for ordinary work)",
        ),
    }
}

fn timer_migration(machine: &Machine) -> Check {
    let id = "timer_migration";
    match machine.number("proc/sys/kernel/timer_migration") {
        None => Check::unknown(id, MIGRATION, "/proc/sys/kernel/timer_migration can't be read"),
        Some(0) => Check::ok(id, MIGRATION, "off"),
        Some(_) => Check::warn(id, MIGRATION, "on", "sysctl -w kernel.timer_migration=0"),
    }
}

fn stat_interval(machine: &Machine) -> Check {
    let id = "vm_stat_interval";
    match machine.number("proc/sys/vm/stat_interval") {
        None => Check::unknown(id, STAT, "/proc/sys/vm/stat_interval can't be read"),
        Some(seconds) if seconds >= 10 => Check::ok(id, STAT, format!("{seconds} s")),
        Some(seconds) => Check::warn(id, STAT, format!("{seconds} s"), "sysctl -w vm.stat_interval=10"),
    }
}

fn watchdog(machine: &Machine, cpus: &CpuSet) -> Check {
    let id = "kernel_watchdog";
    match machine.number("proc/sys/kernel/watchdog") {
        None => Check::unknown(id, WATCHDOG, "/proc/sys/kernel/watchdog can't be read: not built in, or hidden"),
        Some(0) => Check::ok(id, WATCHDOG, "off"),
        Some(_) => match machine.read("proc/sys/kernel/watchdog_cpumask") {
            Some(mask) => {
                let watched = cpus.within(&CpuSet::parse(&mask));
                if watched.is_empty() {
                    return Check::ok(id, WATCHDOG, format!("on, but for CPUs {mask} only"));
                }
                let rest = CpuSet::parse(&mask).without(cpus);
                let mend = if rest.is_empty() {
                    "sysctl -w kernel.watchdog=0, or nowatchdog on the kernel command line".to_owned()
                } else {
                    format!("sysctl -w kernel.watchdog_cpumask={rest}, or nowatchdog on the kernel command line")
                };
                Check::warn(id, WATCHDOG, format!("watches CPU {watched}"), mend)
            }
            None => Check::warn(id, WATCHDOG, "on", "sysctl -w kernel.watchdog=0"),
        },
    }
}

fn clock_source(machine: &Machine) -> Check {
    let id = "clock_source";
    let dir = "sys/devices/system/clocksource/clocksource0";
    let Some(source) = machine.read(&format!("{dir}/current_clocksource")) else {
        return Check::unknown(id, CLOCK, format!("/{dir}/current_clocksource can't be read"));
    };
    match source.as_str() {
        // Read in user space, without a system call.
        "tsc" | "arch_sys_counter" | "riscv_clocksource" => Check::ok(id, CLOCK, source),
        "kvm-clock" | "hyperv_clocksource_tsc_page" => {
            Check::ok(id, CLOCK, format!("{source} (a virtual machine: its host determines the timing)"))
        }
        _ => {
            let available = machine.read(&format!("{dir}/available_clocksource")).unwrap_or_default();
            let mend = match available.split_whitespace().find(|s| matches!(*s, "tsc" | "arch_sys_counter")) {
                Some(better) => format!("echo {better} > /{dir}/current_clocksource"),
                None => "clocksource=tsc tsc=reliable on the kernel command line, where the CPU's counter is \
                         constant (constant_tsc nonstop_tsc in /proc/cpuinfo)"
                    .to_owned(),
            };
            if source.contains("jiffies") {
                Check::bad(id, CLOCK, format!("{source}: it steps by whole ticks"), mend)
            } else {
                Check::warn(id, CLOCK, source, mend)
            }
        }
    }
}
