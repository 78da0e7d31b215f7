//! Batches, journals and child processes for the tests.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use fieldbeat::config::JournalConfig;
use fieldbeat::store::{Block, BootId, Journal, JournalError, JournalReader};
use fieldbeat::tag::Batch;
use fieldbeat::tag::{ClockPair, Dictionary, DictionaryTag, LaneId, Nanos, Sample};

pub const MIB: u64 = 1 << 20;
pub const BOOT: BootId = BootId(0x0190_0000_0000_0001);

pub fn config(path: &Path, bytes_max: u64) -> JournalConfig {
    JournalConfig { path: path.to_owned(), bytes_max, commit: Nanos::from_millis(10) }
}

/// The names of [`batch`].
pub fn names() -> Arc<Dictionary> {
    names_of("test")
}

pub fn names_of(gateway: &str) -> Arc<Dictionary> {
    let tag = |i| DictionaryTag { name: format!("{gateway}.tag{i}"), ty: 6, unit: String::new(), ..Default::default() };
    Arc::new(Dictionary { gateway: gateway.into(), tags: (0..10).map(tag).collect(), groups: vec!["g".into()] })
}

pub fn open(path: &Path, bytes_max: u64) -> Result<Journal, JournalError> {
    Journal::open(&config(path, bytes_max), BOOT)
}

/// Samples that are hard to compress: about 8 bytes each.
pub fn batch(executor: u16, first_sequence: u64, samples: u32) -> Arc<Batch> {
    batch_under(&names(), executor, first_sequence, samples)
}

/// The same under other names.
pub fn batch_under(names: &Arc<Dictionary>, executor: u16, first_sequence: u64, samples: u32) -> Arc<Batch> {
    let mut random = fastrand::Rng::with_seed(first_sequence ^ (executor as u64) << 48);
    // One clock for all batches of a process, so that they may share blocks.
    static START_NS: OnceLock<i64> = OnceLock::new();
    let utc_now_ns = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    let utc_ns = START_NS.get_or_init(utc_now_ns) + first_sequence as i64;
    let slot = |i: u32| Sample {
        t: first_sequence + i as u64,
        value: random.u64(..),
        tag: i % 10,
        ty: 6,
        ..Sample::default()
    };
    Arc::new(Batch {
        lane: LaneId(executor),
        first_sequence,
        samples,
        slots: (0..samples).map(slot).collect(),
        clock: ClockPair { mono: Nanos(first_sequence), utc_ns },
        drained: Nanos(first_sequence),
        names: names.clone(),
    })
}

/// Every block from `index` on.
pub fn blocks(reader: &JournalReader, mut index: u64) -> Vec<Block> {
    let mut out = Vec::new();
    while let Some(block) = reader.block_at_or_after(index).unwrap() {
        index = block.index + 1;
        out.push(block);
    }
    out
}

/// The blocks hold exactly what [`batch`] makes for their numbers.
pub fn assert_genuine(blocks: &[Block], samples_per_batch: u32) {
    for block in blocks {
        let mut sequence = block.batch.first_sequence;
        for slots in block.batch.slots.chunks(samples_per_batch as usize) {
            assert_eq!(slots, batch(block.batch.lane.0, sequence, samples_per_batch).slots);
            sequence += slots.len() as u64;
        }
    }
}

/// A process that runs one test of this binary in another role; killed when it goes out of scope.
pub struct Role(pub Child);

impl Role {
    pub fn start(test: &str, path: &Path) -> Role {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env("JOURNAL_TEST_ROLE", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Role(child)
    }

    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The path that a role is to work on; `None` when the test is not run as a role.
pub fn role() -> Option<std::path::PathBuf> {
    std::env::var_os("JOURNAL_TEST_ROLE").map(Into::into)
}
