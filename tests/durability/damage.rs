//! A journal that is damaged, deleted, or has no room from the start: the gateway scans, says so, and stores again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use fieldbeat::plant::{Plant, PlantConfig, Profile, ScanRates};
use fieldbeat::store::{JournalReader, Survey, set_aside_before};
use fieldbeat::tag::Nanos;

use crate::alone;
use crate::disk::SmallDisk;
use crate::gateway::{Gateway, Site};

const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// Nobody is there: what is stored stays undelivered.
const OUTPUT: &str = "[outputs.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"";

fn plant() -> Plant {
    Plant::start(PlantConfig {
        devices: 2,
        profile: Profile::Float32 { tags_per_device: 100 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(20)),
        ..PlantConfig::default()
    })
    .unwrap()
}

fn fieldbeat(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fieldbeat")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_degraded(gateway: &Gateway<'_>, about: &str) {
    crate::peers::wait("health tells it", || {
        gateway
            .get("/health")
            .is_ok_and(|(code, body)| code == 200 && body.contains("degraded") && body.contains(about))
    });
}

/// What is produced is stored or dropped; how many were lost after that.
fn stop(site: &Site, gateway: Gateway<'_>) -> u64 {
    let status = gateway.terminate(STOPS_WITHIN);
    assert!(status.success(), "{status}\n{}", site.log());
    site.report().expect_closed();
    site.report().samples("lost_after_stored")
}

fn run_until_stored(site: &Site, samples: u64) {
    let gateway = site.start(&[]);
    gateway.until("it stores", |metrics| metrics.stored() > samples);
    assert_eq!(stop(site, gateway), 0);
}

#[test]
fn a_gateway_starts_on_a_journal_that_was_cut_and_what_is_left_of_it_is_salvaged() {
    let _turn = alone();
    let plant = plant();
    let site = Site::new(&plant, None, OUTPUT);
    run_until_stored(&site, 30_000);
    let data = site.journal.join("data.mdb");
    let file = File::options().write(true).open(&data).unwrap();
    let cut = file.metadata().unwrap().len() / 2;
    file.set_len(cut).unwrap();

    let tail = fieldbeat(&["tail", "-c", site.config().to_str().unwrap(), "--lines", "1", "--from-start"]);
    assert_eq!(tail.status.code(), Some(3), "{}", text(&tail.stderr));
    assert!(text(&tail.stderr).contains("is damaged") && text(&tail.stderr).contains("journal salvage"));
    let audit = fieldbeat(&["audit", "-c", site.config().to_str().unwrap()]);
    assert_eq!(audit.status.code(), Some(3), "{}", text(&audit.stderr));

    let gateway = site.start(&[]);
    gateway.until("it stores", |metrics| metrics.stored() > 5_000);
    assert_degraded(&gateway, "is set aside");
    assert_eq!(gateway.metrics().unwrap().sum("fieldbeat_journal_set_aside_total"), 1);
    assert_eq!(stop(&site, gateway), 0);
    assert!(site.log().contains("journal salvage"), "{}", site.log());
    let account = &site.accounts()[0];
    assert_eq!((account.samples, account.missing), (site.report().samples("stored"), 0));

    let aside = set_aside_before(&site.journal).unwrap();
    assert_eq!(aside.len(), 1);
    let path = aside[0].to_str().unwrap();
    assert_eq!(std::fs::metadata(aside[0].join("data.mdb")).unwrap().len(), cut, "as it was");
    let verified = fieldbeat(&["journal", "verify", path]);
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified.stdout));
    assert!(text(&verified.stdout).ends_with("damaged\n") && text(&verified.stdout).contains("beyond the file"));
    let to = site.config().join("salvaged");
    let salvaged = fieldbeat(&["journal", "salvage", path, "--to", to.to_str().unwrap()]);
    println!("{}", text(&salvaged.stdout));
    assert_eq!(salvaged.status.code(), Some(1), "some of it is lost: {}", text(&salvaged.stderr));
    assert!(Survey::of(&to).unwrap().verdict().samples > 0);
    let verified = fieldbeat(&["journal", "verify", site.journal.to_str().unwrap()]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
}

#[test]
fn a_journal_that_is_cut_under_a_gateway_is_set_aside_while_it_scans_on() {
    let _turn = alone();
    let plant = plant();
    let site = Site::new(&plant, None, OUTPUT);
    let gateway = site.start(&[]);
    gateway.until("it stores", |metrics| metrics.stored() > 30_000);
    let told = site.config().join("tail");
    let mut tail = Command::new(env!("CARGO_BIN_EXE_fieldbeat"))
        .args(["tail", "--config", site.config().to_str().unwrap()])
        .stdout(File::create(&told).unwrap())
        .spawn()
        .unwrap();
    let seen = || std::fs::metadata(&told).unwrap().len();
    crate::peers::wait("tail follows", || seen() > 0);
    File::options().write(true).open(site.journal.join("data.mdb")).unwrap().set_len(8192).unwrap();
    gateway.until("it is set aside", |metrics| metrics.sum("fieldbeat_journal_set_aside_total") == 1);
    let stored = gateway.metrics().unwrap().stored();
    gateway.until("it stores again", |metrics| metrics.stored() > stored + 10_000);
    assert_degraded(&gateway, "is set aside");
    let before = seen();
    crate::peers::wait("tail follows into the new file", || seen() > before + 10_000);
    tail.kill().unwrap();
    tail.wait().unwrap();
    let lost = stop(&site, gateway);
    let stored = site.report().samples("stored");
    let account = &site.accounts()[0];
    assert_eq!(account.samples + lost, stored, "stored is there or told to be lost");
    assert_eq!(site.report().output("lost"), lost);
    assert_eq!(site.report().samples("dropped"), 0, "nothing was dropped meanwhile");
}

