//! A CANopen network as a link, with this gateway as its master (CiA 301): nodes are found, set up, started and
//! watched; their objects come by PDO as they are sent, or are asked for by SDO on the group's beat.
//!
//! | file | subject |
//! |---|---|
//! | `message`, `sdo`, `nmt`, `pdo`, `emcy` | the protocols, each a machine of its own: frames and time in, frames out |
//! | `values` | bytes of objects to values |
//! | `node`, `boot` | one node: where it stands; its way from nothing to values |
//! | `bus` | what goes over the socket, to whom |
//! | `scan` | releases, what SDOs bring, statuses |
//! | `write`, `outputs`, `rpdo`, `encode` | writes by SDO, by PDO; the PDOs that are sent; values |
//! | `handover` | going on under a new plan |

mod boot;
mod bus;
pub mod emcy;
mod encode;
#[doc(hidden)]
pub mod fuzz;
mod handover;
pub mod message;
mod nmt;
mod node;
mod outputs;
pub mod pdo;
mod rpdo;
mod scan;
mod sdo;
#[cfg(test)]
mod tests;
mod values;
mod write;

pub use crate::tag::AbortCode;
pub use encode::{decode_back, encode};
use handover::Handover;
use message::Message;
use node::{Node, Sweep};
use pdo::Place;
use rpdo::Spot;

use super::plan::CanOpenPlan;
use crate::lane::{LinkState, region_of};
use crate::limits::{CANOPEN_FRAMES_PER_STEP, PDO_FIRST, PERIOD_QUICK_MAX, SILENT_AFTER_TIMEOUTS};
use crate::plan::{Plan, ScanId};
use crate::rt::{
    Arrival, CloseReason, Conn, Io, Link, ScanRelease, StepContext, World, WriteAnswer, WriteOrder, WriteOutcome,
    WritePayload,
};
use crate::tag::{LinkId, Nanos, Status};

/// Identifiers of 11 bits.
const COB_IDS: usize = 1 << 11;

/// See the module.
pub struct CanOpenLink {
    id: LinkId,
    plan: Box<CanOpenPlan>,
    nodes: Box<[Node]>,
    items: Box<[Item]>,
    /// The fastest first.
    scans: Box<[Scan]>,
    /// Whose messages these are, by identifier.
    owners: Box<[Owner]>,
    connection: Option<Conn>,
    /// Of one step. Always there but while frames are taken out of it.
    arrivals: Box<[Arrival<[u8; message::CAN_FRAME_BYTES]>]>,
    /// Frames of this connection that the kernel dropped.
    dropped: u32,
    /// What the interface had no room for, and when it is offered again.
    unsent: Option<Message>,
    send_again_at: Nanos,
    sync_at: Nanos,
    heartbeat_at: Nanos,
    /// The node whose server is asked next, so that all have their turn.
    turn: usize,
    /// From the beginning of one write to that of the next at least, and when the next may begin.
    write_spacing: Nanos,
    write_at: Nanos,
    long: Box<[u8]>,
    /// When a lost connection turns UncertainLastUsable into BadNoCommunication; zero before the first release, never
    /// once it is done.
    lost_for_good_at: Nanos,
    /// No connection yet, and its first attempt still has time.
    starting: bool,
    /// When what is read more rarely than once a second is read out of its beat, for a node that has come.
    behind_at: Nanos,
    handover: Option<Handover>,
}

/// Whose message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    Sdo(u8),
    ErrorControl(u8),
    Emergency(u8),
    Tpdo(u8, u8),
}

