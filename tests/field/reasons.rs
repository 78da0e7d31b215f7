//! Devices that answer, but not as they are asked: log, health, metrics, `read` and `check --learn` each say how, and
//! which key tolerates it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::rig::{Site, http_get, wait_until};

/// What a device does with a request; `None`: it stays silent.
type Manner = fn(&[u8]) -> Option<Vec<u8>>;

/// The right answer: each register holds its own address.
fn honest(request: &[u8]) -> Vec<u8> {
    let word = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
    let (first, count) = (word(8), word(10));
    let bytes = (count * 2) as u8;
    let mut reply = vec![request[0], request[1], 0, 0, 0, 3 + bytes, request[6], request[7], bytes];
    reply.extend((first..first + count).flat_map(u16::to_be_bytes));
    reply
}

fn exception(request: &[u8], code: u8) -> Vec<u8> {
    vec![request[0], request[1], 0, 0, 0, 3, request[6], request[7] | 0x80, code]
}

fn with(request: &[u8], bend: impl FnOnce(&mut Vec<u8>)) -> Option<Vec<u8>> {
    let mut reply = honest(request);
    bend(&mut reply);
    Some(reply)
}

fn serve(mut stream: TcpStream, manner: Manner, delay: Duration) {
    let _ = stream.set_nodelay(true);
    let mut request = [0; 12];
    while stream.read_exact(&mut request).is_ok() {
        let Some(reply) = manner(&request) else { continue };
        let mut stream = stream.try_clone().unwrap();
        // Each in its own time: a slow device takes the next request meanwhile.
        std::thread::spawn(move || {
            std::thread::sleep(delay);
            let _ = stream.write_all(&reply);
        });
    }
}

/// A device of its own on loopback, until the test's process ends; its port.
fn device(manner: Manner, delay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream, manner, delay));
        }
    });
    port
}

struct Case {
    name: &'static str,
    manner: Manner,
    delay_ms: u64,
    /// What is said of its tag.
    says: &'static str,
    /// The key that is named, and what makes the tag good.
    key: Option<(&'static str, Json)>,
}

const CASES: usize = 8;

fn cases() -> [Case; CASES] {
    let case = |name, manner, says, key| Case { name, manner, delay_ms: 0, says, key };
    let set = |key| Some((key, json!(true)));
    [
        case("unit", |r| with(r, |b| b[6] = 255), "answered with unit id 255 instead of 1", set("any_unit_id")),
        case("id", |r| with(r, |b| b[..2].fill(0)), "answered with transaction id 0", set("any_transaction_id")),
        case("function", |r| with(r, |b| b[7] = 4), "answered with function 4 instead of 3", set("any_read_function")),
        case(
            "length",
            |r| {
                with(r, |b| {
                    b.extend([0, 0]);
                    (b[5], b[8]) = (b[5] + 2, b[8] + 2);
                })
            },
            "answered with 4 bytes of values instead of 2",
            set("longer_replies"),
        ),
        Case {
            delay_ms: 350,
            ..case("late", |r| Some(honest(r)), "ms, later than timeout_ms", Some(("timeout_ms", json!(2_000))))
        },
        case("silent", |_| None, "no reply within timeout_ms", None),
        case("refused", |r| Some(exception(r, 2)), "exception 02 illegal data address", None),
        case("function01", |r| Some(exception(r, 1)), "exception 01 illegal function", None),
    ]
}

fn site(cases: &[Case], ports: &[u16], tolerant: bool) -> Site {
    let links: Vec<Json> = cases
        .iter()
        .zip(ports)
        .map(|(case, port)| {
            let mut link = json!({"name": case.name, "protocol": "modbus_tcp", "host": "127.0.0.1", "port": port,
                "addressing": "raw"});
            if let (true, Some((key, value))) = (tolerant, &case.key) {
                link[*key] = value.clone();
            }
            link
        })
        .collect();
    let tags: Vec<Json> = cases
        .iter()
        .map(|case| {
            json!({"name": format!("{}.tag", case.name), "address": format!("{}:1:3:7", case.name),
                "data_type": "uint16", "scan_rate_ms": 100})
        })
        .collect();
    let toml = "[gateway]\nid = \"g\"\n[realtime]\nadmission = \"warn\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
                [journal]\npath = \"journal\"\nmax_bytes = \"64MiB\"\n";
    Site::with_tags(toml, &json!({"links": links, "tags": tags}))
}

/// The sentence, and the key in quotation marks.
#[track_caller]
fn assert_says(case: &Case, text: &str) {
    let key = case.key.as_ref().map_or(String::new(), |(key, _)| format!("\"{key}\": "));
    let place = "unit 1, function 3 (holding registers), address 7, count 1: ";
    assert!(text.contains(case.says) && text.contains(&key), "{}: {text}", case.name);
    assert!(text.contains(place) && !text.contains("no replies"), "{}: {text}", case.name);
}

#[test]
fn each_manner_of_not_answering_as_asked_is_told_everywhere_with_the_key_that_tolerates_it() {
    let cases = cases();
    let ports: Vec<u16> = cases.iter().map(|case| device(case.manner, Duration::from_millis(case.delay_ms))).collect();
    let site_strict = site(&cases, &ports, false);
    let names: Vec<String> = cases.iter().map(|case| format!("{}.tag", case.name)).collect();

    let mut gateway = site_strict.run(&[]);
    let address = gateway.metrics();
    let health = || serde_json::from_str::<Json>(&http_get(&address, "/health").1).unwrap();
    let reason = |report: &Json, name: &str| {
        let bad = report["bad_tags"].as_array().unwrap().iter().find(|bad| bad["tag"] == name);
        bad.map_or(String::new(), |bad| bad["reason"].as_str().unwrap().to_owned())
    };
    for (case, name) in cases.iter().zip(&names) {
        wait_until(case.says, Duration::from_secs(20), || reason(&health(), name).contains(case.says));
        assert_says(case, &reason(&health(), name));
    }
    let report = health();
    assert_eq!((&report["status"], &report["tags"]["bad"]), (&"degraded".into(), &CASES.into()));
    let (_, metrics) = http_get(&address, "/metrics");
    for line in [
        "fieldbeat_tags{link=\"refused\",status=\"bad\"} 1.0",
        "fieldbeat_bad_tags{link=\"refused\",cause=\"exception\"} 1.0",
        "fieldbeat_link_unit_state{link=\"refused\",unit=\"1\",state=\"refused\"} 1.0",
        "fieldbeat_bad_tags{link=\"unit\",cause=\"other_unit\"} 1.0",
        "fieldbeat_link_unit_state{link=\"unit\",unit=\"1\",state=\"silent\"} 1.0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}\nis not in\n{metrics}");
    }
    for (case, name) in cases.iter().zip(&names) {
        let line = gateway.wait_for(&format!("\"{name}\" (address 7, count 1)"));
        assert!(line.contains("WARN") && line.contains(&format!("link \"{}\"", case.name)), "{line}");
        assert!(line.contains(case.says), "{line}");
    }
    let ended = gateway.stop();
    ended.assert_clean();
    for case in cases.iter().filter(|case| case.name != "silent") {
        let of_link = ended.log.lines().filter(|line| line.contains(&format!("link \"{}\"", case.name)));
        assert!(of_link.clone().all(|line| !line.contains("no replies")), "{}:\n{}", case.name, ended.log);
        assert!(of_link.filter(|line| line.contains(case.says)).count() <= 4, "thinned:\n{}", ended.log);
    }

