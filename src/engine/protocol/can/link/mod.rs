//! A CAN interface as a link: frames in, values into image and ring; messages out, periodically or on change.
//!
//! | file | subject |
//! |---|---|
//! | `receive` | a frame's way into image and ring |
//! | `decode` | bits to values |
//! | `watch` | values that grow old, a bus or an interface that is lost |
//! | `transmit` | what is sent, and writes |
//! | `handover` | going on under another plan |
//! | `transport` | messages of several packets (J1939) |
//! | `frame`, `clock` | the kernel's frames; a controller's times |

pub mod age;
mod clock;
mod decode;
mod encode;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
mod handover;
mod receive;
#[cfg(test)]
mod tests;
mod transmit;
mod transport;
mod watch;

use super::plan::model::CanPlan;
use crate::config::Sampling;
use crate::lane::{LinkState, region_of};
use crate::limits::{CAN_FRAMES_PER_STEP, CAN_OUTAGE_GRACE, CAN_WRITES_MAX, PERIOD_QUICK_MAX};
use crate::plan::{Plan, ScanId};
use crate::rt::{Arrival, CloseReason, Conn, Io, Link, ScanRelease, StepContext, World, WriteOrder, WriteOutcome};
use crate::tag::{LinkId, Nanos, Status};

use self::age::Case;
use clock::HardwareClock;
pub use encode::{decode_back, encode};
use handover::Handover;
use transmit::{Pending, Sent, SentFrame};
use transport::Transport;
use watch::{Sweep, Watch};

/// What frames are read into, and how a field is read: for tests and benchmarks beside the floor.
pub mod pure {
    pub use super::decode::{Decoded, applies, value};
    pub use super::frame::{Buffer, Head, encode};
}

/// See the module.
pub struct CanLink {
    id: LinkId,
    plan: Box<CanPlan>,
    connection: Option<Conn>,
    /// Of one step. Always there but while frames are taken out of it.
    arrivals: Box<[Arrival<frame::Buffer>]>,
    scans: Box<[Scan]>,
    /// By the plan's cases.
    cases: Box<[Case]>,
    /// By the plan's decodes: what the ring has not had yet.
    latest: Box<[Latest]>,
    /// By the plan's transmits.
    sent: Box<[Sent]>,
    /// By the plan's frames that are sent.
    frames: Box<[SentFrame]>,
    pending: Box<[Option<Pending>; CAN_WRITES_MAX]>,
    transport: Transport,
    clock: HardwareClock,
    /// Frames that the kernel dropped on this connection, as far as they are counted.
    dropped: u32,
    /// The controller has left the bus.
    bus_off: bool,
    watch: Watch,
    /// Statuses still to be given to the tags, some a step.
    sweep: Option<Sweep>,
    /// When what was lost turns UncertainLastUsable into BadNoCommunication; never, where nothing is lost or it has.
    lost_for_good_at: Nanos,
    /// How it goes on from the link of an earlier plan.
    handover: Option<Handover>,
}

/// A scan's current cycle.
struct Scan {
    id: ScanId,
    cycle: u32,
    /// Of its values, those from here on are still to be looked at on this beat.
    next: u32,
    end: u32,
    /// Sampled more rarely than once a second.
    is_slow: bool,
}

/// A value that is in the image, and not yet in the ring.
#[derive(Debug, Clone, Copy, Default)]
struct Latest {
    t: Nanos,
    /// A scalar's bits, or the index of a text.
    value: u64,
    status: Status,
    is_fresh: bool,
    /// A value was told since there was none, or it was in doubt: of a slow scan the first does not wait for its beat.
    was_told: bool,
}

