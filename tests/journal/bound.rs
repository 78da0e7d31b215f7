//! The byte bound, and what may leave the log.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering::Relaxed;

use fieldbeat::store::Position;
use fieldbeat::tag::Nanos;

use crate::common::*;

#[test]
fn the_file_stays_within_the_bound_and_what_goes_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let bytes_max = 16 * MIB;
    let mut journal = open(dir.path(), bytes_max).unwrap();
    journal.register_cursors(&["cloud"]).unwrap();
    let reader = journal.reader();
    let stats = journal.stats();
    let mut sequence = 0;
    let mut random = fastrand::Rng::with_seed(1);
    let mut most = 0;
    while sequence < 6_000_000 {
        let samples = random.u32(1..40_000);
        journal.append(&[batch(0, sequence, samples)]).unwrap();
        sequence += samples as u64;
        most = most.max(std::fs::metadata(dir.path().join("data.mdb")).unwrap().blocks() * 512);
    }
    assert!(most <= bytes_max, "the file took {most} bytes of the disk");
    assert!(most > bytes_max / 2, "the bound is made use of: {most}");
    let account = &reader.accounts().unwrap()[0];
    let dropped = stats.samples_dropped.load(Relaxed);
    assert!(dropped > 0);
    assert_eq!(account.missing, 0);
    assert_eq!(stats.samples_stored.load(Relaxed), account.samples + dropped);
    assert_eq!(account.next_sequence, sequence);

    // The cursor's losses are its own, and it goes on at the oldest.
    let cursor = &reader.cursors().unwrap()[0];
    assert_eq!((cursor.position, cursor.samples_lost), (Position::default(), dropped));
    let first = reader.block_at_or_after(cursor.position.block).unwrap().unwrap();
    assert_eq!(Some(first.index), reader.oldest().unwrap());
    assert_eq!(first.batch.first_sequence, dropped);
    assert_eq!(reader.pending(cursor.position).unwrap(), account.samples);
    drop((journal, reader));
    let mut journal = open(dir.path(), bytes_max).unwrap();
    journal.register_cursors(&["cloud"]).unwrap();
    assert_eq!(journal.reader().cursors().unwrap()[0].samples_lost, dropped, "losses survive a restart");
}

#[test]
fn passed_blocks_stay_for_a_while_and_then_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    journal.register_cursors(&["fast", "slow"]).unwrap();
    let reader = journal.reader();
    for i in 0..10 {
        journal.append(&[batch(0, i * 10, 10)]).unwrap();
    }
    let position = |block, samples| Position { block, samples };
    reader.save_cursor("fast", position(10, 0)).unwrap();
    reader.save_cursor("slow", position(4, 9)).unwrap();
    journal.append(&[]).unwrap();
    assert_eq!(reader.oldest().unwrap(), Some(0), "a minute is not over");
    journal.set_keep(Nanos::ZERO);
    journal.append(&[]).unwrap();
    assert_eq!(reader.oldest().unwrap(), Some(4), "one sample of it is not passed");
    reader.save_cursor("slow", position(4, 10)).unwrap();
    journal.append(&[]).unwrap();
    assert_eq!(reader.oldest().unwrap(), Some(5));
    assert_eq!(journal.stats().samples_dropped.load(Relaxed), 0);

    // An output that is gone from the configuration holds nothing back.
    journal.register_cursors(&["fast"]).unwrap();
    journal.append(&[]).unwrap();
    assert_eq!((reader.oldest().unwrap(), reader.newest().unwrap()), (Some(9), Some(9)), "the newest stays");
    journal.append(&[batch(0, 100, 10)]).unwrap();
    assert_eq!(reader.newest().unwrap(), Some(10), "and numbers go on");
}

#[test]
fn without_outputs_blocks_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    journal.set_keep(Nanos::ZERO);
    for i in 0..10 {
        journal.append(&[batch(0, i * 10, 10)]).unwrap();
    }
    assert_eq!(journal.reader().oldest().unwrap(), Some(0));
}
