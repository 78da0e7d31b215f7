//! Plain values on a topic of a tag: `21.5`, `true`, `"text"`, as Home Assistant, Node-RED or a button publish them.
//!
//! Such a message says neither when it expires nor which request it is. So:
//!
//! - **The deadline.** It counts from its arrival here: what is not sent to the device within the tag's `timeout_ms` is not
//!   sent at all. How long it was on its way before nobody can see. A start of the gateway, and every connection of MQTT
//!   3.1.1, begins a clean session, so that nothing waits for it at the broker; with MQTT 5 a broker keeps what comes while a
//!   connection is lost, for 10 s at most.
//! - **Repeats.** A broker that gets no acknowledgement from us (QoS 1) sends a message again, marked as such, under the same
//!   packet identifier and on the same session. Each plain value gets an id of ours when it first comes; one that comes again so
//!   keeps it, and is answered again and not done again, as a request with an id is. One that is marked and did not come before
//!   is done. What a publisher itself sends twice is two messages for everybody: both are done. For what must never be done
//!   twice there are requests with an id of their own.
//! - **Retained** values are refused: each new connection would do them again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::Value as Json;

use super::super::topic::Topic;
use super::super::wire::Publish;
use super::requests::{Refusal, refusal};
use crate::command::{Malformed, Reason, Request};
use crate::config::quoted;
use crate::limits::{COMMAND_BYTES_MAX, COMMAND_RECEIVE_MAX, NAME_BYTES_MAX};

/// One that came with QoS 1.
struct Came {
    packet: u16,
    topic: String,
    payload: Vec<u8>,
    id: String,
}

pub(super) struct SetPoints {
    topic: Topic,
    /// Drawn at the start: an id is never used again.
    prefix: String,
    next: u64,
    /// Of this session, the newest last: more than the broker sends without an acknowledgement.
    came: VecDeque<Came>,
}

impl SetPoints {
    pub(super) fn new(topic: Topic) -> SetPoints {
        static OUTPUTS: AtomicU64 = AtomicU64::new(0);
        let prefix = format!("set-{:08x}{:02x}", fastrand::u32(..), OUTPUTS.fetch_add(1, Relaxed));
        SetPoints { topic, prefix, next: 1, came: VecDeque::new() }
    }

    pub(super) fn filter(&self) -> String {
        self.topic.filter()
    }

    /// `is_clean`: the broker has nothing of an earlier session.
    pub(super) fn begin_connection(&mut self, is_clean: bool) {
        if is_clean {
            self.came.clear();
        }
    }

    /// `None`: it is none of these.
    pub(super) fn judge(&mut self, publish: &Publish) -> Option<Result<Request, Refusal>> {
        let tag = self.topic.tag_of(&publish.topic)?.to_owned();
        let known = tag.len() <= NAME_BYTES_MAX;
        let refuse =
            |(reason, wrong): Refusal| Some(Err((reason, Malformed { tag: known.then(|| tag.clone()), ..wrong })));
        if publish.payload_bytes > COMMAND_BYTES_MAX {
            let message = format!("the value has {} bytes; allowed: {COMMAND_BYTES_MAX}", publish.payload_bytes);
            return refuse(refusal(Reason::TooLarge, message));
        }
        if publish.retained {
            // The end of a retained value, too, which is empty.
            let why = "a retained value would be written again at each reconnect; allowed: publish it without retain";
            return refuse(refusal(Reason::Retained, why));
        }
        if !known {
            return refuse(refusal(Reason::UnknownTag, "no tag has a name of this length"));
        }
        match value(&publish.payload) {
            Ok(value) => {
                let id = self.id(publish);
                Some(Ok(Request { id: Some(id), tag, value, read_back: false, timeout: None, expires_utc_ns: None }))
            }
            Err(message) => refuse(refusal(Reason::Malformed, message)),
        }
    }

    /// The id of a message, the one that it had when it came first.
    fn id(&mut self, publish: &Publish) -> String {
        let Some(packet) = publish.packet else { return self.fresh() };
        let at = self.came.iter().position(|came| came.packet == packet);
        if let Some(at) = at {
            let came = &self.came[at];
            if publish.is_again && came.topic == publish.topic && came.payload == publish.payload {
                return came.id.clone();
            }
            // The broker uses the number for another message: it has our acknowledgement of the one before.
            self.came.remove(at);
        }
        let id = self.fresh();
        if self.came.len() >= CAME_MAX {
            self.came.pop_front();
        }
        let (topic, payload) = (publish.topic.clone(), publish.payload.clone());
        self.came.push_back(Came { packet, topic, payload, id: id.clone() });
        id
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("{}-{}", self.prefix, self.next - 1)
    }
}

/// Brokers that keep to what MQTT 5 lets us say have fewer messages under way.
const CAME_MAX: usize = COMMAND_RECEIVE_MAX as usize * 2;

