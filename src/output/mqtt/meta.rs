//! Metadata of a gateway on retained topics, so that a consumer knows tags, units, types and limits without a file,
//! and which tags are bad now although nothing comes of them.
//!
//! | topic | payload |
//! |---|---|
//! | `…/meta` | `{"gateway","boot","version","time","revision","parts","tags"}`: how many parts there are, and how many tags |
//! | `…/meta/0`, `…/meta/1`, … | `{"gateway","revision","part","groups":[…],"links":[…],"tags":[…]}`: each part has a piece of these lists |
//! | `…/meta/bad` | `{"gateway","boot","time","total","tags":[{"tag","status"}]}`: the tags that are not good, as far as they fit |
//!
//! All of it is published after each connection, the parts before the first topic names them; again, when the plan changes
//! (then with another `revision`, and parts that are no longer there are removed from the broker), and `bad` when a tag turns bad
//! or good, once a second at most. A part is at most as large as the output's messages and the broker's limit: however many
//! tags there are, it is the number of parts that grows. `total` says how many tags are not good where the list is cut.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::topic::Topic;
use crate::catalog::{Catalog, TagEntry};
use crate::config::{TagChoice, TopicOf, TopicPer, WriteConfig};
use crate::tag::{GroupId, Id, LinkId, Status, TagId, utc_text};

#[derive(Serialize)]
struct Group<'a> {
    group: &'a str,
    period_ms: f64,
}

#[derive(Serialize)]
struct Link<'a> {
    link: &'a str,
    /// The family of protocols.
    protocol: &'static str,
}

#[derive(Serialize)]
struct WriteLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_step: Option<f64>,
    min_interval_ms: f64,
}

/// Where the gateway puts what outputs publish.
#[derive(Debug, Default)]
pub struct MetaBoard {
    /// Rises with each change.
    version: AtomicU64,
    content: Mutex<Content>,
}

#[derive(Debug, Clone, Default)]
struct Content {
    boot: String,
    catalog: Arc<Catalog>,
    /// 0: nothing was put here yet.
    revision: u64,
    /// Its tags that are not good.
    bad: Arc<Vec<(TagId, Status)>>,
    bad_version: u64,
}

impl MetaBoard {
    /// What runs, and its tags that are not good now.
    pub fn put(&self, boot: &str, catalog: &Arc<Catalog>, bad: Vec<(TagId, Status)>) {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = content.revision == 0 || !Arc::ptr_eq(&content.catalog, catalog);
        if is_other {
            (content.boot, content.catalog) = (boot.to_owned(), catalog.clone());
            content.revision += 1;
        }
        if is_other || *content.bad != bad {
            content.bad = Arc::new(bad);
            content.bad_version += 1;
            self.version.fetch_add(1, Relaxed);
        }
    }

    fn content(&self) -> Content {
        self.content.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A message of this kind, to be kept by the broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MetaMessage {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
}

/// What one output publishes of it.
pub(super) struct MetaPublisher {
    board: Arc<MetaBoard>,
    gateway: String,
    /// Without a part behind it.
    topic: String,
    choice: TagChoice,
    /// Where samples of a tag go, where it has a topic of its own.
    tag_topic: Option<Topic>,
    set_topic: Option<Topic>,
    bytes_max: usize,
    seen: u64,
    content: Content,
    /// The revision and the version of `bad` that were published whole.
    told: (u64, u64),
    /// Parts of the revision that is being published, and where the next one begins.
    parts: usize,
    next: Option<At>,
    /// Parts that the broker may have.
    kept: usize,
}

/// Where in the lists of a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct At {
    list: usize,
    entry: usize,
}

const LISTS: [&str; 3] = ["groups", "links", "tags"];
/// Brackets, the comma, the list's name.
const LIST_BYTES: usize = 16;

impl MetaPublisher {
    pub(super) fn new(
        board: Arc<MetaBoard>,
        gateway: &str,
        topic: String,
        choice: TagChoice,
        (topic_per, tag_topic): (TopicPer, &Topic),
        set_topic: Option<Topic>,
    ) -> MetaPublisher {
        MetaPublisher {
            board,
            gateway: gateway.to_owned(),
            topic,
            choice,
            tag_topic: (topic_per == TopicPer::Tag).then(|| tag_topic.clone()),
            set_topic,
            bytes_max: 0,
            seen: u64::MAX,
            content: Content::default(),
            told: (0, 0),
            parts: 0,
            next: None,
            kept: 0,
        }
    }

    pub(super) fn topic_bytes_max(&self) -> usize {
        // A slash and a part's number, or `bad`.
        self.topic.len() + 1 + usize::MAX.ilog10() as usize
    }

    /// A new connection, on which messages may be so large: everything is published again.
    pub(super) fn restart(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        (self.told, self.next, self.seen) = ((0, 0), None, u64::MAX);
    }

    /// The next message to publish; `None`: nothing now.
    pub(super) fn next(&mut self) -> Option<MetaMessage> {
        let version = self.board.version.load(Relaxed);
        if self.seen != version && self.next.is_none() {
            self.seen = version;
            self.content = self.board.content();
            if self.content.revision != self.told.0 {
                (self.parts, self.next) = (0, Some(At::default()));
            }
        }
        if let Some(at) = self.next {
            return Some(self.part(at));
        }
        if self.content.revision != self.told.0 {
            return Some(self.head());
        }
        if self.kept > self.parts {
            self.kept -= 1;
            return Some(MetaMessage { topic: format!("{}/{}", self.topic, self.kept), payload: Vec::new() });
        }
        if self.content.bad_version != self.told.1 {
            return Some(self.bad());
        }
        None
    }

