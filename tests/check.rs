//! `fieldbeat check` as people and scripts see it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use fieldbeat::plant::{Fault, GatewaySettings, Plant, PlantConfig};
use fieldbeat::tag::Nanos;
use tempfile::TempDir;

fn plant() -> Plant {
    Plant::start(PlantConfig { devices: 2, ..PlantConfig::default() }).unwrap()
}

/// A folder with the plant's configuration.
fn site(plant: &Plant) -> TempDir {
    let dir = TempDir::new().unwrap();
    let settings = GatewaySettings {
        timeout: Nanos::from_millis(100),
        journal_path: Some("journal".into()),
        metrics_listen: Some("off".into()),
        ..GatewaySettings::default()
    };
    plant.write_config(dir.path(), &settings).unwrap();
    dir
}

/// Exit code, standard output, standard error.
fn check(site: &TempDir, more: &[&str]) -> (i32, String, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_fieldbeat"));
    let out = program.arg("check").arg("--config").arg(site.path()).args(more).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

/// A device that has registers from offset 40000 on, and refuses all others.
fn device_that_counts_from_zero() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 12];
                while stream.read_exact(&mut request).is_ok() {
                    let word = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
                    let (first, bytes) = (word(8), 2 * word(10));
                    let pdu = match first {
                        40_000.. => [vec![3, bytes as u8], vec![1; usize::from(bytes)]].concat(),
                        _ => vec![0x83, 2],
                    };
                    let length = (pdu.len() as u16 + 1).to_be_bytes();
                    let reply = [&request[..4], &length, &request[6..7], &pdu].concat();
                    if stream.write_all(&reply).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

#[test]
fn check_tells_how_references_are_counted_and_finds_a_device_that_counts_from_zero() {
    let site = TempDir::new().unwrap();
    std::fs::create_dir(site.path().join("tags")).unwrap();
    std::fs::write(site.path().join("fieldbeat.toml"), "[gateway]\nid = \"g\"\n[journal]\npath = \"journal\"\n")
        .unwrap();
    let file = site.path().join("tags/a.json");
    let text = format!(
        r#"{{"links": [{{"name": "inv", "protocol": "modbus_tcp", "host": "127.0.0.1", "port": {}}}], "tags": [
        {{"name": "amps", "address": "inv:1:3:40072", "data_type": "uint16", "scan_rate_ms": 100}},
        {{"name": "maker", "address": "inv:1:3:40004:16", "data_type": "string", "scan_rate_ms": 1000}}]}}"#,
        device_that_counts_from_zero()
    );
    std::fs::write(&file, &text).unwrap();
    let (code, out, err) = check(&site, &["--learn", "--seconds", "2"]);
    assert_eq!(code, 1, "neither tag can be read: {out}{err}");
    assert!(out.contains("note: references of link \"inv\" count from 1: 40072 is read at offset 71"), "{out}");
    assert!(
        err.contains(
            "40004 looks like a SunSpec address, which counts from 0: used as the offset 3; set \
            \"addressing\""
        ),
        "{err}"
    );
    let found = "a.json:1: link \"inv\": warning: the device counts from 0: it refuses offset 71, the reference \
        40072 of tag \"amps\", and answers at offset 40072 (so 2 of 2 refused tags); write \"addressing\": \"raw\"";
    assert!(out.contains(found), "{out}");
    std::fs::write(&file, text.replace("\"host\"", "\"addressing\": \"raw\", \"host\"")).unwrap();
    let (code, out, err) = check(&site, &["--learn", "--seconds", "1"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(!out.contains("counts from 0") && !out.contains("note: references"), "{out}");
}

#[test]
fn an_output_whose_files_are_wrong_stops_neither_check_nor_run() {
    let site = site(&plant());
    let toml = site.path().join("fieldbeat.toml");
    let text = std::fs::read_to_string(&toml).unwrap();
    let output = "[outputs.cloud]\ntype = \"mqtt\"\nurl = \"mqtts://127.0.0.1:1\"\nca = \"no-such-ca.pem\"\n";
    std::fs::write(&toml, format!("{text}\n{output}")).unwrap();
    let (code, out, err) = check(&site, &[]);
    assert!(code == 0 && err.contains("warning: output \"cloud\": ") && err.contains("no-such-ca.pem"), "{out}{err}");
    let mut run = Command::new(env!("CARGO_BIN_EXE_fieldbeat"));
    let run = run.arg("run").arg("--config").arg(site.path()).args(["--seconds", "1"]).output().unwrap();
    let log = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && log.contains("output \"cloud\": ") && log.contains("running: "), "{log}");
}

