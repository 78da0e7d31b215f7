//! The journal: how fast samples are encoded and made durable, and how many bytes each takes.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fieldbeat::config::JournalConfig;
use fieldbeat::store::codec::{Encoder, cut, decode};
use fieldbeat::store::{BootId, Journal, NamesId};
use fieldbeat::tag::Batch;
use fieldbeat::tag::{ClockPair, Dictionary, LaneId, Nanos, Sample, ScalarType};

const TAGS: usize = 1000;
const TAGS_PER_FRAME: usize = 100;
const CYCLE_NS: u64 = 10_000_000;

/// A plant's tags at 100 Hz.
struct Plant {
    kind: Kind,
    cycle: u32,
    random: fastrand::Rng,
    counters: Vec<u64>,
    names: Arc<Dictionary>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// float32 from 12- to 16-bit converters: a slow sine, noise of one step.
    Quantised,
    /// float32 with noise in all low bits of the mantissa.
    Noisy,
    /// Integers, counters, bools, and float64 scaled by 0.1, a quarter each.
    Mixed,
}

impl Plant {
    fn new(kind: Kind) -> Plant {
        Plant { kind, cycle: 0, random: fastrand::Rng::with_seed(7), counters: vec![0; TAGS], names: Arc::default() }
    }

    fn value(&mut self, tag: usize, seconds: f64) -> (ScalarType, u64) {
        // Ranges from 1 to 1000 units, periods from 10 s to 2 min.
        let range = 10f64.powi((tag % 4) as i32);
        let slow = (seconds / (10.0 + (tag % 111) as f64) * std::f64::consts::TAU + tag as f64).sin();
        let noise = self.random.f64() + self.random.f64() - 1.0;
        match self.kind {
            Kind::Quantised => {
                let steps = (1u64 << (12 + tag % 5)) as f64;
                let count = ((slow * 0.4 + 0.5) * steps + noise).round();
                (ScalarType::Float32, ((count * range / steps) as f32).to_bits() as u64)
            }
            Kind::Noisy => {
                let value = range * (slow * 0.4 + 0.5 + noise * 1e-4);
                (ScalarType::Float32, (value as f32).to_bits() as u64)
            }
            Kind::Mixed => match tag / TAGS_PER_FRAME % 4 {
                0 => (ScalarType::Int16, ((slow * 2000.0 + noise) as i64) as u64),
                1 => {
                    self.counters[tag] += self.random.u64(0..4);
                    (ScalarType::Uint32, self.counters[tag])
                }
                2 => (ScalarType::Bool, (slow > 0.3) as u64),
                _ => (ScalarType::Float64, ((slow * 1000.0 + noise).round() * 0.1).to_bits()),
            },
        }
    }

    /// The samples of `cycles` cycles.
    fn batch(&mut self, cycles: usize) -> Arc<Batch> {
        let first_sequence = self.cycle as u64 * TAGS as u64;
        let mut slots = Vec::with_capacity(cycles * TAGS);
        for _ in 0..cycles {
            let start = self.cycle as u64 * CYCLE_NS;
            for frame in 0..TAGS / TAGS_PER_FRAME {
                let t = start + frame as u64 * 150_000 + self.random.u64(0..60_000);
                for tag in frame * TAGS_PER_FRAME..(frame + 1) * TAGS_PER_FRAME {
                    let (ty, value) = self.value(tag, start as f64 * 1e-9);
                    let (tag, ty, cycle) = (tag as u32, ty as u8, self.cycle);
                    slots.push(Sample { t, value, tag, cycle, ty, ..Sample::default() });
                }
            }
            self.cycle += 1;
        }
        let samples = slots.len() as u32;
        let clock = ClockPair { mono: Nanos(0), utc_ns: 1_700_000_000_000_000_000 };
        let (lane, drained, names) = (LaneId(0), Nanos(0), self.names.clone());
        Arc::new(Batch { lane, first_sequence, samples, slots, clock, drained, names })
    }
}

