//! Commands in every state, full rings, the end.

use super::*;
use crate::limits::CONNECT_PAUSE_MIN;

#[test]
fn a_new_link_is_dialled_at_once_and_handed_to_its_executor() {
    let mut bench = Bench::new(2, 4, 1);
    bench.tell(add(7, 1, "a"));
    assert_eq!(bench.dialling(7), ["a".into()]);
    bench.accept(7);
    assert!(bench.sides[1].has.contains_key(&LinkId(7)) && bench.sides[0].has.is_empty());
    assert_eq!(bench.note(7), Some(LinkNote::default()));
    bench.stop();
}

#[test]
fn a_link_of_an_executor_that_is_not_there_is_refused() {
    let mut bench = Bench::new(1, 4, 1);
    bench.tell(add(0, 1, "a"));
    assert!(bench.dialling(0).is_empty());
    assert_eq!(bench.note(0), None);
    bench.stop();
}

#[test]
fn a_waiting_link_with_another_target_is_dialled_at_once() {
    let mut bench = Bench::with_link();
    for _ in 0..8 {
        bench.until_dialled(0);
        bench.refuse(0, "refused");
    }
    assert!(bench.dialling(0).is_empty());
    bench.tell(retarget(0, "b"));
    assert_eq!(bench.dialling(0), ["b".into()]);
    assert_eq!(bench.note(0), Some(LinkNote::default()));
    // Its pauses start small again.
    bench.refuse(0, "refused");
    assert!(bench.until_dialled(0) <= CONNECT_PAUSE_MIN);
    bench.stop();
}

#[test]
fn an_attempt_at_the_old_target_is_discarded() {
    let mut bench = Bench::with_link();
    bench.tell(retarget(0, "b"));
    assert_eq!(bench.dialling(0), ["a".into(), "b".into()]);
    bench.accept(0);
    assert_eq!((bench.conn(0), bench.open()), (None, 0));
    bench.accept(0);
    assert_eq!(bench.host(0), Some("b".into()));
    bench.stop();
}

#[test]
fn a_failed_attempt_at_the_old_target_is_no_trouble_of_the_new_one() {
    let mut bench = Bench::with_link();
    bench.tell(retarget(0, "b"));
    bench.refuse(0, "refused");
    assert_eq!(bench.note(0), Some(LinkNote::default()));
    assert_eq!(bench.dialling(0), ["b".into()]);
    bench.stop();
}

#[test]
fn a_connected_link_with_another_target_is_dialled_when_the_old_connection_comes_back() {
    for reason in [CloseReason::Removed, CloseReason::Lost] {
        let mut bench = Bench::connected();
        bench.tell(retarget(0, "b"));
        bench.wait(ms(5_000));
        assert!(bench.dialling(0).is_empty(), "an executor never has two connections of a link");
        bench.give_back(0, reason);
        assert_eq!(bench.dialling(0), ["b".into()], "without a pause");
        assert_eq!(bench.note(0), Some(LinkNote::default()));
        bench.accept(0);
        assert_eq!(bench.host(0), Some("b".into()));
        bench.stop();
    }
}

#[test]
fn what_comes_back_in_the_same_step_as_the_command_is_understood_as_its_result() {
    let mut bench = Bench::connected();
    bench.commands.push(retarget(0, "b"));
    bench.give_back(0, CloseReason::Removed);
    assert_eq!(bench.dialling(0), ["b".into()]);
    bench.stop();
}

#[test]
fn the_same_target_again_changes_nothing() {
    let mut bench = Bench::connected();
    bench.tell(retarget(0, "a"));
    bench.give_back(0, CloseReason::Lost);
    assert!(bench.dialling(0).is_empty());
    assert_eq!(bench.note(0).unwrap().trouble, "connection lost");
    assert!(bench.until_dialled(0) >= Nanos(CONNECT_PAUSE_MIN.0 / 2));
    bench.stop();
}

