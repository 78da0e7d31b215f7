//! Damaged files: found before they are mapped, set aside, never deleted, and read as far as they go.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use fieldbeat::limits::JOURNAL_ASIDE_MAX;
use fieldbeat::store::{Journal, JournalError, JournalReader, Survey, set_aside_before};

use crate::common::*;

const PAGE: u64 = 4096;
const SAMPLES: u32 = 200;

/// A journal with a history: several trees' levels, freed pages, names, an audit.
pub fn history(path: &Path, blocks: u64) {
    let mut journal = open(path, 64 * MIB).unwrap();
    journal.register_cursors(&["cloud"]).unwrap();
    for i in 0..blocks {
        let names = names_of(&(i / 100).to_string());
        journal.append(&[batch_under(&names, 0, i * u64::from(SAMPLES), SAMPLES)]).unwrap();
    }
}

fn data(path: &Path) -> PathBuf {
    path.join("data.mdb")
}

fn edit(path: &Path) -> File {
    File::options().read(true).write(true).open(data(path)).unwrap()
}

fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    seed
}

/// Everything that is handed out is as it was made, and the journal goes on; how many samples are there.
fn assert_goes_on(journal: &mut Journal, more: u64) -> u64 {
    let found = blocks(&journal.reader(), 0);
    assert_genuine(&found, SAMPLES);
    journal.append(&[batch(1, more, SAMPLES)]).unwrap();
    assert_eq!(blocks(&journal.reader(), journal.reader().next_index().unwrap() - 1).len(), 1);
    found.iter().map(|block| u64::from(block.batch.samples)).sum()
}

#[test]
fn a_whole_journal_is_found_whole_at_every_age() {
    let dir = tempfile::tempdir().unwrap();
    for blocks in [0, 1, 3, 40, 200] {
        history(dir.path(), blocks);
        let survey = Survey::of(dir.path()).unwrap();
        assert!(survey.verdict().is_whole(), "{}", survey.verdict());
    }
    let verdict = Survey::of(dir.path()).unwrap().verdict().clone();
    assert_eq!((verdict.blocks, verdict.cursors), (244, vec!["cloud".to_owned()]));
}

#[test]
fn a_journal_that_retention_and_many_readers_churn_is_found_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    journal.set_keep(fieldbeat::tag::Nanos::ZERO);
    journal.register_cursors(&["cloud"]).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut sequence = 0;
    for round in 0..400 {
        let samples = random.u32(1..20_000);
        journal.append(&[batch(0, sequence, samples)]).unwrap();
        sequence += u64::from(samples);
        if round % 50 == 49 {
            drop(journal);
            let survey = Survey::of(dir.path()).unwrap();
            assert!(survey.verdict().is_whole(), "round {round}: {}", survey.verdict());
            journal = open(dir.path(), 16 * MIB).unwrap();
            journal.register_cursors(&["cloud"]).unwrap();
        }
    }
    assert_eq!(journal.stats().set_aside.load(Relaxed), 0);
}

#[test]
fn a_file_that_was_cut_anywhere_is_set_aside_and_a_new_one_begun() {
    let made = tempfile::tempdir().unwrap();
    history(made.path(), 120);
    let bytes = std::fs::read(data(made.path())).unwrap();
    let mut random = fastrand::Rng::with_seed(seed());
    let pages = bytes.len() as u64 / PAGE;
    for round in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        let len = match round {
            0 => 100,
            1 => PAGE,
            2 => 2 * PAGE,
            _ => random.u64(1..bytes.len() as u64),
        };
        std::fs::write(data(dir.path()), &bytes[..len as usize]).unwrap();
        let Err(error) = JournalReader::open_read_only(dir.path()).map(|_| ()) else {
            // Nothing that the trees lead to was in what was cut.
            assert!(len / PAGE + 200 > pages, "round {round}: {len} of {} bytes", bytes.len());
            continue;
        };
        assert!(matches!(error, JournalError::Corrupt { .. } | JournalError::NotAJournal { .. }), "{error}");
        let mut journal = open(dir.path(), 64 * MIB).unwrap();
        assert_eq!((assert_goes_on(&mut journal, 0), journal.stats().set_aside.load(Relaxed)), (0, 1), "{len} bytes");
        let aside = set_aside_before(dir.path()).unwrap();
        assert_eq!(std::fs::read(data(&aside[0])).unwrap(), &bytes[..len as usize], "set aside as it was");
        assert!(journal.stats().loss().unwrap().contains(aside[0].to_str().unwrap()));
    }
}

