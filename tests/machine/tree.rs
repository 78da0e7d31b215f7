//! A machine made of files: /proc, /sys and /dev in a temporary directory.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

pub struct Tree(TempDir);

/// Four CPUs, the last two isolated, on an RT kernel where everything is as it should be.
const GOOD: &[(&str, &str)] = &[
    ("proc/version", "Linux version 6.1.0-rt (x) #1 SMP PREEMPT_RT Debian"),
    ("proc/cmdline", "root=/dev/sda1 isolcpus=managed_irq,domain,2-3 nohz_full=2-3 rcu_nocbs=2-3 irqaffinity=0-1"),
    ("proc/self/status", "Name:\tfieldbeat\nCapEff:\t0000000000000000\n"),
    (
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units\n\
         Max locked memory         unlimited            unlimited            bytes\n\
         Max realtime priority     90                   90\n",
    ),
    ("proc/sys/kernel/osrelease", "6.1.0-rt"),
    ("proc/sys/kernel/sched_rt_runtime_us", "-1"),
    ("proc/sys/kernel/sched_rt_period_us", "1000000"),
    ("proc/sys/kernel/timer_migration", "0"),
    ("proc/sys/kernel/watchdog", "1"),
    ("proc/sys/kernel/watchdog_cpumask", "0-1"),
    ("proc/sys/vm/stat_interval", "10"),
    ("proc/swaps", "Filename\tType\tSize\tUsed\tPriority"),
    ("proc/1/comm", "systemd"),
    ("proc/irq/default_smp_affinity", "00000000,00000003"),
    ("proc/irq/9/smp_affinity_list", "0-1"),
    ("proc/irq/9/effective_affinity_list", "0"),
    ("proc/irq/9/acpi/.", ""),
    ("proc/irq/7/effective_affinity_list", "1"),
    ("proc/irq/7/timer/.", ""),
    // Nobody has asked for this one.
    ("proc/irq/10/smp_affinity_list", "0-3"),
    ("sys/kernel/realtime", "1"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]"),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc"),
    ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm"),
    ("sys/devices/system/cpu/online", "0-3"),
    ("sys/devices/system/cpu/isolated", "2-3"),
    ("sys/devices/system/cpu/nohz_full", "2-3"),
    ("sys/devices/virtual/workqueue/cpumask", "3"),
    ("dev/cpu_dma_latency", ""),
];

impl Tree {
    pub fn empty() -> Tree {
        Tree(tempfile::tempdir().unwrap())
    }

    pub fn good() -> Tree {
        let tree = Tree::empty();
        for (path, text) in GOOD {
            tree.set(path, text);
        }
        for cpu in 0..4 {
            let dir = format!("sys/devices/system/cpu/cpu{cpu}");
            tree.set(&format!("{dir}/topology/thread_siblings_list"), &cpu.to_string());
            tree.set(&format!("{dir}/cpufreq/scaling_governor"), "performance");
            for (state, name, latency) in [("state0", "POLL", "0"), ("state1", "C1", "2"), ("state2", "C6", "133")] {
                tree.set(&format!("{dir}/cpuidle/{state}/name"), name);
                tree.set(&format!("{dir}/cpuidle/{state}/latency"), latency);
                tree.set(&format!("{dir}/cpuidle/{state}/disable"), "0");
            }
        }
        tree
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file; a path that ends in `/.` is a directory.
    pub fn set(&self, path: &str, text: &str) {
        if let Some(dir) = path.strip_suffix("/.") {
            return fs::create_dir_all(self.root().join(dir)).unwrap();
        }
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    pub fn get(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap().trim_end().to_owned()
    }

    pub fn remove(&self, path: &str) {
        let path = self.root().join(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
}
