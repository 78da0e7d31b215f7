//! Blocks are read under the names that they were written with, whatever came after; names go with their blocks.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fieldbeat::store::{BootId, Journal, JournalReader, Position};
use fieldbeat::tag::{Dictionary, DictionaryTag, Nanos};

use crate::common::*;

/// Index and gateway of each block, and that its tags are that gateway's.
fn told(reader: &JournalReader) -> Vec<(u64, String)> {
    let told = blocks(reader, 0).into_iter().map(|block| {
        let gateway = block.batch.names.gateway.clone();
        assert_eq!(block.batch.names, names_of(&gateway));
        (block.index, gateway)
    });
    told.collect()
}

fn listed(told: &[(u64, &str)]) -> Vec<(u64, String)> {
    told.iter().map(|(index, gateway)| (*index, gateway.to_string())).collect()
}

/// The names that are stored, by their first block.
fn stored(journal: &Journal) -> Vec<u64> {
    journal.names_stored().unwrap().iter().map(|id| id.0).collect()
}

fn pass(journal: &mut Journal, block: u64) {
    journal.reader().save_cursor("cloud", Position { block, samples: 0 }).unwrap();
    journal.append(&[]).unwrap();
}

#[test]
fn each_block_keeps_the_names_it_was_written_under() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(names_of);
    // The executors change over one after the other, within commits and between them.
    journal.append(&[batch_under(&a, 0, 0, 10), batch_under(&a, 1, 0, 10), batch_under(&b, 0, 10, 10)]).unwrap();
    journal.append(&[batch_under(&a, 1, 10, 10)]).unwrap();
    journal.append(&[batch_under(&b, 1, 20, 10), batch_under(&c, 0, 20, 10), batch_under(&c, 0, 30, 10)]).unwrap();
    let expected = listed(&[(0, "a"), (1, "a"), (2, "b"), (3, "a"), (4, "b"), (5, "c")]);
    assert_eq!(told(&journal.reader()), expected);
    assert_eq!(stored(&journal), [0, 2, 5]);
    assert_genuine(&blocks(&journal.reader(), 0), 10);
    drop(journal);
    assert_eq!(told(&JournalReader::open_read_only(dir.path()).unwrap()), expected);

    // Another boot: equal names are stored again, each block has its own boot's.
    let mut journal = Journal::open(&config(dir.path(), 16 * MIB), BootId(BOOT.0 + 1)).unwrap();
    journal.append(&[batch_under(&c, 0, 0, 10)]).unwrap();
    assert_eq!(told(&journal.reader())[..6], expected);
    let last = journal.reader().block_at_or_after(6).unwrap().unwrap();
    assert_eq!((last.boot, last.batch.names), (BootId(BOOT.0 + 1), c));
}

#[test]
fn equal_names_are_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    for i in 0..10 {
        // Equal, and never the same.
        journal.append(&[batch(0, i * 20, 10), batch(0, i * 20 + 10, 10), batch(1, i * 10, 10)]).unwrap();
    }
    assert_eq!(stored(&journal), [0]);
    assert_eq!(journal.reader().next_index().unwrap(), 20, "they share blocks");
}

#[test]
fn names_go_with_the_last_block_that_needs_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    journal.set_keep(Nanos::ZERO);
    journal.register_cursors(&["cloud"]).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(names_of);
    for (i, (executor, names)) in [(0, &a), (0, &b), (1, &a), (1, &b), (0, &c)].into_iter().enumerate() {
        journal.append(&[batch_under(names, executor, i as u64 * 10, 10)]).unwrap();
    }
    assert_eq!(stored(&journal), [0, 1, 4]);
    pass(&mut journal, 2);
    assert_eq!(stored(&journal), [0, 1, 4], "block 2 is told in the first names");
    pass(&mut journal, 3);
    assert_eq!(stored(&journal), [1, 4]);
    assert_eq!(told(&journal.reader()), listed(&[(3, "b"), (4, "c")]));

    // The rest after the next start, in which nothing is known of who used what but what is stored.
    drop(journal);
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    journal.set_keep(Nanos::ZERO);
    journal.register_cursors(&["cloud"]).unwrap();
    pass(&mut journal, 4);
    assert_eq!(stored(&journal), [4]);
    journal.append(&[batch_under(&a, 0, 0, 10)]).unwrap();
    pass(&mut journal, 5);
    assert_eq!(stored(&journal), [5]);
    assert_eq!(told(&journal.reader()), listed(&[(5, "a")]));
}

