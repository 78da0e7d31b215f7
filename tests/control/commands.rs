//! Commands over MQTT, through mosquitto, with mosquitto's own clients.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use crate::mosquitto::{Mosquitto, Subscriber, wait};
use crate::peers::Server;
use crate::rig::{Running, Site};
use crate::site::{Mute, audit, register, run, site};

pub struct Line {
    pub broker: Mosquitto,
    pub subscriber: Subscriber,
    pub server: Server,
    pub site: Site,
}

fn soon_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64 + 20_000
}

/// As a program publishes it.
pub fn request(id: &str, tag: &str, value: Json) -> Json {
    json!({"id": id, "tag": tag, "value": value, "expires": soon_ms()})
}

impl Line {
    fn new(version: &str) -> Line {
        Line::on(Mosquitto::started(""), version)
    }

    fn on(broker: Mosquitto, version: &str) -> Line {
        Line::with(broker, version, "commands = true\n")
    }

    /// `more`: further lines of the output.
    pub fn with(broker: Mosquitto, version: &str, more: &str) -> Line {
        let output = format!(
            "[outputs.local]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{}\"\nversion = \"{version}\"\n{more}",
            broker.port
        );
        let (server, mute) = (Server::pymodbus(), Mute::new());
        let site = site(&server, &mute, &output);
        let subscriber = Subscriber::start(broker.port, &[]);
        Line { broker, subscriber, server, site }
    }

    pub fn run(&self) -> Running {
        let mut running = run(&self.site);
        running.wait_for("writes are accepted on topic");
        running
    }

    pub fn publish(&self, message: &str, more: &[&str]) {
        let port = self.broker.port.to_string();
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", "fieldbeat/line-4/command", "-m", message]);
        assert!(command.args(more).status().unwrap().success());
    }

    pub fn answers(&self) -> Vec<Json> {
        let all = self.subscriber.all().into_iter().filter(|r| r.topic == "fieldbeat/line-4/answer");
        all.map(|r| serde_json::from_str(&r.payload).unwrap()).collect()
    }

    /// Publishes, and waits for one answer more.
    fn ask(&self, message: &str, more: &[&str]) -> Json {
        let before = self.answers().len();
        self.publish(message, more);
        wait("an answer", || self.answers().len() > before);
        self.answers().remove(before)
    }
}

