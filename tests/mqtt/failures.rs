//! Failures told so that a person can act: at the start from the files, later from the network.

use std::path::{Path, PathBuf};

use fieldbeat::config::{MqttConfig, MqttVersion, TlsConfig};
use fieldbeat::output::{OutputError, OutputState};

use super::certs::{EXPIRED, Pair, Pki, VALID};
use super::journal::{MemoryJournal, Producer};
use super::peers::{Mosquitto, Subscriber, config, free_port, wait};
use super::{count, spawn, tls_broker};

fn start_error(tls: TlsConfig) -> OutputError {
    match spawn(&MemoryJournal::default(), &MqttConfig { tls: Some(tls), ..config(1) }) {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

fn with_ca(ca: &Path) -> TlsConfig {
    TlsConfig { ca: Some(ca.into()), cert: None, key: None }
}

fn with_pair(ca: &Path, cert: &Path, key: &Path) -> TlsConfig {
    TlsConfig { ca: Some(ca.into()), cert: Some(cert.into()), key: Some(key.into()) }
}

#[test]
fn each_unusable_file_has_its_own_message() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let pki = Pki::new(folder.path(), "ca", VALID);
    let old_pki = Pki::new(folder.path(), "old-ca", EXPIRED);
    let client = pki.issue("client", &["gateway"], VALID);
    let other = pki.issue("other", &["gateway"], VALID);
    let old = pki.issue("old", &["gateway"], EXPIRED);
    let future = pki.issue("future", &["gateway"], (2098, 2099));
    let missing = folder.path().join("missing.pem");
    let cut = std::fs::read_to_string(&pki.ca).unwrap();
    let cut = file("cut.pem", &cut[..cut.len() - 40]);
    let no_der = file("no-der.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let no_key = file("no-key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");

    let cases: [(TlsConfig, &str, &Path); 13] = [
        (with_ca(&missing), "No such file", &missing),
        (with_ca(&file("empty.pem", "")), "no certificate in it", &folder.path().join("empty.pem")),
        (with_ca(&client.key), "no certificate in it", &client.key),
        (with_ca(&cut), "broken PEM", &cut),
        (with_ca(&no_der), "not an X.509 certificate", &no_der),
        (with_ca(&old_pki.ca), "expired", &old_pki.ca),
        (with_pair(&pki.ca, &missing, &client.key), "No such file", &missing),
        (with_pair(&pki.ca, &old.cert, &old.key), "expired", &old.cert),
        (with_pair(&pki.ca, &future.cert, &future.key), "not valid yet", &future.cert),
        (with_pair(&pki.ca, &client.cert, &missing), "No such file", &missing),
        (with_pair(&pki.ca, &client.cert, &client.cert), "no unencrypted private key", &client.cert),
        (with_pair(&pki.ca, &client.cert, &no_key), "unusable", &no_key),
        (with_pair(&pki.ca, &client.cert, &other.key), "does not belong to", &other.key),
    ];
    for (tls, says, path) in cases {
        let text = start_error(tls).to_string();
        assert!(text.contains(says), "{says:?} is not in {text:?}");
        assert!(text.contains(&path.display().to_string()), "{text}");
        assert!(text.contains(';'), "it says what to do: {text}");
    }
    let dates = start_error(with_pair(&pki.ca, &old.cert, &old.key)).to_string();
    assert!(dates.contains("2019") && dates.contains("2021") && dates.contains("CN=old"), "{dates}");
    let half = TlsConfig { key: None, ..with_pair(&pki.ca, &client.cert, &client.key) };
    assert!(start_error(half).to_string().contains("`key` is missing"));
}

#[test]
fn settings_that_no_broker_takes_are_refused_at_the_start() {
    let refused = |config: MqttConfig, key: &str| {
        let error = spawn(&MemoryJournal::default(), &config).err().expect("refused").to_string();
        assert!(error.contains(&format!("`{key}`")), "{error}");
    };
    refused(MqttConfig { qos: 2, ..config(1) }, "qos");
    refused(MqttConfig { topic: "a/#".into(), ..config(1) }, "topic");
    refused(MqttConfig { status_topic: String::new(), ..config(1) }, "status_topic");
    refused(MqttConfig { client_id: "x".repeat(70_000), ..config(1) }, "client_id");
    refused(MqttConfig { password: Some("p".into()), ..config(1) }, "password");
}

/// Runs an output against something that fails, and returns what it says.
fn told(config: &MqttConfig) -> String {
    told_of(&MemoryJournal::default(), config)
}

fn told_of(journal: &MemoryJournal, config: &MqttConfig) -> String {
    let output = spawn(journal, config).unwrap();
    wait("it says what failed", || count(&output.stats.failures) > 0);
    output.stats.last_error()
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn what_the_network_refuses_is_told() {
    let nobody = free_port();
    says(&told(&config(nobody)), &[&format!("127.0.0.1:{nobody}"), "refuses the connection", "check that it runs"]);
    let unknown = MqttConfig { host: "does-not-exist.invalid".into(), ..config(1883) };
    says(&told(&unknown), &["does-not-exist.invalid does not resolve", "check the name"]);
}

#[test]
fn what_tls_refuses_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), "ca", VALID);
    let stranger = Pki::new(folder.path(), "stranger", VALID);
    let good = pki.issue("server", &["localhost", "127.0.0.1"], VALID);
    let old = pki.issue("old-server", &["localhost", "127.0.0.1"], EXPIRED);
    let foreign: Pair = stranger.issue("foreign", &["gateway"], VALID);
    let broker = tls_broker(folder.path(), &good, &pki.ca, "require_certificate true");
    let old_broker = tls_broker(folder.path(), &old, &pki.ca, "");
    let plain_broker = Mosquitto::started("");

    for version in [MqttVersion::V311, MqttVersion::V5] {
        let with = |port: u16, tls: TlsConfig| MqttConfig { tls: Some(tls), version, ..config(port) };
        says(&told(&with(broker.port, with_ca(&pki.ca))), &["requires a client certificate", "`cert` and `key`"]);
        let text = told(&with(broker.port, with_pair(&pki.ca, &foreign.cert, &foreign.key)));
        says(&text, &["refuses our client certificate", "the broker's CA"]);
        let text = told(&with(broker.port, with_ca(&stranger.ca)));
        says(&text, &["was not issued by a CA in", &stranger.ca.display().to_string()]);
        let named = MqttConfig { host: "127.0.0.2".into(), ..with(old_broker.port, with_ca(&pki.ca)) };
        assert!(!told(&named).is_empty());
        says(&told(&with(old_broker.port, with_ca(&pki.ca))), &["expired on", "2021", "renew it"]);
        says(&told(&with(plain_broker.port, with_ca(&pki.ca))), &["closed the connection"]);
        let no_tls = MqttConfig { version, ..config(broker.port) };
        says(&told(&no_tls), &["mqtts://"]);
    }
}

