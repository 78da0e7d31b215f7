//! Requests to write that come over MQTT, and their answers.
//!
//! A connection and a thread of their own, beside the output's: whatever comes here, samples go on. The session is
//! clean, so that the broker keeps no request for a gateway that is away; retained messages are refused, since they would
//! be done again at each reconnect; each request says when it expires, so that one that was held up on the way is not
//! done later by surprise; each has an id, and a repeat of it (QoS 1) is answered again and not done again.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::client::{self, ClientSettings, Event, Events, Message, Publisher};
use super::tls::Renewed;
use super::worker::{First, first_of};
use crate::command::{Answer, Desk, Malformed, Reason, Request, Requester, Way};
use crate::limits::{
    COMMAND_ANSWERS_MAX, COMMAND_CORRELATION_BYTES_MAX, COMMAND_IN_FLIGHT_MAX, COMMAND_TOPIC_BYTES_MAX, MQTT_SETTLED,
    MQTT_STALL_MIN, OUTPUT_POLL, OUTPUT_STOP_FAREWELL,
};

/// An answer on its way out.
struct Reply {
    topic: String,
    correlation: Option<Vec<u8>>,
    answer: Answer,
}

pub(super) struct Commands {
    name: String,
    settings: ClientSettings,
    tls: Renewed,
    at_least_once: bool,
    command_topic: String,
    answer_topic: String,
    desk: Desk,
    requester: Requester,
    stop: Arc<AtomicBool>,
    replies: mpsc::Receiver<Reply>,
    to_replies: mpsc::Sender<Reply>,
    /// Answered here, and those that a lost connection has left.
    waiting: VecDeque<Reply>,
    backoff: Backoff,
    /// The failure that stands in the log, so that each is told once.
    told: String,
}

/// How a connection ended, when it did not fail.
struct Stopped;

/// One connection.
struct Connection {
    publisher: Publisher,
    /// Answers sent and not acknowledged.
    in_flight: usize,
    /// Of the last acknowledgement, or the first answer after a quiet time.
    acknowledged: Instant,
    connected: Instant,
    /// Since when it is on its way out, and whether DISCONNECT is.
    leaving: Option<Instant>,
    disconnecting: bool,
}

impl Commands {
    #[allow(clippy::too_many_arguments, reason = "each is a part of its own; one caller")]
    pub(super) fn new(
        name: &str,
        settings: ClientSettings,
        tls: Renewed,
        at_least_once: bool,
        (command_topic, answer_topic): (String, String),
        desk: Desk,
        stop: Arc<AtomicBool>,
    ) -> Commands {
        let (to_replies, replies) = mpsc::channel(COMMAND_ANSWERS_MAX);
        Commands {
            name: name.to_owned(),
            settings,
            tls,
            at_least_once,
            requester: Requester {
                way: Way::Mqtt,
                who: format!("output {name}"),
                from: format!("topic {command_topic}"),
            },
            command_topic,
            answer_topic,
            desk,
            stop,
            replies,
            to_replies,
            waiting: VecDeque::new(),
            backoff: Backoff::new(fastrand::Rng::new()),
            told: String::new(),
        }
    }

    /// Runs until `stop` is set.
    pub(super) async fn run(&mut self) {
        while !self.stop.load(Relaxed) {
            match self.connection().await {
                Ok(Stopped) => return,
                Err(failure) => {
                    if failure != self.told {
                        tracing::warn!(output = %self.name, "commands of output {}: {failure}", self.name);
                        self.told = failure;
                    }
                    self.pause().await;
                }
            }
        }
    }

    async fn pause(&mut self) {
        let until = Instant::now() + self.backoff.next_pause();
        while !self.stop.load(Relaxed) && Instant::now() < until {
            tokio::time::sleep_until(until.min(Instant::now() + OUTPUT_POLL)).await;
        }
    }

