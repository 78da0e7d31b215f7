//! Latencies, counted by value; quantiles by nearest rank.

use std::collections::BTreeMap;

/// Nanoseconds of a microsecond.
pub const US: u64 = 1000;

/// Counted latencies of one thread or more.
///
/// Values are cut off to whole units, as cyclictest does with microseconds; the smallest and the largest are kept
/// as they were. The counts take room by distinct values: those of a beat that is late are few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latencies {
    unit_ns: u64,
    counts: BTreeMap<u64, u64>,
    /// Counted by cyclictest, but above what its histogram holds.
    overflow: u64,
    min_ns: u64,
    max_ns: u64,
}

impl Latencies {
    /// Counts in steps of `unit_ns`, at least 1.
    pub fn new(unit_ns: u64) -> Latencies {
        Latencies { unit_ns: unit_ns.max(1), counts: BTreeMap::new(), overflow: 0, min_ns: u64::MAX, max_ns: 0 }
    }

    pub fn record(&mut self, ns: u64) {
        *self.counts.entry(ns / self.unit_ns).or_default() += 1;
        self.see(ns, ns);
    }

    /// `n` latencies of `key` units, as another program counted them.
    pub fn add_bucket(&mut self, key: u64, n: u64) {
        if n > 0 {
            *self.counts.entry(key).or_default() += n;
            let ns = key.saturating_mul(self.unit_ns);
            self.see(ns, ns);
        }
    }

    /// `n` latencies of which only the largest is known.
    pub fn add_overflow(&mut self, n: u64, max_ns: u64) {
        if n > 0 {
            self.overflow += n;
            self.see(max_ns, max_ns);
        }
    }

    fn see(&mut self, min_ns: u64, max_ns: u64) {
        self.min_ns = self.min_ns.min(min_ns);
        self.max_ns = self.max_ns.max(max_ns);
    }

    /// Adds what `other` counted; both have the same unit.
    pub fn merge(&mut self, other: &Latencies) {
        debug_assert_eq!(self.unit_ns, other.unit_ns);
        for (key, n) in &other.counts {
            *self.counts.entry(*key).or_default() += n;
        }
        self.overflow += other.overflow;
        self.see(other.min_ns, other.max_ns);
    }

    pub fn count(&self) -> u64 {
        self.counts.values().sum::<u64>() + self.overflow
    }

    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    pub fn min_ns(&self) -> u64 {
        self.min_ns.min(self.max_ns)
    }

    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The smallest value that at least `of_10000` of ten thousand do not exceed: 5000 is the median, 9999 p99.99.
    /// Zero when nothing was counted; the largest when the value lies above the histogram.
    pub fn quantile_ns(&self, of_10000: u64) -> u64 {
        let rank = (u128::from(self.count()) * u128::from(of_10000)).div_ceil(10_000).max(1);
        let mut seen = 0;
        for (key, n) in &self.counts {
            seen += u128::from(*n);
            if seen >= rank {
                return (key * self.unit_ns).clamp(self.min_ns(), self.max_ns);
            }
        }
        self.max_ns
    }

    /// Beats that passed before their wake-up came: one for each whole period that a wake-up was late.
    pub fn missed(&self, period_ns: u64) -> u64 {
        let counted: u64 = self.counts.iter().map(|(key, n)| key * self.unit_ns / period_ns * n).sum();
        // Of those above the histogram only the largest is known; the others are at least one period late each.
        let above = if self.overflow > 0 { self.max_ns / period_ns + (self.overflow - 1) } else { 0 };
        counted + above
    }

    /// By whole microseconds, cut off.
    pub fn by_us(&self) -> BTreeMap<u64, u64> {
        let mut by_us = BTreeMap::new();
        for (key, n) in &self.counts {
            *by_us.entry(key * self.unit_ns / US).or_default() += n;
        }
        by_us
    }
}

