//! `[outputs.NAME]` of type mqtt.

use super::common::{Scheme, check_placeholders, placeholders_allowed, read_password, read_tls, read_urls, short_text};
use crate::config::fields;
use crate::config::model::{CommandTopics, MqttConfig, MqttVersion, OutputConfig, OutputKind, TopicPer};
use crate::config::names::quoted;
use crate::config::paths::Base;
use crate::config::reader::Obj;
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
    let topic_per = output.choice("topic_per", fields::TOPIC_PER).unwrap_or(TopicPer::Group);
    let topic = read_data_topic(output, topic_per);
    let status_topic = read_topic(output, "status_topic", fields::STATUS_TOPIC, &["gateway"], "");
    let meta_topic = read_topic(output, "meta_topic", fields::META_TOPIC, &["gateway"], "");
    let per_tag = topic_per == TopicPer::Tag;
    if per_tag && output.get("batch_ms").is_some() {
        let message = "batch_ms has no effect with topic_per = \"tag\"";
        output.warning(
            output.span_of("batch_ms"),
            message,
            "each sample is a message of its own and is sent \
            immediately",
        );
    }
    let config = MqttConfig {
        version,
        tls,
        user,
        password,
        client_id,
        qos: output.int(&fields::QOS) as u8,
        topic_per,
        topic,
        // A message of a group says nothing of what stands in those before it: to keep it helps few.
        retain: output.opt_flag("retain").unwrap_or(per_tag),
        status_topic,
        // Access rights of brokers that were set for topics of groups may not have it.
        meta_topic: output.opt_flag("meta").unwrap_or(per_tag).then_some(meta_topic),
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
        let help = "anyone on the network path can write to this plant; use mqtts:// in the url, with cert and key";
        output.warning(output.span_of("commands"), "commands without TLS", help);
    }
    Some(OutputKind::Mqtt(config))
}

/// Where samples go.
fn read_data_topic(output: &Obj<'_>, per: TopicPer) -> String {
    match per {
        TopicPer::Group => {
            let more = "; {tag} and {tag_path} with topic_per = \"tag\"";
            read_topic(output, "topic", fields::TOPIC, &["gateway", "group", "link"], more)
        }
        TopicPer::Tag => {
            let placeholders = ["gateway", "group", "link", "tag", "tag_path"];
            let topic = read_topic(output, "topic", fields::TAG_TOPIC, &placeholders, "");
            if !topic.contains("{tag}") && !topic.contains("{tag_path}") {
                let help = "add {tag} to it, or {tag_path}, in which the dots of the tag's name become levels";
                output.error(output.span_of("topic"), "topic is the same for all tags", help);
            }
            topic
        }
    }
}

fn read_topic(output: &Obj<'_>, key: &str, default: &str, placeholders: &[&str], more: &str) -> String {
    let Some(text) = short_text(output, key) else { return default.to_owned() };
    if let Err((start, end)) = check_placeholders(text.value, placeholders) {
        let message = format!("{key} has the unknown placeholder {}", quoted(&text.value[start..end]));
        output.error(text.part(start, end), message, placeholders_allowed(placeholders) + more);
    }
    if let Some((at, c)) = text.value.char_indices().find(|(_, c)| matches!(c, '+' | '#')) {
        let help = "allowed: the topic of one message, without + and #";
        output.error(text.part(at, at + 1), format!("{key} has the wildcard \"{c}\""), help);
    }
    if text.value.starts_with('$') {
        let help = "allowed: a topic that begins with another character; brokers reserve these topics";
        output.error(text.part(0, 1), format!("{key} begins with $"), help);
    }
    text.value.to_owned()
}

fn read_commands(output: &Obj<'_>) -> Option<CommandTopics> {
    let command_topic = read_topic(output, "command_topic", fields::COMMAND_TOPIC, &["gateway"], "");
    let answer_topic = read_topic(output, "answer_topic", fields::ANSWER_TOPIC, &["gateway"], "");
    let set_topic = read_set_topic(output);
    let (commands, set_points) = (output.flag("commands"), output.flag("set_points"));
    if set_points && !commands {
        output.error(output.span_of("set_points"), "set_points without commands", "add commands = true");
    }
    commands.then(|| CommandTopics { command_topic, answer_topic, set_topic: set_points.then_some(set_topic) })
}

/// Where plain values come: the tag is a level of its own, so that a subscription with + hears all of them.
fn read_set_topic(output: &Obj<'_>) -> String {
    let topic = read_topic(output, "set_topic", fields::SET_TOPIC, &["gateway", "tag"], "");
    let levels = topic.split('/').filter(|level| *level == "{tag}").count();
    if levels != 1 || topic.matches("{tag}").count() != 1 {
        let help = "allowed: {tag} once, alone between slashes, such as fieldbeat/{gateway}/{tag}/set";
        output.error(output.span_of("set_topic"), format!("set_topic is {}", quoted(&topic)), help);
    }
    topic
}

/// An answer that came back as a request would be answered, and so on.
fn check_command_topics(output: &Obj<'_>, mqtt: &MqttConfig) {
    let Some(CommandTopics { command_topic, answer_topic, .. }) = &mqtt.commands else { return };
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
            let message =
                format!("command_topic {topic} is also that of output {}: both would write", quoted(&other.name));
            output.error(output.span_of("commands"), message, "allowed: commands by one of the two");
        }
        let set = |mqtt: &'_ MqttConfig| mqtt.commands.as_ref().and_then(|commands| commands.set_topic.clone());
        if set(mqtt).is_some() && set(mqtt) == set(theirs) && share_a_broker(mqtt, theirs) {
            let message = format!("set_topic is also that of output {}: both would write", quoted(&other.name));
            output.error(output.span_of("set_points"), message, "allowed: set points by one of the two");
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
            let message =
                format!("client_id {} is also that of output {}", quoted(&mqtt.client_id), quoted(&other.name));
            output.error(output.span_of("client_id"), message, "allowed: a unique id for each output of a broker");
        }
    }
}
