//! The journal's file comes and goes: opened at the start or when there is room, set aside when it is damaged, made anew
//! when its path is no longer the file that is written.
//!
//! Scanning and publishing matter more than what a damaged file holds. Whatever becomes of the file, blocks keep on being
//! numbered from where they were, so that an output's place is before everything that it has not seen: it goes on with the
//! first block of the new file, and what was lost between is counted.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use heed::RoTxn;

use super::aside;
use super::codec::Header;
use super::cursors::Cursors;
use super::database::Database;
use super::error::JournalError;
use super::journal::{Committed, Journal};
use super::lock::WriterLock;
use super::names::{Books, NamesId};
use super::shared::Ends;
use super::space::Space;
use super::stats::Loss;
use super::tables::Tables;
use crate::disk::Held;
use crate::limits::JOURNAL_LOOK_PERIOD;
use crate::tag::Batch;

/// Pages that the first commit may need.
const OPEN_EXTRA_BYTES: u64 = 256 << 10;

/// Blocks in a row whose headers may be damaged before a count is given up.
const HEADERS_TRIED: usize = 64;

/// Samples in the journal as of the last commit, and those that outputs had not passed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undelivered {
    all: u64,
    by_output: Vec<(String, u64)>,
}

impl Undelivered {
    /// `end`: samples that were ever put into the log.
    pub fn of(tables: &Tables, txn: &RoTxn<'_>, cursors: &Cursors, end: u64) -> heed::Result<Undelivered> {
        let behind = |block: u64, samples: u32| -> heed::Result<u64> {
            let mut found = None;
            // From the first one on whose header can be read; damaged ones before it don't count then.
            for record in tables.blocks.range(txn, &(block..))?.take(HEADERS_TRIED) {
                let (at, bytes) = record?;
                if let Ok(header) = Header::read(bytes) {
                    found = Some((at, header));
                    break;
                }
            }
            let Some((at, header)) = found else { return Ok(0) };
            let done = if at == block { samples.min(header.samples) } else { 0 };
            Ok(end.saturating_sub(header.log_samples + u64::from(done)))
        };
        let by_output = cursors.all().into_iter().map(|cursor| {
            let count = behind(cursor.position.block, cursor.position.samples)?;
            Ok((cursor.name, count))
        });
        Ok(Undelivered { all: behind(0, 0)?, by_output: by_output.collect::<heed::Result<_>>()? })
    }

    /// What is lost with the file: what some output had not passed; without outputs, everything.
    fn lost(&self) -> u64 {
        self.by_output.iter().map(|(_, count)| *count).max().unwrap_or(self.all)
    }
}

impl Journal {
    /// Opens the file, or makes one; a damaged one is set aside first.
    pub(super) fn bring_up(&mut self) -> Result<(), JournalError> {
        let shared = self.shared.clone();
        let database = &shared.database;
        let path = database.path.as_path();
        make_directory(path)?;
        if let Some(what) = self.too_many.take()
            && let Some(error) = aside::too_many(path, &what)
        {
            // Nothing has changed, and a check takes its time.
            self.too_many = Some(what);
            return Err(error);
        }
        if !self.lock.as_ref().is_some_and(WriterLock::still_holds) {
            self.lock = None;
            self.lock = Some(WriterLock::take(path)?);
        }
        match database.reopen() {
            Err(JournalError::Corrupt { what, .. }) => {
                self.set_aside(&what)?;
                database.reopen()?;
            }
            opened => opened?,
        }
        if let Err(error) = self.take_over(database) {
            database.close();
            return Err(error);
        }
        self.shared.stats.recover();
        Ok(())
    }

    /// Makes what is in the file that was opened the writer's own.
    fn take_over(&mut self, database: &Database) -> Result<(), JournalError> {
        let path = database.path.as_path();
        database.clear_dead_readers();
        let failed = |source| JournalError::from_io(path, "opening", source);
        let mut space = Space::new(&database.data_file(), self.bytes_max).map_err(failed)?;
        let fill = database.read(|tables, txn| tables.fill(txn))?;
        space.lengthen(fill.end).map_err(failed)?;
        space.admit(fill, OPEN_EXTRA_BYTES).map_err(failed)?;
        sync_directories(path).map_err(failed)?;
        let found = database.read(|tables, txn| {
            let oldest = tables.blocks.first(txn)?.map(|(index, _)| index);
            let next = tables.blocks.last(txn)?.map(|(index, _)| index + 1);
            Ok(Ends { oldest: oldest.unwrap_or(u64::MAX), next: next.unwrap_or(0) })
        })?;
        // Numbers go on, whatever file this is.
        let next = found.next.max(self.ends.next);
        self.ends = Ends { oldest: found.oldest.min(next), next };
        self.log_samples = log_samples(database)?;
        self.names = database.read(|tables, txn| {
            let last = tables.names_last.iter(txn)?.map(|record| record.map(|(id, last)| (NamesId(id), last)));
            Ok(Books::open(last.collect::<heed::Result<Vec<_>>>()?.into_iter(), next.saturating_sub(1)))
        })?;
        self.shared.forget_names();
        let log_end = self.log_samples;
        self.undelivered = database.read(|tables, txn| Undelivered::of(tables, txn, &Cursors::default(), log_end))?;
        self.make_cursors()?;
        self.space = Some(space);
        self.look_again = Instant::now() + JOURNAL_LOOK_PERIOD;
        self.shared.publish(self.ends);
        self.show_what_is_there()
    }

