//! Leaves of a file without its trees: page by page, for what no branch leads to any more.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::file::PageFile;
use super::layout::{Data, Entry, META_BYTES, NodePage, PAGE_HEADER, is_meta};
use crate::database::FORMAT_MARK;

/// Where the mark of a journal is looked for: it is written when the journal is made, and its pages are among the first.
const MARK_WITHIN_BYTES: u64 = 16 << 20;
const CHUNK: usize = 1 << 16;
/// So much of a file without a beginning is looked at.
const BEGINNING_BYTES: usize = 4096;

/// An entry of a leaf, to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub page: u64,
    pub at: u16,
}

/// Gives out every entry of every page that is a whole leaf, with its place.
pub fn leaf_entries(file: &PageFile, mut visit: impl FnMut(Place, &Entry<'_>)) {
    let mut bytes = Vec::new();
    for page in 2..file.pages {
        if file.page(page, &mut bytes).is_err() {
            continue;
        }
        let Ok(leaf) = NodePage::read(&bytes, page) else { continue };
        if !leaf.is_leaf() {
            continue;
        }
        for at in 0..leaf.len() {
            if let Some(entry) = leaf.entry(at) {
                visit(Place { page, at: at as u16 }, &entry);
            }
        }
    }
}

impl PageFile {
    /// The bytes of the entry at `place`.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub fn data_at(&self, place: Place) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        self.page(place.page, &mut bytes).map_err(|error| error.to_string())?;
        let leaf = NodePage::read(&bytes, place.page).map_err(str::to_owned)?;
        if !leaf.is_leaf() || usize::from(place.at) >= leaf.len() {
            return Err("is no entry".to_owned());
        }
        let data = leaf.entry(usize::from(place.at)).map(|entry| entry.data).unwrap_or(Data::Here(&[]));
        self.data(&data)
    }
}

/// Whether a file that can't be opened was a journal: its mark is in one of the first pages, or it is what is left of a file
/// that was cut in its first one.
///
/// # Errors
/// The disk does not give it.
pub fn mark_is_in(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let end = file.metadata()?.len().min(MARK_WITHIN_BYTES);
    let mut chunk = vec![0; CHUNK + FORMAT_MARK.len()];
    let mut at = 0;
    let mut start = [0; PAGE_HEADER + 8];
    if end < META_BYTES as u64 && file.read_exact_at(&mut start, 0).is_ok() && is_meta(&start) {
        return Ok(true);
    }
    while at < end {
        let wanted = chunk.len().min((end - at) as usize);
        let Ok(read) = file.read_at(&mut chunk[..wanted], at) else { return Ok(false) };
        if read == 0 {
            return Ok(false);
        }
        if chunk[..read].windows(FORMAT_MARK.len()).any(|window| window == FORMAT_MARK) {
            return Ok(true);
        }
        at += CHUNK as u64;
    }
    Ok(false)
}

/// Whether a file's first page is gone: the disk, or what was to repair it, has left zeroes there.
///
/// # Errors
/// The disk does not give it.
pub fn begins_with_zeroes(path: &Path) -> io::Result<bool> {
    let mut start = [0; BEGINNING_BYTES];
    let file = File::open(path)?;
    let read = file.read_at(&mut start, 0)?;
    Ok(start[..read].iter().all(|byte| *byte == 0))
}
