//! Brokers that go away, come back, break off in the middle, or never answer.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fieldbeat::config::{MqttConfig, MqttVersion};
use fieldbeat::output::OutputState;
use fieldbeat::tag::Nanos;

use super::journal::{MemoryJournal, Producer};
use super::peers::{Mosquitto, Subscriber, config, free_port, wait};
use super::{count, expect_settled, spawn};

#[test]
fn a_broker_restarted_in_mid_flow_gets_everything() {
    let mut broker = Mosquitto::started("");
    let subscriber = Subscriber::start(broker.port, &["-c", "-i", "watcher"]);
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 2, 2, 50);
    let mut output = spawn(&journal, &config(broker.port)).unwrap();
    for round in 0..200 {
        producer.blocks(4);
        std::thread::sleep(Duration::from_millis(10));
        if round % 80 == 40 {
            broker.terminate();
            broker.start();
        }
    }
    subscriber.expect_all(&producer.made(), 100);
    expect_settled(&journal, &mut output, &producer.made());
    assert_eq!(count(&output.stats.connects), 3);
}

#[test]
fn a_hundred_thousand_messages_that_piled_up_all_arrive() {
    let broker = Mosquitto::started("max_inflight_messages 0");
    // Before the output gets there: what nobody has subscribed to yet, a broker drops.
    let subscriber = Subscriber::start(broker.port, &[]);
    let way = free_port();
    let journal = MemoryJournal::default();
    // A message for each cycle: no two times are gathered.
    let mut producer = Producer::new(&journal, 1, 1, 5);
    let single = MqttConfig { batch: Nanos::ZERO, ..config(way) };
    let mut output = spawn(&journal, &single).unwrap();
    for _ in 0..100 {
        producer.blocks(1000);
    }
    wait("it has tried", || count(&output.stats.failures) > 1);
    assert!(output.stats.last_error().contains("refuses the connection"), "{}", output.stats.last_error());
    wait("the lag is told", || count(&output.stats.lag_blocks) == 100);
    let _proxy = Proxy::start_at(way, broker.port);
    let ledger = subscriber.expect_all(&producer.made(), 5);
    assert!(ledger.messages >= 100_000, "{} messages", ledger.messages);
    expect_settled(&journal, &mut output, &producer.made());
}

/// Between output and broker, so that a connection can be cut as a cable is.
pub struct Proxy {
    pub port: u16,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    pub fn start(to: u16) -> Proxy {
        Proxy::start_at(0, to)
    }

    fn start_at(port: u16, to: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let streams: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let cut = streams.clone();
        std::thread::spawn(move || {
            for inner in listener.incoming().map_while(Result::ok) {
                let Ok(outer) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else { continue };
                for (mut from, mut to) in
                    [(&inner, &outer), (&outer, &inner)].map(|(a, b)| (a.try_clone().unwrap(), b.try_clone().unwrap()))
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                cut.lock().unwrap().extend([inner, outer]);
            }
        });
        Proxy { port, streams }
    }

    pub fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn connections_cut_at_any_moment_lose_nothing_and_the_will_is_seen() {
    for version in [MqttVersion::V311, MqttVersion::V5] {
        let broker = Mosquitto::started("");
        let subscriber = Subscriber::start(broker.port, &[]);
        let proxy = Proxy::start(broker.port);
        let journal = MemoryJournal::default();
        let mut producer = Producer::new(&journal, 2, 3, 20);
        let mut output =
            spawn(&journal, &MqttConfig { version, batch: Nanos::from_millis(20), ..config(proxy.port) }).unwrap();
        let mut random = fastrand::Rng::with_seed(20);
        let mut connects = 0;
        for _ in 0..10 {
            // On a new connection, not still on the one that was cut.
            wait("online", || count(&output.stats.connects) > connects && output.stats.state() == OutputState::Online);
            connects = count(&output.stats.connects);
            for _ in 0..random.usize(1..15) {
                producer.blocks(3);
                std::thread::sleep(Duration::from_millis(random.u64(1..10)));
            }
            // Counted, not seen: it may be online again within a moment.
            let failures = count(&output.stats.failures);
            proxy.cut();
            wait("the cut is noticed", || count(&output.stats.failures) > failures);
        }
        subscriber.expect_all(&producer.made(), 60);
        wait("online at last", || output.stats.state() == OutputState::Online);
        expect_settled(&journal, &mut output, &producer.made());
        let statuses = || -> Vec<String> { subscriber.statuses().into_iter().map(|s| s.0).collect() };
        wait("the farewell", || statuses().last().is_some_and(|s| s == "offline"));
        let wills = statuses().iter().filter(|s| *s == "offline").count();
        assert!(wills > 5, "wills are published: {:?}", statuses());
    }
}

/// Answers CONNECT, if asked to, and nothing else.
fn mute_broker(connack: bool) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut bytes = [0u8; 4096];
                let mut first = connack;
                while stream.read(&mut bytes).is_ok_and(|n| n > 0) {
                    if std::mem::take(&mut first) {
                        stream.write_all(&[0x20, 2, 0, 0]).unwrap();
                    }
                }
            });
        }
    });
    port
}

