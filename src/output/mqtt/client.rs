//! MQTT 3.1.1 and 5 behind one face: the client's two halves, its events, its failures.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;
use rumqttc::{NetworkOptions, Outgoing, Transport};
use rustls::ClientConfig;

use crate::config::MqttVersion;
use crate::limits::MQTT_CONNECT_TIMEOUT;
use crate::peer::{Failure, Peer};

/// What one connection is made with.
#[derive(Debug)]
pub(super) struct ClientSettings {
    pub(super) peer: Peer,
    pub(super) version: MqttVersion,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) keep_alive: Duration,
    /// At least 1.
    pub(super) in_flight_max: u16,
    /// Of topic and payload of the largest message.
    pub(super) packet_bytes_max: usize,
    /// Where the last will says [`OFFLINE`]; `None`: there is none.
    pub(super) will_topic: Option<String>,
}

/// Said by the last will and at a clean stop.
pub(super) const OFFLINE: &str = "offline";
/// Said once connected.
pub(super) const ONLINE: &str = "online";

/// What the broker set on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BrokerLimits {
    pub(super) in_flight_max: u16,
    pub(super) packet_bytes_max: usize,
    pub(super) qos_max: u8,
}

#[derive(Debug)]
pub(super) enum Event {
    Connected(BrokerLimits),
    /// A message is on the wire (flushed to the socket), with its packet identifier; 0 for QoS 0.
    Published(u16),
    /// `refused`: the broker's reason for not taking the message.
    Acknowledged {
        packet: u16,
        refused: Option<String>,
    },
    /// Our DISCONNECT is on the wire.
    Disconnected,
    /// A message, or another packet, that nothing asked for: an output subscribes to nothing.
    Unasked,
    /// The broker breaks the protocol.
    Violation(String),
    Other,
}

/// Hands messages to the connection.
pub(super) enum Publisher {
    V311(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

/// Drives the connection. Its `poll` must run to its end: a dropped one may have put half a message on the wire.
pub(super) struct Events {
    client: EventLoop,
    /// What came before a failure and is still to be told.
    rest: VecDeque<Event>,
    failure: Option<Failure>,
}

enum EventLoop {
    V311(Box<rumqttc::EventLoop>),
    V5(Box<rumqttc::v5::EventLoop>),
}

/// The client's queue holds all that may be in flight, and what status messages and DISCONNECT need.
fn queue_len(settings: &ClientSettings) -> usize {
    usize::from(settings.in_flight_max) + 8
}

/// Bytes of what a broker may send us: acknowledgements, at most with a reason and properties.
const INCOMING_BYTES_MAX: u32 = 64 << 10;

pub(super) fn open(settings: &ClientSettings, tls: Option<Arc<ClientConfig>>) -> (Publisher, Events) {
    let transport = match tls {
        Some(tls) => Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(tls)),
        None => Transport::Tcp,
    };
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(MQTT_CONNECT_TIMEOUT.as_secs());
    let (publisher, client) = match settings.version {
        MqttVersion::V311 => open_v311(settings, transport, network),
        MqttVersion::V5 => open_v5(settings, transport, network),
    };
    (publisher, Events { client, rest: VecDeque::new(), failure: None })
}

/// The keep alive travels as 16 bits of seconds, and the client panics below `least`.
fn keep_alive(settings: &ClientSettings, least: u64) -> Duration {
    Duration::from_secs(settings.keep_alive.as_secs().clamp(least, u64::from(u16::MAX)))
}

fn open_v311(settings: &ClientSettings, transport: Transport, network: NetworkOptions) -> (Publisher, EventLoop) {
    let peer = &settings.peer;
    let mut options = rumqttc::MqttOptions::new(&peer.client_id, &peer.host, peer.port);
    options
        .set_transport(transport)
        .set_keep_alive(keep_alive(settings, 1))
        .set_clean_session(true)
        .set_inflight(settings.in_flight_max.max(1))
        .set_max_packet_size(INCOMING_BYTES_MAX as usize, settings.packet_bytes_max);
    if let Some(topic) = &settings.will_topic {
        options.set_last_will(v4::LastWill::new(topic, OFFLINE, rumqttc::QoS::AtLeastOnce, true));
    }
    if let Some(user) = &settings.user {
        options.set_credentials(user, settings.password.as_deref().unwrap_or_default());
    }
    let (client, mut events) = rumqttc::AsyncClient::new(options, queue_len(settings));
    events.set_network_options(network);
    (Publisher::V311(client), EventLoop::V311(Box::new(events)))
}

fn open_v5(settings: &ClientSettings, transport: Transport, network: NetworkOptions) -> (Publisher, EventLoop) {
    use rumqttc::v5::mqttbytes::QoS;
    let peer = &settings.peer;
    let mut options = rumqttc::v5::MqttOptions::new(&peer.client_id, &peer.host, peer.port);
    options
        .set_transport(transport)
        .set_keep_alive(keep_alive(settings, 5))
        .set_clean_start(true)
        .set_outgoing_inflight_upper_limit(settings.in_flight_max.max(1))
        .set_max_packet_size(Some(INCOMING_BYTES_MAX))
        .set_connection_timeout(MQTT_CONNECT_TIMEOUT.as_secs())
        .set_network_options(network);
    if let Some(topic) = &settings.will_topic {
        options.set_last_will(v5::LastWill::new(topic, OFFLINE, QoS::AtLeastOnce, true, None));
    }
    if let Some(user) = &settings.user {
        options.set_credentials(user, settings.password.as_deref().unwrap_or_default());
    }
    let (client, events) = rumqttc::v5::AsyncClient::new(options, queue_len(settings));
    (Publisher::V5(client), EventLoop::V5(Box::new(events)))
}

impl Publisher {
    /// Queues a message. `false`: the queue is full or the topic is none; neither can be while the caller
    /// keeps to `in_flight_max` and checked its topics.
    pub(super) fn publish(&self, topic: &str, at_least_once: bool, retain: bool, payload: Vec<u8>) -> bool {
        use rumqttc::v5::mqttbytes::QoS as Qos5;
        match self {
            Publisher::V311(client) => {
                let qos = if at_least_once { rumqttc::QoS::AtLeastOnce } else { rumqttc::QoS::AtMostOnce };
                client.try_publish(topic, qos, retain, payload).is_ok()
            }
            Publisher::V5(client) => {
                let qos = if at_least_once { Qos5::AtLeastOnce } else { Qos5::AtMostOnce };
                client.try_publish(topic, qos, retain, payload).is_ok()
            }
        }
    }

