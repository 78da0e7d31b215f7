//! The interface between an executor and a field link.

use super::linux::Waker;
use super::report::Report;
use super::world::{Conn, World};
use super::write::{WriteAnswer, WriteOrder};
use crate::lane::Counters;
use crate::lane::SampleWriter;
use crate::plan::ScanId;
use crate::tag::{Cause, LinkId, Nanos};
use std::sync::Arc;

/// What an executor lends to a link for one step.
pub struct StepContext<W> {
    pub world: W,
    pub sink: SampleWriter,
    pub counters: Arc<Counters>,
    pub(super) reports: rtrb::Producer<Report>,
    pub(super) executor: usize,
    /// Answers to writes.
    pub(super) answers: rtrb::Producer<WriteAnswer>,
    /// Connections given up in this step, on their way to the connector.
    pub(super) closed: rtrb::Producer<Closed>,
    /// Wakes the connector.
    pub(super) bell: Option<Waker>,
}

/// A connection that an executor gave up; the connector closes it and makes a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    pub link: LinkId,
    pub conn: Conn,
    pub reason: CloseReason,
    pub served: Served,
    /// What came over it in place of answers.
    pub cause: Option<Cause>,
    /// Where nothing is wrong: the next one is needed by then. Zero: at once.
    pub again_at: Nanos,
}

/// What a connection was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// Its link does not tell: how long it lived has to do.
    Unknown,
    /// Nothing was asked on it.
    Unasked,
    /// Something was asked, and nothing answered.
    Unanswered,
    Answered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed it, or an error broke it.
    Lost,
    /// The peer closed it, and nothing is lost by that: it is to be made again at once.
    Ended,
    /// A late reply on it could be taken for another.
    Doubtful,
    /// It spoke something that is not the protocol.
    Garbage,
    /// Nothing came for so long that the connection may be half open.
    Silent,
    /// The executor could not watch it.
    Refused,
    /// The link left the plan or got another target.
    Removed,
    /// The gateway stops.
    Stopped,
}

impl<W: World> StepContext<W> {
    /// Tells the statistics; dropped and counted when they lag behind.
    #[inline]
    pub fn report(&mut self, report: Report) {
        if self.reports.push(report).is_err() {
            self.counters.lanes[self.executor].reports_dropped.add(1);
        }
    }

    /// Answers a write. There is room: as many orders are under way as fit into the ring, and each is answered once.
    pub fn answer(&mut self, answer: WriteAnswer) {
        let pushed = self.answers.push(answer);
        debug_assert!(pushed.is_ok(), "more answers than orders");
    }

    /// Gives a connection back to the connector.
    pub fn give_up(&mut self, link: LinkId, conn: Conn, reason: CloseReason) {
        self.give_up_after(link, conn, reason, Served::Unknown);
    }

    /// The same, telling what it was good for.
    pub fn give_up_after(&mut self, link: LinkId, conn: Conn, reason: CloseReason, served: Served) {
        self.give_up_because(link, conn, reason, served, None);
    }

    /// The same, telling what came over it in place of answers.
    pub fn give_up_because(
        &mut self,
        link: LinkId,
        conn: Conn,
        reason: CloseReason,
        served: Served,
        cause: Option<Cause>,
    ) {
        self.world.detach(conn);
        self.send_back(Closed { link, conn, reason, served, cause, again_at: Nanos::ZERO });
    }

    /// The same, where nothing is wrong and the next connection is needed only by `again_at`.
    pub fn let_rest(&mut self, link: LinkId, conn: Conn, reason: CloseReason, served: Served, again_at: Nanos) {
        self.world.detach(conn);
        self.send_back(Closed { link, conn, reason, served, cause: None, again_at });
    }

    /// Gives a connection back that is not watched.
    pub(super) fn send_back(&mut self, closed: Closed) {
        // There is room: a link has one connection at a time, and gets a new one only after the connector
        // took the old one out of this ring; nor does the connector hand out more than fit into it.
        let pushed = self.closed.push(closed);
        debug_assert!(pushed.is_ok());
        if let Some(bell) = &self.bell {
            bell.wake();
        }
    }
}

/// One release of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanRelease {
    pub scan: ScanId,
    pub nominal: Nanos,
    pub cycle: u32,
    /// When the scan's beat has its next release.
    pub next: Nanos,
    /// It is one in between, after a start, an outage or a change.
    pub off_beat: bool,
}

/// A non-blocking state machine on one connection. Every method is one bounded step.
pub trait Link<W: World> {
    fn id(&self) -> LinkId;

    /// A scan is due: its requests join the queue. Sends nothing yet.
    fn release(&mut self, release: ScanRelease, floor: &mut StepContext<W>);

    /// Sends what can be sent now.
    fn send(&mut self, now: Nanos, floor: &mut StepContext<W>);

    /// The connection is readable: receive once, decode what is whole, send what became possible.
    fn receive(&mut self, floor: &mut StepContext<W>);

    /// When `expire` has something to do; [`Nanos::NEVER`] when only the connection can wake it. A time in
    /// the past: there is work left over from the last step.
    fn deadline(&self) -> Nanos;

    /// Whether its deadline is met like a release, without the lateness of a wake-up: for lines whose time is dear.
    fn is_punctual(&self) -> bool {
        false
    }

    /// Whether the connection that comes next is one of a device that closes them by itself: nothing was missed meanwhile,
    /// and no scan is to be read for it out of its beat.
    fn returns(&self) -> bool {
        false
    }

    /// After `expire`: whether its slow scans are to be released now, out of their beat. Says so once.
    fn wants_release(&mut self, _now: Nanos) -> bool {
        false
    }

    /// The deadline has passed.
    fn expire(&mut self, now: Nanos, floor: &mut StepContext<W>);

    /// A new connection.
    fn adopt(&mut self, conn: Conn, now: Nanos, floor: &mut StepContext<W>);

    /// The end: give the connection back.
    fn retire(&mut self, reason: CloseReason, floor: &mut StepContext<W>);

    /// A write for one of its tags: sends it, keeps it for its turn, or answers at once. See [`super::write`].
    fn write(&mut self, order: &WriteOrder, now: Nanos, floor: &mut StepContext<W>);

    /// Whether it waits for no reply and has nothing to send.
    fn is_idle(&self) -> bool;

    /// Goes on where `old` stands, which is the same link under an earlier plan: its connection, its units'
    /// states, what it waits for.
    fn take_over(&mut self, old: &mut Self, now: Nanos, floor: &mut StepContext<W>);
}
