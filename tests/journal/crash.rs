//! kill -9 at any moment: what was reported as committed is there.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use crate::common::*;

const SAMPLES: u32 = 500;

/// The victim: appends for ever, and tells each committed number.
#[test]
fn victim() {
    let Some(path) = role() else { return };
    let mut journal = open(&path, 16 * MIB).unwrap();
    journal.register_cursors(&["cloud"]).unwrap();
    let mut next = journal.reader().accounts().unwrap().first().map_or(0, |account| account.next_sequence);
    loop {
        // A reload every now and then, to which the executors come one after the other.
        let names = |after: u64| names_of(&((next / u64::from(SAMPLES) + after) / 3).to_string());
        let batches = [batch_under(&names(0), 0, next, SAMPLES), batch_under(&names(1), 1, next, SAMPLES)];
        journal.append(&batches).unwrap();
        next += SAMPLES as u64;
        println!("committed {next}");
    }
}

#[test]
fn nothing_that_was_committed_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut committed = 0;
    for round in 0..20 {
        let mut victim = Role::start("crash::victim", dir.path());
        let lines = BufReader::new(victim.0.stdout.take().unwrap()).lines();
        // Some rounds kill it during its start.
        let delay = Duration::from_micros(random.u64(0..150_000));
        let killer = std::thread::spawn(move || {
            std::thread::sleep(delay);
            victim.kill();
        });
        for line in lines.map_while(Result::ok) {
            if let Some((_, number)) = line.split_once("committed ") {
                // The line may be cut by the kill.
                committed = number.parse().map_or(committed, |number: u64| committed.max(number));
            }
        }
        killer.join().unwrap();

        let mut journal = open(dir.path(), 16 * MIB).unwrap();
        journal.register_cursors(&["cloud"]).unwrap();
        let accounts = journal.reader().accounts().unwrap();
        for account in &accounts {
            assert_eq!((account.missing, account.blocks_out_of_order), (0, 0), "round {round}: {account:?}");
            assert!(account.next_sequence >= committed, "round {round}: {committed} was committed: {account:?}");
        }
        assert!(committed == 0 || accounts.len() == 2, "round {round}: {accounts:?}");
        let reader = journal.reader();
        let all = blocks(&reader, 0);
        assert_genuine(&all, SAMPLES);
        let held = reader.next_index().unwrap() - reader.oldest().unwrap().unwrap_or(0);
        assert_eq!(all.len() as u64, held, "round {round}: every block has its names");
        for block in all {
            let change = block.batch.first_sequence / u64::from(SAMPLES) + u64::from(block.batch.lane.0);
            assert_eq!(block.batch.names, names_of(&(change / 3).to_string()), "round {round}");
        }
    }
    assert!(committed > 0, "no round lived long enough to commit");
}