#[test]
fn a_journal_that_is_deleted_under_a_gateway_is_noticed_counted_and_made_again() {
    let _turn = alone();
    let plant = plant();
    let site = Site::new(&plant, None, OUTPUT);
    let gateway = site.start(&[]);
    gateway.until("it stores", |metrics| metrics.stored() > 10_000);
    std::fs::remove_dir_all(&site.journal).unwrap();
    gateway.until("it is noticed", |metrics| metrics.sum("fieldbeat_journal_lost_samples_total") > 0);
    assert_degraded(&gateway, "was removed or renamed");
    let stored = gateway.metrics().unwrap().stored();
    gateway.until("it stores again", |metrics| metrics.stored() > stored + 10_000);
    let lost = stop(&site, gateway);
    let account = &site.accounts()[0];
    assert!(lost >= 10_000, "{lost}");
    assert_eq!(account.samples + lost, site.report().samples("stored"), "stored is there or told to be lost");
    assert!(site.log().contains("a new journal is started") && site.log().contains("were lost after they were stored"));
}

#[test]
fn a_gateway_that_starts_on_a_full_disk_scans_and_stores_as_soon_as_there_is_room() {
    let _turn = alone();
    if !nix::unistd::geteuid().is_root() {
        return println!("SKIPPED: a small disk can only be mounted by root");
    }
    let disk = SmallDisk::mount(24);
    let rest = disk.fill();
    let plant = plant();
    let site = Site::new(&plant, Some(&disk.path().join("journal")), OUTPUT);
    let gateway = site.start(&[]);
    crate::peers::wait("health tells it", || {
        gateway.get("/health").is_ok_and(|(code, body)| code == 503 && body.contains("is full"))
    });
    gateway.until("it scans", |metrics| metrics.produced() > 5_000);
    assert_eq!(gateway.metrics().unwrap().stored(), 0);
    std::fs::remove_file(rest).unwrap();
    gateway.until("it stores", |metrics| metrics.stored() > 10_000);
    assert_eq!(stop(&site, gateway), 0);
    let account = &site.accounts()[0];
    assert_eq!(account.samples, site.report().samples("stored"));
}

/// Flips a bit at each place where the file holds `bytes`; how often that was.
fn damage_where(data: &Path, bytes: &[u8], at: usize) -> usize {
    let found = std::fs::read(data).unwrap();
    let file = File::options().write(true).open(data).unwrap();
    let places: Vec<usize> = (0..found.len() - bytes.len()).filter(|i| found[*i..].starts_with(bytes)).collect();
    for place in &places {
        file.write_all_at(&[found[place + at] ^ 1], (place + at) as u64).unwrap();
    }
    places.len()
}

#[test]
fn tail_says_which_blocks_it_leaves_out_and_shows_tags_without_a_name_by_number() {
    let _turn = alone();
    let plant = plant();
    let site = Site::new(&plant, None, OUTPUT);
    run_until_stored(&site, 10_000);
    let data = site.journal.join("data.mdb");
    let reader = JournalReader::open_read_only(&site.journal).unwrap();
    let block = reader.block_at_or_after(2).unwrap().unwrap();
    let samples: u64 = reader.accounts().unwrap()[0].samples;
    let name = block.batch.names.tags[7].name.clone();
    drop(reader);
    let config = site.config().to_str().unwrap();
    let whole = fieldbeat(&["tail", "-c", config, "--from-start", "--lines", "1000"]);
    assert_eq!((whole.status.code(), text(&whole.stderr)), (Some(0), String::new()));

    // The body of one block, found by the header's sequence number, and one name.
    let header = [block.batch.first_sequence.to_le_bytes().as_slice(), &block.batch.samples.to_le_bytes()].concat();
    assert!(damage_where(&data, &header, 100) > 0 && damage_where(&data, name.as_bytes(), 0) > 0);
    let left = samples - u64::from(block.batch.samples);
    let tail = fieldbeat(&["tail", "-c", config, "--from-start", "--lines", &left.to_string()]);
    let (out, err) = (text(&tail.stdout), text(&tail.stderr));
    assert_eq!(tail.status.code(), Some(1), "{err}");
    assert_eq!(out.lines().count() as u64, left, "all that can be read");
    assert!(err.contains(&format!("block {} is damaged and was skipped", block.index)), "{err}");
    assert!(err.contains(&format!("1 damaged blocks were skipped ({} samples)", block.batch.samples)), "{err}");
    assert!(
        out.contains(" #7 ") && !out.contains(&format!(" {name} ")),
        "{}",
        out.lines().take(20).collect::<String>()
    );
    let verified = fieldbeat(&["journal", "verify", site.journal.to_str().unwrap()]);
    let out = text(&verified.stdout);
    assert_eq!(verified.status.code(), Some(1), "{out}");
    assert!(out.contains("1 damaged\n") && out.contains(&format!("block {}: ", block.index)), "{out}");
}
