//! The audit of writes: durable before an order is given, bounded, and whole after a kill.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use fieldbeat::store::{AuditOutcome, AuditRecord, Journal, JournalReader};

use crate::common::*;
use crate::disk::SmallDisk;

fn record(number: u64, outcome: AuditOutcome) -> AuditRecord {
    AuditRecord {
        outcome,
        asked_utc_ns: number as i64,
        way: "mqtt".into(),
        who: "output cloud".into(),
        request: number.to_string(),
        tag: format!("tag{}", number % 7),
        new: number.to_string(),
        ..AuditRecord::default()
    }
}

fn append_for_ever(mut journal: Journal) {
    let mut next = journal.reader().accounts().unwrap().first().map_or(0, |account| account.next_sequence);
    loop {
        journal.append(&[batch(0, next, 500)]).unwrap();
        next += 500;
    }
}

/// The victim: begins a write, tells it, ends it, tells it; and samples go on beside it.
#[test]
fn victim() {
    let Some(path) = role() else { return };
    let journal = open(&path, 16 * MIB).unwrap();
    let audit = journal.audit();
    let samples = std::thread::spawn(move || append_for_ever(journal));
    loop {
        let number = audit.commit(&[record(0, AuditOutcome::Open)], &[]).unwrap();
        println!("begun {number}");
        audit.commit(&[], &[(number, record(number, AuditOutcome::Done))]).unwrap();
        println!("ended {number}");
        assert!(!samples.is_finished());
    }
}

#[test]
fn what_was_begun_and_what_was_ended_is_there_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut begun, mut ended) = (None, None);
    for round in 0..10 {
        let mut victim = Role::start("audit::victim", dir.path());
        let lines = BufReader::new(victim.0.stdout.take().unwrap()).lines();
        let delay = Duration::from_micros(random.u64(50_000..400_000));
        let killer = std::thread::spawn(move || {
            std::thread::sleep(delay);
            victim.kill();
        });
        for line in lines.map_while(Result::ok) {
            // The line may be cut by the kill.
            let number = |name: &str| line.split_once(name).and_then(|(_, number)| number.parse::<u64>().ok());
            begun = number("begun ").or(begun);
            ended = number("ended ").or(ended);
        }
        killer.join().unwrap();
        let journal = open(dir.path(), 16 * MIB).unwrap();
        let tail = journal.reader().audit(1_000_000).unwrap();
        assert_eq!((tail.damaged.len(), tail.dropped), (0, 0));
        let numbers: Vec<u64> = tail.records.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "round {round}: none is missing");
        assert!(begun.is_none_or(|begun| begun < numbers.len() as u64), "round {round}: {begun:?} was begun");
        let last_ended = ended.and_then(|ended| tail.records.get(ended as usize));
        assert!(last_ended.is_none_or(|(_, record)| record.outcome == AuditOutcome::Done), "round {round}");
    }
    assert!(ended.is_some_and(|ended| ended > 10), "{ended:?}: the victims worked");
}

#[test]
fn the_audit_keeps_to_its_bound_and_counts_what_it_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 16 * MIB).unwrap();
    let audit = journal.audit();
    let mut next = 0;
    // 64 at once, as many as the gateway records together: 2 MiB in a journal that gives its audit one.
    for _ in 0..80 {
        let records: Vec<AuditRecord> = (next..next + 64)
            .map(|number| AuditRecord { message: "x".repeat(400), ..record(number, AuditOutcome::Refused) })
            .collect();
        assert_eq!(audit.commit(&records, &[]).unwrap(), next);
        next += 64;
    }
    let tail = journal.reader().audit(usize::MAX).unwrap();
    assert_eq!(tail.records.len() as u64 + tail.dropped, next);
    assert!((1_000..2_600).contains(&tail.records.len()), "{}", tail.records.len());
    assert_eq!(tail.records.last().unwrap().0, next - 1);
    assert_eq!(tail.records.first().unwrap().0, tail.dropped);
    // The end of a write whose beginning is gone does not come back.
    audit.commit(&[], &[(0, record(0, AuditOutcome::Done))]).unwrap();
    assert_eq!(journal.reader().audit(usize::MAX).unwrap().records.first().unwrap().0, tail.dropped);
    drop((audit, journal));
    // Numbers go on after a new start.
    let journal = open(dir.path(), 16 * MIB).unwrap();
    assert_eq!(journal.audit().commit(&[record(next, AuditOutcome::Open)], &[]).unwrap(), next);
}

#[test]
fn the_newest_records_are_read_by_another_process() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), 16 * MIB).unwrap();
    let audit = journal.audit();
    for number in 0..10 {
        audit.commit(&[record(number, AuditOutcome::Done)], &[]).unwrap();
    }
    drop((audit, journal));
    let reader = JournalReader::open_read_only(dir.path()).unwrap();
    let tail = reader.audit(3).unwrap();
    let numbers: Vec<u64> = tail.records.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [7, 8, 9]);
    assert_eq!(tail.records[2].1, record(9, AuditOutcome::Done));
}

#[test]
fn on_a_full_disk_no_write_is_begun_and_one_under_way_is_ended() {
    let disk = SmallDisk::mount(24);
    let ballast = disk.ballast(8);
    let mut journal = open(&disk.path().join("journal"), 256 * MIB).unwrap();
    journal.register_cursors(&["cloud"]).unwrap();
    let audit = journal.audit();
    let number = audit.commit(&[record(0, AuditOutcome::Open)], &[]).unwrap();
    let mut sequence = 0;
    while journal.append(&[batch(0, sequence, 10_000)]).is_ok() {
        sequence += 10_000;
    }
    disk.fill();
    let error = audit.commit(&[record(1, AuditOutcome::Open)], &[]).unwrap_err();
    assert!(error.is_full() && error.to_string().contains("free space"), "{error}");
    audit.commit(&[], &[(number, record(number, AuditOutcome::Done))]).unwrap();
    let tail = journal.reader().audit(10).unwrap();
    assert_eq!((tail.records.len(), tail.records[0].1.outcome), (1, AuditOutcome::Done));
    std::fs::remove_file(ballast).unwrap();
    assert_eq!(audit.commit(&[record(1, AuditOutcome::Open)], &[]).unwrap(), number + 1);
}
