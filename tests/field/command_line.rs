//! `read` and `tail` as people and scripts see them.

use std::time::Duration;

use fieldbeat::plant::{Fault, GatewaySettings, Plant, PlantConfig, PlantTag};
use fieldbeat::tag::{Nanos, Value};

use crate::rig::{Site, wait_until};

fn plant() -> Plant {
    Plant::start(PlantConfig { devices: 2, ..PlantConfig::default() }).unwrap()
}

fn settings() -> GatewaySettings {
    GatewaySettings {
        journal_path: Some("journal".into()),
        journal_bytes_max: Some(64 << 20),
        metrics_listen: Some("off".into()),
        timeout: Nanos::from_millis(100),
        ..GatewaySettings::default()
    }
}

fn now() -> Nanos {
    fieldbeat::rt::monotonic_now()
}

/// Whether a tag had this value, as it is printed, at some time between two.
fn was(plant: &Plant, tag: &PlantTag, printed: &str, from: Nanos, to: Nanos) -> bool {
    (from.0..=to.0 + 1_000_000).step_by(1_000_000).any(|t| plant.expected_value(tag, Nanos(t)).to_string() == printed)
}

#[test]
fn read_prints_value_unit_quality_and_age() {
    let plant = plant();
    let site = Site::of(&plant, &settings());
    let tags: Vec<&PlantTag> = plant.tags().iter().filter(|t| t.device == 0).collect();
    let names: Vec<&str> = tags.iter().map(|t| t.name.as_str()).collect();
    let before = now();
    let (code, out, err) = site.command("read", &names);
    let after = now();
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(out.lines().count(), tags.len());
    for (line, tag) in out.lines().zip(tags) {
        let columns: Vec<&str> = line.rsplitn(3, "  ").collect();
        let [age, status, head] = columns[..] else { panic!("{line}") };
        let shown = head.strip_prefix(&*tag.name).unwrap().trim_start();
        let value = match tag.unit_text {
            "" => shown,
            unit => shown.strip_suffix(&format!(" {unit}")).unwrap_or_else(|| panic!("no unit: {line}")),
        };
        assert_eq!(status, "Good", "{line}");
        let age: f64 = age.strip_suffix(" ms ago").unwrap().parse().unwrap();
        assert!(age >= 0.0 && age * 1e6 < (after - before).0 as f64, "{line}");
        assert!(was(&plant, tag, value, before, after), "{line}");
    }
}

#[test]
fn read_says_what_it_could_not_read_and_fails() {
    let plant = plant();
    let site = Site::of(&plant, &settings());
    let name = |device: usize| plant.tags().iter().find(|t| t.device == device).unwrap().name.as_str();
    for (fault, status, says) in [
        (Fault::Exceptions(4), "BadDeviceFailure", ""),
        (Fault::Silence, "BadNoCommunication", ""),
        (Fault::Refuse, "BadNoCommunication", "connect"),
        (Fault::Garbage, "BadNoCommunication", "not of the link's protocol"),
    ] {
        plant.set_fault(1, Some(fault));
        let (code, out, err) = site.command("read", &[name(0), name(1)]);
        assert_eq!(code, 1, "{fault}: {out}{err}");
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].starts_with(name(0)) && lines[0].contains("  Good  "), "{fault}: {out}");
        assert!(
            lines[1].starts_with(name(1)) && lines[1].contains(&format!("  -  {status}  never read")),
            "{fault}: {out}"
        );
        assert!(err.contains(says) && (says.is_empty() || err.contains("link \"dev1\"")), "{fault}: {err}");
        plant.set_fault(1, None);
    }
}