#[test]
fn names_that_came_back_stay_with_their_new_blocks_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    journal.set_keep(Nanos::ZERO);
    journal.register_cursors(&["cloud"]).unwrap();
    let [a, b] = ["a", "b"].map(names_of);
    for (i, names) in [&a, &b, &a].into_iter().enumerate() {
        journal.append(&[batch_under(names, 0, i as u64 * 10, 10)]).unwrap();
    }
    pass(&mut journal, 2);
    assert_eq!(stored(&journal), [0], "the newer names went first");
    for i in 3..6 {
        journal.append(&[batch_under(&a, 0, i * 10, 10)]).unwrap();
    }
    drop(journal);
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    journal.set_keep(Nanos::ZERO);
    journal.register_cursors(&["cloud"]).unwrap();
    pass(&mut journal, 5);
    assert_eq!(told(&journal.reader()), listed(&[(5, "a")]));
}

#[test]
fn thousands_of_reloads_leave_no_trace_once_their_blocks_are_passed() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    journal.set_keep(Nanos::ZERO);
    journal.register_cursors(&["cloud"]).unwrap();
    let used = |journal: &Journal| journal.stats().bytes_used.load(Relaxed);
    let mut early = 0;
    for commit in 0..200u64 {
        let reloads = commit * 50..(commit + 1) * 50;
        let batches: Vec<_> = reloads.map(|i| batch_under(&names_of(&i.to_string()), 0, i * 10, 10)).collect();
        journal.append(&batches).unwrap();
        let next = journal.reader().next_index().unwrap();
        pass(&mut journal, next);
        assert_eq!(stored(&journal), [next - 1]);
        if commit == 10 {
            early = used(&journal);
        }
    }
    assert_eq!(told(&journal.reader()), listed(&[(9_999, "9999")]));
    assert_eq!(used(&journal), early);
    assert_eq!(journal.stats().blocks_corrupt.load(Relaxed), 0);
}

#[test]
fn names_count_against_the_byte_bound_and_leave_with_what_it_drops() {
    let dir = tempfile::tempdir().unwrap();
    let bytes_max = 16 * MIB;
    let mut journal = open(dir.path(), bytes_max).unwrap();
    let large = |i: u64| {
        let tag = |at| DictionaryTag {
            name: format!("hall {i}, line {at}, temperature"),
            ty: 6,
            unit: "°C".into(),
            ..Default::default()
        };
        let tags = (0..2_000).map(tag).collect();
        Arc::new(Dictionary { gateway: i.to_string(), tags, groups: vec!["g".into()] })
    };
    // 70 KB of names each: more than twice the bound.
    for i in 0..600 {
        journal.append(&[batch_under(&large(i), 0, i * 100, 100)]).unwrap();
        let on_disk = std::fs::metadata(dir.path().join("data.mdb")).unwrap().blocks() * 512;
        // Some file systems count their own list of a file's extents.
        assert!(on_disk <= bytes_max + (64 << 10), "{on_disk} bytes on the disk after reload {i}");
    }
    let left = blocks(&journal.reader(), 0);
    assert!((50..300).contains(&left.len()), "{} blocks are left", left.len());
    for block in &left {
        assert_eq!(block.batch.names, large(block.index));
    }
    let indices: Vec<_> = left.iter().map(|block| block.index).collect();
    assert_eq!(stored(&journal), indices);
    assert_eq!(journal.stats().samples_dropped.load(Relaxed), (600 - left.len() as u64) * 100);
    assert_eq!(journal.stats().blocks_corrupt.load(Relaxed), 0);
}
