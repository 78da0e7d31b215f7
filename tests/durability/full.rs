//! A full disk under a whole gateway.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fieldbeat::plant::{Plant, PlantConfig, Profile, ScanRates};
use fieldbeat::tag::Nanos;

use crate::alone;
use crate::disk::SmallDisk;
use crate::gateway::{Gateway, Site};

/// 400,000 samples a second: what memory holds is full in a few seconds.
fn plant() -> Plant {
    Plant::start(PlantConfig {
        devices: 4,
        profile: Profile::Float32 { tags_per_device: 1000 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(10)),
        ..PlantConfig::default()
    })
    .unwrap()
}

fn small_disk() -> Option<SmallDisk> {
    if nix::unistd::geteuid().is_root() {
        let disk = SmallDisk::mount(16);
        // What is left is little more than what a journal sets aside.
        disk.ballast(14);
        return Some(disk);
    }
    println!("SKIPPED: a small disk can only be mounted by root");
    None
}

/// Fills the disk under a gateway that stores, and waits until its rings drop.
fn fill_until_samples_are_dropped(gateway: &Gateway<'_>, disk: &SmallDisk) -> PathBuf {
    gateway.until("it stores", |metrics| metrics.stored() > 50_000);
    let rest = disk.fill();
    gateway.until("the rings are full", |metrics| metrics.dropped_at_rings() > 0);
    let (code, health) = gateway.get("/health").unwrap();
    assert_eq!(code, 503, "{health}");
    assert!(health.contains("failed") && health.contains("journal") && health.contains("is full"), "{health}");
    rest
}

fn cycles(gateway: &Gateway<'_>) -> u64 {
    gateway.metrics().unwrap().sum("fieldbeat_group_cycles_total")
}

#[test]
fn a_gateway_on_a_full_disk_keeps_its_beat_and_stores_again_when_there_is_room() {
    let _turn = alone();
    let Some(disk) = small_disk() else { return };
    let plant = plant();
    let site = Site::new(&plant, Some(&disk.path().join("journal")), "");
    let gateway = site.start(&[]);
    let rest = fill_until_samples_are_dropped(&gateway, &disk);
    let (before, stored) = (cycles(&gateway), gateway.metrics().unwrap().stored());
    let asked = Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    // Four devices, 100 cycles a second each.
    let beats = (cycles(&gateway) - before) as f64 / asked.elapsed().as_secs_f64();
    assert!(beats > 300.0, "it goes on scanning: {beats} cycles a second");

    std::fs::remove_file(rest).unwrap();
    std::fs::remove_file(disk.path().join("ballast")).unwrap();
    gateway.until("it stores again", |metrics| metrics.stored() > stored + 500_000);
    gateway.until("nothing waits any longer", |metrics| metrics.sum_of("fieldbeat_ring_fill_ratio", "") < 0.05);
    let dropped = gateway.metrics().unwrap().dropped_at_rings();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(gateway.metrics().unwrap().dropped_at_rings(), dropped, "nothing is dropped any longer");
    gateway.until_well();
    let status = gateway.terminate(Duration::from_secs(20));
    assert!(status.success(), "{status}\n{}", site.log());

    let report = site.report();
    report.expect_closed();
    assert_eq!(report.samples("dropped"), dropped);
    let account = &site.accounts()[0];
    assert_eq!((account.samples, account.missing), (report.samples("stored"), dropped), "gaps tell what was dropped");
}

#[test]
fn a_gateway_told_to_stop_on_a_full_disk_ends_and_tells_what_is_not_saved() {
    let _turn = alone();
    let Some(disk) = small_disk() else { return };
    let plant = plant();
    let site = Site::new(&plant, Some(&disk.path().join("journal")), "");
    let gateway = site.start(&[]);
    fill_until_samples_are_dropped(&gateway, &disk);
    let asked = Instant::now();
    let status = gateway.terminate(Duration::from_secs(20));
    println!("ended {:.1} s after SIGTERM", asked.elapsed().as_secs_f64());
    assert_eq!(status.code(), Some(1), "{}", site.log());

    let report = site.report();
    report.expect_closed();
    let account = &site.accounts()[0];
    assert_eq!(account.samples, report.samples("stored"));
    let log = site.log();
    let told = log.lines().find(|line| line.contains("samples could not be stored")).unwrap_or_else(|| panic!("{log}"));
    let unsaved: u64 = told.split(' ').find_map(|word| word.parse().ok()).unwrap();
    assert!(unsaved > 0 && unsaved < report.samples("dropped"), "{told}");
    println!("{told}");
    assert!(told.contains("is full"), "{told}");
}
