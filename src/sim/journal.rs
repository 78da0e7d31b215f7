//! The consumer behind the hub: the real journal in a directory of its own, a process that dies, and outputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fastrand::Rng;

use super::outputs::SimOutput;
use super::parts::Parts;
use super::script::{Crash, Series};
use crate::config::JournalConfig;
use crate::hub::Batch;
use crate::store::{BootId, Journal, JournalReader, Position};
use crate::tag::{Nanos, Sample};

const MS: u64 = 1_000_000;
/// More than a run writes: retention has only to do with what the outputs have passed.
const BYTES_MAX: u64 = 512 << 20;
/// Where files are memory, so that a commit costs no disk.
const MEMORY: &str = "/dev/shm";
const OUTPUTS: [&str; 2] = ["near", "far"];

/// A block that was committed.
struct Stored {
    boot: u64,
    executor: u64,
    first: u64,
    samples: u64,
    hash: u64,
}

/// See the module.
pub struct SimJournal {
    config: JournalConfig,
    journal: Option<Journal>,
    boot: u64,
    pending: Vec<Arc<Batch>>,
    outputs: Vec<SimOutput>,
    /// By block index, from the first one ever.
    stored: Vec<Stored>,
    /// What was given to commits, by boot and executor: number and hash, in order.
    given: BTreeMap<(u64, u64), Vec<(u64, u64)>>,
    /// How far each output's cursor was followed.
    checked: Vec<u64>,
    next_commit: u64,
    next_tick: u64,
    crash_times: Series<Crash>,
    period: u64,
    well_from: u64,
    rng: Rng,
    pub crashes: u64,
}

fn told(error: impl std::fmt::Display) -> String {
    format!("the journal: {error}")
}

/// A sample with what it is called.
fn hash(batch: &Batch, sample: &Sample, payload: &[Sample]) -> u64 {
    let name = batch.names.tag(crate::tag::TagId(sample.tag)).map_or("", |tag| tag.name.as_str());
    let words = [sample.t_mono_ns, sample.value, u64::from(sample.status), u64::from(sample.cycle)];
    let long = payload.iter().flat_map(|slot| slot.to_payload()).map(u64::from);
    let all = words.into_iter().chain(name.bytes().map(u64::from)).chain(long);
    all.fold(u64::from(sample.group), |hash, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23))
}

impl SimJournal {
    /// # Errors
    /// When no journal can be made.
    pub fn new(
        seed: u64,
        period: u64,
        well_from: u64,
        crash_times: Series<Crash>,
        rng: Rng,
    ) -> Result<SimJournal, String> {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new(MEMORY);
        let under = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let run = RUNS.fetch_add(1, Relaxed);
        let path: PathBuf = under.join(format!("fieldbeat-sim-{}-{run}-{seed}", std::process::id()));
        let config = JournalConfig { path, bytes_max: BYTES_MAX, commit: Nanos(period) };
        let mut journal = SimJournal {
            config,
            journal: None,
            boot: 0,
            pending: Vec::new(),
            outputs: Vec::new(),
            stored: Vec::new(),
            given: BTreeMap::new(),
            checked: vec![0; OUTPUTS.len()],
            next_commit: 0,
            next_tick: 0,
            crash_times,
            period,
            well_from,
            rng,
            crashes: 0,
        };
        journal.open()?;
        for name in OUTPUTS {
            let rng = journal.rng.fork();
            journal.outputs.push(SimOutput::new(name, journal.reader()?, rng)?);
        }
        Ok(journal)
    }

    fn reader(&self) -> Result<JournalReader, String> {
        Ok(self.journal.as_ref().ok_or("no journal is open")?.reader())
    }

    fn open(&mut self) -> Result<(), String> {
        self.boot += 1;
        let mut journal = Journal::open(&self.config, BootId(self.boot)).map_err(told)?;
        journal.register_cursors(&OUTPUTS).map_err(told)?;
        self.journal = Some(journal);
        Ok(())
    }

    /// A batch of the hub.
    pub fn take(&mut self, batch: &Arc<Batch>) {
        self.pending.push(batch.clone());
    }

