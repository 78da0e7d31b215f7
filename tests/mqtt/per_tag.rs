//! One topic per tag: retained values for who comes later, and the same account as with topics of groups.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fieldbeat::config::{MqttConfig, MqttVersion, TopicPer};
use fieldbeat::output::OutputState;
use fieldbeat::tag::{Batch, ClockPair, Dictionary, DictionaryTag, LaneId, Nanos, Sample, ScalarType, Texts, flags};

use super::consumer::consumed;
use super::journal::{BOOT, MemoryJournal, Producer, UTC_ZERO_NS, value_of};
use super::outages::Proxy;
use super::peers::{Mosquitto, PATIENCE, Received, Subscriber, config, wait};
use super::tag_message::{TagLedger, TagMessage};
use super::{count, expect_settled, spawn};

fn per_tag(port: u16) -> MqttConfig {
    MqttConfig { topic_per: TopicPer::Tag, topic: "fieldbeat/{gateway}/{tag}".into(), retain: true, ..config(port) }
}

/// Until every sample has come, each once or more, in the order of its tag.
fn expect_all(subscriber: &Subscriber, made: &[u64]) -> TagLedger {
    let mut ledger = TagLedger::default();
    let mut moved = (0, Instant::now());
    while ledger.samples < made.iter().sum() {
        let fresh = subscriber.fresh(ledger.fed());
        ledger.feed(&fresh);
        if ledger.samples > moved.0 {
            moved = (ledger.samples, Instant::now());
        }
        assert!(moved.1.elapsed() < PATIENCE, "{} of {made:?} samples came", ledger.samples);
        std::thread::sleep(Duration::from_millis(5));
    }
    for (lane, made) in made.iter().enumerate() {
        assert_eq!(ledger.missing(&BOOT.to_string(), lane as u64, *made), 0);
    }
    ledger
}

/// The retained message of each tag: they come one by one to who subscribes, and nothing says which is the last.
fn retained(port: u16, tags: usize) -> Vec<(Received, TagMessage)> {
    let late = Subscriber::start(port, &[]);
    let values = || {
        let kept = late.all().into_iter().filter(|received| received.payload.starts_with("{\"value\""));
        kept.map(|received| (received.clone(), serde_json::from_str(&received.payload).unwrap())).collect::<Vec<_>>()
    };
    wait("a value of each tag", || values().len() >= tags);
    values()
}

fn flows(version: MqttVersion) {
    let broker = Mosquitto::started("");
    let subscriber = Subscriber::start(broker.port, &[]);
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 2, 2, 10);
    producer.blocks(3);
    let mut output = spawn(&journal, &MqttConfig { version, ..per_tag(broker.port) }).unwrap();
    for _ in 0..20 {
        producer.blocks(3);
        std::thread::sleep(Duration::from_millis(10));
    }
    let made = producer.made();
    let ledger = expect_all(&subscriber, &made);
    assert_eq!(ledger.repeats, 0);
    assert_eq!(consumed(&ledger.lines), [ledger.samples, 0, 0, 0]);
    expect_settled(&journal, &mut output, &made);
    assert_eq!(count(&output.stats.messages_acknowledged), made.iter().sum::<u64>(), "a message for each sample");

    let kept = retained(broker.port, 40);
    assert_eq!(kept.len(), 40, "one for each tag");
    for (received, message) in kept {
        assert!(received.retained);
        let lane = message.lane as usize;
        let at: u64 = message.tag.strip_prefix("tag").unwrap().parse::<u64>().unwrap() - 20 * lane as u64;
        assert_eq!(message.seq, made[lane] - 20 + at, "the newest of {}", message.tag);
        assert_eq!(message.value, value_of(message.seq), "to the last digit");
        assert_eq!(message.prev, Some(message.seq - 20));
        let held = at % 7 == 6;
        assert_eq!(message.status, if held { "UncertainNoCommunicationLastUsableValue" } else { "Good" });
    }
}

#[test]
fn every_sample_of_every_tag_arrives_and_the_newest_is_kept_for_who_comes_later() {
    flows(MqttVersion::V311);
}

#[test]
fn so_it_is_with_mqtt_5() {
    flows(MqttVersion::V5);
}

