//! From the journal's blocks to messages: samples of one group are gathered, and the cursor is kept honest.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::payload::{self, Encoder, Frame};
use super::topic::Topic;
use crate::limits::{MQTT_GATHERED_BYTES_MAX, MQTT_MESSAGE_BYTES_MIN};
use crate::store::{Block, BootId, Follow, FollowError, Position};
use crate::tag::BatchSample;
use crate::tag::{Dictionary, GroupId, LaneId, Nanos, flags};

/// A finished message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// Everything before it is in this message and those finished before it.
    pub(crate) covers: Position,
}

#[derive(Debug, Clone)]
pub(crate) struct GatherSettings {
    /// Stands in messages of blocks whose dictionary names no gateway.
    pub(crate) gateway: String,
    pub(crate) topic: Topic,
    /// How long samples are gathered into one message.
    pub(crate) batch: Nanos,
    pub(crate) message_bytes_max: usize,
}

/// A message that is being gathered.
#[derive(Debug)]
struct Open {
    topic: String,
    payload: Vec<u8>,
    frame: Option<Frame>,
    samples: u32,
    /// Of its first sample.
    first: Position,
    /// When the hub drained its first sample.
    drained: Nanos,
    /// Time of its first sample that is not held: held ones keep times that are long gone.
    t: Option<u64>,
    /// When it was begun, on the wall.
    begun: Instant,
}

/// The block that is being cut, and how far.
#[derive(Debug)]
struct Cut {
    block: Block,
    slot: usize,
    sample: u32,
}

/// The names of an executor's blocks.
#[derive(Debug)]
struct Names {
    boot: BootId,
    dictionary: Arc<Dictionary>,
    encoder: Encoder,
}

/// Where an executor's numbers go on; `torn` once blocks are missing before that.
#[derive(Debug, Clone, Copy)]
struct Expected {
    boot: BootId,
    sequence: u64,
    torn: bool,
}

/// A block that was read and that the cursor has not passed.
#[derive(Debug)]
struct Mark {
    index: u64,
    lane: LaneId,
    boot: BootId,
    first_sequence: u64,
    samples: u32,
    /// What was expected of its executor before it.
    before: Option<Expected>,
}

/// What the journal dropped before it could be read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub(crate) blocks: u64,
    pub(crate) samples: u64,
}

#[derive(Debug)]
pub(crate) struct Gather {
    settings: GatherSettings,
    /// By executor: on a reload each changes over when it comes to it. All of one boot.
    names: HashMap<LaneId, Names>,
    /// The next block to read.
    next: Position,
    /// Whether `next` goes on from something, so that missing blocks are a loss.
    follows: bool,
    cut: Option<Cut>,
    open: HashMap<(LaneId, u16), Box<Open>>,
    open_bytes: usize,
    ready: VecDeque<Message>,
    /// Of the last finished message: the next one is given that much room at once.
    typical_bytes: usize,
    /// The journal had nothing more; [`Gather::wake`] looks again.
    idle: bool,
    /// Finish every message at the journal's end, whatever its age.
    flush: bool,
    expected: HashMap<LaneId, Expected>,
    marks: VecDeque<Mark>,
    /// Losses ahead of the cursor, each with the block that follows it. They count once the cursor is past them:
    /// until then a lost connection brings them again.
    losses: VecDeque<(u64, Skipped)>,
    skipped: Skipped,
    /// The cursor as [`Gather::passed`] last saw it.
    cursor: Position,
}

impl Gather {
    pub(crate) fn new(settings: GatherSettings) -> Gather {
        Gather {
            settings,
            names: HashMap::new(),
            next: Position::default(),
            follows: false,
            cut: None,
            open: HashMap::new(),
            open_bytes: 0,
            ready: VecDeque::new(),
            typical_bytes: MQTT_MESSAGE_BYTES_MIN,
            idle: false,
            flush: false,
            expected: HashMap::new(),
            marks: VecDeque::new(),
            losses: VecDeque::new(),
            skipped: Skipped::default(),
            cursor: Position::default(),
        }
    }

    pub(crate) fn message_bytes_max(&self) -> usize {
        self.settings.message_bytes_max
    }

    /// Forgets what was gathered and starts at `cursor`; `None`: at the oldest block there is.
    pub(crate) fn restart(&mut self, cursor: Option<Position>, message_bytes_max: usize) {
        self.settings.message_bytes_max = message_bytes_max.max(MQTT_MESSAGE_BYTES_MIN);
        self.cut = None;
        self.open.clear();
        self.open_bytes = 0;
        self.ready.clear();
        self.losses.clear();
        self.idle = false;
        self.next = cursor.unwrap_or_default();
        self.cursor = self.next;
        self.follows = cursor.is_some();
        // Back to what was expected where the reading starts again: the newest block is undone first.
        for mark in self.marks.drain(..).rev().filter(|mark| mark.index >= self.next.block) {
            let sequence = mark.first_sequence.saturating_add(u64::from(self.next.samples));
            let before = match mark.before {
                _ if mark.index == self.next.block && self.next.samples > 0 => {
                    Some(Expected { boot: mark.boot, sequence, torn: false })
                }
                before => before.map(|b| Expected { torn: false, ..b }),
            };
            match before {
                Some(before) => self.expected.insert(mark.lane, before),
                None => self.expected.remove(&mark.lane),
            };
        }
    }

