//! Appending, reading, cursors, the journal's thread.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fieldbeat::store::{BootId, Journal, JournalError, JournalState, Position, spawn_writer};
use fieldbeat::tag::Nanos;

use crate::common::*;

fn at(block: u64, samples: u32) -> Position {
    Position { block, samples }
}

#[test]
fn what_was_appended_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/journal");
    let mut journal = open(&path, 16 * MIB).unwrap();
    journal.append(&[batch(0, 0, 100), batch(0, 100, 100), batch(1, 0, 100)]).unwrap();
    drop(journal);
    let mut journal = Journal::open(&config(&path, 16 * MIB), BootId(BOOT.0 + 1)).unwrap();
    journal.append(&[batch(0, 0, 100)]).unwrap();
    let seen = blocks(&journal.reader(), 0);
    let of = |i: usize| (seen[i].index, seen[i].boot, seen[i].batch.lane.0, seen[i].batch.samples);
    assert_eq!(of(0), (0, BOOT, 0, 200));
    assert_eq!(of(1), (1, BOOT, 1, 100));
    assert_eq!(of(2), (2, BootId(BOOT.0 + 1), 0, 100));
    assert_eq!(seen[0].batch.names, names());
    assert_genuine(&seen, 100);
    let reader = journal.reader();
    assert_eq!(
        (reader.oldest().unwrap(), reader.newest().unwrap(), reader.next_index().unwrap()),
        (Some(0), Some(2), 3)
    );
    assert!(reader.block_at_or_after(3).unwrap().is_none());
}

#[test]
fn cursors_are_durable_with_the_next_commit() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    journal.register_cursors(&["cloud"]).unwrap();
    journal.append(&[batch(0, 0, 100)]).unwrap();
    let reader = journal.reader();
    assert_eq!(reader.cursor("cloud").unwrap(), Some(at(0, 0)));
    assert_eq!(reader.pending(at(0, 0)).unwrap(), 100);
    reader.save_cursor("cloud", at(0, 40)).unwrap();
    assert!(journal.has_cursors_to_save());
    journal.append(&[]).unwrap();
    assert!(!journal.has_cursors_to_save());
    drop((journal, reader));

    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    journal.register_cursors(&["cloud", "new"]).unwrap();
    let reader = journal.reader();
    assert_eq!(reader.cursor("cloud").unwrap(), Some(at(0, 40)));
    assert_eq!(reader.pending(at(0, 40)).unwrap(), 60);
    assert_eq!(reader.cursor("new").unwrap(), Some(at(1, 0)), "a new output starts with what comes");
    assert_eq!(reader.pending(at(1, 0)).unwrap(), 0);
    let unknown = reader.save_cursor("other", at(1, 0)).unwrap_err();
    assert!(matches!(unknown, JournalError::UnknownCursor { name } if name == "other"));
    assert!(matches!(journal.register_cursors(&[""]), Err(JournalError::CursorName { .. })));
}

#[test]
fn accounts_name_the_numbers_that_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    journal.append(&[batch(0, 10, 100), batch(1, 0, 50)]).unwrap();
    journal.append(&[batch(0, 110, 100)]).unwrap();
    journal.append(&[batch(0, 250, 100)]).unwrap();
    let accounts = journal.reader().accounts().unwrap();
    assert_eq!(accounts.len(), 2);
    let first = &accounts[0];
    assert_eq!((first.first_sequence, first.next_sequence, first.samples), (10, 350, 300));
    assert_eq!((first.missing, first.holes.as_slice(), first.blocks_out_of_order), (40, &[(210, 250)][..], 0));
    assert_eq!((accounts[1].samples, accounts[1].missing), (50, 0));
}

#[test]
fn the_thread_commits_as_a_group_and_everything_when_the_channel_closes() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), 64 * MIB);
    config.commit = Nanos::from_millis(50);
    let mut journal = Journal::open(&config, BOOT).unwrap();
    // However long the tests before this one took: all batches have one clock.
    journal.set_keep(Nanos::from_millis(3_600_000));
    journal.register_cursors(&["cloud"]).unwrap();
    let reader = journal.reader();
    let (sender, receiver) = crossbeam_channel::bounded(1024);
    let writer = spawn_writer(journal, receiver).unwrap();
    let beat = writer.heartbeat();
    for i in 0..500u64 {
        sender.send(batch(0, i * 10, 10)).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(reader.wait_beyond(0, Duration::from_secs(5)));
    let first = reader.block_at_or_after(0).unwrap().unwrap();
    assert!(first.batch.samples > 10, "one block of many batches, not {} samples", first.batch.samples);
    // Cursors alone are committed too.
    reader.save_cursor("cloud", at(1, 0)).unwrap();
    let commits = writer.stats().commits.load(Relaxed);
    let end = Instant::now() + Duration::from_secs(5);
    while writer.stats().commits.load(Relaxed) < commits + 1 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    sender.send(batch(0, 5000, 7)).unwrap();
    drop(sender);
    let stats = writer.stats();
    assert!(writer.heartbeat() > beat);
    let end = writer.join().unwrap();
    assert!(end.error.is_none() && end.samples_unsaved == 0);
    assert_eq!(stats.samples_stored.load(Relaxed), 5007);
    assert_eq!(stats.state(), JournalState::Ok);
    assert!(stats.commits.load(Relaxed) < 40, "{} commits", stats.commits.load(Relaxed));
    let accounts = reader.accounts().unwrap();
    assert_eq!((accounts[0].samples, accounts[0].missing), (5007, 0));
    assert_eq!(reader.cursor("cloud").unwrap(), Some(at(1, 0)));
}

#[test]
fn waiting_ends_with_the_commit_or_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    let reader = journal.reader();
    assert!(!reader.wait_beyond(0, Duration::from_millis(20)));
    let waiter = std::thread::spawn(move || reader.wait_beyond(0, Duration::from_secs(20)));
    std::thread::sleep(Duration::from_millis(50));
    journal.append(&[batch(0, 0, 1)]).unwrap();
    let start = Instant::now();
    assert!(waiter.join().unwrap());
    assert!(start.elapsed() < Duration::from_secs(10));
}