fn codec(kind: Kind, cycles: usize, duration: Duration) {
    let mut plant = Plant::new(kind);
    let batches: Vec<_> = (0..(200 / cycles).max(2)).map(|_| plant.batch(cycles)).collect();
    let mut encoder = Encoder::default();
    let (mut samples, mut bytes, mut encode, mut decoding) = (0u64, 0u64, Duration::ZERO, Duration::ZERO);
    for batch in batches.iter().cycle() {
        for block in cut(std::slice::from_ref(batch)).blocks {
            let mut out = Vec::new();
            let start = Instant::now();
            encoder.encode(&mut out, &block, BootId(1), NamesId(0), 0).expect("encodes");
            encode += start.elapsed();
            let start = Instant::now();
            std::hint::black_box(decode(&out, plant.names.clone()).expect("decodes"));
            decoding += start.elapsed();
            samples += block.samples as u64;
            bytes += out.len() as u64;
        }
        if encode + decoding > duration {
            break;
        }
    }
    println!(
        "{:>10} {:>7} samples a block: encode {:>6.2} M samples/s, decode {:>6.2} M samples/s, {:.2} bytes a sample",
        format!("{kind:?}"),
        cycles * TAGS,
        samples as f64 / encode.as_secs_f64() / 1e6,
        samples as f64 / decoding.as_secs_f64() / 1e6,
        bytes as f64 / samples as f64,
    );
}

/// Commits with full sync, beside a plain file that is given the same bytes and synced: what the disk can do.
fn durable(kind: Kind, samples_per_commit: usize, duration: Duration) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let config = JournalConfig { path: dir.path().join("journal"), bytes_max: 4 << 30, commit: Nanos::ZERO };
    let mut journal = Journal::open(&config, BootId(1)).expect("a journal");
    let stats = journal.stats();
    let empty = stats.bytes_used.load(Relaxed);
    let mut plant = Plant::new(kind);
    let batches: Vec<_> = (0..8).map(|_| plant.batch(samples_per_commit / TAGS)).collect();
    let start = Instant::now();
    for batch in batches.iter().cycle() {
        journal.append(std::slice::from_ref(batch)).expect("commits");
        if start.elapsed() > duration {
            break;
        }
    }
    let took = start.elapsed();
    let samples = stats.samples_stored.load(Relaxed);
    let commits = stats.commits.load(Relaxed);
    let encoded = stats.bytes_encoded.load(Relaxed);
    let per_sample = |bytes: u64| bytes as f64 / samples as f64;

    let mut file = std::fs::File::create(dir.path().join("plain")).expect("a file");
    let bytes = vec![0x5a; (encoded / commits) as usize];
    let start = Instant::now();
    let mut writes = 0u64;
    while start.elapsed() < duration / 2 {
        file.write_all(&bytes).and_then(|()| file.sync_data()).expect("writes");
        writes += 1;
    }
    let plain = start.elapsed();
    println!(
        "{:>10} {:>7} samples a commit: {:>6.2} M samples/s durable, commit mean {:>5.2} ms, max {:>5.1} ms; \
         {:.2} bytes a sample encoded, {:.2} in pages; a plain file syncs {:.2} ms",
        format!("{kind:?}"),
        samples_per_commit,
        samples as f64 / took.as_secs_f64() / 1e6,
        stats.commit_ns_sum.load(Relaxed) as f64 / commits as f64 / 1e6,
        stats.commit_ns_max.load(Relaxed) as f64 / 1e6,
        per_sample(encoded),
        per_sample(stats.bytes_used.load(Relaxed) - empty),
        plain.as_secs_f64() / writes as f64 * 1e3,
    );
}

fn main() {
    let kinds = [Kind::Quantised, Kind::Noisy, Kind::Mixed];
    for kind in kinds {
        for cycles in [1, 10, 60] {
            codec(kind, cycles, Duration::from_millis(1000));
        }
    }
    for kind in kinds {
        for samples_per_commit in [10_000, 100_000] {
            durable(kind, samples_per_commit, Duration::from_secs(3));
        }
    }
}