#[test]
fn a_connection_that_is_given_back_without_a_command_is_made_again_without_a_word() {
    let mut bench = Bench::connected();
    bench.give_back(0, CloseReason::Removed);
    assert_eq!(bench.note(0), Some(LinkNote::default()));
    for _ in 0..10 {
        let pause = bench.until_dialled(0);
        assert!(pause >= Nanos(CONNECT_PAUSE_MIN.0 / 2) && pause <= CONNECT_PAUSE_MIN, "{pause:?}");
        bench.accept(0);
        bench.give_back(0, CloseReason::Removed);
    }
    bench.stop();
}

#[test]
fn a_waiting_link_that_is_removed_is_not_dialled_again() {
    let mut bench = Bench::with_link();
    bench.refuse(0, "refused");
    bench.tell(remove(0));
    assert_eq!(bench.note(0), None);
    bench.wait(ms(60_000));
    assert!(bench.dialling(0).is_empty());
    bench.stop();
}

#[test]
fn what_comes_of_a_removed_links_attempt_is_closed() {
    for trouble in [None, Some("refused")] {
        let mut bench = Bench::with_link();
        bench.tell(remove(0));
        bench.end_attempt(0, trouble);
        bench.step();
        bench.adopt();
        assert_eq!((bench.conn(0), bench.open()), (None, 0));
        assert_eq!(bench.note(0), None);
        bench.wait(ms(60_000));
        assert!(bench.dialling(0).is_empty());
        bench.stop();
    }
}

#[test]
fn a_removed_links_connection_is_closed_when_it_comes_back() {
    let mut bench = Bench::connected();
    bench.tell(remove(0));
    assert_eq!((bench.open(), bench.note(0)), (1, None));
    bench.give_back(0, CloseReason::Removed);
    assert_eq!((bench.open(), bench.note(0)), (0, None));
    bench.wait(ms(60_000));
    assert!(bench.dialling(0).is_empty());
    bench.stop();
}

#[test]
fn a_new_link_with_an_old_id_waits_for_the_old_connection_and_is_not_disturbed_by_it() {
    let mut bench = Bench::connected();
    bench.tell(remove(0));
    bench.tell(add(0, 0, "new"));
    bench.wait(ms(3_000));
    assert!(bench.dialling(0).is_empty());
    bench.give_back(0, CloseReason::Garbage);
    assert_eq!(bench.dialling(0), ["new".into()], "without a pause");
    assert_eq!(bench.note(0), Some(LinkNote::default()), "the old one's trouble is not the new one's");
    bench.accept(0);
    assert_eq!(bench.host(0), Some("new".into()));
    // The same number as the old connection had, and yet another one.
    bench.give_back(0, CloseReason::Lost);
    assert_eq!(bench.note(0).unwrap().failures, 1);
    bench.stop();
}

#[test]
fn an_attempt_of_an_old_link_is_not_taken_for_one_of_the_new_link() {
    let mut bench = Bench::with_link();
    bench.tell(remove(0));
    bench.tell(add(0, 0, "new"));
    assert_eq!(bench.dialling(0), ["a".into(), "new".into()]);
    bench.accept(0);
    assert_eq!((bench.conn(0), bench.open()), (None, 0));
    bench.accept(0);
    assert_eq!(bench.host(0), Some("new".into()));
    bench.stop();
}

#[test]
fn a_link_that_moves_to_another_executor_is_with_one_at_a_time() {
    let mut bench = Bench::new(2, 4, 3);
    bench.tell(add(0, 0, "a"));
    bench.accept(0);
    bench.tell(add(0, 1, "a"));
    assert!(bench.dialling(0).is_empty());
    bench.give_back(0, CloseReason::Removed);
    bench.accept(0);
    assert!(bench.sides[0].has.is_empty() && bench.sides[1].has.len() == 1);
    bench.stop();
}

