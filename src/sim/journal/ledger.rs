//! What the journal was given, what it has stored where, and what an output need not get: all that a block holds is what
//! was committed, and nothing is gone without a word.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::{Found, JournalReader, Position};
use crate::tag::Batch;
use crate::tag::{Sample, TagId};

use super::told;

/// A block, wherever it stands: its boot, its executor, and its first number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub boot: u64,
    pub lane: u64,
    pub first: u64,
}

/// A block that was committed.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    pub samples: u64,
    /// Of its samples, with and without their names.
    named: u64,
    plain: u64,
}

/// A sample that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Given {
    sequence: u64,
    named: u64,
    plain: u64,
}

/// See the module.
#[derive(Default)]
pub struct Ledger {
    /// By boot and executor, in order.
    given: BTreeMap<(u64, u64), Vec<Given>>,
    /// What was written, and not committed before the process died: what is left of it on the disk may be salvaged.
    written: BTreeMap<(u64, u64), Vec<Given>>,
    /// All that were ever committed.
    pub blocks: BTreeMap<Key, Stored>,
    /// Those of the present file, by their index.
    pub file: BTreeMap<u64, Key>,
    /// By output: what was lost, and said to be, before it had it.
    pub excused: Vec<BTreeSet<Key>>,
}

fn given(batch: &Batch, sequence: u64, sample: &Sample, payload: &[Sample]) -> Given {
    let words = [sample.t, sample.value, u64::from(sample.status), u64::from(sample.cycle)];
    let long = payload.iter().flat_map(|slot| slot.to_payload()).map(u64::from);
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    let plain = words.into_iter().chain(long).fold(u64::from(sample.group), mix);
    let name = batch.names.tag(TagId(sample.tag)).map_or("", |tag| tag.name.as_str());
    Given { sequence, plain, named: name.bytes().map(u64::from).fold(plain, mix) }
}

impl Ledger {
    pub fn new(outputs: usize) -> Ledger {
        Ledger { excused: vec![BTreeSet::new(); outputs], ..Ledger::default() }
    }

    /// A batch was committed.
    pub fn give(&mut self, boot: u64, batch: &Batch) {
        let all = self.given.entry((boot, u64::from(batch.lane.0))).or_default();
        all.extend(batch.iter().map(|told| given(batch, told.sequence, told.sample, told.payload)));
    }

    /// A batch was written, and the process died over it.
    pub fn write(&mut self, boot: u64, batch: &Batch) {
        let all = self.written.entry((boot, u64::from(batch.lane.0))).or_default();
        all.extend(batch.iter().map(|told| given(batch, told.sequence, told.sample, told.payload)));
    }

    /// Whether all that was committed in this boot was found in a block.
    ///
    /// # Errors
    /// How many were not.
    pub fn settled(&self, boot: u64) -> Result<(), String> {
        let stored: u64 = self.blocks.iter().filter(|(key, _)| key.boot == boot).map(|(_, block)| block.samples).sum();
        let given: usize = self.given.iter().filter(|((of, _), _)| *of == boot).map(|(_, given)| given.len()).sum();
        if stored == given as u64 {
            return Ok(());
        }
        Err(format!("{given} samples were committed, {stored} are in the log"))
    }

    /// Reads the log from `index` on: blocks that are known must be as they were, new ones as they were given. `damaged`:
    /// some may be missing or elsewhere, as long as there are no fewer places that are said to be damaged.
    ///
    /// # Errors
    /// What is wrong.
    pub fn look(&mut self, reader: &JournalReader, index: u64, damaged: bool) -> Result<(), String> {
        let mut next = index;
        let mut found = BTreeMap::new();
        let mut places = 0;
        while let Some(at) = reader.found_at_or_after(next).map_err(told)? {
            let block = match at {
                Found::Block(block) => block,
                Found::Nameless(block, _) if damaged => block,
                Found::Damaged(place) if damaged => {
                    places += 1;
                    next = place.index + 1;
                    continue;
                }
                Found::Nameless(block, what) => return Err(format!("block {}: {what}", block.index)),
                Found::Damaged(place) => return Err(format!("block {}: {}", place.index, place.what)),
            };
            next = block.index + 1;
            let first = block.batch.first_sequence;
            let key = Key { boot: block.boot.0, lane: u64::from(block.batch.lane.0), first };
            let seen = block.batch.iter().map(|told| given(&block.batch, told.sequence, told.sample, told.payload));
            let seen: Vec<Given> = seen.collect();
            self.compare(block.index, key, &seen, !damaged || has_names(&block.batch))?;
            if !damaged && self.file.get(&block.index).is_some_and(|known| *known != key) {
                return Err(format!("block {} is another one than before", block.index));
            }
            found.insert(block.index, key);
        }
        let known = self.file.split_off(&index);
        let knew = |one: u64, next: u64| {
            known.contains_key(&one) && known.range(one + 1..).next().is_some_and(|(at, _)| *at == next)
        };
        let mut holes = found.keys().zip(found.keys().skip(1)).filter(|(one, next)| *one + 1 != **next);
        if let Some((one, next)) = holes.find(|(one, next)| !damaged && !knew(**one, **next)) {
            return Err(format!("block {next} comes behind block {one}"));
        }
        let there: BTreeSet<Key> = found.values().copied().collect();
        let missing: Vec<Key> = known.into_values().filter(|key| !there.contains(key)).collect();
        if missing.len() > places {
            let what = "blocks are gone, and nothing says that they are damaged";
            return Err(format!("{} {what}; the first: {:?}", missing.len() - places, missing[0]));
        }
        self.excused.iter_mut().for_each(|excused| excused.extend(missing.iter().copied()));
        self.file.extend(found);
        Ok(())
    }

