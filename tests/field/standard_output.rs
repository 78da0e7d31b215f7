//! One rule for all commands: a reader that is gone ends them quietly, any other output that can't be written is an error
//! with its reason.

use std::fs::OpenOptions;
use std::process::{Command, Output, Stdio};

use fieldbeat::plant::{GatewaySettings, Plant, PlantConfig};

use crate::rig::{PROGRAM, Site};

/// What each command prints to, in a place where it has something to print.
fn outputs(site: &Site, to: impl Fn() -> Stdio) -> Vec<(String, Output)> {
    let config = site.path().to_str().unwrap();
    let tag = site.samples().tags.keys().next().unwrap().clone();
    let commands: [&[&str]; 10] = [
        &["check", "--config", config],
        &["schema"],
        &["doctor", "--config", config],
        &["read", "--config", config, &tag],
        &["tail", "--config", config, "--from-start", "--lines", "5"],
        &["sim", "--seed", "12"],
        &["--help"],
        &["run", "--help"],
        &["--version"],
        &["demo", "--seconds", "3", "--devices", "1", "--tags", "10"],
    ];
    let output = |words: &&[&str]| {
        let mut program = Command::new(PROGRAM);
        let child = program.args(*words).stdin(Stdio::null()).stdout(to()).stderr(Stdio::piped()).spawn().unwrap();
        (words.join(" "), child.wait_with_output().unwrap())
    };
    commands.iter().map(output).collect()
}

fn site() -> (Plant, Site) {
    let plant = Plant::start(PlantConfig::default()).unwrap();
    let settings = GatewaySettings { journal_path: Some("journal".into()), ..GatewaySettings::default() };
    let site = Site::of(&plant, &settings);
    site.run(&["--seconds", "3"]).end().assert_clean();
    (plant, site)
}

#[test]
fn output_on_a_full_disk_is_an_error_that_says_so() {
    let (_plant, site) = site();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap().into();
    for (command, output) in outputs(&site, full) {
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{command}: {log}");
        assert!(log.contains("standard output cannot be written: No space left on device"), "{command}: {log}");
        assert!(!log.contains("panicked"), "{command}: {log}");
    }
}

#[test]
fn a_reader_that_is_gone_ends_a_command_quietly() {
    let (_plant, site) = site();
    let gone = || std::io::pipe().unwrap().1.into();
    for (command, output) in outputs(&site, gone) {
        use std::os::unix::process::ExitStatusExt;
        let log = String::from_utf8_lossy(&output.stderr);
        let is_quiet = output.status.success() || output.status.signal() == Some(libc::SIGPIPE);
        assert!(is_quiet, "{command}: {:?} {log}", output.status);
        assert!(!log.contains("error") && !log.contains("panicked"), "{command}: {log}");
    }
}

#[test]
fn standard_error_that_cannot_be_written_ends_no_command() {
    let (_plant, site) = site();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut program = Command::new(PROGRAM);
    program.arg("check").arg("--config").arg(site.path()).stderr(full);
    assert_eq!(program.output().unwrap().status.code(), Some(0));
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut program = Command::new(PROGRAM);
    program.args(["check", "--config", "/nowhere"]).stderr(full);
    assert_eq!(program.output().unwrap().status.code(), Some(2), "the reason can't be said, the code can");
}
