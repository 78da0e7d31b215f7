//! The way from journal to broker: what one output sends to mosquitto, from a journal in memory, with the clock's time and
//! with its own.

#![allow(clippy::unwrap_used, reason = "a bench may fail its own set-up")]

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/mqtt/journal.rs"]
mod journal;
#[path = "../tests/support/mosquitto.rs"]
mod peers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use fieldbeat::config::{MqttConfig, MqttVersion};
use fieldbeat::output::{OutputStats, mqtt};

use journal::{MemoryJournal, Producer};
use peers::{Mosquitto, config, feed, wait};

/// Of the output's thread, as long as it runs.
fn cpu_seconds_of_output() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stat = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap());
    let stat = stat.into_iter().find(|stat| stat.contains("(mqtt-cloud)")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn main() {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let broker = Mosquitto::started("max_inflight_messages 0");
    for (what, version, message_bytes_max) in [
        ("3.1.1, messages of 128 KiB", MqttVersion::V311, 128 << 10),
        ("5, messages of 128 KiB", MqttVersion::V5, 128 << 10),
        ("3.1.1, messages of 1 KiB", MqttVersion::V311, 1 << 10),
    ] {
        let journal = MemoryJournal::default();
        let mut producer = Producer::new(&journal, 1, 1, 1000);
        producer.floats = true;
        (0..500).for_each(|_| producer.blocks(10));
        let (stats, stop) = (Arc::new(OutputStats::default()), Arc::new(AtomicBool::new(false)));
        let config = MqttConfig { version, message_bytes_max, ..config(broker.port) };
        let begun = Instant::now();
        let output = mqtt::spawn(feed(Box::new(journal.clone()), &stats, &stop), &config).unwrap();
        wait("all acknowledged", || stats.cursor().block == journal.next());
        let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds_of_output());
        stop.store(true, Relaxed);
        assert!(output.join(), "the output panicked");
        let samples = stats.samples_acknowledged.load(Relaxed) as f64;
        println!(
            "{what}: {:.2} M samples/s, {:.2} M samples/s of one core, {:.0} messages/s, {:.1} bytes a sample",
            samples / wall / 1e6,
            samples / cpu / 1e6,
            stats.messages_acknowledged.load(Relaxed) as f64 / wall,
            stats.bytes_published.load(Relaxed) as f64 / samples,
        );
    }
}
