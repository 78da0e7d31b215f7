//! The executors' CPUs: there, isolated, free of tick and RCU work, with a core of their own.

use std::collections::BTreeSet;
use std::fmt;

use super::{Check, Machine};
use crate::rt::thread::parse_cpu_list;

const ONLINE: &str = "An executor whose CPU does not exist runs on any CPU, or not at all.";
const LEFT: &str = "Journal, outputs and the system itself need a CPU that no executor spins on.";
const ISOLATED: &str = "On a CPU that is not isolated the scheduler puts other threads beside the executor.";
const TICK: &str = "The tick interrupts an executor up to 1000 times a second, and runs timers and RCU work with it.";
const RCU: &str = "RCU callbacks run on the CPU where they were queued, ahead of the executor.";
const SIBLING: &str =
    "Two threads of one core share its units and caches: the neighbour's load becomes the executor's jitter.";

/// A set of CPU numbers, written and read as the kernel does: `0-2,5`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuSet(BTreeSet<u32>);

impl CpuSet {
    /// Reads the kernel's list format. What is no number is left out.
    pub fn parse(list: &str) -> CpuSet {
        CpuSet::from_cpus(parse_cpu_list(list))
    }

    /// The CPUs of an iterator.
    pub fn from_cpus(cpus: impl IntoIterator<Item = u32>) -> CpuSet {
        CpuSet(cpus.into_iter().collect())
    }

    /// Those that are in `other` too.
    pub fn within(&self, other: &CpuSet) -> CpuSet {
        CpuSet(self.0.intersection(&other.0).copied().collect())
    }

