//! What of a ring reaches the journal.

use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rtrb::{Producer, RingBuffer};

use super::*;
use crate::hub::{Hub, NextRing, RingEnd, RingStats, TapsEnd, clock_pair};
use crate::rt::monotonic_now;
use crate::tag::{Batch, ScalarType, TagId, ValueType, flags};

/// Tags 0 and 1 are numbers (the second keeps its last), 2 is a text; all of them held back before the journal.
fn plan(deadband: f64) -> Plan {
    let tags = format!(
        r#"{{"links": [{{"name": "l", "protocol": "modbus_tcp", "host": "a"}}],
        "groups": [{{"name": "g", "scan_rate_ms": 10, "suppress": "journal", "deadband": {deadband}}}],
        "tags": [{{"name": "a", "address": "l:1:3:1", "data_type": "uint16", "group": "g"}},
        {{"name": "b", "address": "l:1:3:2", "data_type": "uint16", "group": "g", "keep_last": true}},
        {{"name": "c", "address": "l:1:3:3:20", "data_type": "string", "group": "g"}}]}}"#
    );
    let loaded = crate::protocol::load_parts(("fieldbeat.toml", "[gateway]\nid = \"x\"\n"), &[("tags/a.json", &tags)]);
    crate::protocol::build(&loaded.unwrap().config, &[0]).unwrap().plan
}

struct Rig {
    ring: Producer<Sample>,
    hub: Hub,
    next: Sender<NextRing>,
    batches: Receiver<Arc<Batch>>,
    stats: Arc<[RingStats]>,
    counters: Arc<Counters>,
    plan: Plan,
    made: u64,
}

impl Rig {
    fn new(deadband: f64) -> Rig {
        let plan = plan(deadband);
        let counters = Arc::new(Counters::new(&plan));
        let (ring, consumer) = RingBuffer::new(256);
        let (sender, batches) = bounded(64);
        let (next, nexts) = unbounded();
        let stats: Arc<[RingStats]> = Arc::new([RingStats::default()]);
        let filter = Filter::new(LaneId(0), &plan, counters.clone());
        let end = RingEnd { ring: consumer, names: Arc::default(), filter };
        let hub = Hub::new(vec![end], nexts, sender, TapsEnd::default(), stats.clone(), clock_pair());
        Rig { ring, hub, next, batches, stats, counters, plan, made: 0 }
    }

    /// A value in the period `at`.
    fn number(&mut self, tag: u32, at: u64, value: u64) {
        let ty = ValueType::Scalar(ScalarType::Uint16).code();
        self.made += 1;
        self.ring.push(Sample { tag, value, ty, t: 1 + at * 10_000_000, ..Sample::default() }).unwrap();
    }

    fn text(&mut self, at: u64, text: &str) {
        let (ty, value) = (ValueType::TEXT_CODE, text.len() as u64);
        let header = Sample { tag: 2, value, ty, t: 1 + at * 10_000_000, flags: flags::LONG, ..Sample::default() };
        self.made += 1;
        self.ring.push(header).unwrap();
        text.as_bytes().chunks(32).for_each(|chunk| self.ring.push(Sample::from_payload(chunk)).unwrap());
    }

    /// (tag, value) of what reaches the journal.
    fn told(&mut self) -> Vec<(u32, u64)> {
        self.hub.round(monotonic_now(), clock_pair);
        self.batches
            .try_iter()
            .flat_map(|batch| batch.iter().map(|s| (s.sample.tag, s.sample.value)).collect::<Vec<_>>())
            .collect()
    }

    fn assert_account(&self) {
        let stats = &self.stats[0];
        let group = &self.counters.groups[0][0];
        assert_eq!(group.suppressed_at_journal.get(), self.counters.suppressed());
        let all = stats.delivered.load(Relaxed) + self.counters.suppressed() + stats.kept.load(Relaxed);
        assert_eq!(self.made, all);
    }
}

#[test]
fn the_journal_gets_the_exceptions_and_their_numbers_have_no_holes() {
    let mut rig = Rig::new(5.0);
    for (at, value) in [10, 12, 15, 16, 21, 22, 30].into_iter().enumerate() {
        rig.number(0, at as u64, value);
    }
    rig.hub.round(monotonic_now(), clock_pair);
    let batches: Vec<_> = rig.batches.try_iter().collect();
    assert_eq!(batches.len(), 1);
    let seen: Vec<_> = batches[0].iter().map(|s| (s.sequence, s.sample.value)).collect();
    assert_eq!(seen, [(0, 10), (1, 16), (2, 22), (3, 30)]);
    assert_eq!(batches[0].samples, 4);
    rig.assert_account();
    rig.number(0, 7, 31);
    assert_eq!(rig.told(), [], "a run of which nothing is told makes no batch");
    rig.number(0, 8, 99);
    rig.hub.round(monotonic_now(), clock_pair);
    assert_eq!(rig.batches.try_recv().unwrap().first_sequence, 4);
    rig.assert_account();
}

