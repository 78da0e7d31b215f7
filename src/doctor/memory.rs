//! Transparent huge pages and swap.

use super::{Check, Machine};

const HUGE: &str = "Making huge pages moves memory about and stops the threads that touch it.";
const SWAP: &str = "What is not locked (journal, outputs) can be paged out, and samples then wait in the rings.";

pub fn checks(machine: &Machine) -> Vec<Check> {
    vec![huge_pages(machine), swap(machine)]
}

fn huge_pages(machine: &Machine) -> Check {
    let id = "transparent_huge_pages";
    match machine.chosen("sys/kernel/mm/transparent_hugepage/enabled").as_deref() {
        None => Check::unknown(id, HUGE, "/sys/kernel/mm/transparent_hugepage is not there: not built in, or hidden"),
        Some("always") => Check::warn(
            id,
            HUGE,
            "always",
            "echo never > /sys/kernel/mm/transparent_hugepage/enabled, or transparent_hugepage=never on the kernel \
             command line",
        ),
        Some(chosen) => Check::ok(id, HUGE, chosen),
    }
}

fn swap(machine: &Machine) -> Check {
    let id = "swap";
    let Some(swaps) = machine.read("proc/swaps") else {
        return Check::unknown(id, SWAP, "/proc/swaps can't be read");
    };
    // The first line is a heading.
    let on: Vec<&str> = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    if on.is_empty() {
        Check::ok(id, SWAP, "off")
    } else {
        Check::warn(id, SWAP, format!("on: {}", on.join(", ")), "swapoff -a, and take the swap lines out of /etc/fstab")
    }
}
