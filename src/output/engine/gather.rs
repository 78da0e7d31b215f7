//! From the journal's blocks to messages: collects samples, and advances the cursor with the acknowledgements.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::choice::Chosen;
use super::form::{Form, Head, Key};
use super::marks::{Marks, Passed, Skipped};
use super::streams::{Before, Streams};
use crate::config::TagChoice;
use crate::limits::{OUTPUT_BLOCKS_LEFT_OUT_MAX, OUTPUT_GATHERED_BYTES_MAX, OUTPUT_MESSAGE_BYTES_MIN};
use crate::store::{Block, BootId, Follow, FollowError, Position};
use crate::tag::{BatchSample, Dictionary, LaneId, Nanos, Sample, flags};

/// A finished message.
#[derive(Debug)]
pub struct Gathered<M> {
    pub message: M,
    /// Everything before it is in this message and those finished before it.
    pub covers: Position,
}

#[derive(Debug, Clone)]
pub struct GatherSettings {
    /// Stands in messages of blocks whose dictionary names no gateway.
    pub gateway: String,
    pub choice: TagChoice,
    /// How long samples are gathered into one message.
    pub batch: Nanos,
    pub message_bytes_max: usize,
    pub message_samples_max: u32,
}

impl GatherSettings {
    /// Of all tags, for a gateway that [`super::Engine`] names.
    pub fn new(batch: Nanos, message_bytes_max: usize, message_samples_max: u32) -> GatherSettings {
        let (gateway, choice) = (String::new(), TagChoice::default());
        GatherSettings { gateway, choice, batch, message_bytes_max, message_samples_max }
    }
}

/// A message that is being gathered.
#[derive(Debug)]
struct Open<D> {
    draft: D,
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

/// The names of a lane's blocks.
#[derive(Debug)]
struct Names<N> {
    boot: BootId,
    dictionary: Arc<Dictionary>,
    chosen: Chosen,
    form: N,
}

#[derive(Debug)]
pub struct Gather<F: Form> {
    form: F,
    settings: GatherSettings,
    /// By lane: on a reload each changes over when it comes to it. All of one boot.
    names: HashMap<LaneId, Names<F::Names>>,
    /// The next block to read.
    next: Position,
    /// Whether `next` goes on from something, so that missing blocks are a loss.
    follows: bool,
    cut: Option<Cut>,
    open: HashMap<Key, Box<Open<F::Draft>>>,
    open_bytes: usize,
    ready: VecDeque<Gathered<F::Message>>,
    /// Of the last finished message: the next one is given that much room at once.
    typical_bytes: usize,
    /// The journal had nothing more; [`Gather::wake`] looks again.
    idle: bool,
    /// Finish every message at the journal's end, whatever its age.
    flush: bool,
    marks: Marks,
    streams: Streams,
    /// What came before this place is still to be found out.
    run_up: Option<Position>,
}

impl<F: Form> Gather<F> {
    pub fn new(form: F, settings: GatherSettings) -> Gather<F> {
        Gather {
            form,
            settings,
            names: HashMap::new(),
            next: Position::default(),
            follows: false,
            cut: None,
            open: HashMap::new(),
            open_bytes: 0,
            ready: VecDeque::new(),
            typical_bytes: OUTPUT_MESSAGE_BYTES_MIN,
            idle: false,
            flush: false,
            marks: Marks::default(),
            streams: Streams::default(),
            run_up: None,
        }
    }

    /// The bound of the messages that are begun from now on.
    pub fn set_message_bytes_max(&mut self, bytes: usize) {
        self.settings.message_bytes_max = bytes.max(OUTPUT_MESSAGE_BYTES_MIN);
    }

    /// Forgets what was gathered and starts at `cursor`; `None`: at the oldest block there is.
    pub fn restart(&mut self, cursor: Option<Position>, message_bytes_max: usize) {
        self.set_message_bytes_max(message_bytes_max);
        self.cut = None;
        self.open.clear();
        self.open_bytes = 0;
        self.ready.clear();
        self.idle = false;
        self.next = cursor.unwrap_or_default();
        self.follows = cursor.is_some();
        self.marks.restart(self.next);
        if F::HAS_STREAMS {
            self.streams.restart(self.next);
            self.run_up = cursor;
        }
    }

    /// At the start, before the journal removes what was delivered long ago: finds out what came before in each stream. Where
    /// it cannot be read now, it is looked for with the first message.
    pub fn look_back(&mut self, source: &dyn Follow, cursor: Option<Position>) {
        if let Some(cursor) = cursor.filter(|_| F::HAS_STREAMS) {
            let _ = self.streams.run_up(&self.form, source, cursor, &self.settings.choice);
        }
    }

    /// The cursor has come to `cursor`. How many samples it passed: each counts once, however often it was sent.
    pub fn passed(&mut self, cursor: Position) -> Passed {
        self.streams.passed(cursor);
        self.marks.passed(cursor)
    }

