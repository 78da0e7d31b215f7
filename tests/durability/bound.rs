//! The journal's byte bound reached while the broker is away: the thread, the journal and the output as the
//! gateway ties them together, with values that do not compress, since a plant would take too long to fill it.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use fieldbeat::config::JournalConfig;
use fieldbeat::hub::clock_pair;
use fieldbeat::limits::JOURNAL_BYTES_MIN;
use fieldbeat::output::{OutputStats, mqtt};
use fieldbeat::store::{BootId, Journal, spawn_writer};
use fieldbeat::tag::Batch;
use fieldbeat::tag::{ClockPair, Dictionary, DictionaryTag, LaneId, Nanos, Sample, ScalarType};

use crate::alone;
use crate::message::Message;
use crate::peers::{Mosquitto, Subscriber, config, feed, wait};

const TAGS: u32 = 1000;
const BATCH: u32 = 8000;

fn names() -> Arc<Dictionary> {
    let tag = |i| DictionaryTag {
        name: format!("t{i}"),
        ty: ScalarType::Int64 as u8,
        unit: String::new(),
        ..Default::default()
    };
    Arc::new(Dictionary { gateway: "line-4".into(), tags: (0..TAGS).map(tag).collect(), groups: vec!["g".into()] })
}

/// Told by the number, and without a pattern.
fn value_of(number: u64) -> i64 {
    fastrand::Rng::with_seed(number).i64(..)
}

fn batch(names: &Arc<Dictionary>, first: u64, clock: ClockPair) -> Arc<Batch> {
    let slot = |i: u32| Sample {
        t: clock.mono.0,
        value: value_of(first + u64::from(i)) as u64,
        tag: i % TAGS,
        ty: ScalarType::Int64 as u8,
        ..Sample::default()
    };
    let slots = (0..BATCH).map(slot).collect();
    Arc::new(Batch {
        lane: LaneId(0),
        first_sequence: first,
        samples: BATCH,
        slots,
        clock,
        drained: clock.mono,
        names: names.clone(),
    })
}

#[test]
fn at_the_bound_the_oldest_goes_counted_and_the_output_goes_on_at_the_oldest_that_is_left() {
    let _turn = alone();
    let mut broker = Mosquitto::started("");
    let subscriber = Subscriber::start(broker.port, &["-c", "-i", "watcher"]);
    let dir = tempfile::tempdir().unwrap();
    let journal =
        JournalConfig { path: dir.path().into(), bytes_max: JOURNAL_BYTES_MIN, commit: Nanos::from_millis(20) };
    let mut journal = Journal::open(&journal, BootId(7)).unwrap();
    journal.register_cursors(&["cloud"]).unwrap();
    let reader = journal.reader();
    let (sender, batches) = crossbeam_channel::bounded(16);
    let writer = spawn_writer(journal, batches).unwrap();
    let journal = writer.stats();
    let output = Arc::new(OutputStats::default());
    let stop = Arc::new(AtomicBool::new(false));
    let source = Box::new(reader.clone());
    let settings = config(broker.port);
    let handle = mqtt::spawn(feed(source, &output, &stop), &settings).unwrap();

    let (names, clock) = (names(), clock_pair());
    let mut made = 0;
    let mut make = |batches: u64| {
        for _ in 0..batches {
            sender.send_timeout(batch(&names, made, clock), Duration::from_secs(10)).unwrap();
            made += u64::from(BATCH);
        }
        made
    };
    let acknowledged_all =
        |made: u64| output.samples_acknowledged.load(Relaxed) + output.samples_skipped.load(Relaxed) == made;
    let before = make(10);
    wait("the first are acknowledged", || acknowledged_all(before));
    broker.terminate();
    while journal.samples_dropped.load(Relaxed) < 300_000 {
        make(1);
    }
    let flooded = make(1);
    wait("all is stored", || journal.samples_stored.load(Relaxed) == flooded);
    let held = &reader.accounts().unwrap()[0];
    assert_eq!((held.next_sequence, held.missing), (flooded, 0), "the newest is kept");
    assert!(held.first_sequence > before, "the oldest is gone");
    let on_disk = std::fs::metadata(dir.path().join("data.mdb")).unwrap().blocks() * 512;
    // Some file systems count their own list of a file's extents.
    assert!(on_disk <= JOURNAL_BYTES_MIN + (64 << 10), "{on_disk} bytes on the disk");

    broker.start();
    wait("the rest is acknowledged", || acknowledged_all(flooded));
    let end = make(5);
    wait("and what comes then", || acknowledged_all(end));
    stop.store(true, Relaxed);
    assert!(handle.join());
    drop(sender);
    assert!(writer.join().unwrap().error.is_none());

    let [skipped, dropped] = [&output.samples_skipped, &journal.samples_dropped].map(|count| count.load(Relaxed));
    // A block may be dropped while it is on its way: then it is counted, and arrives all the same.
    assert!(
        skipped >= 300_000 - u64::from(BATCH) && skipped <= dropped && dropped - skipped < 300_000,
        "{skipped} {dropped}"
    );
    assert_eq!(reader.cursors().unwrap()[0].samples_lost, dropped, "the cursor's own count");
    assert_eq!(journal.samples_stored.load(Relaxed), end);
    assert_eq!(output.samples_acknowledged.load(Relaxed) + skipped, end, "the counts add up");

    // What the subscriber has: all but one run of numbers, as long as the output says.
    let mut numbers = Vec::new();
    let mut fed = 0;
    wait("all is received", || {
        for received in subscriber.fresh(&mut fed).iter().filter(|received| received.is_data()) {
            let message: Message<i64> = serde_json::from_str(&received.payload).unwrap();
            for frame in message.frames {
                for (number, (name, value)) in (frame.seq..).zip(frame.values.0) {
                    assert_eq!((name, value), (format!("t{}", number % u64::from(TAGS)), value_of(number)));
                    numbers.push(number);
                }
            }
        }
        numbers.last() == Some(&(end - 1))
    });
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len() as u64, end - skipped);
    let holes: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert_eq!(holes.len(), 1, "{holes:?}");
    assert_eq!(holes[0][0] + 1, before, "what was dropped begins where the broker went");
    println!("{end} made, {skipped} skipped ({dropped} dropped in the journal), {} received", numbers.len());
}
