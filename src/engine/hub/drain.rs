//! The hub's thread: drains the executors' rings into batches and hands them to the journal and to taps.
//!
//! The journal must not lose: when its queue is full the samples stay in the rings, whose executors drop and
//! count what no longer fits. Taps hold nothing up: see [`super::tap`].
//!
//! An executor that adopts another plan gets another ring with it, so that the ids in one ring have one meaning.
//! The hub goes on with the new ring once the old one is abandoned and empty; the sequence numbers go on too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use rtrb::Consumer;

use super::filter::Filter;
use super::tap::TapsEnd;
use crate::limits::{BATCH_SAMPLES_MAX, HUB_PERIOD, HUB_PERIOD_IDLE};
use crate::rt::monotonic_now;
use crate::tag::Batch;
use crate::tag::{ClockPair, Dictionary, LaneId, NANOS_PER_SEC, Nanos, Sample};

/// What the hub saw of one executor's rings.
#[derive(Debug, Default)]
pub struct RingStats {
    /// Slots of the present ring.
    pub capacity: AtomicU64,
    /// Slots in use when the hub looked last, and the most it ever saw.
    pub fill: AtomicU64,
    pub fill_max: AtomicU64,
    /// Rings that wait for the present one to end: more than none for long only while the journal takes nothing.
    pub next_rings: AtomicU64,
    /// Samples taken out and handed on; those that were held back before the journal are not among them.
    pub delivered: AtomicU64,
    /// Taken out, and not yet either handed on or counted as suppressed.
    pub kept: AtomicU64,
    /// Samples that gap records told to be missing.
    pub missing: AtomicU64,
    /// Times that the hub looked: its sign of life.
    pub rounds: AtomicU64,
}

/// The hub's end of an executor's ring.
pub struct RingEnd {
    pub ring: Consumer<Sample>,
    /// What the ids in this ring mean.
    pub names: Arc<Dictionary>,
    /// What of it the journal is told.
    pub filter: Filter,
}

/// The ring that an executor goes on with when it adopts another plan.
pub struct NextRing {
    /// One of those that the hub was started with.
    pub lane: LaneId,
    pub end: RingEnd,
}

/// Starts the hub. It ends, and drops its end of `journal`, when every executor is gone and its last ring empty.
///
/// # Errors
/// The system gives no thread.
pub fn spawn(
    rings: Vec<RingEnd>,
    next: Receiver<NextRing>,
    journal: Sender<Arc<Batch>>,
    taps: TapsEnd,
    stats: Arc<[RingStats]>,
) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("fb-hub".to_owned()).stack_size(256 << 10).spawn(move || {
        let mut hub = Hub::new(rings, next, journal, taps, stats, clock_pair());
        while hub.round(monotonic_now(), clock_pair) {
            thread::sleep(Duration::from_nanos(hub.pause().0));
        }
    })
}

/// The hub without its thread and clocks: whoever owns it says what time it is.
pub struct Hub {
    drains: Vec<Drain>,
    next: Receiver<NextRing>,
    journal: Sender<Arc<Batch>>,
    taps: TapsEnd,
    stats: Arc<[RingStats]>,
    clock: ClockPair,
}

/// Where a lane's samples go in one round, and what is stamped on them.
#[derive(Clone, Copy)]
struct Out<'a> {
    journal: &'a Sender<Arc<Batch>>,
    taps: &'a TapsEnd,
    stats: &'a RingStats,
    clock: ClockPair,
    now: Nanos,
}

struct Drain {
    lane: LaneId,
    end: RingEnd,
    /// The rings that come after it, in order.
    next: VecDeque<RingEnd>,
    /// Whether the ring's producer was gone when it was last looked at.
    abandoned: bool,
    /// The number of the next sample that the journal is told.
    next_sequence: u64,
    /// The number of the next sample that comes out of the ring: what taps count by.
    next_live_sequence: u64,
    /// A batch that the journal had no room for.
    waiting: Option<Arc<Batch>>,
    /// Slots in use when the ring was looked at last.
    found: usize,
}

