//! Which device interrupts the executors' CPUs serve.

use super::cpus::CpuSet;
use super::{Check, Machine};

const SERVED: &str = "A device's interrupt on an executor's CPU runs before the executor, however long it takes.";
const NEW: &str = "The interrupt of a device that is added later is placed by this mask.";
const BALANCER: &str = "irqbalance moves interrupts back to CPUs that look idle.";

/// Interrupts named in one finding; a server has thousands.
const SHOWN_MAX: usize = 6;

pub fn checks(machine: &Machine, cpus: &CpuSet) -> Vec<Check> {
    vec![served(machine, cpus), placed(machine, cpus), balancer(machine)]
}

fn served(machine: &Machine, cpus: &CpuSet) -> Check {
    let id = "irq_affinity";
    let mut known = 0;
    let mut wrong = Vec::new();
    for irq in machine.names("proc/irq").into_iter().filter(|name| name.parse::<u32>().is_ok()) {
        let dir = format!("proc/irq/{irq}");
        // A directory of the handler's name is there once a driver has asked for the interrupt.
        let handler = machine.names(&dir).into_iter().find(|name| machine.path(&format!("{dir}/{name}")).is_dir());
        let Some(handler) = handler else { continue };
        let list = |name: &str| {
            let text = machine.read(&format!("{dir}/{name}")).filter(|text| !text.is_empty());
            text.map(|text| CpuSet::parse(&text))
        };
        // An interrupt that was told to move does so when it fires next: until then only what was told is new.
        let serving = match (list("effective_affinity_list"), list("smp_affinity_list")) {
            (Some(effective), Some(told)) => effective.within(&told),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => continue,
        };
        known += 1;
        if !serving.within(cpus).is_empty() {
            wrong.push(format!("{irq} ({handler})"));
        }
    }
    if known == 0 {
        return Check::unknown(id, SERVED, "/proc/irq shows no device interrupt");
    }
    if wrong.is_empty() {
        return Check::ok(id, SERVED, format!("none of {known} is served by CPU {cpus}"));
    }
    let more = wrong.len().saturating_sub(SHOWN_MAX);
    let mut found =
        format!("CPU {cpus} serves {}", wrong.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join(", "));
    if more > 0 {
        found.push_str(&format!(" and {more} more"));
    }
    Check::warn(id, SERVED, found, format!("fieldbeat-rt apply --cpus {cpus}; {}", mend_at_boot(machine, cpus)))
}

fn placed(machine: &Machine, cpus: &CpuSet) -> Check {
    let id = "irq_default_affinity";
    let Some(mask) = machine.read("proc/irq/default_smp_affinity").and_then(|mask| parse_mask(&mask)) else {
        return Check::unknown(id, NEW, "/proc/irq/default_smp_affinity can't be read");
    };
    let wrong = mask.within(cpus);
    if wrong.is_empty() {
        return Check::ok(id, NEW, format!("CPU {mask}"));
    }
    Check::warn(id, NEW, format!("CPU {wrong} is in the mask"), mend_at_boot(machine, cpus))
}

fn mend_at_boot(machine: &Machine, cpus: &CpuSet) -> String {
    let online = machine.read("sys/devices/system/cpu/online").unwrap_or_default();
    let rest = CpuSet::parse(&online).without(cpus);
    if rest.is_empty() {
        "leave one CPU out of realtime.cores for ordinary work".to_owned()
    } else {
        format!("irqaffinity={rest} on the kernel command line")
    }
}

/// A mask as the kernel writes it: hexadecimal, groups of 32 bits with commas, the highest first.
fn parse_mask(text: &str) -> Option<CpuSet> {
    let digits: Vec<char> = text.chars().filter(|c| *c != ',').collect();
    let mut cpus = Vec::new();
    for (place, digit) in (0u32..).zip(digits.iter().rev()) {
        let bits = digit.to_digit(16)?;
        cpus.extend((0..4).filter(|bit| bits & (1 << bit) != 0).map(|bit| place * 4 + bit));
    }
    (!digits.is_empty()).then(|| CpuSet::from_cpus(cpus))
}

fn balancer(machine: &Machine) -> Check {
    let id = "irqbalance";
    let processes: Vec<String> = machine.names("proc").into_iter().filter(|name| name.parse::<u32>().is_ok()).collect();
    if processes.is_empty() {
        return Check::unknown(id, BALANCER, "/proc shows no process");
    }
    let runs =
        processes.iter().any(|process| machine.read(&format!("proc/{process}/comm")).as_deref() == Some("irqbalance"));
    if runs {
        Check::warn(id, BALANCER, "it runs", "systemctl disable --now irqbalance")
    } else {
        Check::ok(id, BALANCER, "it does not run")
    }
}
