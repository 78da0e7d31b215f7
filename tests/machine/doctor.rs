//! Each check of the doctor, on machines made of files.

use fieldbeat::config::{Config, JournalConfig};
use fieldbeat::doctor::{Check, Machine, State, Visit, visit};
use fieldbeat::protocol::load_parts;

use crate::tree::Tree;

const TAGS: &str = r#"{
  "links": [{"name": "plc", "protocol": "modbus_tcp", "host": "127.0.0.1"}],
  "tags": [{"name": "t", "protocol": "modbus_tcp", "address": "plc:1:3:40001:1", "data_type": "uint16", "scan_rate_ms": 100}]
}"#;

fn config(toml: &str) -> Config {
    let toml = format!("[gateway]\nid = \"g\"\n{toml}");
    load_parts(("fieldbeat.toml", &toml), &[("tags/a.json", TAGS)]).unwrap_or_else(|e| panic!("{e}")).config
}

fn look(tree: &Tree) -> Visit {
    visit(&Machine::at(tree.root()), None)
}

fn check(visit: &Visit, id: &str) -> Check {
    visit.checks.iter().find(|c| c.id == id).unwrap_or_else(|| panic!("no check {id}")).clone()
}

#[test]
fn a_good_machine_has_nothing_to_mend() {
    let visit = look(&Tree::good());
    let wrong: Vec<_> = visit.checks.iter().filter(|c| c.state != State::Ok).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((visit.worst, visit.executor_cpus), (State::Ok, vec![2, 3]));
    assert!(visit.checks.iter().all(|c| c.mend.is_none()));
}

#[test]
fn each_fault_is_found_by_its_check_alone_with_what_mends_it() {
    // id, file, its text, state, a part of what is found, a part of what mends it
    const CPU: &str = "sys/devices/system/cpu";
    let faults: &[(&str, &str, &str, State, &str, &str)] = &[
        (
            "sched_fifo",
            "proc/self/limits",
            "Max locked memory   unlimited  unlimited  bytes\nMax realtime priority  0  0\n",
            State::Bad,
            "priority 80 is needed, 0 is allowed",
            "LimitRTPRIO=80",
        ),
        (
            "memory_lock",
            "proc/self/limits",
            "Max locked memory   8388608  8388608  bytes\nMax realtime priority  99  99\n",
            State::Bad,
            "8192 KiB",
            "LimitMEMLOCK=infinity",
        ),
        (
            "rt_throttling",
            "proc/sys/kernel/sched_rt_runtime_us",
            "950000",
            State::Warn,
            "950000",
            "sched_rt_runtime_us=-1",
        ),
        (
            "rt_throttling",
            "proc/sys/kernel/sched_rt_runtime_us",
            "0",
            State::Bad,
            "no CPU time",
            "sched_rt_runtime_us=-1",
        ),
        ("timer_migration", "proc/sys/kernel/timer_migration", "1", State::Warn, "on", "kernel.timer_migration=0"),
        ("vm_stat_interval", "proc/sys/vm/stat_interval", "1", State::Warn, "1 s", "vm.stat_interval=10"),
        (
            "kernel_watchdog",
            "proc/sys/kernel/watchdog_cpumask",
            "0-3",
            State::Warn,
            "CPU 2-3",
            "kernel.watchdog_cpumask=0-1",
        ),
        (
            "clock_source",
            "sys/devices/system/clocksource/clocksource0/current_clocksource",
            "hpet",
            State::Warn,
            "hpet",
            "echo tsc > /sys",
        ),
        (
            "clock_source",
            "sys/devices/system/clocksource/clocksource0/current_clocksource",
            "jiffies",
            State::Bad,
            "jiffies",
            "echo tsc > /sys",
        ),
        (
            "smt_siblings",
            "sys/devices/system/cpu/cpu2/topology/thread_siblings_list",
            "0,2",
            State::Warn,
            "CPU 2 with 0",
            "for c in 0;",
        ),
        ("nohz_full", "sys/devices/system/cpu/nohz_full", "3", State::Warn, "CPU 2 ticks", "nohz_full=2-3"),
        ("irq_affinity", "proc/irq/7/effective_affinity_list", "3", State::Warn, "7 (timer)", "irqaffinity=0-1"),
        ("irq_default_affinity", "proc/irq/default_smp_affinity", "f", State::Warn, "CPU 2-3", "irqaffinity=0-1"),
        ("irqbalance", "proc/77/comm", "irqbalance", State::Warn, "runs", "systemctl disable --now irqbalance"),
        (
            "frequency_governor",
            "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor",
            "powersave",
            State::Warn,
            "CPU 3 powersave",
            "echo performance",
        ),
        (
            "transparent_huge_pages",
            "sys/kernel/mm/transparent_hugepage/enabled",
            "[always] madvise never",
            State::Warn,
            "always",
            "echo never",
        ),
        (
            "swap",
            "proc/swaps",
            "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2",
            State::Warn,
            "/dev/sda2",
            "swapoff -a",
        ),
    ];
    assert!(faults.iter().any(|f| f.1.starts_with(CPU)));
    for (id, file, text, state, found, mend) in faults {
        let tree = Tree::good();
        tree.set(file, text);
        let visit = look(&tree);
        let check = check(&visit, id);
        assert_eq!(check.state, *state, "{check:?}");
        assert!(check.found.contains(found), "{check:?} does not say \"{found}\"");
        assert!(check.mend.as_deref().is_some_and(|m| m.contains(mend)), "{check:?} does not say \"{mend}\"");
        let others: Vec<_> = visit.checks.iter().filter(|c| c.id != *id && c.state != State::Ok).collect();
        assert!(others.is_empty(), "{id} in {file} also made {others:#?}");
        assert_eq!(visit.worst, *state);
    }
}

