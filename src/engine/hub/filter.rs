//! Report by exception before the journal: samples that are suppressed for the journal and the outputs.

use std::sync::Arc;

use crate::lane::{Counters, ReportFilter, Verdict};
use crate::plan::{Plan, Suppress};
use crate::tag::{LaneId, Sample, flags};

/// What one executor's ring goes through. The default lets everything pass.
#[derive(Default)]
pub struct Filter {
    rules: Option<Rules>,
}

struct Rules {
    exceptions: ReportFilter,
    counters: Arc<Counters>,
    lane: usize,
    /// The bytes of a long value.
    bytes: Vec<u8>,
    /// Samples of which it is not yet known what becomes of them.
    kept: u64,
}

impl Filter {
    /// For the first ring of `executor`.
    pub fn new(lane: LaneId, plan: &Plan, counters: Arc<Counters>) -> Filter {
        Filter::of(ReportFilter::new(lane, Suppress::Journal, plan), lane, counters)
    }

    /// For the ring that comes with the change from `old` to `new`.
    pub fn following(lane: LaneId, old: &Plan, new: &Plan, counters: Arc<Counters>) -> Filter {
        Filter::of(ReportFilter::following(lane, Suppress::Journal, old, new), lane, counters)
    }

    fn of(exceptions: ReportFilter, lane: LaneId, counters: Arc<Counters>) -> Filter {
        if exceptions.is_empty() {
            return Filter::default();
        }
        let lane = lane.index();
        Filter { rules: Some(Rules { exceptions, counters, lane, bytes: Vec::new(), kept: 0 }) }
    }

    /// Whether everything passes.
    pub(super) fn is_open(&self) -> bool {
        self.rules.is_none()
    }

    /// A sample and its payload slots: what is told goes to `out`. Returns how many samples that is.
    pub(super) fn pass<'r>(
        &mut self,
        sample: Sample,
        payload: impl Iterator<Item = &'r Sample> + Clone,
        out: &mut Vec<Sample>,
    ) -> u32 {
        let verdict = match &mut self.rules {
            None => Verdict::Tell,
            Some(_) if sample.flags & flags::BACKFILL != 0 => Verdict::Tell,
            Some(rules) if sample.is_long() => rules.judge_long(&sample, payload.clone()),
            Some(rules) => rules.exceptions.judge(&sample),
        };
        if matches!(verdict, Verdict::Suppress | Verdict::TellInstead) {
            self.count_suppressed(sample.group);
        }
        if let Some(rules) = &mut self.rules {
            match verdict {
                Verdict::Keep => rules.kept += 1,
                Verdict::TellAfter(_) | Verdict::TellInstead => rules.kept -= 1,
                Verdict::Tell | Verdict::Suppress => {}
            }
        }
        let kept = match verdict {
            Verdict::Suppress | Verdict::Keep => return 0,
            Verdict::TellAfter(kept) => Some(kept),
            Verdict::Tell | Verdict::TellInstead => None,
        };
        out.extend(kept);
        out.push(sample);
        out.extend(payload);
        1 + u32::from(kept.is_some())
    }

    fn count_suppressed(&self, group: u16) {
        let Some(rules) = &self.rules else { return };
        rules.counters.groups[rules.lane][usize::from(group)].suppressed_at_journal.add(1);
        rules.counters.lanes[rules.lane].suppressed_at_journal.add(1);
    }

    /// Samples that are neither told nor counted yet.
    pub(super) fn kept(&self) -> u64 {
        self.rules.as_ref().map_or(0, |rules| rules.kept)
    }

    /// Samples are missing here, and whose they were is not known.
    pub(super) fn gap(&mut self) {
        if let Some(rules) = &mut self.rules {
            rules.exceptions.forget_all();
        }
    }

    /// Goes on where the filter of the ring before stands.
    pub(super) fn take_over(&mut self, old: &mut Filter) {
        if let (Some(new), Some(old)) = (&mut self.rules, &mut old.rules) {
            new.exceptions.take_over(&mut old.exceptions);
        }
        let before = old.kept();
        let given_up = old.close();
        if let Some(new) = &mut self.rules {
            new.kept = before - given_up;
        }
    }

    /// Nothing more comes: what is kept is given up. Returns how many samples that were.
    pub(super) fn close(&mut self) -> u64 {
        let Some(rules) = &mut self.rules else { return 0 };
        rules.kept = 0;
        let mut given_up = 0;
        let mut exceptions = std::mem::take(&mut rules.exceptions);
        exceptions.give_up(|group| {
            self.count_suppressed(group);
            given_up += 1;
        });
        if let Some(rules) = &mut self.rules {
            rules.exceptions = exceptions;
        }
        given_up
    }
}

impl Rules {
    fn judge_long<'r>(&mut self, sample: &Sample, payload: impl Iterator<Item = &'r Sample>) -> Verdict {
        self.bytes.clear();
        payload.for_each(|slot| self.bytes.extend_from_slice(&slot.to_payload()));
        self.bytes.truncate(sample.value as usize);
        self.exceptions.judge_long(sample, &self.bytes)
    }
}

#[cfg(test)]
mod tests;