    /// One connection from its first packet to its end.
    async fn connection(&mut self) -> Result<Stopped, String> {
        let (publisher, mut events) = client::open(&self.settings, self.tls.renew(&self.name));
        if !self.connect(&mut events).await? {
            return Ok(Stopped);
        }
        if !publisher.subscribe(&self.command_topic) {
            return Err(format!("the MQTT client does not take the subscription of {}", self.command_topic));
        }
        let now = Instant::now();
        let (in_flight, leaving, disconnecting) = (0, None, false);
        let mut connection =
            Connection { publisher, in_flight, acknowledged: now, connected: now, leaving, disconnecting };
        let peer = self.settings.peer.clone();
        loop {
            self.send(&mut connection)?;
            let mut poll = pin!(events.poll(&peer));
            let event = loop {
                let more = self.has_room(&connection);
                let woken = {
                    let replies = &mut self.replies;
                    let mut wait = pin!(async {
                        let reply = tokio::time::timeout(OUTPUT_POLL, async {
                            match more {
                                true => replies.recv().await,
                                false => std::future::pending().await,
                            }
                        });
                        reply.await.ok().flatten()
                    });
                    first_of(wait.as_mut(), poll.as_mut()).await
                };
                match woken {
                    First::Left(Some(reply)) => {
                        self.waiting.push_back(reply);
                        self.send(&mut connection)?;
                    }
                    First::Left(None) => {
                        if self.tick(&mut connection)? {
                            return Ok(Stopped);
                        }
                    }
                    First::Right(event) => break event?,
                }
            };
            if self.handle(&mut connection, event)? {
                return Ok(Stopped);
            }
        }
    }

    /// Waits for CONNACK. False: stopped meanwhile.
    async fn connect(&mut self, events: &mut Events) -> Result<bool, String> {
        let peer = self.settings.peer.clone();
        loop {
            let mut poll = pin!(events.poll(&peer));
            let event = loop {
                match first_of(pin!(tokio::time::sleep(OUTPUT_POLL)), poll.as_mut()).await {
                    First::Left(()) if self.stop.load(Relaxed) => return Ok(false),
                    First::Left(()) => {}
                    First::Right(event) => break event?,
                }
            };
            if let Event::Connected(limits) = event {
                if self.at_least_once && limits.qos_max == 0 {
                    return Err(format!("{} takes QoS 0 only; set `qos = 0`", self.settings.peer.address()));
                }
                return Ok(true);
            }
        }
    }

    fn has_room(&self, connection: &Connection) -> bool {
        connection.in_flight + self.waiting.len() < COMMAND_IN_FLIGHT_MAX && !connection.disconnecting
    }

    /// Publishes answers as far as the window reaches.
    fn send(&mut self, connection: &mut Connection) -> Result<(), String> {
        while connection.in_flight < COMMAND_IN_FLIGHT_MAX && !connection.disconnecting {
            let Some(Reply { topic, correlation, answer }) = self.waiting.pop_front() else { return Ok(()) };
            let payload = answer.to_json().into_bytes();
            if !connection.publisher.answer(&topic, self.at_least_once, payload, correlation) {
                return Err(format!("the MQTT client does not take an answer for {topic}"));
            }
            if connection.in_flight == 0 {
                connection.acknowledged = Instant::now();
            }
            connection.in_flight += 1;
        }
        Ok(())
    }

    /// Whether the connection is at its end.
    fn handle(&mut self, connection: &mut Connection, event: Event) -> Result<bool, String> {
        match event {
            Event::Subscribed { refused: None } => {
                let (topic, address) = (&self.command_topic, self.settings.peer.address());
                tracing::info!(output = %self.name, "output {}: writes are taken from topic {topic} at {address}", self.name);
                self.told.clear();
            }
            Event::Subscribed { refused: Some(reason) } => {
                return Err(format!(
                    "{} refuses the subscription of {}: {reason}; check the broker's access rights",
                    self.settings.peer.address(),
                    self.command_topic
                ));
            }
            // QoS 0: nobody acknowledges it.
            Event::Published(0) => connection.in_flight = connection.in_flight.saturating_sub(1),
            Event::Acknowledged { refused, .. } => {
                connection.in_flight = connection.in_flight.saturating_sub(1);
                connection.acknowledged = Instant::now();
                if let Some(reason) = refused {
                    return Err(format!(
                        "{} refuses an answer: {reason}; check the broker's access rights for {}",
                        self.settings.peer.address(),
                        self.answer_topic
                    ));
                }
            }
            Event::Message(message) => self.take(*message),
            Event::Disconnected => return Ok(true),
            Event::Published(_) | Event::Connected(_) | Event::Other => {}
        }
        Ok(false)
    }

