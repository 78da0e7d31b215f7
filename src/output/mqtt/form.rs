//! MQTT messages of the engine's kind: one for each group of a lane.

use std::sync::Arc;

use super::payload::{self, Encoder, Frame};
use super::topic::Topic;
use crate::output::engine::{Form, Head, Key};
use crate::tag::{BatchSample, ClockPair, Dictionary, LaneId};

#[derive(Debug)]
pub(crate) struct MqttForm {
    pub(crate) topic: Topic,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

/// A message that is being written.
#[derive(Debug)]
pub(crate) struct Draft {
    topic: String,
    payload: Vec<u8>,
    frame: Option<Frame>,
}

impl Form for MqttForm {
    const HAS_STREAMS: bool = true;

    type Names = Encoder;
    type Draft = Draft;
    type Message = Message;

    fn names(&self, dictionary: &Arc<Dictionary>) -> Encoder {
        Encoder::new(dictionary)
    }

    fn sibling(&self, names: &Encoder) -> Encoder {
        names.sibling()
    }

    fn key(&self, lane: LaneId, group: u16) -> Key {
        (lane, group)
    }

    fn begin(&self, head: &Head<'_>) -> Draft {
        let mut payload = Vec::with_capacity(head.bytes);
        payload::open(&mut payload, head);
        Draft { topic: self.topic.for_group(head.group), payload, frame: None }
    }

    fn bytes(&self, draft: &Draft) -> usize {
        draft.payload.len() + payload::close_bytes(draft.frame.as_ref())
    }

    fn bytes_of(&self, names: &Encoder, item: &BatchSample<'_>) -> usize {
        names.bytes_max(item)
    }

    fn push(&self, draft: &mut Draft, names: &mut Encoder, item: &BatchSample<'_>, clock: &ClockPair) {
        names.push(&mut draft.payload, &mut draft.frame, item, clock);
    }

    fn close(&self, draft: Draft) -> Message {
        let Draft { topic, mut payload, frame } = draft;
        payload::close(&mut payload, frame.as_ref());
        Message { topic, payload }
    }
}

#[cfg(test)]
mod tests;
