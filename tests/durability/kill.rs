//! kill -9 of the gateway, again and again.

use std::time::{Duration, Instant};

use fieldbeat::limits::HUB_PERIOD;
use fieldbeat::plant::{Plant, PlantConfig, Profile, ScanRates};
use fieldbeat::tag::Nanos;

use crate::alone;
use crate::consumer::consumed;
use crate::gateway::{COMMIT_MS, Site};
use crate::ledger::Ledger;
use crate::peers::{Mosquitto, Subscriber};

const KILLS: usize = 50;
const DEVICES: usize = 4;
const TAGS_PER_DEVICE: usize = 50;
/// 200 tags every 10 ms.
const SAMPLES_PER_MS: f64 = (DEVICES * TAGS_PER_DEVICE) as f64 / 10.0;
/// For a machine that is busy with something else: usually, and when the journal's thread or its disk has to wait.
const SLACK_MS: f64 = 50.0;
const WORST_SLACK_MS: f64 = 1000.0;

#[test]
fn what_was_committed_survives_fifty_kills_and_only_the_last_commit_time_is_lost() {
    let _turn = alone();
    let seed = std::env::var("FIELDBEAT_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed} (set FIELDBEAT_SEED to repeat)");
    let mut random = fastrand::Rng::with_seed(seed);
    let plant = Plant::start(PlantConfig {
        devices: DEVICES,
        profile: Profile::Float32 { tags_per_device: TAGS_PER_DEVICE },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(10)),
        ..PlantConfig::default()
    })
    .unwrap();
    let broker = Mosquitto::started("");
    let subscriber = Subscriber::start(broker.port, &["-c", "-i", "watcher"]);
    let outputs = format!("[outputs.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{}\"", broker.port);
    // The gateway's own tags too: a lane that no executor has.
    let site = Site::new(&plant, None, &format!("{outputs}\n[diagnostics]\nscan_rate_ms = 100\n"));
    let mut ledger = Ledger::new(&plant);

    let mut accounts = Vec::new();
    let mut losses_ms = Vec::new();
    let mut commit_max_ms = 0f64;
    for run in 0..KILLS {
        let gateway = site.start(&[]);
        std::thread::sleep(Duration::from_millis(random.u64(100..900)));
        let asked = Instant::now();
        let metrics = gateway.metrics();
        gateway.kill();
        let between_ms = asked.elapsed().as_secs_f64() * 1e3;

        // Read from the disk at once: what all outputs have leaves the journal after a while.
        let mut fresh = site.accounts();
        fresh.retain(|a| !accounts.iter().any(|b: &fieldbeat::store::Account| b.boot == a.boot));
        let kept = fresh.iter().map(|account| account.next_sequence).sum();
        accounts.extend(fresh);
        if let Some(metrics) = metrics {
            assert_eq!(metrics.dropped_at_rings(), 0);
            assert!(metrics.stored() <= kept, "run {run}: {} told as stored, {kept} are", metrics.stored());
            commit_max_ms = commit_max_ms.max(metrics.longest_commit_ms());
            let lost_ms = metrics.produced().saturating_sub(kept) as f64 / SAMPLES_PER_MS;
            losses_ms.push((lost_ms, between_ms));
        }
        ledger.feed(&subscriber);
    }
    assert!(accounts.len() > KILLS / 2 && losses_ms.len() > KILLS / 2, "{} boots stored something", accounts.len());

    // The last one ends cleanly, and delivers what the others left.
    let status = site.start(&["--seconds", "2"]).ended(Duration::from_secs(20));
    assert!(status.success(), "{status}\n{}", site.log());
    let report = site.report();
    report.expect_closed();
    assert_eq!((report.samples("dropped"), report.output("pending"), report.output("lost")), (0, 0, 0));
    let all = site.accounts();
    let boot = all.last().unwrap().boot;
    let last: Vec<_> = all.into_iter().filter(|account| account.boot == boot).collect();
    assert_eq!(last.iter().map(|account| account.samples).sum::<u64>(), report.samples("stored"));
    assert!(accounts.iter().all(|account| account.boot != boot));
    accounts.extend(last);
    ledger.expect(&subscriber, &accounts);

    // So does a consumer that knows nothing but the messages: of all topics, and of one.
    assert_eq!(consumed(&ledger.lines), [ledger.samples, ledger.repeats, 0, 0]);
    let topic = ledger.lines[0].split(' ').next().unwrap().to_owned() + " ";
    let of_topic: Vec<&String> = ledger.lines.iter().filter(|line| line.starts_with(&topic)).collect();
    let [samples, repeats, ..] = consumed(of_topic.iter().copied());
    assert_eq!(consumed(of_topic.iter().copied())[2..], [0, 0]);
    // One that is taken away on the way is noticed, unless it came again; two hundred are.
    let holes = of_topic.iter().enumerate().filter(|(at, _)| at / 200 != 1).map(|(_, line)| *line);
    let less = consumed(holes);
    assert!(of_topic.len() < 600 || less[2] > 0 && less[0] < samples && less[1] <= repeats, "{less:?} of {samples}");

    losses_ms.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (worst_ms, median_ms) = (losses_ms[losses_ms.len() - 1].0, losses_ms[losses_ms.len() / 2].0);
    let between_max_ms = losses_ms.iter().map(|l| l.1).fold(0.0, f64::max);
    let batch_ms = HUB_PERIOD.0 as f64 / 1e6;
    let bound_ms = f64::from(COMMIT_MS) + batch_ms + commit_max_ms;
    println!(
        "{KILLS} kills, {} boots: {} samples committed, none missing at the subscriber, {} repeats, {} values compared",
        accounts.len(),
        ledger.samples,
        ledger.repeats,
        ledger.compared
    );
    println!(
        "lost of what was produced when the metrics were read before the kill: median {median_ms:.0} ms, most \
         {worst_ms:.0} ms of samples (what was made between reading and kill, at most {between_max_ms:.0} ms, comes on top); \
         expected at most {bound_ms:.0} ms: commit {COMMIT_MS} ms, batch {batch_ms:.0} ms, longest commit {commit_max_ms:.0} ms"
    );
    assert!(median_ms <= bound_ms + SLACK_MS, "{median_ms} ms of samples were lost, usually");
    assert!(worst_ms <= bound_ms + WORST_SLACK_MS, "{worst_ms} ms of samples were lost");
    assert!(ledger.compared > ledger.samples / 2);
}
