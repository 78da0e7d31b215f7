//! How an executor changes over to a new plan while it runs: everything is made outside, swapped in between two
//! releases, and what it replaced goes back to be freed outside.

use rtrb::Producer;

use super::link::{CloseReason, Link, StepContext};
use super::world::World;
use crate::lane::{ReportFilter, SampleWriter, region_of};
use crate::limits::{OFF_BEAT_SPACING, PERIOD_QUICK_MAX};
use crate::plan;
use crate::plan::{Plan, ScanId, Suppress};
use crate::tag::{GroupId, LaneId, LinkId, Nanos, Sample, TagId};

/// One release of the plan, with its clock.
pub(super) struct Release {
    pub group: GroupId,
    pub period: Nanos,
    pub phase: Nanos,
    pub next: Nanos,
    pub cycle: u32,
    /// By their ids, ascending.
    pub scans: Box<[Due]>,
    /// The release of the plan before, whose beat goes on.
    from: Option<u32>,
}

/// A scan of a release.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub scan: ScanId,
    /// Its link's id.
    pub link: u32,
    /// When it is to be released out of its beat; never, mostly.
    pub off_beat_at: Nanos,
    /// When it was last released so.
    begun: Nanos,
}

impl Due {
    /// Its beat has come.
    pub fn released(&mut self) {
        self.off_beat_at = Nanos::NEVER;
    }

    pub fn released_off_beat(&mut self, at: Nanos) {
        (self.off_beat_at, self.begun) = (Nanos::NEVER, at);
    }

    /// It is to be read now, if its beat does not come soon, and not too often.
    pub fn want(&mut self, period: Nanos, next: Nanos, now: Nanos) {
        let soonest = if self.begun == Nanos::ZERO { now } else { now.max(self.begun + period.min(OFF_BEAT_SPACING)) };
        if soonest + PERIOD_QUICK_MAX < next {
            self.off_beat_at = self.off_beat_at.min(soonest);
        }
    }
}

/// What stays goes on where it stood; both are ascending.
fn carry_over(new: &mut [Due], old: &[Due]) {
    let mut old = old.iter().peekable();
    for due in new {
        while old.next_if(|before| before.scan < due.scan).is_some() {}
        if let Some(before) = old.next_if(|before| before.scan == due.scan) {
            (due.off_beat_at, due.begun) = (before.off_beat_at, before.begun);
        }
    }
}

impl Release {
    pub fn of_plan(plan: &Plan, executor: LaneId, old: Option<&Plan>) -> Box<[Release]> {
        let before = old.map_or(&[][..], |old| &old.lanes[executor.index()].releases);
        let release = |r: &plan::ReleasePlan| Release {
            group: r.group,
            period: r.period,
            phase: r.phase,
            next: Nanos::NEVER,
            cycle: 0,
            scans: r
                .scans
                .iter()
                .map(|scan| Due {
                    scan: *scan,
                    link: u32::from(plan.scans[*scan].link.0),
                    off_beat_at: Nanos::NEVER,
                    begun: Nanos::ZERO,
                })
                .collect(),
            from: plan::predecessor(r, before).map(|at| at as u32),
        };
        plan.lanes[executor.index()].releases.iter().map(release).collect()
    }
}

/// An executor's links by their id, and what it keeps beside each; the place of a link of another executor is empty.
pub(super) struct Slots<L> {
    pub links: Box<[Option<Box<L>>]>,
    /// Side by side, so that the nearest is found quickly.
    pub deadlines: Box<[Nanos]>,
    /// Links that a release gave something to send.
    pub to_send: Box<[bool]>,
    /// [`LinkChange::target`] of each.
    pub targets: Box<[u32]>,
    /// Of all plans so far.
    pub newest_target: u32,
}

impl<L> Slots<L> {
    pub fn new(len: usize) -> Slots<L> {
        Slots {
            links: (0..len).map(|_| None).collect(),
            deadlines: vec![Nanos::NEVER; len].into_boxed_slice(),
            to_send: vec![false; len].into_boxed_slice(),
            targets: vec![0; len].into_boxed_slice(),
            newest_target: 0,
        }
    }

    pub fn get(&self, id: LinkId) -> Option<&L> {
        self.links.get(id.index())?.as_deref()
    }
}

/// What becomes of one place; afterwards it holds what was there before.
pub struct LinkChange<L> {
    pub id: LinkId,
    pub link: Option<Box<L>>,
    /// The new link goes on with the connection of the old one.
    pub takes_over: bool,
    /// Counts the places that devices had, so that a connection to a former place is known as such. 0 at the start;
    /// of no meaning with `takes_over`.
    pub target: u32,
}

/// A new plan for one executor; once adopted, what it replaced.
pub struct Adoption<L> {
    links: Vec<LinkChange<L>>,
    /// For when the ids have outgrown the executor's tables.
    slots: Slots<L>,
    releases: Box<[Release]>,
    ring: Producer<Sample>,
    scratch: Box<[u8]>,
    exceptions: ReportFilter,
    /// Tags of links that are new, or lead elsewhere: what was known of their devices says nothing of these.
    elsewhere: Box<[TagId]>,
    /// What it takes, at a generous estimate: an executor looks for so much time between two releases.
    pub(super) cost: Nanos,
}

/// Estimates of what parts of an adoption take.
const COST_BASE: Nanos = Nanos::from_micros(20);
const COST_OF_A_LINK: Nanos = Nanos::from_micros(3);
const COST_OF_A_PART: Nanos = Nanos(50);
const COST_OF_AN_EXCEPTION: Nanos = Nanos(20);
const COST_OF_A_TAG: Nanos = Nanos(20);

