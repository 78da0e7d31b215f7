//! The output's thread: connect, follow the journal, fail, pause, connect again; and the way out.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ClientConfig;
use tokio::time::Instant;

use super::PACKET_OVERHEAD_BYTES;
use super::backoff::Backoff;
use super::client::{self, BrokerLimits, ClientSettings, Event, Events, OFFLINE, ONLINE, Publisher};
use super::flight::{Flight, Progress};
use super::gather::Gather;
use super::tls::Renewed;
use crate::command::Bucket;
use crate::config::TlsConfig;
use crate::limits::{
    JOURNAL_READ_RETRY_PAUSE, MQTT_MESSAGE_BYTES_MAX, MQTT_SETTLED, MQTT_STALL_MIN, MQTT_UNASKED_PER_S_MAX,
    OUTPUT_POLL, OUTPUT_STOP_FAREWELL, OUTPUT_STOP_SEND, OUTPUT_STOP_WAIT,
};
use crate::output::{OutputState, OutputStats};
use crate::store::{Follow, Position};

pub(super) struct Worker {
    name: String,
    settings: ClientSettings,
    status_topic: String,
    tls: Renewed,
    at_least_once: bool,
    gather: Gather,
    message_bytes_max: usize,
    source: Box<dyn Follow>,
    stats: Arc<OutputStats>,
    stop: Arc<AtomicBool>,
    /// `None` until something was acknowledged for the first time ever.
    cursor: Option<Position>,
    saved: Option<Position>,
    backoff: Backoff,
    /// The failure that stands in the log, so that each is told once.
    told: String,
    read_again: Option<Instant>,
}

/// How a connection ended, when it did not fail.
struct Stopped;

/// The way out, step by step.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    No,
    /// Sending what is left and waiting for acknowledgements.
    Finishing {
        since: Instant,
    },
    /// `offline` is on its way.
    Farewell {
        since: Instant,
    },
    /// DISCONNECT is on its way.
    Disconnecting {
        since: Instant,
    },
}

/// One connection.
struct Connection {
    publisher: Publisher,
    flight: Flight,
    in_flight_max: usize,
    connected: Instant,
    acknowledged: bool,
    leaving: Leaving,
    /// How much more the broker may send that nothing asked for.
    unasked: Bucket,
}

impl Worker {
    #[allow(clippy::too_many_arguments, reason = "each is a part of its own; one caller")]
    pub(super) fn new(
        name: &str,
        settings: ClientSettings,
        tls_files: Option<TlsConfig>,
        tls: Option<Arc<ClientConfig>>,
        at_least_once: bool,
        gather: Gather,
        source: Box<dyn Follow>,
        stats: Arc<OutputStats>,
        stop: Arc<AtomicBool>,
    ) -> Worker {
        Worker {
            name: name.to_string(),
            message_bytes_max: gather.message_bytes_max(),
            status_topic: settings.will_topic.clone().unwrap_or_default(),
            settings,
            tls: Renewed::new(tls_files, tls),
            at_least_once,
            gather,
            source,
            stats,
            stop,
            cursor: None,
            saved: None,
            backoff: Backoff::new(fastrand::Rng::new()),
            told: String::new(),
            read_again: None,
        }
    }

    /// Runs until `stop` is set.
    pub(super) async fn run(&mut self) {
        let mut cursor_known = false;
        while !self.stop.load(Relaxed) {
            self.stats.set_state(OutputState::Connecting);
            if !cursor_known {
                match self.source.cursor(&self.name) {
                    Ok(cursor) => {
                        (self.cursor, self.saved, cursor_known) = (cursor, cursor, true);
                        self.stats.set_cursor(cursor.unwrap_or_default());
                    }
                    Err(error) => {
                        self.failed(format!("the journal's cursor cannot be read: {error}"));
                        self.pause().await;
                        continue;
                    }
                }
            }
            match self.connection().await {
                Ok(Stopped) => break,
                Err(failure) => {
                    self.stats.in_flight.store(0, Relaxed);
                    self.save_cursor();
                    self.failed(failure);
                    self.pause().await;
                }
            }
        }
        self.stats.in_flight.store(0, Relaxed);
        self.save_cursor();
        self.update_lag();
        self.stats.set_state(OutputState::Stopped);
    }

