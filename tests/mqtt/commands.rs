//! Commands beside bad publishers and bad brokers: whoever is at fault pays, and nobody else.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fieldbeat::command::{Answer, AnswerEnd, Asked, Desk, Outcome, Reason, Way, WriteStats};
use fieldbeat::config::{CommandTopics, MqttConfig, MqttVersion};
use fieldbeat::output::{OutputHandle, mqtt};
use serde_json::{Value as Json, json};

use super::journal::{MemoryJournal, Producer};
use super::peers::{Mosquitto, Subscriber, config, wait};
use super::scripted::{Client, Scripted, identifier_of, packet, property, publish, topic_of};
use super::{count, expect_settled, spawn};

const COMMANDS: &str = "plant/line-4/command";
const ANSWERS: &str = "plant/line-4/answer";

/// The commands of an output, a gateway behind them that does all that is asked for, and its audit.
pub struct Taken {
    stats: Arc<WriteStats>,
    done: Arc<Mutex<Vec<String>>>,
    audit: Arc<Mutex<Vec<Answer>>>,
    stop: Arc<AtomicBool>,
    handle: Option<OutputHandle>,
}

impl Taken {
    fn start(port: u16, version: MqttVersion) -> Taken {
        Taken::start_with(&MqttConfig { version, ..config(port) })
    }

    pub fn start_with(config: &MqttConfig) -> Taken {
        Taken::start_at(config, None)
    }

    /// Plain values, too.
    pub fn with_set_points(config: &MqttConfig) -> Taken {
        Taken::start_at(config, Some("plant/{gateway}/{tag}/set".into()))
    }

    fn start_at(config: &MqttConfig, set_topic: Option<String>) -> Taken {
        let topics = CommandTopics {
            command_topic: "plant/{gateway}/command".into(),
            answer_topic: "plant/{gateway}/answer".into(),
            set_topic,
        };
        let config = MqttConfig { commands: Some(topics), ..config.clone() };
        let (stats, stop) = (Arc::<WriteStats>::default(), Arc::<AtomicBool>::default());
        let (desk, asked) = Desk::new(stats.clone());
        let handle = mqtt::spawn_commands("cloud", "line-4", &config, desk, stop.clone()).unwrap();
        let (done, audit) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Vec<Answer>>>::default());
        let (for_done, for_audit, counts) = (done.clone(), audit.clone(), stats.clone());
        std::thread::spawn(move || {
            for asked in asked {
                match asked {
                    Asked::Write { requester, request, reply, .. } => {
                        for_done.lock().unwrap().push(request.id.clone().unwrap());
                        let answer = Answer::of(request.id, Some(request.tag), Outcome::Done);
                        counts.count(requester.way, &answer);
                        reply(answer);
                    }
                    Asked::Refused { answer, .. } => for_audit.lock().unwrap().push(answer),
                }
            }
        });
        Taken { stats, done, audit, stop, handle }
    }

    /// The ids of what was done.
    pub fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }

    pub fn refused(&self, reason: Reason) -> u64 {
        self.stats.not_done(Way::Mqtt, reason)
    }

    pub fn stop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(handle) = self.handle.take() {
            assert!(handle.join() || std::thread::panicking(), "the commands panicked");
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn request(id: &str) -> String {
    let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64 + 300_000;
    json!({"id": id, "tag": "setpoint", "value": 1, "expires": soon}).to_string()
}

pub fn mosquitto_pub(port: u16, arguments: &[&str]) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", COMMANDS]);
    assert!(command.args(arguments).status().unwrap().success());
}

pub fn answers(subscriber: &Subscriber) -> Vec<Json> {
    let all = subscriber.all().into_iter().filter(|received| received.topic == ANSWERS);
    all.map(|received| serde_json::from_str(&received.payload).unwrap()).collect()
}

pub fn is_done(answers: &[Json], id: &str) -> bool {
    answers.iter().any(|answer| answer["id"] == id && answer["outcome"] == "done")
}

