//! Timing statistics: the executors' timing reports, collected into histograms.
//!
//! Recorded and read by ordinary threads only; the executors hand over through rings and never wait for this.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;
use rtrb::Consumer;

pub use super::intervals::Intervals;
use super::intervals::Lately;
use crate::limits::RETIRED_NAMES_MAX;
use crate::plan::{Plan, ScanId};
use crate::protocol::canopen::node_log::NodeLog;
use crate::rt::{Report, RequestResult};
use crate::tag::{ById, GroupId, LinkId, Nanos};

/// Upper bounds of the counted buckets: 1, 2, 5 of each decade from 1 µs to 1 s. What is longer falls into one
/// bucket more.
pub const BUCKET_BOUNDS: [Nanos; 19] = {
    let mut bounds = [Nanos::ZERO; 19];
    let mut i = 0;
    let mut decade = 1_000;
    while i < bounds.len() {
        bounds[i] = Nanos(
            decade
                * match i % 3 {
                    0 => 1,
                    1 => 2,
                    _ => 5,
                },
        );
        if i % 3 == 2 {
            decade *= 10;
        }
        i += 1;
    }
    bounds
};

/// Longer times are recorded as this.
const TIME_MAX: Nanos = Nanos(60_000_000_000);
/// Quantiles are right to 1 %, at 30 KiB a histogram; the third digit would cost seven times as much.
const SIGNIFICANT_DIGITS: u8 = 2;

/// A distribution of times. Quantiles are within 1 %, the rest is exact; all zero while `count` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Distribution {
    pub count: u64,
    /// Nanoseconds.
    pub sum: u128,
    pub p50: Nanos,
    pub p99: Nanos,
    pub p999: Nanos,
    pub max: Nanos,
    /// How many fell at or below each of [`BUCKET_BOUNDS`] and above the one before; the last: above all.
    pub buckets: [u64; BUCKET_BOUNDS.len() + 1],
}

/// The timing of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupTimes {
    /// Actual − nominal start of a cycle. One that comes late by whole periods counts once, from the first beat that
    /// was missed, as cyclictest counts; the beats between are in the skipped cycles of its scans.
    pub release_jitter: Distribution,
    /// Request on the wire − nominal.
    pub issue_jitter: Distribution,
    /// Decoded − nominal, of good replies.
    pub sample_age: Distribution,
}

/// Everything since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatisticsSnapshot {
    pub groups: ById<GroupId, GroupTimes>,
    /// Received − sent, of good and exception replies.
    pub response: ById<LinkId, Distribution>,
    /// The same of all links that there were.
    pub responses: Distribution,
}

/// What never falls of a distribution, whatever leaves and comes again under its name.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    count: u64,
    sum: u128,
    buckets: [u64; BUCKET_BOUNDS.len() + 1],
}

struct Recorder {
    /// For the quantiles.
    histogram: Histogram<u64>,
    max: u64,
    tally: Tally,
}

impl Recorder {
    fn new(tally: Tally) -> Recorder {
        let histogram = match Histogram::new_with_bounds(1, TIME_MAX.0, SIGNIFICANT_DIGITS) {
            Ok(histogram) => histogram,
            Err(_) => unreachable!("1 ns to 60 s with 2 digits are bounds that the histogram allows"),
        };
        Recorder { histogram, max: 0, tally }
    }

    fn record(&mut self, time: Nanos) {
        let time = time.min(TIME_MAX);
        self.histogram.saturating_record(time.0);
        self.max = self.max.max(time.0);
        self.tally.count += 1;
        self.tally.sum += u128::from(time.0);
        self.tally.buckets[BUCKET_BOUNDS.partition_point(|bound| *bound < time)] += 1;
    }

    fn distribution(&self) -> Distribution {
        let quantile = |q| Nanos(self.histogram.value_at_quantile(q).min(self.max));
        Distribution {
            count: self.tally.count,
            sum: self.tally.sum,
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: Nanos(self.max),
            buckets: self.tally.buckets,
        }
    }
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder::new(Tally::default())
    }
}

struct GroupRecorder {
    name: Arc<str>,
    release_jitter: Recorder,
    issue_jitter: Recorder,
    sample_age: Recorder,
}