#[test]
fn an_interrupt_that_moves_when_it_fires_next_counts_as_moved() {
    let tree = Tree::good();
    tree.set("proc/irq/9/smp_affinity_list", "0-3");
    tree.set("proc/irq/9/effective_affinity_list", "2");
    assert_eq!(check(&look(&tree), "irq_affinity").state, State::Warn);
    tree.set("proc/irq/9/smp_affinity_list", "0-1");
    assert_eq!(check(&look(&tree), "irq_affinity").state, State::Ok);
}

#[test]
fn a_kernel_without_preempt_rt_is_a_warning_with_its_model() {
    let tree = Tree::good();
    tree.set("proc/version", "Linux version 6.8.0 (x) #1 SMP PREEMPT_DYNAMIC Mon");
    tree.set("sys/kernel/realtime", "0");
    let check = check(&look(&tree), "preempt_rt");
    assert_eq!(check.state, State::Warn);
    assert!(check.found.contains("PREEMPT_DYNAMIC"), "{check:?}");
}

#[test]
fn cpus_that_are_not_isolated_are_named_with_the_boot_parameters() {
    let tree = Tree::good();
    tree.set("sys/devices/system/cpu/isolated", "");
    tree.set("sys/devices/system/cpu/nohz_full", "(null)");
    tree.set("proc/cmdline", "quiet");
    let visit = visit(&Machine::at(tree.root()), Some(&config("[realtime]\ncores = [1, 3]\n")));
    assert_eq!(visit.executor_cpus, [1, 3]);
    for (id, mend) in [
        ("isolcpus", "isolcpus=managed_irq,domain,1,3"),
        ("nohz_full", "nohz_full=1,3"),
        ("rcu_nocbs", "rcu_nocbs=1,3"),
    ] {
        let check = check(&visit, id);
        assert_eq!(check.state, State::Warn, "{check:?}");
        assert!(check.mend.as_deref().unwrap().contains(mend), "{check:?}");
    }
    // nohz_full= brings the offloading with it.
    tree.set("sys/devices/system/cpu/nohz_full", "1,3");
    let visit = self::visit(&Machine::at(tree.root()), Some(&config("[realtime]\ncores = [1, 3]\n")));
    assert_eq!(check(&visit, "rcu_nocbs").state, State::Ok);
}

#[test]
fn without_isolated_cpus_the_last_one_is_looked_at() {
    let tree = Tree::good();
    tree.set("sys/devices/system/cpu/isolated", "");
    assert_eq!(look(&tree).executor_cpus, [3]);
}

#[test]
fn a_configured_cpu_that_is_not_there_is_bad() {
    let visit = visit(&Machine::at(Tree::good().root()), Some(&config("[realtime]\ncores = [2, 9]\n")));
    let check = check(&visit, "cpus_online");
    assert!(visit.is_bad() && check.state == State::Bad && check.found.contains("CPU 9"), "{check:?}");
}