    pub(super) fn disconnect(&self) -> bool {
        match self {
            Publisher::V311(client) => client.try_disconnect().is_ok(),
            Publisher::V5(client) => client.try_disconnect().is_ok(),
        }
    }
}

impl Events {
    /// The next event, or why the connection failed.
    pub(super) async fn poll(&mut self, peer: &Peer) -> Result<Event, Failure> {
        if self.failure.is_none() {
            match self.client.poll(peer).await {
                Ok(event) => return Ok(event),
                Err(failure) => {
                    // The last acknowledgements, or a refusal, may have come in one piece with the end.
                    self.rest = self.client.received();
                    self.failure = Some(failure);
                }
            }
        }
        match self.rest.pop_front() {
            Some(event) => Ok(event),
            None => Err(self.failure.clone().unwrap_or_else(|| peer.closed())),
        }
    }
}

impl EventLoop {
    async fn poll(&mut self, peer: &Peer) -> Result<Event, Failure> {
        match self {
            EventLoop::V311(events) => match events.poll().await {
                Ok(event) => Ok(event_v311(&event)),
                Err(error) => Err(failure_v311(&error, peer)),
            },
            EventLoop::V5(events) => match events.poll().await {
                Ok(event) => {
                    if events.options.keep_alive().is_zero() {
                        // The broker switched the keep alive off; the client would ping without pause.
                        events.options.set_keep_alive(Duration::from_secs(u64::from(u16::MAX)));
                    }
                    Ok(event_v5(&event))
                }
                Err(error) => Err(failure_v5(&error, peer)),
            },
        }
    }

