//! `rt-config/fieldbeat-rt` on machines made of files: what it applies, it can revert.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::tree::Tree;

fn run(tree: &Tree, args: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/rt-config/fieldbeat-rt");
    Command::new("sh").arg(script).args(args).arg("--root").arg(tree.root()).output().unwrap()
}

fn done(tree: &Tree, args: &[&str]) -> String {
    let output = run(tree, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Every file below the root with its text.
fn files(dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.insert(path.display().to_string(), fs::read_to_string(&path).unwrap());
        }
    }
}

fn snapshot(tree: &Tree) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    files(tree.root(), &mut found);
    found
}

/// A machine as it is after installing: isolated by nothing but its list.
fn ordinary() -> Tree {
    let tree = Tree::good();
    tree.set("proc/irq/default_smp_affinity", "f");
    tree.set("proc/irq/9/smp_affinity_list", "0-3");
    tree.set("proc/irq/11/smp_affinity_list", "3");
    tree.set("proc/irq/12/smp_affinity_list", "0");
    tree.set("sys/devices/virtual/workqueue/cpumask", "f");
    tree.set("proc/sys/kernel/watchdog_cpumask", "0-3");
    tree.set("proc/sys/kernel/sched_rt_runtime_us", "950000");
    tree.set("proc/sys/kernel/timer_migration", "1");
    tree.set("proc/sys/vm/stat_interval", "1");
    tree.set("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "schedutil");
    tree.set("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil");
    // A plain word: a real kernel shows brackets and takes the word.
    tree.set("sys/kernel/mm/transparent_hugepage/enabled", "madvise");
    tree
}

#[test]
fn apply_moves_everything_away_and_revert_brings_it_back() {
    let tree = ordinary();
    let before = snapshot(&tree);
    done(&tree, &["apply"]);
    for (path, now) in [
        ("proc/irq/default_smp_affinity", "00000003"),
        ("proc/irq/9/smp_affinity_list", "0,1"),
        ("proc/irq/11/smp_affinity_list", "0,1"),
        ("proc/irq/12/smp_affinity_list", "0"),
        ("sys/devices/virtual/workqueue/cpumask", "00000003"),
        ("proc/sys/kernel/watchdog_cpumask", "0,1"),
        ("proc/sys/kernel/sched_rt_runtime_us", "-1"),
        ("proc/sys/kernel/timer_migration", "0"),
        ("proc/sys/vm/stat_interval", "10"),
        ("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "never"),
    ] {
        assert_eq!(tree.get(path), now, "{path}");
    }
    assert!(done(&tree, &["show"]).contains("sched_rt_runtime_us: -1 (before: 950000)"));
    done(&tree, &["revert"]);
    assert_eq!(snapshot(&tree), before);
}

#[test]
fn the_doctor_is_content_with_what_was_applied() {
    use fieldbeat::doctor::{Machine, State, visit};
    let tree = ordinary();
    // What the kernel makes of the affinity it was given.
    tree.remove("proc/irq/9/effective_affinity_list");
    let wrong = |tree: &Tree| -> Vec<String> {
        let checks = visit(&Machine::at(tree.root()), None).checks;
        checks.iter().filter(|c| c.state != State::Ok).map(|c| c.id.to_owned()).collect()
    };
    assert_eq!(
        wrong(&tree),
        [
            "rt_throttling",
            "timer_migration",
            "vm_stat_interval",
            "kernel_watchdog",
            "irq_affinity",
            "irq_default_affinity",
            "frequency_governor",
            "transparent_huge_pages"
        ]
        .into_iter()
        // A word without brackets is none that the kernel would show.
        .map(str::to_owned)
        .collect::<Vec<_>>()
    );
    done(&tree, &["apply"]);
    assert_eq!(wrong(&tree), ["transparent_huge_pages"]);
}

#[test]
fn a_second_apply_changes_nothing_and_keeps_the_first_values() {
    let tree = ordinary();
    let before = snapshot(&tree);
    done(&tree, &["apply"]);
    let applied = snapshot(&tree);
    assert_eq!(done(&tree, &["apply"]), "");
    assert_eq!(snapshot(&tree), applied);
    // Somebody meddles, apply mends it, and revert still finds the value from before the first apply.
    tree.set("proc/sys/kernel/timer_migration", "7");
    done(&tree, &["apply"]);
    done(&tree, &["revert"]);
    assert_eq!(snapshot(&tree), before);
    assert_eq!(done(&tree, &["revert"]), "");
}

#[test]
fn a_dry_run_says_what_would_change_and_writes_nothing() {
    let tree = ordinary();
    let before = snapshot(&tree);
    let text = done(&tree, &["apply", "--dry-run"]);
    assert!(text.contains("proc/sys/kernel/sched_rt_runtime_us: 950000 -> -1"), "{text}");
    assert!(!text.contains("irq/12"), "{text}");
    assert_eq!(snapshot(&tree), before);
    done(&tree, &["apply"]);
    let applied = snapshot(&tree);
    assert!(done(&tree, &["revert", "--dry-run"]).contains("sched_rt_runtime_us: -1 -> 950000"));
    assert_eq!(snapshot(&tree), applied);
}

#[test]
fn a_machine_as_it_should_be_is_left_alone() {
    let tree = Tree::good();
    tree.set("proc/irq/10/smp_affinity_list", "0-1");
    let before = snapshot(&tree);
    assert_eq!(done(&tree, &["apply"]), "");
    assert_eq!(snapshot(&tree), before);
}

#[test]
fn masks_of_many_cpus_have_groups_of_32() {
    let tree = ordinary();
    tree.set("sys/devices/system/cpu/online", "0-71");
    tree.set("sys/devices/system/cpu/isolated", "33,70-71");
    done(&tree, &["apply"]);
    assert_eq!(tree.get("proc/irq/default_smp_affinity"), "0000003f,fffffffd,ffffffff");
}

#[test]
fn what_cannot_be_applied_to_is_refused_before_anything_is_written() {
    for (online, isolated, args, said) in [
        ("0-3", "", &["apply"][..], "no CPU is isolated"),
        ("0-3", "2-3", &["apply", "--cpus", "0-3"], "need one for themselves"),
        ("0-3", "2-3", &["apply", "--cpus", "3-4"], "CPU 4 is not online"),
        ("0-3", "2-3", &["apply", "--cpus", "2;reboot"], "is not a list"),
        ("0-3", "2-3", &["aply"], "fieldbeat-rt apply"),
    ] {
        let tree = ordinary();
        tree.set("sys/devices/system/cpu/online", online);
        tree.set("sys/devices/system/cpu/isolated", isolated);
        let before = snapshot(&tree);
        let output = run(&tree, args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(said), "{args:?}: {text}");
        assert_eq!(snapshot(&tree), before);
    }
}

#[test]
fn a_setting_that_cannot_be_written_is_named_and_the_rest_is_done() {
    let tree = ordinary();
    // A directory in the file's place: even root can't write it.
    tree.remove("proc/sys/kernel/timer_migration");
    tree.set("proc/sys/kernel/timer_migration/.", "");
    let output = run(&tree, &["apply"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("proc/sys/kernel/timer_migration can't be written"), "{text}");
    assert_eq!(tree.get("proc/sys/vm/stat_interval"), "10");
}

/// A tree with two network interfaces, threaded interrupts, and a `chrt` that writes into it.
fn with_irq_threads() -> Tree {
    let tree = ordinary();
    tree.set("sys/class/net/eth0/address", "0");
    tree.set("sys/class/net/eth1/device/msi_irqs/41", "msi");
    tree.set(
        "proc/interrupts",
        "           CPU0  CPU1\n  9:  1  2  IO-APIC  9-fasteoi  acpi\n 40: 1 2 PCI-MSI 1-edge eth0-rx-0\n 42: 1 2 GIC 7 eth1\nNMI: 0 0 Non-maskable interrupts",
    );
    for (pid, name) in [
        (900, "irq/9-acpi"),
        (940, "irq/40-eth0-rx-"),
        (941, "irq/41-xyz"),
        (942, "irq/42-eth1"),
        (943, "irq/421-eth9"),
    ] {
        tree.set(&format!("proc/{pid}/comm"), name);
        let zeros = "0 ".repeat(36);
        // The fields from the state on: priority and policy are the 40th and 41st of the line.
        tree.set(&format!("proc/{pid}/stat"), &format!("{pid} ({name}) S {zeros}50 1 0 0"));
    }
    let script = "#!/bin/sh\nf=$FIELDBEAT_ROOT/proc/$4/stat\nawk -v p=\"$3\" '{ $40 = p; print }' \"$f\" >\"$f.new\" && mv \"$f.new\" \"$f\"\n";
    tree.set("bin/chrt", script);
    let made = Command::new("chmod").arg("+x").arg(tree.root().join("bin/chrt")).status().unwrap();
    assert!(made.success());
    tree
}

fn run_with_chrt(tree: &Tree, args: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/rt-config/fieldbeat-rt");
    let path = format!("{}:{}", tree.root().join("bin").display(), std::env::var("PATH").unwrap());
    Command::new("sh").arg(script).args(args).env("PATH", path).env("FIELDBEAT_ROOT", tree.root()).output().unwrap()
}

fn priority(tree: &Tree, pid: u32) -> String {
    tree.get(&format!("proc/{pid}/stat")).split_whitespace().nth(39).unwrap().to_owned()
}

#[test]
fn the_field_networks_interrupt_threads_are_raised_and_lowered_again() {
    let tree = with_irq_threads();
    let before = snapshot(&tree);
    let output = run_with_chrt(&tree, &["apply", "--nics", "eth1", "--dry-run"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(snapshot(&tree), before);
    let output = run_with_chrt(&tree, &["apply", "--nics", "eth1"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("irq/42-eth1: priority 50 -> 70"), "{text}");
    let priorities = |tree: &Tree| [900, 940, 941, 942, 943].map(|pid| priority(tree, pid));
    assert_eq!(priorities(&tree), ["50", "50", "70", "70", "50"]);
    let applied = snapshot(&tree);
    assert_eq!(run_with_chrt(&tree, &["apply", "--nics", "eth1"]).stdout, b"");
    assert_eq!(snapshot(&tree), applied);
    let shown = run_with_chrt(&tree, &["show"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("irq/42-eth1: priority 70 (before: 50)"));
    assert!(run_with_chrt(&tree, &["revert"]).status.success());
    assert_eq!(snapshot(&tree), before);
    // By the interrupt's own name, at another priority.
    assert!(run_with_chrt(&tree, &["apply", "--nics", "eth0,eth1", "--irq-priority", "60"]).status.success());
    assert_eq!(priorities(&tree), ["50", "60", "60", "60", "50"]);
}

#[test]
fn wrong_interfaces_and_priorities_are_refused_before_anything_is_written() {
    for (args, said) in [
        (&["apply", "--nics", "eth7"][..], "no network interface eth7"),
        (&["apply", "--nics", "../net/eth0"], "no network interface"),
        (&["apply", "--nics", "eth0", "--irq-priority", "80"], "not between 51 and 79"),
        (&["apply", "--irq-priority", "50"], "not between 51 and 79"),
        (&["apply", "--irq-priority", "high"], "not between 51 and 79"),
    ] {
        let tree = with_irq_threads();
        let before = snapshot(&tree);
        let output = run_with_chrt(&tree, args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(said), "{args:?}: {text}");
        assert_eq!(snapshot(&tree), before);
    }
}
