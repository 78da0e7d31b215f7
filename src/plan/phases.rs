//! Phases: releases are spread over their periods, so that they do not meet.

use super::model::ReleasePlan;
use crate::limits::PERIOD_QUICK_MAX;
use crate::tag::Nanos;

/// Places tried for a release that joins others, evenly over its period.
const CANDIDATES: u64 = 128;

/// Over how much of its period a release may be spread. What is read each quarter of an hour is not begun minutes after the
/// start, and a slow release needs no more room than a fast one.
fn room(period: Nanos) -> u64 {
    period.0.min(PERIOD_QUICK_MAX.0)
}

/// Gives every release its phase. One that was there before (`old`), with the same period and at least one of
/// its scans, keeps its phase. With nothing before, releases of equal period are spread evenly over it, and those
/// of different periods start half a step apart from the faster ones, so that common multiples do not meet at
/// every beat.
///
/// `releases` are sorted by period.
pub fn spread(releases: &mut [ReleasePlan], old: &[ReleasePlan]) {
    if old.is_empty() {
        spread_evenly(releases);
        return;
    }
    let mut placed: Vec<(Nanos, Nanos)> = Vec::with_capacity(releases.len());
    let mut joining = Vec::new();
    for (at, release) in releases.iter_mut().enumerate() {
        match predecessor(release, old) {
            Some(before) => {
                release.phase = old[before].phase;
                placed.push((release.period, release.phase));
            }
            None => joining.push(at),
        }
    }
    for at in joining {
        let period = releases[at].period;
        let candidates = (0..CANDIDATES).map(|i| Nanos(room(period) * i / CANDIDATES));
        let freest = candidates.max_by_key(|phase| (nearest(&placed, period, *phase), std::cmp::Reverse(*phase)));
        releases[at].phase = freest.unwrap_or(Nanos::ZERO);
        placed.push((period, releases[at].phase));
    }
}

/// The release of an earlier plan that this one goes on from.
pub fn predecessor(release: &ReleasePlan, old: &[ReleasePlan]) -> Option<usize> {
    old.iter().position(|before| {
        before.group == release.group
            && before.period == release.period
            && before.scans.iter().any(|scan| release.scans.contains(scan))
    })
}

/// How near the nearest release comes to one of this period and phase, ever.
fn nearest(placed: &[(Nanos, Nanos)], period: Nanos, phase: Nanos) -> u64 {
    let distance = |&(other_period, other_phase): &(Nanos, Nanos)| {
        let common = gcd(period.0, other_period.0).max(1);
        let apart = phase.0.abs_diff(other_phase.0) % common;
        apart.min(common - apart)
    };
    placed.iter().map(distance).min().unwrap_or(u64::MAX)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn spread_evenly(releases: &mut [ReleasePlan]) {
    let mut start = 0;
    let mut classes = 0u64;
    while start < releases.len() {
        let period = releases[start].period;
        let len = releases[start..].iter().take_while(|r| r.period == period).count();
        let step = room(period) / len as u64;
        let shift = if classes == 0 { 0 } else { step / (classes + 1) };
        for (i, release) in releases[start..start + len].iter_mut().enumerate() {
            release.phase = Nanos((step * i as u64 + shift) % room(period));
        }
        classes += 1;
        start += len;
    }
}