#[test]
fn long_values_pass_whole_or_not_at_all() {
    let mut rig = Rig::new(0.0);
    for (at, text) in ["thirty-three bytes of text, or so", "short", "short", "shirt"].into_iter().enumerate() {
        rig.text(at as u64, text);
        rig.number(0, at as u64, 7);
    }
    rig.hub.round(monotonic_now(), clock_pair);
    let batch = rig.batches.try_recv().unwrap();
    let text = |s: crate::tag::BatchSample<'_>| {
        let mut bytes = Vec::new();
        s.payload_into(&mut bytes);
        String::from_utf8(bytes).unwrap()
    };
    let texts: Vec<String> = batch.iter().filter(|s| s.sample.is_long()).map(text).collect();
    assert_eq!(texts, ["thirty-three bytes of text, or so", "short", "shirt"]);
    assert_eq!(batch.iter().filter(|s| !s.sample.is_long()).count(), 1);
    rig.assert_account();
}

#[test]
fn after_a_gap_every_tag_is_told_again() {
    let mut rig = Rig::new(5.0);
    (0..2).for_each(|at| (0..2).for_each(|tag| rig.number(tag, at, 7)));
    assert_eq!(rig.told(), [(0, 7), (1, 7)]);
    rig.ring.push(Sample::gap(3)).unwrap();
    rig.number(0, 3, 7);
    rig.text(3, "x");
    assert_eq!(rig.told(), [(0, 7), (2, 1)]);
    rig.number(1, 3, 7);
    assert_eq!(rig.told(), [(1, 7), (1, 7)], "the one that was kept, and the new one");
    rig.assert_account();
}

#[test]
fn what_is_kept_is_counted_once_it_is_known_what_becomes_of_it() {
    let mut rig = Rig::new(5.0);
    for (at, value) in [10, 11, 12].into_iter().enumerate() {
        rig.number(1, at as u64, value);
    }
    assert_eq!(rig.told(), [(1, 10)]);
    assert_eq!((rig.stats[0].kept.load(Relaxed), rig.counters.suppressed()), (1, 1));
    rig.number(1, 3, 20);
    assert_eq!(rig.told(), [(1, 12), (1, 20)]);
    rig.number(1, 4, 21);
    assert_eq!(rig.told(), []);
    rig.assert_account();
    let (ring, _) = RingBuffer::new(1);
    drop(std::mem::replace(&mut rig.ring, ring));
    assert!(!rig.hub.round(monotonic_now(), clock_pair), "the end");
    assert_eq!((rig.stats[0].kept.load(Relaxed), rig.counters.suppressed()), (0, 2));
    rig.assert_account();
}

#[test]
fn the_next_ring_goes_on_where_the_last_one_stood() {
    let jump = [(0, 30), (1, 11), (1, 30)];
    for (deadband, told, then) in [(5.0, vec![], &jump[..]), (6.0, vec![(0, 11), (1, 11)], &[(0, 30), (1, 30)])] {
        let mut rig = Rig::new(5.0);
        (0..2).for_each(|at| (0..2).for_each(|tag| rig.number(tag, at, 10 + at)));
        assert_eq!(rig.told(), [(0, 10), (1, 10)]);
        let new = plan(deadband);
        assert_eq!(new.tags[TagId(0)].name, rig.plan.tags[TagId(0)].name);
        let (producer, ring) = RingBuffer::new(64);
        let filter = Filter::following(LaneId(0), &rig.plan, &new, rig.counters.clone());
        let end = RingEnd { ring, names: Arc::default(), filter };
        rig.next.send(NextRing { lane: LaneId(0), end }).unwrap();
        rig.ring = producer;
        (0..2).for_each(|tag| rig.number(tag, 2, 11));
        assert_eq!(rig.told(), told, "another rule starts anew");
        rig.assert_account();
        (0..2).for_each(|tag| rig.number(tag, 3, 30));
        assert_eq!(rig.told(), then, "what the second kept goes before its jump");
        rig.assert_account();
    }
}
