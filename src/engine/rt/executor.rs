//! The executor's loop. Releases are absolute and never drift; it never waits for the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rtrb::{Consumer, Producer};

use super::adoption::{Adoption, Due, Release, Slots};
use super::link::{CloseReason, Closed, Link, ScanRelease, Served, StepContext};
use super::linux::Waker;
use super::report::Report;
use super::world::{Conn, Ready, World};
use super::write::{WriteAnswer, WriteOrder, WriteOutcome, WritePayload};
use crate::lane::Counters;
use crate::lane::SampleWriter;
use crate::limits::{ADOPTION_PATIENCE, EXECUTOR_SLEEP_MAX, PACK_STEP, PERIOD_QUICK_MAX};
use crate::plan::Plan;
use crate::tag::{LaneId, LinkId, Nanos};

/// A connection that the connector made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    pub link: LinkId,
    pub conn: Conn,
    /// To which of the places that the link's device had: see [`LinkChange`](super::LinkChange).
    pub target: u32,
}

/// An executor's ends of the rings to the rest of the house.
pub struct Wiring<L> {
    pub sink: SampleWriter,
    pub reports: Producer<Report>,
    pub connected: Consumer<Connected>,
    pub closed: Producer<Closed>,
    /// New plans, one at a time, and back again with what they replaced.
    pub adoptions: Consumer<Box<Adoption<L>>>,
    pub adopted: Producer<Box<Adoption<L>>>,
    /// Writes, and their answers: the second has room for as many as the first and what links hold.
    pub orders: Consumer<WriteOrder>,
    pub answers: Producer<WriteAnswer>,
    pub counters: Arc<Counters>,
    pub stop: Arc<AtomicBool>,
}

/// Links that one look at the world may report as readable; the others are reported by the next.
const READY_MAX: usize = 64;

/// What a write may take of the slack before a release: framing and one system call, generously.
const WRITE_COST: Nanos = Nanos::from_micros(40);

/// When an executor's beat begins, and how early it stops sleeping before a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub start: Nanos,
    pub guard: Nanos,
}

/// One thread's work.
pub struct Executor<W, L> {
    floor: StepContext<W>,
    id: usize,
    slots: Slots<L>,
    /// Sorted by period: the highest rate goes first.
    releases: Box<[Release]>,
    ready: Ready,
    start: Nanos,
    guard: Nanos,
    /// The last turn was a release: replies get a look before the next one, however late it is.
    released: bool,
    connected: Consumer<Connected>,
    adoptions: Consumer<Box<Adoption<L>>>,
    adopted: Producer<Box<Adoption<L>>>,
    orders: Consumer<WriteOrder>,
    /// When the next scan is to be released out of its beat.
    off_beat_at: Nanos,
    /// Plans adopted so far.
    generation: u32,
    /// Since when a new plan waits for a good moment.
    adoption_waits: Option<Nanos>,
    stop: Arc<AtomicBool>,
}

impl<W: World, L: Link<W>> Executor<W, L> {
    /// `links` are those of the plan's executor `id`, with their ids. Nothing is released before
    /// [`Executor::start_at`].
    pub fn new(id: LaneId, plan: &Plan, links: Vec<L>, world: W, wiring: Wiring<L>) -> Executor<W, L> {
        let Wiring { sink, reports, connected, closed, adoptions, adopted, orders, answers, counters, stop } = wiring;
        let mut slots = Slots::new(plan.links.end());
        for link in links {
            let at = link.id().index();
            slots.links[at] = Some(Box::new(link));
        }
        Executor {
            floor: StepContext { world, sink, counters, reports, executor: id.index(), answers, closed, bell: None },
            id: id.index(),
            slots,
            releases: Release::of_plan(plan, id, None),
            ready: Ready::with_capacity(READY_MAX),
            start: Nanos::ZERO,
            guard: Nanos::ZERO,
            released: false,
            connected,
            adoptions,
            adopted,
            orders,
            off_beat_at: Nanos::NEVER,
            generation: 0,
            adoption_waits: None,
            stop,
        }
    }

