//! MQTT 3.1.1 and 5: publishes the journal from a durable cursor on, at least once, in order, nothing missing.
//!
//! One ordinary thread an output. It reads blocks, gathers the samples of each group into messages ([`payload`] says how they
//! look) or makes one of each sample of each tag ([`tag_payload`]), and keeps at most `in_flight_max` of them unacknowledged. The cursor moves
//! only over messages that are acknowledged and have no unacknowledged one before them. On any failure the
//! connection is dropped with all its state, and the next one starts again at the cursor: what was in flight is
//! sent again, with the same sequence numbers.
//!
//! With QoS 0 a message counts as acknowledged once the socket has taken it: what the network or the broker
//! loses then is lost.

mod brokers;
mod client;
mod commands;
mod failure;
pub mod form;
#[doc(hidden)]
pub mod fuzz;
mod meta;
pub mod payload;
pub mod tag_payload;
pub mod topic;
mod wire;
mod worker;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::engine::{self, Engine, Feed, GatherSettings};
use super::peer::{Peer, roots_of};
use super::tls::{self, Renewed};
use super::{OutputError, OutputHandle};
use crate::command::Desk;
use crate::config::{MqttConfig, TopicPer};
use crate::limits::{
    COMMAND_BYTES_MAX, COMMAND_IN_FLIGHT_MAX, MQTT_MESSAGE_BYTES_MAX, MQTT_MESSAGE_BYTES_MIN, MQTT_STRING_BYTES_MAX,
};

use brokers::Brokers;
use client::ClientSettings;
use commands::Commands;
use failure::WORDS;
use form::MqttForm;
pub use meta::MetaBoard;
use meta::MetaPublisher;
use topic::Topic;
use worker::{Publishing, Worker};

/// Bytes that an MQTT packet adds to topic and payload at most: fixed header, lengths, identifier, properties.
const PACKET_OVERHEAD_BYTES: usize = 32;

/// Starts an output. Certificates and keys are read and checked here; everything that only the network can tell
/// comes later, in `stats`. It ends when `stop` is set: what the journal holds is sent as far as a bounded time
/// allows, `offline` is published, the cursor is saved.
pub fn spawn(feed: Feed, config: &MqttConfig) -> Result<OutputHandle, OutputError> {
    spawn_with(feed, config, Arc::default())
}

/// The same, with what the gateway says of itself where the configuration wants that.
///
/// # Errors
/// What [`spawn`] refuses.
pub fn spawn_with(feed: Feed, config: &MqttConfig, board: Arc<MetaBoard>) -> Result<OutputHandle, OutputError> {
    check(config)?;
    let topic = Topic::new("topic", &config.topic, &feed.gateway)?;
    let status_topic = Topic::new("status_topic", &config.status_topic, &feed.gateway)?.plain();
    let tls = config.tls.as_ref().map(tls::client_config).transpose()?;
    let message_bytes_max = config.message_bytes_max.clamp(MQTT_MESSAGE_BYTES_MIN, MQTT_MESSAGE_BYTES_MAX);
    let brokers = brokers(config, &config.client_id);
    let client = ClientSettings {
        peer: brokers.peer().clone(),
        version: config.version,
        user: config.user.clone(),
        password: config.password.clone(),
        keep_alive: Duration::from_nanos(config.keep_alive.0),
        in_flight_max: config.in_flight_max.max(1),
        // One sample may be larger than a message should be; it is sent alone.
        packet_bytes_max: MQTT_MESSAGE_BYTES_MAX * 2,
        will_topic: Some(status_topic.clone()),
    };
    let meta = config.meta_topic.as_ref().map(|template| {
        let meta_topic = Topic::new("meta_topic", template, &feed.gateway)?.plain();
        let set_topic = set_topic(config, &feed.gateway)?;
        let (per, choice) = ((config.topic_per, &topic), feed.choice.clone());
        Ok(MetaPublisher::new(board, &feed.gateway, meta_topic, choice, per, set_topic))
    });
    let meta = meta.transpose()?;
    let topic_bytes_max =
        [topic.bytes_max(), status_topic.len()].into_iter().chain(meta.as_ref().map(|m| m.topic_bytes_max()));
    let publishing = Publishing {
        message_bytes_max,
        topic_bytes_max: topic_bytes_max.max().unwrap_or_default(),
        retain: config.retain,
        meta,
    };
    // A message of a tag is one sample, sent at once.
    let samples_max = if config.topic_per == TopicPer::Tag { 1 } else { u32::MAX };
    let gather = GatherSettings::new(config.batch, message_bytes_max, samples_max);
    let worker = Worker::new(client, brokers, config.tls.clone(), tls, config.qos > 0, publishing);
    let form = MqttForm::new(config.topic_per, topic);
    engine::start(format!("mqtt-{}", feed.name), Engine::new(form, gather, feed), worker)
}

