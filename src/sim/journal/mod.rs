//! The consumer behind the hub: the real journal in a directory of its own, a process that dies, files that are damaged, a
//! disk that takes nothing, and outputs that follow all that.
//!
//! | file | subject |
//! |---|---|
//! | `ledger` | what was given, what is stored, what is lost and said to be |
//! | `damage` | what befalls its files |
//! | `disk` | a disk that takes nothing more |

mod damage;
mod disk;
mod ledger;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fastrand::Rng;

use disk::BentDisk;
use ledger::Ledger;

use super::outputs::{Dead, SimOutput};
use super::parts::Parts;
use super::script::{Crash, JournalFault, JournalTrouble, Series};
use crate::config::JournalConfig;
use crate::store::{
    BootId, Found, Journal, JournalError, JournalReader, JournalState, Position, Survey, set_aside_before,
};
use crate::tag::{Batch, Nanos};

const MS: u64 = 1_000_000;
/// More than a run writes: retention has only to do with what the outputs have passed.
const BYTES_MAX: u64 = 512 << 20;
/// Where files are memory, so that a commit costs no disk.
const MEMORY: &str = "/dev/shm";
const OUTPUTS: [&str; 2] = ["near", "far"];
/// In a run, it is looked when the run says so.
const NEVER: Duration = Duration::from_secs(1 << 30);
/// How long it takes a person to see after a journal that waits for one.
const PERSON_NS: u64 = 3_000 * MS;
/// Events that are told of what breaks.
const HISTORY: usize = 12;

/// See the module.
pub struct SimJournal {
    config: JournalConfig,
    journal: Option<Journal>,
    boot: u64,
    pending: Vec<Arc<Batch>>,
    pending_slots: usize,
    outputs: Vec<SimOutput>,
    ledger: Ledger,
    /// How far each output's cursor was followed.
    checked: Vec<u64>,
    /// Each output's place at the last commit.
    committed: Vec<Position>,
    next_commit: u64,
    next_tick: u64,
    crash_times: Series<Crash>,
    faults: Series<JournalFault>,
    period: u64,
    well_from: u64,
    rng: Rng,
    trouble: Trouble,
    /// What happened to it last.
    history: VecDeque<String>,
    pub crashes: u64,
    /// What befell its files, and files that were lost or set aside.
    pub faults_met: u64,
    pub files_lost: u64,
}

/// What is wrong with the files or the disk just now.
#[derive(Default)]
struct Trouble {
    /// Until then.
    disk: Option<(BentDisk, u64)>,
    /// The next commit is written in part.
    short: bool,
    /// Some of what is in the present file may be damaged.
    damaged: bool,
    /// The file was cut while it was written.
    cut: bool,
    /// Its path is another file, or none; after so many commits it is looked.
    gone: Option<u8>,
    /// A damaged file stays where it is, for want of a place to put it.
    waits: bool,
    /// The last commit failed; since when a person could see after it.
    failing: Option<u64>,
}

/// What the journal counted of lost files.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Losses {
    set_aside: u64,
    samples: u64,
    by_output: Vec<u64>,
}

fn told(error: impl std::fmt::Display) -> String {
    format!("the journal: {error}")
}