fn writes_come_and_are_answered(version: &str) {
    let mut line = Line::new(version);
    let running = line.run();
    let answer = line.ask(&request("1", "setpoint", json!(100)).to_string(), &[]);
    assert_eq!((&answer["id"], &answer["outcome"], &answer["new"]), (&json!("1"), &json!("done"), &json!(100)));
    assert_eq!(register(&line.server, 30), 100);

    // A repeat, as QoS 1 may bring one: the same answer, and the value of somebody else stays.
    assert_eq!(line.site.command("write", &["setpoint", "7"]).0, 0);
    let again = line.ask(&request("1", "setpoint", json!(100)).to_string(), &[]);
    assert_eq!((&again["outcome"], &again["repeated"]), (&json!("done"), &json!(true)));
    assert_eq!(register(&line.server, 30), 7);

    for (message, reason) in [
        ("no json".to_owned(), "malformed"),
        ("{}".to_owned(), "malformed"),
        (format!("{{\"tag\":\"setpoint\",\"value\":1,\"expires\":{}}}", soon_ms()), "malformed"),
        (json!({"id": "2", "tag": "setpoint", "value": 1}).to_string(), "malformed"),
        (json!({"id": "3", "tag": "setpoint", "value": 1, "expires": "2020-01-01T00:00:00Z"}).to_string(), "expired"),
        (request("4", "setpoint", json!(1001)).to_string(), "out_of_range"),
        (request("5", "level", json!(1)).to_string(), "read_only"),
        (request("6", "setpoynt", json!(1)).to_string(), "unknown_tag"),
        (request("7", "setpoint", json!("x".repeat(40_000))).to_string(), "too_large"),
    ] {
        let answer = line.ask(&message, &[]);
        assert_eq!((&answer["outcome"], &answer["reason"]), (&json!("refused"), &json!(reason)), "{answer}");
    }
    // Retained: with MQTT 5 the broker tells at once, with 3.1.1 when it gives it to a newcomer.
    let retained = request("8", "setpoint", json!(8)).to_string();
    if version == "5" {
        assert_eq!(line.ask(&retained, &["-r"])["reason"], "retained");
        assert_eq!(register(&line.server, 30), 7);
    } else {
        assert_eq!(line.ask(&retained, &["-r"])["outcome"], "done");
        assert_eq!(line.site.command("write", &["setpoint", "7"]).0, 0);
    }
    // It has not answered for a while: sent without a reply, or not sent while its connection is made anew.
    let dead = line.ask(&request("9", "mute.t", json!(9)).to_string(), &[]);
    assert_eq!(dead["outcome"], "failed", "{dead}");

    // Over a restart of the broker, which keeps the retained message.
    let before = running.log().matches("writes are accepted on topic").count();
    line.broker.terminate();
    line.broker.start();
    line.subscriber = Subscriber::start(line.broker.port, &[]);
    wait("it is connected again", || running.log().matches("writes are accepted on topic").count() > before);
    if version == "3.1.1" {
        // The gateway may be there, and have answered, before the subscriber is: the audit has it in any case.
        let is_refused = |record: &Json| record["reason"].as_str().is_some_and(|reason| reason.contains("retained"));
        wait("the retained one is refused", || audit(&line.site).iter().any(is_refused));
    }
    let answer = line.ask(&request("10", "setpoint", json!(10)).to_string(), &[]);
    assert_eq!(answer["outcome"], "done", "{answer}");
    assert_eq!(register(&line.server, 30), 10);
    let ended = running.stop();
    ended.assert_clean();

    // What is published while the gateway is away is not done when it comes back.
    line.publish(&request("11", "setpoint", json!(11)).to_string(), &[]);
    let running = line.run();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(register(&line.server, 30), 10);
    running.stop().assert_clean();
    let records = audit(&line.site);
    let first = records.iter().find(|record| record["way"] == "mqtt").unwrap();
    assert_eq!((&first["who"], &first["id"], &first["outcome"]), (&json!("output local"), &json!("1"), &json!("done")));
    assert_eq!(first["from"], "topic fieldbeat/line-4/command");
    assert!(records.iter().all(|record| record["id"] != "11"));
}

#[test]
fn commands_are_done_and_answered_over_mqtt_3_1_1() {
    writes_come_and_are_answered("3.1.1");
}

#[test]
fn commands_are_done_and_answered_over_mqtt_5() {
    writes_come_and_are_answered("5");
}

