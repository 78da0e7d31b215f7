//! Distributions of the last interval, for those who look again and again.

use hdrhistogram::Histogram;

use crate::tag::{ById, GroupId, Id, LinkId, Nanos};

/// Times are recorded in steps of this, and up to a minute.
const STEP_NS: u64 = 100;
const STEPS_MAX: u64 = 60_000_000_000 / STEP_NS;
/// Quantiles are right to 1 %.
const SIGNIFICANT_DIGITS: u8 = 2;

/// Median and 99th percentile since the last look, of what was recorded at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Intervals {
    pub response: ById<LinkId, [Nanos; 2]>,
    pub release_jitter: ById<GroupId, [Nanos; 2]>,
}

/// Records by id, and forgets at each look. What is never recorded takes no memory.
pub struct Lately<I> {
    histograms: ById<I, Histogram<u32>>,
}

impl<I: Id> Default for Lately<I> {
    fn default() -> Lately<I> {
        Lately { histograms: ById::new() }
    }
}

impl<I: Id> Lately<I> {
    pub fn record(&mut self, id: I, time: Nanos) {
        if !self.histograms.contains(id) {
            let Ok(empty) = Histogram::new_with_bounds(1, STEPS_MAX, SIGNIFICANT_DIGITS) else { return };
            self.histograms.insert(id, empty);
        }
        if let Some(histogram) = self.histograms.get_mut(id) {
            histogram.saturating_record((time.0 / STEP_NS).clamp(1, STEPS_MAX));
        }
    }

    pub fn take(&mut self) -> ById<I, [Nanos; 2]> {
        let mut taken = ById::new();
        for (id, histogram) in self.histograms.iter_mut().filter(|(_, histogram)| !histogram.is_empty()) {
            let quantile = |q| Nanos(histogram.value_at_quantile(q).min(histogram.max()) * STEP_NS);
            taken.insert(id, [quantile(0.5), quantile(0.99)]);
            histogram.reset();
        }
        taken
    }

    pub fn retain(&mut self, keep: impl Fn(I) -> bool) {
        self.histograms.retain(|id, _| keep(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_look_has_what_came_since_the_last() {
        let mut lately = Lately::default();
        for us in 1..=1000 {
            lately.record(LinkId(3), Nanos(us * 1_000));
        }
        let [p50, p99] = lately.take()[LinkId(3)];
        assert!(
            (p50.0 as f64 / 500e3 - 1.0).abs() < 0.01 && (p99.0 as f64 / 990e3 - 1.0).abs() < 0.01,
            "{p50:?} {p99:?}"
        );
        assert!(lately.take().is_empty());
        lately.record(LinkId(3), Nanos(7_000_000));
        assert!((lately.take()[LinkId(3)][1].0 as f64 / 7e6 - 1.0).abs() < 0.01);
    }
}
