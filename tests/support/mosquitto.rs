//! The outside peers: mosquitto as the broker, mosquitto_sub as an independent subscriber.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tempfile::TempDir;

use super::journal::{BOOT, UTC_ZERO_NS, value_of};

const PATIENCE: Duration = Duration::from_secs(15);

/// A port that nobody listens on, below those that the kernel gives to outgoing connections: a broker that is
/// away for a while finds it free again. Never the same twice.
pub fn free_port() -> u16 {
    static TURN: AtomicU32 = AtomicU32::new(0);
    loop {
        let turn = TURN.fetch_add(1, Relaxed);
        let port = 12_000 + ((std::process::id() * 61 + turn) % 20_000) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `done`, or fails with `what`.
pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn start(program: &str, command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|e| {
        panic!("{program} does not start ({e}): install the packages mosquitto and mosquitto-clients")
    })
}

/// Ends its process when dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Mosquitto {
    pub port: u16,
    pub folder: TempDir,
    process: Option<Killed>,
}

impl Mosquitto {
    /// Not running yet; `extra` are lines of its configuration.
    pub fn prepared(extra: &str) -> Mosquitto {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let anonymous = if extra.contains("allow_anonymous") { "" } else { "allow_anonymous true" };
        let config = format!(
            "user root\nlistener {port} 127.0.0.1\n{anonymous}\nmax_queued_messages 0\nset_tcp_nodelay true\n\
             persistence true\npersistence_location {}/\nlog_dest file {}\n{extra}\n",
            folder.path().display(),
            folder.path().join("log").display(),
        );
        std::fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
        Mosquitto { port, folder, process: None }
    }

    pub fn started(extra: &str) -> Mosquitto {
        let mut broker = Mosquitto::prepared(extra);
        broker.start();
        broker
    }

    pub fn start(&mut self) {
        let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"].iter().find(|p| Path::new(p).exists());
        let program = program.copied().unwrap_or("mosquitto");
        let config = self.folder.path().join("mosquitto.conf");
        let mut command = Command::new(program);
        command.arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Killed(start("mosquitto", &mut command)));
        let (port, log) = (self.port, self.folder.path().join("log"));
        wait("mosquitto listens", || {
            let listens = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            panic_if_ended(&mut self.process, &log);
            listens
        });
    }

    /// Clean: it writes its queues to disk.
    pub fn terminate(&mut self) {
        if let Some(mut process) = self.process.take() {
            let pid = process.0.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
            process.0.wait().unwrap();
        }
    }
}

fn panic_if_ended(process: &mut Option<Killed>, log: &Path) {
    if let Some(Killed(child)) = process
        && let Ok(Some(status)) = child.try_wait()
    {
        panic!("mosquitto ended with {status}: {}", std::fs::read_to_string(log).unwrap_or_default());
    }
}

/// One line of mosquitto_sub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub topic: String,
    pub retained: bool,
    pub payload: String,
}

pub struct Subscriber {
    received: Arc<Mutex<Vec<Received>>>,
    _process: Killed,
}

