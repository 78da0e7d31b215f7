//! The hub's thread: drains the executors' rings into batches and hands them to the journal.
//!
//! The journal must not lose: when its queue is full the samples stay in the rings, whose executors drop and
//! count what no longer fits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};
use rtrb::Consumer;

use super::batch::Batch;
use crate::limits::{BATCH_SAMPLES_MAX, HUB_PERIOD};
use crate::rt::monotonic_now;
use crate::tag::{ClockPair, ExecutorId, NANOS_PER_SEC, Nanos, Sample};

/// What the hub saw of one executor's ring.
#[derive(Debug, Default)]
pub struct RingStats {
    /// Slots.
    pub capacity: AtomicU64,
    /// Slots in use when the hub looked last, and the most it ever saw.
    pub fill: AtomicU64,
    pub fill_max: AtomicU64,
    /// Samples taken out.
    pub delivered: AtomicU64,
    /// Samples that gap records told to be missing.
    pub missing: AtomicU64,
    /// Times that the hub looked: its sign of life.
    pub rounds: AtomicU64,
}

/// Starts the hub. It ends, and drops its end of `journal`, when every executor is gone and its ring empty.
pub fn spawn(
    rings: Vec<Consumer<Sample>>,
    journal: Sender<Arc<Batch>>,
    stats: Arc<[RingStats]>,
) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("fb-hub".to_owned()).stack_size(256 << 10).spawn(move || {
        let mut hub = Hub::new(rings, journal, stats, clock_pair());
        while hub.round(monotonic_now(), clock_pair) {
            thread::sleep(Duration::from_nanos(HUB_PERIOD.0));
        }
    })
}

/// The hub without its thread and clocks: whoever owns it says what time it is.
pub struct Hub {
    drains: Vec<Drain>,
    journal: Sender<Arc<Batch>>,
    stats: Arc<[RingStats]>,
    clock: ClockPair,
}

struct Drain {
    executor: ExecutorId,
    ring: Consumer<Sample>,
    next_sequence: u64,
    /// A batch that the journal had no room for.
    waiting: Option<Arc<Batch>>,
}

/// Both clocks at one instant, as nearly as can be told.
pub fn clock_pair() -> ClockPair {
    let mut best = ClockPair::default();
    let mut best_distance = u64::MAX;
    for _ in 0..3 {
        let before = monotonic_now();
        let utc_ns = match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => since.as_nanos() as i64,
            Err(before) => -(before.duration().as_nanos() as i64),
        };
        let distance = (monotonic_now() - before).0;
        if distance < best_distance {
            best_distance = distance;
            best = ClockPair { mono: before + Nanos(distance / 2), utc_ns };
        }
    }
    best
}

impl Hub {
    /// `stats` has one entry a ring.
    pub fn new(
        rings: Vec<Consumer<Sample>>,
        journal: Sender<Arc<Batch>>,
        stats: Arc<[RingStats]>,
        clock: ClockPair,
    ) -> Hub {
        let drains = rings
            .into_iter()
            .enumerate()
            .map(|(id, ring)| {
                stats[id].capacity.store(ring.buffer().capacity() as u64, Relaxed);
                Drain { executor: ExecutorId(id as u16), ring, next_sequence: 0, waiting: None }
            })
            .collect();
        Hub { drains, journal, stats, clock }
    }

    /// Empties the rings once. `read_clock` is asked when the last pair of clocks is a second old. False: all is
    /// done.
    pub fn round(&mut self, now: Nanos, read_clock: impl FnOnce() -> ClockPair) -> bool {
        if (now - self.clock.mono).0 >= NANOS_PER_SEC {
            self.clock = read_clock();
        }
        let mut more = false;
        for (drain, stats) in self.drains.iter_mut().zip(self.stats.iter()) {
            // Before the ring is looked into: what was pushed before the end is then seen below.
            let abandoned = drain.ring.is_abandoned();
            let fill = drain.ring.slots() as u64;
            stats.rounds.fetch_add(1, Relaxed);
            stats.fill.store(fill, Relaxed);
            stats.fill_max.fetch_max(fill, Relaxed);
            let emptied = drain.hand_over(&self.journal, stats, self.clock, now);
            more |= !(abandoned && emptied);
        }
        more
    }
}

impl Drain {
    /// True when nothing is left.
    fn hand_over(&mut self, journal: &Sender<Arc<Batch>>, stats: &RingStats, clock: ClockPair, now: Nanos) -> bool {
        loop {
            if let Some(batch) = self.waiting.take() {
                match journal.try_send(batch) {
                    Ok(()) => {}
                    Err(TrySendError::Full(batch)) => {
                        self.waiting = Some(batch);
                        return false;
                    }
                    // The journal's thread is gone, and says why itself; what it did not take is lost, and shows
                    // as produced but not stored.
                    Err(TrySendError::Disconnected(_)) => {}
                }
            }
            match self.take(stats, clock, now) {
                Some(batch) => self.waiting = Some(Arc::new(batch)),
                None => return true,
            }
        }
    }

    /// The next run of samples without a gap; `None` when the ring has no whole sample.
    fn take(&mut self, stats: &RingStats, clock: ClockPair, now: Nanos) -> Option<Batch> {
        let available = self.ring.slots().min(BATCH_SAMPLES_MAX);
        let chunk = self.ring.read_chunk(available).ok()?;
        let (first, second) = chunk.as_slices();
        let slot = |i: usize| if i < first.len() { &first[i] } else { &second[i - first.len()] };
        let mut at = 0;
        let mut samples = 0u32;
        let mut skipped = 0;
        while at < available {
            let sample = slot(at);
            if sample.is_gap() {
                if samples > 0 {
                    break;
                }
                self.next_sequence += sample.value;
                stats.missing.fetch_add(sample.value, Relaxed);
                at += 1;
                skipped = at;
                continue;
            }
            let end = at + 1 + sample.payload_slots();
            if end > available {
                break;
            }
            at = end;
            samples += 1;
        }
        let mut slots = Vec::with_capacity(at - skipped);
        let cut = first.len();
        slots.extend_from_slice(&first[skipped.min(cut)..at.min(cut)]);
        slots.extend_from_slice(&second[skipped.max(cut) - cut..at.max(cut) - cut]);
        chunk.commit(at);
        if samples == 0 {
            return None;
        }
        let first_sequence = self.next_sequence;
        self.next_sequence += u64::from(samples);
        stats.delivered.fetch_add(u64::from(samples), Relaxed);
        Some(Batch { executor: self.executor, first_sequence, samples, slots, clock, drained: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::flags;
    use crossbeam_channel::bounded;
    use rtrb::RingBuffer;

    fn sample(tag: u32) -> Sample {
        Sample { tag, ..Sample::default() }
    }

    fn hub(capacity: usize, queue: usize) -> (rtrb::Producer<Sample>, Hub, crossbeam_channel::Receiver<Arc<Batch>>) {
        let (producer, consumer) = RingBuffer::new(capacity);
        let (sender, receiver) = bounded(queue);
        (producer, Hub::new(vec![consumer], sender, Arc::new([RingStats::default()]), clock_pair()), receiver)
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
}
