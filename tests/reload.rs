//! Five hundred random reloads under load: what they do not touch does not notice, and nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

#[path = "support/floor_memory.rs"]
mod floor_memory;

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fieldbeat::config::Loaded;
use fieldbeat::plant::{Plant, PlantConfig, Profile};
use fieldbeat::protocol::load_parts;
use fieldbeat::serve::{ProcessUsage, RunReport};
use fieldbeat::supervise::Gateway;
use floor_memory::{ALLOCATIONS, ARMED, FREES, the_detector_bites};

const RELOADS: usize = 500;
/// In turns, so that what the machine does hits both alike.
const TURNS: usize = 5;
const DEVICES: usize = 6;
/// The first devices are the same in every configuration.
const UNTOUCHED: usize = 2;

struct Site {
    dir: tempfile::TempDir,
    addresses: Vec<SocketAddr>,
}

impl Site {
    /// A configuration with the untouched devices and `others`, the text of more tag files.
    fn load(&self, others: &[(String, String)]) -> Result<Loaded, String> {
        let journal = self.dir.path().join("journal").display().to_string();
        let toml = format!(
            "[gateway]\nid = \"g\"\n[journal]\npath = \"{journal}\"\n[metrics]\nlisten = \"off\"\n[diagnostics]\nscan_rate_ms = 100\n"
        );
        let own: Vec<(String, String)> = (0..UNTOUCHED)
            .map(|device| {
                (format!("tags/{device}.json"), self.file(device, &format!("steady{device}"), 10, 0..40, device))
            })
            .collect();
        let all: Vec<(&str, &str)> = own.iter().chain(others).map(|(name, text)| (&**name, &**text)).collect();
        load_parts(("fieldbeat.toml", &toml), &all).map_err(|e| e.to_string())
    }