fn connects(broker: &Mosquitto) -> usize {
    let log = std::fs::read_to_string(broker.folder.path().join("log")).unwrap_or_default();
    log.lines().filter(|line| line.contains("New client connected") && line.contains("-commands")).count()
}

/// Waits until the broker has the subscription.
pub fn subscribed(broker: &Mosquitto) {
    let log = broker.folder.path().join("log");
    wait("it subscribes", || {
        std::fs::read_to_string(&log).unwrap_or_default().contains("cloud-commands 1 plant/line-4/command")
    });
}

/// Samples that flow over the same broker all the while, and their account.
fn beside(broker: &Mosquitto, subscriber: &Subscriber, body: impl FnOnce()) {
    let journal = MemoryJournal::default();
    let mut producer = Producer::new(&journal, 1, 2, 20);
    producer.blocks(20);
    let mut output = spawn(&journal, &config(broker.port)).unwrap();
    body();
    producer.blocks(20);
    subscriber.expect_all(&producer.made(), 40);
    expect_settled(&journal, &mut output, &producer.made());
    assert_eq!(count(&output.stats.connects), 1);
}

fn too_large_messages_cost_no_other_command(version: MqttVersion) {
    let broker = Mosquitto::started("log_type all");
    let subscriber = Subscriber::start(broker.port, &[]);
    let taken = Taken::start(broker.port, version);
    subscribed(&broker);
    mosquitto_pub(broker.port, &["-m", &request("first")]);
    wait("the first answer", || is_done(&answers(&subscriber), "first"));
    let folder = tempfile::tempdir().unwrap();
    // Above what is kept, and above what an MQTT 5 broker is asked to send at all.
    let large = [(80 << 10, 6), (900 << 10, 2), (3 << 20, 1)];
    let mut files = Vec::new();
    for (bytes, times) in large {
        let file = folder.path().join(bytes.to_string());
        std::fs::write(&file, vec![b'x'; bytes]).unwrap();
        files.extend(std::iter::repeat_n(file, times));
    }
    beside(&broker, &subscriber, || {
        for at in 0..45 {
            if at % 5 == 0 {
                mosquitto_pub(broker.port, &["-f", files[at / 5].to_str().unwrap()]);
            }
            mosquitto_pub(broker.port, &["-m", &request(&at.to_string())]);
        }
        wait("each good command is answered", || {
            let answers = answers(&subscriber);
            (0..45).all(|at| is_done(&answers, &at.to_string()))
        });
        let sent = if version == MqttVersion::V5 { 8 } else { 9 };
        wait("each bad one is answered", || {
            answers(&subscriber).iter().filter(|answer| answer["reason"] == "too_large").count() == sent
        });
        assert_eq!(taken.refused(Reason::TooLarge), sent as u64);
        let recorded = |audit: &[Answer]| audit.iter().filter(|answer| answer.reason == Some("too_large")).count();
        wait("each bad one is recorded", || recorded(&taken.audit.lock().unwrap()) == sent);
    });
    assert_eq!(taken.done.lock().unwrap().len(), 46, "each once");
    assert_eq!(connects(&broker), 1, "the connection lived");
    wait("all answers are counted", || taken.stats.answers(AnswerEnd::Sent) as usize == answers(&subscriber).len());
}

#[test]
fn messages_that_are_too_large_cost_no_other_command_with_mqtt_3_1_1() {
    too_large_messages_cost_no_other_command(MqttVersion::V311);
}

#[test]
fn messages_that_are_too_large_cost_no_other_command_with_mqtt_5() {
    too_large_messages_cost_no_other_command(MqttVersion::V5);
}

