//! The kernel fragments: one option a line, each once, each with its reason, and the checker that compares them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn kernel() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel")
}

fn fragments() -> Vec<PathBuf> {
    let paths = fs::read_dir(kernel()).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|e| e == "cfg")).collect()
}

/// The name of an option that a line sets or unsets; `None` for a comment, an error for anything else.
fn option(line: &str) -> Result<Option<&str>, String> {
    let known = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if let Some(rest) = line.strip_prefix("# CONFIG_") {
        let name = rest.strip_suffix(" is not set").ok_or("an option in a comment, and not \"is not set\"")?;
        return if known(name) { Ok(Some(name)) } else { Err("not a name".into()) };
    }
    if line.is_empty() || line.starts_with("# ") {
        return Ok(None);
    }
    let (name, value) = line.strip_prefix("CONFIG_").and_then(|l| l.split_once('=')).ok_or("not CONFIG_NAME=value")?;
    let is_value = matches!(value, "y" | "m") || value.parse::<u64>().is_ok() || value.starts_with('"');
    if known(name) && is_value { Ok(Some(name)) } else { Err("not a value: y, m, a number or a text".into()) }
}

#[test]
fn each_line_is_an_option_or_a_reason() {
    assert_eq!(fragments().len(), 2);
    for path in fragments() {
        let text = fs::read_to_string(&path).unwrap();
        let mut seen = BTreeSet::new();
        let mut reasoned = false;
        for (at, line) in text.lines().enumerate() {
            let place = format!("{}:{}: {line}", path.display(), at + 1);
            match option(line).unwrap_or_else(|wrong| panic!("{place}: {wrong}")) {
                Some(name) => {
                    assert!(reasoned, "{place}: no reason above it");
                    assert!(seen.insert(name.to_owned()), "{place}: twice");
                }
                None => reasoned = line.starts_with("# ") && !line.starts_with("# ---"),
            }
        }
        for needed in ["PREEMPT_RT", "EXPERT", "HIGH_RES_TIMERS", "NO_HZ_FULL", "CPU_ISOLATION", "RCU_NOCB_CPU"] {
            assert!(seen.contains(needed), "{} lacks {needed}", path.display());
        }
    }
}

#[test]
fn a_broken_line_is_found() {
    for line in ["CONFIG_A", "CONFIG_a=y", "A=y", "CONFIG_A=yes", "# CONFIG_A is off", "CONFIG_A =y"] {
        assert!(option(line).is_err(), "{line}");
    }
}

fn compare(args: &[&Path]) -> Output {
    Command::new("sh").arg(kernel().join("check-config.sh")).args(args).output().unwrap()
}

#[test]
fn the_checker_takes_a_kernel_that_has_it_all_and_names_what_another_lacks() {
    let dir = tempfile::tempdir().unwrap();
    for fragment in fragments() {
        let config = dir.path().join("config");
        fs::copy(&fragment, &config).unwrap();
        let output = compare(&[&fragment, &config]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

        let text = fs::read_to_string(&fragment).unwrap();
        let other = text
            .replace("CONFIG_PREEMPT_RT=y", "# CONFIG_PREEMPT_RT is not set")
            .replace("# CONFIG_RT_GROUP_SCHED is not set", "CONFIG_RT_GROUP_SCHED=y")
            .replace("# CONFIG_KSM is not set\n", "");
        fs::write(&config, other).unwrap();
        let output = compare(&[&fragment, &config]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains("CONFIG_PREEMPT_RT=y: it has # CONFIG_PREEMPT_RT is not set"), "{said}");
        assert!(said.contains("RT_GROUP_SCHED is not set: it has CONFIG_RT_GROUP_SCHED=y"), "{said}");
    }
}

#[test]
fn the_checker_finds_a_name_that_the_sources_do_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("linux");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("Kconfig.preempt"), "config PREEMPT_RT\n\tbool \"x\"\nmenuconfig KSM\n\tconfig HZ_250\n")
        .unwrap();
    let fragment = dir.path().join("a.cfg");
    fs::write(&fragment, "CONFIG_PREEMPT_RT=y\n# CONFIG_KSM is not set\nCONFIG_HZ_250=y\n").unwrap();
    assert!(compare(&[&fragment, Path::new("--names"), &source]).status.success());
    fs::write(&fragment, "CONFIG_PREEMPT_RT_FULL=y\n").unwrap();
    let output = compare(&[&fragment, Path::new("--names"), &source]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("CONFIG_PREEMPT_RT_FULL"));
}
