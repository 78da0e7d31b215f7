//! Requests to write that come over MQTT, and their answers.
//!
//! A connection and a thread of their own, beside the output's: whatever comes here, samples go on. A start begins a
//! clean session, so that the broker keeps no request for a gateway that is away; with MQTT 5 the session outlives a lost
//! connection by a few seconds, so that one that some broker closes costs no request. Retained messages are refused, since they would
//! be done again at each reconnect; each request on the topic of commands says when it expires, so that one that was held up on the way is not
//! done later by surprise; each has an id, and a repeat of it (QoS 1) is answered again and not done again.
//!
//! Plain values on topics of single tags are requests, too, where they are switched on: see `set_points`.
//!
//! Whoever publishes on the topic may cost its own requests, and nobody else's: what is too large, malformed or asks for
//! an answer where the broker allows none is answered or counted, and the connection lives.

mod answers;
mod connection;
mod line;
mod requests;
mod senders;
mod set_points;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::brokers::Brokers;
use super::client::ClientSettings;
use super::topic::Topic;
use super::wire::Packet;
use crate::command::{Answer, Desk, Requester, Way};
use crate::engine::Backoff;
use crate::limits::{COMMAND_ANSWERS_MAX, OUTPUT_POLL};
use crate::tls::Renewed;
use connection::Failure;
use senders::{RefusedTopics, Senders, UnderWay};
use set_points::SetPoints;

/// An answer on its way out.
struct Reply {
    topic: String,
    /// The sender named the topic.
    is_own_topic: bool,
    correlation: Option<Vec<u8>>,
    answer: Answer,
    _under_way: Option<UnderWay>,
}

pub(super) struct Commands {
    name: String,
    /// For the broker in use.
    settings: ClientSettings,
    brokers: Brokers,
    tls: Renewed,
    at_least_once: bool,
    command_topic: String,
    answer_topic: String,
    /// `None`: plain values are not taken.
    set_points: Option<SetPoints>,
    desk: Desk,
    requester: Requester,
    stop: Arc<AtomicBool>,
    replies: mpsc::Receiver<Reply>,
    to_replies: mpsc::Sender<Reply>,
    /// Answered here, and those that a lost connection has left.
    waiting: VecDeque<Reply>,
    senders: Senders,
    /// The broker may hold requests that came while the last connection was lost.
    has_session: bool,
    refused_topics: RefusedTopics,
    backoff: Backoff,
    /// The failure that stands in the log, so that each is told once.
    told: String,
    /// When a flood stood in the log last.
    told_flood: Option<Instant>,
}

impl Commands {
    #[allow(clippy::too_many_arguments, reason = "each is a part of its own; one caller")]
    pub(super) fn new(
        name: &str,
        (settings, brokers): (ClientSettings, Brokers),
        tls: Renewed,
        at_least_once: bool,
        (command_topic, answer_topic, set_topic): (String, String, Option<Topic>),
        desk: Desk,
        stop: Arc<AtomicBool>,
    ) -> Commands {
        let (to_replies, replies) = mpsc::channel(COMMAND_ANSWERS_MAX);
        Commands {
            name: name.to_owned(),
            settings,
            brokers,
            tls,
            at_least_once,
            requester: Requester {
                way: Way::Mqtt,
                who: format!("output {name}"),
                from: format!("topic {command_topic}"),
            },
            command_topic,
            answer_topic,
            set_points: set_topic.map(SetPoints::new),
            desk,
            stop,
            replies,
            to_replies,
            waiting: VecDeque::new(),
            senders: Senders::default(),
            has_session: false,
            refused_topics: RefusedTopics::default(),
            backoff: Backoff::new(fastrand::Rng::new()),
            told: String::new(),
            told_flood: None,
        }
    }

    /// What came, without a connection, for fuzzers.
    pub(super) fn feed(&mut self, packet: Packet) {
        match packet {
            Packet::Publish(publish) => {
                self.take_any(publish);
            }
            Packet::Unreadable(unreadable) => self.take_unreadable(&unreadable),
            _ => {}
        }
        assert!(self.waiting.len() <= COMMAND_ANSWERS_MAX);
    }

    /// Runs until `stop` is set.
    pub(super) async fn run(&mut self) {
        while !self.stop.load(Relaxed) {
            if self.settings.peer.address() != self.brokers.peer().address() {
                self.settings.peer = self.brokers.peer().clone();
                // A session of another broker.
                self.has_session = false;
            }
            match self.connection().await {
                // To the first broker, or to the end.
                Ok(()) => self.brokers.go_first(),
                Err(Failure { why, .. }) => {
                    let text = why.to_string();
                    if text != self.told {
                        tracing::warn!(output = %self.name, "commands of output {}: {text}", self.name);
                        self.told = text;
                    }
                    self.brokers.failed();
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
}