#[test]
fn a_response_topic_that_the_broker_refuses_costs_no_other_command() {
    let folder = tempfile::tempdir().unwrap();
    let rights = folder.path().join("acl");
    std::fs::write(&rights, "topic readwrite fieldbeat/#\ntopic readwrite probe\ntopic readwrite plant/#\n").unwrap();
    let broker = Mosquitto::started(&format!("log_type all\nacl_file {}", rights.display()));
    let subscriber = Subscriber::start(broker.port, &[]);
    let taken = Taken::start(broker.port, MqttVersion::V5);
    subscribed(&broker);
    mosquitto_pub(broker.port, &["-m", &request("first")]);
    wait("the first answer", || is_done(&answers(&subscriber), "first"));
    let ask = |id: &str, response: &str| {
        let more = ["-V", "5", "-D", "publish", "response-topic", response, "-m", &request(id)];
        mosquitto_pub(broker.port, &more);
    };
    beside(&broker, &subscriber, || {
        for at in 0..45 {
            ask(&format!("bad{at}"), "forbidden/here");
            ask(&at.to_string(), "plant/panel/7");
        }
        let panel = || -> Vec<Json> {
            let all = subscriber.all().into_iter().filter(|received| received.topic == "plant/panel/7");
            all.map(|received| serde_json::from_str(&received.payload).unwrap()).collect()
        };
        wait("each good command is answered where its sender wants it", || {
            let answers = panel();
            (0..45).all(|at| is_done(&answers, &at.to_string()))
        });
        wait("each bad one is answered where answers go by themselves", || {
            let answers = answers(&subscriber);
            (0..45).all(|at| answers.iter().any(|answer| answer["id"] == format!("bad{at}")))
        });
    });
    let redirected = taken.stats.answers(AnswerEnd::Redirected);
    let refused = taken.refused(Reason::ResponseTopic);
    assert_eq!(redirected + refused, 45, "done before the broker said so, or refused after");
    assert!(redirected >= 1 && refused >= 1, "{redirected} {refused}");
    let audit = taken.audit.lock().unwrap().clone();
    let recorded = audit.iter().filter(|answer| answer.reason == Some("response_topic")).count() as u64;
    assert!(recorded >= 1, "the audit names it");
    assert!(recorded + taken.stats.take_unrecorded() >= refused);
    // Some versions of mosquitto close the connection over it: once.
    assert!(connects(&broker) <= 2, "{} connections", connects(&broker));
}

/// A connection of commands on which the broker sends `messages`, and takes all that comes; with the answers.
fn speaks(client: &mut Client, messages: &[Vec<u8>], answers: &Mutex<Vec<(String, Vec<u8>)>>, acks: &Mutex<Vec<u16>>) {
    client.subscribed();
    for message in messages {
        client.send_raw(message);
    }
    listen(client, answers, acks);
}

/// False: the client said goodbye.
fn listen(client: &mut Client, answers: &Mutex<Vec<(String, Vec<u8>)>>, acks: &Mutex<Vec<u16>>) {
    while let Some((first, body)) = client.packet() {
        match first >> 4 {
            3 => {
                let identifier = identifier_of(&body);
                answers.lock().unwrap().push((topic_of(&body), body));
                client.send(0x40, &identifier);
            }
            4 => acks.lock().unwrap().push(u16::from_be_bytes([body[0], body[1]])),
            12 => {
                client.send(0xd0, &[]);
            }
            _ => {}
        }
    }
}

