//! A consumer that knows nothing but a broker: it learns the tags from the meta topic, shows their newest values and sets one.

use serde_json::{Value as Json, json};

use crate::commands::Line;
use crate::mosquitto::{Mosquitto, wait};
use crate::peers::Peer;
use crate::site::register;

fn ask(home: &mut Peer, command: &str) -> Json {
    home.ask(&json!(command.splitn(3, ' ').collect::<Vec<_>>()))
}

fn a_consumer_learns_reads_and_sets(version: &str) {
    let output = "topic_per = \"tag\"\ncommands = true\nset_points = true\nmax_message_bytes = 1024\n";
    let line = Line::with(Mosquitto::started(""), version, output);
    let running = line.run();
    let port = line.broker.port.to_string();
    let mut home = Peer::python("mqtt_home.py", &[&port, version, "fieldbeat/line-4/answer"]);

    let meta = ask(&mut home, "meta fieldbeat/line-4/meta");
    assert_eq!(meta["tags"].as_object().unwrap().len(), 10, "{meta}");
    let tag = &meta["tags"]["setpoint"];
    let expected = json!({
        "tag": "setpoint", "type": "uint16", "group": "default", "link": "plc1", "writable": true,
        "write": {"min": 0.0, "max": 1000.0, "min_interval_ms": 0.0},
        "topic": "fieldbeat/line-4/setpoint", "set_topic": "fieldbeat/line-4/setpoint/set",
    });
    assert_eq!(*tag, expected);
    assert_eq!((&meta["tags"]["level"]["writable"], &meta["tags"]["level"]["set_topic"]), (&json!(false), &Json::Null));
    assert_eq!(meta["groups"], json!([{"group": "default", "period_ms": 20.0}]));
    assert_eq!(meta["links"][0], json!({"link": "plc1", "protocol": "modbus"}));

    let topic = tag["topic"].as_str().unwrap();
    let value = ask(&mut home, &format!("value {topic}"));
    assert_eq!((&value[0], &value[1]), (&json!(register(&line.server, 30)), &json!("Good")), "{value}");
    let answer = ask(&mut home, &format!("set {} 42", tag["set_topic"].as_str().unwrap()));
    assert_eq!((&answer["outcome"], &answer["tag"]), (&json!("done"), &json!("setpoint")), "{answer}");
    assert_eq!(register(&line.server, 30), 42);
    assert_eq!(ask(&mut home, &format!("until {topic} 42"))[1], "Good");

    // Of what is bad, who comes later learns at once that it is.
    let bad = ask(&mut home, "bad fieldbeat/line-4/meta/bad gone.t beyond mute.t");
    assert_eq!(bad["beyond"], "BadConfigurationError", "{bad}");
    assert_eq!(bad["gone.t"], "BadNoCommunication", "{bad}");
    assert!(bad.get("setpoint").is_none(), "{bad}");
    let mut late = Peer::python("mqtt_home.py", &[&port, version, "fieldbeat/line-4/answer"]);
    let value = ask(&mut late, "value fieldbeat/line-4/gone.t");
    assert_eq!((&value[0], &value[1]), (&Json::Null, &json!("BadNoCommunication")), "{value}");
    assert_eq!(ask(&mut late, "bad fieldbeat/line-4/meta/bad gone.t")["gone.t"], "BadNoCommunication");

    // Another configuration is another revision, and parts that it has no more leave the broker.
    let file = line.site.path().join("tags/all.json");
    let mut tags: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    tags["tags"].as_array_mut().unwrap().retain(|tag| tag["name"] == "setpoint" || tag["name"] == "level");
    tags["tags"][1]["unit"] = json!("m");
    tags["tags"][1]["range"] = json!([0, 8]);
    tags["links"].as_array_mut().unwrap().truncate(1);
    std::fs::write(&file, tags.to_string()).unwrap();
    let revision = |home: &mut Peer| ask(home, "meta fieldbeat/line-4/meta");
    wait("the new revision", || revision(&mut home)["tags"].as_object().unwrap().len() == 2);
    let newer = revision(&mut home);
    assert_ne!(newer["revision"], meta["revision"]);
    assert_eq!((&newer["tags"]["level"]["unit"], &newer["tags"]["level"]["range"]), (&json!("m"), &json!([0.0, 8.0])));
    assert_eq!(newer["links"].as_array().unwrap().len(), 1);
    assert_eq!(ask(&mut home, "value fieldbeat/line-4/setpoint")[0], 42);
    running.stop().assert_clean();
    let late = crate::mosquitto::Subscriber::start(line.broker.port, &[]);
    let parts =
        late.all().into_iter().filter(|r| r.topic.starts_with("fieldbeat/line-4/meta/") && !r.topic.ends_with("bad"));
    assert_eq!(parts.map(|part| part.topic).collect::<Vec<_>>(), ["fieldbeat/line-4/meta/0"]);
}

#[test]
fn a_consumer_learns_reads_and_sets_tags_by_topics_of_their_own_over_mqtt_3_1_1() {
    a_consumer_learns_reads_and_sets("3.1.1");
}

#[test]
fn a_consumer_learns_reads_and_sets_tags_by_topics_of_their_own_over_mqtt_5() {
    a_consumer_learns_reads_and_sets("5");
}
