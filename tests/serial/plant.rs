//! The simulated plant's lines from the command line: read by the whole program, and by a master that others wrote.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use fieldbeat::tag::Status;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::peers::{self, Killed};
use crate::rig::{PROGRAM, Site};

/// The plant's process, and a gateway's configuration for it.
struct PlantProcess {
    _child: Killed,
    site: Site,
    ports: Vec<String>,
}

fn plant(lines: usize, more: &[&str]) -> PlantProcess {
    let dir = TempDir::new().unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["plant", "--no-broker", "--devices", "1", "--tags", "10", "--serial-baud", "115200", "--serial"]);
    command.arg(lines.to_string()).arg("--config").arg(dir.path()).args(more);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ports = Vec::new();
    while ports.len() < lines {
        let line = output.next().unwrap_or_else(|| panic!("the plant ended: {:?}", child.wait())).unwrap();
        ports.extend(line.strip_prefix("serial line: ").and_then(|l| Some(l.split_once(" at ")?.0.to_owned())));
    }
    PlantProcess { _child: Killed(child), site: Site { dir }, ports }
}

/// The names of a line's tags.
fn tags_of_line(site: &Site, line: usize) -> Vec<String> {
    let text = std::fs::read_to_string(site.path().join(format!("tags/line{line}.json"))).unwrap();
    let file: Json = serde_json::from_str(&text).unwrap();
    file["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_line_of_the_plant_is_read_by_the_program_and_by_mbpoll() {
    let plant = plant(1, &[]);
    let tags = tags_of_line(&plant.site, 0);
    assert_eq!(tags.len(), 32, "four units with eight tags each");
    let (code, out, err) = plant.site.command("check", &[]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = plant.site.command("read", &[&tags[0]]);
    assert!(code == 0 && out.contains("Good"), "{out}{err}");
    // One master at a time: the program has let go of it.
    let port = &plant.ports[0];
    let options = ["-m", "rtu", "-b", "115200", "-P", "none", "-a", "1", "-t", "4", "-0", "-r", "0", "-c", "4", "-1"];
    let (ok, text) = peers::output_of("mbpoll", "mbpoll", &[&options[..], &[port]].concat());
    assert!(ok && (0..4).all(|at| text.contains(&format!("[{at}]:"))), "{text}");
    let ended = plant.site.run(&["--seconds", "5"]).end();
    ended.assert_clean();
    let link = &ended.report["links"]["line0"];
    // Four requests a second; a machine that gives the plant no CPU for a second makes it silent so long.
    assert!(link["replies"].as_u64().unwrap() >= 12, "{link}");
    for count in ["crc_errors", "garbage", "foreign", "short_frames"] {
        assert_eq!(link[count], 0, "{count}: {link}");
    }
    let stored = plant.site.samples();
    assert!(tags.iter().all(|tag| stored.last(tag).status == Status::GOOD));
}

#[test]
fn every_fault_of_a_line_shows_as_what_it_is_and_passes() {
    let faults = ["silence", "garbage", "wrong-crc", "wrong-unit", "half-frame", "noise", "unplug", "exceptions=4"];
    let scheduled: Vec<String> = faults.iter().enumerate().map(|(i, kind)| format!("line{i}:{kind}@4..8")).collect();
    let arguments: Vec<&str> = scheduled.iter().flat_map(|fault| ["--fault", fault]).collect();
    let plant = plant(faults.len() + 1, &arguments);
    let ended = plant.site.run(&["--seconds", "24"]).end();
    ended.assert_clean();
    let of = |line: usize, count: &str| ended.report["links"][format!("line{line}")][count].as_u64().unwrap();
    for (line, count) in [
        (0, "timeouts"),
        (1, "garbage"),
        (2, "crc_errors"),
        // Its first bytes, which come before the rest, are nobody's.
        (3, "garbage"),
        (4, "short_frames"),
        (5, "garbage"),
        (6, "reconnects"),
        (7, "exceptions"),
    ] {
        assert!(of(line, count) > 0, "{}: {count}: {}", faults[line], ended.report["links"][format!("line{line}")]);
    }
    let spoilt = ["crc_errors", "garbage", "foreign", "short_frames", "reconnects"].map(|count| of(8, count));
    assert_eq!(spoilt, [0; 5], "the others are left alone");
    assert!(ended.log.contains("is the adapter plugged in?"), "{}", ended.log);
    let stored = plant.site.samples();
    for (line, fault) in faults.iter().chain(&["none"]).enumerate() {
        for tag in tags_of_line(&plant.site, line) {
            assert_eq!(stored.last(&tag).status, Status::GOOD, "{tag} after {fault}");
        }
    }
}

#[test]
fn a_fault_that_no_line_can_have_is_told() {
    for (fault, told) in [
        ("line3:silence", "there is no line 3 for a fault; allowed: line0 to line0, or line*"),
        ("line0:refuse", "refuse is not supported there"),
        ("0:unplug", "unplug is not supported there"),
        ("lineX:silence", "is not a device: give its number from 0, or * for all; line0 or line* for serial lines"),
    ] {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["plant", "--serial", "1", "--fault", fault, "--config"]).arg(dir.path());
        let out = command.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(2) && text.contains(told), "{fault}: {text}");
    }
}
