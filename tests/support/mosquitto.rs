//! The outside peers: mosquitto as the broker, mosquitto_sub as an independent subscriber.

#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fieldbeat::config::{MqttConfig, MqttVersion, TagChoice, TopicPer};
use fieldbeat::output::{Feed, OutputStats};
use fieldbeat::store::Follow;
use fieldbeat::tag::Nanos;
use tempfile::TempDir;

pub const PATIENCE: Duration = Duration::from_secs(15);

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

/// An output with the defaults of a real one, on one port of this machine.
pub fn config(port: u16) -> MqttConfig {
    MqttConfig {
        host: "127.0.0.1".into(),
        port,
        more: vec![],
        return_after: Nanos::from_millis(60_000),
        version: MqttVersion::V311,
        tls: None,
        user: None,
        password: None,
        client_id: "fieldbeat-line-4-cloud".into(),
        qos: 1,
        topic_per: TopicPer::Group,
        topic: "fieldbeat/{gateway}/{group}".into(),
        retain: false,
        meta_topic: None,
        status_topic: "fieldbeat/{gateway}/status".into(),
        batch: Nanos::from_millis(50),
        message_bytes_max: 128 << 10,
        in_flight_max: 100,
        keep_alive: Nanos::from_millis(5_000),
        commands: None,
    }
}

/// An output `cloud` of gateway `line-4`, of all tags.
pub fn feed(source: Box<dyn Follow>, stats: &Arc<OutputStats>, stop: &Arc<AtomicBool>) -> Feed {
    Feed {
        name: "cloud".into(),
        gateway: "line-4".into(),
        choice: TagChoice::default(),
        source,
        stats: stats.clone(),
        stop: stop.clone(),
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

impl Received {
    /// Whether it carries samples.
    pub fn is_data(&self) -> bool {
        self.topic.starts_with("fieldbeat/") && !self.topic.ends_with("/status")
    }
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
            "plant/#",
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

    /// What came after the first `seen` lines, which is then all.
    pub fn fresh(&self, seen: &mut usize) -> Vec<Received> {
        let fresh = self.received.lock().unwrap()[*seen..].to_vec();
        *seen += fresh.len();
        fresh
    }
}
