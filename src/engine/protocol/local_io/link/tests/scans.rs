//! Scans: values, statuses and edges of a thread, and what becomes of them when it does not answer.

use super::*;
use crate::limits::LOCAL_IO_REQUEST_ITEMS_MAX;

#[test]
fn each_release_asks_once_and_values_carry_the_time_of_their_access() {
    let mut bench = bench(LINK, ONE, answering(3 * MS, vec![Status::GOOD]));
    bench.run_to_ms(950);
    let asked = bench.device.borrow().asked.clone();
    assert_eq!(asked.len(), 10);
    assert!(asked.windows(2).all(|pair| pair[1].0 - pair[0].0 == 100 * MS), "{asked:?}");
    let samples = bench.samples();
    assert_eq!(samples.len(), 10);
    for (sample, (sent, _)) in samples.iter().zip(&asked) {
        assert_eq!((sample.t, sample.status()), (sent + 3 * MS / 2, Status::GOOD));
    }
    assert_eq!(bench.reading(0).0, 10);
    assert_eq!(bench.link().state(), LinkState::Up);
    bench.account_closes(0);
}

#[test]
fn a_tag_that_failed_is_held_beside_one_that_is_good() {
    let tags = [r#""address": "l:0x30:0x10:2""#, r#""address": "l:0x31:0x10:2""#, r#""address": "l:0x32:0x10:2""#];
    let statuses = vec![Status::GOOD, Status::BAD_DEVICE_FAILURE, Status::UNCERTAIN_UNITS_EXCEEDED];
    let mut bench = bench(LINK, &tags, answering(MS, statuses));
    bench.run_to_ms(350);
    assert_eq!(bench.reading(0).1, Status::GOOD);
    assert_eq!((bench.reading(1).1, bench.reading(1).2), (Status::BAD_DEVICE_FAILURE, 0));
    assert_eq!((bench.reading(2).0, bench.reading(2).1), (4, Status::UNCERTAIN_UNITS_EXCEEDED), "uncertain, but new");
    let told = bench.samples();
    assert_eq!(told.iter().filter(|sample| sample.tag == 1).count(), 1, "a status is told once");
    assert_eq!(told.iter().filter(|sample| sample.tag == 2).count(), 4);
}

#[test]
fn a_link_none_of_whose_devices_answers_is_silent_and_asked_on() {
    let mut bench = bench(LINK, ONE, answering(MS, vec![Status::BAD_DEVICE_FAILURE]));
    bench.run_to_ms(1_050);
    assert_eq!(bench.link().state(), LinkState::Silent);
    assert_eq!(bench.device.borrow().asked.len(), 11);
    assert_eq!(bench.link().exceptions.get(), 11);
    bench.account_closes(0);
    bench.device.borrow_mut().script = answering(MS, vec![Status::GOOD]);
    bench.run_to_ms(1_150);
    assert_eq!(bench.link().state(), LinkState::Up);
}

#[test]
fn a_thread_that_is_late_costs_a_timeout_and_its_answer_is_dropped() {
    let mut first = true;
    let mut answer = answering(MS, vec![Status::GOOD]);
    // The second scan hangs for 45 ms in the driver.
    let mut count = 0;
    let script: Script = Box::new(move |bytes, now| {
        count += 1;
        let mut told = answer(bytes, now);
        if count == 2 && std::mem::take(&mut first) {
            told[0].0 = 45 * MS;
        }
        told
    });
    let mut bench = bench(LINK, ONE, script);
    bench.run_to_ms(140);
    assert_eq!(bench.reading(0).1, Status::UNCERTAIN_LAST_USABLE);
    assert_eq!((bench.link().timeouts.get(), bench.link().late.get()), (1, 0));
    bench.run_to_ms(180);
    assert_eq!(bench.link().late.get(), 1);
    bench.run_to_ms(250);
    assert_eq!(bench.reading(0).1, Status::GOOD);
    assert_eq!(bench.counters.scan(crate::plan::ScanId(0)).deadline_misses.get(), 1);
    assert_eq!(bench.link().disconnects.get(), 0);
    bench.account_closes(0);
}

#[test]
fn a_thread_that_never_comes_back_is_given_up_and_its_tags_turn_bad() {
    let mut bench = bench(LINK, ONE, Box::new(|_, _| vec![]));
    bench.run_to_ms(400);
    assert_eq!(bench.device.borrow().asked.len(), 1, "it is not asked again while it hangs");
    let closed = bench.closed.pop().unwrap();
    assert_eq!((closed.conn, closed.reason), (Conn(7), CloseReason::Silent));
    assert_eq!(bench.reading(0).1, Status::BAD_NO_COMMUNICATION);
    assert_eq!(bench.link().state(), LinkState::Down);
    assert!(bench.link().suppressed.get() >= 2);
    bench.account_closes(0);
    // Its device comes back.
    bench.device.borrow_mut().script = answering(MS, vec![Status::GOOD]);
    bench.connected.push(Connected { link: LinkId(0), conn: Conn(8), target: 0 }).unwrap();
    bench.run_to_ms(550);
    assert_eq!((bench.reading(0).1, bench.link().state()), (Status::GOOD, LinkState::Up));
    assert_eq!(bench.link().connects.get(), 2);
}

#[test]
fn a_device_that_disappears_leaves_its_last_value_uncertain_and_then_bad() {
    let mut bench = bench(LINK, ONE, answering(MS, vec![Status::GOOD]));
    bench.run_to_ms(150);
    let (value, _, t) = bench.reading(0);
    bench.device.borrow_mut().closed = true;
    bench.run_to_ms(180);
    assert_eq!(bench.reading(0), (value, Status::UNCERTAIN_LAST_USABLE, t));
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Lost);
    bench.run_to_ms(400);
    assert_eq!(bench.reading(0), (value, Status::BAD_NO_COMMUNICATION, t));
    bench.account_closes(0);
}