    /// The cursor has come to `cursor`. How many samples it passed: each counts once, however often it was sent.
    pub(crate) fn passed(&mut self, cursor: Position) -> u64 {
        let mut samples = 0;
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.index < cursor.block) {
            samples += u64::from(mark.samples - self.done_of(&mark).min(mark.samples));
        }
        if let Some(mark) = self.marks.front().filter(|mark| mark.index == cursor.block) {
            samples += u64::from(cursor.samples.saturating_sub(self.done_of(mark)));
        }
        self.cursor = cursor;
        let passed = |(next, _): &mut (u64, _)| Position { block: *next, samples: 0 } < cursor;
        while let Some((_, lost)) = self.losses.pop_front_if(passed) {
            self.skipped.blocks += lost.blocks;
            self.skipped.samples += lost.samples;
        }
        samples
    }

    /// Samples of a block that lie before the cursor.
    fn done_of(&self, mark: &Mark) -> u32 {
        if mark.index == self.cursor.block { self.cursor.samples } else { 0 }
    }

    /// The journal may hold more, and time has passed.
    pub(crate) fn wake(&mut self) {
        self.idle = false;
    }

    /// From now on the journal's end finishes every message.
    pub(crate) fn flush(&mut self) {
        self.flush = true;
        self.idle = false;
    }

    /// Whether the journal was at its end and every sample read is in a message handed out.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.idle && self.open.is_empty() && self.ready.is_empty()
    }

    /// What the cursor has skipped since the last call.
    pub(crate) fn take_skipped(&mut self) -> Skipped {
        std::mem::take(&mut self.skipped)
    }

    /// The next finished message; `None`: nothing more until [`Gather::wake`].
    pub(crate) fn next(&mut self, source: &dyn Follow, now: Instant) -> Result<Option<Message>, FollowError> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            if self.idle {
                return Ok(None);
            }
            if let Some(cut) = self.cut.take() {
                self.cut_block(cut, now);
            } else if !self.load(source)? {
                self.idle = true;
                let batch = Duration::from_nanos(self.settings.batch.0);
                let flush = self.flush;
                self.finish_where(|_, open| flush || now.saturating_duration_since(open.begun) >= batch);
            }
        }
    }

    /// Reads the next block. Whether there was one.
    fn load(&mut self, source: &dyn Follow) -> Result<bool, FollowError> {
        if !source.wait_for(self.next.block, Duration::ZERO) {
            return Ok(false);
        }
        let Some(block) = source.block_at_or_after(self.next.block)? else { return Ok(false) };
        let torn = block.index.saturating_sub(self.next.block);
        if torn > 0 {
            if self.follows {
                self.losses.push_back((block.index, Skipped { blocks: torn, samples: 0 }));
                self.expected.values_mut().for_each(|e| e.torn = true);
            }
            self.next = Position { block: block.index, samples: 0 };
        }
        self.follows = true;
        self.count_numbers(&block);
        self.adopt_names(&block);

        let (batch, drained) = (self.settings.batch, block.batch.drained);
        self.finish_where(|_, open| drained > open.drained + batch);

        let (mut slot, mut sample) = (0, 0);
        while sample < self.next.samples && slot < block.batch.slots.len() {
            slot += 1 + block.batch.slots[slot].payload_slots();
            sample += 1;
        }
        self.cut = Some(Cut { block, slot, sample });
        Ok(true)
    }

    fn count_numbers(&mut self, block: &Block) {
        let batch = &block.batch;
        let sequence = batch.first_sequence.saturating_add(u64::from(batch.samples));
        let before = self.expected.insert(batch.lane, Expected { boot: block.boot, sequence, torn: false });
        if let Some(known) = before.filter(|e| e.torn && e.boot == block.boot) {
            let samples = batch.first_sequence.saturating_sub(known.sequence);
            self.losses.push_back((block.index, Skipped { blocks: 0, samples }));
        }
        self.marks.push_back(Mark {
            index: block.index,
            lane: batch.lane,
            boot: block.boot,
            first_sequence: batch.first_sequence,
            samples: batch.samples,
            before,
        });
    }

    /// Ids mean something else in a new boot, or after a reload of their executor: what was gathered under the old
    /// names is finished before anything is told with the new ones.
    fn adopt_names(&mut self, block: &Block) {
        if self.names.values().any(|names| names.boot != block.boot) {
            self.finish_where(|_, _| true);
            self.names.clear();
        }
        let (executor, dictionary) = (block.batch.lane, &block.batch.names);
        let same = |names: &Names| Arc::ptr_eq(&names.dictionary, dictionary) || names.dictionary == *dictionary;
        match self.names.get_mut(&executor) {
            Some(names) if same(names) => names.dictionary = dictionary.clone(),
            _ => {
                self.finish_where(|of, _| of == executor);
                let alike = self.names.values().find(|names| same(names));
                let encoder = alike.map_or_else(|| Encoder::new(dictionary), |names| names.encoder.sibling());
                self.names.insert(executor, Names { boot: block.boot, dictionary: dictionary.clone(), encoder });
            }
        }
    }

    /// Cuts on until a message is finished or the block ends.
    fn cut_block(&mut self, mut cut: Cut, now: Instant) {
        let executor = cut.block.batch.lane;
        let Some(mut names) = self.names.remove(&executor) else { return };
        while self.ready.is_empty() && cut.slot < cut.block.batch.slots.len() {
            self.cut_run(&mut cut, &mut names, now);
            if self.open_bytes > MQTT_GATHERED_BYTES_MAX {
                self.finish_where(|_, _| true);
            }
        }
        self.names.insert(executor, names);
        if cut.slot < cut.block.batch.slots.len() {
            self.cut = Some(cut);
        } else {
            self.next = Position { block: cut.block.index.saturating_add(1), samples: 0 };
        }
    }

    /// Consecutive samples of one group, until the group changes or a message is finished.
    fn cut_run(&mut self, cut: &mut Cut, names: &mut Names, now: Instant) {
        let batch = &cut.block.batch;
        let group = batch.slots[cut.slot].group;
        let key = (batch.lane, group);
        let mut open = self.open.remove(&key);
        if let Some(open) = &open {
            self.open_bytes -= open.payload.len();
        }
        while let Some(sample) = batch.slots.get(cut.slot) {
            if sample.group != group || !self.ready.is_empty() {
                break;
            }
            let end = (cut.slot + 1 + sample.payload_slots()).min(batch.slots.len());
            let item = BatchSample {
                sequence: batch.first_sequence.wrapping_add(u64::from(cut.sample)),
                sample,
                payload: &batch.slots[cut.slot + 1..end],
            };
            let time = (sample.flags & flags::HELD == 0).then_some(sample.t);
            let position = Position { block: cut.block.index, samples: cut.sample };
            let full = |open: &Open| {
                let close = payload::close_bytes(open.frame.as_ref());
                let bytes = open.payload.len() + names.encoder.bytes_max(&item) + close;
                let late = time.zip(open.t).is_some_and(|(t, first)| t.saturating_sub(first) > self.settings.batch.0);
                late || bytes > self.settings.message_bytes_max || open.samples == u32::MAX
            };
            if open.as_deref().is_some_and(full)
                && let Some(done) = open.take()
            {
                self.next = position;
                self.finish(*done);
                break;
            }
            let target = open.get_or_insert_with(|| Box::new(self.begin(key, names, batch.drained, position, now)));
            target.t = target.t.or(time);
            names.encoder.push(&mut target.payload, &mut target.frame, &item, &batch.clock);
            target.samples += 1;
            cut.slot = end;
            cut.sample += 1;
        }
        self.next = Position { block: cut.block.index, samples: cut.sample };
        if let Some(open) = open {
            self.open_bytes += open.payload.len();
            self.open.insert(key, open);
        }
    }

    fn begin(&self, key: (LaneId, u16), names: &Names, drained: Nanos, first: Position, now: Instant) -> Open {
        let mut out =
            Vec::with_capacity((self.typical_bytes + self.typical_bytes / 8).min(self.settings.message_bytes_max));
        let gateway = match names.dictionary.gateway.as_str() {
            "" => &self.settings.gateway,
            named => named,
        };
        let made_up;
        let group = match names.dictionary.group(GroupId(key.1)) {
            Some(name) => name,
            None => {
                made_up = format!("group-{}", key.1);
                &made_up
            }
        };
        payload::open(&mut out, gateway, names.boot, key.0, group);
        let topic = self.settings.topic.for_group(group);
        Open { topic, payload: out, frame: None, samples: 0, first, drained, t: None, begun: now }
    }

    /// Finishes the messages that are gathered and meet `due`, the oldest first.
    fn finish_where(&mut self, due: impl Fn(LaneId, &Open) -> bool) {
        let mut keys: Vec<_> =
            self.open.iter().filter(|(key, open)| due(key.0, open)).map(|(key, open)| (open.first, *key)).collect();
        keys.sort_unstable_by_key(|(first, key)| (*first, key.0, key.1));
        for (_, key) in keys {
            if let Some(open) = self.open.remove(&key) {
                self.open_bytes -= open.payload.len();
                self.finish(*open);
            }
        }
    }

    /// Everything before the first sample of what is still gathered, and before the next sample to read,
    /// is in messages finished by now: that is how far this message's acknowledgement moves the cursor.
    fn finish(&mut self, open: Open) {
        let covers = self.open.values().map(|other| other.first).fold(self.next, Position::min);
        let mut payload = open.payload;
        payload::close(&mut payload, open.frame.as_ref());
        self.typical_bytes = payload.len();
        self.ready.push_back(Message { topic: open.topic, payload, covers });
    }
}

#[cfg(test)]
mod tests;
