//! Several brokers for one output: the next one after a failure, back to the first when it is well again.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fieldbeat::config::MqttConfig;
use fieldbeat::output::OutputState;
use fieldbeat::tag::Nanos;

use super::commands::{Taken, answers, is_done, mosquitto_pub, request, subscribed};
use super::journal::{MemoryJournal, Producer};
use super::ledger::Ledger;
use super::peers::{Mosquitto, Subscriber, config, wait};
use super::{count, expect_settled, spawn};

fn two(first: &Mosquitto, second: &Mosquitto) -> MqttConfig {
    MqttConfig {
        more: vec![("127.0.0.1".into(), second.port)],
        return_after: Nanos::from_millis(1_500),
        batch: Nanos::from_millis(20),
        ..config(first.port)
    }
}

#[test]
fn samples_go_to_the_second_broker_while_the_first_is_away_and_none_is_lost_or_skipped() {
    let (mut first, second) = (Mosquitto::started(""), Mosquitto::started(""));
    let watchers = [Subscriber::start(first.port, &["-c", "-i", "watcher"]), Subscriber::start(second.port, &[])];
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 2, 2, 20);
    let mut output = spawn(&journal, &two(&first, &second)).unwrap();
    let mut flow = |blocks: u32| {
        for _ in 0..blocks {
            producer.blocks(4);
            std::thread::sleep(Duration::from_millis(10));
        }
        producer.made()
    };
    let server = || output.stats.server.load(Relaxed);
    flow(30);
    wait("the first broker", || count(&output.stats.messages_acknowledged) > 0);
    assert_eq!(server(), 0);
    for _ in 0..2 {
        first.terminate();
        flow(10);
        wait("the second broker", || server() == 1 && output.stats.state() == OutputState::Online);
        assert!(output.stats.last_error().contains(&first.port.to_string()), "{}", output.stats.last_error());
        flow(20);
        first.start();
        std::thread::sleep(Duration::from_millis(1_000));
        assert_eq!(server(), 1, "not before the set time is over");
        flow(20);
        wait("the first broker again", || server() == 0 && output.stats.state() == OutputState::Online);
        flow(20);
    }
    let made = flow(1);
    let total: u64 = made.iter().sum();
    // What both brokers have got, together; each alone has only a part.
    let mut both = Ledger::of(40);
    wait("every sample", || {
        both = Ledger::of(40);
        watchers.iter().for_each(|watcher| {
            both.begin_anew();
            watcher.feed(&mut both);
        });
        both.samples == total
    });
    assert_eq!(both.missing(&made), "");
    assert!(both.gaps > 0, "who has one broker's messages alone sees that there were others");
    expect_settled(&journal, &mut output, &made);
    let statuses: Vec<String> = watchers[1].statuses().into_iter().map(|status| status.0).collect();
    assert_eq!(statuses, ["online", "offline", "online", "offline"], "the second broker is left cleanly");
}

#[test]
fn an_output_stays_with_the_second_broker_while_the_first_comes_and_goes() {
    let (mut first, second) = (Mosquitto::prepared(""), Mosquitto::started(""));
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 1, 1, 5);
    let mut output = spawn(&journal, &two(&first, &second)).unwrap();
    wait("the second broker", || output.stats.state() == OutputState::Online);
    for _ in 0..4 {
        first.start();
        std::thread::sleep(Duration::from_millis(500));
        first.terminate();
        producer.blocks(5);
        std::thread::sleep(Duration::from_millis(700));
    }
    assert_eq!(output.stats.server.load(Relaxed), 1);
    assert_eq!(count(&output.stats.connects), 1);
    wait("all of it", || output.stats.cursor().block == journal.next());
    let made = producer.made();
    expect_settled(&journal, &mut output, &made);
}

#[test]
fn requests_are_taken_where_the_list_of_brokers_says() {
    let (mut first, second) = (Mosquitto::prepared("log_type all"), Mosquitto::started("log_type all"));
    let watcher = Subscriber::start(second.port, &[]);
    let taken = Taken::start_with(&two(&first, &second));
    subscribed(&second);
    mosquitto_pub(second.port, &["-m", &request("a")]);
    wait("the answer", || is_done(&answers(&watcher), "a"));
    first.start();
    let watcher = Subscriber::start(first.port, &[]);
    subscribed(&first);
    mosquitto_pub(first.port, &["-m", &request("b")]);
    wait("the answer", || is_done(&answers(&watcher), "b"));
    drop(taken);
}
