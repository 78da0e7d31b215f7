//! The MQTT output against mosquitto and an independent subscriber: every sample arrives once or more, in order,
//! none missing, whatever happens to the broker.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

#[path = "support/certs.rs"]
mod certs;
#[path = "mqtt/commands.rs"]
mod commands;
#[path = "support/consumer.rs"]
mod consumer;
#[path = "mqtt/failover.rs"]
mod failover;
#[path = "mqtt/failures.rs"]
mod failures;
#[path = "mqtt/journal.rs"]
mod journal;
#[path = "mqtt/ledger.rs"]
mod ledger;
#[path = "support/message.rs"]
mod message;
#[path = "mqtt/outages.rs"]
mod outages;
#[path = "support/mosquitto.rs"]
mod peers;
#[path = "mqtt/per_tag.rs"]
mod per_tag;
#[path = "mqtt/scripted.rs"]
mod scripted;
#[path = "mqtt/set_points.rs"]
mod set_points;
#[path = "support/tag_message.rs"]
mod tag_message;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use fieldbeat::config::{MqttConfig, MqttVersion, TlsConfig};
use fieldbeat::output::{OutputError, OutputHandle, OutputState, OutputStats, mqtt};
use fieldbeat::plant::broker::Broker;
use fieldbeat::store::Position;
use fieldbeat::tag::Nanos;

use certs::{Pair, Pki, VALID};
use journal::{MemoryJournal, Producer};
use peers::{Mosquitto, Subscriber, config, feed, wait};

/// A running output; stopped, cleanly, when dropped.
struct Output {
    stats: Arc<OutputStats>,
    stop: Arc<AtomicBool>,
    handle: Option<OutputHandle>,
}

fn spawn(journal: &MemoryJournal, config: &MqttConfig) -> Result<Output, OutputError> {
    let (stats, stop) = (Arc::new(OutputStats::default()), Arc::new(AtomicBool::new(false)));
    let feed = feed(Box::new(journal.clone()), &stats, &stop);
    let handle = mqtt::spawn(feed, config)?;
    Ok(Output { stats, stop, handle: Some(handle) })
}

impl Output {
    fn stop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(handle) = self.handle.take() {
            assert!(handle.join() || std::thread::panicking(), "the output panicked");
            assert_eq!(self.stats.state(), OutputState::Stopped);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.stop();
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

/// Everything acknowledged, counted and saved.
fn expect_settled(journal: &MemoryJournal, output: &mut Output, made: &[u64]) {
    output.stop();
    let end = Position { block: journal.next(), samples: 0 };
    assert_eq!(journal.saved("cloud"), Some(end));
    assert_eq!(output.stats.cursor(), end);
    assert_eq!(count(&output.stats.samples_acknowledged), made.iter().sum::<u64>());
    assert_eq!(count(&output.stats.lag_blocks), 0);
    assert_eq!(count(&output.stats.in_flight), 0);
    assert_eq!(count(&output.stats.samples_skipped), 0);
}

/// Blocks that were there before, and blocks that come while it runs.
fn flows(port: u16, config: &MqttConfig, subscriber_arguments: &[&str]) {
    let subscriber = Subscriber::start(port, subscriber_arguments);
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 2, 3, 40);
    producer.blocks(20);
    let mut output = spawn(&journal, config).unwrap();
    for _ in 0..50 {
        producer.blocks(5);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let ledger = subscriber.expect_all(&producer.made(), 120);
    assert_eq!(ledger.repeats, 0);
    expect_settled(&journal, &mut output, &producer.made());
    assert_eq!(count(&output.stats.connects), 1);
    assert_eq!(count(&output.stats.messages_acknowledged), ledger.messages);
    let live = || -> Vec<String> { subscriber.statuses().into_iter().filter(|s| !s.1).map(|s| s.0).collect() };
    wait("birth and farewell", || live().len() == 2);
    assert_eq!(live(), ["online", "offline"]);
}

#[test]
fn every_sample_arrives_in_order_with_qos_1() {
    let broker = Mosquitto::started("");
    flows(broker.port, &config(broker.port), &[]);
    let late = Subscriber::start(broker.port, &[]);
    assert_eq!(late.statuses(), [("offline".to_string(), true)], "the status is retained");
}

#[test]
fn every_sample_arrives_in_order_with_qos_0() {
    let broker = Mosquitto::started("");
    flows(broker.port, &MqttConfig { qos: 0, ..config(broker.port) }, &[]);
}

#[test]
fn every_sample_arrives_in_order_with_mqtt_5() {
    let broker = Mosquitto::started("");
    flows(broker.port, &MqttConfig { version: MqttVersion::V5, ..config(broker.port) }, &[]);
}

#[test]
fn every_sample_arrives_at_the_demos_own_broker() {
    let broker = Broker::start("127.0.0.1:0".parse().unwrap()).unwrap();
    flows(broker.addr().port(), &config(broker.addr().port()), &[]);
    let late = Subscriber::start(broker.addr().port(), &[]);
    assert_eq!(late.statuses(), [("offline".to_string(), true)], "the status is retained");
    assert_eq!(broker.stats().dropped.load(Relaxed), 0);
    assert!(broker.stats().messages.load(Relaxed) > 10);
}

fn tls_broker(folder: &Path, server: &Pair, ca: &Path, extra: &str) -> Mosquitto {
    assert!(folder.exists());
    let lines = format!(
        "cafile {}\ncertfile {}\nkeyfile {}\n{extra}",
        ca.display(),
        server.cert.display(),
        server.key.display()
    );
    Mosquitto::started(&lines)
}

#[test]
fn every_sample_arrives_with_mutual_tls_in_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), "ca", VALID);
    let server = pki.issue("server", &["localhost", "127.0.0.1"], VALID);
    let client = pki.issue("client", &["gateway"], VALID);
    let broker = tls_broker(folder.path(), &server, &pki.ca, "require_certificate true");
    let [ca, cert, key] = [&pki.ca, &client.cert, &client.key].map(|p| p.to_str().unwrap().to_string());
    let arguments = ["--cafile", &ca, "--cert", &cert, "--key", &key];
    let tls = TlsConfig { ca: Some(pki.ca.clone()), cert: Some(client.cert.clone()), key: Some(client.key.clone()) };
    for version in [MqttVersion::V311, MqttVersion::V5] {
        flows(broker.port, &MqttConfig { tls: Some(tls.clone()), version, ..config(broker.port) }, &arguments);
    }
}

