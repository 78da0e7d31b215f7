//! `[outputs.NAME]` of type mqtt.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use url::{Host, Url};

use super::fields::{self, keys};
use super::host;
use super::model::{CommandTopics, GroupConfig, MqttConfig, MqttVersion, OutputConfig, OutputKind, TlsConfig};
use super::names::quoted;
use super::paths::{Base, path};
use super::reader::{Obj, Text};
use crate::tag::Nanos;

const VERSION: &[(&str, MqttVersion)] = &[("3.1.1", MqttVersion::V311), ("5", MqttVersion::V5)];
const URL_ALLOWED: &str = "mqtt://HOST, mqtt://HOST:PORT, mqtts://HOST or mqtts://HOST:PORT";
/// Bytes of user, password, client id and topic each: MQTT allows 65535, brokers and logs far less.
const TEXT_BYTES_MAX: usize = 1024;

/// `None` when something that has no default is missing or wrong, which has been reported.
pub(super) fn read(output: &Obj<'_>, name: &str, gateway_id: &str, base: Base<'_>) -> Option<OutputKind> {
    debug_assert!(keys::MQTT.contains(&"type"));
    output.required_choice("type", &[("mqtt", ())])?;
    let broker = read_url(output);
    let version = output.choice("version", VERSION).unwrap_or(MqttVersion::V311);
    let tls = read_tls(output, broker.as_ref(), base);
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
        host: String::new(),
        port: 0,
    };
    check_command_topics(output, &config);
    let broker = broker?;
    let local = matches!(broker.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    if config.commands.is_some() && config.tls.is_none() && !local {
        let help = "anyone on the way can write to this plant; write the url with mqtts://, with cert and key";
        output.warning(output.span_of("commands"), "commands without TLS", help);
    }
    Some(OutputKind::Mqtt(MqttConfig { host: broker.host, port: broker.port, ..config }))
}

struct Broker {
    host: String,
    port: u16,
    tls: bool,
}

fn read_url(output: &Obj<'_>) -> Option<Broker> {
    let text = output.required_text("url", URL_ALLOWED)?;
    let fault = |message: String, help: &str| {
        output.error(text.span, message, help);
        None
    };
    let allowed = format!("allowed: {URL_ALLOWED}");
    // The part before an @ may hold a password: such a URL is never repeated.
    let shown = if text.value.contains('@') { "the URL".to_owned() } else { format!("the URL {}", quoted(text.value)) };
    if text.value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return fault(format!("{shown} contains white space"), &allowed);
    }
    let url = match Url::parse(text.value) {
        Ok(url) => url,
        Err(error) => return fault(format!("{shown} cannot be read: {error}"), &allowed),
    };
    if !url.username().is_empty() || url.password().is_some() || text.value.contains('@') {
        return fault(
            "the URL contains a user".into(),
            "write user and password (or password_file) as keys of their own",
        );
    }
    let tls = match url.scheme() {
        "mqtt" => false,
        "mqtts" => true,
        scheme => return fault(format!("the URL's scheme {} is unknown", quoted(scheme)), &allowed),
    };
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return fault(format!("{shown} goes on after the port"), &allowed);
    }
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return fault(format!("{shown} has no host"), &allowed),
    };
    if let Some((wrong, help)) = host::fault(&host) {
        return fault(format!("the URL's host {} {wrong}", quoted(&host)), help);
    }
    let port = url.port().unwrap_or(if tls { fields::MQTTS_PORT } else { fields::MQTT_PORT });
    if port == 0 {
        return fault(format!("{shown} has port 0"), &allowed);
    }
    Some(Broker { host, port, tls })
}

fn read_tls(output: &Obj<'_>, broker: Option<&Broker>, base: Base<'_>) -> Option<TlsConfig> {
    let ca = file(output, "ca", base);
    let cert = file(output, "cert", base);
    let key = file(output, "key", base);
    let written = |key: &str| output.get(key).is_some();
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if written(one) && !written(other) {
            let help = "a client certificate needs both: cert and key";
            output.error(output.span_of(one), format!("{one} without {other}"), help);
        }
    }
    match broker {
        Some(Broker { tls: true, .. }) => Some(TlsConfig { ca, cert, key }),
        Some(Broker { tls: false, .. }) => {
            for key in ["ca", "cert", "key"].into_iter().filter(|key| written(key)) {
                let help = "write the url with mqtts://, or remove the key";
                output.error(output.span_of(key), format!("{key} has no meaning without TLS"), help);
            }
            None
        }
        None => None,
    }
}

fn file(output: &Obj<'_>, key: &str, base: Base<'_>) -> Option<PathBuf> {
    let path = base.dir.join(path(output, key)?);
    // Only a warning: a configuration is often checked on another machine than the gateway.
    if base.look_at_files && !path.is_file() {
        output.warning(output.span_of(key), format!("{key}: there is no file {}", path.display()), "");
    }
    Some(path)
}

fn short_text<'c>(output: &Obj<'c>, key: &str) -> Option<Text<'c>> {
    let text = output.text(key, "a text")?;
    let length = text.value.len();
    if length == 0 || length > TEXT_BYTES_MAX || text.value.chars().any(char::is_control) {
        let help = format!("allowed: 1 to {TEXT_BYTES_MAX} bytes without control characters");
        output.error(text.span, format!("{key} has {length} bytes, or control characters"), help);
        return None;
    }
    Some(text)
}