/// In the heads of pages, and in the whole of the pages that the trees are made of.
#[test]
fn a_flipped_bit_is_found_or_harms_nothing_and_never_ends_the_process() {
    let made = tempfile::tempdir().unwrap();
    history(made.path(), 120);
    let bytes = std::fs::read(data(made.path())).unwrap();
    let mut random = fastrand::Rng::with_seed(seed());
    let (mut aside, mut lost) = (0, 0);
    for round in 0..400 {
        let dir = tempfile::tempdir().unwrap();
        let page = random.u64(0..bytes.len() as u64 / PAGE);
        let at = page * PAGE + if round % 2 == 0 { random.u64(0..16) } else { random.u64(0..PAGE) };
        let bit = random.u32(0..8);
        let mut bytes = bytes.clone();
        bytes[at as usize] ^= 1 << bit;
        std::fs::write(data(dir.path()), bytes).unwrap();
        let mut journal =
            open(dir.path(), 64 * MIB).unwrap_or_else(|error| panic!("round {round}: bit {bit} of byte {at}: {error}"));
        let samples = assert_goes_on(&mut journal, 0);
        let reader = journal.reader();
        let set_aside = journal.stats().set_aside.load(Relaxed);
        // What is not there was found to be damaged: the file, or a block.
        let missing = 120 * u64::from(SAMPLES) - samples;
        let skipped = reader.stats().blocks_corrupt.load(Relaxed);
        assert!(
            missing == 0 || set_aside == 1 || skipped * u64::from(SAMPLES) >= missing,
            "round {round}: bit {bit} of byte {at}: {missing} samples are gone without a word"
        );
        aside += set_aside;
        lost += u64::from(missing > 0);
    }
    println!("{aside} of 400 set aside, {lost} lost something");
    assert!(aside > 40, "page heads are not looked at: {aside}");
}

#[test]
fn damaged_journals_are_never_written_over_and_so_many_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..JOURNAL_ASIDE_MAX {
        history(dir.path(), 5);
        edit(dir.path()).set_len(3 * PAGE).unwrap();
        let journal = open(dir.path(), 64 * MIB).unwrap();
        assert_eq!(journal.stats().set_aside.load(Relaxed), 1);
        assert_eq!(set_aside_before(dir.path()).unwrap().len(), round + 1);
    }
    history(dir.path(), 5);
    edit(dir.path()).set_len(3 * PAGE).unwrap();
    let Err(error) = open(dir.path(), 64 * MIB) else { panic!("opened") };
    assert!(matches!(error, JournalError::TooManyAside { count: JOURNAL_ASIDE_MAX, .. }), "{error}");
    assert!(error.passes_by_itself() && error.to_string().contains("journal salvage"), "{error}");

    // A gateway that starts on it waits for someone to make room, and then stores.
    let mut journal = Journal::open_or_wait(&config(dir.path(), 64 * MIB), BOOT).unwrap();
    journal.register_cursors(&["cloud"]).unwrap();
    assert!(journal.append(&[batch(0, 0, SAMPLES)]).is_err());
    assert!(journal.reader().cursor("cloud").is_err(), "it is not known yet");
    std::fs::remove_dir_all(&set_aside_before(dir.path()).unwrap()[0]).unwrap();
    journal.append(&[batch(0, 0, SAMPLES)]).unwrap();
    assert_eq!(blocks(&journal.reader(), 0).len(), 1);
    assert!(journal.reader().cursor("cloud").unwrap().is_some());
}