/// Ours to theirs, of two quantiles. Theirs is known in whole microseconds, cut off: both are cut off so, and the
/// middles of those microseconds are compared.
pub fn ratio(ours_ns: u64, theirs_ns: u64) -> f64 {
    let middle = |ns: u64| (ns / US) as f64 + 0.5;
    middle(ours_ns) / middle(theirs_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, word for word.
    fn naive(values: &[u64], of_10000: u64) -> u64 {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let enough =
            |v: u64| values.iter().filter(|w| **w <= v).count() as u64 * 10_000 >= of_10000 * values.len() as u64;
        sorted.into_iter().find(|v| enough(*v)).unwrap()
    }

    #[test]
    fn quantiles_are_those_of_the_naive_computation() {
        let mut state = 7_u64;
        for n in [1, 2, 3, 99, 100, 101, 1000] {
            let values: Vec<u64> = (0..n)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 40) % 5000
                })
                .collect();
            let mut latencies = Latencies::new(1);
            values.iter().for_each(|v| latencies.record(*v));
            for of_10000 in [0, 1, 5000, 9900, 9990, 9999, 10_000] {
                assert_eq!(latencies.quantile_ns(of_10000), naive(&values, of_10000), "{of_10000} of {n}");
            }
            assert_eq!((latencies.count(), latencies.max_ns()), (n, *values.iter().max().unwrap()));
            assert_eq!(latencies.min_ns(), *values.iter().min().unwrap());
        }
    }

    #[test]
    fn values_are_cut_off_to_units_and_the_ends_are_kept() {
        let mut latencies = Latencies::new(100);
        [1_250, 1_299, 13_999].iter().for_each(|ns| latencies.record(*ns));
        assert_eq!((latencies.min_ns(), latencies.max_ns()), (1_250, 13_999));
        assert_eq!(latencies.quantile_ns(5000), 1_250, "not below the smallest");
        assert_eq!(latencies.quantile_ns(9999), 13_900);
        assert_eq!(latencies.by_us().into_iter().collect::<Vec<_>>(), [(1, 2), (13, 1)]);
    }

    #[test]
    fn a_wake_up_of_three_periods_and_a_half_is_three_missed_beats() {
        let mut latencies = Latencies::new(100);
        [3_500_000, 999_999, 1_000_000, 20_000].iter().for_each(|ns| latencies.record(*ns));
        assert_eq!(latencies.missed(1_000_000), 4);
    }

    #[test]
    fn what_lies_above_the_histogram_counts_and_is_the_maximum() {
        let mut latencies = Latencies::new(US);
        latencies.add_bucket(10, 98);
        latencies.add_overflow(2, 7_000_000);
        assert_eq!((latencies.count(), latencies.max_ns()), (100, 7_000_000));
        assert_eq!((latencies.quantile_ns(9800), latencies.quantile_ns(9900)), (10_000, 7_000_000));
        assert_eq!(latencies.missed(1_000_000), 8);
    }

    #[test]
    fn merging_is_counting_together() {
        let (mut a, mut b, mut both) = (Latencies::new(100), Latencies::new(100), Latencies::new(100));
        for ns in [100, 5_000, 70_000] {
            a.record(ns);
            both.record(ns);
        }
        for ns in [50, 5_000, 2_000_000] {
            b.record(ns);
            both.record(ns);
        }
        a.merge(&b);
        assert_eq!(a, both);
    }

    #[test]
    fn nothing_counted_is_all_zero() {
        let none = Latencies::new(100);
        assert_eq!((none.count(), none.min_ns(), none.quantile_ns(9999), none.missed(1000)), (0, 0, 0, 0));
    }

    #[test]
    fn a_ratio_compares_middles_of_whole_microseconds() {
        assert!((ratio(900, 14_300) - 0.5 / 14.5).abs() < 1e-12);
        assert!((ratio(14_999, 14_000) - 1.0).abs() < 1e-12);
    }
}
