//! The journal's file as pages, read with plain reads: a file that is shorter than it says is an answer here, where it is
//! a signal in a map.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::layout::{Data, Head, META_BYTES, Meta, OVERFLOW, PAGE_HEADER, overflow_pages};
use crate::limits::{JOURNAL_PAGES_UNWRITTEN_MAX, JOURNAL_RECORD_BYTES_MAX};

/// Sizes that LMDB's pages have.
const PAGE_BYTES: std::ops::RangeInclusive<u32> = 256..=65536;

/// Why there is nothing to check.
#[derive(Debug)]
pub enum Unreadable {
    Io(io::Error),
    /// There is nothing in it yet.
    Empty,
    /// Nothing says that it ever was a file of LMDB.
    Foreign,
    /// It is one, and what.
    Damaged(String),
}

/// See the module.
pub struct PageFile {
    file: File,
    pub page_bytes: usize,
    /// Whole pages that are there.
    pub pages: u64,
    /// The meta pages, as far as they are whole: the newest first.
    pub metas: Vec<Meta>,
    /// What is wrong with the other one.
    pub meta_damage: Option<String>,
}

impl PageFile {
    /// # Errors
    /// See [`Unreadable`].
    pub fn open(path: &Path) -> Result<PageFile, Unreadable> {
        let file = File::open(path).map_err(Unreadable::Io)?;
        let len = file.metadata().map_err(Unreadable::Io)?.len();
        if len == 0 {
            return Err(Unreadable::Empty);
        }
        let first = meta_at(&file, 0).map_err(Unreadable::Io)?;
        // Without the first one, the second is looked for where it would be.
        let sizes = match first {
            Some(meta) => vec![meta.page_bytes],
            None => PAGE_BYTES.step_by(1).filter(|size| size.is_power_of_two()).collect(),
        };
        let mut second = None;
        for size in sizes {
            let found = meta_at(&file, u64::from(size)).map_err(Unreadable::Io)?;
            second = second.or(found.filter(|meta| meta.page_bytes == size));
        }
        let mut meta_damage = None;
        for (number, meta) in [first, second].iter().enumerate() {
            if meta.is_none() {
                meta_damage = Some(format!("page {number}, a meta page, is damaged"));
            }
        }
        if let (Some(first), Some(second)) = (first, second)
            && !is_pair(first.transaction, second.transaction)
        {
            let (first, second) = (first.transaction, second.transaction);
            meta_damage =
                Some(format!("its meta pages are of the commits {first} and {second}, which do not follow each other"));
        }
        let mut metas: Vec<Meta> = [first, second].into_iter().flatten().collect();
        metas.sort_by_key(|meta| std::cmp::Reverse(meta.transaction));
        let Some(newest) = metas.first() else {
            return Err(Unreadable::Foreign);
        };
        let page_bytes = newest.page_bytes;
        if !PAGE_BYTES.contains(&page_bytes) || !page_bytes.is_power_of_two() {
            return Err(Unreadable::Damaged(format!("its meta page names pages of {page_bytes} bytes")));
        }
        if metas.iter().any(|meta| meta.page_bytes != page_bytes) {
            meta_damage = Some("its meta pages differ in the size of a page".to_owned());
        }
        let pages = len / u64::from(page_bytes);
        // The last ones may never have been written; without this bound, a damaged number would become a huge map.
        if metas.iter().any(|meta| meta.last_page >= pages.saturating_add(JOURNAL_PAGES_UNWRITTEN_MAX)) {
            meta_damage = Some(format!(
                "it has {pages} pages, and its meta page says {}",
                metas.iter().map(|meta| meta.last_page).max().unwrap_or(0).saturating_add(1)
            ));
        }
        Ok(PageFile { file, page_bytes: page_bytes as usize, pages, metas, meta_damage })
    }

    /// Of a file whose meta pages are gone, as LMDB makes them on this machine.
    ///
    /// # Errors
    /// The disk does not give it.
    pub fn without_metas(path: &Path) -> io::Result<PageFile> {
        let file = File::open(path)?;
        let page_bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.map_or(4096, |bytes| bytes as usize);
        let pages = file.metadata()?.len() / page_bytes as u64;
        let meta_damage = Some("neither of its meta pages is whole".to_owned());
        Ok(PageFile { file, page_bytes, pages, metas: Vec::new(), meta_damage })
    }

    /// # Errors
    /// The page is not there, or the disk does not give it.
    pub fn page(&self, number: u64, into: &mut Vec<u8>) -> io::Result<()> {
        into.resize(self.page_bytes, 0);
        self.read(number, into)
    }

    fn read(&self, number: u64, into: &mut [u8]) -> io::Result<()> {
        let start = number.checked_mul(self.page_bytes as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.file.read_exact_at(into, start)
    }

    /// Checks the head of the overflow pages that hold `bytes` from page `number` on; how many they are.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn overflow(&self, number: u64, bytes: usize) -> Result<u64, String> {
        let need = overflow_pages(bytes, self.page_bytes);
        if number.checked_add(need).is_none_or(|end| end > self.pages) {
            return Err(format!("lies beyond the file, which has {} pages", self.pages));
        }
        let mut head = [0; PAGE_HEADER];
        self.read(number, &mut head).map_err(|error| error.to_string())?;
        let found = Head::read(&head).ok_or("has no header")?;
        if found.number != number {
            return Err("carries another page's number".to_owned());
        }
        if found.flags != OVERFLOW {
            return Err("has other flags than an overflow page".to_owned());
        }
        let pages = u64::from(found.overflow_pages);
        if pages < need || number + pages > self.pages {
            return Err(format!("says that it takes {pages} pages, where its record needs {need}"));
        }
        Ok(pages)
    }

    /// The bytes of an entry.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub fn data(&self, data: &Data<'_>) -> Result<Vec<u8>, String> {
        match *data {
            Data::Here(bytes) => Ok(bytes.to_vec()),
            Data::Overflow(number, bytes) => {
                if bytes > JOURNAL_RECORD_BYTES_MAX {
                    return Err(format!("says that it has {bytes} bytes"));
                }
                self.overflow(number, bytes)?;
                let mut out = vec![0; bytes];
                let start = number * self.page_bytes as u64 + PAGE_HEADER as u64;
                self.file.read_exact_at(&mut out, start).map_err(|error| error.to_string())?;
                Ok(out)
            }
        }
    }
}

/// Commits are written to the two pages in turn, even ones to the first: no other two can stand there, but for a file's
/// first commit.
fn is_pair(first: u64, second: u64) -> bool {
    (first, second) == (0, 0) || first.is_multiple_of(2) && first.abs_diff(second) == 1
}

fn meta_at(file: &File, at: u64) -> io::Result<Option<Meta>> {
    let mut page = [0; META_BYTES];
    match file.read_exact_at(&mut page, at) {
        Ok(()) => Ok(Meta::read(&page)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