/// A ring in which one round finds more than one part of so many is looked into more often.
const RING_PART_IDLE: usize = 16;

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
    /// `rings` by executor; `stats` has one entry a ring. Whoever hands an executor the
    /// producer of another ring sends the consumer to `next` before, so that the end of a ring that has a successor
    /// is never taken for the last.
    pub fn new(
        rings: Vec<RingEnd>,
        next: Receiver<NextRing>,
        journal: Sender<Arc<Batch>>,
        taps: TapsEnd,
        stats: Arc<[RingStats]>,
        clock: ClockPair,
    ) -> Hub {
        let drains = rings
            .into_iter()
            .enumerate()
            .map(|(id, end)| {
                stats[id].capacity.store(end.ring.buffer().capacity() as u64, Relaxed);
                Drain {
                    lane: LaneId(id as u16),
                    end,
                    next: VecDeque::new(),
                    abandoned: false,
                    next_sequence: 0,
                    next_live_sequence: 0,
                    waiting: None,
                    found: 0,
                }
            })
            .collect();
        Hub { drains, next, journal, taps, stats, clock }
    }

    /// Empties the rings once. `read_clock` is asked when the last pair of clocks is a second old. False: all is
    /// done.
    pub fn round(&mut self, now: Nanos, read_clock: impl FnOnce() -> ClockPair) -> bool {
        if (now - self.clock.mono).0 >= NANOS_PER_SEC {
            self.clock = read_clock();
        }
        // The order matters. First whether the producers are gone, then the next rings: one that has a successor
        // shows it now. Then what is in the rings: what was pushed before the end is seen.
        self.drains.iter_mut().for_each(|drain| drain.abandoned = drain.end.ring.is_abandoned());
        self.take_next_rings();
        self.taps.look();
        let mut more = false;
        for (drain, stats) in self.drains.iter_mut().zip(self.stats.iter()) {
            stats.rounds.fetch_add(1, Relaxed);
            more |= drain.round(Out { journal: &self.journal, taps: &self.taps, stats, clock: self.clock, now });
        }
        more
    }

    /// How long nothing needs to be done. Each sleep less is a wake-up less, here and at the journal.
    pub fn pause(&self) -> Nanos {
        let is_filling = |drain: &Drain| {
            let ring = drain.end.ring.buffer().capacity();
            drain.waiting.is_some() || !drain.next.is_empty() || drain.found > ring / RING_PART_IDLE
        };
        match self.taps.is_empty() && !self.drains.iter().any(is_filling) {
            true => HUB_PERIOD_IDLE,
            false => HUB_PERIOD,
        }
    }

    fn take_next_rings(&mut self) {
        while let Ok(next) = self.next.try_recv() {
            match self.drains.get_mut(next.lane.index()) {
                Some(drain) => drain.next.push_back(next.end),
                None => tracing::error!("a ring for executor {}, which is unknown to the hub", next.lane.0),
            }
        }
    }
}

impl Drain {
    /// Empties the ring, and those after it as far as they have come. False: the executor is gone, and all is
    /// handed over.
    fn round(&mut self, out: Out<'_>) -> bool {
        let stats = out.stats;
        let mut more = false;
        loop {
            self.found = self.end.ring.slots();
            let fill = self.found as u64;
            stats.fill.store(fill, Relaxed);
            stats.fill_max.fetch_max(fill, Relaxed);
            stats.next_rings.store(self.next.len() as u64, Relaxed);
            let emptied = self.hand_over(out);
            if !(self.abandoned && emptied) {
                return true;
            }
            let Some(mut next) = self.next.pop_front() else {
                self.end.filter.close();
                stats.kept.store(0, Relaxed);
                return more;
            };
            stats.capacity.store(next.ring.buffer().capacity() as u64, Relaxed);
            self.abandoned = next.ring.is_abandoned();
            next.filter.take_over(&mut self.end.filter);
            stats.kept.store(next.filter.kept(), Relaxed);
            self.end = next;
            // Its own successor may have come since they were looked for: only the next round can tell the end.
            more = true;
        }
    }

