//! What comes out of the rings, and over changes of rings.

use super::*;
use crate::tag::flags;
use crossbeam_channel::bounded;
use rtrb::RingBuffer;

fn sample(tag: u32) -> Sample {
    Sample { tag, ..Sample::default() }
}

fn end(ring: Consumer<Sample>, names: Arc<Dictionary>) -> RingEnd {
    RingEnd { ring, names, filter: Filter::default() }
}

fn hub(capacity: usize, queue: usize) -> (rtrb::Producer<Sample>, Hub, crossbeam_channel::Receiver<Arc<Batch>>) {
    let (producer, consumer) = RingBuffer::new(capacity);
    let (sender, receiver) = bounded(queue);
    let stats: Arc<[RingStats]> = Arc::new([RingStats::default()]);
    let none = crossbeam_channel::never();
    (
        producer,
        Hub::new(vec![end(consumer, Arc::default())], none, sender, TapsEnd::default(), stats, clock_pair()),
        receiver,
    )
}

#[test]
fn a_gap_uses_up_sequence_numbers() {
    let (mut ring, mut hub, batches) = hub(16, 8);
    for s in [sample(0), sample(1), Sample::gap(5), sample(2)] {
        ring.push(s).unwrap();
    }
    assert!(hub.round(monotonic_now(), clock_pair));
    let got: Vec<_> = batches.try_iter().map(|b| (b.first_sequence, b.samples)).collect();
    assert_eq!(got, [(0, 2), (7, 1)]);
    assert_eq!(hub.stats[0].missing.load(Relaxed), 5);
    assert_eq!(hub.stats[0].delivered.load(Relaxed), 3);
}

#[test]
fn half_a_long_value_stays_in_the_ring() {
    let (mut ring, mut hub, batches) = hub(16, 8);
    let header = Sample { value: 40, flags: flags::LONG, ..sample(3) };
    for s in [sample(0), header, sample(9)] {
        ring.push(s).unwrap();
    }
    hub.round(monotonic_now(), clock_pair);
    assert_eq!(batches.try_iter().map(|b| b.samples).sum::<u32>(), 1);
    ring.push(sample(9)).unwrap();
    hub.round(monotonic_now(), clock_pair);
    let batch = batches.try_recv().unwrap();
    assert_eq!((batch.first_sequence, batch.samples, batch.slots.len()), (1, 1, 3));
}

#[test]
fn a_full_journal_queue_leaves_samples_in_the_ring_and_loses_none() {
    let (mut ring, mut hub, batches) = hub(8, 1);
    let mut sent = 0u32;
    let mut got = Vec::new();
    for _ in 0..40 {
        while sent < 100 && ring.push(sample(sent)).is_ok() {
            sent += 1;
        }
        hub.round(monotonic_now(), clock_pair);
        got.extend(batches.try_iter().flat_map(|b| b.slots.iter().map(|s| s.tag).collect::<Vec<_>>()));
    }
    drop(ring);
    while hub.round(monotonic_now(), clock_pair) {
        got.extend(batches.try_iter().flat_map(|b| b.slots.iter().map(|s| s.tag).collect::<Vec<_>>()));
    }
    got.extend(batches.try_iter().flat_map(|b| b.slots.iter().map(|s| s.tag).collect::<Vec<_>>()));
    assert_eq!(got, (0..100).collect::<Vec<_>>());
}

#[test]
fn the_hub_looks_often_while_somebody_reads_live_while_a_ring_fills_and_while_the_journal_is_full() {
    let (mut ring, mut hub, batches) = hub(64, 1);
    let mut pause_after = |hub: &mut Hub, samples: u32| {
        (0..samples).for_each(|s| ring.push(sample(s)).unwrap());
        hub.round(monotonic_now(), clock_pair);
        hub.pause()
    };
    assert_eq!(pause_after(&mut hub, 0), HUB_PERIOD_IDLE);
    assert_eq!(pause_after(&mut hub, 4), HUB_PERIOD_IDLE);
    assert_eq!(pause_after(&mut hub, 1), HUB_PERIOD, "the journal takes no more");
    batches.try_iter().for_each(drop);
    assert_eq!(pause_after(&mut hub, 0), HUB_PERIOD_IDLE);
    batches.try_iter().for_each(drop);
    assert_eq!(pause_after(&mut hub, 5), HUB_PERIOD, "more than a sixteenth came since the last look");
    batches.try_iter().for_each(drop);
    assert_eq!(pause_after(&mut hub, 0), HUB_PERIOD_IDLE);
    let (taps, end) = crate::hub::taps();
    hub.taps = end;
    let tap = taps.subscribe("live", 8);
    assert_eq!(pause_after(&mut hub, 0), HUB_PERIOD);
    drop(tap);
    assert_eq!(pause_after(&mut hub, 0), HUB_PERIOD_IDLE);
}

