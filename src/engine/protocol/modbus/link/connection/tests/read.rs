//! Reads over TCP: every cycle, and what happens when devices are silent, late, wrong or gone.

use super::*;

#[test]
fn every_cycle_brings_every_tag_its_own_register() {
    let mut bench = bench(vec![(vec![3, 4, 9], good())], None);
    bench.run_ms(1000);
    let cycles = bench.counters.scans[0].cycles.get();
    assert_eq!(cycles, 100);
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    let samples = bench.drain();
    assert_eq!(samples.len(), 300);
    for s in &samples {
        assert_eq!(s.value, [3, 4, 9][s.tag as usize]);
        assert_eq!(s.status(), Status::GOOD);
    }
    assert_eq!(bench.image.read(2).unwrap().value, 9);
    let sent = bench.requests.borrow().len() as u64;
    assert_eq!(sent, cycles, "one request a cycle");
}

#[test]
fn a_stall_is_skipped_and_counted_and_the_phase_is_kept() {
    let mut bench = bench(vec![(vec![1], good())], Some((200 * MS, 55 * MS)));
    bench.run_ms(1000);
    let scan = &bench.counters.scans[0];
    assert_eq!(scan.cycles.get() + scan.skipped.get(), 100);
    assert_eq!(scan.skipped.get(), 5);
    let beats: Vec<(u64, u64, u64)> = std::iter::from_fn(|| bench.reports.pop().ok())
        .filter_map(|r| match r {
            Report::Released { due, nominal, actual, .. } => Some((due.0, nominal.0, actual.0)),
            _ => None,
        })
        .collect();
    assert!(beats.iter().all(|(_, nominal, _)| nominal % (PERIOD_MS * MS) == MS), "the phase is kept");
    assert!(beats.windows(2).all(|w| w[1].1 > w[0].1), "no burst");
    let late: Vec<_> = beats.iter().filter(|(due, nominal, _)| due != nominal).collect();
    let [(due, nominal, actual)] = late[..] else { panic!("one release stands for those that were skipped: {late:?}") };
    assert_eq!((*due, nominal - due), (201 * MS, 5 * PERIOD_MS * MS));
    assert!((55 * MS..56 * MS).contains(&(actual - due)), "it says how late it was for the first of them: {late:?}");
}

#[test]
fn a_silent_device_costs_the_others_nothing_and_its_tags_say_so() {
    let mut bench = bench(vec![(vec![1], good()), (vec![2], good())], None);
    bench.run_ms(200);
    let read_at = bench.image.read(1).unwrap().t;
    assert!(read_at > 0);
    bench.device(1).script = Some(silent());
    bench.run_ms(50);
    assert_eq!(bench.status(1), Status::UNCERTAIN_LAST_USABLE);
    let held = bench.image.read(1).unwrap();
    assert!(held.t <= 250 * MS && held.value == 2, "the old value with its old time");
    bench.run_ms(5_000);
    assert_eq!(bench.status(1), Status::BAD_NO_COMMUNICATION);
    assert_eq!(bench.counters.scans[0].cycles.get(), bench.counters.scans[1].cycles.get());
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    assert!(bench.counters.scans[1].deadline_misses.get() > 400);
    assert_eq!(bench.counters.links[1].state(), LinkState::Down, "half open for all we know: a new connection");
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Silent);
}

#[test]
fn a_device_that_comes_back_is_good_again_within_a_probe() {
    let mut bench = bench(vec![(vec![1], good())], None);
    bench.run_ms(100);
    bench.device(0).script = Some(silent());
    bench.run_ms(1_000);
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Silent);
    bench.device(0).script = Some(good());
    bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
    bench.run_ms(50);
    assert_eq!(bench.status(0), Status::GOOD);
    assert_eq!(bench.counters.links[0].state(), LinkState::Up);
}

#[test]
fn a_late_reply_is_dropped_and_never_taken_for_another_request() {
    let slow: Script = Box::new(|request| vec![(45 * MS, honest(request))]);
    let mut bench = bench(vec![(vec![7], slow)], None);
    bench.run_ms(300);
    assert!(bench.counters.links[0].late.get() > 0);
    assert_eq!(bench.counters.links[0].replies.get(), 0);
    assert_eq!(bench.counters.links[0].foreign.get(), 0);
    assert!(bench.drain().iter().all(|s| s.has_no_value()), "no value was accepted");
}

#[test]
fn wrong_transactions_and_wrong_units_are_foreign() {
    let wrong: Script = Box::new(|request| {
        let mut transaction = honest(request);
        transaction[0] ^= 0x55;
        let mut unit = honest(request);
        unit[6] = 9;
        vec![(MS, transaction), (MS + 1, unit)]
    });
    let mut bench = bench(vec![(vec![7], wrong)], None);
    bench.run_ms(25);
    assert!(bench.counters.links[0].foreign.get() >= 2);
    assert_eq!(bench.counters.links[0].replies.get(), 0);
}

#[test]
fn garbage_ends_the_connection_and_half_a_frame_only_its_request() {
    let garbage: Script = Box::new(|_| vec![(MS, b"\xDE\xAD\xBE\xEF\x00".to_vec())]);
    let half: Script = Box::new(|request| vec![(MS, honest(request)[..8].to_vec())]);
    let mut bench = bench(vec![(vec![1], garbage), (vec![2], half), (vec![3], good())], None);
    bench.run_ms(40);
    assert_eq!(bench.counters.links[0].garbage.get(), 1);
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Garbage);
    assert_eq!(bench.counters.links[1].timeouts.get(), 1);
    assert_eq!(bench.counters.scans[2].deadline_misses.get(), 0);
}

