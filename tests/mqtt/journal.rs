//! A journal in memory, and a producer whose values can be told from their sequence numbers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use fieldbeat::store::{Block, BootId, Position};
use fieldbeat::store::{Follow, FollowError};
use fieldbeat::tag::Batch;
use fieldbeat::tag::{ClockPair, Dictionary, DictionaryTag, LaneId, Nanos, Sample, ScalarType, flags};

pub const BOOT: BootId = BootId(0x019a_a4b3_c7d1_0a2f);
/// UTC of the monotonic zero.
pub const UTC_ZERO_NS: i64 = 1_763_693_956_000_000_000;

#[derive(Default)]
struct Inner {
    blocks: VecDeque<Block>,
    next: u64,
    cursors: HashMap<String, Position>,
    broken: bool,
}

/// Shared: a clone reads and writes the same journal.
#[derive(Clone, Default)]
pub struct MemoryJournal(Arc<(Mutex<Inner>, Condvar)>);

impl MemoryJournal {
    pub fn append(&self, batch: Batch) {
        let mut inner = self.0.0.lock().unwrap();
        let index = inner.next;
        inner.blocks.push_back(Block { index, boot: BOOT, batch });
        inner.next += 1;
        self.0.1.notify_all();
    }

    /// As the byte bound does it.
    pub fn drop_before(&self, index: u64) {
        self.0.0.lock().unwrap().blocks.retain(|b| b.index >= index);
    }

    /// The index that the next block will get.
    pub fn next(&self) -> u64 {
        self.0.0.lock().unwrap().next
    }

    pub fn set_broken(&self, broken: bool) {
        self.0.0.lock().unwrap().broken = broken;
    }

    pub fn saved(&self, name: &str) -> Option<Position> {
        self.0.0.lock().unwrap().cursors.get(name).copied()
    }
}

impl Follow for MemoryJournal {
    fn block_at_or_after(&self, index: u64) -> Result<Option<Block>, FollowError> {
        let inner = self.0.0.lock().unwrap();
        if inner.broken {
            return Err(FollowError("checksum of block 7 is wrong".into()));
        }
        let at = inner.blocks.partition_point(|b| b.index < index);
        Ok(inner.blocks.get(at).cloned())
    }

    fn wait_for(&self, index: u64, timeout: Duration) -> bool {
        let inner = self.0.0.lock().unwrap();
        let (inner, _) = self.0.1.wait_timeout_while(inner, timeout, |i| i.next <= index).unwrap();
        inner.next > index
    }

    fn next_index(&self) -> Result<u64, FollowError> {
        Ok(self.next())
    }

    fn cursor(&self, name: &str) -> Result<Option<Position>, FollowError> {
        Ok(self.saved(name))
    }

    fn save_cursor(&self, name: &str, position: Position) {
        self.0.0.lock().unwrap().cursors.insert(name.into(), position);
    }
}

/// Makes blocks as a gateway would: per executor, cycles of all its tags, the groups interleaved.
pub struct Producer {
    pub journal: MemoryJournal,
    pub dictionary: Arc<Dictionary>,
    executors: u16,
    groups: u16,
    tags_per_group: u32,
    sequences: Vec<u64>,
    cycle: u32,
    /// Float32 instead of the numbers that a subscriber can check.
    pub floats: bool,
}

impl Producer {
    pub fn new(journal: &MemoryJournal, executors: u16, groups: u16, tags_per_group: u32) -> Producer {
        let total = u32::from(executors) * u32::from(groups) * tags_per_group;
        let tag = |i| DictionaryTag {
            name: format!("tag{i}"),
            ty: ScalarType::Uint64 as u8,
            unit: String::new(),
            ..Default::default()
        };
        let dictionary = Dictionary {
            gateway: "line-4".into(),
            tags: (0..total).map(tag).collect(),
            groups: (0..groups).map(|g| format!("group{g}")).collect(),
        };
        Producer {
            journal: journal.clone(),
            dictionary: Arc::new(dictionary),
            executors,
            groups,
            tags_per_group,
            sequences: vec![0; usize::from(executors)],
            cycle: 0,
            floats: false,
        }
    }

    /// One block for each executor, of `cycles` cycles 10 ms apart.
    pub fn blocks(&mut self, cycles: u32) {
        for executor in 0..self.executors {
            let first_sequence = self.sequences[usize::from(executor)];
            let mut sequence = first_sequence;
            let mut slots = Vec::new();
            for cycle in self.cycle..self.cycle + cycles {
                for at in 0..self.tags_per_group * u32::from(self.groups) {
                    // Groups change within the cycle, in runs of up to three.
                    let group = (at / 3 % u32::from(self.groups)) as u16;
                    let tag = u32::from(executor) * self.tags_per_group * u32::from(self.groups) + at;
                    let held = at % 7 == 6;
                    slots.push(Sample {
                        t: u64::from(cycle - u32::from(held && cycle > 0)) * 10_000_000,
                        value: if self.floats {
                            u64::from((sequence as f32 * 0.37).to_bits())
                        } else {
                            value_of(sequence)
                        },
                        tag,
                        status: if held { 0x408F_0000 } else { 0 },
                        cycle,
                        group,
                        ty: if self.floats { ScalarType::Float32 } else { ScalarType::Uint64 } as u8,
                        flags: if held { flags::HELD } else { 0 },
                    });
                    sequence += 1;
                }
            }
            let end = Nanos(u64::from(self.cycle + cycles) * 10_000_000);
            let batch = Batch {
                lane: LaneId(executor),
                first_sequence,
                samples: slots.len() as u32,
                slots,
                clock: ClockPair { mono: Nanos::ZERO, utc_ns: UTC_ZERO_NS },
                drained: end,
                names: self.dictionary.clone(),
            };
            self.sequences[usize::from(executor)] = sequence;
            self.journal.append(batch);
        }
        self.cycle += cycles;
    }

    /// Samples made so far, by executor.
    pub fn made(&self) -> Vec<u64> {
        self.sequences.clone()
    }
}

/// What the sample of that number holds: more digits than a float has.
pub fn value_of(sequence: u64) -> u64 {
    u64::MAX - sequence * 3
}