#[test]
fn each_malformed_message_is_acknowledged_and_the_connection_lives() {
    let bad: Vec<Vec<u8>> = vec![
        publish(1, &property(0x08, b"\xff\xfe"), request("a").as_bytes()),
        publish(2, &property(0x08, b"panel/#"), request("b").as_bytes()),
        publish(3, &property(0x08, b""), request("c").as_bytes()),
        publish(4, &property(0x09, &[7; 1_100]), request("d").as_bytes()),
        publish(5, &[property(0x08, b"panel/7"), property(0x08, b"panel/8")].concat(), request("e").as_bytes()),
        publish(6, &[0x77], request("f").as_bytes()),
        publish(7, &[], b""),
        publish(8, &[], b"\xff\xfe\x00"),
        publish(9, &property(0x08, COMMANDS.as_bytes()), request("h").as_bytes()),
        // Retained.
        [&[0x33], &publish(10, &[], request("i").as_bytes())[1..]].concat(),
        // A topic that is no UTF-8.
        packet(0x32, &[0, 1, 0xff, 0, 11, 0, b'{', b'}']),
        publish(12, &[], &vec![b'['; 30_000]),
        publish(13, &[], &vec![b'['; 300_000]),
    ];
    let good = publish(20, &[], request("good").as_bytes());
    // As QoS 1 may bring it: the same again.
    let again = [&[0x3a], &publish(21, &[], request("good").as_bytes())[1..]].concat();
    let messages = [bad.as_slice(), &[good, again]].concat();
    let (answers, acks) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
    let (for_answers, for_acks) = (answers.clone(), acks.clone());
    let broker = Scripted::start(move |client| speaks(client, &messages, &for_answers, &for_acks));
    let taken = Taken::start(broker.port, MqttVersion::V5);
    wait("all are answered", || answers.lock().unwrap().len() == 15);
    wait("all are acknowledged", || acks.lock().unwrap().len() == 15);
    let mut acknowledged = acks.lock().unwrap().clone();
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, [(1..=13).collect::<Vec<u16>>(), vec![20, 21]].concat());
    assert_eq!(taken.done.lock().unwrap().as_slice(), ["good", "good"], "the desk tells repeats");
    let by_reason = [Reason::Malformed, Reason::Retained, Reason::TooLarge].map(|reason| taken.refused(reason));
    assert_eq!(by_reason, [11, 1, 1]);
    wait("all are recorded", || taken.audit.lock().unwrap().len() == 13);
    assert_eq!(broker.connections(), 1);
}

/// `says_why`: DISCONNECT with a code comes before the end.
fn an_answer_over_which_the_broker_closes(says_why: bool) {
    let answers = Arc::<Mutex<Vec<(String, Vec<u8>)>>>::default();
    let for_answers = answers.clone();
    let broker = Scripted::start(move |client| {
        client.subscribed();
        // On each connection: one that wants its answer where the broker takes none, and good ones.
        let bad = publish(1, &property(0x08, b"forbidden"), request(&format!("bad{}", client.number)).as_bytes());
        let good = publish(2, &property(0x08, b"panel/7"), request(&format!("good{}", client.number)).as_bytes());
        client.send_raw(&[good, bad].concat());
        while let Some((first, body)) = client.packet() {
            match first >> 4 {
                3 if topic_of(&body) == "forbidden" => {
                    if says_why {
                        client.send(0xe0, &[0x87, 0]);
                        client.pause();
                    }
                    return;
                }
                3 => {
                    let identifier = identifier_of(&body);
                    for_answers.lock().unwrap().push((topic_of(&body), body));
                    client.send(0x40, &identifier);
                }
                _ => {}
            }
        }
    });
    let taken = Taken::start(broker.port, MqttVersion::V5);
    let connections = if says_why { 2 } else { 3 };
    wait("the connection stays", || {
        let answers = answers.lock().unwrap();
        let last = format!("good{connections}");
        answers.iter().any(|(topic, body)| topic == "panel/7" && String::from_utf8_lossy(body).contains(&last))
            && answers.iter().any(|(_, body)| String::from_utf8_lossy(body).contains("response_topic"))
    });
    assert_eq!(broker.connections(), connections);
    let answers = answers.lock().unwrap().clone();
    for number in 1..=connections {
        for (id, topic) in [(format!("good{number}"), "panel/7"), (format!("bad{number}"), ANSWERS)] {
            let found = answers.iter().find(|(_, body)| String::from_utf8_lossy(body).contains(&id));
            assert_eq!(found.map(|(topic, _)| topic.as_str()), Some(topic), "{id}");
        }
    }
    assert_eq!(taken.refused(Reason::ResponseTopic), 1);
    assert_eq!(taken.stats.answers(AnswerEnd::Redirected), connections - 1);
}

