//! Exact counts, each written by one thread, nearly always the executor that owns the thing counted; read by anyone.
//!
//! All orderings are relaxed: each count is a total of its own, and no other memory is read through it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use super::pages::{Pages, region_of};
use crate::limits::{GROUPS_MAX, LINKS_MAX, TAGS_MAX};
use crate::plan::{Plan, ScanId};
use crate::tag::{Cause, CauseKind, LinkId};

/// A count with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds without a locked instruction: there is only one writer.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Starts at zero again, for another thing that is counted. Its writer must have gone.
    fn reset(&self) {
        self.0.store(0, Relaxed);
    }
}

/// Whether a link's connection is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LinkState {
    /// No connection; the connector is trying.
    Down = 0,
    /// Connected.
    Up = 1,
    /// Connected, and none of its units answers.
    Silent = 2,
    /// Connected, and the CAN controller has left the bus.
    BusOff = 3,
}

impl LinkState {
    pub fn name(self) -> &'static str {
        match self {
            LinkState::Down => "down",
            LinkState::Up => "up",
            LinkState::Silent => "silent",
            LinkState::BusOff => "bus_off",
        }
    }
}

/// Of one link.
#[derive(Debug, Default)]
pub struct LinkCounters {
    /// Put on the wire.
    pub requests: Count,
    /// Good replies.
    pub replies: Count,
    /// Exception replies.
    pub exceptions: Count,
    /// Requests unanswered at their deadline.
    pub timeouts: Count,
    /// Requests lost because the connection broke under them.
    pub aborted: Count,
    /// Replies that came after their deadline; dropped.
    pub late: Count,
    /// Replies that no request asked for; dropped.
    pub foreign: Count,
    /// Of these, why: by the first of unit, function and length that did not fit, or by the transaction id.
    pub other_unit: Count,
    pub other_transaction: Count,
    pub other_function: Count,
    pub other_length: Count,
    /// Replies that were taken though their header counted other bytes than they had.
    pub wrong_lengths: Count,
    /// Connections that the device closed with nothing outstanding, and that were made again without more ado.
    pub idle_closes: Count,
    /// Bytes that break the protocol: the connection is dropped, or the line waited for until it is quiet.
    pub garbage: Count,
    /// Requests that ended with a reply that was broken, by whatever check.
    pub broken: Count,
    /// Of these, replies whose CRC or LRC does not fit their bytes.
    pub crc_errors: Count,
    /// Of the requests unanswered at their deadline, those of whose reply a part was there.
    pub short_frames: Count,
    /// Requests not sent because their unit is silent and not due for a probe, or the link is down.
    pub suppressed: Count,
    /// What the device told unasked and nobody could take: edges that came too fast.
    pub lost: Count,
    /// Connections lost.
    pub disconnects: Count,
    /// Connections made.
    pub connects: Count,
    /// Writes for which a request went out; those that were done; and those that were not, sent or not. Counted by
    /// whoever takes the answers.
    pub writes_sent: Count,
    pub writes_done: Count,
    pub writes_failed: Count,
    /// Of CAN frames; zero elsewhere.
    pub can: CanCounters,
    /// What was last seen of each kind.
    pub lately: Lately,
    state: AtomicU8,
}

/// The last cause of each kind that a Modbus link has met, whether a tag suffered from it or not.
#[derive(Debug, Default)]
pub struct Lately([AtomicU64; LATELY]);

/// Kinds of a read, and the one before them.
const LATELY: usize = CauseKind::Closed as usize + 1;

impl Lately {
    pub fn note(&self, cause: Cause) {
        if let Some(place) = self.0.get(cause.kind() as usize) {
            place.store(cause.code(), Relaxed);
        }
    }

    pub fn get(&self, kind: CauseKind) -> Option<Cause> {
        Cause::of_code(self.0.get(kind as usize)?.load(Relaxed))
    }
}