/// An object's life from cycle to cycle.
#[derive(Debug, Clone, Copy)]
struct Item {
    state: ItemState,
    /// Its place among the scans.
    rank: u16,
    /// Where it lies in one of its node's PDOs.
    bound: Option<(u8, Place)>,
    /// Where it lies in a PDO that is sent: what is read of it goes along there.
    follower: Option<Spot>,
    /// The next item of the same PDO.
    next: u32,
    /// What its PDO brought last, and when; not sampled yet if it is fresh.
    raw: u64,
    at: Nanos,
    fresh: bool,
    /// Its first value, or the first after its node was in doubt, is read by SDO unless its PDO comes.
    wanted: bool,
    /// The node has no such object: not asked before this.
    refused_until: Nanos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ItemState {
    Idle,
    Queued,
    InFlight,
}

/// A scan's current cycle.
struct Scan {
    id: ScanId,
    items: std::ops::Range<u32>,
    nominal: Nanos,
    cycle: u32,
    /// Its reads that are queued or in flight.
    open: u32,
    missed: bool,
    /// Read more rarely than once a second.
    is_slow: bool,
}

impl CanOpenLink {
    /// `id` must be the link of `own` in `plan`.
    pub fn new(id: LinkId, own: &CanOpenPlan, plan: &Plan) -> CanOpenLink {
        let mut scans: Vec<Scan> = own
            .scans
            .iter()
            .map(|scan| Scan {
                id: scan.id,
                items: scan.items.clone(),
                nominal: Nanos::ZERO,
                cycle: 0,
                open: 0,
                missed: false,
                is_slow: plan.groups[plan.scans[scan.id].group].interval() > PERIOD_QUICK_MAX,
            })
            .collect();
        scans.sort_by_key(|scan| plan.groups[plan.scans[scan.id].group].interval());
        let rank = |scan: ScanId| scans.iter().position(|known| known.id == scan).unwrap_or(0);
        let item = |scan| Item {
            state: ItemState::Idle,
            rank: rank(scan) as u16,
            bound: None,
            follower: None,
            next: node::NONE,
            raw: 0,
            at: Nanos::ZERO,
            fresh: false,
            wanted: false,
            refused_until: Nanos::ZERO,
        };
        let items: Box<[Item]> = own.items.iter().map(|planned| item(planned.scan)).collect();
        let nodes: Box<[Node]> = own
            .nodes
            .iter()
            .map(|node| {
                let of_scan =
                    |at: usize| node.items.iter().filter(|i| usize::from(items[**i as usize].rank) == at).count();
                Node::new(node, (0..scans.len()).map(of_scan))
            })
            .collect();
        let mut owners = vec![Owner::Nobody; COB_IDS].into_boxed_slice();
        for (at, node) in own.nodes.iter().enumerate() {
            let (at, id) = (at as u8, usize::from(node.id));
            owners[0x080 + id] = Owner::Emergency(at);
            owners[0x580 + id] = Owner::Sdo(at);
            owners[0x700 + id] = Owner::ErrorControl(at);
        }
        let long_bytes_max = own.decodes.iter().map(|decode| decode.ty.long_bytes_max()).max().unwrap_or(0);
        let mut link = CanOpenLink {
            id,
            nodes,
            items,
            scans: scans.into_boxed_slice(),
            owners,
            connection: None,
            arrivals: vec![Arrival::new([0; message::CAN_FRAME_BYTES]); CANOPEN_FRAMES_PER_STEP].into_boxed_slice(),
            dropped: 0,
            unsent: None,
            send_again_at: Nanos::ZERO,
            sync_at: Nanos::NEVER,
            heartbeat_at: Nanos::NEVER,
            turn: 0,
            write_spacing: plan.links.get(id).map_or(Nanos::ZERO, |link| link.write_spacing),
            write_at: Nanos::ZERO,
            long: vec![0; long_bytes_max].into_boxed_slice(),
            lost_for_good_at: Nanos::ZERO,
            starting: true,
            behind_at: Nanos::NEVER,
            handover: None,
            plan: Box::new(own.clone()),
        };
        // What its tags had before, when the network was somewhere else, is in doubt until it is read.
        link.sweep_all(Status::UNCERTAIN_LAST_USABLE);
        link
    }

    /// Every stretch of memory that its executor may touch: address and bytes.
    pub fn regions(&self) -> impl Iterator<Item = (*const u8, usize)> {
        let of_plan = self.plan.nodes.iter().flat_map(|node| {
            [region_of(&node.steps), region_of(&node.items), region_of(&node.pdo_writes), region_of(&node.rpdos)]
        });
        [
            region_of(std::slice::from_ref(self)),
            region_of(std::slice::from_ref(&*self.plan)),
            region_of(&self.plan.nodes),
            region_of(&self.plan.items),
            region_of(&self.plan.decodes),
            region_of(self.plan.checks.memory().0),
            region_of(self.plan.checks.memory().1),
            region_of(&self.plan.writes),
            region_of(&self.nodes),
            region_of(&self.items),
            region_of(&self.scans),
            region_of(&self.owners),
            region_of(&self.long),
            region_of(&self.arrivals),
        ]
        .into_iter()
        .chain(of_plan)
        .chain(self.nodes.iter().flat_map(Node::regions))
        .chain(self.handover.iter().flat_map(Handover::regions))
    }

    fn scan_at(&self, scan: ScanId) -> Option<usize> {
        self.scans.iter().position(|known| known.id == scan)
    }

    fn grace(&self) -> Nanos {
        Nanos(self.plan.config.timeout.0 * u64::from(SILENT_AFTER_TIMEOUTS))
    }

    fn sweep_all(&mut self, status: Status) {
        for node in &mut self.nodes {
            node.sweep = Some(Sweep { status, fault: None, next: 0, bound_only: false });
        }
    }

