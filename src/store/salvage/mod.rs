//! What a journal's file holds, whole or not: read without LMDB, for `fieldbeat journal verify` and `salvage`.
//!
//! Where the trees lead to all records of a table, those are its records. Where they do not, every leaf in the file is
//! looked at as well: blocks, names and audit records have checksums, so that what is whole is known to be. That may bring
//! back blocks that had been removed since, and never one that is another than it was.

mod copy;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::audit::AuditRecord;
use super::codec::Header;
use super::cursors;
use super::database::{FORMAT_CHECK_KEY, FORMAT_KEY, FORMAT_MARK};
use super::dictionary;
use super::error::JournalError;
use super::lock;
use super::pages::{self, PageFile, Place, Unreadable};
use crate::limits::JOURNAL_DAMAGE_LISTED_MAX;

pub use copy::Salvaged;

/// A record: where it is, and whether a tree leads to it.
#[derive(Debug, Clone, Copy)]
struct Record {
    place: Place,
    lives: bool,
}

/// Samples that are not there, between two blocks that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub after: Option<u64>,
    pub before: u64,
    /// How many samples the log had before it.
    pub first: u64,
    pub samples: u64,
}

/// What is whole and what is not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What is wrong with the file's pages; the first ones.
    pub pages: Vec<String>,
    pub pages_damaged: u64,
    /// Blocks that are whole, and their samples.
    pub blocks: u64,
    pub samples: u64,
    /// The first and the last of them.
    pub range: Option<(u64, u64)>,
    /// Blocks that are not; the first ones.
    pub blocks_listed: Vec<(u64, String)>,
    pub blocks_damaged: u64,
    pub gaps: Vec<Gap>,
    pub samples_missing: u64,
    /// Dictionaries that are whole.
    pub names: u64,
    pub names_damaged: Vec<(u64, String)>,
    pub audit: u64,
    pub audit_damaged: u64,
    pub cursors: Vec<String>,
}

impl Verdict {
    pub fn is_whole(&self) -> bool {
        self.pages_damaged == 0
            && self.blocks_damaged == 0
            && self.samples_missing == 0
            && self.names_damaged.is_empty()
            && self.audit_damaged == 0
    }
}

/// Where the records of a file are.
pub struct Survey {
    path: PathBuf,
    file: PageFile,
    blocks: BTreeMap<u64, Record>,
    names: BTreeMap<u64, Record>,
    audit: BTreeMap<u64, Record>,
    cursors: BTreeMap<String, Vec<u8>>,
    /// The table of marks, but for the format.
    marks: BTreeMap<String, Vec<u8>>,
    verdict: Verdict,
}