/// A number, `true`, `false`, a list or a text in quotes as JSON has them; what is no JSON is a text as it stands.
fn value(payload: &[u8]) -> Result<Json, String> {
    const ALLOWED: &str = "allowed: a plain value such as 21.5, true or \"text\"";
    let Ok(text) = std::str::from_utf8(payload) else { return Err(format!("the value is not UTF-8; {ALLOWED}")) };
    match serde_json::from_str::<Json>(text) {
        _ if text.trim().is_empty() => Err(format!("the message is empty; {ALLOWED}")),
        Ok(Json::Object(_)) => {
            Err(format!("the value is a JSON object; {ALLOWED}; requests as objects go to `command_topic`"))
        }
        Ok(Json::Null) => Err(format!("the value is null; {ALLOWED}")),
        Ok(value) => Ok(value),
        Err(_) if text.starts_with(['{', '[', '"']) => {
            Err(format!("the value {} is not JSON; {ALLOWED}", quoted(text)))
        }
        Err(_) => Ok(Json::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set_points() -> SetPoints {
        SetPoints::new(Topic::new("set_topic", "f/{gateway}/{tag}/set", "g").unwrap())
    }

    fn publish(packet: Option<u16>, is_again: bool, payload: &str) -> Publish {
        Publish {
            topic: "f/g/a.b/set".into(),
            retained: false,
            is_again,
            packet,
            response_topic: None,
            correlation: None,
            payload: payload.into(),
            payload_bytes: payload.len(),
        }
    }

    fn id(set: &mut SetPoints, packet: Option<u16>, is_again: bool, payload: &str) -> String {
        set.judge(&publish(packet, is_again, payload)).unwrap().unwrap().id.unwrap()
    }

    #[test]
    fn plain_values_are_read_and_all_else_is_named() {
        for (text, expected) in [
            ("21.5", json!(21.5)),
            (" 7\n", json!(7)),
            ("true", json!(true)),
            ("\"on\"", json!("on")),
            ("[1, 2]", json!([1, 2])),
            ("ON", json!("ON")),
            ("21,5", json!("21,5")),
        ] {
            assert_eq!(value(text.as_bytes()), Ok(expected), "{text}");
        }
        for (text, fault) in
            [("", "empty"), (" ", "empty"), ("{}", "object"), ("null", "null"), ("[1", "not JSON"), ("\"a", "not JSON")]
        {
            assert!(value(text.as_bytes()).unwrap_err().contains(fault), "{text}");
        }
        assert!(value(b"\xff").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn a_message_that_the_broker_sends_again_keeps_its_id_and_another_one_of_that_number_gets_its_own() {
        let mut set = set_points();
        let first = id(&mut set, Some(7), false, "1");
        assert_eq!(id(&mut set, Some(7), true, "1"), first, "sent again");
        assert_eq!(id(&mut set, Some(7), true, "1"), first, "and again");
        let second = id(&mut set, Some(7), false, "1");
        assert_ne!(second, first, "the number is used anew");
        assert_ne!(id(&mut set, Some(7), true, "2"), second, "marked, and another one");
        assert_ne!(id(&mut set, Some(8), true, "1"), first, "marked, and not seen before");
        assert_ne!(id(&mut set, None, false, "1"), id(&mut set, None, false, "1"));
        let last = id(&mut set, Some(9), false, "1");
        set.begin_connection(false);
        assert_eq!(id(&mut set, Some(9), true, "1"), last, "the session goes on");
        set.begin_connection(true);
        assert_ne!(id(&mut set, Some(9), true, "1"), last, "another session");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut set = set_points();
        for packet in 1..5_000 {
            id(&mut set, Some(packet), false, "1");
        }
        assert!(set.came.len() <= CAME_MAX);
        assert_eq!(id(&mut set, Some(4_999), true, "1"), set.came.back().unwrap().id);
    }

    #[test]
    fn retained_and_large_values_are_refused_with_their_tag() {
        let mut set = set_points();
        let retained = Publish { retained: true, ..publish(Some(1), false, "1") };
        let (reason, wrong) = set.judge(&retained).unwrap().unwrap_err();
        assert_eq!((reason, wrong.tag.as_deref()), (Reason::Retained, Some("a.b")));
        let large = Publish { payload_bytes: 1 << 20, ..publish(Some(1), false, "1") };
        assert_eq!(set.judge(&large).unwrap().unwrap_err().0, Reason::TooLarge);
        let long = Publish { topic: format!("f/g/{}/set", "x".repeat(1000)), ..publish(None, false, "1") };
        assert_eq!(set.judge(&long).unwrap().unwrap_err().0, Reason::UnknownTag);
        let other = Publish { topic: "f/g/a".into(), ..publish(None, false, "1") };
        assert!(set.judge(&other).is_none());
    }
}