/// Of one CAN interface.
#[derive(Debug, Default)]
pub struct CanCounters {
    /// Frames taken from the kernel that carry data.
    pub received: Count,
    /// Frames that the kernel took.
    pub sent: Count,
    /// Remote frames; ignored.
    pub remote: Count,
    /// Frames that the kernel dropped because nobody took them in time.
    pub dropped: Count,
    /// Times that the controller lost frames for want of room.
    pub overflows: Count,
    /// Error frames that tell of errors on the bus.
    pub bus_errors: Count,
    /// Frames that nobody acknowledged.
    pub unacknowledged: Count,
    pub lost_arbitrations: Count,
    /// Times that the controller became error-passive, and that it left the bus.
    pub passives: Count,
    pub bus_offs: Count,
    /// Attempts to send for which the kernel had no room.
    pub send_retries: Count,
    /// Cyclic sends that did not come to pass within their period.
    pub unsent: Count,
    /// Messages of several packets (J1939) that came whole.
    pub tp_messages: Count,
    /// Those that were given up: a packet was missing, doubled or late, or there was no room for another.
    pub tp_lost: Count,
}

impl CanCounters {
    /// All, each with its name.
    pub fn all(&self) -> [(&'static str, &Count); 14] {
        let CanCounters {
            received,
            sent,
            remote,
            dropped,
            overflows,
            bus_errors,
            unacknowledged,
            lost_arbitrations,
            passives,
            bus_offs,
            send_retries,
            unsent,
            tp_messages,
            tp_lost,
        } = self;
        [
            ("received", received),
            ("sent", sent),
            ("remote", remote),
            ("dropped", dropped),
            ("overflows", overflows),
            ("bus_errors", bus_errors),
            ("unacknowledged", unacknowledged),
            ("lost_arbitrations", lost_arbitrations),
            ("passives", passives),
            ("bus_offs", bus_offs),
            ("send_retries", send_retries),
            ("unsent", unsent),
            ("tp_messages", tp_messages),
            ("tp_lost", tp_lost),
        ]
    }
}

impl LinkCounters {
    pub fn state(&self) -> LinkState {
        match self.state.load(Relaxed) {
            1 => LinkState::Up,
            2 => LinkState::Silent,
            3 => LinkState::BusOff,
            _ => LinkState::Down,
        }
    }

    pub fn set_state(&self, state: LinkState) {
        self.state.store(state as u8, Relaxed);
    }

    /// All but those of CAN frames.
    fn counts(&self) -> [&Count; 24] {
        let LinkCounters {
            requests,
            replies,
            exceptions,
            timeouts,
            aborted,
            late,
            foreign,
            other_unit,
            other_transaction,
            other_function,
            other_length,
            wrong_lengths,
            idle_closes,
            garbage,
            broken,
            crc_errors,
            short_frames,
            suppressed,
            lost,
            disconnects,
            connects,
            writes_sent,
            writes_done,
            writes_failed,
            can: _,
            lately: _,
            state: _,
        } = self;
        [
            requests,
            replies,
            exceptions,
            timeouts,
            aborted,
            late,
            foreign,
            other_unit,
            other_transaction,
            other_function,
            other_length,
            wrong_lengths,
            idle_closes,
            garbage,
            broken,
            crc_errors,
            short_frames,
            suppressed,
            lost,
            disconnects,
            connects,
            writes_sent,
            writes_done,
            writes_failed,
        ]
    }

    fn all(&self) -> impl Iterator<Item = &Count> {
        self.counts().into_iter().chain(self.can.all().map(|(_, count)| count))
    }

    /// Adds another link's counts to these, which nobody else may be counting.
    pub fn absorb(&self, other: &LinkCounters) {
        self.all().zip(other.all()).for_each(|(own, other)| own.add(other.get()));
    }

