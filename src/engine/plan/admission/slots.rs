//! The worst slot: what the phases that a plan gives make of the load, over all that happens before it repeats
//! itself.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::plan::demand::LinkDemand;
use crate::plan::model::{LanePlan, ReleasePlan};
use crate::tag::{GroupId, Nanos};

/// Releases that are looked at, of each link and executor; together with the longest period, a plan of five
/// thousand tags stays far below it.
const RELEASES_MAX: u64 = 8_192;
/// Requests that are looked at, likewise.
const REQUESTS_MAX: u64 = 65_536;

/// The release that has the worst of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub group: GroupId,
    /// From the executor's first instant.
    pub at: Nanos,
    /// Of a link: until the release's last reply, when the device takes the declared time. Of an executor: until
    /// all is done that is due then.
    pub takes: Nanos,
    /// Until the group's next release.
    pub of: Nanos,
    /// False: only the first stretch was looked at, since the periods meet too rarely.
    pub is_whole: bool,
}

/// Releases in the order in which they come, the most urgent first.
struct Beats {
    /// Instant and place.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    periods: Vec<u64>,
    end: u64,
    left: u64,
    /// Nothing new comes after them.
    is_whole: bool,
}

impl Beats {
    /// Of period and phase, the most urgent first.
    fn new(beats: impl Iterator<Item = (Nanos, Nanos)>) -> Beats {
        let (periods, phases): (Vec<u64>, Vec<u64>) = beats.map(|(period, phase)| (period.0.max(1), phase.0)).unzip();
        let common = periods.iter().try_fold(1u64, |common, period| common.checked_mul(period / gcd(common, *period)));
        let last = phases.iter().copied().max().unwrap_or(0);
        let end = common.and_then(|common| last.checked_add(common));
        let releases = |end: u64| -> u64 {
            phases.iter().zip(&periods).map(|(phase, period)| (end - phase).div_ceil(*period)).sum()
        };
        let is_whole = end.is_some_and(|end| releases(end) <= RELEASES_MAX);
        let next = phases.iter().enumerate().map(|(at, phase)| Reverse((*phase, at))).collect();
        Beats { next, periods, end: end.unwrap_or(u64::MAX), left: RELEASES_MAX, is_whole }
    }
}

impl Iterator for Beats {
    /// Its place and its instant.
    type Item = (usize, u64);

    fn next(&mut self) -> Option<(usize, u64)> {
        let mut nearest = self.next.peek_mut()?;
        let Reverse((now, at)) = *nearest;
        if now >= self.end || self.left == 0 {
            return None;
        }
        self.left -= 1;
        *nearest = Reverse((now + self.periods[at], at));
        Some((at, now))
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The largest backlog of an executor: when each of its releases costs what `cost` says, wherever its requests
/// fall.
pub fn of_executor(executor: &LanePlan, cost: impl Fn(&ReleasePlan) -> Nanos) -> Option<Slot> {
    let costs: Vec<u64> = executor.releases.iter().map(|release| cost(release).0).collect();
    let beats = Beats::new(executor.releases.iter().map(|r| (r.period, r.phase)));
    let is_whole = beats.is_whole;
    let mut worst: Option<Slot> = None;
    let mut busy_until = 0;
    for (at, now) in beats {
        busy_until = busy_until.max(now) + costs[at];
        let takes = Nanos(busy_until - now);
        if worst.is_none_or(|worst| takes > worst.takes) {
            let ReleasePlan { group, period, .. } = executor.releases[at];
            worst = Some(Slot { group, at: Nanos(now), takes, of: period, is_whole });
        }
    }
    worst
}

/// The release whose last reply comes nearest to its next release, by share of the period. `wake_up` is how
/// late the executor may be for a reply.
pub fn of_link(link: &LinkDemand, wake_up: Nanos) -> Option<Slot> {
    let beats = Beats::new(link.scans.iter().map(|s| (s.period, s.phase)));
    let is_whole = beats.is_whole;
    let mut beats = beats.peekable();
    let mut worst: Option<Slot> = None;
    // Of each scan: requests not sent yet, and the release that they belong to.
    let mut waiting: Vec<(u64, u64)> = vec![(0, 0); link.scans.len()];
    let mut places = vec![0u64; link.places as usize];
    // A scan's requests take their mean, so that a cycle takes what it takes.
    let turn = |at: usize| link.scans[at].line.0.div_ceil(link.scans[at].requests.max(1)) + (wake_up + link.pass()).0;
    let mut now = 0;
    for _ in 0..REQUESTS_MAX {
        while let Some((at, due)) = beats.next_if(|(_, due)| *due <= now) {
            waiting[at] = (waiting[at].0 + link.scans[at].requests, due);
        }
        let Some(at) = waiting.iter().position(|(requests, _)| *requests > 0) else {
            let Some((_, due)) = beats.peek() else { break };
            now = *due;
            continue;
        };
        let Some(place) = places.iter_mut().min() else { break };
        if *place > now {
            now = *place;
            continue;
        }
        *place = now + turn(at);
        let (requests, due) = &mut waiting[at];
        *requests -= 1;
        if *requests == 0 {
            let scan = &link.scans[at];
            let (takes, of) = (Nanos(now + turn(at) - *due), scan.period);
            let is_worse = |worst: Slot| takes.0 as f64 / of.0 as f64 > worst.takes.0 as f64 / worst.of.0 as f64;
            if worst.is_none_or(is_worse) {
                worst = Some(Slot { group: scan.group, at: Nanos(*due), takes, of, is_whole: true });
            }
        }
    }
    let is_whole = is_whole && beats.peek().is_none();
    worst.map(|worst| Slot { is_whole, ..worst })
}
