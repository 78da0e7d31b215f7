//! The InfluxDB output against InfluxDB itself and against a server that does as the test says: every sample is there once,
//! whatever happens on the way.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

#[path = "../support/certs.rs"]
mod certs;
mod database;
mod faults;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../mqtt/journal.rs"]
mod journal;
#[path = "../support/mosquitto.rs"]
mod peers;
mod refusals;
mod server;
mod victoria;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use fieldbeat::config::{InfluxApi, InfluxConfig, Precision, TagChoice};
use fieldbeat::output::{Feed, OutputHandle, OutputState, OutputStats, influx};
use fieldbeat::store::Position;
use fieldbeat::tag::Nanos;

use journal::{MemoryJournal, Producer};
use peers::feed;

/// A running output; stopped, cleanly, when dropped.
struct Output {
    stats: Arc<OutputStats>,
    stop: Arc<AtomicBool>,
    handle: Option<OutputHandle>,
}

fn spawn(journal: &MemoryJournal, config: &InfluxConfig) -> Output {
    spawn_of(TagChoice::default(), journal, config)
}

fn spawn_of(choice: TagChoice, journal: &MemoryJournal, config: &InfluxConfig) -> Output {
    let (stats, stop) = (Arc::new(OutputStats::default()), Arc::new(AtomicBool::new(false)));
    let feed = Feed { choice, ..feed(Box::new(journal.clone()), &stats, &stop) };
    let handle = influx::spawn(feed, config).unwrap();
    Output { stats, stop, handle: Some(handle) }
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

fn v1(database: &str) -> InfluxApi {
    InfluxApi::V1 { database: database.into(), user: None, password: None }
}

/// The defaults of a real output, with a short batch, on one port of this machine.
fn config(port: u16) -> InfluxConfig {
    InfluxConfig {
        host: "127.0.0.1".into(),
        port,
        path: String::new(),
        tls: None,
        api: v1("plant"),
        precision: Precision::Microseconds,
        gzip: true,
        measurement: "{tag}".into(),
        tag_set: vec![("gateway".into(), "{gateway}".into())],
        field: "value".into(),
        status_field: "status".into(),
        batch: Nanos::from_millis(50),
        lines_max: 500,
        timeout: Nanos::from_millis(1_000),
    }
}

/// Samples with float32 values, one in seven held.
fn producer(journal: &MemoryJournal) -> Producer {
    let mut producer = Producer::new(journal, 2, 2, 14);
    producer.floats = true;
    producer
}

/// Everything acknowledged, counted and saved.
fn expect_settled(journal: &MemoryJournal, output: &mut Output, made: u64, refused: u64) {
    output.stop();
    let end = Position { block: journal.next(), samples: 0 };
    assert_eq!(journal.saved("cloud"), Some(end));
    assert_eq!(output.stats.cursor(), end);
    assert_eq!(count(&output.stats.samples_refused), refused);
    assert_eq!(count(&output.stats.samples_acknowledged), made - refused);
    assert_eq!(count(&output.stats.samples_skipped), 0);
}

fn made(producer: &Producer) -> u64 {
    producer.made().iter().sum()
}