fn password_broker() -> (Mosquitto, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwords");
    let made =
        std::process::Command::new("mosquitto_passwd").args(["-c", "-b"]).arg(&file).args(["line", "s3cret"]).status();
    assert!(made.expect("mosquitto_passwd: install the package mosquitto").success());
    (Mosquitto::started(&format!("allow_anonymous false\npassword_file {}", file.display())), folder)
}

#[test]
fn the_right_user_gets_in_and_a_wrong_password_is_told() {
    let (broker, _folder) = password_broker();
    let user = |password: &str| MqttConfig {
        user: Some("line".into()),
        password: Some(password.into()),
        ..config(broker.port)
    };
    flows(broker.port, &user("s3cret"), &["-u", "line", "-P", "s3cret"]);

    let journal = MemoryJournal::default();
    for version in [MqttVersion::V311, MqttVersion::V5] {
        let output = spawn(&journal, &MqttConfig { version, ..user("wrong") }).unwrap();
        wait("the refusal", || !output.stats.last_error().is_empty());
        let text = output.stats.last_error();
        assert!(text.contains("user \"line\"") && text.contains("password"), "{text}");
        assert_ne!(output.stats.state(), OutputState::Online);
        let output = spawn(&journal, &MqttConfig { version, ..config(broker.port) }).unwrap();
        wait("the refusal", || !output.stats.last_error().is_empty());
        let text = output.stats.last_error();
        assert!(text.contains("may require `user`"), "{text}");
    }
}

#[test]
fn a_second_start_goes_on_at_the_saved_cursor() {
    let broker = Mosquitto::started("");
    let subscriber = Subscriber::start(broker.port, &[]);
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 1, 2, 30);
    for _ in 0..3 {
        producer.blocks(10);
        let mut output = spawn(&journal, &config(broker.port)).unwrap();
        wait("all acknowledged", || output.stats.cursor().block == journal.next());
        output.stop();
    }
    let ledger = subscriber.expect_all(&producer.made(), 60);
    assert_eq!(ledger.repeats, 0);
}

#[test]
fn what_is_gathered_at_the_stop_is_sent() {
    let broker = Mosquitto::started("");
    let subscriber = Subscriber::start(broker.port, &[]);
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 1, 3, 10);
    let patient = MqttConfig { batch: Nanos::from_millis(3_600_000), ..config(broker.port) };
    let mut output = spawn(&journal, &patient).unwrap();
    wait("connected", || output.stats.state() == OutputState::Online);
    producer.blocks(4);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(count(&output.stats.messages_published), 0, "it gathers");
    expect_settled(&journal, &mut output, &producer.made());
    let ledger = subscriber.expect_all(&producer.made(), 30);
    assert_eq!(ledger.messages, 3, "one for each group");
}
