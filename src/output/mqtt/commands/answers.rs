//! Answers on their way to the broker, and what becomes of those that it refuses.

use tokio::time::Instant;

use super::super::wire;
use super::connection::{Connection, Failure, Sent};
use super::{Commands, Reply};
use crate::command::{Answer, AnswerEnd, Reason};
use crate::config::quoted;
use crate::limits::{COMMAND_ANSWERS_MAX, COMMAND_IN_FLIGHT_MAX};

impl Commands {
    /// Publishes answers as far as the window reaches.
    pub(super) fn send(&mut self, connection: &mut Connection) {
        while connection.sent.len() < connection.in_flight_max && !connection.disconnecting {
            let Some(reply) = self.waiting.pop_front() else { return };
            let payload = reply.answer.to_json().into_bytes();
            let correlation = reply.correlation.as_deref();
            let bytes = payload.len() + reply.topic.len() + correlation.map_or(0, <[u8]>::len) + 32;
            if bytes > connection.packet_bytes_max {
                self.desk.count_answer(AnswerEnd::Refused);
                continue;
            }
            if reply.is_own_topic
                && reply.topic != self.answer_topic
                && self.refused_topics.left(&reply.topic, std::time::Instant::now()).is_some()
            {
                self.answer_elsewhere(reply);
                continue;
            }
            let packet = self.at_least_once.then(|| connection.next_packet());
            let out = &mut connection.line.out;
            wire::publish(out, self.settings.version, &reply.topic, packet, &payload, correlation);
            let now = Instant::now();
            connection.wrote = now;
            match packet {
                Some(packet) => {
                    if connection.sent.is_empty() {
                        connection.acknowledged = now;
                    }
                    connection.sent.push_back(Sent { packet, reply });
                }
                None => {
                    self.desk.count_answer(AnswerEnd::Sent);
                    connection.unconfirmed.push_back((now, reply));
                    if connection.unconfirmed.len() > COMMAND_IN_FLIGHT_MAX {
                        connection.unconfirmed.pop_front();
                    }
                }
            }
        }
    }

    /// What is left of a connection: answers go out again on the next one, but for one that it may have ended over.
    pub(super) fn settle(&mut self, connection: Connection, failure: Option<&Failure>) {
        let now = std::time::Instant::now();
        let Connection { mut sent, unconfirmed, .. } = connection;
        if let Some(Failure { by_broker: Some(code), why }) = failure {
            // Not authorized, topic invalid, and what else a packet of ours may be told.
            let is_sure = code.is_some_and(|code| matches!(code, 0x81 | 0x82 | 0x83 | 0x87 | 0x90 | 0x95 | 0x99));
            // A broker takes packets in their order: it was the first that it did not acknowledge.
            let is_first_own = sent.front().is_some_and(|sent| self.may_be_to_blame(&sent.reply));
            if is_first_own && let Some(Sent { reply, .. }) = sent.pop_front() {
                if is_sure {
                    self.answer_refused(reply, &why.to_string());
                } else if self.refused_topics.suspect(&reply.topic, now) {
                    self.answer_refused(reply, "it closed the connection twice because of it");
                } else {
                    self.put(reply);
                }
            }
            for (_, reply) in unconfirmed {
                if self.may_be_to_blame(&reply) && self.refused_topics.suspect(&reply.topic, now) {
                    self.answer_refused(reply, "it closed the connection twice because of it");
                }
            }
        }
        while let Some(Sent { reply, .. }) = sent.pop_back() {
            self.waiting.push_front(reply);
        }
    }

    fn may_be_to_blame(&self, reply: &Reply) -> bool {
        reply.is_own_topic && reply.topic != self.answer_topic
    }

    /// The broker does not let an answer be published where its sender wants it, or where answers go.
    pub(super) fn answer_refused(&mut self, reply: Reply, why: &str) {
        let topic = quoted(&reply.topic);
        if self.refused_topics.refuse(&reply.topic, std::time::Instant::now()) {
            let hint = match reply.is_own_topic {
                true => "requests with this response topic are refused for a while",
                false => "check the broker's access rights for `answer_topic`",
            };
            tracing::warn!(
                output = %self.name,
                "commands of output {}: {} refuses an answer on topic {topic}: {why}; {hint}",
                self.name, self.settings.peer.address()
            );
        }
        let message = format!("the broker refuses answers on topic {topic}: {why}; another record has its outcome");
        let Answer { id, tag, .. } = &reply.answer;
        let record = Answer::refused(id.clone(), tag.clone(), Reason::ResponseTopic, message);
        self.desk.note(self.requester.clone(), record);
        self.answer_elsewhere(reply);
    }

    /// What cannot go where its sender wants it goes where answers go by themselves.
    fn answer_elsewhere(&mut self, reply: Reply) {
        if !reply.is_own_topic {
            self.desk.count_answer(AnswerEnd::Refused);
            return;
        }
        self.desk.count_answer(AnswerEnd::Redirected);
        self.put(Reply { topic: self.answer_topic.clone(), is_own_topic: false, ..reply });
    }

    /// Has an answer sent when its turn comes.
    pub(super) fn put(&mut self, reply: Reply) {
        if self.waiting.len() < COMMAND_ANSWERS_MAX {
            self.waiting.push_back(reply);
        } else {
            self.desk.count_answer(AnswerEnd::NoRoom);
        }
    }
}