#[derive(Default)]
struct Recorders {
    groups: ById<GroupId, GroupRecorder>,
    response: ById<LinkId, (Arc<str>, Recorder)>,
    responses: Recorder,
    /// Of groups and links that have left, by their names.
    left_groups: BTreeMap<Arc<str>, [Tally; 3]>,
    left_links: BTreeMap<Arc<str>, Tally>,
    group_of_scan: ById<ScanId, GroupId>,
    /// Groups of one name are one group for whoever reads: the first stands for all.
    first_of_name: ById<GroupId, GroupId>,
    nodes: NodeLog,
    /// Of the last interval, where someone asks for it.
    intervals: Option<(Lately<LinkId>, Lately<GroupId>)>,
}

impl Recorders {
    fn record(&mut self, report: &Report) {
        match *report {
            Report::Released { group, due, actual, .. } => {
                let group = self.first_of_name.get(group).copied().unwrap_or(group);
                if let Some(recorder) = self.groups.get_mut(group) {
                    recorder.release_jitter.record(actual.since(due));
                    if let Some((_, jitter)) = &mut self.intervals {
                        jitter.record(group, actual.since(due));
                    }
                }
            }
            Report::Issued { group, nominal, sent, .. } => {
                let group = self.first_of_name.get(group).copied().unwrap_or(group);
                if let Some(group) = self.groups.get_mut(group) {
                    group.issue_jitter.record(sent.since(nominal));
                }
            }
            Report::Finished { scan, link, nominal, sent, received, result } => {
                if !matches!(result, RequestResult::Good | RequestResult::Exception(_)) {
                    return;
                }
                self.responses.record(received.since(sent));
                if let Some((_, response)) = self.response.get_mut(link) {
                    response.record(received.since(sent));
                    if let Some((response, _)) = &mut self.intervals {
                        response.record(link, received.since(sent));
                    }
                }
                let group = self.group_of_scan.get(scan).and_then(|g| self.groups.get_mut(*g));
                if let (Some(group), RequestResult::Good) = (group, result) {
                    group.sample_age.record(received.since(nominal));
                }
            }
            Report::Node { link, node, event } => self.nodes.tell(link, node, event),
        }
    }
}

/// Keeps what has left, of a bounded number of names.
fn keep<T>(left: &mut BTreeMap<Arc<str>, T>, name: &Arc<str>, what: T) {
    if left.len() < RETIRED_NAMES_MAX {
        left.insert(name.clone(), what);
    }
}

/// Gathers reports; shared between the thread that drains the rings and those that read.
pub struct Statistics {
    recorders: Mutex<Recorders>,
}

impl Statistics {
    pub fn new(plan: &Plan) -> Statistics {
        let statistics = Statistics { recorders: Mutex::default() };
        statistics.adopt(plan);
        statistics
    }

    /// Goes on with a plan that follows the one before: what stays keeps its distributions; what has left leaves its counts
    /// to what comes again under its name.
    pub fn adopt(&self, plan: &Plan) {
        let mut recorders = self.lock();
        let Recorders {
            groups, response, left_groups, left_links, group_of_scan, first_of_name, nodes, intervals, ..
        } = &mut *recorders;
        if let Some((response, jitter)) = intervals {
            response.retain(|id| plan.links.contains(id));
            jitter.retain(|id| plan.groups.contains(id));
        }
        nodes.adopt(plan);
        *first_of_name = plan.first_of_name();
        let is_first = |id| first_of_name.get(id) == Some(&id);
        let is_there =
            |id, name: &Arc<str>| is_first(id) && plan.groups.get(id).is_some_and(|group| group.name == *name);
        for (_, group) in groups.iter().filter(|(id, group)| !is_there(*id, &group.name)) {
            let tallies = [&group.release_jitter, &group.issue_jitter, &group.sample_age].map(|times| times.tally);
            keep(left_groups, &group.name, tallies);
        }
        groups.retain(|id, group| is_there(id, &group.name));
        for (id, group) in plan.groups.iter() {
            if groups.contains(id) || !is_first(id) {
                continue;
            }
            let [release_jitter, issue_jitter, sample_age] =
                left_groups.remove(&group.name).unwrap_or_default().map(Recorder::new);
            groups.insert(id, GroupRecorder { name: group.name.clone(), release_jitter, issue_jitter, sample_age });
        }
        let is_there = |id, name: &Arc<str>| plan.links.get(id).is_some_and(|link| link.name == *name);
        for (_, (name, times)) in response.iter().filter(|(id, (name, _))| !is_there(*id, name)) {
            keep(left_links, name, times.tally);
        }
        response.retain(|id, (name, _)| is_there(id, name));
        for (id, link) in plan.links.iter() {
            if !response.contains(id) {
                let tally = left_links.remove(&link.name).unwrap_or_default();
                response.insert(id, (link.name.clone(), Recorder::new(tally)));
            }
        }
        let first = |group: GroupId| first_of_name.get(group).copied().unwrap_or(group);
        *group_of_scan = plan.scans.iter().map(|(id, scan)| (id, first(scan.group))).collect();
    }