impl<L> Adoption<L> {
    /// For `executor`, from `old` to `new`, with the links that change, and the ring that its samples go to from
    /// then on.
    pub fn new(
        executor: LaneId,
        old: &Plan,
        new: &Plan,
        links: Vec<LinkChange<L>>,
        ring: Producer<Sample>,
    ) -> Adoption<L> {
        let parts: usize = links.iter().filter_map(|c| new.links.get(c.id)).map(|l| l.protocol.parts()).sum();
        let long_bytes_max = new.tags.values().map(|tag| tag.ty.long_bytes_max()).max().unwrap_or(0);
        let exceptions = ReportFilter::following(executor, Suppress::Ring, old, new);
        let mut anew = vec![false; new.links.end()];
        for change in links.iter().filter(|change| !change.takes_over) {
            anew.get_mut(change.id.index()).into_iter().for_each(|is_anew| *is_anew = true);
        }
        let is_elsewhere = |tag: &plan::TagPlan| anew.get(tag.link.index()) == Some(&true);
        let elsewhere: Box<[TagId]> = new.tags.iter().filter(|(_, tag)| is_elsewhere(tag)).map(|(id, _)| id).collect();
        let cost = COST_BASE.0
            + COST_OF_A_LINK.0 * links.len() as u64
            + COST_OF_A_PART.0 * parts as u64
            + COST_OF_AN_EXCEPTION.0 * exceptions.len() as u64
            + COST_OF_A_TAG.0 * elsewhere.len() as u64;
        Adoption {
            slots: Slots::new(new.links.end().max(old.links.end())),
            releases: Release::of_plan(new, executor, Some(old)),
            scratch: SampleWriter::scratch(long_bytes_max),
            cost: Nanos(cost),
            links,
            ring,
            exceptions,
            elsewhere,
        }
    }

    /// The links that change.
    pub(super) fn changed(&self) -> impl Iterator<Item = LinkId> {
        self.links.iter().map(|change| change.id)
    }

    /// Those that go on with the connection that they have.
    pub(super) fn taken_over(&self) -> impl Iterator<Item = LinkId> {
        self.links.iter().filter(|change| change.takes_over).map(|change| change.id)
    }

    /// Every stretch of memory that the executor will touch: address and bytes.
    pub fn regions(&self) -> impl Iterator<Item = (*const u8, usize)> {
        let slots = [
            region_of(&self.slots.links),
            region_of(&self.slots.deadlines),
            region_of(&self.slots.to_send),
            region_of(&self.slots.targets),
        ];
        let releases = self.releases.iter().map(|release| region_of(&release.scans));
        [region_of(&self.links), region_of(&self.releases), region_of(&self.scratch), region_of(&self.elsewhere)]
            .into_iter()
            .chain(slots)
            .chain(releases)
            .chain(self.exceptions.regions())
    }

    /// The links that came with it, or, once adopted, those that it replaced.
    pub fn links(&self) -> impl Iterator<Item = &L> {
        self.links.iter().filter_map(|change| change.link.as_deref())
    }

    /// Swaps everything in. Allocates and frees nothing.
    pub(super) fn apply<W: World>(
        &mut self,
        slots: &mut Slots<L>,
        releases: &mut Box<[Release]>,
        start: Nanos,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) where
        L: Link<W>,
    {
        // What was read under the old names goes into the old ring.
        floor.sink.change_ring(&mut self.ring, &mut self.scratch, &mut self.exceptions);
        let bigger = &mut self.slots;
        if bigger.links.len() > slots.links.len() {
            for at in 0..slots.links.len() {
                std::mem::swap(&mut bigger.links[at], &mut slots.links[at]);
                bigger.deadlines[at] = slots.deadlines[at];
                bigger.targets[at] = slots.targets[at];
            }
            bigger.newest_target = slots.newest_target;
            std::mem::swap(bigger, slots);
        }
        for release in &mut self.releases {
            let before = release.from.and_then(|at| releases.get(at as usize));
            (release.next, release.cycle) = match before {
                Some(before) => {
                    carry_over(&mut release.scans, &before.scans);
                    (before.next, before.cycle)
                }
                None => (next_after(now, start + release.phase, release.period), 0),
            };
        }
        for change in &mut self.links {
            let at = change.id.index();
            if !change.takes_over {
                slots.targets[at] = change.target;
                slots.newest_target = slots.newest_target.max(change.target);
            }
            std::mem::swap(&mut slots.links[at], &mut change.link);
            match (&mut slots.links[at], &mut change.link) {
                (Some(new), Some(old)) if change.takes_over => new.take_over(old, now, floor),
                (_, Some(old)) => old.retire(CloseReason::Removed, floor),
                (_, None) => {}
            }
            slots.deadlines[at] = slots.links[at].as_ref().map_or(Nanos::NEVER, |link| link.deadline());
            slots.to_send[at] = false;
        }
        self.elsewhere.iter().for_each(|tag| floor.sink.explain(*tag, None));
        std::mem::swap(&mut self.releases, releases);
        floor.sink.flush();
    }
}

/// The first instant of a beat that lies after `now`.
fn next_after(now: Nanos, first: Nanos, period: Nanos) -> Nanos {
    if now < first {
        return first;
    }
    first + Nanos(((now - first).0 / period.0 + 1) * period.0)
}
