//! `[outputs.NAME]` of type mqtt.

use super::fields;
use super::model::{CommandTopics, GroupConfig, MqttConfig, MqttVersion, OutputConfig, OutputKind};
use super::names::quoted;
use super::outputs::{Scheme, read_password, read_tls, read_urls, short_text, template};
use super::paths::Base;
use super::reader::Obj;
use crate::tag::Nanos;

const VERSION: &[(&str, MqttVersion)] = &[("3.1.1", MqttVersion::V311), ("5", MqttVersion::V5)];
const SCHEME: Scheme = Scheme {
    plain: ("mqtt", fields::MQTT_PORT),
    tls: ("mqtts", fields::MQTTS_PORT),
    has_path: false,
    allowed: "mqtt://HOST, mqtt://HOST:PORT, mqtts://HOST or mqtts://HOST:PORT",
};

/// `None` when something that has no default is missing or wrong, which has been reported.
pub fn read(output: &Obj<'_>, name: &str, gateway_id: &str, base: Base<'_>) -> Option<OutputKind> {
    let brokers = read_urls(output, &SCHEME);
    let version = output.choice("version", VERSION).unwrap_or(MqttVersion::V311);
    let tls = read_tls(output, brokers.as_ref().and_then(|brokers| brokers.first()), "mqtts://", base);
    let user = short_text(output, "user").map(|text| text.value.to_owned());
    let password = read_password(output, base);
    if user.is_none()
        && let Some(key) = ["password", "password_file"].into_iter().find(|key| output.get(key).is_some())
    {
        output.error(output.span_of(key), format!("{key} without user"), "add user = \"…\"");
    }
    let client_id = match short_text(output, "client_id") {
        Some(text) => text.value.to_owned(),
        None => format!("fieldbeat-{gateway_id}-{name}"),
    };
    let topic = read_topic(output, "topic", fields::TOPIC, &["gateway", "group"]);
    let status_topic = read_topic(output, "status_topic", fields::STATUS_TOPIC, &["gateway"]);
    let config = MqttConfig {
        version,
        tls,
        user,
        password,
        client_id,
        qos: output.int(&fields::QOS) as u8,
        topic,
        status_topic,
        batch: Nanos::from_millis(output.int(&fields::BATCH_MS)),
        message_bytes_max: output.int(&fields::MAX_MESSAGE_BYTES) as usize,
        in_flight_max: output.int(&fields::MAX_IN_FLIGHT) as u16,
        keep_alive: Nanos::from_millis(output.int(&fields::KEEP_ALIVE_S) * 1000),
        commands: read_commands(output),
        return_after: Nanos::from_millis(output.int(&fields::RETURN_AFTER_S) * 1000),
        host: String::new(),
        port: 0,
        more: Vec::new(),
    };
    check_command_topics(output, &config);
    let mut brokers = brokers?.into_iter().map(|broker| (broker.host, broker.port));
    let (host, port) = brokers.next()?;
    let config = MqttConfig { host, port, more: brokers.collect(), ..config };
    let local = config.brokers().all(|(host, _)| matches!(host, "localhost" | "127.0.0.1" | "::1"));
    if config.commands.is_some() && config.tls.is_none() && !local {
        let help = "anyone on the way can write to this plant; write the url with mqtts://, with cert and key";
        output.warning(output.span_of("commands"), "commands without TLS", help);
    }
    Some(OutputKind::Mqtt(config))
}

fn read_topic(output: &Obj<'_>, key: &str, default: &str, placeholders: &[&str]) -> String {
    let Some(text) = template(output, key, placeholders) else { return default.to_owned() };
    if let Some((at, c)) = text.value.char_indices().find(|(_, c)| matches!(c, '+' | '#')) {
        let help = "allowed: the topic of one message, without + and #";
        output.error(text.part(at, at + 1), format!("{key} has the wildcard \"{c}\""), help);
    }
    text.value.to_owned()
}

fn read_commands(output: &Obj<'_>) -> Option<CommandTopics> {
    let command_topic = read_topic(output, "command_topic", fields::COMMAND_TOPIC, &["gateway"]);
    let answer_topic = read_topic(output, "answer_topic", fields::ANSWER_TOPIC, &["gateway"]);
    output.flag("commands").then_some(CommandTopics { command_topic, answer_topic })
}

/// An answer that came back as a request would be answered, and so on.
fn check_command_topics(output: &Obj<'_>, mqtt: &MqttConfig) {
    let Some(CommandTopics { command_topic, answer_topic }) = &mqtt.commands else { return };
    for (key, other) in [("answer_topic", answer_topic), ("status_topic", &mqtt.status_topic)] {
        if command_topic == other {
            let message = format!("command_topic is the {key}, {}", quoted(other));
            output.error(output.span_of("command_topic"), message, "allowed: a topic of its own");
        }
    }
}

/// Two outputs that heard the same request would both write.
pub fn check_commands(output: &Obj<'_>, config: &OutputConfig, others: &[OutputConfig]) {
    let Some(mqtt) = config.kind.mqtt() else { return };
    let Some(commands) = &mqtt.commands else { return };
    for other in others {
        let Some(theirs) = other.kind.mqtt() else { continue };
        let same_topic = theirs.commands.as_ref().is_some_and(|theirs| theirs.command_topic == commands.command_topic);
        if same_topic && share_a_broker(mqtt, theirs) {
            let topic = quoted(&commands.command_topic);
            let message = format!("command_topic {topic} is output {}'s too: both would write", quoted(&other.name));
            output.error(output.span_of("commands"), message, "allowed: commands by one of the two");
        }
    }
}

fn share_a_broker(one: &MqttConfig, other: &MqttConfig) -> bool {
    one.brokers().any(|broker| other.brokers().any(|theirs| broker == theirs))
}

/// Two clients with one id throw each other off their broker for ever.
pub fn check_client_ids(output: &Obj<'_>, config: &OutputConfig, others: &[OutputConfig]) {
    let Some(mqtt) = config.kind.mqtt() else { return };
    for other in others {
        let Some(theirs) = other.kind.mqtt() else { continue };
        if mqtt.client_id == theirs.client_id && share_a_broker(mqtt, theirs) {
            let message = format!("client_id {} is output {}'s too", quoted(&mqtt.client_id), quoted(&other.name));
            output.error(output.span_of("client_id"), message, "allowed: an id of its own for each output of a broker");
        }
    }
}

/// The group whose samples would be published on a topic with another use, if there is one.
pub fn group_on_topic<'g>(
    mqtt: &MqttConfig,
    other_topic: &str,
    gateway_id: &str,
    groups: &'g [GroupConfig],
) -> Option<&'g GroupConfig> {
    let other = other_topic.replace("{gateway}", gateway_id);
    let topic = mqtt.topic.replace("{gateway}", gateway_id);
    groups.iter().find(|group| topic.replace("{group}", &group.name) == other)
}