    /// How far the cursor may move once nothing is under way any more: `None` while samples are gathered.
    pub fn covered(&self) -> Option<Position> {
        (self.open.is_empty() && self.ready.is_empty()).then_some(self.next)
    }

    /// The journal may hold more, and time has passed.
    pub fn wake(&mut self) {
        self.idle = false;
    }

    /// From now on the journal's end finishes every message.
    pub fn flush(&mut self) {
        self.flush = true;
        self.idle = false;
    }

    /// Whether the journal was at its end and every sample read is in a message handed out.
    pub fn is_exhausted(&self) -> bool {
        self.idle && self.open.is_empty() && self.ready.is_empty()
    }

    /// What the cursor has skipped since the last call.
    pub fn take_skipped(&mut self) -> Skipped {
        self.marks.take_skipped()
    }

    /// The next finished message; `None`: nothing more until [`Gather::wake`], or enough was read for one call.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn next(&mut self, source: &dyn Follow, now: Instant) -> Result<Option<Gathered<F::Message>>, FollowError> {
        if let Some(cursor) = self.run_up {
            self.streams.run_up(&self.form, source, cursor, &self.settings.choice)?;
            self.run_up = None;
        }
        let mut left_out = 0;
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            if self.idle {
                return Ok(None);
            }
            if let Some(cut) = self.cut.take() {
                self.cut_block(cut, now);
                left_out += u32::from(self.open.is_empty() && self.ready.is_empty());
                if left_out >= OUTPUT_BLOCKS_LEFT_OUT_MAX {
                    return Ok(None);
                }
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
                self.marks.torn(block.index, torn);
                self.streams.torn();
            }
            self.next = Position { block: block.index, samples: 0 };
        }
        self.follows = true;
        self.marks.enter(&block);
        self.adopt_names(&block);

        let (batch, drained) = (self.settings.batch, block.batch.drained);
        self.finish_where(|_, open| drained > open.drained + batch);