    /// Those that are not in `other`.
    pub fn without(&self, other: &CpuSet) -> CpuSet {
        CpuSet(self.0.difference(&other.0).copied().collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while let Some(next) = cpus.next_if_eq(&(last + 1)) {
                last = next;
            }
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

/// The CPUs that the gateway takes when none are named: the isolated ones, else the last online one.
pub fn of_executors(machine: &Machine) -> CpuSet {
    let isolated = isolated(machine).unwrap_or_default();
    if !isolated.is_empty() {
        return isolated;
    }
    let last = online(machine).and_then(|online| online.iter().last()).unwrap_or(0);
    CpuSet::from_cpus([last])
}

fn online(machine: &Machine) -> Option<CpuSet> {
    machine.read("sys/devices/system/cpu/online").map(|list| CpuSet::parse(&list))
}

fn isolated(machine: &Machine) -> Option<CpuSet> {
    machine.read("sys/devices/system/cpu/isolated").map(|list| CpuSet::parse(&list))
}

/// CPUs without tick: what the kernel made of `nohz_full=`. It writes `(null)` for none.
fn nohz_full(machine: &Machine) -> Option<CpuSet> {
    machine.read("sys/devices/system/cpu/nohz_full").map(|list| CpuSet::parse(&list))
}

pub fn checks(machine: &Machine, cpus: &CpuSet) -> Vec<Check> {
    vec![
        all_online(machine, cpus),
        one_left(machine, cpus),
        isolation(machine, cpus),
        tick(machine, cpus),
        rcu(machine, cpus),
        siblings(machine, cpus),
    ]
}

fn all_online(machine: &Machine, cpus: &CpuSet) -> Check {
    let id = "cpus_online";
    let Some(online) = online(machine) else {
        return Check::unknown(id, ONLINE, "/sys/devices/system/cpu/online can't be read");
    };
    let absent = cpus.without(&online);
    if absent.is_empty() {
        return Check::ok(id, ONLINE, format!("executors on CPU {cpus}, online {online}"));
    }
    Check::bad(
        id,
        ONLINE,
        format!("CPU {absent} is not online (online: {online})"),
        format!(
            "name online CPUs in realtime.cores, or `for c in {}; do echo 1 > /sys/devices/system/cpu/cpu$c/online; \
                 done`",
            words(&absent)
        ),
    )
}

fn one_left(machine: &Machine, cpus: &CpuSet) -> Check {
    let id = "housekeeping_cpu";
    let Some(online) = online(machine) else {
        return Check::unknown(id, LEFT, "/sys/devices/system/cpu/online can't be read");
    };
    let left = online.without(cpus);
    if left.is_empty() {
        let mend = "name fewer CPUs in realtime.cores; on a machine with one CPU keep sched_rt_runtime_us at 950000";
        Check::warn(id, LEFT, format!("executors take every online CPU ({online})"), mend)
    } else {
        Check::ok(id, LEFT, format!("CPU {left}"))
    }
}

fn isolation(machine: &Machine, cpus: &CpuSet) -> Check {
    let id = "isolcpus";
    let Some(isolated) = isolated(machine) else {
        return Check::unknown(id, ISOLATED, "/sys/devices/system/cpu/isolated can't be read");
    };
    let open = cpus.without(&isolated);
    if open.is_empty() {
        return Check::ok(id, ISOLATED, format!("isolated: {isolated}"));
    }
    let mend = format!("isolcpus=managed_irq,domain,{cpus} on the kernel command line");
    Check::warn(id, ISOLATED, format!("CPU {open} is not isolated"), mend)
}

fn tick(machine: &Machine, cpus: &CpuSet) -> Check {
    let id = "nohz_full";
    let Some(tickless) = nohz_full(machine) else {
        return Check::unknown(
            id,
            TICK,
            "/sys/devices/system/cpu/nohz_full is not there: the kernel has no CONFIG_NO_HZ_FULL, or hides it",
        );
    };
    let ticking = cpus.without(&tickless);
    if ticking.is_empty() {
        return Check::ok(id, TICK, format!("without tick: {tickless}"));
    }
    Check::warn(id, TICK, format!("CPU {ticking} ticks"), format!("nohz_full={cpus} on the kernel command line"))
}

fn rcu(machine: &Machine, cpus: &CpuSet) -> Check {
    let id = "rcu_nocbs";
    if machine.read("proc/cmdline").is_none() {
        return Check::unknown(id, RCU, "/proc/cmdline can't be read");
    }
    let named = match machine.boot_option("rcu_nocbs").as_deref() {
        Some("all") => return Check::ok(id, RCU, "offloaded on all CPUs"),
        Some(list) => CpuSet::parse(list),
        None => CpuSet::default(),
    };
    // The kernel offloads the callbacks of nohz_full CPUs without being told.
    let tickless = nohz_full(machine).unwrap_or_default();
    let kept = cpus.without(&named).without(&tickless);
    if kept.is_empty() {
        return Check::ok(id, RCU, format!("offloaded on CPU {cpus}"));
    }
    let mend = format!("rcu_nocbs={cpus} on the kernel command line");
    Check::warn(id, RCU, format!("callbacks run on CPU {kept}"), mend)
}

fn siblings(machine: &Machine, cpus: &CpuSet) -> Check {
    let id = "smt_siblings";
    let mut shared = Vec::new();
    let mut told = false;
    for cpu in cpus.iter() {
        let path = format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        if let Some(list) = machine.read(&path) {
            told = true;
            let others = CpuSet::parse(&list).without(&CpuSet::from_cpus([cpu]));
            if !others.is_empty() {
                shared.push((cpu, others));
            }
        }
    }
    if !told {
        return Check::unknown(id, SIBLING, "the topology of the executors' CPUs can't be read");
    }
    let Some((_, first)) = shared.first() else { return Check::ok(id, SIBLING, "each executor has a whole core") };
    let found: Vec<String> = shared.iter().map(|(cpu, others)| format!("CPU {cpu} with {others}")).collect();
    let mend = format!(
        "`for c in {}; do echo 0 > /sys/devices/system/cpu/cpu$c/online; done`, or nosmt on the kernel command line",
        words(first)
    );
    Check::warn(id, SIBLING, format!("shared cores: {}", found.join("; ")), mend)
}

/// For a shell's `for` loop.
pub fn words(cpus: &CpuSet) -> String {
    cpus.iter().map(|cpu| cpu.to_string()).collect::<Vec<_>>().join(" ")
}
