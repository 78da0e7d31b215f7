//! `fieldbeat write` and `fieldbeat audit`.

use std::process::Command;
use std::time::{Duration, Instant};

use fieldbeat::command::Reason;
use serde_json::json;

use crate::peers::Server;
use crate::rig::http_get;
use crate::site::{Mute, audit, coil, register, run, site};

#[test]
fn values_of_every_type_reach_the_device() {
    let (server, mute) = (Server::pymodbus(), Mute::new());
    let site = site(&server, &mute, "");
    let mut running = run(&site);
    let before = register(&server, 30);
    let (code, out, err) = site.command("write", &["setpoint", "321"]);
    assert_eq!((code, err.as_str()), (0, ""), "{}", running.log());
    assert!(out.starts_with(&format!("setpoint: {before} -> 321 done in ")) && out.ends_with(" ms\n"), "{out}");
    assert_eq!(register(&server, 30), 321);
    let (code, out, err) = site.command("write", &["speed", "-12.5"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("-> -12.5 done, read back -12.5 in "), "{out}");
    assert_eq!((register(&server, 32), register(&server, 33)), (0xC148, 0));
    for value in ["true", "false", "1"] {
        assert_eq!(site.command("write", &["valve", value, "--read-back"]).0, 0);
        assert_eq!(coil(&server, 5), value != "false");
    }
    assert_eq!(site.command("write", &["label", "7 up", "--read-back"]).0, 0);
    assert_eq!(register(&server, 38), u16::from_be_bytes(*b"7 "));
    let (code, out, _) = site.command("write", &["setpoint", "5", "--json", "--id", "abc"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &answer["outcome"], &answer["id"], &answer["new"]),
        (0, &json!("done"), &json!("abc"), &json!(5))
    );
    // The same id again is the same write.
    let (code, out, _) = site.command("write", &["setpoint", "5", "--id", "abc"]);
    assert!(code == 0 && out.contains("nothing was written now"), "{out}");
    let metrics = http_get(&running.metrics(), "/metrics").1;
    assert!(metrics.contains("fieldbeat_writes_total{way=\"socket\",outcome=\"done\"} 7"), "{metrics}");
    let ended = running.stop();
    ended.assert_clean();
    let audit = audit(&site);
    assert_eq!(audit.len(), 7);
    assert_eq!(
        (&audit[0]["tag"], &audit[0]["old"], &audit[0]["new"]),
        (&json!("setpoint"), &json!(before), &json!(321))
    );
    assert!(audit.iter().all(|record| record["outcome"] == "done" && record["way"] == "socket"));
    assert!(audit[0]["who"].as_str().unwrap().contains("(uid "));
    assert!(audit[0]["from"].as_str().unwrap().starts_with("process "));
}

#[test]
fn what_is_not_allowed_is_refused_with_what_is() {
    let (server, mute) = (Server::pymodbus(), Mute::new());
    let site = site(&server, &mute, "");
    let running = run(&site);
    let before = (register(&server, 30), register(&server, 36));
    for (args, reason, told) in [
        (&["setpoynt", "1"][..], Reason::UnknownTag, "did you mean \"setpoint\"?"),
        (&["level", "1"], Reason::ReadOnly, "allowed: tags with \"write\" in their file"),
        (&["setpoint", "fast"], Reason::WrongType, "allowed: a number"),
        (&["setpoint", "1.5"], Reason::WrongType, "allowed: a whole number"),
        (&["setpoint", "1001"], Reason::OutOfRange, "allowed: 0 to 1000"),
        // By the tag's limits, not by those of its type.
        (&["setpoint", "-1"], Reason::OutOfRange, "the value is -1; allowed: 0 to 1000"),
        (&["setpoint", "70000"], Reason::OutOfRange, "the value is 70000; allowed: 0 to 1000"),
        (&["speed", "NaN"], Reason::WrongType, "allowed: a number"),
        (&["valve", "2"], Reason::WrongType, "allowed: true or false"),
        (&["label", "123456789"], Reason::OutOfRange, "allowed: at most 8"),
        (&["step", "30000"], Reason::StepTooLarge, "allowed: 10 in one write"),
    ] {
        let (code, out, err) = site.command("write", args);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}: {err}");
        assert!(err.contains(told) && err.contains(reason.word()), "{args:?}: {err}");
    }
    assert_eq!(site.command("write", &["rare", "1"]).0, 0);
    let (code, _, err) = site.command("write", &["rare", "2"]);
    assert!(code == 1 && err.contains("(too_fast)"), "{err}");
    assert_eq!(site.command("write", &["setpoint", "1", "--timeout", "5"]).0, 2);
    assert_eq!(site.command("write", &["setpoint"]).0, 2);
    assert_eq!((register(&server, 30), register(&server, 36), register(&server, 35)), (before.0, before.1, 1));
    running.stop().assert_clean();
    let audit = audit(&site);
    assert_eq!(audit.iter().filter(|record| record["outcome"] == "refused").count(), 12);
}

#[test]
fn devices_that_fail_are_told_in_bounded_time() {
    let (server, mute) = (Server::pymodbus(), Mute::new());
    let site = site(&server, &mute, "");
    let running = run(&site);
    for (tag, word) in [("mute.t", "mute.t: - "), ("gone.t", "(no_connection)"), ("beyond", "(device_refused)")] {
        let start = Instant::now();
        let (code, _, err) = site.command("write", &[tag, "7"]);
        assert_eq!(code, 3, "{err}");
        assert!(err.contains(word), "{tag}: {err}");
        assert!(start.elapsed() < Duration::from_secs(3), "{tag}: {:?}", start.elapsed());
    }
    // The others are not held up meanwhile.
    let slow = std::thread::scope(|scope| {
        let slow = scope.spawn(|| site.command("write", &["mute.t", "8", "--timeout", "3000"]));
        std::thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        assert_eq!(site.command("write", &["setpoint", "12"]).0, 0);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        slow.join().unwrap()
    });
    assert_eq!(slow.0, 3, "{}", slow.2);
    running.stop().assert_clean();
}

#[test]
fn without_a_gateway_or_a_right_to_it_the_command_says_what_to_do() {
    let (server, mute) = (Server::pymodbus(), Mute::new());
    let site = site(&server, &mute, "");
    let (code, _, err) = site.command("write", &["setpoint", "1"]);
    assert!(code == 3 && err.contains("no gateway answers at") && err.contains("fieldbeat run"), "{err}");
    let (code, _, err) = site.command("audit", &[]);
    assert!(code == 3 && err.contains("there is no journal"), "{err}");
    let running = run(&site);
    // As somebody else, where the test may become somebody else.
    let socket = site.path().join("journal/control.sock");
    std::fs::set_permissions(site.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut other = Command::new("setpriv");
    other.args(["--reuid", "65534", "--clear-groups"]).arg(crate::rig::PROGRAM);
    let out = other.args(["write", "--socket"]).arg(&socket).args(["setpoint", "1"]).output().unwrap();
    let err = String::from_utf8_lossy(&out.stderr);
    if !err.contains("setresuid failed") && !err.contains("Operation not permitted") {
        assert_eq!(out.status.code(), Some(3), "{err}");
        assert!(err.contains("no permission") && err.contains("control.group"), "{err}");
    }
    running.stop().assert_clean();
    assert!(!socket.exists());
}
