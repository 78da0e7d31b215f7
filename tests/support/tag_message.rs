//! The payload of messages of single tags as a consumer reads it; see `src/output/mqtt/tag_payload.rs`.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::peers::Received;

/// A sample.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "each test program uses its part")]
pub struct TagMessage {
    pub value: Json,
    pub text: Option<String>,
    pub unit: Option<String>,
    pub status: String,
    pub time: String,
    pub tag: String,
    pub gateway: String,
    pub boot: String,
    pub lane: u64,
    pub seq: u64,
    pub prev: Option<u64>,
    pub prev_boot: Option<String>,
    #[serde(default)]
    pub missing: u64,
}

/// What has come of topics that begin so, sample by sample.
#[derive(Default)]
pub struct TagLedger {
    fed: usize,
    /// By boot and lane.
    seen: HashMap<(String, u64), Vec<bool>>,
    /// By lane and tag: boot and number of the newest sample.
    newest: HashMap<(u64, String), (String, u64)>,
    /// Topic and payload of each message.
    pub lines: Vec<String>,
    pub samples: u64,
    pub repeats: u64,
}

impl TagLedger {
    /// A retained message is for who has nothing yet: after a new subscription it may come before older ones that the broker
    /// still holds for a session.
    pub fn feed(&mut self, received: &[Received]) {
        let is_sample = |received: &&Received| !received.retained && received.payload.starts_with("{\"value\"");
        for received in received.iter().filter(is_sample) {
            self.message(received);
        }
    }

    pub fn fed(&mut self) -> &mut usize {
        &mut self.fed
    }

    fn message(&mut self, received: &Received) {
        let message: TagMessage =
            serde_json::from_str(&received.payload).unwrap_or_else(|e| panic!("{e} in {}", received.payload));
        assert_eq!((message.gateway.as_str(), message.missing), ("line-4", 0));
        assert_eq!(received.topic, format!("fieldbeat/line-4/{}", message.tag));
        assert!(message.time.ends_with('Z') && message.time.len() == 27, "{}", message.time);
        self.lines.push(format!("{} {}", received.topic, received.payload));
        let stream = (message.lane, message.tag.clone());
        let known = self.newest.get(&stream);
        let before = message.prev.map(|prev| (message.prev_boot.clone().unwrap_or_else(|| message.boot.clone()), prev));
        assert!(before.is_none() || known.is_none() || before.as_ref() <= known, "{before:?} after {known:?}");
        let seen = self.seen.entry((message.boot.clone(), message.lane)).or_default();
        let at = message.seq as usize;
        if seen.len() <= at {
            seen.resize(at + 1, false);
        }
        if std::mem::replace(&mut seen[at], true) {
            self.repeats += 1;
            return;
        }
        self.samples += 1;
        let this = (message.boot, message.seq);
        assert!(known.is_none_or(|known| *known < this), "{this:?} of {} came after {known:?}", message.tag);
        self.newest.insert(stream, this);
    }

    /// Numbers below `end` that have not come.
    pub fn missing(&self, boot: &str, lane: u64, end: u64) -> usize {
        let seen = self.seen.get(&(boot.to_owned(), lane));
        (0..end).filter(|number| seen.is_none_or(|seen| seen.get(*number as usize) != Some(&true))).count()
    }
}