#[test]
fn a_broker_that_never_answers_is_left_and_told() {
    let journal = MemoryJournal::default();
    Producer::new(&journal, 1, 1, 10).blocks(10);
    let outputs = [MqttVersion::V311, MqttVersion::V5]
        .map(|version| spawn(&journal, &MqttConfig { version, ..config(mute_broker(false)) }).unwrap());
    for output in outputs {
        wait("the silence is noticed", || output.stats.last_error().contains("gave no answer within 10 s"));
        assert_eq!(count(&output.stats.connects), 0);
        assert_eq!(output.stats.cursor().block, 0);
    }
}

#[test]
fn a_broker_that_acknowledges_nothing_is_left_and_the_cursor_stays() {
    let journal = MemoryJournal::default();
    Producer::new(&journal, 1, 1, 10).blocks(10);
    // The keep alive is 5 s: the lost ping is noticed by the second one, the stall after twice that.
    let mut output = spawn(&journal, &config(mute_broker(true))).unwrap();
    wait("the silence is noticed", || count(&output.stats.failures) > 0);
    let text = output.stats.last_error();
    assert!(text.contains("keep-alive ping") || text.contains("does not acknowledge"), "{text}");
    assert_eq!(output.stats.cursor().block, 0);
    assert!(count(&output.stats.messages_published) > 0);
    output.stop();
    assert_eq!(journal.saved("cloud"), None);
}

#[test]
fn a_stop_while_nothing_is_acknowledged_is_bounded_and_keeps_the_cursor() {
    let journal = MemoryJournal::default();
    Producer::new(&journal, 1, 1, 10).blocks(10);
    let mut output = spawn(&journal, &config(mute_broker(true))).unwrap();
    wait("in flight", || count(&output.stats.messages_published) > 0);
    let begun = std::time::Instant::now();
    output.stop();
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert_eq!(journal.saved("cloud"), None);
}

#[test]
fn blocks_that_the_journal_dropped_are_skipped_and_counted() {
    let mut broker = Mosquitto::prepared("");
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 2, 1, 10);
    broker.start();
    let mut output = spawn(&journal, &config(broker.port)).unwrap();
    producer.blocks(5);
    wait("the first blocks", || output.stats.cursor().block == 2);
    broker.terminate();
    wait("offline", || output.stats.state() != OutputState::Online);
    for _ in 0..10 {
        producer.blocks(5);
    }
    journal.drop_before(10);
    broker.start();
    wait("the rest", || output.stats.cursor().block == journal.next());
    output.stop();
    assert_eq!(count(&output.stats.blocks_skipped), 8);
    assert_eq!(count(&output.stats.samples_skipped), 8 * 50);
    assert_eq!(count(&output.stats.samples_acknowledged) + 8 * 50, producer.made().iter().sum::<u64>());
}

#[test]
fn a_journal_that_cannot_be_read_is_told_and_read_again() {
    let broker = Mosquitto::started("");
    let subscriber = Subscriber::start(broker.port, &[]);
    let journal = MemoryJournal::default();
    journal.set_broken(true);
    let mut producer = Producer::new(&journal, 1, 1, 10);
    producer.blocks(10);
    let mut output = spawn(&journal, &config(broker.port)).unwrap();
    wait("it is told", || output.stats.last_error() == "the journal cannot be read: checksum of block 7 is wrong");
    assert_eq!(output.stats.state(), OutputState::Online, "the connection stays");
    journal.set_broken(false);
    subscriber.expect_all(&producer.made(), 10);
    expect_settled(&journal, &mut output, &producer.made());
}

#[test]
fn a_stop_while_the_broker_is_away_is_quick() {
    let journal = MemoryJournal::default();
    Producer::new(&journal, 1, 1, 10).blocks(10);
    for port in [free_port(), mute_broker(false)] {
        let mut output = spawn(&journal, &config(port)).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let begun = std::time::Instant::now();
        output.stop();
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    }
    assert_eq!(journal.next(), 1);
}