fn names(gateway: &str) -> Arc<Dictionary> {
    Arc::new(Dictionary { gateway: gateway.into(), ..Dictionary::default() })
}

/// A hub of one executor whose plan changes.
struct Changing {
    hub: Hub,
    next: Sender<NextRing>,
    batches: Receiver<Arc<Batch>>,
}

impl Changing {
    /// The hub, and the producer of its first ring, whose names are "0".
    fn new(capacity: usize, queue: usize) -> (Changing, rtrb::Producer<Sample>) {
        let (producer, consumer) = RingBuffer::new(capacity);
        let (sender, batches) = bounded(queue);
        let (next, nexts) = crossbeam_channel::unbounded();
        let stats: Arc<[RingStats]> = Arc::new([RingStats::default()]);
        let hub = Hub::new(vec![end(consumer, names("0"))], nexts, sender, TapsEnd::default(), stats, clock_pair());
        (Changing { hub, next, batches }, producer)
    }

    /// Hands the hub another ring, as it is done before the executor gets the producer.
    fn next_ring(&self, capacity: usize, gateway: &str) -> rtrb::Producer<Sample> {
        let (producer, ring) = RingBuffer::new(capacity);
        self.next.send(NextRing { lane: LaneId(0), end: end(ring, names(gateway)) }).unwrap();
        producer
    }

    fn round(&mut self) -> bool {
        self.hub.round(monotonic_now(), clock_pair)
    }

    /// (names, first sequence number, tags) of what came since.
    fn seen(&self) -> Vec<(String, u64, Vec<u32>)> {
        let tags = |b: &Batch| b.slots.iter().map(|s| s.tag).collect();
        self.batches.try_iter().map(|b| (b.names.gateway.clone(), b.first_sequence, tags(&b))).collect()
    }
}

fn seen(gateway: &str, first_sequence: u64, tags: &[u32]) -> (String, u64, Vec<u32>) {
    (gateway.to_owned(), first_sequence, tags.to_vec())
}

#[test]
fn the_next_ring_goes_on_with_the_numbers_under_its_own_names() {
    let (mut changing, mut old) = Changing::new(16, 64);
    old.push(sample(1)).unwrap();
    let mut new = changing.next_ring(32, "1");
    new.push(sample(7)).unwrap();
    assert!(changing.round());
    assert_eq!(changing.seen(), [seen("0", 0, &[1])], "the old ring's producer is still there");
    assert_eq!(changing.hub.stats[0].next_rings.load(Relaxed), 1);
    old.push(sample(2)).unwrap();
    drop(old);
    assert!(changing.round());
    assert_eq!(changing.seen(), [seen("0", 1, &[2]), seen("1", 2, &[7])]);
    let stats = &changing.hub.stats[0];
    let figures = [&stats.capacity, &stats.fill, &stats.next_rings, &stats.delivered].map(|n| n.load(Relaxed));
    assert_eq!(figures, [32, 1, 0, 3], "they are the present ring's");
    new.push(sample(8)).unwrap();
    drop(new);
    assert!(!changing.round(), "no ring is left");
    assert_eq!(changing.seen(), [seen("1", 3, &[8])]);
}

#[test]
fn rings_that_queue_up_are_emptied_in_order_and_only_the_last_is_the_end() {
    let (mut changing, mut ring) = Changing::new(16, 64);
    for change in 1..=5u32 {
        ring.push(sample(change)).unwrap();
        // The third passes without a sample.
        let next = changing.next_ring(16, &change.to_string());
        ring = if change == 3 { changing.next_ring(16, "3 again") } else { next };
    }
    assert!(changing.round(), "the last producer is still there");
    let expected =
        [seen("0", 0, &[1]), seen("1", 1, &[2]), seen("2", 2, &[3]), seen("3 again", 3, &[4]), seen("4", 4, &[5])];
    assert_eq!(changing.seen(), expected);
    drop(ring);
    assert!(!changing.round());
}

