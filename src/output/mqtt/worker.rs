//! One connection to a broker: from its first packet to its end.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::Instant;

use super::PACKET_OVERHEAD_BYTES;
use super::brokers::Brokers;
use super::client::{self, BrokerLimits, ClientSettings, Event, Events, OFFLINE, ONLINE, Publisher};
use super::form::MqttForm;
use super::meta::MetaPublisher;
use crate::OutputState;
use crate::command::Bucket;
use crate::config::TlsConfig;
use crate::engine::flight::{Flight, Progress};
use crate::engine::{self, Again, Ended, Failed, First, first_of};
use crate::limits::{
    MQTT_MESSAGE_BYTES_MAX, MQTT_STALL_MIN, MQTT_UNASKED_PER_S_MAX, OUTPUT_POLL, OUTPUT_STOP_FAREWELL, OUTPUT_STOP_WAIT,
};
use crate::peer::Failure;
use crate::store::Position;
use crate::tls::Renewed;

type Engine = engine::Engine<MqttForm>;

pub(super) struct Worker {
    /// For the broker in use.
    settings: ClientSettings,
    brokers: Brokers,
    status_topic: String,
    tls: Renewed,
    at_least_once: bool,
    publishing: Publishing,
}

/// How messages go out.
pub(super) struct Publishing {
    pub(super) message_bytes_max: usize,
    /// The most bytes of a topic.
    pub(super) topic_bytes_max: usize,
    /// Of samples.
    pub(super) retain: bool,
    pub(super) meta: Option<MetaPublisher>,
}

/// The way out, step by step.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    /// Not yet, or sending what is left and waiting for acknowledgements.
    No,
    /// `offline` is on its way.
    Farewell { since: Instant },
    /// DISCONNECT is on its way.
    Disconnecting { since: Instant },
}

/// One connection.
struct Connection {
    publisher: Publisher,
    flight: Flight,
    in_flight_max: usize,
    connected: Instant,
    acknowledged: bool,
    leaving: Leaving,
    /// Since when the way leads back to the first broker.
    returning: Option<Instant>,
    /// How much more the broker may send that nothing asked for.
    unasked: Bucket,
}

impl Connection {
    fn ended(&self) -> Ended {
        if self.returning.is_some() { Ended::Again } else { Ended::Stopped }
    }
}

impl Failed for Failure {
    fn again(&self) -> Again {
        Again::Growing
    }
}

impl engine::Client<MqttForm> for Worker {
    type Failure = Failure;

    async fn connection(&mut self, engine: &mut Engine) -> Result<Ended, Failure> {
        self.settings.peer = self.brokers.peer().clone();
        engine.stats.server.store(self.brokers.index() as u64, Relaxed);
        let ended = self.talk(engine).await;
        match &ended {
            Ok(Ended::Again) => self.brokers.go_first(),
            Ok(Ended::Stopped) => {}
            Err(_) => self.brokers.failed(),
        }
        ended
    }
}

impl Worker {
    async fn talk(&mut self, engine: &mut Engine) -> Result<Ended, Failure> {
        let (publisher, mut events) = client::open(&self.settings, self.tls.renew(&engine.name));
        let Some(limits) = self.connect(engine, &mut events).await? else { return Ok(Ended::Stopped) };
        let mut connection = self.begin(engine, publisher, limits)?;

        let peer = self.settings.peer.clone();
        let mut tick = pin!(tokio::time::sleep(OUTPUT_POLL));
        loop {
            self.fill(engine, &mut connection)?;
            let mut poll = pin!(events.poll(&peer));
            let event = loop {
                match first_of(tick.as_mut(), poll.as_mut()).await {
                    First::Left(()) => {
                        tick.as_mut().reset(Instant::now() + OUTPUT_POLL);
                        if self.tick(engine, &mut connection)? {
                            return Ok(connection.ended());
                        }
                    }
                    First::Right(event) => break event.map_err(|failure| self.explain(&connection, failure))?,
                }
            };
            if self.handle(engine, &mut connection, event)? {
                return Ok(connection.ended());
            }
        }
    }

    pub(super) fn new(
        settings: ClientSettings,
        brokers: Brokers,
        tls_files: Option<TlsConfig>,
        tls: Option<Arc<ClientConfig>>,
        at_least_once: bool,
        publishing: Publishing,
    ) -> Worker {
        Worker {
            publishing,
            status_topic: settings.will_topic.clone().unwrap_or_default(),
            settings,
            brokers,
            tls: Renewed::new(tls_files, tls),
            at_least_once,
        }
    }

