//! Devices that close their connections, over real sockets: after each reply, when they are idle, and each few seconds.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::rig::{Ended, Site, Stored};

#[derive(Clone, Copy, Debug)]
enum Closes {
    AfterReply,
    WhenIdle(Duration),
    After(Duration),
}

/// A device whose registers hold their own numbers; serves until the test ends.
fn device(closes: Closes) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream, closes));
        }
    });
    port
}

fn serve(mut stream: TcpStream, closes: Closes) {
    let born = Instant::now();
    stream.set_nodelay(true).unwrap();
    let patience = match closes {
        Closes::WhenIdle(idle) => Some(idle),
        _ => Some(Duration::from_millis(20)),
    };
    stream.set_read_timeout(patience).unwrap();
    loop {
        let mut request = [0; 12];
        match stream.read_exact(&mut request) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                match closes {
                    Closes::WhenIdle(_) => return,
                    Closes::After(long) if born.elapsed() >= long => return,
                    _ => continue,
                }
            }
            Err(_) => return,
        }
        let [first, count] = [8, 10].map(|at| u16::from_be_bytes([request[at], request[at + 1]]));
        let mut reply = request[..8].to_vec();
        reply[5] = 3 + 2 * count as u8;
        reply.push(2 * count as u8);
        reply.extend((first..first + count).flat_map(u16::to_be_bytes));
        if stream.write_all(&reply).is_err() || matches!(closes, Closes::AfterReply) {
            return;
        }
    }
}

fn run(closes: Closes, period_ms: u64, seconds: u64) -> (Ended, Stored) {
    let toml = "[gateway]\nid = \"closing\"\n[journal]\npath = \"journal\"\n[metrics]\nlisten = \"off\"\n";
    let tag = |name: &str, register: u16| json!({"name": name, "address": format!("p:1:3:{register}"), "data_type": "uint16", "scan_rate_ms": period_ms});
    let link = json!({"name": "p", "protocol": "modbus_tcp", "host": "127.0.0.1", "port": device(closes), "addressing": "raw"});
    let site = Site::with_tags(toml, &json!({"links": [link], "tags": [tag("a", 7), tag("b", 700)]}));
    let ended = site.run(&["--seconds", &seconds.to_string()]).end();
    ended.assert_clean();
    let stored = site.samples();
    (ended, stored)
}

#[test]
fn a_device_that_closes_its_connections_keeps_its_scans_and_its_statuses() {
    let cases = [
        (Closes::AfterReply, 100, 6),
        (Closes::WhenIdle(Duration::from_millis(800)), 1_000, 10),
        (Closes::After(Duration::from_secs(3)), 50, 10),
    ];
    for (closes, period_ms, seconds) in cases {
        let (ended, stored) = run(closes, period_ms, seconds);
        let due = seconds * 1_000 / period_ms;
        let link = &ended.report["links"]["p"];
        let misses =
            ended.report["groups"].as_object().unwrap().values().map(|g| g["deadline_misses"].as_u64().unwrap());
        let missed: u64 = misses.sum();
        for tag in ["a", "b"] {
            let seen = &stored.tags[tag];
            let good = seen.iter().filter(|seen| seen.status.is_good()).count() as u64;
            // The first cycle is due before the device is connected.
            assert!((good + 1) * 100 >= due * 95, "{closes:?}: {good} of {due}: {link}");
            let other = seen.iter().skip(1).filter(|seen| !seen.status.is_good()).count() as u64;
            assert!(other <= missed, "{closes:?}: {other} statuses, {missed} cycles missed: {link}");
        }
        let closed = link["idle_closes"].as_u64().unwrap() + link["reconnects"].as_u64().unwrap();
        assert!(closed > 2, "{link}");
        assert!(!ended.log.contains("retrying"), "that is no trouble: {}", ended.log);
        println!("{closes:?}: {missed} missed of {due}; {link}");
    }
}
