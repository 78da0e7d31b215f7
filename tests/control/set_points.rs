//! Set points as plain values on topics of tags, through mosquitto, to pymodbus's server.

use std::process::Command;

use serde_json::{Value as Json, json};

use crate::commands::{Line, request};
use crate::mosquitto::{Mosquitto, Subscriber, wait};
use crate::site::{audit, coil, register};

const SET_POINTS: &str = "commands = true\nset_points = true\n";

fn publish(line: &Line, tag: &str, more: &[&str]) {
    let (port, topic) = (line.broker.port.to_string(), format!("fieldbeat/line-4/{tag}/set"));
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", &topic]);
    assert!(command.args(more).status().unwrap().success());
}

/// Publishes, and waits for one answer more.
fn ask(line: &Line, tag: &str, more: &[&str]) -> Json {
    let before = line.answers().len();
    publish(line, tag, more);
    wait("an answer", || line.answers().len() > before);
    line.answers().remove(before)
}

fn plain_values_are_written(version: &str) {
    let mut line = Line::with(Mosquitto::started(""), version, SET_POINTS);
    let mut running = line.run();
    running.wait_for("writes are accepted on topic fieldbeat/line-4/+/set");
    let answer = ask(&line, "setpoint", &["-m", "21"]);
    assert_eq!((&answer["outcome"], &answer["tag"], &answer["new"]), (&json!("done"), &json!("setpoint"), &json!(21)));
    let id = answer["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("set-"), "{answer}");
    assert_eq!(register(&line.server, 30), 21);
    let answer = ask(&line, "speed", &["-m", "-12.5"]);
    assert_eq!((&answer["outcome"], &answer["read_back"]), (&json!("done"), &json!(-12.5)), "as the tag wants it");
    assert_eq!(ask(&line, "valve", &["-m", "true"])["outcome"], "done");
    assert!(coil(&line.server, 5));
    assert_eq!(ask(&line, "label", &["-m", "\"half\""])["new"], "half");
    assert_eq!(ask(&line, "label", &["-m", "as it is"])["new"], "as it is");
    assert_eq!(ask(&line, "rare", &["-m", "1"])["outcome"], "done");

    for (tag, message, reason) in [
        ("setpoint", "1001", "out_of_range"),
        ("setpoint", "twenty", "wrong_type"),
        ("setpoint", "2.5", "wrong_type"),
        ("valve", "ON", "wrong_type"),
        ("setpoint", "{\"value\":3}", "malformed"),
        ("setpoint", "null", "malformed"),
        ("setpoint", "", "malformed"),
        ("level", "1", "read_only"),
        ("setpoynt", "1", "unknown_tag"),
        ("rare", "2", "too_fast"),
        ("step", "500", "step_too_large"),
    ] {
        let with_message = ["-m", message];
        let answer = ask(&line, tag, if message.is_empty() { &["-n"] } else { &with_message });
        assert_eq!((&answer["outcome"], &answer["reason"]), (&json!("refused"), &json!(reason)), "{answer}");
        assert_eq!(answer["tag"], tag);
    }
    assert_eq!(register(&line.server, 30), 21);

    // Two of the same are two: nobody can tell whether somebody meant it so.
    assert_eq!(ask(&line, "setpoint", &["-m", "22"])["repeated"], Json::Null);
    assert_eq!(ask(&line, "setpoint", &["-m", "22"])["repeated"], Json::Null);

    // Retained: with MQTT 5 the broker tells at once, with 3.1.1 when it gives it to a newcomer.
    let retained = ask(&line, "setpoint", &["-m", "8", "-r"]);
    assert_eq!(retained["outcome"], if version == "5" { "refused" } else { "done" }, "{retained}");
    assert_eq!(line.site.command("write", &["setpoint", "7"]).0, 0);
    let before = running.log().matches("writes are accepted on topic").count();
    line.broker.terminate();
    line.broker.start();
    line.subscriber = Subscriber::start(line.broker.port, &[]);
    wait("it is connected again", || running.log().matches("writes are accepted on topic").count() > before + 1);
    let is_refused = |record: &Json| record["reason"].as_str().is_some_and(|reason| reason.contains("retained"));
    wait("the retained one is refused", || audit(&line.site).iter().any(is_refused));
    assert_eq!(ask(&line, "setpoint", &["-m", "9"])["outcome"], "done");
    assert_eq!(register(&line.server, 30), 9);
    running.stop().assert_clean();

    // What is published while the gateway is away is not done when it comes back.
    publish(&line, "setpoint", &["-m", "11"]);
    let mut running = line.run();
    running.wait_for("writes are accepted on topic");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(register(&line.server, 30), 9);
    running.stop().assert_clean();
    let records = audit(&line.site);
    let first = records.iter().find(|record| record["way"] == "mqtt").unwrap();
    assert_eq!((&first["who"], &first["id"], &first["outcome"]), (&json!("output local"), &json!(id), &json!("done")));
    assert_eq!(first["from"], "topic fieldbeat/line-4/setpoint/set");
}

#[test]
fn plain_values_are_written_and_answered_over_mqtt_3_1_1() {
    plain_values_are_written("3.1.1");
}

#[test]
fn plain_values_are_written_and_answered_over_mqtt_5() {
    plain_values_are_written("5");
}

#[test]
fn plain_values_are_nobodys_business_unless_they_are_switched_on() {
    let line = Line::with(Mosquitto::started(""), "5", "commands = true\n");
    let running = line.run();
    let before = register(&line.server, 30);
    publish(&line, "setpoint", &["-m", "77"]);
    line.publish(&request("1", "speed", json!(1)).to_string(), &[]);
    wait("a request is answered", || line.answers().len() == 1);
    assert_eq!((register(&line.server, 30), line.answers()[0]["id"].as_str()), (before, Some("1")));
    running.stop().assert_clean();
}
