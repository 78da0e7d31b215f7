//! Damaged journals, set aside: moved into a directory of their own within the journal's, where a rename is always
//! possible, also where the journal's directory is a mount point. Never removed, never written over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::JournalError;
use super::renew::sync_directories;
use crate::limits::JOURNAL_ASIDE_MAX;

const PREFIX: &str = "damaged-";
/// Names that are tried for one second.
const NAMES_TRIED: u32 = 100;

/// The directories of damaged journals within that of a journal.
///
/// # Errors
/// The directory cannot be read.
pub fn set_aside_before(journal: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(journal)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.path().join("data.mdb").exists() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The error, if the journal's file can be set aside no more.
pub fn too_many(journal: &Path, what: &str) -> Option<JournalError> {
    let count = set_aside_before(journal).map_or(0, |found| found.len());
    let is_one_more = count >= JOURNAL_ASIDE_MAX && journal.join("data.mdb").exists();
    is_one_more.then(|| JournalError::TooManyAside { path: journal.to_owned(), what: what.to_owned(), count })
}

/// Moves the journal's files away; where to. `None`: there is no file.
///
/// # Errors
/// Too many are there already, or the system refuses it.
pub fn set_aside(journal: &Path, what: &str) -> Result<Option<PathBuf>, JournalError> {
    let failed = |source| JournalError::from_io(journal, "setting the damaged journal aside", source);
    let data = journal.join("data.mdb");
    if !data.try_exists().map_err(failed)? {
        return Ok(None);
    }
    if let Some(error) = too_many(journal, what) {
        return Err(error);
    }
    let aside = make_directory(journal).map_err(failed)?;
    let moved = fs::rename(&data, aside.join("data.mdb"));
    if let Err(source) = moved {
        let _ = fs::remove_dir(&aside);
        return Err(failed(source));
    }
    // Readers that still have it open go on with both.
    if let Err(error) = fs::rename(journal.join("lock.mdb"), aside.join("lock.mdb"))
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(failed(error));
    }
    sync_directories(journal).map_err(failed)?;
    Ok(Some(aside))
}

fn make_directory(journal: &Path) -> io::Result<PathBuf> {
    let now = time::OffsetDateTime::now_utc();
    let stamp = format!(
        "{PREFIX}{:04}-{:02}-{:02}T{:02}-{:02}-{:02}Z",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second()
    );
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for try_number in 0..NAMES_TRIED {
        let name = if try_number == 0 { stamp.clone() } else { format!("{stamp}-{}", try_number + 1) };
        let path = journal.join(name);
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}