    /// A request, or what claims to be one.
    fn take(&mut self, message: Message) {
        let Message { retained, payload, response_topic, correlation } = message;
        let parsed = Request::parse(&payload);
        let (id, tag) = match &parsed {
            Ok(request) => (request.id.clone(), Some(request.tag.clone())),
            Err(malformed) => (malformed.id.clone(), malformed.tag.clone()),
        };
        let refused = |reason, message: &str| Err((reason, Malformed { id, tag, message: message.to_owned() }));
        let response = match response_topic {
            None => Ok((self.answer_topic.clone(), None)),
            Some(topic) => self.response(topic, correlation),
        };
        let (judged, (topic, correlation)) = match (response, parsed) {
            (Err(why), _) => (refused(Reason::Malformed, why), (self.answer_topic.clone(), None)),
            (Ok(to), _) if retained => {
                let why = "a retained message is done again at each reconnect; allowed: publish it without retain";
                (refused(Reason::Retained, why), to)
            }
            (Ok(to), Err(malformed)) => (Err((Reason::Malformed, malformed)), to),
            (Ok(to), Ok(request)) if request.id.is_none() => {
                (refused(Reason::Malformed, "id is missing; allowed: an id of its own for each request"), to)
            }
            (Ok(to), Ok(request)) if request.expires_utc_ns.is_none() => {
                let why = "expires is missing; allowed: a time such as \"2026-11-21T08:15:10Z\", or milliseconds since \
                           1970-01-01T00:00:00Z, after which nothing is written any more";
                (refused(Reason::Malformed, why), to)
            }
            (Ok(to), Ok(request)) => (Ok(request), to),
        };
        match judged {
            Ok(request) => {
                let to_replies = self.to_replies.clone();
                let reply = move |answer| {
                    // Full: the broker takes nothing for a long time. The audit has it.
                    let _ = to_replies.try_send(Reply { topic, correlation, answer });
                };
                self.desk.ask(self.requester.clone(), request, Box::new(reply));
            }
            Err((reason, malformed)) => {
                let answer = self.desk.refuse(self.requester.clone(), malformed, reason);
                if self.waiting.len() < COMMAND_ANSWERS_MAX {
                    self.waiting.push_back(Reply { topic, correlation, answer });
                }
            }
        }
    }

    /// Where the asker wants its answer.
    fn response(&self, topic: String, correlation: Option<Vec<u8>>) -> Result<(String, Option<Vec<u8>>), &'static str> {
        let plain = !topic.is_empty() && !topic.contains(['+', '#', '\0']);
        if !plain || topic.len() > COMMAND_TOPIC_BYTES_MAX || topic == self.command_topic {
            return Err(
                "the response topic is none to publish to; allowed: a topic without wildcards, and not that of commands",
            );
        }
        if correlation.as_ref().is_some_and(|data| data.len() > COMMAND_CORRELATION_BYTES_MAX) {
            return Err("the correlation data is too long; allowed: 1024 bytes");
        }
        Ok((topic, Some(correlation.unwrap_or_default()).filter(|data| !data.is_empty())))
    }

    /// Every [`OUTPUT_POLL`]: a stuck broker, the way out. Whether the connection is at its end.
    fn tick(&mut self, connection: &mut Connection) -> Result<bool, String> {
        let now = Instant::now();
        if now > connection.connected + MQTT_SETTLED {
            self.backoff.reset();
        }
        let patience = MQTT_STALL_MIN.max(self.settings.keep_alive * 2);
        if connection.in_flight > 0 && now > connection.acknowledged + patience {
            return Err(format!(
                "{} acknowledges no answers for {} s; connection dropped",
                self.settings.peer.address(),
                patience.as_secs()
            ));
        }
        if !self.stop.load(Relaxed) {
            return Ok(false);
        }
        let since = *connection.leaving.get_or_insert(now);
        let done = connection.in_flight == 0 && self.waiting.is_empty() && self.replies.is_empty();
        if connection.disconnecting {
            return Ok(now > since + OUTPUT_STOP_FAREWELL * 2);
        }
        if done || now > since + OUTPUT_STOP_FAREWELL {
            connection.disconnecting = true;
            return Ok(!connection.publisher.disconnect());
        }
        Ok(false)
    }
}
