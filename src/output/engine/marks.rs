//! The books of one output: which samples its cursor has passed, which were lost before they could be read, which the
//! output leaves out. Each counts once, however often a connection is lost and its samples are sent again.

use std::collections::{HashMap, VecDeque};

use crate::store::{Block, BootId, Position};
use crate::tag::LaneId;

/// Where a lane's numbers go on; `torn` once blocks are missing before that.
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
    /// What was expected of its lane before it.
    before: Option<Expected>,
}

/// What the journal dropped before it could be read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    pub blocks: u64,
    pub samples: u64,
}

/// Samples of one block, next to each other, that the output does not send.
#[derive(Debug, Clone, Copy)]
struct LeftOut {
    block: u64,
    from: u32,
    to: u32,
}

/// What the cursor has passed in one step.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    pub samples: u64,
    /// Of these, the ones that the output does not send.
    pub left_out: u64,
}

#[derive(Debug, Default)]
pub(super) struct Marks {
    expected: HashMap<LaneId, Expected>,
    marks: VecDeque<Mark>,
    /// Losses ahead of the cursor, each with the block that follows it. They count once the cursor is past them:
    /// until then a lost connection brings them again.
    losses: VecDeque<(u64, Skipped)>,
    /// Ahead of the cursor, in the order of the journal.
    left_out: VecDeque<LeftOut>,
    skipped: Skipped,
    cursor: Position,
}

impl Marks {
    /// Reading starts again at `cursor`.
    pub(super) fn restart(&mut self, cursor: Position) {
        self.losses.clear();
        self.left_out.clear();
        self.cursor = cursor;
        // Back to what was expected where the reading starts again: the newest block is undone first.
        for mark in self.marks.drain(..).rev().filter(|mark| mark.index >= cursor.block) {
            let sequence = mark.first_sequence.saturating_add(u64::from(cursor.samples));
            let before = match mark.before {
                _ if mark.index == cursor.block && cursor.samples > 0 => {
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

    /// Blocks are missing before block `next`.
    pub(super) fn torn(&mut self, next: u64, blocks: u64) {
        self.losses.push_back((next, Skipped { blocks, samples: 0 }));
        self.expected.values_mut().for_each(|e| e.torn = true);
    }

    /// A block is read.
    pub(super) fn enter(&mut self, block: &Block) {
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

    /// The output does not send the sample at `at`.
    pub(super) fn leave_out(&mut self, at: Position) {
        match self.left_out.back_mut() {
            Some(last) if last.block == at.block && last.to == at.samples => last.to += 1,
            _ => self.left_out.push_back(LeftOut { block: at.block, from: at.samples, to: at.samples + 1 }),
        }
    }

    /// The cursor has come to `cursor`.
    pub(super) fn passed(&mut self, cursor: Position) -> Passed {
        let mut passed = Passed::default();
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.index < cursor.block) {
            passed.samples += u64::from(mark.samples - self.done_of(&mark).min(mark.samples));
        }
        if let Some(mark) = self.marks.front().filter(|mark| mark.index == cursor.block) {
            passed.samples += u64::from(cursor.samples.saturating_sub(self.done_of(mark)));
        }
        self.cursor = cursor;
        while let Some(run) = self.left_out.front_mut() {
            let to = match run.block.cmp(&cursor.block) {
                std::cmp::Ordering::Less => run.to,
                std::cmp::Ordering::Equal => cursor.samples.clamp(run.from, run.to),
                std::cmp::Ordering::Greater => break,
            };
            passed.left_out += u64::from(to - run.from);
            run.from = to;
            if run.from < run.to {
                break;
            }
            self.left_out.pop_front();
        }
        let is_passed = |(next, _): &mut (u64, _)| Position { block: *next, samples: 0 } < cursor;
        while let Some((_, lost)) = self.losses.pop_front_if(is_passed) {
            self.skipped.blocks += lost.blocks;
            self.skipped.samples += lost.samples;
        }
        passed
    }

    /// Samples of a block that lie before the cursor.
    fn done_of(&self, mark: &Mark) -> u32 {
        if mark.index == self.cursor.block { self.cursor.samples } else { 0 }
    }

    /// What the cursor has skipped since the last call.
    pub(super) fn take_skipped(&mut self) -> Skipped {
        std::mem::take(&mut self.skipped)
    }
}
