//! What was published on the topic of commands: requests, and what claims to be some.

use super::super::wire::{Publish, Unreadable};
use super::{Commands, Reply};
use crate::command::{AnswerEnd, Malformed, Reason, Request, Requester};
use crate::config::quoted;
use crate::limits::{COMMAND_BYTES_MAX, COMMAND_CORRELATION_BYTES_MAX, COMMAND_TOPIC_BYTES_MAX, COMMAND_UNDER_WAY_MAX};

/// Where an answer goes.
struct To {
    topic: String,
    is_own_topic: bool,
    correlation: Option<Vec<u8>>,
}

pub(super) type Refusal = (Reason, Malformed);

pub(super) fn refusal(reason: Reason, message: impl Into<String>) -> Refusal {
    (reason, Malformed { id: None, tag: None, message: message.into() })
}

impl Commands {
    /// A message on any of our topics. True: it was a request that could be read.
    pub(super) fn take_any(&mut self, publish: Publish) -> bool {
        let set_points = self.set_points.as_mut().filter(|_| publish.topic != self.command_topic);
        let judged = match set_points.and_then(|set_points| set_points.judge(&publish)) {
            Some(judged) => judged,
            None => judge(publish.retained, &publish.payload, publish.payload_bytes),
        };
        self.take(publish, judged)
    }

    fn take(&mut self, publish: Publish, judged: Result<Request, Refusal>) -> bool {
        let Publish { topic, response_topic, correlation, payload, .. } = publish;
        let correlation = correlation.filter(|data| !data.is_empty());
        let mut requester = self.requester.clone();
        if topic != self.command_topic {
            requester.from = format!("topic {}", cut(topic));
        }
        let mut to = To { topic: self.answer_topic.clone(), is_own_topic: false, correlation: None };
        let mut wrong = None;
        if let Some(topic) = &response_topic {
            requester.from = format!("{}, answer to {}", requester.from, quoted(topic));
        }
        if correlation.as_ref().is_some_and(|data| data.len() > COMMAND_CORRELATION_BYTES_MAX) {
            let message = format!("the correlation data is too long; allowed: {COMMAND_CORRELATION_BYTES_MAX} bytes");
            wrong = Some(refusal(Reason::Malformed, message));
        } else {
            to.correlation = correlation;
        }
        match response_topic.map(|topic| self.response(topic)) {
            None => {}
            Some(Ok(topic)) => (to.topic, to.is_own_topic) = (topic, true),
            Some(Err(why)) => wrong = Some(why),
        }
        let judged = match (wrong, judged) {
            (None, judged) => judged,
            (Some((reason, wrong)), Ok(Request { id, tag, .. })) => {
                Err((reason, Malformed { id, tag: Some(tag), ..wrong }))
            }
            (Some((reason, wrong)), Err((_, Malformed { id, tag, .. }))) => match tag {
                None => Err((reason, named(wrong, &payload))),
                tag => Err((reason, Malformed { id, tag, ..wrong })),
            },
        };
        match judged {
            Ok(request) => {
                self.ask(requester, request, to);
                true
            }
            Err((reason, malformed)) => {
                self.refuse(requester, malformed, reason, to);
                false
            }
        }
    }

    /// A message that is no MQTT inside.
    pub(super) fn take_unreadable(&mut self, unreadable: &Unreadable) {
        let message = format!("the message is malformed: {}; allowed: a message as MQTT describes it", unreadable.why);
        let malformed = Malformed { id: None, tag: None, message };
        let to = To { topic: self.answer_topic.clone(), is_own_topic: false, correlation: None };
        self.refuse(self.requester.clone(), malformed, Reason::Malformed, to);
    }