    /// MQTT 3.1.1 has no way to refuse a message but to close the connection.
    fn explain(&self, connection: &Connection, failure: Failure) -> Failure {
        if connection.acknowledged || !connection.flight.holds_data() || !matches!(failure, Failure::Closed(_)) {
            return failure;
        }
        Failure::Refused(format!(
            "{} closed the connection without acknowledging a message; it may forbid the topic or packets of this \
             size: look at its log, lower `max_message_bytes`",
            self.settings.peer.address()
        ))
    }

    /// Waits for CONNACK. `None`: stopped meanwhile.
    async fn connect(&self, engine: &Engine, events: &mut Events) -> Result<Option<BrokerLimits>, Failure> {
        let peer = self.settings.peer.clone();
        loop {
            let mut poll = pin!(events.poll(&peer));
            let event = loop {
                match first_of(pin!(tokio::time::sleep(OUTPUT_POLL)), poll.as_mut()).await {
                    First::Left(()) if engine.is_stopping() => return Ok(None),
                    First::Left(()) => engine.update_lag(),
                    First::Right(event) => break event?,
                }
            };
            if let Event::Connected(limits) = event {
                return Ok(Some(limits));
            }
        }
    }

    fn begin(
        &mut self,
        engine: &mut Engine,
        publisher: Publisher,
        limits: BrokerLimits,
    ) -> Result<Connection, Failure> {
        let address = self.settings.peer.address();
        if self.at_least_once && limits.qos_max == 0 {
            let text = format!("{address} supports QoS 0 only; set `qos = 0`, or use a broker that supports QoS 1");
            return Err(Failure::Refused(text));
        }
        let now = Instant::now();
        engine.stats.connects.fetch_add(1, Relaxed);
        engine.stats.set_state(OutputState::Online);
        let (at, of) = (self.brokers.index() + 1, self.brokers.count());
        let which = if of > 1 { format!(" (broker {at} of {of})") } else { String::new() };
        tracing::info!(output = %engine.name, "output {}: connected to {address}{which}", engine.name);
        let packet_room = PACKET_OVERHEAD_BYTES + self.publishing.topic_bytes_max + 256;
        let most = limits.packet_bytes_max.saturating_sub(packet_room);
        let message_bytes_max = self.publishing.message_bytes_max.min(most);
        if let Some(meta) = &mut self.publishing.meta {
            meta.restart(message_bytes_max);
        }
        engine.gather.restart(engine.cursor(), message_bytes_max.min(MQTT_MESSAGE_BYTES_MAX));
        let mut connection = Connection {
            publisher,
            flight: Flight::new(now.into_std()),
            in_flight_max: usize::from(self.settings.in_flight_max.min(limits.in_flight_max).max(1)),
            connected: now,
            acknowledged: false,
            leaving: Leaving::No,
            returning: None,
            unasked: Bucket::new(MQTT_UNASKED_PER_S_MAX, now.into_std()),
        };
        self.status(&mut connection, ONLINE)?;
        Ok(connection)
    }

    fn status(&self, connection: &mut Connection, text: &str) -> Result<(), Failure> {
        let topic = &self.status_topic;
        if !connection.publisher.publish(topic, true, true, text.as_bytes().to_vec()) {
            return Err(Failure::Client(format!("the MQTT client rejects the status message for {topic}")));
        }
        connection.flight.push(false, Position::default(), Instant::now().into_std());
        Ok(())
    }

    /// What the gateway says of itself, with half of the window at most: samples go on.
    fn tell_meta(&mut self, engine: &Engine, connection: &mut Connection) -> Result<(), Failure> {
        let Some(meta) = self.publishing.meta.as_mut().filter(|_| !engine.is_stopping()) else { return Ok(()) };
        while connection.flight.len() < connection.in_flight_max.div_ceil(2) {
            let Some(message) = meta.next() else { break };
            if !connection.publisher.publish(&message.topic, self.at_least_once, true, message.payload) {
                let text = format!("the MQTT client rejects a message for {}", message.topic);
                return Err(Failure::Client(text));
            }
            connection.flight.push(false, Position::default(), Instant::now().into_std());
        }
        Ok(())
    }

    /// Publishes as far as the window reaches.
    fn fill(&mut self, engine: &mut Engine, connection: &mut Connection) -> Result<(), Failure> {
        if !matches!(connection.leaving, Leaving::No) || connection.returning.is_some() {
            return Ok(());
        }
        self.tell_meta(engine, connection)?;
        while connection.flight.len() < connection.in_flight_max {
            let Some(gathered) = engine.next_message() else { break };
            let (message, covers) = (gathered.message, gathered.covers);
            let bytes = message.payload.len() as u64;
            if !connection.publisher.publish(
                &message.topic,
                self.at_least_once,
                self.publishing.retain,
                message.payload,
            ) {
                let text = format!("the MQTT client rejects a message for {}", message.topic);
                return Err(Failure::Client(text));
            }
            connection.flight.push(true, covers, Instant::now().into_std());
            engine.stats.messages_published.fetch_add(1, Relaxed);
            engine.stats.bytes_published.fetch_add(bytes, Relaxed);
        }
        engine.stats.in_flight.store(connection.flight.len() as u64, Relaxed);
        Ok(())
    }