    /// [`Journal::try_append`] into the file that is there, or into a new one.
    pub(super) fn append_somewhere(&mut self, batches: &[Arc<Batch>]) -> Result<Committed, JournalError> {
        self.look_after()?;
        match self.try_append(batches) {
            Err(JournalError::Corrupt { what, .. }) => {
                self.give_up(&what)?;
                self.try_append(batches)
            }
            outcome => outcome,
        }
    }

    /// Looks after the file: opens it when it is not open, and looks now and then whether it still is what stands at its
    /// path. To be called at least each [`JOURNAL_LOOK_PERIOD`], whether there is something to append or not.
    ///
    /// # Errors
    /// There is no file to write to.
    pub fn tend(&mut self) -> Result<(), JournalError> {
        self.look_after().inspect_err(|error| self.shared.stats.fail(error))
    }

    fn look_after(&mut self) -> Result<(), JournalError> {
        if !self.shared.database.is_open() {
            return self.bring_up();
        }
        if Instant::now() < self.look_again {
            return Ok(());
        }
        self.look_again = Instant::now() + JOURNAL_LOOK_PERIOD;
        match self.shared.database.check() {
            Err(JournalError::Corrupt { what, .. }) => return self.give_up(&what),
            checked => checked?,
        }
        match self.shared.database.look() {
            Some(left @ (Held::Gone | Held::Replaced)) => self.leave(left),
            _ if self.lock.as_ref().is_some_and(WriterLock::still_holds) => Ok(()),
            // The file is the same, its lock is not: it must be taken before someone else does.
            _ => {
                tracing::warn!("{}/writer.lock was removed or replaced; locking it again", self.path().display());
                self.lock = None;
                self.lock = Some(WriterLock::take(&self.shared.database.path)?);
                Ok(())
            }
        }
    }

    /// The path is another file, or none: what was written until now is out of reach.
    fn leave(&mut self, left: Held) -> Result<(), JournalError> {
        let what = if left == Held::Gone { "was removed or renamed" } else { "was replaced by another file" };
        let lost = self.count_loss();
        self.close();
        let path = self.path().join("data.mdb");
        let text = format!(
            "the journal's file {} {what} while in use: {lost} stored but undelivered samples are lost with it, and a \
             new journal is started",
            path.display()
        );
        tracing::error!("{text}; find out which program did this");
        self.shared.stats.lose(Loss { text, aside: None, since: Instant::now() });
        self.bring_up()
    }

    /// The file is damaged: it is closed, set aside, and another one made.
    fn give_up(&mut self, what: &str) -> Result<(), JournalError> {
        if let Some(left @ (Held::Gone | Held::Replaced)) = self.shared.database.look() {
            // What stands there now is not what is damaged.
            return self.leave(left);
        }
        let lost = self.count_loss();
        self.close();
        tracing::error!(
            "the journal {}: {lost} stored but undelivered samples are in a damaged file",
            self.path().display()
        );
        // What is wrong may show only in the map, and not when its pages are read again.
        self.set_aside(what)?;
        self.bring_up()
    }

    fn set_aside(&mut self, what: &str) -> Result<(), JournalError> {
        let path = self.path().to_owned();
        let aside = aside::set_aside(&path, what).inspect_err(|error| {
            self.too_many = matches!(error, JournalError::TooManyAside { .. }).then(|| what.to_owned());
        })?;
        let Some(aside) = aside else { return Ok(()) };
        let text = format!(
            "the journal {} is damaged ({what}): it is set aside as {}, and a new one is started; `fieldbeat journal \
             salvage {} --to NEWDIR` copies the readable part",
            path.display(),
            aside.display(),
            aside.display()
        );
        tracing::error!("{text}; check the disk");
        self.shared.stats.set_aside.fetch_add(1, Relaxed);
        self.shared.stats.lose(Loss { text, aside: Some(aside), since: Instant::now() });
        Ok(())
    }

    /// Counts what is lost with the present file; each file counts once.
    fn count_loss(&mut self) -> u64 {
        let undelivered = std::mem::take(&mut self.undelivered);
        for (name, count) in &undelivered.by_output {
            self.shared.cursors().lose_with_the_file(name, *count);
        }
        self.shared.stats.samples_lost.fetch_add(undelivered.lost(), Relaxed);
        undelivered.lost()
    }

    pub(super) fn close(&mut self) {
        self.space = None;
        self.shared.database.close();
    }

    fn path(&self) -> &Path {
        &self.shared.database.path
    }
}

/// Samples that were ever put into the log, by its newest block that can be read.
fn log_samples(database: &Database) -> Result<u64, JournalError> {
    database.read(|tables, txn| {
        for record in tables.blocks.rev_iter(txn)? {
            if let Ok(header) = Header::read(record?.1) {
                return Ok(header.log_samples + u64::from(header.samples));
            }
        }
        Ok(0)
    })
}

fn make_directory(path: &Path) -> Result<(), JournalError> {
    std::fs::create_dir_all(path).map_err(|source| match JournalError::from_io(path, "making", source) {
        JournalError::Failed { path, detail, .. } => {
            JournalError::NotCreatable { path, source: std::io::Error::other(detail) }
        }
        error => error,
    })
}

/// Makes the files' names durable, not only what is in them.
pub(super) fn sync_directories(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()?;
    match path.canonicalize()?.parent() {
        // Not ours to sync when we may not even open it.
        Some(parent) => std::fs::File::open(parent).and_then(|dir| dir.sync_all()).or(Ok(())),
        None => Ok(()),
    }
}