    fn drop_connection<W: World>(&mut self, reason: CloseReason, now: Nanos, floor: &mut StepContext<W>) {
        let Some(conn) = self.connection.take() else { return };
        floor.give_up(self.id, conn, reason);
        let counters = &floor.counters.links[self.id.index()];
        counters.disconnects.add(1);
        counters.set_state(LinkState::Down);
        (self.unsent, self.sync_at, self.heartbeat_at) = (None, Nanos::NEVER, Nanos::NEVER);
        for at in 0..self.nodes.len() {
            self.end_job(at, now, crate::rt::RequestResult::Aborted, floor);
            self.end_orders(at, WriteOutcome::Lost, WriteOutcome::NoConnection, now, floor);
            self.unqueue(at, floor);
            let node = &mut self.nodes[at];
            node.forget();
            node.phase = node::Phase::Away { probe_at: Nanos::NEVER };
        }
        self.sweep_all(Status::UNCERTAIN_LAST_USABLE);
        if self.nodes.iter().any(|node| node.heard) || self.lost_for_good_at == Nanos::ZERO {
            self.lost_for_good_at = now + self.grace();
        }
    }

    /// Up while a node is there, silent while none is.
    fn tell_state<W: World>(&self, floor: &mut StepContext<W>) {
        if self.connection.is_some() {
            let silent = self.nodes.iter().all(Node::is_away);
            let state = if silent { LinkState::Silent } else { LinkState::Up };
            floor.counters.links[self.id.index()].set_state(state);
        }
    }
}

impl<W: World> Link<W> for CanOpenLink {
    fn id(&self) -> LinkId {
        self.id
    }

    fn release(&mut self, release: ScanRelease, floor: &mut StepContext<W>) {
        self.release_scan(release, floor);
    }

    fn send(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        self.pump(now, floor);
    }

    fn receive(&mut self, floor: &mut StepContext<W>) {
        let Some(conn) = self.connection else { return };
        let mut arrivals = std::mem::take(&mut self.arrivals);
        let got = floor.world.receive_frames(conn, &mut arrivals);
        let n = if let Io::Done(n) = got { n } else { 0 };
        for Arrival { frame, stamped } in arrivals.iter().take(n) {
            if stamped.dropped != self.dropped {
                let more = stamped.dropped.wrapping_sub(self.dropped);
                floor.counters.links[self.id.index()].can.dropped.add(u64::from(more));
                self.dropped = stamped.dropped;
            }
            self.take_frame(frame.get(..stamped.bytes()).unwrap_or_default(), stamped.at, floor);
        }
        self.arrivals = arrivals;
        let now = floor.world.now();
        if got == Io::Closed {
            self.drop_connection(CloseReason::Lost, now, floor);
        }
        floor.sink.flush();
        self.pump(now, floor);
    }

    fn deadline(&self) -> Nanos {
        self.next_deadline().min(self.behind_at)
    }

    fn wants_release(&mut self, now: Nanos) -> bool {
        if now < self.behind_at {
            return false;
        }
        // A node that has come since still brings its first PDOs.
        let later = self.nodes.iter().map(|node| node.ready_at + PDO_FIRST).filter(|then| *then > now);
        self.behind_at = later.min().unwrap_or(Nanos::NEVER);
        true
    }

    fn expire(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        if self.connection.is_none() && self.lost_for_good_at != Nanos::ZERO && now >= self.lost_for_good_at {
            self.lost_for_good_at = Nanos::NEVER;
            self.starting = false;
            self.sweep_all(Status::BAD_NO_COMMUNICATION);
        }
        self.expire_nodes(now, floor);
        self.pump(now, floor);
    }

    fn adopt(&mut self, conn: Conn, now: Nanos, floor: &mut StepContext<W>) {
        if self.connection.is_some() {
            floor.give_up(self.id, conn, CloseReason::Refused);
            return;
        }
        self.connection = Some(conn);
        (self.starting, self.dropped) = (false, 0);
        self.send_again_at = Nanos::ZERO;
        self.start_clocks(now);
        for (node, plan) in self.nodes.iter_mut().zip(&self.plan.nodes) {
            node.connected(plan, now);
        }
        floor.counters.links[self.id.index()].connects.add(1);
        self.tell_state(floor);
        self.pump(now, floor);
    }

    fn retire(&mut self, reason: CloseReason, floor: &mut StepContext<W>) {
        let now = floor.world.now();
        self.drop_connection(reason, now, floor);
    }

    fn write(&mut self, order: &WriteOrder, now: Nanos, floor: &mut StepContext<W>) {
        match self.take_order(order, now) {
            Ok(()) => self.pump(now, floor),
            Err(outcome) => {
                floor.answer(WriteAnswer { id: order.id, outcome, at: now, back: WritePayload::default() });
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.nodes.iter().all(|node| node.job == node::Job::None && node.queue.is_empty())
    }

    fn take_over(&mut self, old: &mut CanOpenLink, now: Nanos, floor: &mut StepContext<W>) {
        self.continue_from(old, now, floor);
        self.pump(now, floor);
    }
}
