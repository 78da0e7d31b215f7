//! Modbus RTU and ASCII as people use them: the whole program on pseudo terminals, against servers that others wrote,
//! and against ports that are not there, busy, or none.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

#[path = "../field/contents.rs"]
mod contents;
mod line;
#[path = "../peers/mod.rs"]
mod peers;
mod plant;
#[path = "../field/rig.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod rig;

use std::time::Duration;

use fieldbeat::tag::Status;
use serde_json::{Value as Json, json};

use contents::{assert_contents, is_of_unit, one_register, tags_of};
use line::Line;
use peers::Server;
use rig::Site;

const TOML: &str = "[gateway]\nid = \"serial\"\n[journal]\npath = \"journal\"\nmax_bytes = \"256MiB\"\n\
                    [metrics]\nlisten = \"off\"\n";

fn link(name: &str, port: &std::path::Path, more: &Json) -> Json {
    let mut link = json!({ "name": name, "protocol": "modbus_rtu", "port": port, "baudrate": 3_000_000, "parity": "N",
                           "timeout_ms": 300, "expected_reply_ms": 1, "addressing": "raw" });
    link.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    link
}

fn slower(mut tags: Vec<Json>) -> Vec<Json> {
    tags.iter_mut().for_each(|tag| tag["scan_rate_ms"] = 1000.into());
    tags
}

#[test]
fn pymodbus_and_libmodbus_are_read_right_in_every_type_order_and_table() {
    let contents = peers::contents();
    let lines = [Line::new(), Line::new(), Line::new()];
    let _servers = [
        Server::pymodbus_on(lines[0].device(), "rtu"),
        Server::pymodbus_on(lines[1].device(), "ascii"),
        Server::libmodbus_on(lines[2].device()),
    ];
    let names = ["rtu", "ascii", "lib"];
    let mut tags = Vec::new();
    for name in names {
        let mut all = tags_of(name, &contents);
        if name == "lib" {
            let of_unit_1 = |tag: &Json| tag["address"].as_str().unwrap().starts_with("lib:1:");
            all.retain(of_unit_1);
        }
        let end = contents["units"]["1"]["holding_registers"].as_array().unwrap().len();
        all.push(one_register(format!("{name}.edge.last"), name, 1, 3, end - 1));
        all.push(one_register(format!("{name}.edge.beyond"), name, 1, 3, end + 1));
        all.push(one_register(format!("{name}.nobody"), name, 77, 3, 0));
        tags.extend(slower(all));
    }
    let ascii = json!({ "framing": "ascii", "data_bits": 8, "expected_reply_ms": 2 });
    let links = [
        link("rtu", lines[0].port(), &json!({})),
        link("ascii", lines[1].port(), &ascii),
        link("lib", lines[2].port(), &json!({})),
    ];
    let site = Site::with_tags(TOML, &json!({ "links": links, "tags": tags }));
    let ended = site.run(&["--seconds", "12"]).end();
    ended.assert_clean();
    let stored = site.samples();
    assert_contents("rtu", &contents, None, &stored);
    assert_contents("ascii", &contents, None, &stored);
    assert!(contents["tags"].as_array().unwrap().iter().any(|tag| is_of_unit(tag, 1)));
    assert_contents("lib", &contents, Some(1), &stored);
    for name in names {
        let status = |at: &str| stored.last(&format!("{name}.{at}")).status;
        assert_eq!(status("edge.last"), Status::GOOD, "{name}");
        assert_eq!(status("edge.beyond"), Status::BAD_CONFIGURATION_ERROR, "{name}");
        assert_eq!(status("nobody"), Status::BAD_NO_COMMUNICATION, "{name}: a unit that is not there is silent");
        let of = |key: &str| ended.report["links"][name][key].as_u64().unwrap();
        assert!(of("timeouts") >= 3, "{name}");
        assert_eq!((of("crc_errors"), of("garbage")), (0, 0), "{name}");
    }
}

/// A line of one register, once a tenth of a second.
fn one_tag(port: &std::path::Path, more: &Json) -> Site {
    let tag = json!({ "name": "t", "address": "l:1:3:0", "data_type": "uint16", "scan_rate_ms": 100 });
    Site::with_tags(TOML, &json!({ "links": [link("l", port, more)], "tags": [tag] }))
}