    /// Records what one executor's ring holds now; says how many reports that were.
    pub fn drain(&self, reports: &mut Consumer<Report>) -> usize {
        let count = reports.slots();
        if count == 0 {
            return 0;
        }
        let Ok(chunk) = reports.read_chunk(count) else { return 0 };
        let mut recorders = self.lock();
        let (first, second) = chunk.as_slices();
        first.iter().chain(second).for_each(|report| recorders.record(report));
        drop(recorders);
        chunk.commit_all();
        count
    }

    /// Records one report; one that names a group or link outside the plan counts nowhere.
    pub fn record(&self, report: &Report) {
        self.lock().record(report);
    }

    /// From now on, what [`Statistics::take_intervals`] gives is recorded, too.
    pub fn keep_intervals(&self) {
        self.lock().intervals.get_or_insert_default();
    }

    /// What was recorded since this was asked last; nothing before [`Statistics::keep_intervals`].
    pub fn take_intervals(&self) -> Intervals {
        match &mut self.lock().intervals {
            Some((response, jitter)) => Intervals { response: response.take(), release_jitter: jitter.take() },
            None => Intervals::default(),
        }
    }

    pub fn snapshot(&self) -> StatisticsSnapshot {
        let recorders = self.lock();
        StatisticsSnapshot {
            groups: recorders
                .groups
                .iter()
                .map(|(id, g)| {
                    let times = GroupTimes {
                        release_jitter: g.release_jitter.distribution(),
                        issue_jitter: g.issue_jitter.distribution(),
                        sample_age: g.sample_age.distribution(),
                    };
                    (id, times)
                })
                .collect(),
            response: recorders.response.iter().map(|(id, (_, r))| (id, r.distribution())).collect(),
            responses: recorders.responses.distribution(),
        }
    }

    /// A thread that died while it recorded leaves counts that are at worst one event short.
    fn lock(&self) -> MutexGuard<'_, Recorders> {
        self.recorders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::ReleaseMode;
    use crate::plan::Pace;
    use crate::plan::ScanId;
    use crate::plan::{GroupPlan, ScanPlan};
    use crate::tag::LinkId;

    fn statistics() -> Statistics {
        let group = |name: &str| GroupPlan {
            name: Arc::from(name),
            pace: Pace::Every(Nanos::from_millis(10)),
            release: ReleaseMode::Spread,
        };
        let plan = Plan {
            groups: [group("a"), group("b")].into_iter().collect(),
            scans: [ScanPlan { group: GroupId(1), link: LinkId(0), requests: 0..1 }].into_iter().collect(),
            ..Plan::default()
        };
        let statistics = Statistics::new(&plan);
        statistics.lock().response.insert(LinkId(0), ("l".into(), Recorder::default()));
        statistics
    }

    #[test]
    fn a_later_plan_keeps_the_figures_of_what_stays() {
        let statistics = statistics();
        let released =
            |group| Report::Released { group: GroupId(group), due: Nanos(0), nominal: Nanos(0), actual: Nanos(9) };
        (0..2).for_each(|group| statistics.record(&released(group)));
        let group = GroupPlan { name: "b".into(), pace: Pace::Every(Nanos(5)), release: ReleaseMode::Spread };
        let plan = Plan { groups: [(GroupId(1), group)].into_iter().collect(), ..Plan::default() };
        statistics.adopt(&plan);
        (0..2).for_each(|group| statistics.record(&released(group)));
        let snapshot = statistics.snapshot();
        assert_eq!((snapshot.groups.len(), snapshot.groups[GroupId(1)].release_jitter.count), (1, 2));
        assert!(snapshot.response.is_empty());
    }

