//! A disk that runs full under a running gateway, and is given room again.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fieldbeat::plant::{GatewaySettings, Plant, PlantConfig, Profile, ScanRates};
use fieldbeat::tag::{Nanos, Status};

use crate::rig::{Site, Stored, http_get, wait_until};

/// A file system of its own at a folder; unmounted when dropped.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount(at: &Path, mib: u64) -> SmallDisk<'_> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).status().unwrap();
        let why = "this test mounts a small tmpfs: run it as root (or in `unshare --map-root-user --mount`)";
        assert!(mounted.success(), "{why}");
        SmallDisk(at)
    }

    fn fill(&self) {
        let mut ballast = File::create(self.0.join("ballast")).unwrap();
        while ballast.write_all(&[1; 65536]).is_ok() {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_as_failure_costs_counted_samples_and_ends_when_there_is_room() {
    let plant = Plant::start(PlantConfig {
        devices: 10,
        profile: Profile::Line { tags_per_device: 500 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(10)),
        cpu: Some(0),
        ..PlantConfig::default()
    })
    .unwrap();
    let settings = GatewaySettings {
        journal_path: Some("disk/journal".into()),
        // What it sets aside for removals, and goes on with, is a part of this.
        journal_bytes_max: Some(16 << 20),
        metrics_listen: Some("127.0.0.1:0".into()),
        ..GatewaySettings::default()
    };
    let site = Site::of(&plant, &settings);
    let at = site.path().join("disk");
    let disk = SmallDisk::mount(&at, 64);
    let mut gateway = site.run(&[]);
    let address = gateway.metrics();
    let health = || http_get(&address, "/health");
    wait_until("healthy", Duration::from_secs(10), || health().0 == 200 && health().1.contains("\"ok\""));
    disk.fill();
    let since = std::time::Instant::now();
    wait_until("the full disk is told", Duration::from_secs(20), || health().0 == 503);
    let (_, told) = health();
    println!("told after {:?}: {told}", since.elapsed());
    assert!(told.contains("journal") && told.contains("full"), "{told}");
    // Longer than the rings hold.
    std::thread::sleep(Duration::from_millis(4500));
    let scanned = || http_get(&address, "/metrics").1;
    assert!(scanned().contains("fieldbeat"), "everything else goes on");
    disk.make_room();
    wait_until("healthy again", Duration::from_secs(10), || health().0 == 200);
    std::thread::sleep(Duration::from_millis(700));
    let ended = gateway.stop();
    ended.assert_clean();
    println!("{}", ended.report["samples"]);
    assert!(ended.samples("dropped") > 0, "the disk was full for longer than the rings hold");
    let stored = Stored::read(&at.join("journal"));
    assert_eq!(stored.samples, ended.samples("stored"));
    assert!(plant.tags().iter().all(|tag| stored.last(&tag.name).status == Status::GOOD));
}
