//! Commands over MQTT with certificates on both sides: mosquitto lets in who has one of its CA, and nobody else.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::certs::{Pair, Pki, VALID};
use crate::commands::request;
use crate::mosquitto::{Mosquitto, Subscriber, wait};
use crate::peers::Server;
use crate::rig::Site;
use crate::site::{Mute, audit, register, run, site};

const TOPIC: &str = "fieldbeat/line-4/command";

struct Secured {
    broker: Mosquitto,
    ca: String,
    /// Of whoever sends commands.
    panel: Pair,
    server: Server,
    mute: Mute,
    /// Issued by the broker's CA, and by another one.
    own: Pair,
    foreign: Pair,
    _folder: TempDir,
}

impl Secured {
    fn new() -> Secured {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(folder.path(), "ca", VALID);
        let stranger = Pki::new(folder.path(), "stranger", VALID);
        let broker = pki.issue("server", &["127.0.0.1"], VALID);
        let lines = format!(
            "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true",
            pki.ca.display(),
            broker.cert.display(),
            broker.key.display()
        );
        Secured {
            broker: Mosquitto::started(&lines),
            ca: pki.ca.display().to_string(),
            panel: pki.issue("panel", &["panel"], VALID),
            server: Server::pymodbus(),
            mute: Mute::new(),
            own: pki.issue("own", &["gateway"], VALID),
            foreign: stranger.issue("foreign", &["gateway"], VALID),
            _folder: folder,
        }
    }

    /// A gateway that shows such a certificate, if any.
    fn site(&self, version: &str, pair: Option<&Pair>) -> Site {
        let pair = pair.map_or(String::new(), |pair| {
            format!("cert = \"{}\"\nkey = \"{}\"\n", pair.cert.display(), pair.key.display())
        });
        let output = format!(
            "[outputs.local]\ntype = \"mqtt\"\nurl = \"mqtts://127.0.0.1:{}\"\nversion = \"{version}\"\n\
             commands = true\nca = \"{}\"\n{pair}",
            self.broker.port, self.ca
        );
        site(&self.server, &self.mute, &output)
    }

    fn arguments(&self) -> [String; 6] {
        let [cert, key] = [&self.panel.cert, &self.panel.key].map(|path| path.display().to_string());
        ["--cafile".into(), self.ca.clone(), "--cert".into(), cert, "--key".into(), key]
    }

    /// Whether the broker took it.
    fn publish(&self, message: &Json, arguments: &[String]) -> bool {
        let port = self.broker.port.to_string();
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", TOPIC, "-m", &message.to_string()]);
        command.args(arguments).stderr(Stdio::null()).status().unwrap().success()
    }
}

#[test]
fn commands_come_from_a_broker_that_wants_certificates() {
    let secured = Secured::new();
    let arguments = secured.arguments();
    let subscriber = Subscriber::start(secured.broker.port, &arguments.each_ref().map(String::as_str));
    for (version, value) in [("3.1.1", 101), ("5", 102)] {
        let site = secured.site(version, Some(&secured.own));
        let mut running = run(&site);
        running.wait_for("writes are accepted on topic");
        // Who has none of the CA's certificates is not let in, and nothing is written.
        let only_ca = [&arguments[0], &arguments[1]].map(Clone::clone);
        assert!(!secured.publish(&request("intruder", "setpoint", json!(666)), &only_ca));
        assert!(secured.publish(&request(version, "setpoint", json!(value)), &arguments));
        let answer = || {
            let all = subscriber.all().into_iter().filter(|r| r.topic == "fieldbeat/line-4/answer");
            all.filter_map(|r| serde_json::from_str::<Json>(&r.payload).ok()).find(|answer| answer["id"] == version)
        };
        wait("the answer", || answer().is_some());
        let answer = answer().unwrap();
        assert_eq!((&answer["outcome"], &answer["new"]), (&json!("done"), &json!(value)), "{answer}");
        assert_eq!(register(&secured.server, 30), value);
        running.stop().assert_clean();
        let records = audit(&site);
        assert!(records.iter().any(|record| record["way"] == "mqtt" && record["outcome"] == "done"), "{records:?}");
        assert!(records.iter().all(|record| record["id"] != "intruder"));
    }
}

#[test]
fn without_the_right_certificate_no_command_is_taken_and_the_log_says_what_is_missing() {
    let secured = Secured::new();
    let cases = [
        (None, "requires a client certificate", "`cert` and `key`"),
        (Some(&secured.foreign), "refuses our client certificate", "the broker's CA"),
    ];
    for (pair, says, helps) in cases {
        for version in ["3.1.1", "5"] {
            let site = secured.site(version, pair);
            let mut running = run(&site);
            running.wait_for("commands of output local: ");
            assert!(secured.publish(&request("1", "setpoint", json!(77)), &secured.arguments()));
            std::thread::sleep(Duration::from_millis(500));
            let log = running.log();
            let told: Vec<&str> = log.lines().filter(|line| line.contains("commands of output local: ")).collect();
            assert!(told.iter().any(|line| line.contains(says) && line.contains(helps)), "{told:?}");
            assert!(!log.contains("writes are accepted on topic"), "{log}");
            assert_ne!(register(&secured.server, 30), 77);
            // Everything else runs: the socket takes what the broker does not bring.
            assert_eq!(site.command("write", &["setpoint", "5"]).0, 0);
            assert_eq!(register(&secured.server, 30), 5);
            running.stop();
        }
    }
}