    /// Counts a failure, and tells it when it is another than the last.
    fn failed(&mut self, text: String) {
        self.stats.failures.fetch_add(1, Relaxed);
        self.stats.set_last_error(&text);
        if text != self.told {
            tracing::warn!(output = %self.name, "output {}: {text}", self.name);
            self.told = text;
        }
    }

    async fn pause(&mut self) {
        self.stats.set_state(OutputState::Offline);
        let until = Instant::now() + self.backoff.next_pause();
        while !self.stop.load(Relaxed) && Instant::now() < until {
            self.update_lag();
            tokio::time::sleep_until(until.min(Instant::now() + OUTPUT_POLL)).await;
        }
    }

    fn update_lag(&self) {
        // One that cannot be read is told by the next read; the lag stays what was seen last.
        if let Ok(next) = self.source.next_index() {
            self.stats.lag_blocks.store(next.saturating_sub(self.cursor.unwrap_or_default().block), Relaxed);
        }
    }

    fn save_cursor(&mut self) {
        if let Some(cursor) = self.cursor
            && self.cursor != self.saved
        {
            self.source.save_cursor(&self.name, cursor);
            self.saved = self.cursor;
        }
    }

    /// One connection from its first packet to its end.
    async fn connection(&mut self) -> Result<Stopped, String> {
        let (publisher, mut events) = client::open(&self.settings, self.tls.renew(&self.name));
        let Some(limits) = self.connect(&mut events).await? else { return Ok(Stopped) };
        let mut connection = self.begin(publisher, limits)?;

        let peer = self.settings.peer.clone();
        let mut tick = pin!(tokio::time::sleep(OUTPUT_POLL));
        loop {
            self.fill(&mut connection)?;
            let mut poll = pin!(events.poll(&peer));
            let event = loop {
                match first_of(tick.as_mut(), poll.as_mut()).await {
                    First::Left(()) => {
                        tick.as_mut().reset(Instant::now() + OUTPUT_POLL);
                        if self.tick(&mut connection)? {
                            return Ok(Stopped);
                        }
                    }
                    First::Right(event) => break event.map_err(|failure| self.explain(&connection, failure))?,
                }
            };
            if self.handle(&mut connection, event)? {
                return Ok(Stopped);
            }
        }
    }

    /// MQTT 3.1.1 has no way to refuse a message but to close the connection.
    fn explain(&self, connection: &Connection, failure: String) -> String {
        if connection.acknowledged || !connection.flight.holds_data() || failure != self.settings.peer.closed() {
            return failure;
        }
        format!(
            "{} closed the connection and acknowledged none of its messages; it may not allow the topic, or not take \
             packets that large: look at its log, lower `max_message_bytes`",
            self.settings.peer.address()
        )
    }

    /// Waits for CONNACK. `None`: stopped meanwhile.
    async fn connect(&mut self, events: &mut Events) -> Result<Option<BrokerLimits>, String> {
        let peer = self.settings.peer.clone();
        loop {
            let mut poll = pin!(events.poll(&peer));
            let event = loop {
                match first_of(pin!(tokio::time::sleep(OUTPUT_POLL)), poll.as_mut()).await {
                    First::Left(()) if self.stop.load(Relaxed) => return Ok(None),
                    First::Left(()) => self.update_lag(),
                    First::Right(event) => break event?,
                }
            };
            if let Event::Connected(limits) = event {
                return Ok(Some(limits));
            }
        }
    }