    /// # Errors
    /// What breaks.
    pub fn step<P: Parts>(&mut self, now: u64, parts: &P) -> Result<(), String> {
        if self.crash_times.due(now).is_some() {
            self.crash()?;
        }
        if now >= self.next_commit {
            self.next_commit = now + self.period;
            self.commit()?;
        }
        if now >= self.next_tick {
            self.next_tick = now + self.period / 2;
            for at in 0..self.outputs.len() {
                self.outputs[at].tick(now, now >= self.well_from, parts)?;
                self.follow(at)?;
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), String> {
        let journal = self.journal.as_mut().ok_or("no journal is open")?;
        if self.pending.is_empty() && !journal.has_cursors_to_save() {
            return Ok(());
        }
        let samples: u64 = self.pending.iter().map(|batch| u64::from(batch.samples)).sum();
        let committed = journal.append(&self.pending).map_err(told)?;
        if committed.samples != samples || committed.samples_dropped != 0 {
            return Err(format!("{samples} samples were to be committed: {committed:?}"));
        }
        for batch in self.pending.drain(..) {
            let given = self.given.entry((self.boot, u64::from(batch.executor.0))).or_default();
            given.extend(batch.iter().map(|told| (told.sequence, hash(&batch, told.sample, told.payload))));
        }
        self.look(self.stored.len() as u64)?;
        let (mut stored, mut given) = (0, 0);
        self.stored.iter().filter(|block| block.boot == self.boot).for_each(|block| stored += block.samples);
        self.given.iter().filter(|((boot, _), _)| *boot == self.boot).for_each(|(_, g)| given += g.len() as u64);
        if stored != given {
            return Err(format!("{given} samples were committed, {stored} are in the log"));
        }
        Ok(())
    }

    /// Reads the log from `index` on: blocks that are known must be as they were, new ones as they were given.
    fn look(&mut self, index: u64) -> Result<(), String> {
        let reader = self.reader()?;
        let mut next = index;
        while let Some(block) = reader.block_at_or_after(next).map_err(told)? {
            if block.index != next {
                return Err(format!("block {} is there, {next} is not", block.index));
            }
            next += 1;
            let key = (block.boot.0, u64::from(block.batch.executor.0));
            let given = self.given.get(&key).map_or(&[][..], |given| given);
            let at = given.partition_point(|(sequence, _)| *sequence < block.batch.first_sequence);
            let mut all = 0u64;
            for (at, told) in (at..).zip(block.batch.iter()) {
                let found = (told.sequence, hash(&block.batch, told.sample, told.payload));
                if given.get(at) != Some(&found) {
                    return Err(format!("block {}: sample {} is not what was committed", block.index, told.sequence));
                }
                all = all.rotate_left(7) ^ found.1;
            }
            let samples = u64::from(block.batch.samples);
            match self.stored.get(block.index as usize) {
                Some(known) if (known.hash, known.samples) != (all, samples) => {
                    return Err(format!("block {} is another one than before", block.index));
                }
                Some(_) => {}
                None => {
                    let first = block.batch.first_sequence;
                    self.stored.push(Stored { boot: key.0, executor: key.1, first, samples, hash: all });
                }
            }
        }
        Ok(())
    }

    /// The process dies: what was not committed is gone, the rest is there when it comes again.
    fn crash(&mut self) -> Result<(), String> {
        self.crashes += 1;
        self.pending.clear();
        let outputs = std::mem::take(&mut self.outputs);
        // Their readers keep the file open, as nothing does when a process dies.
        let mut outputs: Vec<_> = outputs.into_iter().map(SimOutput::die).collect();
        self.journal = None;
        self.open()?;
        for output in outputs.drain(..) {
            self.outputs.push(output.restart(self.reader()?)?);
        }
        // All that some output has not passed.
        let needed = self.outputs.iter().map(|output| output.cursor.block).min().unwrap_or(0);
        self.look(needed)?;
        let next = self.reader()?.next_index().map_err(told)?;
        if next != self.stored.len() as u64 {
            return Err(format!("{} blocks were committed, the next one would be {next}", self.stored.len()));
        }
        Ok(())
    }

    /// A cursor has only passed what the broker has.
    fn follow(&mut self, at: usize) -> Result<(), String> {
        let output = &self.outputs[at];
        for index in self.checked[at]..=output.cursor.block {
            let Some(block) = self.stored.get(index as usize) else { break };
            let passed = if index < output.cursor.block { block.samples } else { u64::from(output.cursor.samples) };
            let missing = (block.first..block.first + passed).find(|n| !output.has(block.boot, block.executor, *n));
            if let Some(missing) = missing {
                return Err(format!(
                    "output {}: its cursor is at {:?}, past sample {missing} of block {index}, which never arrived",
                    output.name, output.cursor
                ));
            }
        }
        self.checked[at] = output.cursor.block;
        Ok(())
    }

    /// The end: all is committed, and comes to every broker.
    ///
    /// # Errors
    /// What is missing.
    pub fn finish<P: Parts>(&mut self, mut now: u64, parts: &P) -> Result<(), String> {
        self.commit()?;
        let end = Position { block: self.stored.len() as u64, samples: 0 };
        for at in 0..self.outputs.len() {
            let mut ticks = 0;
            while self.outputs[at].cursor < end {
                now += 20 * MS;
                ticks += 1;
                self.outputs[at].tick(now, true, parts)?;
                self.follow(at)?;
                if ticks > 1_000_000 {
                    let output = &self.outputs[at];
                    return Err(format!("output {}: its cursor stays at {:?}", output.name, output.cursor));
                }
            }
        }
        let given = self.given.iter().flat_map(|(key, given)| given.iter().map(move |(n, _)| (key, *n)));
        for ((boot, executor), n) in given {
            if let Some(output) = self.outputs.iter().find(|output| !output.has(*boot, *executor, n)) {
                return Err(format!("output {}: sample {n} of executor {executor} never arrived", output.name));
            }
        }
        let more = |output: &SimOutput| output.delivered.values().flatten().filter(|had| **had).count();
        let all: usize = self.given.values().map(Vec::len).sum();
        match self.outputs.iter().find(|output| more(output) != all) {
            Some(output) => Err(format!("output {}: {} of {all} samples arrived", output.name, more(output))),
            None => Ok(()),
        }
    }
}

impl Drop for SimJournal {
    fn drop(&mut self) {
        self.outputs.clear();
        self.journal = None;
        let _ = std::fs::remove_dir_all(&self.config.path);
    }
}
