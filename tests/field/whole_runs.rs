//! Whole runs of the program: clean stops, and plants as large and as fast as they come.

use std::collections::HashSet;
use std::time::Duration;

use fieldbeat::plant::{GatewaySettings, Plant, PlantConfig, Profile, ScanRates};
use fieldbeat::tag::{Nanos, Status};

use crate::rig::{Ended, Site, http_get, wait_until};

fn settings() -> GatewaySettings {
    GatewaySettings {
        journal_path: Some("journal".into()),
        journal_bytes_max: Some(256 << 20),
        metrics_listen: Some("127.0.0.1:0".into()),
        ..GatewaySettings::default()
    }
}

#[test]
fn a_signal_stops_it_cleanly_and_everything_reached_the_journal() {
    let plant = Plant::start(PlantConfig { devices: 4, ..PlantConfig::default() }).unwrap();
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let site = Site::of(&plant, &settings());
        let mut gateway = site.run(&[]);
        let address = gateway.metrics();
        wait_until("healthy", Duration::from_secs(10), || http_get(&address, "/health").0 == 200);
        std::thread::sleep(Duration::from_millis(1200));
        gateway.signal(signal);
        let ended = gateway.end();
        ended.assert_clean();
        assert_eq!(ended.samples("dropped"), 0);
        let stored = site.samples();
        assert_eq!(stored.samples, ended.samples("produced"), "what was in the rings is in the journal");
        let names: HashSet<&str> = plant.tags().iter().map(|t| t.name.as_str()).collect();
        assert_eq!(stored.tags.len(), names.len());
        for tag in plant.tags() {
            assert_eq!(stored.last(&tag.name).status, Status::GOOD, "{}", tag.name);
        }
    }
}

#[test]
fn with_every_fault_at_once_the_account_of_samples_and_requests_closes() {
    let faults = [
        "0:delay=300@1..3",
        "1:silence@1..3",
        "2:exceptions=4@1..3",
        "3:garbage@1..3",
        "4:wrong-transaction@1..3",
        "5:half-frame@1..3",
        "6:drop@1..3",
        "7:refuse@1..3",
        "8:trickle=1000@1..3",
    ];
    let plant = Plant::start(PlantConfig {
        devices: faults.len() + 1,
        faults: faults.iter().map(|text| text.parse().unwrap()).collect(),
        cpu: Some(0),
        ..PlantConfig::default()
    })
    .unwrap();
    let site = Site::of(&plant, &settings());
    let ended = site.run(&["--seconds", "4"]).end();
    ended.assert_clean();
    let stored = site.samples();
    assert_eq!(stored.samples, ended.samples("stored"));
    for (device, fault) in faults.iter().enumerate() {
        let link = &ended.report["links"][format!("dev{device}")];
        let of = |key: &str| link[key].as_u64().unwrap();
        let ends = of("replies") + of("exceptions") + of("timeouts") + of("aborted");
        assert_eq!(of("requests"), ends, "{fault}: every request ends in one way: {link}");
        let mut own = plant.tags().iter().filter(|tag| tag.device == device);
        let shown = own.all(|tag| stored.tags[&tag.name].iter().any(|seen| !seen.status.is_good()));
        assert!(shown, "{fault}: each of its tags shows it");
    }
    let mut healthy = plant.tags().iter().filter(|tag| tag.device == faults.len());
    assert!(healthy.all(|tag| stored.tags[&tag.name].iter().all(|seen| seen.status == Status::GOOD)));
}

fn run_of(config: PlantConfig) -> (Ended, Site) {
    let plant = Plant::start(PlantConfig { cpu: Some(0), ..config }).unwrap();
    let site = Site::of(&plant, &settings());
    let ended = site.run(&["--seconds", "3"]).end();
    ended.assert_clean();
    (ended, site)
}

fn print(what: &str, ended: &Ended) {
    println!("{what}: {} {}", ended.report["samples"], ended.report["process"]);
    for (name, group) in ended.report["groups"].as_object().unwrap() {
        println!("  {name}: {group}");
    }
}

#[test]
fn five_thousand_tags_at_100_hz_are_all_accounted_for() {
    let (ended, site) = run_of(PlantConfig {
        devices: 10,
        profile: Profile::Float32 { tags_per_device: 500 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(10)),
        ..PlantConfig::default()
    });
    print("5000 tags, 100 Hz", &ended);
    let stored = site.samples();
    assert_eq!((stored.samples, stored.tags.len()), (ended.samples("stored"), 5000));
}

#[test]
fn a_thousand_hertz_are_all_accounted_for() {
    let (ended, site) = run_of(PlantConfig {
        devices: 1,
        profile: Profile::Float32 { tags_per_device: 50 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(1)),
        ..PlantConfig::default()
    });
    print("1000 Hz", &ended);
    assert_eq!(site.samples().samples, ended.samples("stored"));
    let scan = &ended.report["links"]["dev0"]["scans"][0];
    let releases = scan["cycles"].as_u64().unwrap() + scan["skipped"].as_u64().unwrap();
    assert!((2500..=3100).contains(&releases), "the beat is never lost: {scan}");
}