impl CanLink {
    /// `id` must be the link of `own` in `plan`.
    pub fn new(id: LinkId, own: &CanPlan, plan: &Plan) -> CanLink {
        let scan = |scan: &super::plan::model::CanScan| {
            let is_slow = plan.groups.get(scan.group).is_some_and(|group| group.interval() > PERIOD_QUICK_MAX);
            Scan { id: scan.id, cycle: 0, next: 0, end: 0, is_slow }
        };
        CanLink {
            id,
            connection: None,
            arrivals: (0..CAN_FRAMES_PER_STEP).map(|_| Arrival::new(frame::Buffer::new())).collect(),
            scans: own.scans.iter().map(scan).collect(),
            cases: own.cases.iter().map(|_| Case::default()).collect(),
            latest: own.decodes.iter().map(|_| Latest::default()).collect(),
            sent: own.transmits.iter().map(|_| Sent::new()).collect(),
            frames: own.frames.iter().map(SentFrame::new).collect(),
            pending: Box::new([None; CAN_WRITES_MAX]),
            transport: Transport::new(&own.transports),
            clock: HardwareClock::new(),
            dropped: 0,
            bus_off: false,
            watch: Watch::of(own),
            // What its tags had before, from another interface, is in doubt until it is read.
            sweep: Some(Sweep { status: Status::UNCERTAIN_LAST_USABLE, next: 0, since: Nanos::ZERO }),
            lost_for_good_at: Nanos::NEVER,
            handover: None,
            plan: Box::new(own.clone()),
        }
    }

    /// As [`CanLink::new`], for a link that goes on with the connection of `before`.
    pub fn following(id: LinkId, own: &CanPlan, plan: &Plan, before: &CanPlan) -> CanLink {
        let mut link = CanLink::new(id, own, plan);
        link.handover = Some(Handover::between(before, own));
        link.sweep = None;
        link
    }

    /// Every stretch of memory that its executor may touch: address and bytes.
    pub fn regions(&self) -> impl Iterator<Item = (*const u8, usize)> {
        let plan = &*self.plan;
        let lookup = &plan.lookup;
        [
            region_of(std::slice::from_ref(self)),
            region_of(std::slice::from_ref(plan)),
            region_of(&lookup.standard),
            region_of(&lookup.extended),
            region_of(&lookup.groups),
            region_of(&plan.messages),
            region_of(&plan.cases),
            region_of(&plan.conditions),
            region_of(&plan.ranges),
            region_of(&plan.decodes),
            region_of(plan.checks.memory().0),
            region_of(plan.checks.memory().1),
            region_of(&plan.texts),
            region_of(&plan.text_bytes),
            region_of(&plan.named),
            region_of(&plan.beats),
            region_of(&plan.scans),
            region_of(&plan.transports),
            region_of(&plan.transmits),
            region_of(&plan.writes),
            region_of(&self.scans),
            region_of(&self.cases),
            region_of(&self.latest),
            region_of(&self.sent),
            region_of(&self.frames),
            region_of(&*self.pending),
            region_of(&self.arrivals),
        ]
        .into_iter()
        .chain(self.transport.regions())
        .chain(self.handover.iter().flat_map(Handover::regions))
    }

    /// Nothing can come, or be sent: no interface, or a controller that is off the bus.
    fn is_out(&self) -> bool {
        self.connection.is_none() || self.bus_off
    }

    fn drop_connection<W: World>(&mut self, reason: CloseReason, now: Nanos, floor: &mut StepContext<W>) {
        let Some(conn) = self.connection.take() else { return };
        floor.give_up(self.id, conn, reason);
        let counters = &floor.counters.links[self.id.index()];
        counters.disconnects.add(1);
        counters.set_state(LinkState::Down);
        self.bus_off = false;
        self.end_writes(now, WriteOutcome::NoConnection, WriteOutcome::Lost, floor);
        self.stop_sending();
        self.lose(now);
    }

    /// What came so far is in doubt, and after a while lost.
    fn lose(&mut self, now: Nanos) {
        self.transport.forget();
        self.sweep = Some(Sweep { status: Status::UNCERTAIN_LAST_USABLE, next: 0, since: now });
        if self.lost_for_good_at == Nanos::NEVER {
            self.lost_for_good_at = now + CAN_OUTAGE_GRACE;
        }
    }
}

impl<W: World> Link<W> for CanLink {
    fn id(&self) -> LinkId {
        self.id
    }