    fn begin(&mut self, publisher: Publisher, limits: BrokerLimits) -> Result<Connection, String> {
        let address = self.settings.peer.address();
        if self.at_least_once && limits.qos_max == 0 {
            return Err(format!("{address} takes QoS 0 only; set `qos = 0`, or use a broker that acknowledges"));
        }
        let now = Instant::now();
        self.stats.connects.fetch_add(1, Relaxed);
        self.stats.set_state(OutputState::Online);
        tracing::info!(output = %self.name, "output {}: connected to {address}", self.name);
        let packet_room = PACKET_OVERHEAD_BYTES + crate::limits::NAME_BYTES_MAX + self.status_topic.len() + 256;
        let message_bytes_max = self.message_bytes_max.min(limits.packet_bytes_max.saturating_sub(packet_room));
        self.gather.restart(self.cursor, message_bytes_max.min(MQTT_MESSAGE_BYTES_MAX));
        let mut connection = Connection {
            publisher,
            flight: Flight::new(now.into_std()),
            in_flight_max: usize::from(self.settings.in_flight_max.min(limits.in_flight_max).max(1)),
            connected: now,
            acknowledged: false,
            leaving: Leaving::No,
            unasked: Bucket::new(MQTT_UNASKED_PER_S_MAX, now.into_std()),
        };
        self.status(&mut connection, ONLINE)?;
        Ok(connection)
    }

    fn status(&mut self, connection: &mut Connection, text: &str) -> Result<(), String> {
        let topic = &self.status_topic;
        if !connection.publisher.publish(topic, true, true, text.as_bytes().to_vec()) {
            return Err(format!("the MQTT client does not take the status message for {topic}"));
        }
        connection.flight.push(false, Position::default(), Instant::now().into_std());
        Ok(())
    }