    /// True when nothing is left.
    fn hand_over(&mut self, out: Out<'_>) -> bool {
        loop {
            if let Some(batch) = self.waiting.take() {
                match out.journal.try_send(batch) {
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
            match self.take(out) {
                Some(batch) => self.waiting = Some(batch),
                None => return true,
            }
        }
    }

    /// The next run of samples without a gap; `None` when the ring has none that is whole and told.
    fn take(&mut self, out: Out<'_>) -> Option<Arc<Batch>> {
        loop {
            let (taken, batch) = self.take_run(out);
            if batch.is_some() || taken == 0 {
                return batch;
            }
        }
    }

    /// Takes slots out of the ring, so many, and makes a batch of those that the journal is told, if there are any. Taps get
    /// all of them.
    fn take_run(&mut self, out: Out<'_>) -> (usize, Option<Arc<Batch>>) {
        let RingEnd { ring, names, filter } = &mut self.end;
        let available = ring.slots().min(BATCH_SAMPLES_MAX);
        let Ok(chunk) = ring.read_chunk(available) else { return (0, None) };
        let (first, second) = chunk.as_slices();
        let slot = |i: usize| if i < first.len() { &first[i] } else { &second[i - first.len()] };
        let mut at = 0;
        // Out of the ring, and of these told.
        let (mut came, mut samples) = (0u32, 0u32);
        let mut skipped = 0;
        let mut slots = Vec::new();
        while at < available {
            let sample = slot(at);
            if sample.is_gap() {
                if came > 0 {
                    break;
                }
                self.next_sequence += sample.value;
                self.next_live_sequence += sample.value;
                out.stats.missing.fetch_add(sample.value, Relaxed);
                filter.gap();
                at += 1;
                skipped = at;
                continue;
            }
            let end = at + 1 + sample.payload_slots();
            if end > available {
                break;
            }
            came += 1;
            samples += match filter.is_open() {
                true => 1,
                false => filter.pass(*sample, (at + 1..end).map(slot), &mut slots),
            };
            at = end;
        }
        let all = || {
            let cut = first.len();
            let mut all = Vec::with_capacity(at - skipped);
            all.extend_from_slice(&first[skipped.min(cut)..at.min(cut)]);
            all.extend_from_slice(&second[skipped.max(cut) - cut..at.max(cut) - cut]);
            all
        };
        let is_watched = !out.taps.is_empty() && came > 0;
        let (slots, live) = match filter.is_open() {
            true => (all(), None),
            false => (slots, is_watched.then(all)),
        };
        out.stats.kept.store(filter.kept(), Relaxed);
        let names = names.clone();
        chunk.commit(at);
        let (first_sequence, first_live) = (self.next_sequence, self.next_live_sequence);
        self.next_sequence += u64::from(samples);
        self.next_live_sequence += u64::from(came);
        out.stats.delivered.fetch_add(u64::from(samples), Relaxed);
        let batch = |first_sequence, samples, slots| Batch {
            lane: self.lane,
            first_sequence,
            samples,
            slots,
            clock: out.clock,
            drained: out.now,
            names: names.clone(),
        };
        let told = (samples > 0).then(|| Arc::new(batch(first_sequence, samples, slots)));
        if is_watched {
            match (live, &told) {
                (Some(slots), _) => out.taps.put(&Arc::new(batch(first_live, came, slots))),
                (None, Some(told)) if first_live == first_sequence => out.taps.put(told),
                // A filter held samples back before this ring came.
                (None, Some(told)) => {
                    out.taps.put(&Arc::new(Batch { first_sequence: first_live, ..Batch::clone(told) }));
                }
                (None, None) => {}
            }
        }
        (at, told)
    }
}

#[cfg(test)]
mod tests;