    let named: Vec<&str> = names.iter().map(String::as_str).collect();
    let (code, out, err) = site_strict.command("read", &named);
    assert_eq!((code, out.lines().count()), (1, CASES), "{out}{err}");
    for (case, line) in cases.iter().zip(out.lines()) {
        assert!(line.starts_with(&format!("{}.tag", case.name)) && line.contains("never read: "), "{line}");
        assert_says(case, line);
    }

    let (code, out, err) = site_strict.command("check", &["--learn", "--seconds", "4"]);
    assert!(code == 1 && !out.contains("ok: it fits"), "{code}: {out}{err}");
    assert!(err.contains(&format!("{CASES} of {CASES} tags cannot be read")), "{err}");
    for case in &cases {
        let line = out.lines().find(|line| line.starts_with(&format!("{}.tag  Bad", case.name)));
        assert_says(case, line.unwrap_or_else(|| panic!("{}: {out}", case.name)));
    }
    assert!(!err.contains("no replies"), "{err}");

    // With the keys that were named, what was answered is good.
    let site = site(&cases, &ports, true);
    let (_, out, _) = site.command("read", &named);
    for (case, line) in cases.iter().zip(out.lines()).filter(|(case, _)| case.key.is_some()) {
        assert!(line.contains("  Good  ") && !line.contains("never read"), "{}: {line}", case.name);
    }
}

#[test]
fn a_refused_register_beside_others_is_named_and_its_end_is_told() {
    let manner: Manner = |request| {
        let first = u16::from_be_bytes([request[8], request[9]]);
        let has = (first..first + u16::from(request[11])).contains(&500);
        Some(if has { exception(request, 2) } else { honest(request) })
    };
    let port = device(manner, Duration::ZERO);
    let tag = |name: &str, register: u16| json!({"name": name, "address": format!("m:1:3:{register}"), "data_type": "uint16", "scan_rate_ms": 100});
    let link = |port: u16| json!([{"name": "m", "protocol": "modbus_tcp", "host": "127.0.0.1", "port": port, "addressing": "raw"}]);
    let tags = json!([tag("a", 7), tag("bad.addr", 500)]);
    let toml = "[gateway]\nid = \"g\"\n[realtime]\nadmission = \"warn\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
                [journal]\npath = \"journal\"\nmax_bytes = \"64MiB\"\n";
    let site = Site::with_tags(toml, &json!({"links": link(port), "tags": tags}));
    let mut gateway = site.run(&[]);
    let address = gateway.metrics();
    let line = gateway.wait_for("exception 02 illegal data address");
    assert!(
        line.contains("1 tag is bad (BadConfigurationError): unit 1, function 3") && line.contains("\"bad.addr\""),
        "{line}"
    );
    let report = http_get(&address, "/health").1;
    assert!(report.contains("1 of 2 tags are bad") && report.contains("degraded"), "{report}");
    // The device is replaced by one that has the register.
    let honest_port = device(|request| Some(honest(request)), Duration::ZERO);
    std::fs::write(site.path().join("tags/all.json"), json!({"links": link(honest_port), "tags": tags}).to_string())
        .unwrap();
    let line = gateway.wait_for("all well again: \"bad.addr\"");
    assert!(line.contains("INFO"), "{line}");
    wait_until("healthy", Duration::from_secs(10), || http_get(&address, "/health").1.contains("\"ok\""));
    gateway.stop().assert_clean();

    let (code, out, err) = site.command("check", &["--learn", "--seconds", "1"]);
    assert!(code == 0 && out.contains("ok: it fits"), "{out}{err}");
}