    #[test]
    fn bounds_are_1_2_5_from_a_microsecond_to_a_second() {
        assert_eq!(BUCKET_BOUNDS[..4], [Nanos(1_000), Nanos(2_000), Nanos(5_000), Nanos(10_000)]);
        assert_eq!(BUCKET_BOUNDS[18], Nanos(1_000_000_000));
    }

    #[test]
    fn quantiles_are_within_a_percent_and_the_rest_exact() {
        let statistics = statistics();
        for us in 1..=1000 {
            let (nominal, actual) = (Nanos(5_000_000), Nanos(5_000_000 + us * 1000));
            statistics.record(&Report::Released { group: GroupId(0), due: nominal, nominal, actual });
        }
        let jitter = statistics.snapshot().groups[GroupId(0)].release_jitter;
        assert_eq!((jitter.count, jitter.max), (1000, Nanos(1_000_000)));
        assert_eq!(jitter.sum, 500_500_000);
        for (found, right) in [(jitter.p50, 500_000.0), (jitter.p99, 990_000.0), (jitter.p999, 999_000.0)] {
            assert!((found.0 as f64 / right - 1.0).abs() < 0.01, "{found:?} for {right}");
        }
        // A value on a bound belongs to that bound's bucket.
        assert_eq!(jitter.buckets[..10], [1, 1, 3, 5, 10, 30, 50, 100, 300, 500]);
        assert_eq!(jitter.buckets.iter().sum::<u64>(), 1000);
    }

    #[test]
    fn a_release_after_a_stall_of_five_beats_counts_once_from_the_first_missed() {
        let statistics = statistics();
        let (due, nominal) = (Nanos::from_millis(10), Nanos::from_millis(15));
        let actual = nominal + Nanos::from_micros(300);
        statistics.record(&Report::Released { group: GroupId(0), due, nominal, actual });
        let jitter = statistics.snapshot().groups[GroupId(0)].release_jitter;
        assert_eq!((jitter.count, jitter.max), (1, Nanos::from_micros(5_300)));
    }

    #[test]
    fn a_reply_counts_for_its_link_and_only_a_good_one_for_the_age_of_its_group() {
        let statistics = statistics();
        let finished = |result| Report::Finished {
            scan: ScanId(0),
            link: LinkId(0),
            nominal: Nanos(1_000),
            sent: Nanos(11_000),
            received: Nanos(311_000),
            result,
        };
        statistics.record(&finished(RequestResult::Good));
        statistics.record(&finished(RequestResult::Exception(2)));
        statistics.record(&finished(RequestResult::Timeout));
        statistics.record(&finished(RequestResult::Aborted));
        let snapshot = statistics.snapshot();
        assert_eq!((snapshot.response[LinkId(0)].count, snapshot.response[LinkId(0)].max), (2, Nanos(300_000)));
        assert_eq!(
            (snapshot.groups[GroupId(1)].sample_age.count, snapshot.groups[GroupId(1)].sample_age.max),
            (1, Nanos(310_000))
        );
        assert_eq!(snapshot.groups[GroupId(0)], GroupTimes::default());
    }

    #[test]
    fn a_ring_is_drained_over_its_end_and_foreign_ids_count_nowhere() {
        let statistics = statistics();
        let (mut producer, mut consumer) = rtrb::RingBuffer::new(8);
        let issued = |group| Report::Issued {
            group: GroupId(group),
            link: LinkId(0),
            nominal: Nanos(0),
            sent: Nanos(120_000_000_000),
        };
        for _ in 0..5 {
            for group in [0, 9, 0] {
                producer.push(issued(group)).unwrap();
            }
            assert_eq!(statistics.drain(&mut consumer), 3);
            assert_eq!(statistics.drain(&mut consumer), 0);
        }
        let issue = statistics.snapshot().groups[GroupId(0)].issue_jitter;
        assert_eq!((issue.count, issue.max), (10, TIME_MAX));
        assert_eq!(issue.buckets[BUCKET_BOUNDS.len()], 10);
    }
}
