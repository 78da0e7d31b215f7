//! What taps get, what they lose, and what that costs the journal: nothing.

use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, bounded, unbounded};
use rtrb::{Producer, RingBuffer};

use super::*;
use crate::hub::{Filter, Hub, NextRing, RingEnd, RingStats, clock_pair};
use crate::lane::Counters;
use crate::plan::Plan;
use crate::rt::monotonic_now;
use crate::tag::{LaneId, Sample, ScalarType, ValueType};

struct Rig {
    ring: Producer<Sample>,
    hub: Hub,
    next: crossbeam_channel::Sender<NextRing>,
    taps: Taps,
    journal: Receiver<Arc<Batch>>,
    stats: Arc<[RingStats]>,
}

impl Rig {
    fn new(filter: Filter, queue: usize) -> Rig {
        let (ring, consumer) = RingBuffer::new(1024);
        let (sender, journal) = bounded(queue);
        let (next, nexts) = unbounded();
        let (taps, end) = taps();
        let stats: Arc<[RingStats]> = Arc::new([RingStats::default()]);
        let ends = vec![RingEnd { ring: consumer, names: Arc::default(), filter }];
        let hub = Hub::new(ends, nexts, sender, end, stats.clone(), clock_pair());
        Rig { ring, hub, next, taps, journal, stats }
    }

    /// One sample with this value, taken out in a round of its own.
    fn bring(&mut self, value: u64) {
        self.push(value);
        self.round();
    }

    fn push(&mut self, value: u64) {
        let ty = ValueType::Scalar(ScalarType::Uint16).code();
        self.ring.push(Sample { value, ty, t: 1 + value * 10_000_000, ..Sample::default() }).unwrap();
    }

    fn round(&mut self) {
        self.hub.round(monotonic_now(), clock_pair);
    }
}

/// (number, value) of what waits there.
fn seen(batches: &Receiver<Arc<Batch>>) -> Vec<(u64, u64)> {
    let of = |batch: Arc<Batch>| batch.iter().map(|s| (s.sequence, s.sample.value)).collect::<Vec<_>>();
    batches.try_iter().flat_map(of).collect()
}

fn numbered(values: std::ops::Range<u64>) -> Vec<(u64, u64)> {
    values.map(|value| (value, value)).collect()
}

/// A tag with a deadband of 5 before the journal.
fn plan(suppress: &str) -> Plan {
    let tags = format!(
        r#"{{"links": [{{"name": "l", "protocol": "modbus_tcp", "host": "a"}}],
        "groups": [{{"name": "g", "scan_rate_ms": 10, "suppress": "{suppress}", "deadband": 5}}],
        "tags": [{{"name": "a", "address": "l:1:3:1", "data_type": "uint16", "group": "g"}}]}}"#
    );
    let loaded = crate::protocol::load_parts(("fieldbeat.toml", "[gateway]\nid = \"x\"\n"), &[("tags/a.json", &tags)]);
    crate::protocol::build(&loaded.unwrap().config, &[0]).unwrap().plan
}

fn filter(suppress: &str) -> Filter {
    let plan = plan(suppress);
    Filter::new(LaneId(0), &plan, Arc::new(Counters::new(&plan)))
}

#[test]
fn a_full_tap_loses_its_oldest_batches_and_its_numbers_and_counts_say_how_many() {
    let mut rig = Rig::new(Filter::default(), 64);
    let (slow, quick) = (rig.taps.subscribe("slow", 3), rig.taps.subscribe("quick", 64));
    (0..10).for_each(|value| rig.bring(value));
    assert_eq!(seen(&slow.batches), numbered(7..10), "the newest");
    assert_eq!(slow.lost(), Lost { samples: 7, batches: 7 });
    assert_eq!((seen(&quick.batches), quick.lost()), (numbered(0..10), Lost::default()));
    rig.bring(10);
    assert_eq!(seen(&slow.batches), numbered(10..11), "there is room again");
    let views = rig.taps.all();
    assert_eq!(
        views.iter().map(|view| (view.name.as_str(), view.lost.samples)).collect::<Vec<_>>(),
        [("slow", 7), ("quick", 0)]
    );
    drop(slow);
    rig.round();
    assert_eq!((rig.taps.all().len(), rig.taps.lost().samples), (1, 7), "what was lost stays counted");
}

