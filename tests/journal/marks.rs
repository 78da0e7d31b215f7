//! Damage to what few bytes decide: cursors, meta pages, the mark of the format; and losses at unusual moments.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use fieldbeat::store::{Journal, JournalError, JournalReader, Position};

use crate::common::*;

const PAGE: usize = 4096;
/// Where a meta page of LMDB has the number of its commit: behind the page's header, the marks and the trees.
const TRANSACTION: usize = 16 + 24 + 2 * 48 + 8;

/// Ten blocks of 100 samples, five of which the output "cloud" has.
fn half_delivered(path: &Path) {
    let mut journal = open(path, 64 * MIB).unwrap();
    journal.register_cursors(&["cloud"]).unwrap();
    for i in 0..10u64 {
        // Each in a block of its own.
        journal.append(&[batch(0, i * 100, 100)]).unwrap();
    }
    journal.reader().save_cursor("cloud", Position { block: 5, samples: 0 }).unwrap();
    journal.append(&[]).unwrap();
}

/// Changes the file at each place where `before` stands.
fn change(path: &Path, before: &[u8], at: usize, bits: u8) {
    let file = File::options().read(true).write(true).open(path.join("data.mdb")).unwrap();
    let bytes = std::fs::read(path.join("data.mdb")).unwrap();
    let places: Vec<usize> =
        bytes.windows(before.len()).enumerate().filter(|(_, window)| *window == before).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for place in places {
        file.write_all_at(&[bytes[place + at] ^ bits], (place + at) as u64).unwrap();
    }
}

fn opened(path: &Path) -> Journal {
    let mut journal = open(path, 64 * MIB).unwrap();
    journal.register_cursors(&["cloud"]).unwrap();
    journal
}

#[test]
fn an_output_whose_place_is_damaged_begins_with_the_oldest_block_and_misses_nothing() {
    let record = [b"cloud".as_slice(), &5u64.to_le_bytes(), &[0; 12]].concat();
    // Its block would be far beyond the end; or its name another one's.
    for at in [6, 2] {
        let dir = tempfile::tempdir().unwrap();
        half_delivered(dir.path());
        change(dir.path(), &record, at, 2);
        let journal = opened(dir.path());
        assert_eq!(journal.stats().set_aside.load(Relaxed), 0);
        assert_eq!(journal.reader().cursor("cloud").unwrap(), Some(Position { block: 0, samples: 0 }), "byte {at}");
    }
}

#[test]
fn a_commit_that_a_damaged_number_would_undo_is_no_silent_loss() {
    let dir = tempfile::tempdir().unwrap();
    for bit in [0, 1, 5, 17] {
        let path = dir.path().join(bit.to_string());
        half_delivered(&path);
        let file = File::options().read(true).write(true).open(path.join("data.mdb")).unwrap();
        let mut numbers = [[0; 8]; 2];
        for (page, number) in numbers.iter_mut().enumerate() {
            file.read_exact_at(number, (page * PAGE + TRANSACTION) as u64).unwrap();
        }
        let [first, second] = numbers.map(u64::from_le_bytes);
        assert_eq!(first.abs_diff(second), 1, "the places are right");
        let newest = usize::from(second > first);
        let bent = first.max(second) ^ 1 << bit;
        file.write_all_at(&bent.to_le_bytes(), (newest * PAGE + TRANSACTION) as u64).unwrap();
        let journal = opened(&path);
        assert_eq!(journal.stats().set_aside.load(Relaxed), 1, "bit {bit}");
    }
}

#[test]
fn a_damaged_number_of_the_format_is_no_other_version() {
    let dir = tempfile::tempdir().unwrap();
    half_delivered(dir.path());
    change(dir.path(), b"fieldbeat journal \x03\0\0\0", 18, 1);
    let journal = opened(dir.path());
    assert_eq!(journal.stats().set_aside.load(Relaxed), 1);
    drop(journal);

    // An older version without a checksum of its own is one.
    let dir = tempfile::tempdir().unwrap();
    half_delivered(dir.path());
    change(dir.path(), b"fieldbeat journal \x03\0\0\0", 18, 2);
    change(dir.path(), b"format_check", 0, 1);
    assert!(matches!(open(dir.path(), 64 * MIB), Err(JournalError::OlderFormat { found: 1, .. })));
}

