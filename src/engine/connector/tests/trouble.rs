//! Devices that refuse, come and go, or break together: pauses, storms, what people are told.

use super::*;
use crate::limits::{CONNECT_MENDED_AFTER, CONNECT_PAUSE_MAX, CONNECT_PAUSE_MIN, CONNECT_STABLE_AFTER};
use crate::rt::Served;
use crate::tag::{Block, Fault};

/// Pauses of a link that is refused until they are long.
fn refused(bench: &mut Bench, times: usize) -> Vec<Nanos> {
    (0..times)
        .map(|_| {
            bench.refuse(0, "refused");
            bench.until_dialled(0)
        })
        .collect()
}

#[test]
fn a_refused_link_is_tried_at_growing_distances_up_to_the_bound() {
    let mut bench = Bench::with_link();
    let mut full = CONNECT_PAUSE_MIN;
    for pause in refused(&mut bench, 12) {
        assert!(pause.0 >= full.0 / 2 && pause <= full, "{pause:?} of {full:?}");
        full = Nanos(full.0 * 2).min(CONNECT_PAUSE_MAX);
    }
    assert_eq!(full, CONNECT_PAUSE_MAX);
    bench.stop();
}

#[test]
fn after_a_stable_connection_the_pauses_start_small_again() {
    let mut bench = Bench::with_link();
    refused(&mut bench, 10);
    bench.accept(0);
    bench.wait(CONNECT_STABLE_AFTER + ms(1));
    bench.give_back(0, CloseReason::Lost);
    assert!(bench.until_dialled(0) <= CONNECT_PAUSE_MIN);
    bench.stop();
}

#[test]
fn a_link_that_was_well_for_a_moment_does_not_wait_for_the_trouble_before() {
    let mut bench = Bench::with_link();
    refused(&mut bench, 10);
    for _ in 0..10 {
        bench.accept(0);
        bench.wait(ms(2_000));
        bench.give_back(0, CloseReason::Lost);
        let pause = bench.until_dialled(0);
        assert!(pause >= ms(1_000) && pause <= ms(2_000), "{pause:?}");
    }
    bench.stop();
}

#[test]
fn a_device_that_accepts_and_drops_is_left_alone_for_longer_and_longer() {
    let mut bench = Bench::with_link();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        bench.accept(0);
        bench.wait(ms(30));
        bench.give_back(0, CloseReason::Lost);
        pauses.push(bench.until_dialled(0));
    }
    assert!(pauses[9] >= Nanos(CONNECT_PAUSE_MAX.0 / 2), "{pauses:?}");
    assert_eq!(bench.note(0).unwrap().failures, 10);
    bench.stop();
}

#[test]
fn a_device_that_closes_after_each_reply_is_dialled_at_once_and_is_no_trouble() {
    let mut bench = Bench::with_link();
    refused(&mut bench, 8);
    for life in [1, 1, 800, 1, 3_000, 1] {
        bench.accept(0);
        bench.wait(ms(life));
        bench.give_back_after(0, CloseReason::Ended, Served::Answered);
        assert_eq!(bench.dialling(0).len(), 1, "without a pause");
        assert_eq!(bench.note(0), Some(LinkNote::default()));
    }
    // It takes a moment until it accepts again.
    for _ in 0..3 {
        bench.refuse(0, "refused");
        assert_eq!(bench.note(0), Some(LinkNote::default()), "that is no trouble");
        assert!(bench.until_dialled(0) <= ms(80));
    }
    bench.accept(0);
    bench.give_back_after(0, CloseReason::Ended, Served::Answered);
    // It does not come back: as with any device.
    let pauses = refused(&mut bench, 14);
    assert!(pauses[0] <= ms(10) && pauses[13] >= Nanos(CONNECT_PAUSE_MAX.0 / 2), "{pauses:?}");
    assert_eq!(bench.note(0).unwrap().trouble, "refused");
    bench.stop();
}

#[test]
fn a_connection_that_was_idle_is_made_again_at_once_and_one_that_was_hardly_there_is_not() {
    let mut bench = Bench::connected();
    for _ in 0..5 {
        bench.wait(ms(800));
        bench.give_back_after(0, CloseReason::Ended, Served::Unasked);
        assert_eq!((bench.dialling(0).len(), bench.note(0)), (1, Some(LinkNote::default())));
        bench.accept(0);
    }
    let mut pauses = Vec::new();
    for _ in 0..10 {
        bench.wait(ms(30));
        bench.give_back_after(0, CloseReason::Ended, Served::Unasked);
        pauses.push(bench.until_dialled(0));
        bench.accept(0);
    }
    assert!(pauses[9] >= Nanos(CONNECT_PAUSE_MAX.0 / 2), "{pauses:?}");
    bench.stop();
}

