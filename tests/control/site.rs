//! A gateway with tags that may be written, on pymodbus's server and on devices that are none.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::peers::{Server, output_of};
use crate::rig::{Running, Site};

/// A device that accepts, listens and never says a word.
pub struct Mute {
    pub port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Mute {
    pub fn new() -> Mute {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, heard) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<u8>>>::default());
        let shared = heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let heard = shared.clone();
                std::thread::spawn(move || hear(stream, &heard));
            }
        });
        Mute { port, heard }
    }

    /// Frames of function 6 that write this value.
    pub fn writes_of(&self, value: u16) -> usize {
        let heard = self.heard.lock().unwrap();
        let [high, low] = value.to_be_bytes();
        // Length, unit, function, register, value.
        heard.windows(8).filter(|w| w[..4] == [0, 6, 1, 6] && w[6..] == [high, low]).count()
    }
}

fn hear(mut stream: TcpStream, heard: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        heard.lock().unwrap().extend(&bytes[..count]);
    }
}

fn tag(name: &str, address: &str, data_type: &str, write: Json) -> Json {
    json!({"name": name, "address": address, "data_type": data_type, "scan_rate_ms": 20, "write": write})
}

/// `more`: further lines of fieldbeat.toml.
pub fn site(server: &Server, mute: &Mute, more: &str) -> Site {
    let toml = format!(
        "[gateway]\nid = \"line-4\"\n[journal]\npath = \"journal\"\nmax_bytes = \"16MiB\"\ncommit_ms = 10\n[metrics]\n\
         listen = \"127.0.0.1:0\"\n[control]\nmax_writes_per_s = 200\n{more}"
    );
    let link = |name: &str, port: u16| json!({"name": name, "protocol": "modbus_tcp", "host": "127.0.0.1", "port": port, "addressing": "raw"});
    let range = |more: Json| {
        let mut range = json!({"min": 0, "max": 1000, "min_interval_ms": 0});
        range.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        range
    };
    let tags = json!({
        "links": [link("plc1", server.port), link("mute", mute.port), link("gone", 1)],
        "tags": [
            tag("setpoint", "plc1:1:3:30", "uint16", range(json!({}))),
            tag("speed", "plc1:1:3:32", "float32", range(json!({"min": -100, "max": 100, "read_back": true}))),
            tag("valve", "plc1:1:1:5", "bool", json!({"min_interval_ms": 0})),
            tag("level", "plc1:1:3:34", "int16", json!(false)),
            tag("rare", "plc1:1:3:35", "uint16", range(json!({"min_interval_ms": 60_000}))),
            tag("step", "plc1:1:3:36", "uint16", range(json!({"max": 65_535, "max_step": 10}))),
            tag("label", "plc1:1:3:38:4", "string", json!(true)),
            tag("beyond", "plc1:1:3:9000", "uint16", range(json!({}))),
            tag("mute.t", "mute:1:3:7", "uint16", range(json!({"timeout_ms": 300}))),
            tag("gone.t", "gone:1:3:7", "uint16", range(json!({"timeout_ms": 300}))),
        ],
    });
    Site::with_tags(&toml, &tags)
}

/// Runs it until its tags are read.
pub fn run(site: &Site) -> Running {
    let mut running = site.run(&[]);
    running.wait_for("writes are accepted at");
    let address = running.metrics();
    crate::rig::wait_until("the link is up", Duration::from_secs(20), || {
        crate::rig::http_get(&address, "/metrics").1.contains("fieldbeat_link_state{link=\"plc1\",state=\"up\"} 1")
    });
    std::thread::sleep(Duration::from_millis(200));
    running
}

/// A holding register, as mbpoll reads it.
pub fn register(server: &Server, offset: u16) -> u16 {
    poll(server, "4", offset).parse::<i64>().unwrap() as u16
}

pub fn coil(server: &Server, offset: u16) -> bool {
    poll(server, "0", offset) == "1"
}

fn poll(server: &Server, table: &str, offset: u16) -> String {
    let (port, offset) = (server.port.to_string(), offset.to_string());
    let args = ["-m", "tcp", "-a", "1", "-0", "-1", "-t", table, "-r", &offset, "-c", "1", "-p", &port, "127.0.0.1"];
    let (good, text) = output_of("mbpoll", "mbpoll", &args);
    assert!(good, "{text}");
    let prefix = format!("[{offset}]:");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("{text}"));
    line.split_whitespace().next().unwrap().to_owned()
}

/// The audit's records, the oldest first.
pub fn audit(site: &Site) -> Vec<Json> {
    let (code, out, err) = site.command("audit", &["--json", "--last", "1000"]);
    assert_eq!(code, 0, "{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
