//! kill -9 of a gateway that publishes a topic per tag, and a broker that is away in between: what was committed arrives at a
//! consumer that knows nothing but the messages.

use std::time::{Duration, Instant};

use fieldbeat::plant::{Plant, PlantConfig, Profile, ScanRates};
use fieldbeat::store::Account;
use fieldbeat::tag::Nanos;

use crate::alone;
use crate::consumer::consumed;
use crate::gateway::Site;
use crate::peers::{Mosquitto, PATIENCE, Subscriber};
use crate::tag_message::TagLedger;

const KILLS: usize = 12;

#[test]
fn with_a_topic_per_tag_what_was_committed_survives_kills_of_the_gateway_and_the_broker_s_absence() {
    let _turn = alone();
    let mut random = fastrand::Rng::with_seed(11);
    let plant = Plant::start(PlantConfig {
        devices: 2,
        profile: Profile::Float32 { tags_per_device: 10 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(20)),
        ..PlantConfig::default()
    })
    .unwrap();
    let mut broker = Mosquitto::started("max_inflight_messages 0");
    let subscriber = Subscriber::start(broker.port, &["-c", "-i", "watcher"]);
    let output = format!(
        "[outputs.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{}\"\ntopic_per = \"tag\"\nmax_in_flight = 500\n",
        broker.port
    );
    let site = Site::new(&plant, None, &output);
    let mut accounts: Vec<Account> = Vec::new();
    let mut ledger = TagLedger::default();
    for run in 0..KILLS {
        let gateway = site.start(&[]);
        std::thread::sleep(Duration::from_millis(random.u64(300..1200)));
        if run % 4 == 1 {
            broker.terminate();
            std::thread::sleep(Duration::from_millis(400));
        }
        gateway.kill();
        if run % 4 == 1 {
            broker.start();
        }
        let mut fresh = site.accounts();
        fresh.retain(|a| !accounts.iter().any(|b| b.boot == a.boot));
        accounts.extend(fresh);
    }
    let status = site.start(&["--seconds", "3"]).ended(Duration::from_secs(20));
    assert!(status.success(), "{status}\n{}", site.log());
    let report = site.report();
    report.expect_closed();
    assert_eq!(
        (report.samples("dropped"), report.output("pending"), report.output("lost")),
        (0, 0, 0),
        "{}",
        site.log()
    );
    let mut last = site.accounts();
    last.retain(|a| !accounts.iter().any(|b| b.boot == a.boot));
    accounts.extend(last);
    let stored: u64 = accounts.iter().map(|account| account.samples).sum();
    let mut moved = (0, Instant::now());
    while ledger.samples < stored {
        let fresh = subscriber.fresh(ledger.fed());
        ledger.feed(&fresh);
        if ledger.samples > moved.0 {
            moved = (ledger.samples, Instant::now());
        }
        assert!(moved.1.elapsed() < PATIENCE, "{} of {stored} samples came", ledger.samples);
        std::thread::sleep(Duration::from_millis(5));
    }
    for account in &accounts {
        let (boot, lane) = (account.boot.to_string(), u64::from(account.lane.0));
        assert_eq!(ledger.missing(&boot, lane, account.next_sequence), 0, "{account:?}");
    }
    assert_eq!(ledger.samples, stored, "nothing came that the journal did not hold");
    assert_eq!(consumed(&ledger.lines), [ledger.samples, ledger.repeats, 0, 0]);
    println!("{KILLS} kills, {} boots, {stored} samples committed, {} repeats", accounts.len(), ledger.repeats);
}