#[test]
fn a_certificate_for_another_name_is_told_with_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), "ca", VALID);
    let server = pki.issue("server", &["broker.example"], VALID);
    let broker = tls_broker(folder.path(), &server, &pki.ca, "");
    let config = MqttConfig { host: "localhost".into(), tls: Some(with_ca(&pki.ca)), ..config(broker.port) };
    says(&told(&config), &["is not for the name localhost", "broker.example"]);
}

#[test]
fn a_topic_that_the_broker_does_not_allow_stops_the_cursor_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let acl = folder.path().join("acl");
    std::fs::write(&acl, "topic readwrite fieldbeat/line-4/status\ntopic read #\n").unwrap();
    let broker = Mosquitto::started(&format!("acl_file {}", acl.display()));
    let journal = MemoryJournal::default();
    Producer::new(&journal, 1, 1, 10).blocks(10);
    let config = MqttConfig { version: MqttVersion::V5, ..config(broker.port) };
    let mut output = spawn(&journal, &config).unwrap();
    wait("it is told", || count(&output.stats.failures) > 0);
    says(&output.stats.last_error(), &["rejects a message: NotAuthorized", "access rights"]);
    output.stop();
    assert_eq!(journal.saved("cloud"), None);
}

#[test]
fn messages_stay_below_what_the_broker_takes() {
    let broker = Mosquitto::started("max_packet_size 3000");
    let subscriber = Subscriber::start(broker.port, &[]);
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 1, 1, 200);
    producer.blocks(50);
    let mut output = spawn(&journal, &MqttConfig { version: MqttVersion::V5, ..config(broker.port) }).unwrap();
    subscriber.expect_all(&producer.made(), 200);
    output.stop();
    producer.blocks(50);
    // MQTT 3.1.1 cannot tell its limit; the connection ends.
    says(&told_of(&journal, &config(broker.port)), &["without acknowledging a message", "lower `max_message_bytes`"]);
}

#[test]
fn a_certificate_renewed_on_disk_is_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), "ca", VALID);
    let stranger = Pki::new(folder.path(), "stranger", VALID);
    let server = pki.issue("server", &["127.0.0.1"], VALID);
    let broker = tls_broker(folder.path(), &server, &pki.ca, "require_certificate true");
    let own = stranger.issue("own", &["gateway"], VALID);
    let journal = MemoryJournal::default();
    let tls = Some(with_pair(&pki.ca, &own.cert, &own.key));
    let output = spawn(&journal, &MqttConfig { tls, ..config(broker.port) }).unwrap();
    wait("it is refused", || count(&output.stats.failures) > 0);
    assert_eq!(count(&output.stats.connects), 0);
    pki.issue("own", &["gateway"], VALID);
    wait("it gets in", || output.stats.state() == OutputState::Online);
}