/// Where plain values for single tags come from, if they may.
fn set_topic(config: &MqttConfig, gateway: &str) -> Result<Option<Topic>, OutputError> {
    let template = config.commands.as_ref().and_then(|commands| commands.set_topic.as_ref());
    template.map(|template| Topic::new("set_topic", template, gateway)).transpose()
}

/// The brokers, as a client of that id sees them.
fn brokers(config: &MqttConfig, client_id: &str) -> Brokers {
    let peers = config.brokers().map(|(host, port)| peer(config, host, port, client_id)).collect();
    Brokers::new(peers, Duration::from_nanos(config.return_after.0))
}

fn peer(config: &MqttConfig, host: &str, port: u16, client_id: &str) -> Peer {
    Peer {
        words: WORDS,
        host: host.trim_start_matches('[').trim_end_matches(']').to_string(),
        port,
        roots: config.tls.as_ref().map(roots_of),
        has_certificate: config.tls.as_ref().is_some_and(|tls| tls.cert.is_some()),
        user: config.user.clone(),
        client_id: client_id.to_owned(),
    }
}

/// Starts to take requests to write, on a connection of its own; `None`: the output takes none. It ends when `stop` is
/// set.
///
/// # Errors
/// What [`spawn`] would refuse.
pub fn spawn_commands(
    name: &str,
    gateway: &str,
    config: &MqttConfig,
    desk: Desk,
    stop: Arc<AtomicBool>,
) -> Result<Option<OutputHandle>, OutputError> {
    let Some(topics) = &config.commands else { return Ok(None) };
    check(config)?;
    let plain = |key, template| Topic::new(key, template, gateway).map(|topic| topic.plain());
    let command_topic = plain("command_topic", &topics.command_topic)?;
    let answer_topic = plain("answer_topic", &topics.answer_topic)?;
    let topics = (command_topic, answer_topic, set_topic(config, gateway)?);
    let tls = config.tls.as_ref().map(tls::client_config).transpose()?;
    let brokers = brokers(config, &format!("{}-commands", config.client_id));
    let client = ClientSettings {
        peer: brokers.peer().clone(),
        version: config.version,
        user: config.user.clone(),
        password: config.password.clone(),
        keep_alive: Duration::from_nanos(config.keep_alive.0),
        in_flight_max: COMMAND_IN_FLIGHT_MAX as u16,
        packet_bytes_max: COMMAND_BYTES_MAX * 8,
        will_topic: None,
    };
    let tls = Renewed::new(config.tls.clone(), tls);
    let mut commands = Commands::new(name, (client, brokers), tls, config.qos > 0, topics, desk, stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(OutputError::Thread)?;
    let thread = std::thread::Builder::new()
        .name(format!("cmd-{name}"))
        .spawn(move || {
            runtime.block_on(commands.run());
            // A name that is still being resolved must not hold up the stop.
            runtime.shutdown_background();
        })
        .map_err(OutputError::Thread)?;
    Ok(Some(OutputHandle { name: name.to_string(), thread }))
}

/// Checks settings, certificates and keys as [`spawn`] does, and starts nothing.
///
/// # Errors
/// What `spawn` would refuse.
pub fn check_files(config: &MqttConfig) -> Result<(), OutputError> {
    check(config)?;
    config.tls.as_ref().map(tls::client_config).transpose().map(|_| ())
}

/// What the client would refuse by a panic, and what does not fit an MQTT packet.
fn check(config: &MqttConfig) -> Result<(), OutputError> {
    if config.qos > 1 {
        let reason = format!("it is {}; supported are 0 (at most once) and 1 (at least once)", config.qos);
        return Err(OutputError::Setting { key: "qos", reason });
    }
    let strings = [
        ("client_id", Some(&config.client_id)),
        ("user", config.user.as_ref()),
        ("password", config.password.as_ref()),
    ];
    for (key, value) in strings {
        let bytes = value.map_or(0, String::len);
        if bytes > MQTT_STRING_BYTES_MAX {
            let reason = format!("it has {bytes} bytes; MQTT allows {MQTT_STRING_BYTES_MAX}");
            return Err(OutputError::Setting { key, reason });
        }
    }
    if config.password.is_some() && config.user.is_none() {
        let reason = "MQTT 3.1.1 has no password without a user; set `user` too".to_string();
        return Err(OutputError::Setting { key: "password", reason });
    }
    Ok(())
}
