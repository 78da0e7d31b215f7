//! MQTT messages of the engine's kind: one for each group of a lane, or one for each sample of a tag.

use std::sync::Arc;

use super::payload::{self, Encoder, Frame};
use super::tag_payload::{self, Tail};
use super::topic::Topic;
use crate::config::{TopicOf, TopicPer};
use crate::engine::{Form, Head, Key, UNKNOWN_LINK};
use crate::tag::{BatchSample, ClockPair, Dictionary, GroupId, LaneId, Sample, TagId};

#[derive(Debug)]
pub struct MqttForm {
    per: TopicPer,
    topic: Topic,
}

impl MqttForm {
    pub fn new(per: TopicPer, topic: Topic) -> MqttForm {
        MqttForm { per, topic }
    }
}

#[derive(Debug)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
}

/// A message that is being written.
#[derive(Debug)]
pub struct Draft {
    topic: String,
    payload: Vec<u8>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Group(Option<Frame>),
    /// What follows the sample.
    Tag(Tail),
}

/// What samples of one dictionary are called.
#[derive(Debug)]
pub struct Names {
    encoder: Encoder,
    table: Arc<Table>,
}

#[derive(Debug)]
struct Table {
    dictionary: Arc<Dictionary>,
    /// By TagId, where messages are per tag, else by GroupId.
    names: Vec<Arc<str>>,
    /// By TagId: which of `links`. Only where the topic names the link of a group's messages.
    link_of: Vec<u16>,
    links: Vec<Arc<str>>,
    /// By GroupId: the first one of its name. A group of several scan rates has an id for each.
    first_of: Vec<u16>,
}

impl Table {
    fn new(dictionary: &Arc<Dictionary>, per: TopicPer, has_link: bool) -> Table {
        let group = |at: usize| group_name(dictionary, at as u16);
        let tag = |at: usize| tag_name(dictionary, at as u32);
        let names: Vec<Arc<str>> = match per {
            TopicPer::Group => (0..dictionary.groups.len()).map(group).collect(),
            TopicPer::Tag => (0..dictionary.tags.len()).map(tag).collect(),
        };
        let (mut link_of, mut links) = (Vec::new(), Vec::<Arc<str>>::new());
        if per == TopicPer::Group && has_link {
            let mut known = std::collections::HashMap::new();
            for tag in &dictionary.tags {
                let at = *known.entry(&*tag.link).or_insert_with(|| {
                    links.push(tag.link.clone());
                    (links.len() - 1) as u16
                });
                link_of.push(at);
            }
        }
        let first = |name: &String| dictionary.groups.iter().position(|other| other == name).unwrap_or_default();
        let first_of = dictionary.groups.iter().map(|name| first(name) as u16).collect();
        Table { dictionary: dictionary.clone(), names, link_of, links, first_of }
    }

    fn link(&self, tag: u32) -> &str {
        let link = self.dictionary.tags.get(tag as usize).map(|tag| &*tag.link);
        link.filter(|link| !link.is_empty()).unwrap_or(UNKNOWN_LINK)
    }
}

fn group_name(dictionary: &Dictionary, id: u16) -> Arc<str> {
    dictionary.group(GroupId(id)).map_or_else(|| format!("group-{id}").into(), Arc::from)
}

fn tag_name(dictionary: &Dictionary, id: u32) -> Arc<str> {
    dictionary.tag(TagId(id)).map_or_else(|| format!("#{id}").into(), |tag| tag.name.as_str().into())
}

impl Form for MqttForm {
    const HAS_STREAMS: bool = true;

    type Names = Names;
    type Draft = Draft;
    type Message = Message;

    fn names(&self, dictionary: &Arc<Dictionary>) -> Names {
        let table = Arc::new(Table::new(dictionary, self.per, self.topic.has_link()));
        Names { encoder: Encoder::new(dictionary), table }
    }

    fn sibling(&self, names: &Names) -> Names {
        Names { encoder: names.encoder.sibling(), table: names.table.clone() }
    }

    fn key(&self, names: &Names, lane: LaneId, sample: &Sample) -> Key {
        let table = &names.table;
        let group = || table.first_of.get(usize::from(sample.group)).copied().unwrap_or(sample.group);
        match self.per {
            TopicPer::Tag => (lane, sample.tag),
            TopicPer::Group => {
                let link = table.link_of.get(sample.tag as usize).copied().unwrap_or_default();
                (lane, u32::from(link) << 16 | u32::from(group()))
            }
        }
    }

    fn stream(&self, names: &Names, of: u32) -> Arc<str> {
        let table = &names.table;
        let name = |at: u32| table.names.get(at as usize).cloned();
        match self.per {
            TopicPer::Tag => name(of).unwrap_or_else(|| tag_name(&table.dictionary, of)),
            TopicPer::Group => {
                let group = of & 0xffff;
                let group = name(group).unwrap_or_else(|| group_name(&table.dictionary, group as u16));
                match table.links.get((of >> 16) as usize) {
                    // No name has a slash.
                    Some(link) => format!("{link}/{group}").into(),
                    None => group,
                }
            }
        }
    }

    fn begin(&self, head: &Head<'_>, names: &Names, first: &Sample) -> Draft {
        let table = &names.table;
        let group = match self.per {
            TopicPer::Group => table.names.get(usize::from(first.group)).cloned(),
            TopicPer::Tag => None,
        };
        let group = group.unwrap_or_else(|| group_name(&table.dictionary, first.group));
        let (link, tag) = (table.link(first.tag), tag_name_of(self.per, table, first.tag));
        let topic = self.topic.fill(&TopicOf { gateway: head.gateway, group: &group, link, tag: &tag });
        match self.per {
            TopicPer::Group => {
                let mut payload = Vec::with_capacity(head.bytes);
                payload::open(&mut payload, head, &group, self.topic.has_link().then_some(link));
                Draft { topic, payload, body: Body::Group(None) }
            }
            TopicPer::Tag => {
                let unit = table.dictionary.tags.get(first.tag as usize).map_or("", |tag| &tag.unit);
                let tail = tag_payload::tail(head, &tag, unit);
                Draft { topic, payload: Vec::new(), body: Body::Tag(tail) }
            }
        }
    }

    fn bytes(&self, draft: &Draft) -> usize {
        draft.payload.len()
            + match &draft.body {
                Body::Group(frame) => payload::close_bytes(frame.as_ref()),
                Body::Tag(tail) => tail.bytes(),
            }
    }

    fn bytes_of(&self, names: &Names, item: &BatchSample<'_>) -> usize {
        names.encoder.bytes_max(item)
    }

    fn push(&self, draft: &mut Draft, names: &mut Names, item: &BatchSample<'_>, clock: &ClockPair) {
        match &mut draft.body {
            Body::Group(frame) => names.encoder.push(&mut draft.payload, frame, item, clock),
            Body::Tag(tail) => tag_payload::write(&mut draft.payload, &mut names.encoder, tail, item, clock),
        }
    }

    fn close(&self, draft: Draft) -> Message {
        let Draft { topic, mut payload, body } = draft;
        match body {
            Body::Group(frame) => payload::close(&mut payload, frame.as_ref()),
            Body::Tag(tail) => tail.close(&mut payload),
        }
        Message { topic, payload }
    }
}

fn tag_name_of(per: TopicPer, table: &Table, tag: u32) -> Arc<str> {
    match per {
        // Not in the topic, and not in the message's head.
        TopicPer::Group => Arc::default(),
        TopicPer::Tag => table.names.get(tag as usize).cloned().unwrap_or_else(|| tag_name(&table.dictionary, tag)),
    }
}

#[cfg(test)]
mod tests;