#[test]
fn a_connection_that_nobody_is_known_to_have_is_closed_and_disturbs_nothing() {
    let mut bench = Bench::connected();
    let stray = |bench: &mut Bench, link, fd| {
        bench.dialed.borrow_mut().open.insert(fd, (LinkId(link), target("?")));
        bench.dialed.borrow_mut().opened += 1;
        let (link, conn) = (LinkId(link), Conn(fd));
        let (reason, served) = (CloseReason::Lost, Served::Unknown);
        let closed = Closed { link, conn, reason, served, cause: None, again_at: Nanos::ZERO };
        bench.sides[0].closed.push(closed).unwrap();
        bench.step();
    };
    stray(&mut bench, 500, 77);
    stray(&mut bench, 0, 78);
    assert_eq!(bench.open(), 1);
    assert_eq!(bench.note(0), Some(LinkNote::default()));
    bench.wait(ms(20_000));
    assert!(bench.dialling(0).is_empty(), "it is still connected");
    bench.stop();
}

#[test]
fn a_connection_for_which_the_ring_has_no_room_is_closed_and_made_again() {
    let mut bench = Bench::new(1, 2, 5);
    for link in 0..4 {
        bench.tell(add(link, 0, "a"));
        bench.end_attempt(link, None);
        bench.step();
    }
    assert_eq!(bench.open(), 2, "the executor has not looked, its ring is full");
    let tried = bench.dialed.borrow().started;
    bench.wait(ms(300));
    assert!(bench.dialed.borrow().started > tried, "they are tried again");
    assert_eq!(bench.note(3), Some(LinkNote::default()), "it is not the device's fault");
    bench.stop();
}

#[test]
fn no_more_is_handed_out_than_the_executor_can_give_back() {
    let mut bench = Bench::new(1, 2, 5);
    for link in 0..4 {
        bench.tell(add(link, 0, "a"));
        bench.accept(link);
    }
    assert_eq!(bench.sides[0].has.len(), 2);
    let has: Vec<LinkId> = bench.sides[0].has.keys().copied().collect();
    for link in has {
        assert!(bench.sides[0].give_back(link, CloseReason::Lost));
    }
    bench.stop();
}

#[test]
fn where_there_is_no_room_to_dial_the_longest_overdue_goes_first() {
    let mut bench = Bench::new(1, 64, 9);
    bench.dialed.borrow_mut().room = Some(2);
    for link in 0..40 {
        bench.commands.push(add(link, 0, "a"));
    }
    bench.step();
    assert_eq!(bench.dialed.borrow().under_way.len(), 2);
    assert!(bench.due <= bench.now + CONNECT_POLL, "it is tried again at the next step");
    // Dead hosts: each attempt takes its time, and none is tried a second time before all were tried once.
    let mut tried = Vec::new();
    while tried.len() < 40 {
        bench.wait(ms(500));
        let next = bench.dialed.borrow().under_way[0].0.link;
        tried.push(next.0);
        bench.end_attempt_at(0, Some("timed out"));
        bench.step();
    }
    tried.sort_unstable();
    assert_eq!(tried, (0..40).collect::<Vec<u16>>());
    bench.stop();
}

#[test]
fn at_the_end_everything_is_closed_wherever_it_is() {
    let mut bench = Bench::new(1, 16, 2);
    for link in 0..5 {
        bench.tell(add(link, 0, "a"));
    }
    // One with the executor, one in its ring, one removed and out, one come about but not settled, one under way.
    bench.accept(0);
    bench.accept(2);
    bench.tell(remove(2));
    bench.end_attempt(1, None);
    bench.step();
    bench.end_attempt(3, None);
    assert_eq!(bench.open(), 4);
    bench.stop();
}

#[test]
fn an_executor_that_stops_gets_no_new_connection() {
    let mut bench = Bench::connected();
    bench.give_back(0, CloseReason::Stopped);
    bench.tell(retarget(0, "b"));
    bench.wait(ms(60_000));
    assert!(bench.dialling(0).is_empty());
    bench.stop();
}