#[test]
fn edges_go_to_image_and_ring_at_once_with_their_own_time() {
    let tags = [r#""address": "l:3", "edge": "both""#];
    let link = r#""protocol": "gpio", "chip": "/dev/gpiochip0", "timeout_ms": 20"#;
    let mut bench = bench(link, &tags, answering(MS, vec![Status::GOOD]));
    bench.run_to_ms(50);
    let mut datagram = Datagram::default();
    datagram.edges(5);
    for (t, value) in [(51 * MS, 1), (52 * MS, 0), (53 * MS, 1)] {
        datagram.entry(Entry { t: Nanos(t), value, status: Status::GOOD, item: 0 });
    }
    bench.device.borrow_mut().under_way.push((54 * MS, datagram.bytes().to_vec()));
    bench.run_to_ms(95);
    assert_eq!(bench.reading(0), (1, Status::GOOD, 53 * MS), "between two beats");
    let told: Vec<_> = bench.samples().iter().skip(1).map(|s| (s.t, s.value)).collect();
    assert_eq!(told, [(51 * MS, 1), (52 * MS, 0), (53 * MS, 1)]);
    assert_eq!(bench.link().lost.get(), 5);
}

#[test]
fn what_is_no_answer_of_ours_ends_the_connection() {
    let wrong: [fn(u32, u32) -> Vec<u8>; 4] = [
        |_, _| vec![9; 40],
        |request, sequence| {
            let mut datagram = Datagram::default();
            datagram.scanned(request, sequence + 1);
            datagram.bytes().to_vec()
        },
        // One entry too few.
        |request, sequence| {
            let mut datagram = Datagram::default();
            datagram.scanned(request, sequence);
            datagram.bytes().to_vec()
        },
        // An edge of a tag that is none.
        |_, _| {
            let mut datagram = Datagram::default();
            datagram.edges(0);
            datagram.entry(Entry { t: Nanos(1), value: 1, status: Status::GOOD, item: 99 });
            datagram.bytes().to_vec()
        },
    ];
    for answer in wrong {
        let script: Script = Box::new(move |bytes, _| {
            let Some(Asked::Scan { request, sequence }) = wire::asked(bytes) else { panic!() };
            vec![(MS, answer(request, sequence))]
        });
        let mut bench = bench(LINK, ONE, script);
        bench.run_to_ms(50);
        assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Garbage);
        assert_eq!((bench.link().garbage.get(), bench.link().aborted.get()), (1, 1));
        bench.account_closes(0);
    }
}