#[test]
fn a_frame_in_single_bytes_is_put_together() {
    let pieces: Script = Box::new(|request| {
        honest(request).into_iter().enumerate().map(|(i, b)| (MS / 10 * (i as u64 + 1), vec![b])).collect()
    });
    let mut bench = bench(vec![(vec![5], pieces)], None);
    bench.run_ms(500);
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    assert_eq!(bench.status(0), Status::GOOD);
}

#[test]
fn an_exception_is_a_device_failure_and_no_miss() {
    let refusing: Script = Box::new(|request| vec![(MS, exception(request, 4))]);
    let mut bench = bench(vec![(vec![5], refusing)], None);
    bench.run_ms(105);
    assert_eq!(bench.status(0), Status::BAD_DEVICE_FAILURE);
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    assert_eq!(bench.drain().len(), 1, "told once, not every cycle");
}

#[test]
fn a_refused_address_is_found_and_its_neighbours_go_on() {
    let partly: Script = Box::new(|request| {
        let first = u16::from_be_bytes([request[8], request[9]]);
        let count = u16::from_be_bytes([request[10], request[11]]);
        let bad = first <= 6 && 6 < first + count;
        vec![(MS / 10, if bad { exception(request, 2) } else { honest(request) })]
    });
    let mut bench = bench(vec![((0..12).collect(), partly)], None);
    bench.run_ms(200);
    for tag in 0..12 {
        let expected = if tag == 6 { Status::BAD_CONFIGURATION_ERROR } else { Status::GOOD };
        assert_eq!(bench.status(tag), expected, "tag {tag}");
    }
    let before = bench.counters.links[0].exceptions.get();
    bench.run_ms(700);
    assert_eq!(bench.counters.links[0].exceptions.get(), before, "it is left alone");
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
}

#[test]
fn a_lost_connection_holds_values_then_gives_them_up() {
    let mut bench = bench(vec![(vec![5], good())], None);
    bench.run_ms(100);
    bench.device(0).closed = true;
    bench.run_ms(30);
    assert_eq!(bench.status(0), Status::UNCERTAIN_LAST_USABLE, "a cycle was missed");
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Ended);
    bench.run_ms(200);
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
    assert_eq!(bench.image.read(0).unwrap().value, 5);
}

#[test]
fn what_was_given_up_is_not_usable_again_before_it_is_read() {
    let mut bench = bench(vec![(vec![5], good())], None);
    bench.run_ms(100);
    bench.device(0).closed = true;
    bench.run_ms(300);
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
    bench.drain();
    for reason in [CloseReason::Ended, CloseReason::Lost, CloseReason::Lost] {
        assert_eq!(bench.closed.pop().unwrap().reason, reason);
        bench.connected.push(Connected { link: LinkId(0), conn: Conn(0), target: 0 }).unwrap();
        bench.run_ms(100);
    }
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
    assert!(bench.drain().is_empty(), "nothing new is told of a device that accepts and drops");
}

#[test]
fn a_request_is_twelve_bytes_and_its_account_closes() {
    let mut bench = bench(vec![(vec![5], good()), (vec![6], silent())], None);
    bench.run_ms(2_000);
    assert!(bench.requests.borrow().iter().all(|(_, r)| r.len() == 12));
    for link in [LinkId(0), LinkId(1)].map(|id| bench.counters.link(id)) {
        let ended = link.replies.get() + link.exceptions.get() + link.timeouts.get() + link.aborted.get();
        assert!(link.requests.get() - ended <= 1, "at most the one in flight is open");
    }
    let delivered = bench.drain().len() as u64;
    assert_eq!(bench.counters.produced(), delivered + bench.counters.dropped());
}

#[test]
fn nothing_is_missed_while_the_first_connection_has_time_and_everything_after() {
    let mut bench = bench(vec![(vec![5], good())], None);
    let _ = std::iter::from_fn(|| bench.executor.take_connection_for_test()).count();
    bench.run_ms(150);
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 0);
    assert_eq!(bench.status(0), Status::BAD_WAITING_FOR_INITIAL_DATA);
    bench.run_ms(500);
    assert!(bench.counters.scans[0].deadline_misses.get() > 40);
    assert_eq!(bench.status(0), Status::BAD_NO_COMMUNICATION);
    let samples = bench.drain();
    assert_eq!(samples.len(), 1);
    assert!(samples[0].has_no_value());
}

#[test]
fn a_device_that_refused_all_for_a_while_is_read_in_whole_blocks_again() {
    let mut bench = bench(vec![((0..12).collect(), good())], None);
    bench.run_ms(100);
    bench.device(0).script = Some(Box::new(|request| vec![(MS / 10, exception(request, 2))]));
    bench.run_ms(100);
    assert!((0..12).all(|tag| bench.status(tag) == Status::BAD_CONFIGURATION_ERROR));
    bench.device(0).script = Some(good());
    bench.run_ms(31_000);
    assert!((0..12).all(|tag| bench.status(tag) == Status::GOOD));
    let before = bench.requests.borrow().len();
    bench.run_ms(1_000);
    assert_eq!(bench.requests.borrow().len() - before, 100, "one request a cycle, as before");
}

#[test]
fn what_was_missed_in_one_cycle_is_not_missed_again_in_the_next() {
    let mut asked = 0;
    // The first request is lost, the second is answered late but within its time; then all is well.
    let once: Script = Box::new(move |request| {
        asked += 1;
        match asked {
            1 => vec![],
            2 => vec![(15 * MS, honest(request))],
            _ => vec![(MS / 10, honest(request))],
        }
    });
    let mut bench = bench(vec![(vec![1, 500], once)], None);
    bench.run_ms(500);
    // Released at 1, 11, 21, 31: the first request is open to 31; 31: the second one is open to 46.
    assert_eq!(bench.counters.scans[0].deadline_misses.get(), 4);
}