#[test]
fn a_connection_is_judged_by_its_answers_and_not_by_how_long_it_lived() {
    let mut bench = Bench::with_link();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        bench.accept(0);
        bench.wait(ms(60_000));
        bench.give_back_after(0, CloseReason::Silent, Served::Unanswered);
        pauses.push(bench.until_dialled(0));
    }
    assert!(pauses[9] >= Nanos(CONNECT_PAUSE_MAX.0 / 2), "nothing was ever answered: {pauses:?}");
    for reason in [CloseReason::Lost, CloseReason::Garbage, CloseReason::Silent] {
        bench.accept(0);
        bench.give_back_after(0, reason, Served::Answered);
        assert!(bench.until_dialled(0) <= CONNECT_PAUSE_MIN, "{reason:?}");
        assert_eq!(bench.note(0).unwrap().trouble, super::super::notes::lost_text(reason, None).1);
    }
    bench.stop();
}

#[test]
fn links_lost_together_do_not_come_back_together() {
    let mut bench = Bench::new(1, 256, 4);
    for link in 0..100 {
        bench.commands.push(add(link, 0, "a"));
    }
    bench.step();
    for link in 0..100 {
        bench.accept(link);
    }
    bench.wait(ms(60_000));
    for link in 0..100 {
        assert!(bench.sides[0].give_back(LinkId(link), CloseReason::Lost));
    }
    bench.step();
    let mut dialled_at = Vec::new();
    let lost = bench.now;
    while dialled_at.len() < 100 {
        assert!(bench.now - lost <= CONNECT_PAUSE_MIN);
        bench.now = bench.due.min(bench.now + CONNECT_POLL);
        bench.step();
        dialled_at.resize(bench.dialed.borrow().under_way.len(), bench.now);
    }
    let (first, last) = (dialled_at[0] - lost, dialled_at[99] - lost);
    assert!(first >= Nanos(CONNECT_PAUSE_MIN.0 / 2) && last - first >= ms(90), "{first:?} {last:?}");
    for (at, time) in dialled_at.iter().enumerate() {
        let together = dialled_at[at..].iter().filter(|other| **other - *time < ms(10)).count();
        assert!(together <= 25, "{together} within 10 ms");
    }
    bench.stop();
}

#[test]
fn seeds_decide_and_nothing_else() {
    let run = |seed| {
        let mut bench = Bench::new(1, 8, seed);
        bench.tell(add(0, 0, "a"));
        refused(&mut bench, 20)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn notes_tell_the_trouble_and_count_until_it_is_mended() {
    let mut bench = Bench::with_link();
    bench.refuse(0, "refused");
    bench.until_dialled(0);
    bench.refuse(0, "no route");
    assert_eq!(bench.note(0), Some(LinkNote { trouble: "no route".to_owned(), failures: 2 }));
    bench.until_dialled(0);
    bench.accept(0);
    bench.wait(CONNECT_MENDED_AFTER - ms(1));
    assert_eq!(bench.note(0).unwrap().failures, 2, "it may not last");
    assert_eq!(bench.due, bench.now + ms(1));
    bench.wait(ms(1));
    assert_eq!(bench.note(0), Some(LinkNote::default()));
    for (reason, words) in [
        (CloseReason::Garbage, "not of the link's protocol"),
        (CloseReason::Silent, "connected, but no replies"),
        (CloseReason::Refused, "could not be monitored"),
    ] {
        bench.give_back(0, reason);
        assert!(bench.note(0).unwrap().trouble.contains(words));
        bench.until_dialled(0);
        bench.accept(0);
    }
    bench.stop();
}

thread_local! {
    /// What this thread logged, a line each, while someone wants to know.
    static LOGGED: std::cell::RefCell<Option<Vec<String>>> = const { std::cell::RefCell::new(None) };
}

/// One for the whole process: a subscriber of one thread only can lose lines that other threads log at its start.
struct Logbook;

struct Words(String);

impl tracing::field::Visit for Words {
    fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {value:?}"));
    }
}

impl tracing::Subscriber for Logbook {
    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::sometimes()
    }

    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        LOGGED.with_borrow(Option::is_some)
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut words = Words(event.metadata().level().to_string());
        event.record(&mut words);
        LOGGED.with_borrow_mut(|logged| logged.iter_mut().for_each(|lines| lines.push(words.0.clone())));
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// What a closure writes to the log, a line each.
fn logged(body: impl FnOnce()) -> Vec<String> {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Logbook).expect("no other test sets one"));
    LOGGED.set(Some(Vec::new()));
    body();
    LOGGED.take().unwrap_or_default()
}