    fn release(&mut self, release: ScanRelease, _floor: &mut StepContext<W>) {
        let Some(at) = self.scans.iter().position(|scan| scan.id == release.scan) else { return };
        let (Some(scan), Some(planned)) = (self.scans.get_mut(at), self.plan.scans.get(at)) else { return };
        scan.cycle = release.cycle;
        if self.plan.config.sampling == Sampling::Latest {
            // What is left of the beat before joins this one.
            (scan.next, scan.end) = (planned.beats.start, planned.beats.end);
        }
        if self.connection.is_none() && self.lost_for_good_at == Nanos::NEVER && !self.watch.started {
            self.lost_for_good_at = release.nominal + self.plan.config.connect_timeout + CAN_OUTAGE_GRACE;
        }
        self.watch.started = true;
    }

    fn send(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        self.tell_some(floor);
        self.send_due(now, floor);
    }

    fn receive(&mut self, floor: &mut StepContext<W>) {
        let Some(conn) = self.connection else { return };
        let mut arrivals = std::mem::take(&mut self.arrivals);
        match floor.world.receive_frames(conn, &mut arrivals) {
            Io::Done(n) => arrivals.iter().take(n).for_each(|arrival| self.take(arrival, floor)),
            Io::WouldBlock => {}
            Io::Closed => {
                let now = floor.world.now();
                self.drop_connection(CloseReason::Lost, now, floor);
            }
        }
        self.arrivals = arrivals;
        floor.sink.flush();
    }

    fn deadline(&self) -> Nanos {
        if self.sweep.is_some() || self.scans.iter().any(|scan| scan.next < scan.end) {
            return Nanos::ZERO;
        }
        let parts = self.transport.deadline();
        self.watch.next.min(self.lost_for_good_at).min(self.next_send()).min(self.next_answer()).min(parts)
    }

    fn expire(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        if now >= self.lost_for_good_at {
            self.lost_for_good_at = Nanos::NEVER;
            if self.is_out() {
                self.sweep = Some(Sweep { status: Status::BAD_NO_COMMUNICATION, next: 0, since: now });
            }
        }
        floor.counters.links[self.id.index()].can.tp_lost.add(self.transport.expire(now));
        self.answer_overdue(now, floor);
        self.send_due(now, floor);
        self.tell_some(floor);
        self.sweep_some(now, floor);
        self.watch_some(now, floor);
        floor.sink.flush();
    }

    fn adopt(&mut self, conn: Conn, now: Nanos, floor: &mut StepContext<W>) {
        if self.connection.is_some() {
            floor.give_up(self.id, conn, CloseReason::Refused);
            return;
        }
        self.connection = Some(conn);
        self.clock = HardwareClock::new();
        self.dropped = 0;
        self.lost_for_good_at = Nanos::NEVER;
        self.start_sending(now);
        let counters = &floor.counters.links[self.id.index()];
        counters.connects.add(1);
        counters.set_state(LinkState::Up);
    }

    fn retire(&mut self, reason: CloseReason, floor: &mut StepContext<W>) {
        let now = floor.world.now();
        // At the end, what waits for its beat is told. A link that leaves has no names for it any more: its tags that
        // stay are told as what the image has of them.
        if reason == CloseReason::Stopped && self.plan.config.sampling == Sampling::Latest {
            for (scan, planned) in self.scans.iter_mut().zip(&self.plan.scans) {
                (scan.next, scan.end) = (planned.beats.start, planned.beats.end);
            }
            while self.scans.iter().any(|scan| scan.next < scan.end) {
                self.tell_some(floor);
            }
        }
        self.drop_connection(reason, now, floor);
    }

    fn write(&mut self, order: &WriteOrder, now: Nanos, floor: &mut StepContext<W>) {
        self.take_order(order, now, floor);
    }

    fn is_idle(&self) -> bool {
        self.pending.iter().all(Option::is_none)
    }

    fn take_over(&mut self, old: &mut CanLink, now: Nanos, floor: &mut StepContext<W>) {
        self.continue_from(old, now, floor);
    }
}
