//! `fieldbeat doctor` on the machine that runs the tests, as people and scripts see it.

use std::process::{Command, Output};

fn doctor(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fieldbeat")).arg("doctor").args(args).output().unwrap()
}

#[test]
fn the_json_and_the_exit_code_say_the_same() {
    let output = doctor(&["--json"]);
    let visit: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = visit["checks"].as_array().unwrap();
    let bad = checks.iter().any(|check| check["state"] == "bad");
    assert_eq!(output.status.code(), Some(i32::from(bad)), "{visit:#}");
    assert_eq!(visit["worst"] == "bad", bad);
    assert!(checks.len() >= 20, "{visit:#}");
    for check in checks {
        let needs_mending = check["state"] == "warn" || check["state"] == "bad";
        assert_eq!(check["mend"].is_string(), needs_mending, "{check:#}");
        assert!(!check["why"].as_str().unwrap().is_empty());
    }
}

#[test]
fn people_see_one_line_a_check_and_the_total() {
    let output = doctor(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    for id in ["sched_fifo", "preempt_rt", "clock_source", "isolcpus", "swap"] {
        let lines = text.lines().filter(|line| line.split_whitespace().nth(1) == Some(id)).count();
        assert_eq!(lines, 1, "{id} in:\n{text}");
    }
    assert!(text.lines().last().unwrap().ends_with(" unknown"), "{text}");
}

#[test]
fn a_user_without_rights_gets_the_answer_and_exit_code_1() {
    // Only root can become somebody else; anybody else is without rights already.
    let program = env!("CARGO_BIN_EXE_fieldbeat");
    let output = if nix::unistd::getuid().is_root() {
        let args = ["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
        let limit =
            format!("ulimit -r 0; ulimit -l 64; exec setpriv {} /proc/self/fd/9 doctor 9<{program}", args.join(" "));
        Command::new("sh").args(["-c", &limit]).output().expect("this test needs setpriv: apt-get install util-linux")
    } else {
        doctor(&[])
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("LimitRTPRIO=80") && text.contains("LimitMEMLOCK=infinity"), "{text}");
}

#[test]
fn a_wrong_configuration_is_said_and_nothing_is_looked_at() {
    let output = doctor(&["--config", "/nonexistent"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    assert!(!output.stderr.is_empty());
}