#[test]
fn a_broker_that_was_away_gets_what_was_stored_in_order_and_no_sample_is_skipped() {
    let mut broker = Mosquitto::started("max_inflight_messages 0");
    let subscriber = Subscriber::start(broker.port, &["-c", "-i", "watcher"]);
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 2, 1, 25);
    let mut output = spawn(&journal, &per_tag(broker.port)).unwrap();
    let mut flow = |rounds: u32| {
        for _ in 0..rounds {
            producer.blocks(2);
            std::thread::sleep(Duration::from_millis(10));
        }
        producer.made()
    };
    flow(20);
    broker.terminate();
    wait("offline", || output.stats.state() != OutputState::Online);
    flow(60);
    broker.start();
    let made = flow(20);
    let ledger = expect_all(&subscriber, &made);
    assert_eq!(consumed(&ledger.lines), [ledger.samples, ledger.repeats, 0, 0]);
    expect_settled(&journal, &mut output, &made);
}

#[test]
fn connections_cut_at_any_moment_lose_no_sample_of_any_tag() {
    for version in [MqttVersion::V311, MqttVersion::V5] {
        let broker = Mosquitto::started("");
        let subscriber = Subscriber::start(broker.port, &[]);
        let proxy = Proxy::start(broker.port);
        let journal = MemoryJournal::default();
        let mut producer = Producer::new(&journal, 2, 2, 10);
        let mut output = spawn(&journal, &MqttConfig { version, ..per_tag(proxy.port) }).unwrap();
        let mut random = fastrand::Rng::with_seed(21);
        let mut connects = 0;
        for _ in 0..8 {
            wait("online", || count(&output.stats.connects) > connects && output.stats.state() == OutputState::Online);
            connects = count(&output.stats.connects);
            for _ in 0..random.usize(1..15) {
                producer.blocks(2);
                std::thread::sleep(Duration::from_millis(random.u64(1..10)));
            }
            let failures = count(&output.stats.failures);
            proxy.cut();
            wait("the cut is noticed", || count(&output.stats.failures) > failures);
        }
        let ledger = expect_all(&subscriber, &producer.made());
        assert_eq!(consumed(&ledger.lines), [ledger.samples, ledger.repeats, 0, 0]);
        wait("online at last", || output.stats.state() == OutputState::Online);
        expect_settled(&journal, &mut output, &producer.made());
    }
}

#[test]
fn a_loss_on_the_way_is_noticed_by_whoever_follows_a_single_tag() {
    let broker = Mosquitto::started("");
    let subscriber = Subscriber::start(broker.port, &[]);
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 1, 1, 5);
    producer.blocks(40);
    let mut output = spawn(&journal, &per_tag(broker.port)).unwrap();
    let ledger = expect_all(&subscriber, &producer.made());
    output.stop();
    let of_tag: Vec<&String> = ledger.lines.iter().filter(|line| line.starts_with("fieldbeat/line-4/tag3 ")).collect();
    assert_eq!((of_tag.len(), consumed(of_tag.iter().copied())), (40, [40, 0, 0, 0]));
    let holes = of_tag.iter().enumerate().filter(|(at, _)| ![7, 8, 20].contains(at)).map(|(_, line)| *line);
    assert_eq!(consumed(holes), [37, 0, 2, 0], "two holes, of two samples and of one");
    let doubled = of_tag.iter().chain(&of_tag[30..]).copied();
    assert_eq!(consumed(doubled), [40, 10, 0, 0]);
}