        if F::HAS_STREAMS && self.streams.enter(&block) {
            let lane = block.batch.lane;
            self.finish_where(|of, _| of == lane);
        }
        let (mut slot, mut sample) = (0, 0);
        while sample < self.next.samples && slot < block.batch.slots.len() {
            self.pass_over(&block, &block.batch.slots[slot], sample);
            slot += 1 + block.batch.slots[slot].payload_slots();
            sample += 1;
        }
        self.cut = Some(Cut { block, slot, sample });
        Ok(true)
    }

    /// A sample of a block that lies before the cursor.
    fn pass_over(&mut self, block: &Block, sample: &Sample, at: u32) {
        let Some(names) = self.names.get(&block.batch.lane).filter(|_| F::HAS_STREAMS) else { return };
        if names.chosen.takes(sample) {
            let sequence = block.batch.first_sequence.wrapping_add(u64::from(at));
            let (_, of) = self.form.key(&names.form, block.batch.lane, sample);
            self.streams.came(block, self.form.stream(&names.form, of), sequence);
        }
    }

    /// Ids mean something else in a new boot, or after a reload of their executor: what was gathered under the old
    /// names is finished before anything is told with the new ones.
    fn adopt_names(&mut self, block: &Block) {
        if self.names.values().any(|names| names.boot != block.boot) {
            self.finish_where(|_, _| true);
            self.names.clear();
        }
        let (lane, dictionary) = (block.batch.lane, &block.batch.names);
        let same =
            |names: &Names<F::Names>| Arc::ptr_eq(&names.dictionary, dictionary) || names.dictionary == *dictionary;
        match self.names.get_mut(&lane) {
            Some(names) if same(names) => names.dictionary = dictionary.clone(),
            _ => {
                self.finish_where(|of, _| of == lane);
                let alike = self.names.values().find(|names| same(names));
                let (chosen, form) = match alike {
                    Some(names) => (names.chosen.clone(), self.form.sibling(&names.form)),
                    None => (Chosen::new(&self.settings.choice, dictionary), self.form.names(dictionary)),
                };
                let names = Names { boot: block.boot, dictionary: dictionary.clone(), chosen, form };
                self.names.insert(lane, names);
            }
        }
        if let Some(names) = self.names.get_mut(&lane) {
            self.form.begin_block(&mut names.form, block);
        }
    }

    /// Cuts on until a message is finished or the block ends.
    fn cut_block(&mut self, mut cut: Cut, now: Instant) {
        let lane = cut.block.batch.lane;
        let Some(mut names) = self.names.remove(&lane) else { return };
        while self.ready.is_empty() && cut.slot < cut.block.batch.slots.len() {
            self.cut_run(&mut cut, &mut names, now);
            if self.open_bytes > OUTPUT_GATHERED_BYTES_MAX {
                self.finish_where(|_, _| true);
            }
        }
        self.names.insert(lane, names);
        if cut.slot < cut.block.batch.slots.len() {
            self.cut = Some(cut);
        } else {
            self.next = Position { block: cut.block.index.saturating_add(1), samples: 0 };
        }
    }

    /// Consecutive samples of one key, until the key changes or a message is finished.
    fn cut_run(&mut self, cut: &mut Cut, names: &mut Names<F::Names>, now: Instant) {
        let batch = &cut.block.batch;
        let key = self.form.key(&names.form, batch.lane, &batch.slots[cut.slot]);
        let mut open = self.open.remove(&key);
        if let Some(open) = &open {
            self.open_bytes -= self.form.bytes(&open.draft);
        }
        // The last sample of this run that is in a message.
        let mut last: Option<u64> = None;
        while let Some(sample) = batch.slots.get(cut.slot) {
            if self.form.key(&names.form, batch.lane, sample) != key || !self.ready.is_empty() {
                break;
            }
            let end = (cut.slot + 1 + sample.payload_slots()).min(batch.slots.len());
            let position = Position { block: cut.block.index, samples: cut.sample };
            if !names.chosen.takes(sample) {
                self.marks.leave_out(position);
                (cut.slot, cut.sample) = (end, cut.sample + 1);
                continue;
            }
            let item = BatchSample {
                sequence: batch.first_sequence.wrapping_add(u64::from(cut.sample)),
                sample,
                payload: &batch.slots[cut.slot + 1..end],
            };
            let time = (sample.flags & flags::HELD == 0).then_some(sample.t);
            let full = |open: &Open<F::Draft>| {
                let bytes = self.form.bytes(&open.draft) + self.form.bytes_of(&names.form, &item);
                let late = time.zip(open.t).is_some_and(|(t, first)| t.saturating_sub(first) > self.settings.batch.0);
                late || bytes > self.settings.message_bytes_max
            };
            if open.as_deref().is_some_and(full)
                && let Some(done) = open.take()
            {
                self.next = position;
                self.finish(*done);
                break;
            }
            let target = match &mut open {
                Some(open) => open,
                None => open.insert(Box::new(self.begin(key, sample, names, &cut.block, position, now))),
            };
            target.t = target.t.or(time);
            self.form.push(&mut target.draft, &mut names.form, &item, &batch.clock);
            target.samples += 1;
            let is_full = target.samples >= self.settings.message_samples_max;
            last = Some(item.sequence);
            cut.slot = end;
            cut.sample += 1;
            if is_full && let Some(done) = open.take() {
                self.next = Position { block: cut.block.index, samples: cut.sample };
                self.finish(*done);
            }
        }
        if let Some(sequence) = last.filter(|_| F::HAS_STREAMS) {
            self.streams.ran(&cut.block, self.form.stream(&names.form, key.1), sequence);
        }
        self.next = Position { block: cut.block.index, samples: cut.sample };
        if let Some(open) = open {
            self.open_bytes += self.form.bytes(&open.draft);
            self.open.insert(key, open);
        }
    }

    fn begin(
        &mut self,
        key: Key,
        sample: &Sample,
        names: &Names<F::Names>,
        block: &Block,
        first: Position,
        now: Instant,
    ) -> Open<F::Draft> {
        let batch = &block.batch;
        let gateway = match names.dictionary.gateway.as_str() {
            "" => &self.settings.gateway,
            named => named,
        };
        let before = match F::HAS_STREAMS {
            true => self.streams.before(block, self.form.stream(&names.form, key.1)),
            false => Before::default(),
        };
        let bytes = (self.typical_bytes + self.typical_bytes / 8).min(self.settings.message_bytes_max);
        let head = Head { gateway, boot: names.boot, lane: batch.lane, before, bytes };
        let draft = self.form.begin(&head, &names.form, sample);
        Open { draft, samples: 0, first, drained: batch.drained, t: None, begun: now }
    }

    /// Finishes the messages that are gathered and meet `due`, the oldest first.
    fn finish_where(&mut self, due: impl Fn(LaneId, &Open<F::Draft>) -> bool) {
        let mut keys: Vec<_> =
            self.open.iter().filter(|(key, open)| due(key.0, open)).map(|(key, open)| (open.first, *key)).collect();
        keys.sort_unstable_by_key(|(first, key)| (*first, key.0, key.1));
        for (_, key) in keys {
            if let Some(open) = self.open.remove(&key) {
                self.open_bytes -= self.form.bytes(&open.draft);
                self.finish(*open);
            }
        }
    }

    /// Everything before the first sample of what is still gathered, and before the next sample to read,
    /// is in messages finished by now: that is how far this message's acknowledgement moves the cursor.
    fn finish(&mut self, open: Open<F::Draft>) {
        let covers = self.open.values().map(|other| other.first).fold(self.next, Position::min);
        self.typical_bytes = self.form.bytes(&open.draft);
        self.ready.push_back(Gathered { message: self.form.close(open.draft), covers });
    }
}
