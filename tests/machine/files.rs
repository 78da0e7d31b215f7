//! The files of rt-config/: units that systemd takes, and values that agree with each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn rt_config(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rt-config").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(rt_config(name)).unwrap_or_else(|e| panic!("rt-config/{name}: {e}"))
}

#[test]
fn systemd_takes_the_units() {
    // Copies whose programs exist, so that only what is written in the units is judged.
    let dir = tempfile::tempdir().unwrap();
    let units = ["fieldbeat.slice", "fieldbeat.service", "fieldbeat-rt.service"];
    for unit in units {
        let here = text(unit).replace("/usr/bin/fieldbeat", "/bin/true").replace("/usr/sbin/fieldbeat-rt", "/bin/true");
        fs::write(dir.path().join(unit), here).unwrap();
    }
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .args(units.map(|unit| dir.path().join(unit)))
        .output()
        .expect("this test needs systemd-analyze: apt-get install systemd");
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("fieldbeat")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_unit_leaves_what_the_executors_need() {
    let unit = text("fieldbeat.service");
    for line in ["LimitMEMLOCK=infinity", "RestrictRealtime=no", "DeviceAllow=/dev/cpu_dma_latency rw"] {
        assert!(unit.lines().any(|l| l == line), "fieldbeat.service lacks {line}");
    }
    let priority = unit.lines().find_map(|l| l.strip_prefix("LimitRTPRIO=")).unwrap().parse::<u8>().unwrap();
    assert!(priority >= 80, "executors ask for 80");
    let set = |key: &str| unit.lines().any(|l| l.starts_with(key));
    assert!(!set("PrivateDevices=") && !set("CPUQuota=") && !set("PrivateUsers="));
}

#[test]
fn the_command_line_names_the_same_cpus_everywhere() {
    let line = text("cmdline.txt");
    assert_eq!(line.lines().count(), 1);
    let value = |name: &str| {
        let word = line.split_whitespace().find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
        word.unwrap_or_else(|| panic!("no {name}=")).to_owned()
    };
    assert_eq!(value("isolcpus"), format!("managed_irq,domain,{}", value("nohz_full")));
    assert_eq!(value("rcu_nocbs"), value("nohz_full"));
    let unit = text("fieldbeat.service");
    assert!(unit.contains(&format!("CPUAffinity={}", value("irqaffinity"))));
}

#[test]
fn what_is_set_from_boot_on_is_what_the_script_sets() {
    let script = text("fieldbeat-rt");
    let settings: Vec<(String, String)> = text("90-fieldbeat.conf")
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(|l| l.split_once(" = ").unwrap_or_else(|| panic!("not NAME = VALUE: {l}")))
        .map(|(name, value)| (name.replace('.', "/"), value.to_owned()))
        .collect();
    assert_eq!(settings.len(), 3);
    for (name, value) in settings {
        assert!(
            script.contains(&format!("set_to proc/sys/{name} word {value}\n")),
            "fieldbeat-rt lacks {name} {value}"
        );
    }
}

#[test]
fn the_unit_restarts_what_stands_still() {
    let unit = text("fieldbeat.service");
    for line in ["Type=notify", "NotifyAccess=main", "WatchdogSec=10s", "Restart=always", "StartLimitIntervalSec=0"] {
        assert!(unit.lines().any(|l| l == line), "fieldbeat.service lacks {line}");
    }
}

#[test]
fn the_tuned_profile_sets_what_the_script_sets() {
    let (script, profile) = (text("fieldbeat-rt"), text("tuned/fieldbeat/tuned.conf"));
    let value = |key: &str| profile.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned);
    let mut compared = 0;
    for line in script.lines().filter_map(|l| l.trim().strip_prefix("set_to ")) {
        let mut words = line.split_whitespace();
        let (Some(path), Some(_), Some(wanted)) = (words.next(), words.next(), words.next()) else { panic!("{line}") };
        if let Some(name) = path.strip_prefix("proc/sys/") {
            let set = value(&name.replace('/', ".")).unwrap_or_else(|| panic!("tuned.conf lacks {name}"));
            assert!(wanted.starts_with('"') || set == wanted, "{name}: {set}, the script has {wanted}");
        } else if path.contains("scaling_governor") {
            assert_eq!(value("governor").as_deref(), Some(wanted));
        } else if path.contains("transparent_hugepage") {
            assert_eq!(value("transparent_hugepages").as_deref(), Some(wanted));
        } else if path.contains("workqueue") {
            assert!(value("/sys/devices/virtual/workqueue/cpumask").is_some());
        } else {
            assert!(path.contains("proc/irq") || path == "\"$path\"", "tuned.conf has nothing for {path}");
            continue;
        }
        compared += 1;
    }
    assert!(compared >= 6, "{compared}");
    assert_eq!(value("irq_priority").as_deref(), Some("70"));
    assert!(script.contains("FIELDBEAT_IRQ_PRIORITY:-70"));
}

#[test]
fn the_readme_names_every_file() {
    let readme = text("README.md");
    for entry in fs::read_dir(rt_config("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "README.md" || readme.contains(&format!("`{name}`")), "README.md does not name {name}");
    }
}
