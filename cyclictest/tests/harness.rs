//! The program as people run it: short real runs, with and without cyclictest, rights and good input.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fieldbeat-latency"));
    command.stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Output {
    program().args(words).output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn is_installed(name: &str) -> bool {
    Command::new(name).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Command lines of running processes that hold `word`.
fn running(word: &str) -> Vec<String> {
    let of = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("cmdline")).ok();
    let lines = std::fs::read_dir("/proc").unwrap().flatten().filter_map(of);
    lines.map(|line| line.replace('\0', " ")).filter(|line| line.contains(word)).collect()
}

#[test]
fn a_second_of_the_own_probe_is_measured_written_and_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let (report, plot) = (dir.path().join("a.json"), dir.path().join("a.svg"));
    let output = program()
        .args(["--seconds", "1", "--own-probe-only", "--json"])
        .arg(&report)
        .arg("--plot")
        .arg(&plot)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert!(words(&output).contains("own probe only"), "{}", words(&output));
    let report = json(&report);
    let results = report["results"].as_array().unwrap();
    assert_eq!(results[0]["tool"], "fieldbeat");
    let beats = results[0]["count"].as_u64().unwrap() + results[0]["missed"].as_u64().unwrap();
    assert!((900..=1010).contains(&beats), "{beats} beats");
    let counted: u64 = results[0]["histogram_us"].as_array().unwrap().iter().map(|b| b[1].as_u64().unwrap()).sum();
    assert_eq!(counted, results[0]["count"].as_u64().unwrap());
    assert!(report["machine"]["kernel"].as_str().unwrap().len() > 3 && report["machine"]["preempt_rt"].is_boolean());
    assert!(report["ratios"].as_array().unwrap().is_empty() && report["gate"].is_null());
    let drawn = std::fs::read_to_string(plot).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.contains("fieldbeat") && !drawn.contains("cyclictest:"));
}

#[test]
fn without_privileges_it_measures_says_what_is_missing_and_passes_no_gate() {
    // The directory of the build may be closed to others: the program is put where all can run it.
    let dir = tempfile::tempdir().unwrap();
    let open = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let copy = dir.path().join("fieldbeat-latency");
    std::fs::copy(env!("CARGO_BIN_EXE_fieldbeat-latency"), &copy).unwrap();
    let mut elsewhere = Command::new(&copy);
    elsewhere.args(["--seconds", "1", "--board", "x86-64-dev"]).stdin(Stdio::null());
    // SAFETY: the calls are async-signal-safe; the limits are plain memory.
    unsafe {
        elsewhere.pre_exec(|| {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_RTPRIO, &none);
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &none);
            if libc::getuid() == 0 && (libc::setgid(65534) != 0 || libc::setuid(65534) != 0) {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let output = elsewhere.output().unwrap();
    let told = words(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for word in [
        "missing: executor has no SCHED_FIFO",
        "missing: memory of the executors is not locked",
        "NOT COMPARABLE",
        "gate: FAIL",
    ] {
        assert!(told.contains(word), "{word} is not in {told}");
    }
    assert!(told.contains("fieldbeat  "), "it measures all the same: {told}");
}

#[test]
fn beside_cyclictest_both_are_measured_and_compared() {
    if !is_installed("cyclictest") {
        println!("skipped: cyclictest is not installed (apt-get install rt-tests)");
        return;
    }
    if fieldbeat::rt::thread::try_fifo(80).is_err() {
        println!("skipped: cyclictest needs the right to SCHED_FIFO, which is not given here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("b.json");
    let output = program().args(["--seconds", "2", "--rounds", "2", "--json"]).arg(&report).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let report = json(&report);
    let tools: Vec<&str> = report["results"].as_array().unwrap().iter().map(|r| r["tool"].as_str().unwrap()).collect();
    assert_eq!(tools, ["fieldbeat", "cyclictest"]);
    assert_eq!(report["ratios"].as_array().unwrap().len(), 3);
    assert_eq!(report["ratios"][0]["turns"].as_array().unwrap().len(), 2);
    assert!(words(&output).contains("fieldbeat / cyclictest"), "{}", words(&output));
}

#[test]
fn every_load_runs_without_stress_ng_too_and_none_is_left_after_ctrl_c() {
    let dir = tempfile::tempdir().unwrap();
    // A PATH without programs: no stress-ng, no cyclictest.
    let child = program()
        .args(["--seconds", "60", "--load", "all", "--load-dir"])
        .arg(dir.path())
        .env("PATH", dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let word = dir.path().to_str().unwrap().to_owned();
    let own = || running(&word).into_iter().filter(|line| line.contains("own-load")).count();
    let deadline = Instant::now() + Duration::from_secs(10);
    while own() < 4 {
        assert!(Instant::now() < deadline, "{:?}", running(&word));
        std::thread::sleep(Duration::from_millis(20));
    }
    // Into the first turn.
    std::thread::sleep(Duration::from_millis(1500));
    // SAFETY: no pointers; the child is ours and not reaped.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    let output = child.wait_with_output().unwrap();
    let told = words(&output);
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("load all by own load") && told.contains("cyclictest is not installed"), "{told}");
    assert_eq!(running(&word), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the disk load's files are gone");
}

#[test]
fn a_killed_program_leaves_no_load_either() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = program()
        .args(["--seconds", "60", "--load", "cpu", "--own-probe-only", "--load-dir"])
        .arg(dir.path())
        .env("PATH", dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let word = dir.path().to_str().unwrap().to_owned();
    let of_it = || running(&word).into_iter().filter(|line| line.contains("own-load cpu")).count();
    let deadline = Instant::now() + Duration::from_secs(10);
    while of_it() == 0 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while of_it() > 0 {
        assert!(Instant::now() < deadline, "{:?}", running(&word));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn wrong_words_and_gates_are_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("gate.toml");
    std::fs::write(&bad, "[board.x]\nwakeup_max_us = 1\nsurprise = 2\n").unwrap();
    let bad = bad.to_str().unwrap();
    for (words_of, told) in [
        (&["--board", "toaster"][..], "known boards: jetson-orin-agx"),
        (&["--board", "x", "--gate", bad][..], "unknown field `surprise`"),
        (&["--board", "x", "--gate", "/nowhere/gate.toml"][..], "/nowhere/gate.toml: No such file"),
        (&["--gate", bad][..], "--board"),
        (&["--cpus", "4000"][..], "CPU 4000 is not available"),
        (&["--seconds", "x"][..], "--seconds"),
    ] {
        let output = run(words_of);
        assert_eq!(output.status.code(), Some(2), "{words_of:?}: {}", words(&output));
        assert!(words(&output).contains(told), "{words_of:?}: {}", words(&output));
    }
}

#[test]
fn a_gate_that_is_too_tight_fails_with_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let gate = dir.path().join("gate.toml");
    let limits = "wakeup_max_us = 0\nwakeup_p9999_us = 0\njitter_us = 0\nmissed_deadlines_percent = 0\n";
    std::fs::write(&gate, format!("[board.here]\n{limits}")).unwrap();
    let output = run(&["--seconds", "1", "--own-probe-only", "--board", "here", "--gate", gate.to_str().unwrap()]);
    let told = words(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("FAIL  CPU") && told.contains("wake-ups; p99.99 needs 10000"), "{told}");
}