impl SimJournal {
    /// # Errors
    /// When no journal can be made.
    pub fn new(
        seed: u64,
        (period, well_from): (u64, u64),
        crash_times: Series<Crash>,
        faults: Series<JournalFault>,
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
            pending_slots: 0,
            outputs: Vec::new(),
            ledger: Ledger::new(OUTPUTS.len()),
            checked: vec![0; OUTPUTS.len()],
            committed: Vec::new(),
            next_commit: 0,
            next_tick: 0,
            crash_times,
            faults,
            period,
            well_from,
            rng,
            trouble: Trouble::default(),
            history: VecDeque::new(),
            crashes: 0,
            faults_met: 0,
            files_lost: 0,
        };
        journal.open().map_err(told)?;
        for name in OUTPUTS {
            let rng = journal.rng.fork();
            journal.outputs.push(SimOutput::new(name, journal.reader()?, rng)?);
        }
        journal.committed = journal.places()?;
        Ok(journal)
    }

    fn reader(&self) -> Result<JournalReader, String> {
        Ok(self.journal.as_ref().ok_or("no journal is open")?.reader())
    }

    fn open(&mut self) -> Result<(), JournalError> {
        self.boot += 1;
        let mut journal = Journal::open(&self.config, BootId(self.boot))?;
        journal.register_cursors(&OUTPUTS)?;
        self.journal = Some(journal);
        Ok(())
    }

    /// Each output's place, as the journal knows it.
    fn places(&self) -> Result<Vec<Position>, String> {
        let cursors = self.reader()?.cursors().map_err(told)?;
        let place = |name: &&str| cursors.iter().find(|cursor| cursor.name == **name).map(|cursor| cursor.position);
        let places: Option<Vec<Position>> = OUTPUTS.iter().map(place).collect();
        places.ok_or_else(|| format!("cursors are missing: {cursors:?}"))
    }

    fn losses(&self) -> Result<Losses, String> {
        let journal = self.journal.as_ref().ok_or("no journal is open")?;
        let (cursors, stats) = (journal.reader().cursors().map_err(told)?, journal.stats());
        let lost = |name: &&str| cursors.iter().find(|cursor| cursor.name == **name).map_or(0, |c| c.samples_lost);
        Ok(Losses {
            set_aside: stats.set_aside.load(Relaxed),
            samples: stats.samples_lost.load(Relaxed),
            by_output: OUTPUTS.iter().map(lost).collect(),
        })
    }

    /// A batch of the hub.
    pub fn take(&mut self, batch: &Arc<Batch>) {
        self.pending_slots += batch.slots.len();
        self.pending.push(batch.clone());
    }

    /// It holds as much as it may, and leaves the rest in the channel.
    pub fn is_behind(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| self.pending_slots >= journal.commit_slots_max())
    }

    fn note(&mut self, now: u64, what: String) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(format!("{:.3} s {what}", now as f64 / 1e9));
    }

    /// # Errors
    /// What breaks.
    pub fn step<P: Parts>(&mut self, now: u64, parts: &P) -> Result<(), String> {
        let stepped = self.try_step(now, parts);
        stepped.map_err(|what| {
            let before: Vec<&str> = self.history.iter().map(String::as_str).collect();
            if before.is_empty() { what } else { format!("{what}; before: {}", before.join(", ")) }
        })
    }

    fn try_step<P: Parts>(&mut self, now: u64, parts: &P) -> Result<(), String> {
        while let Some(fault) = self.faults.due(now) {
            self.faults_met += 1;
            self.note(now, format!("{:?}", fault.what));
            self.befall(&fault, now)?;
        }
        if self.crash_times.due(now).is_some() {
            self.note(now, "crash".to_owned());
            self.crash(None)?;
        }
        if now >= self.next_commit {
            self.next_commit = now + self.period;
            self.commit(now)?;
        }
        if now >= self.next_tick {
            self.next_tick = now + self.period / 2;
            for at in 0..self.outputs.len() {
                let may_fail = self.trouble.failing.is_some() || self.trouble.cut || self.trouble.damaged;
                self.outputs[at].is_sound = self.faults_met == 0;
                self.outputs[at].tick(now, now >= self.well_from, may_fail, parts)?;
                self.follow(at)?;
            }
        }
        Ok(())
    }

    fn befall(&mut self, fault: &JournalFault, now: u64) -> Result<(), String> {
        let mut rng = Rng::with_seed(fault.draw);
        let path = self.config.path.clone();
        let trouble = &mut self.trouble;
        // Of a file that is there no longer, nothing more can become of.
        let is_there = trouble.gone.is_none() && path.join("data.mdb").exists();
        match fault.what {
            JournalTrouble::Cut if is_there => trouble.cut |= damage::cut(&path, &mut rng).map_err(told)? > 0,
            JournalTrouble::Removed if is_there => {
                damage::remove(&path, &mut rng).map_err(told)?;
                trouble.gone = Some(rng.u8(..4));
            }
            JournalTrouble::Flipped if is_there => {
                trouble.damaged |= damage::flip_values(&path, &mut rng).map_err(told)?;
            }
            JournalTrouble::Full | JournalTrouble::ReadOnly if is_there && trouble.disk.is_none() => {
                let disk = BentDisk::new(&path.join("data.mdb"), fault.what, &mut rng).map_err(told)?;
                trouble.disk = Some((disk, now + fault.length_ns));
            }
            JournalTrouble::Short => trouble.short = true,
            JournalTrouble::RestCut
            | JournalTrouble::RestRemoved
            | JournalTrouble::RestFlipped
            | JournalTrouble::RestTorn => self.crash(Some((fault.what, rng)))?,
            _ => {}
        }
        Ok(())
    }

    fn mend_disk(&mut self) -> Result<(), String> {
        self.trouble.disk.take().map_or(Ok(()), |(disk, _)| disk.mend().map_err(told))
    }

    fn commit(&mut self, now: u64) -> Result<(), String> {
        if self.trouble.disk.as_ref().is_some_and(|(_, until)| now >= *until) {
            self.mend_disk()?;
        }
        if self.trouble.failing.is_some_and(|since| now >= since + PERSON_NS) {
            self.see_after_aside(true)?;
        }
        let data = self.config.path.join("data.mdb");
        let falls_short = std::mem::take(&mut self.trouble.short)
            && self.trouble.disk.is_none()
            && self.trouble.gone.is_none()
            && data.exists();
        if falls_short {
            let disk = BentDisk::new(&data, JournalTrouble::Short, &mut self.rng).map_err(told)?;
            self.trouble.disk = Some((disk, now));
        }
        let looks = match &mut self.trouble.gone {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            // It shows with the next sample, or with a look.
            None => self.trouble.cut && self.pending.is_empty(),
        };
        let before = self.losses()?;
        let journal = self.journal.as_mut().ok_or("no journal is open")?;
        journal.look_again_at(if looks { Instant::now() } else { Instant::now() + NEVER });
        let quiet = self.pending.is_empty() && !journal.has_cursors_to_save();
        let samples: u64 = self.pending.iter().map(|batch| u64::from(batch.samples)).sum();
        let outcome = if quiet { journal.tend().map(|()| None) } else { journal.append(&self.pending).map(Some) };
        let state = journal.stats().state();
        if falls_short {
            self.mend_disk()?;
        }
        let is_lost = self.see_losses(&before, looks, outcome.is_ok() && !quiet)?;
        match outcome {
            Err(error) => {
                let expected = falls_short
                    || self.trouble.disk.is_some()
                    || matches!(error, JournalError::TooManyAside { .. } | JournalError::Corrupt { .. });
                if !expected || state == JournalState::Ok {
                    return Err(format!("a commit fails, the journal is {}: {error}", state.name()));
                }
                if self.trouble.failing.is_none() {
                    self.note(now, format!("a commit fails: {error}"));
                }
                self.trouble.waits |= matches!(error, JournalError::TooManyAside { .. });
                self.trouble.failing.get_or_insert(now);
                return Ok(());
            }
            Ok(Some(committed)) if (committed.samples, committed.samples_dropped) != (samples, 0) => {
                return Err(format!("{samples} samples were to be committed: {committed:?}"));
            }
            Ok(_) => {}
        }
        if state != JournalState::Ok {
            return Err(format!("a commit went well, and the journal is {}", state.name()));
        }
        self.trouble.failing = None;
        for batch in self.pending.drain(..) {
            self.ledger.give(self.boot, &batch);
        }
        self.pending_slots = 0;
        let reader = self.reader()?;
        let next = self.ledger.file.last_key_value().map_or(0, |(index, _)| index + 1);
        let first = reader.oldest().map_err(told)?.unwrap_or(0);
        self.ledger.look(&reader, next.max(first), self.trouble.damaged || is_lost)?;
        self.ledger.settled(self.boot)?;
        if !quiet {
            self.committed = self.places()?;
        }
        Ok(())
    }

    /// What the journal counted of a file that was lost is what it held and was not delivered, and it is told. Whether one
    /// was lost.
    fn see_losses(&mut self, before: &Losses, looks: bool, committed: bool) -> Result<bool, String> {
        let after = self.losses()?;
        let expected = self.trouble.cut || looks || self.trouble.waits;
        let set_aside = after.set_aside > before.set_aside;
        if !expected && !set_aside && after.samples == before.samples {
            return Ok(false);
        }
        if !expected && !self.trouble.damaged {
            return Err(format!("an intact file is abandoned: {before:?}, then {after:?}"));
        }
        let counted: Vec<u64> = after.by_output.iter().zip(&before.by_output).map(|(a, b)| a - b).collect();
        let held: Vec<u64> = self.committed.iter().map(|place| self.ledger.behind(*place)).collect();
        // Those of blocks that are damaged are not known.
        let agrees = |(counted, held): (&u64, &u64)| counted == held || self.trouble.damaged;
        if !counted.iter().zip(&held).all(agrees)
            || after.samples - before.samples != counted.iter().max().copied().unwrap_or(0)
        {
            return Err(format!(
                "{held:?} samples are lost with a file, {counted:?} are counted: {before:?}, {after:?}"
            ));
        }
        if self.journal.as_ref().is_none_or(|journal| journal.stats().loss().is_none()) {
            return Err("a file is lost, but not reported".to_owned());
        }
        self.files_lost += 1;
        self.history.push_back(format!("a file is lost, with {held:?}"));
        for (at, place) in self.committed.clone().into_iter().enumerate() {
            self.ledger.lose(at, place);
        }
        self.ledger.file.clear();
        let replaced = self.trouble.gone.take().is_some();
        self.trouble.waits = false;
        (self.trouble.cut, self.trouble.damaged) = (false, self.trouble.damaged && replaced);
        self.see_after_aside(false)?;
        if replaced && !committed {
            // What stood there instead may be a copy.
            let reader = self.reader()?;
            if let Ok(Some(first)) = reader.oldest() {
                self.ledger.look(&reader, first, true)?;
            }
        }
        Ok(true)
    }

    /// A person looks after what was set aside: all that can be salvaged of it is what was stored. Then it is taken away,
    /// not always at once.
    fn see_after_aside(&mut self, at_once: bool) -> Result<(), String> {
        let Ok(all) = set_aside_before(&self.config.path) else { return Ok(()) };
        if !at_once && self.rng.u8(..4) == 0 {
            return Ok(());
        }
        for aside in all {
            // Of a file whose beginning is gone, nothing says that it was a journal.
            if let Ok(survey) = Survey::of(&aside) {
                let to = aside.join("salvaged");
                survey.salvage(&to).map_err(told)?;
                let reader = JournalReader::open_read_only(&to).map_err(told)?;
                let found = self.ledger.check_salvaged(&reader)?;
                let said = survey.verdict().blocks;
                if found != said {
                    return Err(format!("{said} blocks are said to be whole, {found} were salvaged"));
                }
            }
            std::fs::remove_dir_all(&aside).map_err(told)?;
        }
        Ok(())
    }

    /// The process dies: what was not committed is gone, the rest is there when it comes again. `rest`: what befalls the
    /// file meanwhile.
    fn crash(&mut self, rest: Option<(JournalTrouble, Rng)>) -> Result<(), String> {
        self.crashes += 1;
        self.mend_disk()?;
        let path = self.config.path.clone();
        let (data, is_there) = (path.join("data.mdb"), self.trouble.gone.is_none());
        let torn = matches!(rest, Some((JournalTrouble::RestTorn, _))) && is_there && data.exists();
        let before = if torn { Some(std::fs::read(&data).map_err(told)?) } else { None };
        if torn && let Some(journal) = &mut self.journal {
            let _ = journal.append(&self.pending);
        }
        self.pending.drain(..).for_each(|batch| self.ledger.write(self.boot, &batch));
        self.pending_slots = 0;
        let outputs = std::mem::take(&mut self.outputs);
        // Their readers keep the file open, as nothing does when a process dies.
        let outputs: Vec<Dead> = outputs.into_iter().map(SimOutput::die).collect();
        self.journal = None;
        // What became of the file while it was written shows now.
        let Trouble { mut damaged, mut cut, .. } = std::mem::take(&mut self.trouble);
        let is_there = is_there && data.exists();
        match rest {
            Some((JournalTrouble::RestCut, mut rng)) if is_there => {
                cut |= damage::cut(&path, &mut rng).map_err(told)? > 0
            }
            Some((JournalTrouble::RestRemoved, mut rng)) if is_there => {
                damage::remove(&path, &mut rng).map_err(told)?
            }
            Some((JournalTrouble::RestFlipped, mut rng)) if is_there => {
                damage::flip(&path, &mut rng).map_err(told)?;
                damaged = true;
            }
            Some((JournalTrouble::RestTorn, mut rng)) => {
                if let Some(before) = before {
                    damage::tear(&path, &before, &mut rng).map_err(told)?;
                }
            }
            _ => {}
        }
        let was_there = data.exists();
        self.come_again(damaged || cut)?;
        let set_aside = self.losses()?.set_aside > 0;
        let is_new = set_aside || !was_there || self.ledger.file.is_empty() || !is_there;
        self.trouble.damaged = damaged && !set_aside;
        if is_new { self.begin_anew(outputs) } else { self.go_on(outputs, damaged || cut) }
    }

    /// The process comes again; where it refuses to, a person takes away what it does not want.
    fn come_again(&mut self, damaged: bool) -> Result<(), String> {
        let Err(error) = self.open() else { return Ok(()) };
        match error {
            JournalError::TooManyAside { .. } => self.see_after_aside(true)?,
            // The mark of its version may be what is damaged.
            JournalError::NewerFormat { .. } | JournalError::OlderFormat { .. } if damaged => {
                std::fs::remove_file(self.config.path.join("data.mdb")).map_err(told)?;
            }
            error => return Err(told(error)),
        }
        self.open().map_err(told)
    }

    /// With another file: all that was not delivered is lost with the one before, or in what was set aside.
    fn begin_anew(&mut self, outputs: Vec<Dead>) -> Result<(), String> {
        self.files_lost += 1;
        for at in 0..OUTPUTS.len() {
            self.ledger.lose(at, Position::default());
        }
        self.see_after_aside(false)?;
        self.ledger.file.clear();
        let reader = self.reader()?;
        self.ledger.look(&reader, 0, true)?;
        for output in outputs {
            self.outputs.push(output.begin_anew(self.reader()?)?);
        }
        self.checked = vec![0; OUTPUTS.len()];
        self.committed = self.places()?;
        Ok(())
    }

    /// With the same file: all that some output has not passed is there, or said to be damaged.
    fn go_on(&mut self, outputs: Vec<Dead>, damaged: bool) -> Result<(), String> {
        for output in outputs {
            self.outputs.push(output.restart(self.reader()?, damaged)?);
        }
        let needed = self.outputs.iter().map(|output| output.cursor.block).min().unwrap_or(0);
        let last = self.ledger.file.last_key_value().map(|(index, _)| index + 1);
        let reader = self.reader()?;
        self.ledger.look(&reader, needed, damaged)?;
        let next = reader.next_index().map_err(told)?;
        if !damaged && last.is_some_and(|last| last != next) {
            return Err(format!("{last:?} blocks were committed, the next one would be {next}"));
        }
        // An output may have to go back over a damaged place.
        for (at, output) in self.outputs.iter().enumerate() {
            self.checked[at] = self.checked[at].min(output.cursor.block);
        }
        self.committed = self.places()?;
        Ok(())
    }

    /// A cursor has only passed what the broker has, or what is damaged.
    fn follow(&mut self, at: usize) -> Result<(), String> {
        let output = &self.outputs[at];
        let passed: Vec<(u64, ledger::Key)> =
            self.ledger.file.range(self.checked[at]..=output.cursor.block).map(|(index, key)| (*index, *key)).collect();
        for (index, key) in passed {
            let samples = self.ledger.samples(&key);
            let passed = if index < output.cursor.block { samples } else { u64::from(output.cursor.samples) };
            let missing = (key.first..key.first + passed).find(|n| !output.has(key.boot, key.lane, *n));
            let Some(missing) = missing.filter(|_| !self.ledger.is_excused(at, &key)) else { continue };
            let (is_damaged, found) = match self.reader()?.found_at_or_after(index) {
                Ok(Some(Found::Damaged(place))) => (place.index == index, format!("damaged block {}", place.index)),
                Ok(Some(Found::Nameless(block, _))) => (block.index == index, format!("nameless {}", block.index)),
                Ok(Some(Found::Block(block))) => (false, format!("block {} is there", block.index)),
                Ok(None) => (false, "there is none".to_owned()),
                Err(error) => (false, error.to_string()),
            };
            if !(is_damaged && self.trouble.damaged) {
                return Err(format!(
                    "output {}: its cursor is at {:?}, past sample {missing} of block {index} ({key:?}, {samples} samples), \
                     which never arrived: {found}",
                    output.name, output.cursor
                ));
            }
            self.ledger.excused[at].insert(key);
        }
        self.checked[at] = output.cursor.block;
        Ok(())
    }

    /// The end: all is committed, and comes to every broker.
    ///
    /// # Errors
    /// What is missing.
    pub fn finish<P: Parts>(&mut self, mut now: u64, parts: &P) -> Result<(), String> {
        self.mend_disk()?;
        if let Some(left) = &mut self.trouble.gone {
            *left = 0;
        }
        self.see_after_aside(true)?;
        // What the last one finds out, the next one knows.
        self.commit(now)?;
        self.commit(now)?;
        if !self.pending.is_empty() {
            return Err(format!("the fault is over, but {} batches cannot be stored", self.pending.len()));
        }
        for at in 0..self.outputs.len() {
            let mut ticks = 0;
            let end = self.ledger.file.last_key_value().map_or(0, |(index, _)| index + 1);
            while self.outputs[at].cursor < (Position { block: end, samples: 0 }) {
                now += 20 * MS;
                ticks += 1;
                self.outputs[at].is_sound = self.faults_met == 0;
                self.outputs[at].tick(now, true, false, parts)?;
                self.follow(at)?;
                if self.outputs[at].is_at_the_end()? && self.trouble.damaged {
                    // The last blocks are damaged: nothing comes that would move it over them.
                    break;
                }
                if ticks > 1_000_000 {
                    let output = &self.outputs[at];
                    return Err(format!("output {}: its cursor stays at {:?}", output.name, output.cursor));
                }
            }
        }
        for (at, output) in self.outputs.iter().enumerate() {
            let mut arrived = 0;
            for (key, stored) in &self.ledger.blocks {
                let has = |n: &u64| output.has(key.boot, key.lane, *n);
                let there = (key.first..key.first + stored.samples).filter(has).count() as u64;
                if there < stored.samples && !self.ledger.is_excused(at, key) {
                    let Some(missing) = (key.first..).find(|n| !has(n)) else { continue };
                    let name = &output.name;
                    return Err(format!("output {name}: sample {missing} of executor {} never arrived", key.lane));
                }
                arrived += there;
            }
            let more = output.delivered.values().flatten().filter(|had| **had).count() as u64;
            if more != arrived {
                return Err(format!("output {}: {more} samples arrived, of {arrived} that were stored", output.name));
            }
        }
        Ok(())
    }
}

impl Drop for SimJournal {
    fn drop(&mut self) {
        self.trouble.disk = None;
        self.journal = None;
        let _ = std::fs::remove_dir_all(&self.config.path);
    }
}
