//! The loop. Releases are absolute and never drift; the wire is never waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rtrb::{Consumer, Producer};

use super::counters::Counters;
use super::link::{Closed, Floor, Link, ScanRelease};
use super::report::Report;
use super::sink::Sink;
use super::world::{Conn, Ready, World};
use crate::limits::EXECUTOR_SLEEP_MAX;
use crate::plan::{Plan, ScanId};
use crate::tag::{ExecutorId, GroupId, LinkId, Nanos};

/// A connection that the connector made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    pub link: LinkId,
    pub conn: Conn,
}

/// An executor's ends of the rings to the rest of the house.
pub struct Wiring {
    pub sink: Sink,
    pub reports: Producer<Report>,
    pub connected: Consumer<Connected>,
    pub closed: Producer<Closed>,
    pub counters: Arc<Counters>,
    pub stop: Arc<AtomicBool>,
}

/// When an executor's beat begins, and how early it stops sleeping before a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub start: Nanos,
    pub guard: Nanos,
}

/// One release of the plan, with its clock.
struct Release {
    group: GroupId,
    period: Nanos,
    phase: Nanos,
    next: Nanos,
    cycle: u32,
    scans: Box<[(ScanId, u32)]>,
}

/// One thread's work.
pub struct Executor<W, L> {
    floor: Floor<W>,
    id: usize,
    links: Box<[L]>,
    /// Each link's deadline, side by side so that the nearest is found quickly.
    deadlines: Box<[Nanos]>,
    /// Sorted by period: the highest rate goes first.
    releases: Box<[Release]>,
    /// Links that a release gave something to send.
    to_send: Box<[bool]>,
    ready: Ready,
    guard: Nanos,
    /// The last turn was a release: replies get a look before the next one, however late it is.
    released: bool,
    connected: Consumer<Connected>,
    stop: Arc<AtomicBool>,
}

impl<W: World, L: Link<W>> Executor<W, L> {
    /// `links` are those of the plan's executor `id`, in its order. Nothing is released before
    /// [`Executor::start_at`].
    pub fn new(id: ExecutorId, plan: &Plan, links: Vec<L>, world: W, wiring: Wiring) -> Executor<W, L> {
        let scans = &plan.scans;
        let plan = &plan.executors[id.index()];
        let place = |scan: ScanId| {
            let link = scans[scan.index()].link;
            plan.links.iter().position(|l| *l == link).map(|at| (scan, at as u32))
        };
        let releases = plan
            .releases
            .iter()
            .map(|r| Release {
                group: r.group,
                period: r.period,
                phase: r.phase,
                next: Nanos::NEVER,
                cycle: 0,
                scans: r.scans.iter().filter_map(|s| place(*s)).collect(),
            })
            .collect();
        let Wiring { sink, reports, connected, closed, counters, stop } = wiring;
        Executor {
            floor: Floor { world, sink, counters, reports, executor: id.index(), closed },
            id: id.index(),
            deadlines: vec![Nanos::NEVER; links.len()].into_boxed_slice(),
            to_send: vec![false; links.len()].into_boxed_slice(),
            ready: Ready::with_capacity(links.len().min(64)),
            links: links.into_boxed_slice(),
            releases,
            guard: Nanos::ZERO,
            released: false,
            connected,
            stop,
        }
    }

    /// Puts the beat on its instant: called once, before the first turn.
    pub fn start_at(&mut self, clock: Clock) {
        for release in &mut self.releases {
            release.next = clock.start + release.phase;
        }
        self.guard = clock.guard;
    }

    /// Releases a second, for the reckoning of the guard.
    pub fn releases_per_s(&self) -> f64 {
        self.releases.iter().map(|r| 1.0 / r.period.as_secs_f64()).sum()
    }

    /// Runs until it is told to stop; then gives every connection back.
    pub fn run(&mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            self.turn();
        }
        for link in &mut self.links {
            link.retire(&mut self.floor);
        }
        self.floor.sink.flush();
    }

    /// Once round the loop: a release, or one bounded stretch of the slack before the next.
    pub fn turn(&mut self) {
        self.floor.counters.executors[self.id].loops.add(1);
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
        self.work_in_slack(now, slack_end);
    }

    /// Starts everything that is due, the highest rate first, then puts it on the wire.
    fn release_due(&mut self, now: Nanos) {
        for release in &mut self.releases {
            if release.next > now {
                continue;
            }
            // Late by whole periods: those are skipped and counted, the phase is kept.
            let skipped = (now - release.next).0 / release.period.0;
            let nominal = release.next + Nanos(skipped * release.period.0);
            release.next = nominal + release.period;
            release.cycle = release.cycle.wrapping_add(1 + skipped as u32);
            for (scan, link) in &release.scans {
                let counters = &self.floor.counters.scans[scan.index()];
                counters.cycles.add(1);
                counters.skipped.add(skipped);
                let scan_release = ScanRelease { scan: *scan, nominal, cycle: release.cycle };
                self.links[*link as usize].release(scan_release, &mut self.floor);
                self.to_send[*link as usize] = true;
            }
            self.floor.report(Report::Released { group: release.group, nominal, actual: now });
        }
        for (at, link) in self.links.iter_mut().enumerate() {
            if std::mem::take(&mut self.to_send[at]) {
                let now = self.floor.world.now();
                link.send(now, &mut self.floor);
                self.deadlines[at] = link.deadline();
            }
        }
        self.floor.sink.flush();
    }

    fn adopt_connections(&mut self, now: Nanos) {
        while let Ok(Connected { link, conn }) = self.connected.pop() {
            let Some(at) = self.links.iter().position(|l| l.id() == link) else {
                self.floor.give_up(link, conn, super::link::CloseReason::Removed);
                continue;
            };
            if self.floor.world.attach(conn, at as u32) {
                self.links[at].adopt(conn, now, &mut self.floor);
            } else {
                self.floor.give_up(link, conn, super::link::CloseReason::Refused);
            }
            self.deadlines[at] = self.links[at].deadline();
        }
    }

    /// Waits for replies and deadlines, and handles what came, until the guard begins. What is left when it
    /// does is reported by the world again.
    fn work_in_slack(&mut self, now: Nanos, slack_end: Nanos) {
        let deadline = self.deadlines.iter().copied().min().unwrap_or(Nanos::NEVER);
        let until = slack_end.min(deadline).min(now + EXECUTOR_SLEEP_MAX);
        self.floor.world.wait(until, &mut self.ready);
        for i in 0..self.ready.len() {
            let at = self.ready.get(i) as usize;
            if let Some(link) = self.links.get_mut(at) {
                link.receive(&mut self.floor);
                self.deadlines[at] = link.deadline();
            }
            if self.floor.world.now() >= slack_end {
                break;
            }
        }
        // At least one deadline is seen to, however late it is: a silent device must not look alive.
        let mut now = self.floor.world.now();
        for at in 0..self.links.len() {
            if self.deadlines[at] <= now {
                self.links[at].expire(now, &mut self.floor);
                self.floor.sink.flush();
                self.deadlines[at] = self.links[at].deadline();
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
    pub fn floor_for_test(&mut self) -> &mut Floor<W> {
        &mut self.floor
    }
}
