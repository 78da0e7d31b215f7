//! What came before in each stream of messages, so that a consumer of any choice of streams sees from the numbers alone
//! what it has already and what it has missed.
//!
//! A stream is one key of a form: one group of one lane, or one tag of it. Its messages say the number of the sample before their first one, in the stream; and
//! how many of the lane's numbers are missing for good since the stream's last message: nobody knows whose they were.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::choice::Chosen;
use super::form::Form;
use crate::config::TagChoice;
use crate::limits::OUTPUT_RUN_UP_BLOCKS;
use crate::store::{Block, BootId, Follow, FollowError, Position};
use crate::tag::{Dictionary, LaneId};

/// What a message says of its stream before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Before {
    /// Boot and number of the last sample; `None`: nothing is known of one.
    pub last: Option<(BootId, u64)>,
    /// Numbers of the lane that are missing for good: at least so many.
    pub missing: u64,
}

/// By its name: ids may change from plan to plan, and from boot to boot.
type Stream = (LaneId, Arc<str>);

#[derive(Debug, Clone, Copy)]
struct Last {
    boot: BootId,
    sequence: u64,
    /// What was missing in the lane when the stream last said so.
    missing_said: u64,
}

#[derive(Debug, Clone, Copy)]
struct Lane {
    boot: BootId,
    next: u64,
    missing: u64,
}

#[derive(Debug, Clone, Default)]
struct State {
    streams: HashMap<Stream, Last>,
    lanes: HashMap<LaneId, Lane>,
}

/// What one block changed.
#[derive(Debug)]
struct Change {
    block: u64,
    lane: (LaneId, Lane),
    streams: HashMap<Stream, Last>,
}

#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Where the reading is.
    now: State,
    /// At the beginning of the cursor's block, to go back to.
    base: State,
    /// Of the blocks from the cursor's on.
    changes: VecDeque<Change>,
    /// Blocks were lost before the next one.
    torn: bool,
}

impl Streams {
    /// Reading starts again at the cursor.
    pub(super) fn restart(&mut self, cursor: Position) {
        self.passed(cursor);
        self.changes.clear();
        self.now = self.base.clone();
        self.torn = false;
    }

    /// The cursor has come to `cursor`.
    pub(super) fn passed(&mut self, cursor: Position) {
        while let Some(change) = self.changes.pop_front_if(|change| change.block < cursor.block) {
            self.base.lanes.insert(change.lane.0, change.lane.1);
            self.base.streams.extend(change.streams);
        }
    }

    /// Nothing is known of what came before: what the journal still has of it is looked at.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(super) fn run_up<F: Form>(
        &mut self,
        form: &F,
        source: &dyn Follow,
        cursor: Position,
        choice: &TagChoice,
    ) -> Result<(), FollowError> {
        if !self.base.lanes.is_empty() || cursor.block == 0 {
            return Ok(());
        }
        let read = self.read_before(form, source, cursor, choice);
        match read {
            Ok(()) => self.restart(cursor),
            // The next attempt begins anew.
            Err(_) => *self = Streams::default(),
        }
        read
    }

    fn read_before<F: Form>(
        &mut self,
        form: &F,
        source: &dyn Follow,
        cursor: Position,
        choice: &TagChoice,
    ) -> Result<(), FollowError> {
        let mut at = cursor.block.saturating_sub(OUTPUT_RUN_UP_BLOCKS);
        // Of the blocks before: most have the same.
        let mut known: Option<(Arc<Dictionary>, Chosen, F::Names)> = None;
        while let Some(block) = source.block_at_or_after(at)?.filter(|block| block.index < cursor.block) {
            at = block.index + 1;
            self.enter(&block);
            let of = &block.batch.names;
            let (_, chosen, names) = match known.take().filter(|(dictionary, ..)| dictionary == of) {
                Some(same) => known.insert(same),
                None => known.insert((of.clone(), Chosen::new(choice, of), form.names(of))),
            };
            let mut last: HashMap<u32, u64> = HashMap::new();
            for item in block.batch.iter().filter(|item| chosen.takes(item.sample)) {
                last.insert(form.key(names, block.batch.lane, item.sample).1, item.sequence);
            }
            for (stream, sequence) in last {
                self.came(&block, form.stream(names, stream), sequence);
            }
        }
        Ok(())
    }

    /// Blocks are lost before the next one.
    pub(super) fn torn(&mut self) {
        self.torn = true;
    }

    /// A block is read. Whether numbers of its lane are missing for good before it: what is gathered of the lane must then be
    /// finished first, so that the first message behind the loss says it.
    pub(super) fn enter(&mut self, block: &Block) -> bool {
        let (lane, first) = (block.batch.lane, block.batch.first_sequence);
        let known = self.now.lanes.get(&lane).copied();
        let torn = std::mem::take(&mut self.torn);
        let missing = match known {
            Some(known) if known.boot == block.boot => known.missing + first.saturating_sub(known.next),
            // Numbers of the boot before may be lost, and nobody can say how many.
            Some(known) => known.missing + first + u64::from(torn),
            None => 0,
        };
        let next = first.saturating_add(u64::from(block.batch.samples));
        let now = Lane { boot: block.boot, next, missing };
        self.now.lanes.insert(lane, now);
        self.changes.push_back(Change { block: block.index, lane: (lane, now), streams: HashMap::new() });
        known.is_some_and(|known| missing > known.missing)
    }

    /// Samples of a stream were written; `sequence` is the last one's.
    pub(super) fn ran(&mut self, block: &Block, name: Arc<str>, sequence: u64) {
        let stream = (block.batch.lane, name);
        let missing = self.now.lanes.get(&stream.0).map_or(0, |lane| lane.missing);
        let missing_said = self.now.streams.get(&stream).map_or(missing, |known| known.missing_said);
        self.follow(block, stream, sequence, missing_said);
    }

    /// Samples of a stream have come to the other side before, as the cursor is past them; `sequence` is the last one's. The
    /// first message behind a loss has said it.
    pub(super) fn came(&mut self, block: &Block, name: Arc<str>, sequence: u64) {
        let stream = (block.batch.lane, name);
        let missing = self.now.lanes.get(&stream.0).map_or(0, |lane| lane.missing);
        self.follow(block, stream, sequence, missing);
    }

    fn follow(&mut self, block: &Block, stream: Stream, sequence: u64, missing_said: u64) {
        let last = Last { boot: block.boot, sequence, missing_said };
        self.now.streams.insert(stream.clone(), last);
        self.change(block.index, stream, last);
    }

    fn change(&mut self, block: u64, stream: Stream, last: Last) {
        let Some(change) = self.changes.iter_mut().rev().find(|change| change.block == block) else { return };
        change.streams.insert(stream, last);
    }

    /// What a message that begins now says.
    pub(super) fn before(&mut self, block: &Block, name: Arc<str>) -> Before {
        let stream = (block.batch.lane, name);
        let missing = self.now.lanes.get(&stream.0).map_or(0, |lane| lane.missing);
        let Some(known) = self.now.streams.get_mut(&stream) else { return Before::default() };
        let before =
            Before { last: Some((known.boot, known.sequence)), missing: missing.saturating_sub(known.missing_said) };
        known.missing_said = missing;
        let last = *known;
        self.change(block.index, stream, last);
        before
    }
}