    /// One link to the device at `at`, with uint16 tags at `registers` in a group of their own.
    fn file(&self, link: usize, group: &str, ms: u64, registers: std::ops::Range<usize>, at: usize) -> String {
        let mut text = format!(
            r#"{{"groups":[{{"name":"{group}","scan_rate_ms":{ms}}}],"links":[{{"name":"l{link}","protocol":"modbus_tcp",
               "host":"127.0.0.1","port":{},"addressing":"raw","expected_reply_ms":0.05}}],"tags":["#,
            self.addresses[at].port()
        );
        for (n, register) in registers.enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(
                text,
                r#"{comma}{{"name":"l{link}.r{register}","group":"{group}","address":"l{link}:1:3:{register}:1","data_type":"uint16"}}"#
            )
            .unwrap();
        }
        text + "]}"
    }

    /// Tag files of some of the other devices: links come, go, and move to other devices; tags and rates change.
    /// Now and then the files are wrong.
    fn random(&self, rng: &mut fastrand::Rng) -> Result<Loaded, String> {
        let mut others = Vec::new();
        for link in UNTOUCHED..DEVICES {
            if rng.u8(..4) > 0 {
                let first = rng.usize(..20);
                let at = if rng.u8(..4) == 0 { rng.usize(UNTOUCHED..DEVICES) } else { link };
                let ms = [5, 10, 20, 100][rng.usize(..4)];
                // Often a group that several links share.
                let group = if rng.bool() { format!("g{ms}") } else { format!("own{link}") };
                let mut text = self.file(link, &group, ms, first..first + rng.usize(1..60), at);
                if others.iter().any(|(_, other): &(String, String)| other.contains(&format!("\"name\":\"{group}\""))) {
                    // It is declared already.
                    text = text.replacen(&format!(r#""groups":[{{"name":"{group}","scan_rate_ms":{ms}}}],"#), "", 1);
                }
                others.push((format!("tags/{link}.json"), text));
            }
        }
        match rng.u8(..10) {
            0 => others.push(("tags/x.json".into(), "{\"links\":[".into())),
            // The same tags again, in another file.
            1 if !others.is_empty() => others.push(("tags/y.json".into(), others[0].1.clone())),
            _ => {}
        }
        self.load(&others)
    }
}

/// What the untouched devices' groups have done: cycles, and cycles that were missed or skipped.
fn untouched(report: &RunReport) -> (u64, u64) {
    let groups = (0..UNTOUCHED).filter_map(|device| report.groups[&format!("steady{device}")].polled.as_ref());
    groups
        .fold((0, 0), |(cycles, missed), group| (cycles + group.cycles, missed + group.skipped + group.deadline_misses))
}

/// Looks after the gateway for a while; what that did to the untouched: cycles, missed ones.
fn observe(gateway: &mut Gateway, mut work: impl FnMut(&mut Gateway)) -> (u64, u64) {
    let before = untouched(&gateway.report());
    work(gateway);
    gateway.tend().unwrap_or_else(|trouble| panic!("{trouble}"));
    let after = untouched(&gateway.report());
    (after.0 - before.0, after.1 - before.1)
}

fn pause(gateway: &mut Gateway, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        gateway.tend().unwrap_or_else(|trouble| panic!("{trouble}"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn five_hundred_random_reloads_cost_what_they_do_not_touch_nothing() {
    the_detector_bites();
    let plant = Plant::start(PlantConfig {
        devices: DEVICES,
        profile: Profile::Line { tags_per_device: 100 },
        cpu: Some(0),
        ..PlantConfig::default()
    })
    .unwrap();
    let site = Site { dir: tempfile::tempdir().unwrap(), addresses: plant.addresses().to_vec() };
    let mut gateway = Gateway::start(site.load(&[]).unwrap()).unwrap_or_else(|e| panic!("{e}"));
    pause(&mut gateway, Duration::from_millis(800));
    let seed = 20;
    let mut rng = fastrand::Rng::with_seed(seed);
    println!("seed {seed}");
    let (mut still, mut reloading) = ((0, 0), (0, 0));
    let mut rates = [Vec::new(), Vec::new()];
    let (mut adopted, mut refused, mut longest) = (0, 0, Duration::ZERO);
    let mut memory = Vec::new();
    ARMED.store(true, Relaxed);
    for _ in 0..TURNS {
        let begun = Instant::now();
        let (cycles, missed) = observe(&mut gateway, |gateway| {
            for _ in 0..RELOADS / TURNS {
                match site.random(&mut rng) {
                    Ok(loaded) => {
                        let begun = Instant::now();
                        gateway.adopt(&loaded);
                        longest = longest.max(begun.elapsed());
                        adopted += 1;
                    }
                    Err(_) => refused += 1,
                }
                pause(gateway, Duration::from_millis(20));
            }
        });
        reloading = (reloading.0 + cycles, reloading.1 + missed);
        rates[1].push(missed as f64 / cycles as f64);
        let time = begun.elapsed();
        let (cycles, missed) = observe(&mut gateway, |gateway| pause(gateway, time));
        still = (still.0 + cycles, still.1 + missed);
        rates[0].push(missed as f64 / cycles as f64);
        memory.push(ProcessUsage::now().anonymous_bytes);
    }
    ARMED.store(false, Relaxed);
    println!("{adopted} adopted, {refused} refused; longest {longest:?}; memory {memory:?}");
    println!("untouched: {still:?} cycles and missed while nothing changed, {reloading:?} while everything did");
    assert!(adopted >= RELOADS * 3 / 5 && refused > 10, "{adopted} and {refused}");
    assert_eq!((ALLOCATIONS.load(Relaxed), FREES.load(Relaxed)), (0, 0), "allocations and frees of an executor");
    // The machine's own noise, and a little: one cycle in a thousand. The middle turn of each, for the machine may stand
    // still in any one.
    let told = format!("{rates:?}");
    let [still_rate, reloading_rate] = rates.map(|mut rates: Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    assert!(reloading_rate <= still_rate * 1.5 + 0.001, "reloading last: {told}");
    let expected = still.0 as f64;
    assert!((reloading.0 as f64) > expected * 0.98, "not one cycle less: {} against {expected}", reloading.0);
    let growth = memory[TURNS - 1].saturating_sub(memory[1]);
    assert!(growth < 4 << 20, "memory grew by {growth} bytes: {memory:?}");
    let report = gateway.report();
    for device in 0..UNTOUCHED {
        let link = &report.links[&format!("l{device}")];
        assert_eq!((link.reconnects, link.aborted), (0, 0), "the untouched keep their connections");
    }
    assert!(report.groups["$diagnostics"].produced > 10_000, "the gateway's own tags go on through all of it");
    let ended = gateway.stop();
    assert_eq!(ended.unsaved, None);
    let samples = &ended.report.samples;
    assert_eq!(samples.produced, samples.stored + samples.dropped, "the counts add up over all of it");
    assert_eq!(samples.dropped, 0);
}