    fn reset(&self) {
        self.all().for_each(Count::reset);
        self.lately.0.iter().for_each(|cause| cause.store(0, Relaxed));
        self.set_state(LinkState::Down);
    }
}

/// Of one scan (a group on a link).
#[derive(Debug, Default)]
pub struct ScanCounters {
    /// Releases that happened.
    pub cycles: Count,
    /// Releases that were skipped because the executor was late by whole periods.
    pub skipped: Count,
    /// Cycles whose requests were not all answered when the next was due.
    pub deadline_misses: Count,
}

/// Of one executor's part of one group.
#[derive(Debug, Default)]
pub struct GroupCounters {
    /// Samples made.
    pub produced: Count,
    /// Of these, dropped because the ring was full.
    pub dropped: Count,
    /// Of these, held back before the ring, by the rules of report by exception.
    pub suppressed_at_ring: Count,
    /// Of these, held back before the journal; written by the hub.
    pub suppressed_at_journal: Count,
}

/// Of one executor.
#[derive(Debug, Default)]
pub struct LaneCounters {
    /// Times round the loop: the sign of life.
    pub loops: Count,
    /// Samples made, and of these dropped because the ring was full, held back before the ring, and, by the hub, before
    /// the journal; of all groups, also those that have left.
    pub produced: Count,
    pub dropped: Count,
    pub suppressed_at_ring: Count,
    pub suppressed_at_journal: Count,
    /// Reports dropped because the statistics ring was full.
    pub reports_dropped: Count,
    /// Waits that the system refused.
    pub failed_waits: Count,
    /// Nanoseconds of CPU that the thread has used; written when it ends.
    pub cpu_ns: Count,
}

/// Counts to a page: enough that a small plan has one page of each.
const PAGE: usize = 64;

/// Counts by id, for ids that come and go.
pub type Table<T> = Pages<CachePadded<T>, PAGE>;

/// Every count of the floor. What a plan adds is made by [`Counters::prepare`] before an executor sees the plan.
pub struct Counters {
    /// By [`LinkId`].
    pub links: Table<LinkCounters>,
    /// By [`ScanId`].
    pub scans: Table<ScanCounters>,
    /// By [`crate::tag::LaneId`], then by [`crate::tag::GroupId`].
    pub groups: Box<[Table<GroupCounters>]>,
    /// By [`crate::tag::LaneId`].
    pub lanes: Box<[CachePadded<LaneCounters>]>,
}

impl Counters {
    pub fn new(plan: &Plan) -> Counters {
        let counters = Counters {
            links: Pages::new(LINKS_MAX),
            scans: Pages::new(TAGS_MAX),
            groups: plan.lanes.iter().map(|_| Pages::new(GROUPS_MAX)).collect(),
            lanes: plan.lanes.iter().map(|_| CachePadded::default()).collect(),
        };
        counters.prepare(plan, &Plan::default());
        counters
    }

    /// Makes the counts of what `plan` has and `old` had not, all zero. Nobody may be counting there.
    pub fn prepare(&self, plan: &Plan, old: &Plan) {
        self.links.grow(plan.links.end());
        self.scans.grow(plan.scans.end());
        self.groups.iter().for_each(|groups| groups.grow(plan.groups.end()));
        plan.links.ids().filter(|id| !old.links.contains(*id)).for_each(|id| self.link(id).reset());
        for id in plan.scans.ids().filter(|id| !old.scans.contains(*id)) {
            let ScanCounters { cycles, skipped, deadline_misses } = self.scan(id);
            [cycles, skipped, deadline_misses].into_iter().for_each(Count::reset);
        }
        for id in plan.groups.ids().filter(|id| !old.groups.contains(*id)) {
            for groups in &self.groups {
                let GroupCounters { produced, dropped, suppressed_at_ring, suppressed_at_journal } =
                    &*groups[id.index()];
                let counts = [produced, dropped, suppressed_at_ring, suppressed_at_journal];
                counts.into_iter().for_each(Count::reset);
            }
        }
    }

    pub fn link(&self, id: LinkId) -> &LinkCounters {
        &self.links[id.index()]
    }

    pub fn scan(&self, id: ScanId) -> &ScanCounters {
        &self.scans[id.index()]
    }

    /// Every stretch of memory that an executor may touch: address and bytes.
    pub fn regions(&self) -> impl Iterator<Item = (*const u8, usize)> {
        let groups = self.groups.iter().flat_map(|groups| groups.regions().map(region_of));
        self.links.regions().map(region_of).chain(self.scans.regions().map(region_of)).chain(groups)
    }

    /// Samples made so far, of all executors.
    pub fn produced(&self) -> u64 {
        self.lanes.iter().map(|e| e.produced.get()).sum()
    }

    /// Samples held back so far, of all executors, wherever.
    pub fn suppressed(&self) -> u64 {
        self.lanes.iter().map(|e| e.suppressed_at_ring.get() + e.suppressed_at_journal.get()).sum()
    }

    /// Samples dropped at the rings so far, of all executors.
    pub fn dropped(&self) -> u64 {
        self.lanes.iter().map(|e| e.dropped.get()).sum()
    }
}