#[test]
fn a_journal_of_the_format_before_goes_on_as_one_of_this_format() {
    let dir = tempfile::tempdir().unwrap();
    half_delivered(dir.path());
    change(dir.path(), b"fieldbeat journal \x03\0\0\0", 18, 1);
    change(dir.path(), b"format_check", 0, 1);
    let mark = |version: u8| {
        let bytes = std::fs::read(dir.path().join("data.mdb")).unwrap();
        let mark = [b"fieldbeat journal ".as_slice(), &[version, 0, 0, 0]].concat();
        bytes.windows(mark.len()).any(|window| *window == *mark)
    };
    assert!(mark(2) && !mark(3));
    // Whoever only reads leaves it as it is.
    assert_eq!(JournalReader::open_read_only(dir.path()).unwrap().next_index().unwrap(), 10);
    assert!(!mark(3));
    let mut journal = opened(dir.path());
    assert!(mark(3));
    assert_eq!(journal.reader().cursor("cloud").unwrap(), Some(Position { block: 5, samples: 0 }));
    journal.append(&[batch(0, 1000, 100)]).unwrap();
    assert_eq!((journal.reader().next_index().unwrap(), journal.stats().set_aside.load(Relaxed)), (11, 0));
}

#[test]
fn a_file_of_zeroes_is_set_aside() {
    for bytes in [1, PAGE, 100 * PAGE] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("data.mdb"), vec![0; bytes]).unwrap();
        assert_eq!(opened(dir.path()).stats().set_aside.load(Relaxed), 1, "{bytes}");
    }
}

#[test]
fn what_is_lost_before_the_first_commit_of_a_start_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    half_delivered(dir.path());
    let mut journal = opened(dir.path());
    File::options().write(true).open(dir.path().join("data.mdb")).unwrap().set_len(PAGE as u64).unwrap();
    journal.append(&[batch(0, 1000, 100)]).unwrap();
    assert_eq!(journal.stats().samples_lost.load(Relaxed), 500);
    assert_eq!(journal.reader().cursors().unwrap()[0].samples_lost, 500);
}

#[test]
fn a_file_that_was_cut_and_then_removed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    half_delivered(dir.path());
    let mut journal = opened(dir.path());
    let data = dir.path().join("data.mdb");
    File::options().write(true).open(&data).unwrap().set_len(PAGE as u64).unwrap();
    std::fs::remove_file(&data).unwrap();
    journal.append(&[batch(0, 1000, 100)]).unwrap();
    assert_eq!(journal.stats().samples_lost.load(Relaxed), 500);
    assert!(journal.stats().loss().unwrap().contains("was removed"));
}

#[test]
fn a_cut_shows_without_a_new_sample() {
    let dir = tempfile::tempdir().unwrap();
    half_delivered(dir.path());
    let mut journal = opened(dir.path());
    File::options().write(true).open(dir.path().join("data.mdb")).unwrap().set_len(PAGE as u64).unwrap();
    std::thread::sleep(fieldbeat::limits::JOURNAL_LOOK_PERIOD);
    journal.tend().unwrap();
    assert_eq!(journal.stats().set_aside.load(Relaxed), 1);
}

/// Each look at the file's length is compared with one from before it: a file that grows is never taken for one that was cut.
#[test]
fn a_file_that_grows_under_many_readers_is_not_taken_for_one_that_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 256 * MIB).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let reader = journal.reader();
            let done = &done;
            scope.spawn(move || {
                while !done.load(Relaxed) {
                    reader.pending(Position::default()).unwrap();
                }
            });
        }
        for i in 0..300u64 {
            journal.append(&[batch(0, i * 20_000, 20_000)]).unwrap();
        }
        done.store(true, Relaxed);
    });
    assert_eq!(journal.stats().set_aside.load(Relaxed), 0);
}