#[test]
fn check_shows_what_it_reckons_with_and_the_worst_slots() {
    let site = site(&plant());
    let (code, out, err) = check(&site, &[]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("calculated with (measured on this machine): request "), "{out}");
    assert!(out.trim_end().ends_with("ok: it fits"), "{out}");
    for line in out.lines().filter(|line| line.starts_with("dev") && line.contains(" % ")) {
        let slot = line.split(" %  ").nth(1).unwrap_or_else(|| panic!("{line}"));
        let number = |text: &str| text.trim().trim_end_matches(" ms").parse::<f64>().unwrap();
        let (takes, rest) = slot.split_once(" of ").unwrap();
        let (of, most) = (rest.split(" at +").next().unwrap(), slot.rsplit("at most ").next().unwrap());
        assert!(0.0 < number(takes) && number(takes) <= number(most) && number(most) < number(of), "{line}");
    }
    assert_eq!(out.lines().filter(|line| line.contains(", at most ")).count(), 2, "{out}");
}

#[test]
fn check_that_learns_tells_what_to_write_for_a_device_that_is_slower_than_declared() {
    let plant = plant();
    let site = site(&plant);
    plant.set_fault(1, Some(Fault::Delay(20)));
    let (code, out, err) = check(&site, &["--learn", "--seconds", "2"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let hint = |link: &str| out.lines().find(|line| line.contains(&format!("link \"{link}\": "))).map(str::to_owned);
    let table = &out[out.find("reply times: link").unwrap()..];
    let slow: Vec<&str> = table.lines().find(|line| line.starts_with("dev1 ")).unwrap().split_whitespace().collect();
    let [_, replies, declared, p50, p99, max, ..] = slow[..] else { panic!("{out}") };
    let number = |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("{text}: {out}"));
    assert!(number(replies) >= 10.0 && number(declared) == 0.1, "{out}");
    assert!(20.0 <= number(p50) && number(p50) <= number(p99) && number(p99) <= number(max), "{out}");
    let hint = hint("dev1").unwrap_or_else(|| panic!("{out}"));
    assert!(hint.contains("dev1.json:") && hint.contains("does not fit"), "{hint}");
    let advised = number(hint.rsplit("\"expected_reply_ms\": ").next().unwrap());
    assert!(advised >= number(p99) && advised <= number(p99) * 1.11 + 0.001, "{hint}: {out}");

    plant.set_fault(1, Some(Fault::Silence));
    let (code, out, err) = check(&site, &["--learn", "--seconds", "1"]);
    assert_eq!(code, 1, "{out}");
    assert!(err.contains("link \"dev1\": ") && !err.contains("dev0") && !out.contains("ok: it fits"), "{out}{err}");
}

#[test]
fn what_does_not_fit_is_refused_with_the_rate_that_would() {
    let plant = plant();
    let site = site(&plant);
    let file = site.path().join("tags/dev0.json");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"expected_reply_ms\": 0.1,"), "{text}");
    std::fs::write(&file, text.replace("\"expected_reply_ms\": 0.1,", "\"expected_reply_ms\": 90,")).unwrap();
    let (code, out, err) = check(&site, &[]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("dev0.json:") && err.contains("no rate is possible beside the other work"), "{err}");
    // The devices are asked all the same, since that tells what to declare.
    let (code, out, err) = check(&site, &["--learn", "--seconds", "1"]);
    assert_eq!(code, 2, "{err}");
    assert!(
        out.contains("link \"dev0\": note: answers much faster than declared; write \"expected_reply_ms\": "),
        "{out}"
    );
    assert!(!out.contains("ok: it fits"), "{out}");
}