    /// What was received and not yet told when the connection failed. What was to be sent is left out: it may
    /// not have reached the socket.
    fn received(&mut self) -> VecDeque<Event> {
        match self {
            EventLoop::V311(events) => {
                let incoming = |e: &rumqttc::Event| matches!(e, rumqttc::Event::Incoming(_));
                events.state.events.drain(..).filter(incoming).map(|e| event_v311(&e)).collect()
            }
            EventLoop::V5(events) => {
                let incoming = |e: &rumqttc::v5::Event| matches!(e, rumqttc::v5::Event::Incoming(_));
                events.state.events.drain(..).filter(incoming).map(|e| event_v5(&e)).collect()
            }
        }
    }
}

fn event_v311(event: &rumqttc::Event) -> Event {
    match event {
        rumqttc::Event::Incoming(v4::Packet::ConnAck(_)) => {
            Event::Connected(BrokerLimits { in_flight_max: u16::MAX, packet_bytes_max: usize::MAX, qos_max: 2 })
        }
        rumqttc::Event::Incoming(v4::Packet::PubAck(ack)) => Event::Acknowledged { packet: ack.pkid, refused: None },
        rumqttc::Event::Incoming(v4::Packet::PingResp) => Event::Other,
        rumqttc::Event::Incoming(_) => Event::Unasked,
        rumqttc::Event::Outgoing(outgoing) => event_outgoing(outgoing),
    }
}

fn event_v5(event: &rumqttc::v5::Event) -> Event {
    match event {
        rumqttc::v5::Event::Incoming(v5::Packet::ConnAck(ack)) => {
            let properties = ack.properties.as_ref();
            Event::Connected(BrokerLimits {
                in_flight_max: properties.and_then(|p| p.receive_max).unwrap_or(u16::MAX),
                packet_bytes_max: properties.and_then(|p| p.max_packet_size).map_or(usize::MAX, |n| n as usize),
                qos_max: properties.and_then(|p| p.max_qos).unwrap_or(2),
            })
        }
        rumqttc::v5::Event::Incoming(v5::Packet::PubAck(ack)) => {
            let refused = match ack.reason {
                v5::PubAckReason::Success | v5::PubAckReason::NoMatchingSubscribers => None,
                reason => Some(format!("{reason:?}")),
            };
            Event::Acknowledged { packet: ack.pkid, refused }
        }
        rumqttc::v5::Event::Incoming(v5::Packet::Publish(publish)) => {
            match publish.properties.as_ref().and_then(|properties| properties.topic_alias) {
                Some(alias) => {
                    let text = format!(
                        "topic alias {alias}, although this client allows none (Topic Alias Maximum \
                        is 0)"
                    );
                    Event::Violation(text)
                }
                None => Event::Unasked,
            }
        }
        // What DISCONNECT says is told by the error that follows it.
        rumqttc::v5::Event::Incoming(v5::Packet::PingResp(_) | v5::Packet::Disconnect(_)) => Event::Other,
        rumqttc::v5::Event::Incoming(_) => Event::Unasked,
        rumqttc::v5::Event::Outgoing(outgoing) => event_outgoing(outgoing),
    }
}

fn event_outgoing(outgoing: &Outgoing) -> Event {
    match outgoing {
        Outgoing::Publish(packet) => Event::Published(*packet),
        Outgoing::Disconnect => Event::Disconnected,
        _ => Event::Other,
    }
}

fn failure_v311(error: &rumqttc::ConnectionError, peer: &Peer) -> Failure {
    use rumqttc::{ConnectionError as E, StateError as S};
    match error {
        E::NetworkTimeout => peer.silent(MQTT_CONNECT_TIMEOUT.as_secs()),
        E::FlushTimeout => Failure::Silent(format!("{} accepts no more bytes: connection lost", peer.address())),
        E::ConnectionRefused(code) => match code {
            v4::ConnectReturnCode::BadUserNamePassword => peer.bad_login(),
            v4::ConnectReturnCode::NotAuthorized => peer.not_authorised(),
            v4::ConnectReturnCode::RefusedProtocolVersion => {
                peer.refused("it does not speak MQTT 3.1.1; set `version` to 5")
            }
            code => peer.refused(&format!("{code:?}")),
        },
        E::NotConnAck(_) => peer.garbage("no CONNACK"),
        E::MqttState(S::AwaitPingResp | S::CollisionTimeout) => peer.keep_alive_lost(),
        E::MqttState(S::ConnectionAborted) => peer.closed(),
        E::MqttState(S::Deserialization(e)) if !matches!(e, rumqttc::mqttbytes::Error::Io(_)) => {
            peer.garbage(&e.to_string())
        }
        other => peer.describe(other),
    }
}

fn failure_v5(error: &rumqttc::v5::ConnectionError, peer: &Peer) -> Failure {
    use rumqttc::v5::mqttbytes::Error as B;
    use rumqttc::v5::{ConnectionError as E, StateError as S};
    match error {
        E::Timeout(_) => peer.silent(MQTT_CONNECT_TIMEOUT.as_secs()),
        E::ConnectionRefused(code) => match code {
            v5::ConnectReturnCode::BadUserNamePassword => peer.bad_login(),
            v5::ConnectReturnCode::NotAuthorized => peer.not_authorised(),
            v5::ConnectReturnCode::RefusedProtocolVersion | v5::ConnectReturnCode::UnsupportedProtocolVersion => {
                peer.refused("it does not speak MQTT 5; set `version` to 3.1.1")
            }
            code => peer.refused(&format!("{code:?}")),
        },
        E::NotConnAck(_) => peer.garbage("no CONNACK"),
        E::MqttState(S::AwaitPingResp | S::CollisionTimeout) => peer.keep_alive_lost(),
        E::MqttState(S::ConnectionAborted) => peer.closed(),
        E::MqttState(S::ServerDisconnect { reason_code, reason_string }) => {
            let why = reason_string.as_deref().unwrap_or_default();
            let text = format!("{} ended the connection: {reason_code:?} {why}", peer.address());
            Failure::Refused(text.trim_end().to_string())
        }
        E::MqttState(S::OutgoingPacketTooLarge { pkt_size, max }) => Failure::Refused(format!(
            "{} accepts packets of at most {max} bytes, but a single sample needs {pkt_size}; raise the broker's limit",
            peer.address()
        )),
        E::MqttState(S::Deserialization(B::Io(e))) => peer.describe(e),
        E::MqttState(S::Deserialization(e)) => peer.garbage(&e.to_string()),
        other => peer.describe(other),
    }
}
