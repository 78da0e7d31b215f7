//! Cuts and joins batches into blocks: one executor each, of equal names, contiguous, of bounded size.

use std::ops::Range;
use std::sync::Arc;

use crate::limits::{BLOCK_SAMPLES_MAX, BLOCK_SLOTS_MAX, CLOCK_JOIN_MAX};
use crate::tag::Batch;
use crate::tag::{ClockPair, Dictionary, LaneId, Nanos, Sample};

/// A block to be: slots of one or more batches. Its clock is the first batch's.
#[derive(Debug)]
pub struct CutBlock<'a> {
    pub lane: LaneId,
    pub first_sequence: u64,
    pub samples: usize,
    pub slots: usize,
    pub clock: ClockPair,
    pub drained: Nanos,
    pub names: &'a Arc<Dictionary>,
    parts: Vec<(&'a Batch, Range<usize>)>,
}

/// What became of the batches.
#[derive(Debug, Default)]
pub struct Cut<'a> {
    pub blocks: Vec<CutBlock<'a>>,
    /// Samples that fit no block: longer than any type allows.
    pub refused: u64,
}

/// The first sample, its payload slots as far as they are there, and what follows.
fn split_sample(slots: &[Sample]) -> Option<(&Sample, &[Sample], &[Sample])> {
    let (sample, rest) = slots.split_first()?;
    let (payload, rest) = rest.split_at(sample.payload_slots().min(rest.len()));
    Some((sample, payload, rest))
}

/// Blocks for `batches`. A batch that continues its executor's last one joins its block while that has room
/// and their names and clocks agree.
pub fn cut(batches: &[Arc<Batch>]) -> Cut<'_> {
    let mut out = Cut::default();
    for batch in batches {
        let mut at = out.blocks.iter().rposition(|block| block.lane == batch.lane);
        at = at.filter(|at| out.blocks[*at].is_continued_by(batch));
        if let Some(at) = at {
            out.blocks[at].parts.push((batch, 0..0));
        }
        let (mut sequence, mut end) = (batch.first_sequence, 0);
        while let Some((_, payload, _)) = split_sample(&batch.slots[end..]) {
            let need = 1 + payload.len();
            if need > BLOCK_SLOTS_MAX {
                out.refused += 1;
                at = None;
            } else {
                let index = match at.filter(|at| out.blocks[*at].has_room_for(need)) {
                    Some(index) => index,
                    None => {
                        out.blocks.push(CutBlock::new(batch, sequence, end));
                        out.blocks.len() - 1
                    }
                };
                out.blocks[index].grow(need);
                at = Some(index);
            }
            sequence = sequence.wrapping_add(1);
            end += need;
        }
    }
    out
}

impl<'a> CutBlock<'a> {
    fn new(batch: &'a Batch, first_sequence: u64, at: usize) -> CutBlock<'a> {
        CutBlock {
            lane: batch.lane,
            first_sequence,
            samples: 0,
            slots: 0,
            clock: batch.clock,
            drained: batch.drained,
            names: &batch.names,
            parts: vec![(batch, at..at)],
        }
    }

    fn is_continued_by(&self, batch: &Batch) -> bool {
        let contiguous = self.first_sequence.checked_add(self.samples as u64) == Some(batch.first_sequence);
        let step_ns = batch.clock.utc_ns.abs_diff(self.clock.utc_ns_of(batch.clock.mono));
        let same_names = Arc::ptr_eq(self.names, &batch.names) || *self.names == batch.names;
        contiguous && step_ns <= CLOCK_JOIN_MAX.0 && same_names
    }

    fn has_room_for(&self, slots: usize) -> bool {
        self.samples < BLOCK_SAMPLES_MAX && self.slots + slots <= BLOCK_SLOTS_MAX
    }

    fn grow(&mut self, slots: usize) {
        self.samples += 1;
        self.slots += slots;
        if let Some((_, part)) = self.parts.last_mut() {
            part.end += slots;
        }
    }

    /// Sample by sample, each with its payload slots.
    pub fn iter(&self) -> impl Iterator<Item = (&'a Sample, &'a [Sample])> {
        self.parts.iter().flat_map(|(batch, range)| {
            let mut rest = &batch.slots[range.clone()];
            std::iter::from_fn(move || {
                let (sample, payload, after) = split_sample(rest)?;
                rest = after;
                Some((sample, payload))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::flags;

    fn batch(executor: u16, first_sequence: u64, slots: Vec<Sample>, utc_ns: i64) -> Arc<Batch> {
        let samples = slots.len() as u32;
        let clock = ClockPair { mono: Nanos(0), utc_ns };
        let (lane, names) = (LaneId(executor), Arc::default());
        Arc::new(Batch { lane, first_sequence, samples, slots, clock, drained: Nanos(0), names })
    }

    fn seen(batches: &[Arc<Batch>]) -> Vec<(u16, u64, usize)> {
        cut(batches).blocks.iter().map(|b| (b.lane.0, b.first_sequence, b.iter().count())).collect()
    }

    #[test]
    fn contiguous_batches_of_one_executor_become_one_block() {
        let ten = vec![Sample::default(); 10];
        let batches = [batch(0, 0, ten.clone(), 0), batch(1, 5, ten.clone(), 0), batch(0, 10, ten, 0)];
        assert_eq!(seen(&batches), [(0, 0, 20), (1, 5, 10)]);
    }

    #[test]
    fn a_gap_or_a_clock_step_starts_a_new_block() {
        let ten = vec![Sample::default(); 10];
        let gap = [batch(0, 0, ten.clone(), 0), batch(0, 11, ten.clone(), 0)];
        assert_eq!(seen(&gap), [(0, 0, 10), (0, 11, 10)]);
        let step = [batch(0, 0, ten.clone(), 0), batch(0, 10, ten, -1_000_000_000)];
        assert_eq!(seen(&step), [(0, 0, 10), (0, 10, 10)]);
    }

    #[test]
    fn other_names_start_a_new_block_and_equal_ones_do_not() {
        let named = |first_sequence, gateway: &str| {
            let names = Arc::new(Dictionary { gateway: gateway.into(), ..Dictionary::default() });
            Arc::new(Batch { names, ..Batch::clone(&batch(0, first_sequence, vec![Sample::default(); 10], 0)) })
        };
        let batches = [named(0, "a"), named(10, "a"), named(20, "b"), named(30, "a")];
        assert_eq!(seen(&batches), [(0, 0, 20), (0, 20, 10), (0, 30, 10)]);
    }

    #[test]
    fn a_block_never_exceeds_its_limits() {
        let many = vec![Sample::default(); BLOCK_SAMPLES_MAX + 1];
        assert_eq!(seen(&[batch(0, 7, many, 0)]), [(0, 7, BLOCK_SAMPLES_MAX), (0, 7 + BLOCK_SAMPLES_MAX as u64, 1)]);
    }

    #[test]
    fn a_sample_longer_than_a_block_is_refused_and_leaves_a_gap() {
        let huge = Sample { value: 32 * BLOCK_SLOTS_MAX as u64, flags: flags::LONG, ..Sample::default() };
        let mut slots = vec![Sample::default(), huge];
        slots.resize(2 + BLOCK_SLOTS_MAX + 1, Sample::default());
        let batches = [batch(0, 0, slots, 0)];
        assert_eq!(seen(&batches), [(0, 0, 1), (0, 2, 1)]);
        assert_eq!(cut(&batches).refused, 1);
    }
}