#[test]
fn a_requester_of_mqtt_5_gets_its_answer_where_it_wants_it() {
    let line = Line::new("5");
    let running = line.run();
    let port = line.broker.port.to_string();
    let ask = |response: &str, request: &Json| {
        let mut command = Command::new("mosquitto_rr");
        command.args(["-h", "127.0.0.1", "-p", &port, "-V", "5", "-q", "1", "-W", "10", "-F", "%D %p"]);
        command.args(["-t", "fieldbeat/line-4/command", "-e", response, "-m", &request.to_string()]);
        let out = command.args(["-D", "publish", "correlation-data", "order 66"]).output().unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (good, text) = ask("plc/panel/7", &request("1", "setpoint", json!(55)));
    assert!(good, "{text}");
    let (properties, answer) = text.trim_end().split_at(text.find('{').unwrap());
    assert!(properties.contains("order 66"), "{text}");
    let answer: Json = serde_json::from_str(&answer[answer.find("{\"id\"").unwrap()..]).unwrap();
    assert_eq!((&answer["outcome"], &answer["id"]), (&json!("done"), &json!("1")));
    assert_eq!(register(&line.server, 30), 55);
    assert!(line.answers().is_empty(), "only there");
    running.stop().assert_clean();
}

/// Payloads above what is taken, and response topics that the broker refuses: one sender's fault, through the whole gateway.
#[test]
fn bad_senders_cost_no_good_command_and_no_sample() {
    const COMMANDS: u64 = 45;
    let folder = tempfile::tempdir().unwrap();
    let rights = folder.path().join("acl");
    std::fs::write(&rights, "topic readwrite fieldbeat/#\ntopic readwrite probe\n").unwrap();
    let large = folder.path().join("large");
    std::fs::write(&large, vec![b'x'; 80 << 10]).unwrap();
    let line = Line::on(Mosquitto::started(&format!("acl_file {}", rights.display())), "5");
    let running = line.run();
    let port = line.broker.port.to_string();
    let publish = |arguments: &[&str]| {
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-V", "5", "-q", "1", "-t", "fieldbeat/line-4/command"]);
        assert!(command.args(arguments).status().unwrap().success());
    };
    let is_done = |answers: &[Json], id: u64| {
        let id = id.to_string();
        answers.iter().any(|answer| answer["id"] == id.as_str() && answer["outcome"] == "done")
    };
    for at in 0..COMMANDS {
        let forbidden = ["-D", "publish", "response-topic", "forbidden/here", "-m"];
        let bad = request(&format!("bad{at}"), "valve", json!(true)).to_string();
        publish(&[&forbidden[..], &[bad.as_str()]].concat());
        if at % 5 == 0 {
            publish(&["-f", large.to_str().unwrap()]);
        }
        // Its sender waits for the answer: of one tag, one write at a time is taken.
        publish(&["-m", &request(&at.to_string(), "setpoint", json!(at)).to_string()]);
        wait("a good command is done and answered", || is_done(&line.answers(), at));
    }
    assert_eq!(u64::from(register(&line.server, 30)), COMMANDS - 1);
    wait("each bad one is answered, too", || {
        let answers = line.answers();
        let large = answers.iter().filter(|answer| answer["reason"] == "too_large").count() as u64;
        let told = |at: u64| answers.iter().any(|answer| answer["id"] == format!("bad{at}"));
        // Some versions of mosquitto close the connection over the first, and bring what was on its way again.
        large >= COMMANDS.div_ceil(5) && (0..COMMANDS).all(told)
    });
    running.stop().assert_clean();
    let records = audit(&line.site);
    let of = |reason: &str| records.iter().filter(|record| record["reason"] == reason).count() as u64;
    // Refusals are recorded up to a rate, so that a flood of them does not push writes out.
    assert!(of("too_large") > 0 && of("response_topic") > 0, "the senders' faults are on record");
    let done = records.iter().filter(|record| record["tag"] == "setpoint" && record["outcome"] == "done").count();
    assert_eq!(done as u64, COMMANDS, "each once");
}

#[test]
fn a_storm_of_garbage_leaves_samples_and_commands_as_they_are() {
    let line = Line::new("5");
    let running = line.run();
    let data = || line.subscriber.all().iter().filter(|r| r.is_data() && !r.topic.ends_with("/answer")).count();
    let before = data();
    // One message a line, as fast as the broker takes them.
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let lines: Vec<String> =
        (0..5_000).map(|_| (0..random.usize(1..80)).map(|_| random.char(' '..='~')).collect::<String>()).collect();
    let file = line.site.path().join("storm");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let port = line.broker.port.to_string();
    let mut storm = Command::new("mosquitto_pub");
    storm.args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-l", "-t", "fieldbeat/line-4/command"]);
    assert!(storm.stdin(std::fs::File::open(&file).unwrap()).status().unwrap().success());
    wait("samples go on", || data() > before + 5);
    let done = |line: &Line| line.answers().iter().any(|answer| answer["id"] == "after" && answer["outcome"] == "done");
    line.publish(&request("after", "setpoint", json!(99)).to_string(), &[]);
    wait("the right one is done", || done(&line));
    assert_eq!(register(&line.server, 30), 99);
    running.stop().assert_clean();
}