impl Survey {
    /// Reads the journal at `path`: its directory, or its data file. Changes nothing.
    ///
    /// # Errors
    /// There is none, it never was one, or it is being written.
    pub fn of(path: &Path) -> Result<Survey, JournalError> {
        let data = if path.is_dir() { path.join("data.mdb") } else { path.to_owned() };
        if data.parent().is_some_and(lock::is_held) {
            return Err(JournalError::Written { path: path.to_owned() });
        }
        let failed = |source| JournalError::from_io(path, "reading", source);
        let foreign = |what: &str| JournalError::NotAJournal { path: path.to_owned(), what: what.to_owned() };
        let file = match PageFile::open(&data) {
            Ok(file) => file,
            Err(Unreadable::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(JournalError::Missing { path: path.to_owned() });
            }
            Err(Unreadable::Io(error)) => return Err(failed(error)),
            Err(Unreadable::Empty) => return Err(foreign("its file is empty")),
            Err(Unreadable::Foreign | Unreadable::Damaged(_)) if pages::mark_is_in(&data).map_err(failed)? => {
                PageFile::without_metas(&data).map_err(failed)?
            }
            Err(_) => return Err(foreign("its data.mdb is not a journal file")),
        };
        let mut survey = Survey {
            path: path.to_owned(),
            file,
            blocks: BTreeMap::new(),
            names: BTreeMap::new(),
            audit: BTreeMap::new(),
            cursors: BTreeMap::new(),
            marks: BTreeMap::new(),
            verdict: Verdict::default(),
        };
        survey.look()?;
        Ok(survey)
    }

    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn look(&mut self) -> Result<(), JournalError> {
        let mut small: Vec<(String, Vec<u8>, Place)> = Vec::new();
        let Survey { blocks, names, audit, verdict, file, .. } = self;
        let mut has_all = false;
        verdict.pages.extend(file.meta_damage.clone());
        verdict.pages_damaged = verdict.pages.len() as u64;
        if let Some(meta) = file.metas.first() {
            let findings = pages::walk(file, meta, None, true, |table, place, entry| {
                let number = entry.key.try_into().map(u64::from_be_bytes);
                let record = Record { place, lives: true };
                let _ = match (table, number) {
                    ("blocks", Ok(number)) => blocks.insert(number, record),
                    ("dictionaries", Ok(number)) => names.insert(number, record),
                    ("audit", Ok(number)) => audit.insert(number, record),
                    ("cursors" | "meta", _) => {
                        small.push((table.to_owned(), entry.key.to_vec(), place));
                        None
                    }
                    _ => None,
                };
            });
            has_all = ["blocks", "dictionaries", "audit"].iter().all(|table| findings.has_all_of(table));
            verdict.pages_damaged += findings.damages;
            verdict.pages.extend(findings.damage);
        }
        for (table, key, place) in small {
            let (key, Ok(bytes)) = (String::from_utf8_lossy(&key).into_owned(), self.file.data_at(place)) else {
                continue;
            };
            if table == "cursors" && cursors::decode(&key, &bytes).is_ok() {
                self.cursors.insert(key, bytes);
            } else if table == "meta" && key == FORMAT_CHECK_KEY {
                // The copy has its own.
            } else if table == "meta" && key == FORMAT_KEY {
                if !bytes.starts_with(FORMAT_MARK) {
                    let what = "it does not have a journal's mark".to_owned();
                    if self.blocks.is_empty() {
                        return Err(JournalError::NotAJournal { path: self.path.clone(), what });
                    }
                    self.verdict.pages_damaged += 1;
                    self.verdict.pages.push(what);
                }
            } else if table == "meta" {
                self.marks.insert(key, bytes);
            }
        }
        if !has_all {
            self.look_everywhere();
        }
        self.judge();
        Ok(())
    }

    /// Adds what no tree leads to.
    fn look_everywhere(&mut self) {
        let mut found: Vec<(u64, Place)> = Vec::new();
        pages::leaf_entries(&self.file, |place, entry| {
            if let Ok(key) = entry.key.try_into() {
                found.push((u64::from_be_bytes(key), place));
            }
        });
        for (number, place) in found {
            let Ok(bytes) = self.file.data_at(place) else { continue };
            let record = Record { place, lives: false };
            let whole_block = |bytes: &[u8]| Header::read_with_body(bytes).ok().map(|(header, _)| header);
            if let Some(header) = whole_block(&bytes) {
                let known = self.blocks.get(&number).and_then(|known| {
                    let header = whole_block(&self.file.data_at(known.place).ok()?)?;
                    Some((known.lives, header.log_samples))
                });
                // A whole one that a tree leads to is the one; else the newest.
                if known.is_none_or(|(lives, samples)| !lives && samples < header.log_samples) {
                    self.blocks.insert(number, record);
                }
            } else if dictionary::decode(&bytes).is_ok_and(|decoded| decoded.damaged == 0) {
                self.names.entry(number).or_insert(record);
            } else if AuditRecord::decode(&bytes).is_ok() {
                self.audit.entry(number).or_insert(record);
            }
        }
    }