#[test]
fn one_entry_too_many_is_seen_at_the_longest_request_too() {
    let tags: Vec<String> = (0..LOCAL_IO_REQUEST_ITEMS_MAX)
        .map(|n| format!(r#""address": "l:0x{:02x}:{}:2""#, 0x10 + n / 100, n % 100))
        .collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let script: Script = Box::new(move |bytes, now| {
        let Some(Asked::Scan { request, sequence }) = wire::asked(bytes) else { panic!() };
        let mut datagram = Datagram::default();
        datagram.scanned(request, sequence);
        let entry = Entry { t: Nanos(now), value: 1, status: Status::GOOD, item: 0 };
        (0..LOCAL_IO_REQUEST_ITEMS_MAX).for_each(|_| datagram.entry(entry));
        let mut bytes = datagram.bytes().to_vec();
        bytes.extend([7; 24]);
        vec![(MS, bytes)]
    });
    let mut bench = bench(LINK, &tags, script);
    bench.run_to_ms(50);
    assert_eq!(bench.closed.pop().unwrap().reason, CloseReason::Garbage);
    assert!(bench.samples().iter().all(|sample| sample.status().is_bad()));
}

#[test]
fn a_link_of_the_same_work_goes_on_with_its_thread_and_another_one_does_not() {
    let plan = planned_for_test(LINK, ONE);
    let other = planned_for_test(LINK, &[r#""address": "l:0x30:0x11:2""#]);
    let follower = |new: &Plan| {
        let mut bench = bench(LINK, ONE, answering(MS, vec![Status::GOOD]));
        bench.run_to_ms(50);
        let mut old = LocalIoLink::new(LinkId(0), own(&plan), &plan);
        let floor = bench.executor.floor_for_test();
        Link::<Scripted>::adopt(&mut old, Conn(9), Nanos(0), floor);
        let mut link = LocalIoLink::following(LinkId(0), own(new), new, own(&plan));
        link.take_over(&mut old, Nanos(50 * MS), floor);
        link.connection.is_some()
    };
    assert!(follower(&plan));
    assert!(!follower(&other), "its thread would read something else");
}

#[test]
fn what_did_not_change_is_not_told_again_and_a_status_that_is_held_keeps_its_value() {
    let tags = [r#""address": "l:0x30:0x10:2""#, r#""address": "l:0x31:0x10:2""#];
    let mut beat = 0;
    let script: Script = Box::new(move |bytes, now| {
        let Some(Asked::Scan { request, sequence }) = wire::asked(bytes) else { panic!() };
        beat += 1;
        let mut datagram = Datagram::default();
        datagram.scanned(request, sequence);
        let item = if beat == 1 { wire::NEW } else { wire::UNCHANGED };
        datagram.entry(Entry { t: Nanos(now), value: 7, status: Status::GOOD, item });
        let status = if beat == 3 { Status::UNCERTAIN_LAST_USABLE } else { Status::GOOD };
        datagram.entry(Entry { t: Nanos(now), value: beat, status, item: wire::NEW });
        vec![(MS, datagram.bytes().to_vec())]
    });
    let mut bench = bench(LINK, &tags, script);
    bench.run_to_ms(150);
    let before = bench.reading(1);
    bench.run_to_ms(250);
    assert_eq!(bench.reading(0), (7, Status::GOOD, MS));
    assert_eq!(bench.reading(1), (before.0, Status::UNCERTAIN_LAST_USABLE, before.2));
    assert_eq!(bench.samples().iter().filter(|sample| sample.tag == 0).count(), 1);
    assert_eq!((bench.link().state(), bench.link().replies.get()), (LinkState::Up, 3));
}

#[test]
fn a_sample_that_comes_by_itself_and_is_bad_keeps_the_last_value() {
    let link = r#""protocol": "gpio", "chip": "/dev/gpiochip0", "timeout_ms": 20"#;
    let mut bench = bench(link, &[r#""address": "l:3", "edge": "both""#], answering(MS, vec![Status::GOOD]));
    bench.run_to_ms(50);
    let before = bench.reading(0);
    let mut datagram = Datagram::default();
    datagram.edges(0);
    datagram.entry(Entry { t: Nanos(51 * MS), value: 0, status: Status::BAD_SENSOR_FAILURE, item: 0 });
    bench.device.borrow_mut().under_way.push((54 * MS, datagram.bytes().to_vec()));
    bench.run_to_ms(95);
    assert_eq!(bench.reading(0), (before.0, Status::BAD_SENSOR_FAILURE, before.2));
}
