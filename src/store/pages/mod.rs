//! The journal's file as LMDB lays it out, read without LMDB and without a map.
//!
//! LMDB trusts its file. A page that lies beyond the file's end, or a damaged header, is a signal or worse once the file
//! is mapped, so everything that leads to a page is checked here before. What is read of a damaged journal is read here,
//! too.

mod file;
mod layout;
mod scan;
mod walk;

use std::path::Path;
use std::time::Instant;

use crate::limits::JOURNAL_CHECK_MAX;

pub use file::{PageFile, Unreadable};
pub use layout::{Data, META_PAGES, PAGE_HEADER, fill_empty_leaf, fill_empty_meta};
pub use scan::{Place, begins_with_zeroes, leaf_entries, mark_is_in};
pub use walk::{Findings, walk};

/// What [`check`] found.
#[derive(Debug)]
pub enum Checked {
    /// Nothing to check: there is no file, or nothing in it.
    New,
    /// Heads of overflow pages that were left out, for want of time.
    Whole {
        unseen: u64,
    },
    /// It never was a journal.
    Foreign,
    Damaged(String),
}

/// Checks a file that nobody writes, for [`JOURNAL_CHECK_MAX`] and the pages of its trees at most.
///
/// # Errors
/// The disk does not give it.
pub fn check(path: &Path) -> std::io::Result<Checked> {
    let file = match PageFile::open(path) {
        Ok(file) => file,
        Err(Unreadable::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Checked::New),
        Err(Unreadable::Io(error)) => return Err(error),
        Err(Unreadable::Empty) => return Ok(Checked::New),
        Err(Unreadable::Foreign) => {
            return Ok(if mark_is_in(path)? {
                Checked::Damaged("neither of its meta pages is whole".to_owned())
            } else if begins_with_zeroes(path)? {
                // Nobody can make anything of it any more, whoever it was.
                Checked::Damaged("it begins with nothing but zeroes".to_owned())
            } else {
                Checked::Foreign
            });
        }
        Err(Unreadable::Damaged(what)) => return Ok(Checked::Damaged(what)),
    };
    if let Some(what) = file.meta_damage {
        return Ok(Checked::Damaged(what));
    }
    let Some(meta) = file.metas.first() else { return Ok(Checked::Foreign) };
    Ok(of_findings(walk(&file, meta, Some(Instant::now() + JOURNAL_CHECK_MAX), false, |_, _, _| {})))
}

/// Checks the commit `transaction` of a file that another process writes, while a reader holds on to that commit.
/// `None`: its meta page is there no longer, try again.
///
/// # Errors
/// The disk does not give it.
pub fn check_commit(path: &Path, transaction: u64) -> std::io::Result<Option<Checked>> {
    let file = match PageFile::open(path) {
        Ok(file) => file,
        Err(Unreadable::Io(error)) => return Err(error),
        Err(Unreadable::Damaged(what)) => return Ok(Some(Checked::Damaged(what))),
        Err(Unreadable::Empty | Unreadable::Foreign) => return Ok(Some(Checked::New)),
    };
    let Some(meta) = file.metas.iter().find(|meta| meta.transaction == transaction) else { return Ok(None) };
    let until = Some(Instant::now() + JOURNAL_CHECK_MAX);
    Ok(Some(of_findings(walk(&file, meta, until, false, |_, _, _| {}))))
}

fn of_findings(findings: Findings) -> Checked {
    match findings.damage.into_iter().next() {
        Some(what) => Checked::Damaged(what),
        None => Checked::Whole { unseen: findings.unseen },
    }
}