    /// Whoever takes the connections that are given up is woken by this.
    pub fn ring_when_closed(&mut self, bell: Waker) {
        self.floor.bell = Some(bell);
    }

    /// Puts the beat on its instant: called once, before the first turn.
    pub fn start_at(&mut self, clock: Clock) {
        for release in &mut self.releases {
            release.next = clock.start + release.phase;
        }
        self.start = clock.start;
        self.guard = clock.guard;
    }

    /// Wake-ups for releases a second, for the reckoning of the guard: a pack has one.
    pub fn wake_ups_per_s(&self) -> f64 {
        let follows = |r: &Release| {
            self.releases.iter().any(|before| before.period == r.period && before.phase + PACK_STEP == r.phase)
        };
        self.releases.iter().filter(|r| !follows(r)).map(|r| 1.0 / r.period.as_secs_f64()).sum()
    }

    /// Runs until it is told to stop; then gives every connection back.
    pub fn run(&mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            self.turn();
        }
        for link in self.slots.links.iter_mut().flatten() {
            link.retire(CloseReason::Stopped, &mut self.floor);
        }
        let at = self.floor.world.now();
        while let Ok(order) = self.orders.pop() {
            let back = WritePayload::default();
            self.floor.answer(WriteAnswer { id: order.id, outcome: WriteOutcome::NotSent, at, back });
        }
        self.floor.sink.flush();
    }

    /// Once round the loop: a release, or one bounded stretch of the slack before the next.
    pub fn turn(&mut self) {
        self.floor.counters.lanes[self.id].loops.add(1);
        let next = self.releases.iter().map(|r| r.next).min().unwrap_or(Nanos::NEVER);
        let now = self.floor.world.now();
        let slack_end = Nanos(next.0.saturating_sub(self.guard.0));
        if now >= slack_end && !std::mem::take(&mut self.released) {
            self.released = true;
            let now = if now < next { self.floor.world.spin_until(next) } else { now };
            self.release_due(now);
            return;
        }
        self.released = false;
        self.adopt_connections(now);
        self.adopt_plan(now, slack_end);
        self.take_order(now, slack_end);
        self.release_off_beat(now, slack_end);
        self.work_in_slack(now, slack_end);
    }

    /// Starts everything that is due, the highest rate first, then puts it on the wire.
    fn release_due(&mut self, now: Nanos) {
        for release in &mut self.releases {
            if release.next > now {
                continue;
            }
            // Late by whole periods: those are skipped and counted, the phase is kept.
            let due = release.next;
            let skipped = (now - due).0 / release.period.0;
            let nominal = due + Nanos(skipped * release.period.0);
            release.next = nominal + release.period;
            release.cycle = release.cycle.wrapping_add(1 + skipped as u32);
            for due in &mut release.scans {
                due.released();
                let (scan, link) = (due.scan, due.link as usize);
                let Some(field_link) = &mut self.slots.links[link] else { continue };
                let counters = &self.floor.counters.scans[scan.index()];
                counters.cycles.add(1);
                counters.skipped.add(skipped);
                let scan_release =
                    ScanRelease { scan, nominal, cycle: release.cycle, next: release.next, off_beat: false };
                field_link.release(scan_release, &mut self.floor);
                self.slots.to_send[link] = true;
            }
            self.floor.report(Report::Released { group: release.group, due, nominal, actual: now });
        }
        let Slots { links, deadlines, to_send, .. } = &mut self.slots;
        for (at, to_send) in to_send.iter_mut().enumerate() {
            if std::mem::take(to_send)
                && let Some(link) = &mut links[at]
            {
                let now = self.floor.world.now();
                link.send(now, &mut self.floor);
                deadlines[at] = link.deadline();
            }
        }
        self.floor.sink.flush();
    }

    /// Releases one scan that is to be read out of its beat, when the slack is long enough for it.
    fn release_off_beat(&mut self, now: Nanos, slack_end: Nanos) {
        if now < self.off_beat_at || slack_end.since(now) < WRITE_COST {
            return;
        }
        let release = self.releases.iter_mut().find(|release| release.scans.iter().any(|due| due.off_beat_at <= now));
        if let Some(release) = release
            && let Some(due) = release.scans.iter_mut().find(|due| due.off_beat_at <= now)
        {
            due.released_off_beat(now);
            let at = due.link as usize;
            if let Some(link) = &mut self.slots.links[at] {
                let Due { scan, .. } = *due;
                let (cycle, next) = (release.cycle, release.next);
                link.release(ScanRelease { scan, nominal: now, cycle, next, off_beat: true }, &mut self.floor);
                link.send(now, &mut self.floor);
                self.slots.deadlines[at] = link.deadline();
                self.floor.sink.flush();
            }
        }
        self.off_beat_at = next_off_beat(&self.releases);
    }

    fn adopt_connections(&mut self, now: Nanos) {
        while let Ok(next) = self.connected.peek() {
            // For a plan that is on its way; what comes behind it can wait as long.
            if next.target > self.slots.newest_target {
                return;
            }
            let Ok(Connected { link: id, conn, target }) = self.connected.pop() else { return };
            // It may have been made for a link that has left, or for where the device was before.
            let wanted = self.slots.targets.get(id.index()) == Some(&target);
            let Some(link) = self.slots.links.get_mut(id.index()).and_then(Option::as_mut).filter(|_| wanted) else {
                let (reason, served) = (CloseReason::Removed, Served::Unknown);
                self.floor.send_back(Closed { link: id, conn, reason, served, cause: None, again_at: Nanos::ZERO });
                continue;
            };
            if self.floor.world.attach(conn, u32::from(id.0)) {
                let returns = link.returns();
                link.adopt(conn, now, &mut self.floor);
                if !returns {
                    self.off_beat_at = self.off_beat_at.min(want_off_beat(&mut self.releases, id, now));
                }
            } else {
                self.floor.give_up(id, conn, CloseReason::Refused);
            }
            self.slots.deadlines[id.index()] = link.deadline();
        }
    }

    /// Changes over to a new plan, at a moment between releases that is long enough, and at which the links that
    /// get other work wait for no reply. Such a moment is not waited for without end.
    fn adopt_plan(&mut self, now: Nanos, slack_end: Nanos) {
        let Ok(waiting) = self.adoptions.peek() else { return };
        let waits = *self.adoption_waits.get_or_insert(now);
        let idle = waiting.changed().all(|id| self.slots.get(id).is_none_or(|link| link.is_idle()));
        let good = idle && slack_end.since(now) >= waiting.cost;
        if !good && now.since(waits) < ADOPTION_PATIENCE {
            return;
        }
        let Ok(mut adoption) = self.adoptions.pop() else { return };
        self.adoption_waits = None;
        self.generation = self.generation.wrapping_add(1);
        adoption.apply(&mut self.slots, &mut self.releases, self.start, now, &mut self.floor);
        for id in adoption.taken_over() {
            want_off_beat(&mut self.releases, id, now);
        }
        self.off_beat_at = next_off_beat(&self.releases);
        // There is room: one is under way at a time.
        let pushed = self.adopted.push(adoption);
        debug_assert!(pushed.is_ok());
    }

    /// Takes one write, when the slack is long enough for it. One whose time is over costs nothing but its answer.
    fn take_order(&mut self, now: Nanos, slack_end: Nanos) {
        let Ok(next) = self.orders.peek() else { return };
        if slack_end.since(now) < WRITE_COST && now < next.deadline {
            return;
        }
        let Ok(order) = self.orders.pop() else { return };
        let at = order.link.index();
        let refuse = if order.generation != self.generation {
            Some(WriteOutcome::PlanChanged)
        } else if now >= order.deadline {
            Some(WriteOutcome::NotSent)
        } else {
            None
        };
        match self.slots.links.get_mut(at).and_then(Option::as_mut) {
            Some(link) if refuse.is_none() => {
                link.write(&order, now, &mut self.floor);
                self.slots.deadlines[at] = link.deadline();
            }
            _ => {
                let outcome = refuse.unwrap_or(WriteOutcome::PlanChanged);
                let back = WritePayload::default();
                self.floor.answer(WriteAnswer { id: order.id, outcome, at: now, back });
            }
        }
    }

    /// Waits for replies and deadlines, and handles what came, until the guard begins. What is left when it
    /// does is reported by the world again.
    fn work_in_slack(&mut self, now: Nanos, slack_end: Nanos) {
        let nearest = self.slots.deadlines.iter().enumerate().min_by_key(|(_, deadline)| **deadline);
        let (at, deadline) = nearest.map_or((0, Nanos::NEVER), |(at, deadline)| (at, *deadline));
        let until = if !self.orders.is_empty() && slack_end.since(now) >= WRITE_COST {
            // Another write waits: the next turn takes it.
            now
        } else {
            slack_end.min(deadline).min(self.off_beat_at).min(now + EXECUTOR_SLEEP_MAX)
        };
        let punctual = until == deadline && matches!(self.slots.links.get(at), Some(Some(link)) if link.is_punctual());
        let early = if punctual { Nanos(until.0.saturating_sub(self.guard.0)) } else { until };
        self.floor.world.wait(early, &mut self.ready);
        let failed = self.floor.world.failed_waits();
        if failed > 0 {
            self.floor.counters.lanes[self.id].failed_waits.add(failed);
        }
        // The rest of the guard is not slept away, but replies are not kept waiting by it.
        while punctual && self.ready.is_empty() && self.floor.world.now() < until {
            self.floor.world.wait(Nanos::ZERO, &mut self.ready);
        }
        let Slots { links, deadlines, .. } = &mut self.slots;
        for i in 0..self.ready.len() {
            let at = self.ready.get(i) as usize;
            if let Some(Some(link)) = links.get_mut(at) {
                link.receive(&mut self.floor);
                deadlines[at] = link.deadline();
            }
            if self.floor.world.now() >= slack_end {
                break;
            }
        }
        // At least one deadline is seen to, however late it is: a silent device must not look alive.
        let mut now = self.floor.world.now();
        for (link, deadline) in links.iter_mut().zip(deadlines.iter_mut()) {
            if *deadline <= now
                && let Some(link) = link
            {
                link.expire(now, &mut self.floor);
                self.floor.sink.flush();
                *deadline = link.deadline();
                if link.wants_release(now) {
                    let id = link.id();
                    self.off_beat_at = self.off_beat_at.min(want_off_beat(&mut self.releases, id, now));
                }
                now = self.floor.world.now();
                if now >= slack_end {
                    return;
                }
            }
        }
    }

    #[cfg(test)]
    pub fn take_connection_for_test(&mut self) -> Option<Connected> {
        self.connected.pop().ok()
    }

    #[cfg(test)]
    pub fn floor_for_test(&mut self) -> &mut StepContext<W> {
        &mut self.floor
    }
}

/// A link's slow scans are to be read without waiting for their beat. Returns when the first of them is.
fn want_off_beat(releases: &mut [Release], link: LinkId, now: Nanos) -> Nanos {
    let mut first = Nanos::NEVER;
    for release in releases.iter_mut().filter(|release| release.period > PERIOD_QUICK_MAX) {
        let (period, next) = (release.period, release.next);
        for due in release.scans.iter_mut().filter(|due| due.link == u32::from(link.0)) {
            due.want(period, next, now);
            first = first.min(due.off_beat_at);
        }
    }
    first
}

fn next_off_beat(releases: &[Release]) -> Nanos {
    let all = releases.iter().flat_map(|release| &release.scans);
    all.map(|due| due.off_beat_at).min().unwrap_or(Nanos::NEVER)
}