#[test]
fn each_trouble_and_its_end_go_to_the_log_once() {
    let log = logged(|| {
        let mut bench = Bench::with_link();
        for _ in 0..5 {
            bench.refuse(0, "refused");
            bench.until_dialled(0);
        }
        for _ in 0..5 {
            bench.accept(0);
            bench.wait(ms(10));
            bench.give_back(0, CloseReason::Lost);
            bench.until_dialled(0);
        }
        bench.accept(0);
        bench.wait(ms(60_000));
        bench.give_back(0, CloseReason::Lost);
        bench.stop();
    });
    let told = |line: &str, level: &str, words: &str| line.contains(level) && line.contains(words);
    assert_eq!(log.len(), 4, "{log:#?}");
    assert!(told(&log[0], "WARN", "link \"l0\": refused; retrying until it works"), "{log:#?}");
    assert!(told(&log[1], "WARN", "link \"l0\": connection lost"), "{log:#?}");
    assert!(told(&log[2], "INFO", "link \"l0\": connected"), "{log:#?}");
    assert!(told(&log[3], "WARN", "link \"l0\": connection lost"), "{log:#?}");
}

#[test]
fn a_link_without_trouble_is_told_as_connected_at_once_also_at_its_new_target() {
    let log = logged(|| {
        let mut bench = Bench::connected();
        bench.tell(retarget(0, "b"));
        bench.give_back(0, CloseReason::Removed);
        bench.accept(0);
        bench.tell(remove(0));
        bench.give_back(0, CloseReason::Removed);
        bench.stop();
    });
    assert_eq!(log.len(), 2, "{log:#?}");
    assert!(log.iter().all(|line| line.contains("INFO") && line.contains("link \"l0\": connected")), "{log:#?}");
}

#[test]
fn replies_that_are_not_as_asked_are_told_as_what_they_are_with_the_key_and_less_and_less_often() {
    let block = Block { unit: 1, function: 3, first: 7, count: 1 };
    let cause = Cause::Read { block, fault: Fault::OtherUnit(255) };
    let not_as_asked = |bench: &mut Bench, cause| {
        // Between two of them all seems well.
        bench.accept(0);
        bench.wait(ms(1_500));
        let given = bench.sides[0].give_back_because(LinkId(0), CloseReason::Silent, Served::Unanswered, cause);
        assert!(given);
        bench.step();
        bench.until_dialled(0);
    };
    let log = logged(|| {
        let mut bench = Bench::with_link();
        (0..20).for_each(|_| not_as_asked(&mut bench, Some(cause)));
        assert!(bench.note(0).unwrap().trouble.contains("answered with unit id 255 instead of 1"));
        bench.stop();
    });
    let warned: Vec<&String> = log.iter().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warned.len(), 5, "the 1st, 2nd, 4th, 8th and 16th: {log:#?}");
    for line in warned {
        assert!(line.contains("\"any_unit_id\": true") && !line.contains("connected, but no replies"), "{line}");
    }
    let silent = logged(|| {
        let mut bench = Bench::with_link();
        not_as_asked(&mut bench, None);
        bench.stop();
    });
    assert!(silent.iter().any(|line| line.contains("connected, but no replies")), "{silent:#?}");
}

#[test]
fn a_connection_that_is_needed_later_is_made_a_little_before_or_when_there_is_other_work() {
    let mut bench = Bench::with_link();
    // The device takes 300 ms to accept.
    bench.wait(ms(300));
    bench.accept(0);
    let rest = |bench: &mut Bench, until| {
        bench.wait(ms(5_000));
        let link = LinkId(0);
        let conn = bench.sides[0].has.remove(&link).unwrap();
        let (reason, served) = (CloseReason::Ended, Served::Answered);
        bench.sides[0].closed.push(Closed { link, conn, reason, served, cause: None, again_at: until }).unwrap();
        bench.step();
    };
    let needed = bench.now + ms(35_000);
    rest(&mut bench, needed);
    assert!(bench.dialling(0).is_empty());
    let before = needed - bench.now - bench.until_dialled(0);
    assert!((ms(700)..ms(740)).contains(&before), "twice what it took, and a little: {before:?}");
    bench.accept(0);
    let needed = bench.now + ms(35_000);
    rest(&mut bench, needed);
    bench.tell(Command::Hurry { link: LinkId(0) });
    assert_eq!(bench.dialling(0).len(), 1);
    // What waits because its device is not well is not hurried.
    bench.refuse(0, "refused");
    for _ in 0..10 {
        bench.until_dialled(0);
        bench.refuse(0, "refused");
    }
    bench.tell(Command::Hurry { link: LinkId(0) });
    assert!(bench.dialling(0).is_empty());
    bench.stop();
}