#[test]
fn a_message_has_unit_text_status_and_time_of_its_sample_and_a_topic_by_its_template() {
    let broker = Mosquitto::started("");
    let journal = MemoryJournal::default();
    let tag = |name: &str, unit: &str, texts: Texts, link: &str| DictionaryTag {
        name: name.into(),
        unit: unit.into(),
        texts,
        link: link.into(),
        ..Default::default()
    };
    let states = Texts::new(vec![(0, "off".into()), (1, "on \"1\"".into())]);
    let names = Dictionary {
        gateway: "line-4".into(),
        tags: vec![
            tag("boiler.temperature", "°C", Texts::default(), "plc1"),
            tag("pump.state", "", states, "plc2"),
            tag("$gateway.cpu_percent", "%", Texts::default(), "$diagnostics"),
            // As an earlier version stored it.
            tag("old", "", Texts::default(), ""),
        ],
        groups: vec!["default".into()],
    };
    let sample = |tag, ty: ScalarType, value| Sample { t: 5_000_000, tag, ty: ty as u8, value, ..Sample::default() };
    let never = Sample { status: 0x8031_0000, flags: flags::HELD | flags::NO_VALUE, ..sample(3, ScalarType::Bool, 0) };
    let slots = vec![
        sample(0, ScalarType::Float32, u64::from(81.5f32.to_bits())),
        sample(1, ScalarType::Uint16, 1),
        sample(2, ScalarType::Float64, 12.25f64.to_bits()),
        never,
    ];
    journal.append(Batch {
        lane: LaneId(0),
        first_sequence: 1200,
        samples: 4,
        slots,
        clock: ClockPair { mono: Nanos::ZERO, utc_ns: UTC_ZERO_NS },
        drained: Nanos(6_000_000),
        names: names.into(),
    });
    let topic = "plant/{link}/{tag_path}".to_owned();
    let mut output = spawn(&journal, &MqttConfig { topic, ..per_tag(broker.port) }).unwrap();
    wait("all of it is sent", || count(&output.stats.samples_acknowledged) == 4);
    output.stop();
    let kept: Vec<(String, String)> =
        retained(broker.port, 4).into_iter().map(|(received, _)| (received.topic, received.payload)).collect();
    let end = format!("\"gateway\":\"line-4\",\"boot\":\"{BOOT}\",\"lane\":0,\"seq\"");
    let time = "\"time\":\"2025-11-21T02:59:16.005000Z\"";
    let expected = [
        (
            "plant/plc1/boiler/temperature",
            format!(
                "{{\"value\":81.5,\"unit\":\"°C\",\"status\":\"Good\",{time},\"tag\":\"boiler.temperature\",{end}:1200,\
                 \"prev\":null}}"
            ),
        ),
        (
            "plant/plc2/pump/state",
            format!(
                "{{\"value\":1,\"text\":\"on \\\"1\\\"\",\"status\":\"Good\",{time},\"tag\":\"pump.state\",{end}:1201,\
                 \"prev\":null}}"
            ),
        ),
        (
            "plant/$diagnostics/$gateway/cpu_percent",
            format!(
                "{{\"value\":12.25,\"unit\":\"%\",\"status\":\"Good\",{time},\"tag\":\"$gateway.cpu_percent\",{end}:1202,\
                 \"prev\":null}}"
            ),
        ),
        (
            "plant/unknown/old",
            format!(
                "{{\"value\":null,\"status\":\"BadNoCommunication\",{time},\"tag\":\"old\",{end}:1203,\"prev\":null}}"
            ),
        ),
    ];
    for (topic, payload) in expected {
        assert!(kept.contains(&(topic.to_owned(), payload.clone())), "{topic} {payload}\n{kept:#?}");
    }
    assert_eq!(kept.len(), 4);
}

#[test]
fn a_topic_of_groups_may_name_the_link_and_then_each_link_has_a_stream_of_its_own() {
    let broker = Mosquitto::started("");
    let subscriber = Subscriber::start(broker.port, &[]);
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 1, 1, 6);
    let mut names = Dictionary::clone(&producer.dictionary);
    names.tags.iter_mut().enumerate().for_each(|(at, tag)| tag.link = format!("plc{}", at % 2).into());
    producer.dictionary = names.into();
    producer.blocks(50);
    let topic = "fieldbeat/{gateway}/{link}/{group}".to_owned();
    let mut output = spawn(&journal, &MqttConfig { topic, ..config(broker.port) }).unwrap();
    wait("all of it is sent", || count(&output.stats.samples_acknowledged) == 300);
    output.stop();
    wait("the farewell", || subscriber.statuses().last().is_some_and(|status| status.0 == "offline"));
    let lines: Vec<String> = subscriber
        .all()
        .into_iter()
        .filter(Received::is_data)
        .inspect(|received| {
            let message: serde_json::Value = serde_json::from_str(&received.payload).unwrap();
            let link = message["link"].as_str().unwrap();
            assert_eq!(received.topic, format!("fieldbeat/line-4/{link}/group0"));
            let of_link = |name: &String| (name.ends_with(['0', '2', '4'])) == (link == "plc0");
            let frames = message["frames"].as_array().unwrap();
            assert!(frames.iter().all(|frame| frame["values"].as_object().unwrap().keys().all(of_link)), "{message}");
        })
        .map(|received| format!("{} {}", received.topic, received.payload))
        .collect();
    assert_eq!(consumed(&lines), [300, 0, 0, 0]);
    assert_eq!(output.stats.failures.load(Relaxed), 0);
}
