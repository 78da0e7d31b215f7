//! A full disk: a small file system in memory, mounted for the test.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fieldbeat::store::{Journal, JournalError, JournalState, Position, spawn_writer};
use fieldbeat::tag::Nanos;

use crate::common::*;
use crate::disk::SmallDisk;

/// Appends until the disk is full; returns the number that was refused.
fn append_until_full(journal: &mut Journal, mut sequence: u64) -> u64 {
    loop {
        match journal.append(&[batch(0, sequence, 10_000)]) {
            Ok(_) => sequence += 10_000,
            Err(error) => {
                assert!(matches!(error, JournalError::DiskFull { .. }), "{error}");
                assert!(error.to_string().contains("is full") && error.to_string().contains("free space"), "{error}");
                return sequence;
            }
        }
    }
}

fn assert_whole(journal: &Journal, first: u64, next: u64) {
    let account = &journal.reader().accounts().unwrap()[0];
    assert_eq!((account.first_sequence, account.next_sequence, account.missing), (first, next, 0));
    assert_genuine(&blocks(&journal.reader(), 0), 10_000);
}

#[test]
fn a_full_disk_harms_nothing_and_the_journal_goes_on_when_there_is_room() {
    let disk = SmallDisk::mount(24);
    let ballast = disk.ballast(8);
    let path = disk.path().join("journal");
    let mut journal = open(&path, 256 * MIB).unwrap();
    journal.set_keep(Nanos::ZERO);
    journal.register_cursors(&["cloud"]).unwrap();
    let refused = append_until_full(&mut journal, 0);
    assert!(refused >= 50_000, "{refused} samples fit");
    assert_eq!(journal.stats().state(), JournalState::Full);
    assert!(journal.stats().error().unwrap().contains("is full"));
    assert_whole(&journal, 0, refused);
    assert_eq!(append_until_full(&mut journal, refused), refused, "still full");

    // Room on the disk.
    std::fs::remove_file(ballast).unwrap();
    journal.append(&[batch(0, refused, 10_000)]).unwrap();
    assert_eq!((journal.stats().state(), journal.stats().error()), (JournalState::Ok, None));

    // Full again, and not one byte left: an output that goes on makes room inside the file.
    let refused = append_until_full(&mut journal, refused + 10_000);
    disk.fill();
    assert_eq!(append_until_full(&mut journal, refused), refused);
    let next = journal.reader().next_index().unwrap();
    journal.reader().save_cursor("cloud", Position { block: next - 10, samples: 0 }).unwrap();
    let mut tries = 0;
    while let Err(error) = journal.append(&[batch(0, refused, 10_000)]) {
        assert!(error.is_full(), "{error}");
        tries += 1;
        assert!(tries < 10, "removing passed blocks makes no room");
    }
    assert_eq!(journal.stats().samples_dropped.load(Relaxed), 0);
    assert_whole(&journal, (next - 10) * 10_000, refused + 10_000);
    drop(journal);

    // And the whole survives a restart on the full disk.
    let journal = open(&path, 256 * MIB).unwrap();
    assert_whole(&journal, (next - 10) * 10_000, refused + 10_000);
}

#[test]
fn a_journal_is_not_begun_on_a_full_disk() {
    let disk = SmallDisk::mount(2);
    let path = disk.path().join("journal");
    std::fs::create_dir(&path).unwrap();
    disk.fill();
    let Err(error) = open(&path, 64 * MIB) else { panic!("opened") };
    assert!(matches!(error, JournalError::DiskFull { .. }), "{error}");
}

#[test]
fn the_thread_holds_on_to_what_the_disk_refuses() {
    let disk = SmallDisk::mount(24);
    let ballast = disk.ballast(8);
    let path = disk.path().join("journal");
    let journal = open(&path, 256 * MIB).unwrap();
    let reader = journal.reader();
    let (sender, receiver) = crossbeam_channel::bounded(16);
    let writer = spawn_writer(journal, receiver).unwrap();
    let stats = writer.stats();
    // More than fits: the channel backs up instead of the memory.
    let mut sequence = 0;
    let mut refused = 0;
    let end = Instant::now() + Duration::from_secs(60);
    while refused < 20 {
        assert!(Instant::now() < end, "the channel never backs up");
        match sender.send_timeout(batch(0, sequence, 10_000), Duration::from_millis(50)) {
            Ok(()) => (sequence, refused) = (sequence + 10_000, 0),
            Err(_) => refused += 1,
        }
    }
    assert_eq!(stats.state(), JournalState::Full);
    let beat = writer.heartbeat();
    std::thread::sleep(Duration::from_millis(300));
    assert!(writer.heartbeat() > beat, "a full disk is no hanging thread");
    std::fs::remove_file(ballast).unwrap();
    drop(sender);
    let end = writer.join().unwrap();
    assert!(end.error.is_none(), "{:?}", end.error.map(|error| error.to_string()));
    assert_eq!(stats.samples_stored.load(Relaxed), sequence);
    let account = &reader.accounts().unwrap()[0];
    assert_eq!((account.samples, account.missing), (sequence, 0));
}

#[test]
fn what_is_given_up_at_the_end_is_counted() {
    let disk = SmallDisk::mount(16);
    let mut journal = open(&disk.path().join("journal"), 256 * MIB).unwrap();
    let refused = append_until_full(&mut journal, 0);
    disk.fill();
    let (sender, receiver) = crossbeam_channel::bounded(16);
    let writer = spawn_writer(journal, receiver).unwrap();
    for i in 0..5 {
        sender.send(batch(0, refused + i * 10_000, 10_000)).unwrap();
    }
    drop(sender);
    let start = Instant::now();
    let end = writer.join().unwrap();
    assert!(end.error.is_some_and(|error| error.is_full()));
    assert_eq!(end.samples_unsaved, 50_000);
    assert_eq!(end.journal.stats().samples_unsaved.load(Relaxed), 50_000);
    assert!(start.elapsed() < Duration::from_secs(15));
    assert_whole(&end.journal, 0, refused);
}
