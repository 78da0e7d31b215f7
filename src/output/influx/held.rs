//! Times of samples that are held.
//!
//! A held sample carries the time at which its value was read. A point written there would replace the good one: same
//! series, same time. The value is in the database already, and must not get a new time. What is new is the status, and it
//! belongs to the moment at which it changed. That moment stands in no sample; the ones beside it tell it to within a
//! cycle: it is later than the last sample that the same lane read before it.
//!
//! All is taken from one block of the journal, so that a repeat gives the same point.

use std::collections::HashMap;

use crate::tag::{Batch, Stamp, flags};

/// By sequence number, the time for the status of each held sample of the batch that has a value.
pub(super) fn times(batch: &Batch, unit: u64) -> HashMap<u64, Stamp> {
    let mut times = HashMap::new();
    if batch.iter().all(|item| !is_held(item.sample.flags)) {
        return times;
    }
    // Where nothing was read before it: just before what was read next, else when the hub took it.
    let first = batch.iter().find(|item| item.sample.flags & flags::HELD == 0).map(|item| item.sample.t);
    let before_all = first.map_or(batch.drained.0, |t| t.saturating_sub(unit));
    let mut latest: Option<u64> = None;
    // By tag: two changes of one tag must not fall on one point.
    let mut last: HashMap<u32, u64> = HashMap::new();
    for item in batch.iter() {
        let sample = item.sample;
        if sample.flags & flags::HELD == 0 {
            latest = latest.max(Some(sample.t));
        } else if is_held(sample.flags) {
            let after_read = sample.t.saturating_add(unit);
            let mut t = latest.map_or(before_all, |t| t.saturating_add(unit)).max(after_read);
            if let Some(before) = last.get(&sample.tag) {
                t = t.max(before.saturating_add(unit));
            }
            last.insert(sample.tag, t);
            times.insert(item.sequence, Stamp(t));
        }
    }
    times
}

/// What was never read is not held: its time is that of the status.
fn is_held(sample_flags: u8) -> bool {
    sample_flags & (flags::HELD | flags::NO_VALUE) == flags::HELD
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tag::Nanos;
    use crate::tag::{ClockPair, LaneId, Sample};

    const US: u64 = 1_000;

    fn of(samples: &[(u32, u64, u8)]) -> Vec<Option<u64>> {
        let slots: Vec<Sample> = samples
            .iter()
            .map(|(tag, t, flags)| Sample { tag: *tag, t: *t, flags: *flags, ..Sample::default() })
            .collect();
        let batch = Batch {
            lane: LaneId(0),
            first_sequence: 70,
            samples: slots.len() as u32,
            slots,
            clock: ClockPair::default(),
            drained: Nanos(90_000_000),
            names: Arc::default(),
        };
        let times = times(&batch, US);
        (70..70 + samples.len() as u64).map(|sequence| times.get(&sequence).map(|t| t.0)).collect()
    }

    #[test]
    fn a_status_comes_after_what_was_read_before_it_and_before_what_is_read_next() {
        let held = flags::HELD;
        let (first, second, third) = (10_000_000, 20_000_000, 30_000_000);
        let samples = [(0, first, 0), (1, first + 5, 0), (0, first, held), (1, second, 0), (0, third, 0)];
        assert_eq!(of(&samples), [None, None, Some(first + 5 + US), None, None]);
    }

    #[test]
    fn the_only_tag_of_a_lane_keeps_its_good_point() {
        assert_eq!(of(&[(0, 10_000_000, 0), (0, 10_000_000, flags::HELD)]), [None, Some(10_000_000 + US)]);
    }

    #[test]
    fn two_changes_of_one_tag_are_two_points() {
        let samples = [(1, 20_000_000, 0), (0, 10_000_000, flags::HELD), (0, 10_000_000, flags::HELD)];
        assert_eq!(of(&samples), [None, Some(20_000_000 + US), Some(20_000_000 + 2 * US)]);
    }

    #[test]
    fn where_nothing_was_read_the_hub_tells_the_time_and_what_was_never_read_has_its_own() {
        let never = flags::HELD | flags::NO_VALUE;
        assert_eq!(of(&[(0, 10_000_000, flags::HELD), (1, 50_000_000, never)]), [Some(90_000_000), None]);
        assert_eq!(of(&[(0, 10_000_000, flags::HELD), (1, 60_000_000, 0)]), [Some(60_000_000 - US), None]);
    }
}
