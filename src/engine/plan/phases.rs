//! Phases: releases are spread over their periods in packs, so that they do not meet and share wake-ups.
//!
//! A wake-up costs an executor several times what a request does, so that a few links share one: the releases of a pack
//! follow each other so closely that the executor's guard bridges what is left between two of them, and far enough apart that
//! each request goes out at its own instant. With a guard that is shorter than what a send leaves of a step, it sleeps in
//! between all the same. Packs are spread evenly. No link is twice in one: its second request would wait for the first.

use super::model::ReleasePlan;
use super::scan::ScanId;
use crate::limits::{PACK_RELEASES_MAX, PACK_STEP, PERIOD_QUICK_MAX};
use crate::tag::{LinkId, Nanos};

/// Places tried for a release that joins others, evenly over its period.
const CANDIDATES: u64 = 128;

/// Over how much of its period a release may be spread. What is read each quarter of an hour is not begun minutes after the
/// start, and a slow release needs no more room than a fast one.
fn room(period: Nanos) -> u64 {
    period.0.min(PERIOD_QUICK_MAX.0)
}

/// Gives every release its phase. One that was there before (`old`), with the same period and at least one of
/// its scans, keeps its phase; others join a pack that has room for them, or go where there is most. With nothing
/// before, packs of equal period are spread evenly over it, and those
/// of different periods start half a step apart from the faster ones, so that common multiples do not meet at
/// every beat.
///
/// `releases` are sorted by period.
pub fn spread(releases: &mut [ReleasePlan], old: &[ReleasePlan], link_of: impl Fn(ScanId) -> LinkId) {
    if old.is_empty() {
        spread_evenly(releases, link_of);
        return;
    }
    let mut placed: Vec<Placed> = Vec::with_capacity(releases.len());
    let mut joining = Vec::new();
    for (at, release) in releases.iter_mut().enumerate() {
        match predecessor(release, old) {
            Some(before) => {
                release.phase = old[before].phase;
                placed.push(Placed::new(release, &link_of));
            }
            None => joining.push(at),
        }
    }
    for at in joining {
        let period = releases[at].period;
        releases[at].phase = end_of_pack(&placed, &Placed::new(&releases[at], &link_of)).unwrap_or_else(|| {
            let candidates = (0..CANDIDATES).map(|i| Nanos(room(period) * i / CANDIDATES));
            let freest = candidates.max_by_key(|phase| (nearest(&placed, period, *phase), std::cmp::Reverse(*phase)));
            freest.unwrap_or(Nanos::ZERO)
        });
        placed.push(Placed::new(&releases[at], &link_of));
    }
}

/// A release that has its phase.
struct Placed {
    period: Nanos,
    phase: Nanos,
    /// Whose it is; `None`: of several links, which share a wake-up already.
    link: Option<LinkId>,
}

impl Placed {
    fn new(release: &ReleasePlan, link_of: impl Fn(ScanId) -> LinkId) -> Placed {
        let link = match release.scans[..] {
            [scan] => Some(link_of(scan)),
            _ => None,
        };
        Placed { period: release.period, phase: release.phase, link }
    }
}

/// Where `release` would follow the last of a pack: of the shortest that it may join.
fn end_of_pack(placed: &[Placed], release: &Placed) -> Option<Nanos> {
    let link = release.link?;
    let at = |phase: Option<u64>| {
        let phase = Nanos(phase?);
        placed.iter().find(|other| other.period == release.period && other.phase == phase && other.link.is_some())
    };
    let packs = placed.iter().filter(|last| last.period == release.period && last.link.is_some()).filter_map(|last| {
        let members = || (0..).map_while(|i| at(last.phase.0.checked_sub(PACK_STEP.0 * i)));
        let phase = last.phase + PACK_STEP;
        let (len, is_in_it) = (members().count(), members().any(|member| member.link == Some(link)));
        let joins = len < PACK_RELEASES_MAX && !is_in_it && phase.0 < room(release.period);
        (joins && nearest(placed, release.period, phase) >= PACK_STEP.0).then_some((len, phase))
    });
    packs.min().map(|(_, phase)| phase)
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
fn nearest(placed: &[Placed], period: Nanos, phase: Nanos) -> u64 {
    let distance = |other: &Placed| {
        let common = gcd(period.0, other.period.0).max(1);
        let apart = phase.0.abs_diff(other.phase.0) % common;
        apart.min(common - apart)
    };
    placed.iter().map(distance).min().unwrap_or(u64::MAX)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn spread_evenly(releases: &mut [ReleasePlan], link_of: impl Fn(ScanId) -> LinkId) {
    for (at, class) in releases.chunk_by_mut(|a, b| a.period == b.period).enumerate() {
        let room = room(class[0].period);
        let mut packs = packs_of(class, PACK_RELEASES_MAX, &link_of);
        let longest = packs.iter().copied().max().unwrap_or(1) as u64;
        // Packs that nearly meet are none.
        if room / (packs.len() as u64) < 2 * longest * PACK_STEP.0 {
            packs = vec![1; class.len()];
        }
        let step = room / packs.len() as u64;
        let shift = if at == 0 { 0 } else { step / (at as u64 + 1) };
        let mut rest = class;
        for (pack, len) in packs.into_iter().enumerate() {
            let (members, after) = rest.split_at_mut(len);
            for (i, release) in members.iter_mut().enumerate() {
                release.phase = Nanos((step * pack as u64 + PACK_STEP.0 * i as u64 + shift) % room);
            }
            rest = after;
        }
    }
}

/// How many releases are in each pack, in their order: as many packs as need be, of much the same length.
fn packs_of(releases: &[ReleasePlan], most: usize, link_of: impl Fn(ScanId) -> LinkId) -> Vec<usize> {
    let most = releases.len().div_ceil(releases.len().div_ceil(most));
    let mut packs = Vec::new();
    let mut links: Vec<LinkId> = Vec::new();
    let mut len = 0;
    for release in releases {
        let link = Placed::new(release, &link_of).link;
        let joins = len > 0 && len < most && !links.is_empty() && link.is_some_and(|link| !links.contains(&link));
        if !joins && len > 0 {
            packs.push(std::mem::take(&mut len));
            links.clear();
        }
        len += 1;
        links.extend(link);
    }
    packs.push(len);
    packs
}
