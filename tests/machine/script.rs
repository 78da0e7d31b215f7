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
        ("0-3", "2-3", &["apply", "--cpus", "2;reboot"], "no list"),
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
