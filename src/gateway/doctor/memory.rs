//! Transparent huge pages, swap, and the allocator.

use super::{Check, Machine};
use crate::rt::thread::MALLOC_ARENAS_MAX;

const HUGE: &str = "Building huge pages moves memory and stops the threads that access it.";
const SWAP: &str = "Unlocked memory (journal, outputs) can be paged out; samples then wait in the rings.";

const MALLOC: &str = "Memory that is returned to the kernel and allocated again is not locked, and page faults.";

pub fn checks(machine: &Machine) -> Vec<Check> {
    let mut checks = vec![huge_pages(machine), swap(machine)];
    if machine.is_live() {
        checks.push(allocator(std::env::var("LD_PRELOAD").ok().as_deref()));
    }
    checks
}

/// What the gateway sets by itself; nobody has to do it.
fn allocator(preloaded: Option<&str>) -> Check {
    let id = "malloc";
    if !cfg!(target_env = "gnu") {
        return Check::unknown(id, MALLOC, "this C library has no such setting");
    }
    match preloaded.filter(|list| list.contains("alloc")) {
        Some(list) => {
            let found = format!("another allocator is preloaded ({list}); the gateway's settings do not reach it");
            Check::warn(id, MALLOC, found, "start the gateway without LD_PRELOAD")
        }
        None => Check::ok(
            id,
            MALLOC,
            format!(
                "set at start: {MALLOC_ARENAS_MAX} arenas at most (M_ARENA_MAX), nothing returned to the kernel \
                 (M_TRIM_THRESHOLD)"
            ),
        ),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn a_preloaded_allocator_is_told() {
        if cfg!(target_env = "gnu") {
            assert_eq!(allocator(None).state, State::Ok);
            assert_eq!(allocator(Some("/usr/lib/libfaketime.so")).state, State::Ok);
            let other = allocator(Some("/usr/lib/libjemalloc.so.2"));
            assert!(other.state == State::Warn && other.found.contains("jemalloc"), "{other:?}");
        }
    }
}