#[test]
fn a_file_that_is_cut_while_it_is_written_is_given_up_and_what_was_lost_is_counted() {
    for cut in [0, 2 * PAGE, 40 * PAGE] {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path(), 64 * MIB).unwrap();
        journal.register_cursors(&["cloud"]).unwrap();
        for i in 0..100u64 {
            journal.append(&[batch(0, i * 2000, 2000)]).unwrap();
        }
        journal.reader().save_cursor("cloud", fieldbeat::store::Position { block: 90, samples: 0 }).unwrap();
        journal.append(&[batch(0, 200_000, 2000)]).unwrap();
        edit(dir.path()).set_len(cut).unwrap();
        let reader = journal.reader();
        assert!(reader.block_at_or_after(95).is_err(), "cut at {cut}");
        journal.append(&[batch(0, 202_000, 2000)]).unwrap();
        let stats = journal.stats();
        assert_eq!((stats.set_aside.load(Relaxed), stats.samples_lost.load(Relaxed)), (1, 11 * 2000), "cut at {cut}");
        // The numbers go on, and an output with them.
        let found = blocks(&reader, 90);
        assert_eq!((found.len(), found[0].index, found[0].batch.first_sequence), (1, 101, 202_000));
        assert_eq!(reader.cursors().unwrap()[0].samples_lost, 11 * 2000);
        assert_eq!(reader.pending(reader.cursor("cloud").unwrap().unwrap()).unwrap(), 2000);
        drop((journal, reader));
        let journal = open(dir.path(), 64 * MIB).unwrap();
        assert_eq!(journal.reader().next_index().unwrap(), 102, "and over a start");
    }
}

#[test]
fn a_directory_that_is_deleted_renamed_or_replaced_is_noticed_and_made_again() {
    let far = std::time::Duration::from_millis(1100);
    for how in ["deleted", "renamed", "replaced"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/journal");
        let mut journal = open(&path, 64 * MIB).unwrap();
        journal.register_cursors(&["cloud"]).unwrap();
        for i in 0..10u64 {
            journal.append(&[batch(0, i * 100, 100)]).unwrap();
        }
        match how {
            "deleted" => std::fs::remove_dir_all(dir.path().join("below")).unwrap(),
            "renamed" => std::fs::rename(&path, dir.path().join("elsewhere")).unwrap(),
            _ => {
                let mut other = open(&dir.path().join("other"), 64 * MIB).unwrap();
                other.append(&[batch(5, 0, 100)]).unwrap();
                drop(other);
                std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
                std::fs::rename(dir.path().join("other"), &path).unwrap();
            }
        }
        std::thread::sleep(far);
        journal.append(&[batch(0, 1000, 100)]).unwrap();
        let stats = journal.stats();
        assert_eq!(stats.samples_lost.load(Relaxed), 1000, "{how}");
        let loss = stats.loss().unwrap();
        assert!(
            loss.contains("1000 stored but undelivered samples") && loss.contains(path.to_str().unwrap()),
            "{loss}"
        );
        let found = blocks(&journal.reader(), 10);
        assert_eq!(found.iter().map(|block| block.batch.first_sequence).collect::<Vec<_>>(), [1000], "{how}");
        drop(journal);
        // On the disk, under the path.
        let reader = JournalReader::open_read_only(&path).unwrap();
        assert_eq!(reader.newest().unwrap(), Some(10), "{how}");
        assert_eq!(reader.cursors().unwrap()[0].samples_lost, 1000, "{how}");
    }
}

#[test]
fn salvage_of_a_whole_journal_is_the_same_journal() {
    let dir = tempfile::tempdir().unwrap();
    history(dir.path(), 250);
    let before = std::fs::read(data(dir.path())).unwrap();
    let to = dir.path().join("new");
    let salvaged = Survey::of(dir.path()).unwrap().salvage(&to).unwrap();
    assert_eq!((salvaged.blocks, salvaged.samples, salvaged.cursors), (250, 250 * u64::from(SAMPLES), 1));
    assert_eq!(std::fs::read(data(dir.path())).unwrap(), before, "the source is as it was");
    let (old, new) = (open(dir.path(), 64 * MIB).unwrap(), open(&to, 64 * MIB).unwrap());
    let all = |journal: &Journal| -> Vec<_> {
        blocks(&journal.reader(), 0)
            .into_iter()
            .map(|block| (block.index, block.batch.slots, block.batch.names))
            .collect()
    };
    assert_eq!(all(&old), all(&new));
    assert!(Survey::of(&to).is_err(), "one that is written is left alone");
    drop((old, new));
    assert!(Survey::of(&to).unwrap().verdict().is_whole());
    let Err(error) = Survey::of(dir.path()).unwrap().salvage(&to) else { panic!("salvaged into a journal") };
    assert!(matches!(error, JournalError::Exists { .. }), "{error}");
}