#[test]
fn executors_on_every_cpu_leave_none_for_the_rest() {
    let visit = visit(&Machine::at(Tree::good().root()), Some(&config("[realtime]\ncores = [0, 1, 2, 3]\n")));
    assert_eq!(check(&visit, "housekeeping_cpu").state, State::Warn);
}

#[test]
fn the_configured_priority_is_the_one_that_must_be_allowed() {
    let visit = visit(&Machine::at(Tree::good().root()), Some(&config("[realtime]\npriority = 95\n")));
    let check = check(&visit, "sched_fifo");
    assert!(check.state == State::Bad && check.found.contains("priority 95"), "{check:?}");
}

#[test]
fn deep_sleep_matters_only_where_nothing_can_forbid_it() {
    let tree = Tree::good();
    assert!(check(&look(&tree), "idle_states").found.contains("C6 (133 µs); disabled while"));
    tree.remove("dev/cpu_dma_latency");
    let visit = look(&tree);
    assert_eq!(check(&visit, "cpu_dma_latency").state, State::Warn);
    assert_eq!(check(&visit, "idle_states").state, State::Warn);
    for cpu in [2, 3] {
        tree.set(&format!("sys/devices/system/cpu/cpu{cpu}/cpuidle/state2/disable"), "1");
    }
    assert_eq!(check(&look(&tree), "idle_states").state, State::Ok);
}

#[test]
fn capabilities_stand_in_for_limits() {
    let tree = Tree::good();
    tree.set("proc/self/limits", "Max locked memory  65536 65536 bytes\nMax realtime priority  0  0\n");
    // CAP_SYS_NICE (23) and CAP_IPC_LOCK (14).
    tree.set("proc/self/status", "CapEff:\t0000000000804000");
    let visit = look(&tree);
    assert_eq!((check(&visit, "sched_fifo").state, check(&visit, "memory_lock").state), (State::Ok, State::Ok));
}

#[test]
fn a_machine_that_shows_nothing_is_unknown_and_not_bad() {
    let visit = look(&Tree::empty());
    assert!(!visit.is_bad());
    let told: Vec<_> = visit.checks.iter().filter(|c| c.state != State::Unknown && c.id != "cpu_dma_latency").collect();
    assert!(told.is_empty(), "{told:#?}");
}

#[test]
fn garbage_in_every_file_never_panics() {
    let names = [
        "proc/version",
        "proc/cmdline",
        "proc/self/status",
        "proc/self/limits",
        "proc/swaps",
        "proc/sys/kernel/sched_rt_runtime_us",
        "proc/sys/kernel/watchdog_cpumask",
        "proc/irq/default_smp_affinity",
        "proc/irq/9/effective_affinity_list",
        "sys/devices/system/cpu/online",
        "sys/devices/system/cpu/isolated",
        "sys/devices/system/cpu/nohz_full",
        "sys/kernel/mm/transparent_hugepage/enabled",
    ];
    for text in ["", "-", "3-1", "[", "]x[", "99999999999999999999", "0-4294967295,,", "\u{fffd}CapEff:", "zz,zz"] {
        let tree = Tree::good();
        for name in names {
            tree.set(name, text);
        }
        assert!(look(&tree).checks.len() > 15, "{text}");
    }
}

fn journal(config: &mut Config, path: &std::path::Path, bytes_max: u64) {
    config.journal = JournalConfig { path: path.to_owned(), bytes_max, ..config.journal.clone() };
}

#[test]
fn the_journal_needs_a_directory_and_room() {
    let machine = Machine::at(Tree::good().root());
    let dir = tempfile::tempdir().unwrap();
    let mut config = config("");
    journal(&mut config, &dir.path().join("not/yet"), 16 << 20);
    let seen = visit(&machine, Some(&config));
    assert_eq!(check(&seen, "journal_directory").state, State::Ok);
    assert!(check(&seen, "journal_directory").found.contains("will be created"));
    assert_eq!(check(&seen, "journal_room").state, State::Ok);

    journal(&mut config, dir.path(), 16 << 50);
    let seen = check(&visit(&machine, Some(&config)), "journal_room");
    assert!(seen.state == State::Warn && seen.mend.unwrap().contains("journal.max_bytes"));

    let file = dir.path().join("a file");
    std::fs::write(&file, "").unwrap();
    journal(&mut config, &file.join("journal"), 16 << 20);
    let seen = check(&visit(&machine, Some(&config)), "journal_directory");
    assert!(seen.state == State::Bad && seen.found.contains("not a directory"), "{seen:?}");
}