    /// Publishes as far as the window reaches.
    fn fill(&mut self, connection: &mut Connection) -> Result<(), String> {
        let now = Instant::now();
        let sending = match connection.leaving {
            Leaving::No => true,
            Leaving::Finishing { since } => now < since + OUTPUT_STOP_SEND,
            Leaving::Farewell { .. } | Leaving::Disconnecting { .. } => false,
        };
        if !sending || self.read_again.is_some_and(|at| now < at) {
            return Ok(());
        }
        while connection.flight.len() < connection.in_flight_max {
            let message = match self.gather.next(&*self.source, now.into_std()) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => {
                    self.read_again = Some(now + JOURNAL_READ_RETRY_PAUSE);
                    self.failed(format!("the journal cannot be read: {error}"));
                    break;
                }
            };
            let bytes = message.payload.len() as u64;
            if !connection.publisher.publish(&message.topic, self.at_least_once, false, message.payload) {
                return Err(format!("the MQTT client does not take a message for {}", message.topic));
            }
            connection.flight.push(true, message.covers, now.into_std());
            self.stats.messages_published.fetch_add(1, Relaxed);
            self.stats.bytes_published.fetch_add(bytes, Relaxed);
        }
        self.stats.in_flight.store(connection.flight.len() as u64, Relaxed);
        Ok(())
    }

    /// Whether the connection is at its end.
    fn handle(&mut self, connection: &mut Connection, event: Event) -> Result<bool, String> {
        let now = Instant::now().into_std();
        match event {
            Event::Published(packet) => {
                let progress = connection.flight.announced(packet, now);
                self.advance(connection, progress);
            }
            Event::Acknowledged { refused: Some(reason), .. } => {
                return Err(format!(
                    "{} refuses a message: {reason}; check the broker's access rights for the topics of this output",
                    self.settings.peer.address()
                ));
            }
            Event::Acknowledged { packet, refused: None } => match connection.flight.acknowledged(packet, now) {
                Some(progress) => self.advance(connection, progress),
                None => {
                    return Err(self
                        .settings
                        .peer
                        .garbage(&format!("acknowledgement {packet} that nothing asked for")));
                }
            },
            Event::Disconnected if matches!(connection.leaving, Leaving::Disconnecting { .. }) => return Ok(true),
            // The library's own reaction to something wrong: what was wrong follows.
            Event::Disconnected => {}
            Event::Unasked if !connection.unasked.take(now) => {
                return Err(format!(
                    "{} floods the connection: more than {MQTT_UNASKED_PER_S_MAX} messages a second, and this output \
                     subscribes to none; look for subscriptions that the broker makes by itself",
                    self.settings.peer.address()
                ));
            }
            Event::Violation(detail) => return Err(self.settings.peer.violation(&detail)),
            Event::Connected(_) | Event::Unasked | Event::Other => {}
        }
        Ok(false)
    }

    fn advance(&mut self, connection: &mut Connection, progress: Progress) {
        self.stats.in_flight.store(connection.flight.len() as u64, Relaxed);
        if progress.messages == 0 {
            return;
        }
        self.stats.messages_acknowledged.fetch_add(progress.messages, Relaxed);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let utc_ns = i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX);
        self.stats.last_acknowledged_utc_ns.store(utc_ns, Relaxed);
        if self.cursor.is_none_or(|cursor| cursor < progress.covers) {
            self.cursor = Some(progress.covers);
            self.stats.set_cursor(progress.covers);
            let samples = self.gather.passed(progress.covers);
            self.stats.samples_acknowledged.fetch_add(samples, Relaxed);
        }
        if !connection.acknowledged {
            connection.acknowledged = true;
            self.backoff.reset();
            self.told.clear();
        }
    }

    /// Every [`OUTPUT_POLL`]: new blocks, figures, a stuck broker, the way out. Whether the connection is at
    /// its end.
    fn tick(&mut self, connection: &mut Connection) -> Result<bool, String> {
        let now = Instant::now();
        self.save_cursor();
        self.update_lag();
        let skipped = self.gather.take_skipped();
        if skipped.blocks > 0 || skipped.samples > 0 {
            self.stats.blocks_skipped.fetch_add(skipped.blocks, Relaxed);
            self.stats.samples_skipped.fetch_add(skipped.samples, Relaxed);
            tracing::warn!(
                output = %self.name,
                "output {}: {} blocks ({} samples) that were not sent yet are no longer in the journal, or damaged there",
                self.name, skipped.blocks, skipped.samples
            );
        }
        if now > connection.connected + MQTT_SETTLED {
            self.backoff.reset();
        }
        let patience = MQTT_STALL_MIN.max(self.settings.keep_alive * 2);
        if connection.flight.stalled_since().is_some_and(|since| now.into_std() > since + patience) {
            return Err(format!(
                "{} acknowledges nothing: {} messages in flight for {} s; connection dropped",
                self.settings.peer.address(),
                connection.flight.len(),
                patience.as_secs()
            ));
        }
        if self.read_again.is_some_and(|at| now >= at) {
            self.read_again = None;
        }
        self.gather.wake();
        if self.leave(connection, now)? {
            return Ok(true);
        }
        self.fill(connection)?;
        Ok(false)
    }

    /// A clean stop: send the rest, wait for acknowledgements, say `offline`, DISCONNECT; each bounded.
    fn leave(&mut self, connection: &mut Connection, now: Instant) -> Result<bool, String> {
        match connection.leaving {
            Leaving::No if self.stop.load(Relaxed) => {
                self.gather.flush();
                connection.leaving = Leaving::Finishing { since: now };
            }
            Leaving::No => {}
            Leaving::Finishing { since } => {
                self.fill(connection)?;
                let sent = self.gather.is_exhausted() || now >= since + OUTPUT_STOP_SEND;
                if sent && connection.flight.is_empty() || now >= since + OUTPUT_STOP_WAIT {
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

pub(super) enum First<A, B> {
    Left(A),
    Right(B),
}

/// Waits for either; the other goes on where it was when it is polled again. The left one is asked first.
pub(super) async fn first_of<A, B>(
    mut left: Pin<&mut impl Future<Output = A>>,
    mut right: Pin<&mut impl Future<Output = B>>,
) -> First<A, B> {
    std::future::poll_fn(|context| {
        if let Poll::Ready(a) = left.as_mut().poll(context) {
            return Poll::Ready(First::Left(a));
        }
        right.as_mut().poll(context).map(First::Right)
    })
    .await
}

const _: () = assert!(OUTPUT_POLL.as_millis() > 0 && MQTT_STALL_MIN.as_millis() > Duration::from_secs(1).as_millis());