    fn ask(&mut self, requester: Requester, request: Request, to: To) {
        let sender = if to.is_own_topic { to.topic.as_str() } else { "" };
        let Some(under_way) = self.senders.begin(sender) else {
            let message = format!(
                "{COMMAND_UNDER_WAY_MAX} requests of this sender are in progress; allowed: wait for their answers"
            );
            let malformed = Malformed { id: request.id, tag: Some(request.tag), message };
            return self.refuse(requester, malformed, Reason::Busy, to);
        };
        let (to_replies, desk) = (self.to_replies.clone(), self.desk.clone());
        let reply = move |answer| {
            let To { topic, is_own_topic, correlation } = to;
            let reply = Reply { topic, is_own_topic, correlation, answer, _under_way: Some(under_way) };
            // Full: the broker takes nothing for a long time. The audit has it.
            if to_replies.try_send(reply).is_err() {
                desk.count_answer(AnswerEnd::NoRoom);
            }
        };
        self.desk.ask(requester, request, Box::new(reply));
    }

    fn refuse(&mut self, requester: Requester, malformed: Malformed, reason: Reason, to: To) {
        let answer = self.desk.refuse(requester, malformed, reason);
        let To { topic, is_own_topic, correlation } = to;
        self.put(Reply { topic, is_own_topic, correlation, answer, _under_way: None });
    }

    /// Where the sender wants its answer.
    fn response(&mut self, topic: String) -> Result<String, Refusal> {
        let plain = !topic.is_empty() && !topic.contains(['+', '#', '\0']);
        if !plain || topic.len() > COMMAND_TOPIC_BYTES_MAX || topic == self.command_topic {
            let message = "the response topic is invalid; allowed: a topic of at most 1024 bytes without wildcards, \
                other than the command topic";
            return Err(refusal(Reason::Malformed, message));
        }
        match self.refused_topics.left(&topic, std::time::Instant::now()) {
            // Answers go there anyway.
            Some(_) if topic == self.answer_topic => Ok(topic),
            Some(left) => {
                let message = format!(
                    "the broker refuses answers on topic {}; allowed: another response topic, or this one in {} s",
                    quoted(&topic),
                    left.as_secs() + 1
                );
                Err(refusal(Reason::ResponseTopic, message))
            }
            None => Ok(topic),
        }
    }
}

/// A topic as the audit keeps it.
fn cut(mut topic: String) -> String {
    topic.truncate(topic.floor_char_boundary(COMMAND_TOPIC_BYTES_MAX));
    topic
}

/// As its payload names it, so that the answer finds its request.
fn named(wrong: Malformed, payload: &[u8]) -> Malformed {
    let (id, tag) = match Request::parse(payload) {
        Ok(request) => (request.id, Some(request.tag)),
        Err(malformed) => (malformed.id, malformed.tag),
    };
    Malformed { id, tag, ..wrong }
}

/// Whether a message is a request; `bytes`: of the payload, of which only the head may be here.
fn judge(retained: bool, payload: &[u8], bytes: usize) -> Result<Request, Refusal> {
    if bytes > COMMAND_BYTES_MAX {
        let message = format!("the request has {bytes} bytes; allowed: {COMMAND_BYTES_MAX}");
        return Err(refusal(Reason::TooLarge, message));
    }
    if retained {
        let why = "a retained message would be executed again at each reconnect; allowed: publish it without retain";
        let (reason, wrong) = refusal(Reason::Retained, why);
        return Err((reason, named(wrong, payload)));
    }
    if payload.is_empty() {
        return Err(refusal(Reason::Malformed, "the message is empty; allowed: a request as a JSON object"));
    }
    let request = Request::parse(payload).map_err(|malformed| (Reason::Malformed, malformed))?;
    let missing = match (&request.id, request.expires_utc_ns) {
        (None, _) => "id is missing; allowed: a unique id for each request",
        (_, None) => {
            "expires is missing; allowed: a time such as \"2026-11-21T08:15:10Z\", or milliseconds since \
             1970-01-01T00:00:00Z, after which nothing is written"
        }
        _ => return Ok(request),
    };
    Err((Reason::Malformed, Malformed { id: request.id, tag: Some(request.tag), message: missing.to_owned() }))
}