#[test]
fn a_response_topic_over_which_the_broker_disconnects_is_left_alone() {
    an_answer_over_which_the_broker_closes(true);
}

#[test]
fn a_response_topic_over_which_the_broker_closes_twice_is_left_alone() {
    an_answer_over_which_the_broker_closes(false);
}

#[test]
fn a_topic_alias_that_was_never_allowed_is_told_and_the_next_connection_follows() {
    let broker = Scripted::start(|client| {
        // Topic alias 5, and no topic.
        client.send(0x30, &[0, 0, 3, 0x23, 0, 5, b'x']);
        while client.packet().is_some() {}
    });
    let journal = MemoryJournal::default();
    let output = spawn(&journal, &MqttConfig { version: MqttVersion::V5, ..config(broker.port) }).unwrap();
    wait("it connects again", || count(&output.stats.connects) >= 2);
    let text = output.stats.last_error();
    assert!(text.contains("breaks the MQTT protocol: topic alias 5"), "{text}");
    assert!(!output.handle.as_ref().unwrap().is_finished());

    let broker = Scripted::start(|client| {
        client.subscribed();
        client.send(0x30, &[0, 0, 3, 0x23, 0, 5, b'x']);
        while client.packet().is_some() {}
    });
    let taken = Taken::start(broker.port, MqttVersion::V5);
    wait("it connects again", || broker.connections() >= 2);
    assert!(!taken.handle.as_ref().unwrap().is_finished());
}

/// Sends without end, and takes what comes beside. True: DISCONNECT was among it.
fn floods(client: &mut Client, message: &[u8]) -> bool {
    let mut reader = client.second();
    let listening = std::thread::spawn(move || std::iter::from_fn(|| reader.packet()).any(|(first, _)| first == 0xe0));
    let many = message.repeat(1_000);
    while client.send_raw(&many) {}
    listening.join().unwrap()
}

#[test]
fn a_flood_on_an_outputs_connection_ends_it_with_the_reason() {
    let broker = Scripted::start(|client| {
        floods(client, &packet(0x30, b"\x00\x01xflood"));
    });
    let journal = MemoryJournal::default();
    let mut output = spawn(&journal, &config(broker.port)).unwrap();
    wait("it is told", || output.stats.last_error().contains("floods the connection"));
    wait("it is tried again", || count(&output.stats.connects) >= 2);
    output.stop();
}

#[test]
fn of_a_flood_of_commands_a_bounded_number_is_taken_and_the_stop_is_clean() {
    let goodbyes = Arc::<Mutex<Vec<bool>>>::default();
    let for_goodbyes = goodbyes.clone();
    let broker = Scripted::start(move |client| {
        client.subscribed();
        let goodbye = floods(client, &packet(0x30, b"\x00\x01c{"));
        for_goodbyes.lock().unwrap().push(goodbye);
    });
    let start = Instant::now();
    let mut taken = Taken::start(broker.port, MqttVersion::V311);
    wait("it is counted", || taken.stats.floods() > 0);
    let before = taken.refused(Reason::Malformed);
    wait("it goes on", || taken.refused(Reason::Malformed) > before + 1_000);
    let most = (start.elapsed() + Duration::from_secs(2)).as_secs_f64() * 2_000.0;
    assert!((taken.refused(Reason::Malformed) as f64) < most, "{} taken", taken.refused(Reason::Malformed));
    taken.stop();
    wait("the broker hears of it", || !goodbyes.lock().unwrap().is_empty());
    assert_eq!((broker.connections(), goodbyes.lock().unwrap().as_slice()), (1, [true].as_slice()));
}