#[test]
fn salvage_of_a_damaged_journal_copies_what_is_whole_and_counts_the_rest() {
    let made = tempfile::tempdir().unwrap();
    history(made.path(), 120);
    let bytes = std::fs::read(data(made.path())).unwrap();
    let pages = bytes.len() as u64 / PAGE;
    let mut random = fastrand::Rng::with_seed(seed());
    for round in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = bytes.clone();
        match round % 4 {
            0 => bytes.truncate(random.u64(PAGE * pages / 2..PAGE * pages) as usize),
            // As a lost sector.
            1 => {
                let page = random.u64(0..pages) * PAGE;
                bytes[page as usize..(page + PAGE) as usize].fill(0);
            }
            2 => bytes[..2 * PAGE as usize].fill(0),
            _ => (0..20).for_each(|_| bytes[random.usize(0..pages as usize * PAGE as usize)] ^= 1 << random.u32(0..8)),
        }
        std::fs::write(data(dir.path()), &bytes).unwrap();
        let survey = Survey::of(dir.path()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let to = dir.path().join("new");
        let salvaged = survey.salvage(&to).unwrap();
        let verdict = survey.verdict();
        assert_eq!((salvaged.blocks, salvaged.samples), (verdict.blocks, verdict.samples), "round {round}");
        assert!(round % 4 == 0 || verdict.blocks >= 95, "round {round}: {verdict}");
        // Found, known to be missing, or after the last one.
        let (first, last) = verdict.range.unwrap();
        let inner = (last + 1 - first) * u64::from(SAMPLES);
        assert_eq!(verdict.samples + verdict.samples_missing, inner, "round {round}: {verdict}");
        let reader = JournalReader::open_read_only(&to).unwrap();
        assert_genuine(&blocks(&reader, 0), SAMPLES);
        assert_eq!(std::fs::read(data(dir.path())).unwrap(), bytes, "the source is as it was");
    }
}

#[test]
fn one_bit_in_the_names_costs_one_name() {
    let dir = tempfile::tempdir().unwrap();
    history(dir.path(), 50);
    let bytes = std::fs::read(data(dir.path())).unwrap();
    let name = b"0.tag7";
    let file = edit(dir.path());
    for at in (0..bytes.len() - name.len()).filter(|at| bytes[*at..].starts_with(name)) {
        file.write_all_at(b"1", at as u64 + 5).unwrap();
    }
    let journal = open(dir.path(), 64 * MIB).unwrap();
    let found = blocks(&journal.reader(), 0);
    assert_eq!(found.len(), 50, "no block is lost for it");
    let named = |id| found[0].batch.names.tag(fieldbeat::tag::TagId(id)).map(|tag| tag.name.clone());
    assert_eq!((named(6), named(7), named(8)), (Some("0.tag6".into()), None, Some("0.tag8".into())));
    assert_eq!(journal.stats().blocks_corrupt.load(Relaxed), 0);
}

/// `cargo test --test journal -- --ignored --nocapture how_long`
#[test]
#[ignore = "writes files of 1 GB and judges nothing: it prints how long a start takes"]
fn how_long_a_start_on_a_large_journal_takes() {
    use heed::byteorder::BigEndian;
    use heed::types::U64;
    for block_bytes in [400, 16_000, 100_000] {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path(), 1900 * MIB).unwrap();
        journal.append(&[batch(0, 0, block_bytes / 9)]).unwrap();
        drop(journal);
        crate::bad::with_table::<U64<BigEndian>>(dir.path(), "blocks", |table, txn| {
            let block = table.get(txn, &0).unwrap().unwrap().to_vec();
            for index in 1..1_000_000_000 / u64::from(block_bytes) {
                table.put_with_flags(txn, heed::PutFlags::APPEND, &index, &block).unwrap();
            }
        });
        let file = edit(dir.path());
        let len = file.metadata().unwrap().len();
        let start = |cold: bool, what: &str| {
            file.sync_all().unwrap();
            let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
            if cold {
                nix::fcntl::posix_fadvise(&file, 0, 0, advice).unwrap();
            }
            let start = std::time::Instant::now();
            let journal = open(dir.path(), 1900 * MIB).unwrap();
            let took = start.elapsed();
            let set_aside = journal.stats().set_aside.load(Relaxed);
            println!("blocks of {block_bytes} bytes, {} MB, {what}: {took:?}, {set_aside} set aside", len >> 20);
        };
        start(false, "whole, in memory");
        start(true, "whole, from the disk");
        file.set_len(len - len / 3).unwrap();
        start(true, "cut, from the disk");
    }
}