#[test]
fn read_knows_which_names_are_near() {
    let plant = plant();
    let site = Site::of(&plant, &settings());
    let (code, out, err) = site.command("read", &["dev0.drive0"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("no tag \"dev0.drive0\"") && err.contains("dev0.drive0.status"), "{err}");
    let (code, out, _) = site.command("read", &[]);
    assert_eq!((code, out.as_str()), (2, ""), "nothing to read is a wrong command line");
}

#[test]
fn tail_of_a_name_that_no_tag_has_ends_at_once_with_names_that_are_near() {
    let plant = plant();
    let site = Site::of(&plant, &settings());
    let gateway = site.run(&["--seconds", "2"]);
    gateway.end().assert_clean();
    let (code, out, err) = site.command("tail", &["dev0.drive0.statsu", "--lines", "5"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(
        err.contains("error: there is no tag \"dev0.drive0.statsu\"") && err.contains("dev0.drive0.status"),
        "{err}"
    );
    let (code, _, err) = site.command("tail", &["dev7.*", "--from-start", "--lines", "5"]);
    assert!(code == 1 && err.contains("error: there is no tag \"dev7.*\""), "{err}");
    // A right one among them is followed.
    let fast = |device: &str| plant.tags().iter().find(|tag| tag.name == format!("{device}.drive0.status")).unwrap();
    let tag = &fast("dev0").name;
    let (code, out, err) = site.command("tail", &["dev7.x", tag, "--from-start", "--lines", "5"]);
    assert_eq!((code, out.lines().count()), (0, 5), "{err}");
    assert!(err.contains("warning: there is no tag \"dev7.x\""), "{err}");
    // Of a tag that is gone from the files, the journal still has what there was.
    std::fs::remove_file(site.path().join("tags/dev1.json")).unwrap();
    let (code, out, err) = site.command("tail", &[&fast("dev1").name, "--from-start", "--lines", "5"]);
    assert_eq!((code, out.lines().count(), err.as_str()), (0, 5, ""));
}

#[test]
fn tail_follows_a_running_gateway_and_shows_a_held_value_with_its_old_time() {
    let plant = plant();
    let site = Site::of(&plant, &settings());
    let mut gateway = site.run(&[]);
    gateway.wait_for("running:");
    let tag = plant.tags().iter().find(|t| t.name.starts_with("dev1.drive0.speed")).unwrap();
    wait_until("the journal has something", Duration::from_secs(5), || {
        site.command("tail", &["--from-start", "--lines", "1"]).1.lines().count() == 1
    });
    let (code, out, _) = site.command("tail", &[&tag.name, "--lines", "25"]);
    assert_eq!((code, out.lines().count()), (0, 25));
    let mut last = "";
    for line in out.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [time, name, value, unit, status] = fields[..] else { panic!("{line}") };
        assert_eq!((name, unit, status), (&*tag.name, "rpm", "Good"));
        assert!(value.parse::<f64>().is_ok() && time > last && time.ends_with('Z'), "{line}");
        last = time;
    }
    let (_, out, _) = site.command("tail", &["dev0.*", "--lines", "200"]);
    assert!(out.lines().count() == 200 && out.lines().all(|line| line.contains(" dev0.")));

    plant.set_fault(1, Some(Fault::Silence));
    std::thread::sleep(Duration::from_millis(1500));
    let ended = gateway.stop();
    ended.assert_clean();
    let (_, out, _) = site.command("tail", &[&tag.name, "--from-start", "--lines", "10"]);
    assert_eq!(out.lines().count(), 10, "a journal that nobody writes can be read");
    let stored = site.samples();
    let all = &stored.tags[&tag.name];
    let good = all.iter().rev().find(|s| s.status.is_good()).unwrap();
    let held: Vec<_> = all.iter().filter(|s| !s.status.is_good()).collect();
    assert!(!held.is_empty() && held.last().unwrap().status == fieldbeat::tag::Status::BAD_NO_COMMUNICATION);
    for seen in held {
        assert_eq!((seen.time, &seen.value), (good.time, &good.value), "held: the old value with its old time");
        assert!(matches!(seen.value, Some(Value::Int(_))));
    }
    let lines = all.len().to_string();
    let (_, out, _) = site.command("tail", &[&tag.name, "--from-start", "--lines", &lines]);
    let times: Vec<&str> = out.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let bad = out.lines().last().unwrap();
    assert!(bad.ends_with("BadNoCommunication"), "{bad}");
    assert_eq!(bad.split(' ').next(), times.iter().max().copied(), "the time of the last value, not of the status");
}

#[test]
fn a_command_that_prints_ends_quietly_when_nobody_reads_on() {
    for command in ["schema", "doctor"] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_fieldbeat"))
            .arg(command)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!text.contains("panicked"), "{command}: {text}");
    }
}
