//! Paths that hold no journal of ours, and journals that were damaged.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use fieldbeat::store::{JournalError, JournalReader};
use heed::byteorder::BigEndian;
use heed::types::{Bytes, Str, U64};
use heed::{CommitOrAbort, Database, EnvOpenOptions};

use crate::common::*;

fn error(path: &Path) -> JournalError {
    open(path, 16 * MIB).err().expect("refused")
}

/// As zlib's, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

/// Changes one record behind the journal's back.
pub fn with_table<K: 'static>(path: &Path, name: &str, change: impl Fn(&Database<'_, K, Bytes>, &mut heed::RwTxn<'_>)) {
    // SAFETY: nobody else has the file open.
    let env = unsafe { EnvOpenOptions::new().map_size(4 << 30).max_dbs(4).open(path).unwrap() };
    let txn = env.write_txn().unwrap();
    env.create_databases_and_commit(txn, |make, txn| {
        let table = make.create_database::<K, Bytes>(txn, Some(name))?;
        change(&table, txn);
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(()))
    })
    .unwrap();
}

#[test]
fn a_path_that_is_no_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below"), "/proc/nowhere".into()] {
        let error = error(&path);
        assert!(matches!(error, JournalError::NotCreatable { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_file_that_is_no_journal_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data.mdb"), vec![7u8; 100_000]).unwrap();
    assert!(matches!(error(dir.path()), JournalError::NotAJournal { .. }));
    assert_eq!(std::fs::read(dir.path().join("data.mdb")).unwrap(), vec![7u8; 100_000]);

    let other = tempfile::tempdir().unwrap();
    with_table::<Str>(other.path(), "users", |table, txn| table.put(txn, "ann", b"1").unwrap());
    assert!(matches!(error(other.path()), JournalError::NotAJournal { .. }));
}

#[test]
fn a_journal_of_a_newer_format_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), 16 * MIB).unwrap());
    with_table::<Str>(dir.path(), "meta", |table, txn| {
        let mut mark = table.get(txn, "format").unwrap().unwrap().to_vec();
        let at = mark.len() - 4;
        mark[at] = 99;
        table.put(txn, "format", &mark).unwrap();
        table.put(txn, "format_check", &crc32(&mark).to_le_bytes()).unwrap();
    });
    let error = error(dir.path());
    assert!(matches!(error, JournalError::NewerFormat { found: 99, .. }), "{error}");
    let Err(read_only) = JournalReader::open_read_only(dir.path()) else { panic!("opened") };
    assert!(matches!(read_only, JournalError::NewerFormat { found: 99, .. }), "{read_only}");
}

#[test]
fn a_journal_of_an_older_format_is_not_touched_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), 16 * MIB).unwrap());
    with_table::<Str>(dir.path(), "meta", |table, txn| {
        let mut mark = table.get(txn, "format").unwrap().unwrap().to_vec();
        let at = mark.len() - 4;
        mark[at] = 1;
        table.put(txn, "format", &mark).unwrap();
        // That version had none.
        table.delete(txn, "format_check").unwrap();
    });
    let error = error(dir.path());
    assert!(matches!(error, JournalError::OlderFormat { found: 1, .. }), "{error}");
    assert!(error.to_string().contains("older version"), "{error}");
    let Err(read_only) = JournalReader::open_read_only(dir.path()) else { panic!("opened") };
    assert!(matches!(read_only, JournalError::OlderFormat { found: 1, .. }), "{read_only}");

    // As the older one was: without one of our tables.
    let older = tempfile::tempdir().unwrap();
    with_table::<Str>(older.path(), "meta", |table, txn| {
        table.put(txn, "format", b"fieldbeat journal \x01\0\0\0").unwrap();
    });
    let error = self::error(older.path());
    assert!(matches!(error, JournalError::OlderFormat { found: 1, .. }), "{error}");
}

#[test]
fn a_block_without_its_names_is_skipped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    for (i, names) in ["a", "b", "c"].into_iter().enumerate() {
        journal.append(&[batch_under(&names_of(names), 0, i as u64 * 100, 100)]).unwrap();
    }
    drop(journal);
    with_table::<U64<BigEndian>>(dir.path(), "dictionaries", |table, txn| {
        assert!(table.delete(txn, &0).unwrap());
        // Both heads of the names, of which one is enough.
        let mut bytes = table.get(txn, &1).unwrap().unwrap().to_vec();
        let last = bytes.len() - 1;
        bytes[3] ^= 1;
        bytes[last] ^= 1;
        table.put(txn, &1, &bytes).unwrap();
    });
    let reader = JournalReader::open_read_only(dir.path()).unwrap();
    let seen: Vec<_> = blocks(&reader, 0).iter().map(|block| block.index).collect();
    assert_eq!((seen, reader.stats().blocks_corrupt.load(Relaxed)), (vec![2], 2));
}

#[test]
fn a_missing_journal_is_not_made_by_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("none")] {
        let Err(error) = JournalReader::open_read_only(&path) else { panic!("opened") };
        assert!(matches!(error, JournalError::Missing { .. }), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_damaged_block_is_skipped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    for i in 0..5 {
        journal.append(&[batch(0, i * 100, 100)]).unwrap();
    }
    drop(journal);
    with_table::<U64<BigEndian>>(dir.path(), "blocks", |table, txn| {
        for (index, at) in [(1u64, 300), (3, 20)] {
            let mut bytes = table.get(txn, &index).unwrap().unwrap().to_vec();
            bytes[at] ^= 1;
            table.put(txn, &index, &bytes).unwrap();
        }
    });
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    let reader = journal.reader();
    let seen: Vec<_> = blocks(&reader, 0).iter().map(|block| block.index).collect();
    assert_eq!(seen, [0, 2, 4]);
    assert_eq!(reader.stats().blocks_corrupt.load(Relaxed), 2);
    journal.append(&[batch(0, 500, 100)]).unwrap();
    assert_eq!(reader.newest().unwrap(), Some(5));
    // The header of block 3 is gone, and with it 100 numbers.
    assert_eq!(reader.accounts().unwrap()[0].holes, [(300, 400)]);
}
