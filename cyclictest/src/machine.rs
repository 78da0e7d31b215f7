//! The machine that was measured.

use fieldbeat::doctor::CpuSet;
use serde::Serialize;

/// What must be known of a machine to compare its latencies.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub kernel: String,
    pub preempt_rt: bool,
    pub cpu_model: String,
    pub online_cpus: String,
    pub isolated_cpus: String,
    /// Of each second, how many microseconds real-time threads may run; -1: all.
    pub rt_runtime_us: Option<i64>,
    pub clock_source: String,
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim_end_matches(['\n', '\0']).trim().to_owned())
}

impl Machine {
    pub fn this() -> Machine {
        let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
        let version = read("/proc/sys/kernel/version").unwrap_or_default();
        let preempt_rt = read("/sys/kernel/realtime").as_deref() == Some("1") || version.contains("PREEMPT_RT");
        let model_name = |text: String| {
            text.lines()
                .find(|line| line.starts_with("model name"))
                .and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
        };
        // ARM boards name themselves in the device tree.
        let cpu_model = read("/proc/device-tree/model").or_else(|| read("/proc/cpuinfo").and_then(model_name));
        Machine {
            kernel: format!("{release} {version}"),
            preempt_rt,
            cpu_model: cpu_model.unwrap_or_else(|| "unknown".to_owned()),
            online_cpus: read("/sys/devices/system/cpu/online").unwrap_or_default(),
            isolated_cpus: read("/sys/devices/system/cpu/isolated").unwrap_or_default(),
            rt_runtime_us: read("/proc/sys/kernel/sched_rt_runtime_us").and_then(|text| text.parse().ok()),
            clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource").unwrap_or_default(),
        }
    }
}

/// Which CPUs are measured, and which are left for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    pub measured: Vec<u32>,
    pub is_all: bool,
    /// For loads and for this program; empty when every CPU is measured.
    pub others: Vec<u32>,
}

impl Places {
    /// # Errors
    /// Names the CPUs that are not there, or that this process may not use.
    pub fn choose(measured: &[u32], machine: &Machine, allowed: &[u32]) -> Result<Places, String> {
        let online = CpuSet::parse(&machine.online_cpus);
        // A set of allowed CPUs that the kernel did not tell allows those online. Isolated ones may lack in it, since
        // an affinity given by the boot loader leaves them out: a thread may still ask for them.
        let isolated = CpuSet::parse(&machine.isolated_cpus);
        let mut usable: Vec<u32> = if allowed.is_empty() { online.iter().collect() } else { allowed.to_vec() };
        usable.extend(isolated.iter());
        let usable = CpuSet::from_cpus(usable).within(&online);
        let wanted = CpuSet::from_cpus(measured.iter().copied());
        let absent = wanted.without(&usable);
        if !absent.is_empty() {
            return Err(format!("CPU {absent} is not available to this process; it may use {usable}"));
        }
        let others = usable.without(&wanted);
        let quiet = others.without(&isolated);
        let others = if quiet.is_empty() { others } else { quiet };
        Ok(Places {
            measured: wanted.iter().collect(),
            is_all: online.without(&wanted).is_empty(),
            others: others.iter().collect(),
        })
    }
}

/// As the kernel writes lists: `0-2,5`.
pub fn words(cpus: &[u32]) -> String {
    CpuSet::from_cpus(cpus.iter().copied()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(online: &str, isolated: &str) -> Machine {
        Machine { online_cpus: online.into(), isolated_cpus: isolated.into(), ..Machine::this() }
    }

    #[test]
    fn loads_keep_off_the_measured_and_the_isolated_cpus() {
        let four = machine("0-3", "2-3");
        let places = Places::choose(&[2], &four, &[0, 1]).unwrap();
        assert_eq!(places, Places { measured: vec![2], is_all: false, others: vec![0, 1] });
        let all = Places::choose(&[0, 1], &machine("0-1", ""), &[0, 1]).unwrap();
        assert_eq!(all, Places { measured: vec![0, 1], is_all: true, others: vec![] });
        let only_isolated_left = Places::choose(&[0, 1], &four, &[0, 1]).unwrap();
        assert_eq!(only_isolated_left.others, [2, 3]);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        let error = Places::choose(&[1, 7], &machine("0-3", ""), &[]).unwrap_err();
        assert!(error.contains('7') && error.contains("0-3"), "{error}");
        assert!(Places::choose(&[3], &machine("0-3", ""), &[0, 1]).is_err());
    }

    #[test]
    fn this_machine_has_a_kernel_and_a_cpu() {
        let this = Machine::this();
        assert!(!this.kernel.trim().is_empty() && !CpuSet::parse(&this.online_cpus).is_empty());
    }
}
