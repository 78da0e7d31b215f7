//! What befalls a journal's files, while they are written or while nobody has them open.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fastrand::Rng;

use crate::store::pages::{Data, PAGE_HEADER, PageFile, walk};

/// Where most of what leads to everything else is.
const FIRST_BYTES: u64 = 8 * 4096;
const ZEROES_MAX: usize = 64 << 10;

fn data(journal: &Path) -> std::path::PathBuf {
    journal.join("data.mdb")
}

fn open(journal: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(data(journal))
}

/// Its file, its directory, or the file's name goes; or another file gets its name.
///
/// # Errors
/// The system refuses it.
pub fn remove(journal: &Path, rng: &mut Rng) -> io::Result<()> {
    let data = data(journal);
    match rng.u8(..4) {
        0 => fs::remove_file(data),
        1 => fs::remove_dir_all(journal),
        2 => fs::rename(&data, journal.join("moved.mdb")),
        _ => {
            let copy = journal.join("copy.mdb");
            fs::copy(&data, &copy)?;
            fs::rename(&copy, &data)
        }
    }
}

/// It becomes shorter; by how much.
///
/// # Errors
/// The system refuses it.
pub fn cut(journal: &Path, rng: &mut Rng) -> io::Result<u64> {
    let file = open(journal)?;
    let len = file.metadata()?.len();
    let to = if rng.u8(..8) == 0 { rng.u64(..=len.min(FIRST_BYTES)) } else { rng.u64(..=len) };
    file.set_len(to)?;
    Ok(len - to)
}

/// Bits of it change, or a part of it becomes zeroes: anywhere.
///
/// # Errors
/// The system refuses it.
pub fn flip(journal: &Path, rng: &mut Rng) -> io::Result<()> {
    let file = open(journal)?;
    let len = file.metadata()?.len();
    if len == 0 {
        return Ok(());
    }
    let within = if rng.bool() { len } else { len.min(FIRST_BYTES) };
    if rng.u8(..4) == 0 {
        let at = rng.u64(..within);
        let bytes = rng.usize(1..ZEROES_MAX).min((len - at) as usize);
        return file.write_all_at(&vec![0; bytes], at);
    }
    for _ in 0..rng.u8(1..=8) {
        flip_bit(&file, rng.u64(..within), rng)?;
    }
    Ok(())
}

fn flip_bit(file: &File, at: u64, rng: &mut Rng) -> io::Result<()> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    byte[0] ^= 1 << rng.u8(..8);
    file.write_all_at(&byte, at)
}

/// Bits of what is stored change, and none of what leads to it: the rest, LMDB follows blindly while it has it open.
///
/// # Errors
/// The system refuses it.
pub fn flip_values(journal: &Path, rng: &mut Rng) -> io::Result<bool> {
    let path = data(journal);
    let Ok(pages) = PageFile::open(&path) else { return Ok(false) };
    let Some(meta) = pages.metas.first() else { return Ok(false) };
    let mut values: Vec<(u64, usize)> = Vec::new();
    let mut page = Vec::new();
    walk(&pages, meta, None, false, |table, place, entry| {
        if !matches!(table, "blocks" | "dictionaries") {
            return;
        }
        match entry.data {
            Data::Overflow(number, bytes) => {
                values.push((number * pages.page_bytes as u64 + PAGE_HEADER as u64, bytes));
            }
            Data::Here(bytes) if !bytes.is_empty() && pages.page(place.page, &mut page).is_ok() => {
                if let Some(at) = page.windows(bytes.len()).position(|window| window == bytes) {
                    values.push((place.page * pages.page_bytes as u64 + at as u64, bytes.len()));
                }
            }
            Data::Here(_) => {}
        }
    });
    if values.is_empty() {
        return Ok(false);
    }
    let file = open(journal)?;
    for _ in 0..rng.u8(1..=4) {
        let (start, bytes) = values[rng.usize(..values.len())];
        flip_bit(&file, start + rng.u64(..bytes as u64), rng)?;
    }
    Ok(true)
}

/// The machine loses power within a commit: of what it has changed beside the meta pages, anything may have come to the disk.
///
/// # Errors
/// The system refuses it.
pub fn tear(journal: &Path, before: &[u8], rng: &mut Rng) -> io::Result<()> {
    const PAGE: usize = 4096;
    let after = fs::read(data(journal))?;
    let file = open(journal)?;
    let metas = 2 * PAGE;
    file.write_all_at(&before[..metas.min(before.len())], 0)?;
    for at in (metas..after.len()).step_by(PAGE) {
        let end = (at + PAGE).min(after.len());
        if rng.bool() {
            // As it was; beyond the end, as the file system gives it.
            let was = before.get(at..end).map_or_else(|| vec![0; end - at], <[u8]>::to_vec);
            file.write_all_at(&was, at as u64)?;
        }
    }
    Ok(())
}