    fn compare(&mut self, index: u64, key: Key, seen: &[Given], has_names: bool) -> Result<(), String> {
        let fold = |of: fn(&Given) -> u64| seen.iter().fold(0u64, |all, given| all.rotate_left(7) ^ of(given));
        let stored = Stored { samples: seen.len() as u64, named: fold(|given| given.named), plain: fold(|g| g.plain) };
        if let Some(known) = self.blocks.get(&key) {
            let same = known.samples == stored.samples && known.plain == stored.plain;
            if !same || has_names && known.named != stored.named {
                return Err(format!("block {index} is another one than before"));
            }
            return Ok(());
        }
        let all = self.given.get(&(key.boot, key.lane)).map_or(&[][..], |given| given);
        let at = all.partition_point(|given| given.sequence < key.first);
        let expected = all.get(at..at + seen.len()).unwrap_or_default();
        if expected != seen {
            return Err(format!("block {index}: samples from {} on are not what was committed", key.first));
        }
        self.blocks.insert(key, stored);
        Ok(())
    }

    /// That what was salvaged is what was stored once.
    ///
    /// # Errors
    /// What is not.
    pub fn check_salvaged(&self, reader: &JournalReader) -> Result<u64, String> {
        let mut next = 0;
        let mut count = 0;
        while let Some(at) = reader.found_at_or_after(next).map_err(told)? {
            let block = match at {
                Found::Block(block) | Found::Nameless(block, _) => block,
                Found::Damaged(place) => return Err(format!("salvaged block {}: {}", place.index, place.what)),
            };
            next = block.index + 1;
            count += 1;
            let key =
                Key { boot: block.boot.0, lane: u64::from(block.batch.lane.0), first: block.batch.first_sequence };
            let seen = block.batch.iter().map(|told| given(&block.batch, told.sequence, told.sample, told.payload));
            let named = has_names(&block.batch);
            let same = |seen: &Given, was: &Given| seen.plain == was.plain && (!named || seen.named == was.named);
            let lists = [&self.given, &self.written].map(|all| all.get(&(key.boot, key.lane)));
            for sample in seen {
                let was = lists.iter().flatten().filter_map(|all| {
                    let at = all.binary_search_by_key(&sample.sequence, |given| given.sequence).ok()?;
                    all.get(at)
                });
                if !was.into_iter().any(|was| same(&sample, was)) {
                    let n = sample.sequence;
                    return Err(format!("salvaged block {}: sample {n} of {key:?} was never written so", block.index));
                }
            }
        }
        Ok(count)
    }

    /// Samples of the present file from `position` on.
    pub fn behind(&self, position: Position) -> u64 {
        let all: u64 = self.file.range(position.block..).map(|(_, key)| self.samples(key)).sum();
        let done = self.file.get(&position.block).map_or(0, |key| self.samples(key).min(u64::from(position.samples)));
        all - done
    }

    pub fn samples(&self, key: &Key) -> u64 {
        self.blocks.get(key).map_or(0, |block| block.samples)
    }

    /// The present file is lost: an output whose place was there gets nothing more of it.
    pub fn lose(&mut self, output: usize, position: Position) {
        self.excused[output].extend(self.file.range(position.block..).map(|(_, key)| *key));
    }

    pub fn is_excused(&self, output: usize, key: &Key) -> bool {
        self.excused[output].contains(key)
    }
}

/// Whether no name is missing: those that are damaged are empty.
fn has_names(batch: &Batch) -> bool {
    batch.iter().all(|told| batch.names.tag(TagId(told.sample.tag)).is_some_and(|tag| !tag.name.is_empty()))
}