#[test]
fn a_tap_that_nobody_reads_holds_neither_the_journal_nor_the_rings_up() {
    let mut rig = Rig::new(Filter::default(), 64);
    let stuck = rig.taps.subscribe("stuck", 1);
    (0..50).for_each(|value| rig.bring(value));
    assert_eq!(seen(&rig.journal), numbered(0..50));
    assert_eq!((rig.stats[0].fill.load(Relaxed), stuck.batches.len()), (1, 1));
}

#[test]
fn a_full_journal_keeps_samples_in_the_ring_and_the_tap_loses_none_of_them() {
    let mut rig = Rig::new(Filter::default(), 1);
    let tap = rig.taps.subscribe("live", 64);
    (0..5).for_each(|value| rig.bring(value));
    let mut stored = seen(&rig.journal);
    for _ in 0..5 {
        rig.round();
        stored.extend(seen(&rig.journal));
    }
    assert_eq!((stored, seen(&tap.batches)), (numbered(0..5), numbered(0..5)));
}

#[test]
fn without_a_filter_journal_and_taps_share_one_batch() {
    let mut rig = Rig::new(Filter::default(), 8);
    let taps = [rig.taps.subscribe("a", 8), rig.taps.subscribe("b", 8)];
    rig.bring(1);
    let stored = rig.journal.try_recv().unwrap();
    assert!(taps.iter().all(|tap| Arc::ptr_eq(&tap.batches.try_recv().unwrap(), &stored)));
}

#[test]
fn a_tap_gets_what_is_held_back_from_the_journal_under_numbers_of_its_own() {
    let mut rig = Rig::new(filter("journal"), 64);
    let tap = rig.taps.subscribe("live", 64);
    (0..10).for_each(|value| rig.push(value));
    rig.round();
    assert_eq!(seen(&tap.batches), numbered(0..10));
    assert_eq!(seen(&rig.journal), [(0, 0), (1, 6)]);
    // A run of which the journal is told nothing, then a gap, and what comes after it.
    rig.push(7);
    rig.ring.push(Sample::gap(4)).unwrap();
    rig.push(8);
    rig.round();
    assert_eq!(seen(&tap.batches), [(10, 7), (15, 8)]);
    assert_eq!(seen(&rig.journal), [(6, 8)], "the gap uses up numbers of both");
    assert_eq!(rig.stats[0].missing.load(Relaxed), 4);
}

#[test]
fn numbers_go_on_over_a_change_to_a_ring_without_a_filter() {
    let mut rig = Rig::new(filter("journal"), 64);
    let tap = rig.taps.subscribe("live", 64);
    (0..4).for_each(|value| rig.push(value));
    rig.round();
    let (producer, ring) = RingBuffer::new(64);
    let end = RingEnd { ring, names: Arc::default(), filter: Filter::default() };
    rig.next.send(NextRing { lane: LaneId(0), end }).unwrap();
    rig.ring = producer;
    rig.push(4);
    rig.round();
    assert_eq!((seen(&tap.batches), seen(&rig.journal)), (numbered(0..5), vec![(0, 0), (1, 4)]));
}

#[test]
fn taps_come_and_go_while_the_hub_runs() {
    let mut rig = Rig::new(Filter::default(), 64);
    rig.bring(0);
    let late = rig.taps.subscribe("late", 8);
    rig.bring(1);
    assert_eq!(seen(&late.batches), numbered(1..2));
    drop(late);
    rig.bring(2);
    assert_eq!(rig.taps.all(), []);
    // A tap that is gone costs nothing: nobody holds its batches.
    let stored: Vec<_> = rig.journal.try_iter().collect();
    assert!(stored.iter().all(|batch| Arc::strong_count(batch) == 1));
    let last = rig.taps.subscribe("last", 8);
    rig.bring(3);
    drop(rig.hub);
    assert_eq!(seen(&last.batches), numbered(3..4), "what was there before the end is still read");
    assert!(last.batches.recv().is_err() && rig.taps.subscribe("too late", 8).batches.recv().is_err());
}