impl Subscriber {
    /// Subscribed to everything once it returns.
    pub fn start(port: u16, arguments: &[&str]) -> Subscriber {
        let address = ["-h", "127.0.0.1", "-p", &port.to_string()].map(ToString::to_string);
        let mut probe = Command::new("mosquitto_pub");
        probe.args(&address).args(arguments.iter().filter(|a| **a != "-c")).args(["-r", "-t", "probe", "-m", "there"]);
        if let Some(at) = arguments.iter().position(|a| *a == "-i") {
            // The probe must not take the subscriber's name.
            probe.args(["-i", &format!("{}-probe", arguments[at + 1])]);
        }
        assert!(start("mosquitto_pub", &mut probe).wait().unwrap().success(), "mosquitto_pub to port {port}");
        let mut command = Command::new("mosquitto_sub");
        command.args(&address).args(arguments).args([
            "-q",
            "1",
            "-F",
            "%t\t%r\t%p",
            "-t",
            "fieldbeat/#",
            "-t",
            "probe",
        ]);
        let mut child = start("mosquitto_sub", command.stdout(Stdio::piped()).stderr(Stdio::null()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        std::thread::spawn({
            let received = received.clone();
            move || {
                for line in lines.map_while(Result::ok) {
                    let mut parts = line.splitn(3, '\t').map(str::to_string);
                    let (Some(topic), Some(retain), Some(payload)) = (parts.next(), parts.next(), parts.next()) else {
                        continue;
                    };
                    received.lock().unwrap().push(Received { topic, retained: retain == "1", payload });
                }
            }
        });
        let subscriber = Subscriber { received, _process: Killed(child) };
        wait("mosquitto_sub is subscribed", || subscriber.all().iter().any(|r| r.topic == "probe"));
        subscriber
    }

    pub fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub fn statuses(&self) -> Vec<(String, bool)> {
        self.all().into_iter().filter(|r| r.topic.ends_with("/status")).map(|r| (r.payload, r.retained)).collect()
    }

    /// Feeds what came since the last call.
    pub fn feed(&self, ledger: &mut Ledger) {
        let fresh: Vec<Received> = self.received.lock().unwrap()[ledger.fed..].to_vec();
        ledger.fed += fresh.len();
        for received in fresh.iter().filter(|r| r.topic.starts_with("fieldbeat/") && !r.topic.ends_with("/status")) {
            ledger.message(received);
        }
    }

    /// Until every sample that was made has come; fails on one out of order, changed, or under a wrong name.
    pub fn expect_all(&self, made: &[u64], tags_per_executor: u64) -> Ledger {
        let mut ledger = Ledger { tags_per_executor, ..Ledger::default() };
        let end = Instant::now() + PATIENCE;
        loop {
            self.feed(&mut ledger);
            if ledger.samples == made.iter().sum::<u64>() {
                assert_eq!(ledger.missing(made), "");
                return ledger;
            }
            assert!(Instant::now() < end, "missing samples: {}", ledger.missing(made));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    gateway: String,
    boot: String,
    executor: u64,
    group: String,
    frames: Vec<Frame>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame {
    seq: u64,
    t: i64,
    cycle: i64,
    q: u32,
    values: Ordered,
}

/// The values of a frame as they are written.
struct Ordered(Vec<(String, u64)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Ordered, D::Error> {
        struct Pairs;
        impl<'de> serde::de::Visitor<'de> for Pairs {
            type Value = Ordered;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("values by name")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Ordered(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// What has come, sample by sample.
#[derive(Default)]
pub struct Ledger {
    tags_per_executor: u64,
    fed: usize,
    seen: HashMap<u64, Vec<bool>>,
    /// By executor and group.
    newest: HashMap<(u64, String), u64>,
    pub messages: u64,
    pub samples: u64,
    pub repeats: u64,
}

impl Ledger {
    fn message(&mut self, received: &Received) {
        let message: Message =
            serde_json::from_str(&received.payload).unwrap_or_else(|e| panic!("{e} in {}", received.payload));
        assert!(!received.retained, "data is not retained");
        assert_eq!(message.gateway, "line-4");
        assert_eq!(message.boot, BOOT.to_string());
        assert_eq!(received.topic, format!("fieldbeat/line-4/{}", message.group));
        for frame in message.frames {
            let held = i64::from(frame.q == 0x408F_0000 && frame.cycle > 0);
            assert_eq!(frame.t, UTC_ZERO_NS / 1000 + 10_000 * (frame.cycle - held), "held values keep their time");
            for (sequence, (name, value)) in (frame.seq..).zip(frame.values.0) {
                assert_eq!(value, value_of(sequence), "of number {sequence}");
                let tag = message.executor * self.tags_per_executor + sequence % self.tags_per_executor;
                assert_eq!(name, format!("tag{tag}"));
                self.sample(message.executor, &message.group, sequence);
            }
        }
        self.messages += 1;
    }

    fn sample(&mut self, executor: u64, group: &str, sequence: u64) {
        let seen = self.seen.entry(executor).or_default();
        let at = sequence as usize;
        if seen.len() <= at {
            seen.resize(at + 1, false);
        }
        if std::mem::replace(&mut seen[at], true) {
            self.repeats += 1;
            return;
        }
        self.samples += 1;
        let newest = self.newest.insert((executor, group.to_string()), sequence);
        assert!(newest.is_none_or(|n| n < sequence), "{sequence} of {group} came after {newest:?}");
    }

    fn missing(&self, made: &[u64]) -> String {
        let mut out = Vec::new();
        for (executor, made) in made.iter().enumerate() {
            let seen = self.seen.get(&(executor as u64));
            let missing: Vec<u64> =
                (0..*made).filter(|n| seen.is_none_or(|s| s.get(*n as usize) != Some(&true))).collect();
            if let Some(first) = missing.first() {
                out.push(format!("executor {executor}: {} of {made}, first {first}", missing.len()));
            }
        }
        out.join("; ")
    }
}