    fn judge(&mut self) {
        let mut verdict = std::mem::take(&mut self.verdict);
        let mut last: Option<(u64, u64)> = None;
        let mut strays = Vec::new();
        for (index, record) in &self.blocks {
            let read = self.file.data_at(record.place);
            let header =
                read.and_then(|bytes| Header::read_with_body(&bytes).map(|(h, _)| h).map_err(|e| e.to_string()));
            let header = match header {
                Ok(header) => header,
                Err(what) => {
                    verdict.blocks_damaged += 1;
                    if verdict.blocks_listed.len() < JOURNAL_DAMAGE_LISTED_MAX {
                        verdict.blocks_listed.push((*index, what));
                    }
                    continue;
                }
            };
            let (first, samples) = (header.log_samples, u64::from(header.samples));
            if last.is_some_and(|(_, end)| first < end) {
                // Of an earlier time, under a number that was given again; or its number is what is damaged.
                strays.push((*index, *record, first, samples));
                continue;
            }
            if let Some((before, end)) = last
                && first > end
            {
                verdict.gaps.push(Gap { after: Some(before), before: *index, first: end, samples: first - end });
                verdict.samples_missing += first - end;
            }
            verdict.blocks += 1;
            verdict.samples += samples;
            verdict.range = Some((verdict.range.map_or(*index, |(from, _)| from), *index));
            last = Some((*index, first.saturating_add(samples)));
        }
        for (index, record, first, samples) in strays {
            self.blocks.remove(&index);
            let placed = record.lives.then(|| place_for(&mut verdict.gaps, first, samples)).flatten();
            let Some(number) = placed else { continue };
            self.blocks.insert(number, record);
            verdict.blocks += 1;
            verdict.samples += samples;
            verdict.samples_missing -= samples;
            verdict.blocks_damaged += 1;
            verdict.blocks_listed.push((number, format!("stored under the number {index}")));
        }
        for (id, record) in &self.names {
            let read = self.file.data_at(record.place);
            match read.and_then(|bytes| dictionary::decode(&bytes).map_err(|error| error.to_string())) {
                Ok(decoded) if decoded.damaged == 0 => verdict.names += 1,
                Ok(decoded) => verdict.names_damaged.push((*id, format!("{} entries are damaged", decoded.damaged))),
                Err(what) => verdict.names_damaged.push((*id, what)),
            }
        }
        for record in self.audit.values() {
            let whole = self.file.data_at(record.place).is_ok_and(|bytes| AuditRecord::decode(&bytes).is_ok());
            verdict.audit += u64::from(whole);
            verdict.audit_damaged += u64::from(!whole);
        }
        verdict.cursors = self.cursors.keys().cloned().collect();
        self.verdict = verdict;
    }
}

/// The number of a block whose own is damaged, by the samples before it: where it closes a gap of one block. The gap is closed.
fn place_for(gaps: &mut Vec<Gap>, first: u64, samples: u64) -> Option<u64> {
    let closes = |gap: &Gap| gap.first == first && gap.samples == samples;
    let at = gaps.iter().position(closes)?;
    let number = gaps[at].after?.checked_add(1)?;
    (number < gaps[at].before).then(|| {
        gaps.remove(at);
        number
    })
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = String::new();
        let range = self.range.map_or(String::new(), |(from, to)| format!(", numbers {from} to {to}"));
        writeln!(
            out,
            "blocks: {} whole ({} samples{range}), {} damaged",
            self.blocks, self.samples, self.blocks_damaged
        )?;
        for (index, what) in &self.blocks_listed {
            writeln!(out, "  block {index}: {what}")?;
        }
        for Gap { after, before, samples, .. } in self.gaps.iter().take(JOURNAL_DAMAGE_LISTED_MAX) {
            let after = after.map_or("the beginning".to_owned(), |after| format!("block {after}"));
            writeln!(out, "  between {after} and block {before}: {samples} samples are missing")?;
        }
        writeln!(out, "samples missing between whole blocks: {}", self.samples_missing)?;
        writeln!(out, "names: {} dictionaries whole, {} damaged", self.names, self.names_damaged.len())?;
        for (id, what) in self.names_damaged.iter().take(JOURNAL_DAMAGE_LISTED_MAX) {
            writeln!(out, "  of block {id}: {what}")?;
        }
        writeln!(out, "audit: {} records whole, {} damaged", self.audit, self.audit_damaged)?;
        writeln!(
            out,
            "cursors: {}",
            if self.cursors.is_empty() { "none".to_owned() } else { self.cursors.join(", ") }
        )?;
        writeln!(out, "pages: {} damaged", self.pages_damaged)?;
        for what in &self.pages {
            writeln!(out, "  {what}")?;
        }
        f.write_str(&out)
    }
}