#[test]
fn a_ring_is_not_the_last_when_another_was_sent_before_it_was_abandoned() {
    let (mut changing, old) = Changing::new(16, 64);
    // Both abandoned by the time the hub looks, one after the other.
    let middle = changing.next_ring(16, "1");
    drop(old);
    let mut last = changing.next_ring(16, "2");
    drop(middle);
    last.push(sample(9)).unwrap();
    assert!(changing.round());
    assert_eq!(changing.seen(), [seen("2", 0, &[9])]);
    drop(last);
    assert!(!changing.round());

    // The next ring is abandoned too when it is taken up: whether it is the last, only another look can tell.
    let (mut changing, old) = Changing::new(16, 64);
    drop(changing.next_ring(16, "1"));
    drop(old);
    assert!(changing.round());
    assert!(!changing.round());
}

#[test]
fn a_gap_that_the_old_ring_had_no_room_for_is_told_by_the_new_one() {
    let (mut changing, mut old) = Changing::new(2, 64);
    old.push(sample(0)).unwrap();
    old.push(sample(1)).unwrap();
    let mut new = changing.next_ring(8, "1");
    new.push(Sample::gap(5)).unwrap();
    new.push(sample(2)).unwrap();
    drop(old);
    changing.round();
    assert_eq!(changing.seen(), [seen("0", 0, &[0, 1]), seen("1", 7, &[2])]);
    assert_eq!(changing.hub.stats[0].missing.load(Relaxed), 5);
    // A gap and nothing else: it counts all the same.
    let mut last = changing.next_ring(8, "2");
    last.push(Sample::gap(3)).unwrap();
    drop((new, last));
    while changing.round() {}
    assert_eq!(changing.hub.stats[0].missing.load(Relaxed), 8);
}

#[test]
fn changes_of_rings_under_a_full_queue_lose_and_repeat_nothing() {
    let (mut changing, mut ring) = Changing::new(8, 1);
    let (mut sent, mut ring_of) = (0u32, Vec::new());
    let mut got = Vec::new();
    for round in 0..400u32 {
        while sent < (round + 1) * 5 && ring.push(sample(sent)).is_ok() {
            ring_of.push(round / 3);
            sent += 1;
        }
        if round % 3 == 2 {
            ring = changing.next_ring(8, &(round / 3 + 1).to_string());
        }
        assert!(changing.round());
        if round % 2 == 0 {
            got.extend(changing.seen());
        }
    }
    drop(ring);
    while changing.round() {
        got.extend(changing.seen());
    }
    got.extend(changing.seen());
    let mut next = 0;
    for (gateway, first_sequence, tags) in got {
        assert_eq!(first_sequence, u64::from(next));
        for tag in tags {
            assert_eq!((tag, gateway.as_str()), (next, ring_of[next as usize].to_string().as_str()));
            next += 1;
        }
    }
    assert_eq!((next, sent > 1000), (sent, true));
}

#[test]
fn the_thread_ends_after_the_last_ring_while_reloads_race_it() {
    let (mut ring, consumer) = RingBuffer::new(64);
    let (sender, batches) = bounded(1 << 14);
    let (next, nexts) = crossbeam_channel::unbounded();
    let stats: Arc<[RingStats]> = Arc::new([RingStats::default()]);
    let hub = spawn(vec![end(consumer, names("0"))], nexts, sender, TapsEnd::default(), stats.clone()).unwrap();
    let changes = 2_000u32;
    for change in 0..changes {
        ring.push(sample(change)).unwrap();
        let (producer, consumer) = RingBuffer::new(64);
        next.send(NextRing { lane: LaneId(0), end: end(consumer, names("n")) }).unwrap();
        ring = producer;
        if change % 64 == 0 {
            std::thread::yield_now();
        }
    }
    ring.push(sample(changes)).unwrap();
    drop(ring);
    hub.join().unwrap();
    let got: Vec<_> = batches.iter().flat_map(|b| b.slots.iter().map(|s| s.tag).collect::<Vec<_>>()).collect();
    assert_eq!(got, (0..=changes).collect::<Vec<_>>());
}

#[test]
fn a_hub_that_never_sleeps_takes_no_change_for_the_end() {
    // Enough of them that some fall right between two looks of the hub.
    let changes = 200_000u32;
    let (Changing { mut hub, next, batches }, mut ring) = Changing::new(8, changes as usize);
    let names = names("n");
    let rounds = std::thread::spawn(move || while hub.round(Nanos::ZERO, clock_pair) {});
    for change in 0..changes {
        ring.push(sample(change)).unwrap();
        let (producer, consumer) = RingBuffer::new(8);
        next.send(NextRing { lane: LaneId(0), end: end(consumer, names.clone()) }).unwrap();
        ring = producer;
    }
    drop(ring);
    rounds.join().unwrap();
    assert_eq!(batches.iter().map(|b| b.samples).sum::<u32>(), changes);
}
