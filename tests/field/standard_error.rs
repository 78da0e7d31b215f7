//! A gateway whose log nobody takes: the reader is gone, the disk is full, or the reader is there and does not read.

use std::fs::OpenOptions;
use std::io::{ErrorKind, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::peers::Killed;
use crate::rig::{PROGRAM, Site, http_get, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A device whose registers hold their own numbers, and that can be away.
struct Device {
    port: u16,
    is_away: Arc<AtomicBool>,
}

impl Device {
    fn new() -> Device {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_away = Arc::<AtomicBool>::default();
        let away = is_away.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten().filter(|_| !away.load(Relaxed)) {
                let away = away.clone();
                std::thread::spawn(move || serve(stream, &away));
            }
        });
        Device { port, is_away }
    }
}

fn serve(mut stream: TcpStream, away: &AtomicBool) {
    let mut request = [0; 12];
    while stream.read_exact(&mut request).is_ok() && !away.load(Relaxed) {
        let [first, count] = [8, 10].map(|at| u16::from_be_bytes([request[at], request[at + 1]]));
        let mut reply = request[..8].to_vec();
        reply[5] = 3 + 2 * count as u8;
        reply.push(2 * count as u8);
        reply.extend((first..first + count).flat_map(u16::to_be_bytes));
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}

fn tags(port: u16, registers: &[u16]) -> Json {
    let tag = |register: &u16| {
        json!({ "name": format!("t{register}"), "address": format!("l:1:3:{register}:1"), "data_type": "uint16",
                "scan_rate_ms": 20 })
    };
    json!({ "links": [{ "name": "l", "protocol": "modbus_tcp", "host": "127.0.0.1", "port": port, "timeout_ms": 200,
                        "addressing": "raw" }],
            "tags": registers.iter().map(tag).collect::<Vec<Json>>() })
}

/// Runs with that standard error: a device leaves and comes back, a file changes, it is stopped; nothing of that waits.
/// Returns how many log lines it counted as lost before it was stopped.
fn goes_on_with(stderr: Stdio) -> u64 {
    let device = Device::new();
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let toml = format!(
        "[gateway]\nid = \"mute\"\n[journal]\npath = \"journal\"\nmax_bytes = \"64MiB\"\n[metrics]\nlisten = \"{metrics}\"\n"
    );
    let site = Site::with_tags(&toml, &tags(device.port, &[1]));
    let mut program = Command::new(PROGRAM);
    program.arg("run").arg("--config").arg(site.path()).arg("--report").arg(site.report_path());
    let mut child = Killed(program.stdin(Stdio::null()).stderr(stderr).spawn().unwrap());
    drop(program);
    let metrics = metrics.to_string();
    let ready = || TcpStream::connect(&metrics).is_ok();
    wait_until("the gateway starts", PATIENCE, ready);
    let count = |name: &str| -> u64 {
        let (_, text) = http_get(&metrics, "/metrics");
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.and_then(|line| line.rsplit(' ').next()).map_or(0, |number| number.parse::<f64>().unwrap() as u64)
    };
    let link_is = |state: &str| http_get(&metrics, "/health").1.contains(&format!("\"{state}\":1"));
    wait_until("the device is read", PATIENCE, || link_is("up"));
    device.is_away.store(true, Relaxed);
    wait_until("the device is missed", PATIENCE, || link_is("down"));
    device.is_away.store(false, Relaxed);
    wait_until("the device is read again", PATIENCE, || link_is("up"));
    std::fs::write(site.path().join("tags/all.json"), tags(device.port, &[1, 2]).to_string()).unwrap();
    wait_until("the new file is adopted", PATIENCE, || {
        count("fieldbeat_config_reloads_total{result=\"adopted\"}") == 1
    });
    wait_until("the new tag is read", PATIENCE, || count("fieldbeat_tags{link=\"l\",status=\"good\"}") == 2);
    let lost = count("fieldbeat_log_lost_lines_total");
    // SAFETY: no pointers; the child is ours and was not waited for.
    assert_eq!(unsafe { libc::kill(child.0.id() as i32, libc::SIGTERM) }, 0);
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.0.try_wait().unwrap() {
            Some(status) => break status,
            None => assert!(Instant::now() < end, "it does not end"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(0));
    let report: Json = serde_json::from_str(&std::fs::read_to_string(site.report_path()).unwrap()).unwrap();
    let of = |key: &str| report["samples"][key].as_u64().unwrap();
    assert_eq!(of("produced"), of("stored") + of("dropped") + of("suppressed"), "{report}");
    assert_eq!((of("dropped"), site.samples().samples), (0, of("stored")));
    assert!(site.samples().tags.contains_key("t2"));
    lost
}

/// A pipe in which there is no room.
fn full_pipe() -> (std::io::PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let non_blocking = |on: libc::c_int| {
        // SAFETY: no pointers; the descriptor is open.
        assert_eq!(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, on) }, 0);
    };
    non_blocking(libc::O_NONBLOCK);
    let filled = loop {
        if let Err(error) = writer.write(&[b'\n'; 512]) {
            break error;
        }
    };
    assert_eq!(filled.kind(), ErrorKind::WouldBlock);
    let fd = writer.as_raw_fd();
    // SAFETY: no pointers; the descriptor is open.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFL, 0) }, 0);
    (reader, writer)
}

#[test]
fn a_reader_of_the_log_that_is_gone_ends_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(goes_on_with(writer.into()) > 0, "what could not be said is counted");
}

#[test]
fn a_log_on_a_full_disk_ends_nothing() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert!(goes_on_with(full.into()) > 0, "what could not be said is counted");
}

#[test]
fn a_reader_of_the_log_that_does_not_read_stops_nothing() {
    let (_reader, writer) = full_pipe();
    goes_on_with(writer.into());
}