#[test]
fn a_port_that_is_pulled_out_and_plugged_in_again_goes_on() {
    let mut line = Line::new();
    let server = Server::pymodbus_on(line.device(), "rtu");
    let site = one_tag(line.port(), &json!({}));
    let mut running = site.run(&["--seconds", "30"]);
    running.wait_for("link \"l\": connected");
    std::thread::sleep(Duration::from_secs(1));
    drop(server);
    line.pull();
    running.wait_for("does not exist; is the adapter plugged in?");
    line.plug();
    let _server = Server::pymodbus_on(line.device(), "rtu");
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while running.log().matches("connected").count() < 2 {
        assert!(std::time::Instant::now() < end, "{}", running.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(2));
    let ended = running.stop();
    ended.assert_clean();
    let stored = site.samples();
    assert_eq!(stored.last("t").status, Status::GOOD, "{}", ended.log);
    assert!(ended.report["links"]["l"]["reconnects"].as_u64().unwrap() >= 1);
}

/// Frames of RTU through a socket, as serial servers have them.
#[test]
fn pymodbus_is_read_right_by_rtu_over_tcp() {
    let contents = peers::contents();
    let server = Server::pymodbus_rtu_over_tcp();
    let link = json!({ "name": "server", "protocol": "modbus_rtu_tcp", "host": "127.0.0.1", "port": server.port,
                       "timeout_ms": 300, "expected_reply_ms": 2, "addressing": "raw" });
    let mut tags = slower(tags_of("server", &contents));
    tags.push(slower(vec![one_register("server.nobody".into(), "server", 77, 3, 0)]).remove(0));
    let site = Site::with_tags(TOML, &json!({ "links": [link], "tags": tags }));
    let ended = site.run(&["--seconds", "10"]).end();
    ended.assert_clean();
    let stored = site.samples();
    assert_contents("server", &contents, None, &stored);
    assert_eq!(stored.last("server.nobody").status, Status::BAD_NO_COMMUNICATION);
    let of = |key: &str| ended.report["links"]["server"][key].as_u64().unwrap();
    assert_eq!((of("crc_errors"), of("garbage"), of("foreign")), (0, 0, 0));
}

#[test]
fn of_two_gateways_on_one_port_the_second_says_who_has_it_and_waits_its_turn() {
    let line = Line::new();
    let _server = Server::pymodbus_on(line.device(), "rtu");
    let (first, second) = (one_tag(line.port(), &json!({})), one_tag(line.port(), &json!({})));
    let mut one = first.run(&["--seconds", "60"]);
    one.wait_for("link \"l\": connected");
    let mut two = second.run(&["--seconds", "60"]);
    let told = two.wait_for("is busy: ");
    assert!(told.contains(&format!("fieldbeat (process {}) has it", one.pid())), "{told}");
    std::thread::sleep(Duration::from_secs(2));
    assert!(!two.log().contains("connected"), "{}", two.log());
    let ended = one.stop();
    ended.assert_clean();
    let of = |key: &str| ended.report["links"]["l"][key].as_u64().unwrap();
    assert!(of("replies") > 10);
    assert_eq!((of("garbage"), of("crc_errors"), of("timeouts"), of("foreign")), (0, 0, 0, 0), "nobody spoke between");
    two.wait_for("link \"l\": connected");
    two.stop().assert_clean();
}

#[test]
fn a_port_that_cannot_be_used_says_what_to_do() {
    let line = Line::new();
    // Another program has it, by the lock that such programs set.
    let busy = line.take();
    let site = one_tag(line.port(), &json!({}));
    let mut running = site.run(&["--seconds", "20"]);
    running.wait_for("has it open; stop it, or use another port");
    drop(busy);
    running.wait_for("link \"l\": connected");
    assert_eq!(running.stop().code, 0);

    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "no port").unwrap();
    let kernel = json!({ "rs485": { "rts": "kernel" } });
    let manual = json!({ "rs485": { "rts": "manual" } });
    for (port, more, told) in [
        (dir.path().join("nothing").as_path(), json!({}), "does not exist; is the adapter plugged in?"),
        (file.as_path(), json!({}), "is not a serial port; check"),
        (line.port(), kernel, "does not switch RS-485"),
        (line.port(), manual, "has no RTS line"),
    ] {
        let site = one_tag(port, &more);
        let mut running = site.run(&["--seconds", "20"]);
        running.wait_for(told);
        assert_eq!(running.stop().code, 0);
    }
}

#[test]
fn an_impossible_line_is_refused_before_it_runs() {
    let line = Line::new();
    for (more, told) in [
        (json!({ "baudrate": 300 }), "baudrate is 300; allowed: a whole number from 1200 to 3000000 baud"),
        (json!({ "data_bits": 7 }), "data_bits is 7, but RTU needs 8"),
        (json!({ "parity": "X" }), "parity \"X\" is unknown; allowed: N, E, O"),
        (json!({ "port": "ttyS0" }), "port \"ttyS0\" is not an absolute path"),
        (json!({ "host": "10.0.0.1" }), "the key \"host\" is unknown"),
        // 15 characters of 10 bits and two silences are 187.5 ms at 1200 baud.
        (json!({ "baudrate": 1200 }), "ms each on the line at 1200 baud, need"),
    ] {
        let (code, out, err) = one_tag(line.port(), &more).command("check", &[]);
        assert_eq!(code, 2, "{more}: {out}{err}");
        assert!(err.contains(told), "{more}: {err}");
    }
    let (code, out, err) = one_tag(line.port(), &json!({ "baudrate": 9600 })).command("check", &[]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("ok: it fits"), "{out}");
}