    fn head(&mut self) -> MetaMessage {
        self.told.0 = self.content.revision;
        let catalog = &self.content.catalog;
        let tags = catalog.tags.values().filter(|tag| self.is_sent(catalog, tag)).count();
        let head = json!({
            "gateway": self.gateway, "boot": self.content.boot, "version": env!("CARGO_PKG_VERSION"), "time": now(),
            "revision": self.content.revision, "parts": self.parts, "tags": tags,
        });
        MetaMessage { topic: self.topic.clone(), payload: head.to_string().into_bytes() }
    }

    /// As many entries as fit, one at least.
    fn part(&mut self, mut at: At) -> MetaMessage {
        let number = self.parts;
        let head = json!({"gateway": self.gateway, "revision": self.content.revision, "part": number}).to_string();
        let mut payload = head.trim_end_matches('}').as_bytes().to_vec();
        let (mut open, mut entries) = (None, 0);
        let catalog = self.content.catalog.clone();
        let count = [catalog.groups.end(), catalog.links.end(), catalog.tags.end()];
        self.next = loop {
            if at.list == LISTS.len() {
                break None;
            }
            if at.entry == count[at.list] {
                at = At { list: at.list + 1, entry: 0 };
                continue;
            }
            let Some(entry) = self.entry(&catalog, at) else {
                at.entry += 1;
                continue;
            };
            if entries > 0 && payload.len() + entry.len() + LIST_BYTES > self.bytes_max {
                break Some(at);
            }
            match open.replace(at.list) {
                Some(list) if list == at.list => payload.push(b','),
                before => {
                    payload.extend_from_slice(if before.is_some() { b"],\"" } else { b",\"" });
                    payload.extend_from_slice(LISTS[at.list].as_bytes());
                    payload.extend_from_slice(b"\":[");
                }
            }
            payload.extend_from_slice(entry.as_bytes());
            entries += 1;
            at.entry += 1;
        };
        payload.extend_from_slice(if open.is_some() { b"]}" } else { b"}" });
        self.parts += 1;
        self.kept = self.kept.max(self.parts);
        MetaMessage { topic: format!("{}/{number}", self.topic), payload }
    }

    /// `None`: there is none of that id, or the output does not send it.
    fn entry(&self, catalog: &Catalog, at: At) -> Option<String> {
        match at.list {
            0 => {
                let group = catalog.groups.get(GroupId::from_index(at.entry))?;
                let period_ms = group.period.0 as f64 / 1e6;
                serde_json::to_string(&Group { group: &group.name, period_ms }).ok()
            }
            1 => {
                let link = catalog.links.get(LinkId::from_index(at.entry))?;
                serde_json::to_string(&Link { link: &link.name, protocol: link.protocol }).ok()
            }
            _ => {
                let tag = catalog.tags.get(TagId::from_index(at.entry))?;
                self.is_sent(catalog, tag).then(|| self.tag(catalog, tag).to_string())
            }
        }
    }

    fn tag(&self, catalog: &Catalog, tag: &TagEntry) -> Json {
        let TagEntry { name, ty, unit, description, range, write, texts, .. } = tag;
        let (group, link) = (catalog.group_of(tag), catalog.links.get(tag.link).map_or("", |link| &link.name));
        let mut json = json!({
            "tag": &**name, "type": ty.to_string(), "group": group, "link": link, "writable": write.is_some(),
        });
        let mut put = |key: &str, value: Json| json[key] = value;
        if !unit.is_empty() {
            put("unit", json!(&**unit));
        }
        if !description.is_empty() {
            put("description", json!(&**description));
        }
        if let Some(range) = range {
            put("range", json!(range));
        }
        if let Some(write) = write {
            let WriteConfig { min, max, step_max: max_step, interval_min, .. } = write.clone();
            let min_interval_ms = interval_min.0 as f64 / 1e6;
            put("write", json!(WriteLimits { min, max, max_step, min_interval_ms }));
        }
        if !texts.is_empty() {
            let texts: serde_json::Map<String, Json> =
                texts.iter().map(|(bits, text)| ((bits as i64).to_string(), json!(text))).collect();
            put("texts", Json::Object(texts));
        }
        let of = TopicOf { gateway: &self.gateway, group, link, tag: name };
        if let Some(topic) = &self.tag_topic {
            put("topic", json!(topic.fill(&of)));
        }
        if let Some(topic) = self.set_topic.as_ref().filter(|_| write.is_some()) {
            put("set_topic", json!(topic.fill(&of)));
        }
        json
    }

    fn bad(&mut self) -> MetaMessage {
        self.told.1 = self.content.bad_version;
        let catalog = &self.content.catalog;
        let all = self.content.bad.iter().filter_map(|(id, status)| Some((catalog.tags.get(*id)?, status.name())));
        let sent: Vec<(&TagEntry, &str)> = all.filter(|(tag, _)| self.is_sent(catalog, tag)).collect();
        let head =
            json!({"gateway": self.gateway, "boot": self.content.boot, "time": now(), "total": sent.len()}).to_string();
        let mut payload = head.trim_end_matches('}').as_bytes().to_vec();
        payload.extend_from_slice(b",\"tags\":[");
        for (at, (tag, status)) in sent.into_iter().enumerate() {
            let entry = json!({"tag": &*tag.name, "status": status}).to_string();
            if payload.len() + entry.len() + LIST_BYTES > self.bytes_max {
                break;
            }
            if at > 0 {
                payload.push(b',');
            }
            payload.extend_from_slice(entry.as_bytes());
        }
        payload.extend_from_slice(b"]}");
        MetaMessage { topic: format!("{}/bad", self.topic), payload }
    }

    fn is_sent(&self, catalog: &Catalog, tag: &TagEntry) -> bool {
        self.choice.takes_tag(&tag.name) && self.choice.takes_group(catalog.group_of(tag))
    }
}

fn now() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    utc_text(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
