//! Two processes and one journal.

use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use fieldbeat::store::{JournalError, JournalReader, JournalState, Position};

use crate::common::*;

/// Follows the journal like `tail`, and tells each block.
#[test]
fn follower() {
    let Some(path) = role() else { return };
    let reader = JournalReader::open_read_only(&path).unwrap();
    let mut index = 0;
    loop {
        while let Some(block) = reader.block_at_or_after(index).unwrap() {
            assert_genuine(std::slice::from_ref(&block), 100);
            assert_eq!(block.batch.names, names());
            println!("block {} {}", block.index, block.batch.first_sequence + block.batch.samples as u64);
            index = block.index + 1;
        }
        reader.wait_beyond(index, Duration::from_secs(1));
    }
}

#[test]
fn another_process_follows_while_the_gateway_writes() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    let follower = &mut Role::start("processes::follower", dir.path());
    let (sender, receiver) = std::sync::mpsc::channel();
    let stdout = follower.0.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, text)) = line.split_once("block ") {
                sender.send(text.to_owned()).unwrap();
            }
        }
    });
    for i in 0..50u64 {
        journal.append(&[batch(0, i * 100, 100)]).unwrap();
        let seen = receiver.recv_timeout(Duration::from_secs(20)).expect("the follower sees the block");
        assert_eq!(seen, format!("{i} {}", (i + 1) * 100));
    }
}

#[test]
fn a_reader_of_another_process_sees_cursors_but_saves_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), 16 * MIB).unwrap();
    journal.register_cursors(&["cloud"]).unwrap();
    journal.append(&[batch(0, 0, 100)]).unwrap();
    let position = Position { block: 0, samples: 5 };
    journal.reader().save_cursor("cloud", position).unwrap();
    journal.append(&[]).unwrap();
    drop(journal);
    let reader = JournalReader::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.cursor("cloud").unwrap(), Some(position));
    assert_eq!((reader.oldest().unwrap(), reader.newest().unwrap()), (Some(0), Some(0)));
    assert!(matches!(reader.save_cursor("cloud", position), Err(JournalError::ReadOnly { .. })));
    assert!(!reader.wait_beyond(1, Duration::from_millis(30)));
}

/// Holds the journal as its writer.
#[test]
fn owner() {
    let Some(path) = role() else { return };
    let _journal = open(&path, 16 * MIB).unwrap();
    println!("owned");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_second_writer_is_told_who_has_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = Role::start("processes::owner", dir.path());
    let mut lines = BufReader::new(owner.0.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("owned")));
    let Err(error) = open(dir.path(), 16 * MIB) else { panic!("two writers") };
    assert!(matches!(error, JournalError::Owned { pid: Some(pid), .. } if pid == owner.0.id()), "{error}");
    assert!(error.to_string().contains(&format!("in use by process {}", owner.0.id())), "{error}");
    owner.kill();
    open(dir.path(), 16 * MIB).unwrap();
}

/// Stays in the middle of a read until it is killed.
#[test]
fn stuck_reader() {
    let Some(path) = role() else { return };
    // SAFETY: the file is changed by LMDB alone.
    let env = unsafe {
        let mut options = heed::EnvOpenOptions::new().read_txn_without_tls();
        options.flags(heed::EnvFlags::READ_ONLY);
        options.open(&path).unwrap()
    };
    let _txn = env.read_txn().unwrap();
    println!("reading");
    std::io::stdout().flush().unwrap();
    std::thread::sleep(Duration::from_secs(120));
}

#[test]
fn a_stuck_reader_makes_the_file_grow_to_its_map_and_no_further() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path(), MIB).unwrap();
    journal.append(&[batch(0, 0, 100)]).unwrap();
    let mut stuck = Role::start("processes::stuck_reader", dir.path());
    let mut lines = BufReader::new(stuck.0.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("reading")));
    let mut sequence = 100u64;
    let end = Instant::now() + Duration::from_secs(100);
    let error = loop {
        assert!(Instant::now() < end, "the map is never full");
        let batches: Vec<_> = (0..4).map(|i| batch(0, sequence + i * 60_000, 60_000)).collect();
        match journal.append(&batches) {
            Ok(_) => sequence += 240_000,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, JournalError::MapFull { .. }), "{error}");
    assert_eq!(journal.stats().state(), JournalState::Full);
    stuck.kill();
    // What waited is stored once the reader is gone.
    journal.append(&[batch(0, sequence, 100)]).unwrap();
    let account = &journal.reader().accounts().unwrap()[0];
    assert_eq!((account.next_sequence, account.missing), (sequence + 100, 0));
}
