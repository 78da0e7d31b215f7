//! Whole gateways whose broker is restarted, or away when they start.

use std::path::Path;
use std::time::Duration;

use fieldbeat::plant::{Plant, PlantConfig, Profile, ScanRates};
use fieldbeat::tag::Nanos;

use crate::alone;
use crate::certs::{Pki, VALID};
use crate::gateway::{Gateway, Site};
use crate::ledger::Ledger;
use crate::peers::{Mosquitto, Subscriber};

fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn line() -> Plant {
    Plant::start(PlantConfig {
        devices: 3,
        profile: Profile::Line { tags_per_device: 60 },
        scan_rates: ScanRates::Mixed,
        ..PlantConfig::default()
    })
    .unwrap()
}

fn floats() -> Plant {
    Plant::start(PlantConfig {
        devices: 2,
        profile: Profile::Float32 { tags_per_device: 100 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(10)),
        ..PlantConfig::default()
    })
    .unwrap()
}

/// Restarts that are clean: what the broker has acknowledged, it keeps.
fn restart_twice(_gateway: &Gateway<'_>, broker: &mut Mosquitto) {
    pause(1000);
    broker.terminate();
    pause(300);
    broker.start();
    pause(1500);
    broker.terminate();
    broker.start();
    pause(1000);
}

/// Runs a gateway through `trial`, stops it, and expects that every sample arrived and every account closes.
fn everything_arrives(
    plant: &Plant,
    broker: &mut Mosquitto,
    subscriber: &Subscriber,
    output: &str,
    trial: impl FnOnce(&Gateway<'_>, &mut Mosquitto),
) {
    let outputs = format!("[outputs.cloud]\ntype = \"mqtt\"\n{output}");
    // The gateway's own tags too: a lane that no executor has.
    let site = Site::new(plant, None, &format!("{outputs}\n[diagnostics]\nscan_rate_ms = 100\n"));
    let mut ledger = Ledger::new(plant);
    let gateway = site.start(&[]);
    trial(&gateway, broker);
    gateway.until("the output has caught up", |metrics| metrics.output_is_up() && metrics.lag() < 20_000);
    gateway.until_well();
    let metrics = gateway.metrics().unwrap();
    let status = gateway.terminate(Duration::from_secs(20));
    assert!(status.success(), "{status}\n{}", site.log());

    let report = site.report();
    report.expect_closed();
    let stored = report.samples("stored");
    assert!(stored > 10_000 && stored >= metrics.stored() && report.samples("produced") >= metrics.produced());
    assert_eq!(report.samples("dropped"), 0);
    assert_eq!((report.output("acked"), report.output("pending"), report.output("lost")), (stored, 0, 0));
    let accounts = site.accounts();
    assert_eq!(accounts.iter().map(|account| account.samples).sum::<u64>(), stored);
    ledger.expect(subscriber, &accounts);
    println!(
        "{stored} samples stored, acknowledged and received, {} repeats, {} compared",
        ledger.repeats, ledger.compared
    );
    assert!(ledger.compared > ledger.samples / 2);
}

#[test]
fn a_broker_with_mutual_tls_is_restarted_in_mid_flow_and_gets_everything() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), "ca", VALID);
    let server = pki.issue("server", &["localhost", "127.0.0.1"], VALID);
    let client = pki.issue("client", &["gateway"], VALID);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (ca, cert, key) = (text(&pki.ca), text(&client.cert), text(&client.key));
    let mut broker = Mosquitto::started(&format!(
        "cafile {ca}\ncertfile {}\nkeyfile {}\nrequire_certificate true",
        text(&server.cert),
        text(&server.key)
    ));
    let arguments = ["-c", "-i", "watcher", "--cafile", &ca, "--cert", &cert, "--key", &key];
    let subscriber = Subscriber::start(broker.port, &arguments);
    let port = broker.port;
    let output = format!("url = \"mqtts://127.0.0.1:{port}\"\nca = \"{ca}\"\ncert = \"{cert}\"\nkey = \"{key}\"");
    everything_arrives(&line(), &mut broker, &subscriber, &output, restart_twice);
}

#[test]
fn a_broker_with_mqtt_5_is_restarted_in_mid_flow_and_gets_everything() {
    let _turn = alone();
    let mut broker = Mosquitto::started("");
    let subscriber = Subscriber::start(broker.port, &["-c", "-i", "watcher", "-x", "4294967295", "-V", "5"]);
    let output = format!("url = \"mqtt://127.0.0.1:{}\"\nversion = \"5\"", broker.port);
    everything_arrives(&floats(), &mut broker, &subscriber, &output, restart_twice);
}

#[test]
fn a_broker_that_comes_late_gets_everything_from_the_first_sample_on() {
    let _turn = alone();
    let mut broker = Mosquitto::started("");
    let subscriber = Subscriber::start(broker.port, &["-c", "-i", "watcher"]);
    broker.terminate();
    let output = format!("url = \"mqtt://127.0.0.1:{}\"", broker.port);
    everything_arrives(&floats(), &mut broker, &subscriber, &output, |gateway, broker| {
        gateway.until("data piles up", |metrics| metrics.lag() > 60_000);
        let (code, health) = gateway.get("/health").unwrap();
        assert_eq!(code, 200, "it does its work: {health}");
        assert!(health.contains("degraded") && health.contains("output cloud"), "{health}");
        broker.start();
    });
}