    /// Whether the connection is at its end.
    fn handle(&mut self, engine: &mut Engine, connection: &mut Connection, event: Event) -> Result<bool, Failure> {
        let now = Instant::now().into_std();
        match event {
            Event::Published(packet) => {
                let progress = connection.flight.announced(packet, now);
                self.advance(engine, connection, progress);
            }
            Event::Acknowledged { refused: Some(reason), .. } => {
                return Err(Failure::Refused(format!(
                    "{} rejects a message: {reason}; check the broker's access rights for the topics of this output",
                    self.settings.peer.address()
                )));
            }
            Event::Acknowledged { packet, refused: None } => match connection.flight.acknowledged(packet, now) {
                Some(progress) => self.advance(engine, connection, progress),
                None => {
                    return Err(self.settings.peer.garbage(&format!("unexpected acknowledgement {packet}")));
                }
            },
            Event::Disconnected if matches!(connection.leaving, Leaving::Disconnecting { .. }) => return Ok(true),
            // The library's own reaction to something wrong: what was wrong follows.
            Event::Disconnected => {}
            Event::Unasked if !connection.unasked.take(now) => {
                return Err(Failure::Protocol(format!(
                    "{} floods the connection: more than {MQTT_UNASKED_PER_S_MAX} messages a second, although this \
                     output has no subscription; check the broker for automatic subscriptions",
                    self.settings.peer.address()
                )));
            }
            Event::Violation(detail) => return Err(self.settings.peer.violation(&detail)),
            Event::Connected(_) | Event::Unasked | Event::Other => {}
        }
        Ok(false)
    }

    fn advance(&mut self, engine: &mut Engine, connection: &mut Connection, progress: Progress) {
        engine.stats.in_flight.store(connection.flight.len() as u64, Relaxed);
        if progress.messages == 0 {
            return;
        }
        engine.taken(progress.messages, progress.covers, 0);
        if !connection.acknowledged {
            connection.acknowledged = true;
            engine.is_well();
            self.brokers.is_well();
        }
    }

    /// Every [`OUTPUT_POLL`]: new blocks, figures, a stuck broker, the way out. Whether the connection is at
    /// its end.
    fn tick(&mut self, engine: &mut Engine, connection: &mut Connection) -> Result<bool, Failure> {
        let now = Instant::now();
        engine.tick(connection.connected, !connection.flight.holds_data());
        let patience = MQTT_STALL_MIN.max(self.settings.keep_alive * 2);
        if connection.flight.stalled_since().is_some_and(|since| now.into_std() > since + patience) {
            return Err(Failure::Silent(format!(
                "{} does not acknowledge: {} messages in flight for {} s; connection dropped",
                self.settings.peer.address(),
                connection.flight.len(),
                patience.as_secs()
            )));
        }
        if connection.returning.is_none() && self.brokers.wants_first() {
            tracing::info!(
                output = %engine.name,
                "output {}: {} is reachable again; switching back to it from {}",
                engine.name, self.brokers.first().address(), self.settings.peer.address()
            );
            connection.returning = Some(now);
        }
        self.fill(engine, connection)?;
        self.leave(engine, connection, now)
    }

    /// A clean stop: send the rest, wait for acknowledgements, say `offline`, DISCONNECT; each bounded.
    fn leave(&self, engine: &Engine, connection: &mut Connection, now: Instant) -> Result<bool, Failure> {
        match connection.leaving {
            Leaving::No => {
                let is_empty = connection.flight.is_empty();
                let returns = connection.returning.is_some_and(|since| is_empty || now >= since + OUTPUT_STOP_WAIT);
                if returns || engine.is_done(is_empty) {
                    self.status(connection, OFFLINE)?;
                    connection.leaving = Leaving::Farewell { since: now };
                }
            }
            Leaving::Farewell { since } => {
                if connection.flight.is_empty() || now >= since + OUTPUT_STOP_FAREWELL {
                    connection.leaving = Leaving::Disconnecting { since: now };
                    return Ok(!connection.publisher.disconnect());
                }
            }
            Leaving::Disconnecting { since } => return Ok(now >= since + OUTPUT_STOP_FAREWELL),
        }
        Ok(false)
    }
}

const _: () = assert!(MQTT_STALL_MIN.as_millis() > Duration::from_secs(1).as_millis());