fn read_password(output: &Obj<'_>, base: Base<'_>) -> Option<String> {
    let password = short_text(output, "password").map(|text| text.value.to_owned());
    let Some(path) = path(output, "password_file") else { return password };
    let span = output.span_of("password_file");
    if output.get("password").is_some() {
        output.error(span, "password and password_file together", "allowed: one of the two");
        return password;
    }
    match password_of(&base.dir.join(path)) {
        Ok(password) => Some(password),
        Err(message) => {
            let help = format!("allowed: a file with the password on one line, 1 to {TEXT_BYTES_MAX} bytes");
            output.error(span, format!("password_file {} {message}", quoted(path)), help);
            None
        }
    }
}

/// The one line of a password file.
fn password_of(path: &std::path::Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    // A pipe or a device could keep the reader waiting for ever.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("is not a file".into());
    }
    let mut bytes = Vec::new();
    let most = TEXT_BYTES_MAX as u64 + 3;
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line.len() {
        0 => Err("is empty".into()),
        length if length > TEXT_BYTES_MAX => Err(format!("has more than {TEXT_BYTES_MAX} bytes")),
        _ if line.chars().any(char::is_control) => Err("has more than one line, or control characters".into()),
        _ => Ok(line.to_owned()),
    }
}

fn read_topic(output: &Obj<'_>, key: &str, default: &str, placeholders: &[&str]) -> String {
    let Some(text) = short_text(output, key) else { return default.to_owned() };
    if let Some((at, c)) = text.value.char_indices().find(|(_, c)| matches!(c, '+' | '#')) {
        let help = "allowed: the topic of one message, without + and #";
        output.error(text.part(at, at + 1), format!("{key} has the wildcard \"{c}\""), help);
    }
    if let Err((start, end)) = check_placeholders(text.value, placeholders) {
        let names: Vec<String> = placeholders.iter().map(|name| format!("{{{name}}}")).collect();
        let message = format!("{key} has the unknown placeholder {}", quoted(&text.value[start..end]));
        output.error(text.part(start, end), message, format!("allowed: {}", names.join(", ")));
    }
    text.value.to_owned()
}

/// The bytes of the first brace expression that is none of `placeholders`.
fn check_placeholders(topic: &str, placeholders: &[&str]) -> Result<(), (usize, usize)> {
    let mut at = 0;
    while let Some(found) = topic[at..].find(['{', '}']) {
        let start = at + found;
        let rest = &topic[start..];
        let end = match rest.find('}') {
            Some(close) if rest.starts_with('{') => start + close + 1,
            Some(_) => return Err((start, start + 1)),
            None => return Err((start, topic.len())),
        };
        if !placeholders.contains(&&topic[start + 1..end - 1]) {
            return Err((start, end));
        }
        at = end;
    }
    Ok(())
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
pub(super) fn check_commands(output: &Obj<'_>, config: &OutputConfig, others: &[OutputConfig]) {
    let OutputKind::Mqtt(mqtt) = &config.kind;
    let Some(commands) = &mqtt.commands else { return };
    for other in others {
        let OutputKind::Mqtt(theirs) = &other.kind;
        let same_topic = theirs.commands.as_ref().is_some_and(|theirs| theirs.command_topic == commands.command_topic);
        if same_topic && (&mqtt.host, mqtt.port) == (&theirs.host, theirs.port) {
            let topic = quoted(&commands.command_topic);
            let message = format!("command_topic {topic} is output {}'s too: both would write", quoted(&other.name));
            output.error(output.span_of("commands"), message, "allowed: commands by one of the two");
        }
    }
}

/// Two clients with one id throw each other off their broker for ever.
pub(super) fn check_client_ids(output: &Obj<'_>, config: &OutputConfig, others: &[OutputConfig]) {
    let OutputKind::Mqtt(mqtt) = &config.kind;
    for other in others {
        let OutputKind::Mqtt(theirs) = &other.kind;
        if (&mqtt.client_id, &mqtt.host, mqtt.port) == (&theirs.client_id, &theirs.host, theirs.port) {
            let message = format!("client_id {} is output {}'s too", quoted(&mqtt.client_id), quoted(&other.name));
            output.error(output.span_of("client_id"), message, "allowed: an id of its own for each output of a broker");
        }
    }
}

/// The group whose samples would be published on a topic with another use, if there is one.
pub(super) fn group_on_topic<'g>(
    mqtt: &MqttConfig,
    other_topic: &str,
    gateway_id: &str,
    groups: &'g [GroupConfig],
) -> Option<&'g GroupConfig> {
    let other = other_topic.replace("{gateway}", gateway_id);
    let topic = mqtt.topic.replace("{gateway}", gateway_id);
    groups.iter().find(|group| topic.replace("{group}", &group.name) == other)
}

#[cfg(test)]
mod tests {
    use super::check_placeholders;

    #[test]
    fn only_known_placeholders_pass() {
        let known = ["gateway", "group"];
        assert_eq!(check_placeholders("a/{gateway}/{group}", &known), Ok(()));
        assert_eq!(check_placeholders("a/{tag}", &known), Err((2, 7)));
        assert_eq!(check_placeholders("a/{é", &known), Err((2, 5)));
        assert_eq!(check_placeholders("a}/b", &known), Err((1, 2)));
        assert_eq!(check_placeholders("{{gateway}}", &known), Err((0, 10)));
    }
}
