//! The machine's own inputs and outputs as a link: GPIO, I2C, SPI, IIO.
//!
//! Such buses block, so a thread below the executors' priority works on them (`thread`). The link asks it at each
//! release with one datagram, and takes one datagram of times, values and statuses; edges come unasked over the same
//! socket. The thread does one thing at a time, so one datagram is out at a time: a write that waits, then the requests
//! of the faster scans first.
//!
//! | file | subject |
//! |---|---|
//! | `answers` | what comes from the thread, into image and ring |
//! | `trouble` | timeouts, a lost thread, and what becomes of the tags |
//! | `writes` | orders on their way to the thread |
//! | `encode` | values to the bytes of an order; off the floor |
//! | `wire` | the datagrams |
//! | `thread` | the thread: devices, registers, formulas; beside the floor |

mod answers;
mod encode;
#[cfg(test)]
mod tests;
pub mod thread;
mod trouble;
mod wire;
mod writes;

pub use encode::{decode_back, encode};

use std::ops::Range;

use trouble::Sweep;
use wire::{Asked, Datagram};
use writes::Writes;

use super::plan::LocalIoPlan;
use crate::lane::{LinkState, region_of};
use crate::limits::{LOCAL_IO_DATAGRAM_BYTES_MAX, SILENT_AFTER_TIMEOUTS};
use crate::plan::{Plan, ScanId};
use crate::protocol::queue::Turns;
use crate::rt::{CloseReason, Conn, Io, Link, Report, RequestResult, ScanRelease, StepContext, World, WriteOrder};
use crate::tag::{LinkId, Nanos, Status};

/// A datagram that is too long is cut to the buffer it is read into; with a byte more it is not taken for the longest.
const RECEIVE_BYTES: usize = LOCAL_IO_DATAGRAM_BYTES_MAX + 1;

/// See the module.
pub struct LocalIoLink {
    id: LinkId,
    plan: Box<LocalIoPlan>,
    requests: Box<[Request]>,
    /// The faster first.
    scans: Box<[Scan]>,
    turns: Turns,
    /// By tag of the plan: its request.
    request_of: Box<[u32]>,
    connection: Option<Connection>,
    /// What the thread works on.
    out: Option<Out>,
    writes: Writes,
    /// The last thing sent was a write: a scan goes first.
    wrote: bool,
    sequence: u32,
    /// Always there but while a datagram is read in it.
    receive: Option<Box<[u8; RECEIVE_BYTES]>>,
    send: Box<Datagram>,
    /// Statuses still to be given to the tags of every request, one request a step.
    sweep: Option<Sweep>,
    /// When a lost connection turns UncertainLastUsable into BadNoCommunication; zero before the first release, never
    /// once it is done.
    lost_for_good_at: Nanos,
    /// No connection yet, and its first attempt still has time.
    starting: bool,
    /// Under the earlier plan its thread reads the same.
    follows: bool,
}

struct Connection {
    conn: Conn,
    /// Timeouts in a row.
    quiet_timeouts: u32,
    /// Something was answered on it.
    answered: bool,
}

#[derive(Clone, Copy)]
struct Request {
    is_queued: bool,
    /// The last answer had no good value.
    is_dead: bool,
}

struct Scan {
    id: ScanId,
    requests: Range<u32>,
    nominal: Nanos,
    cycle: u32,
    /// Requests that are queued or out.
    open: u32,
    /// A request of this cycle could not be asked or was lost: counted once a cycle.
    missed: bool,
}

/// What the thread works on.
#[derive(Clone, Copy)]
struct Out {
    /// `None`: a write.
    request: Option<u32>,
    sequence: u32,
    nominal: Nanos,
    cycle: u32,
    sent: Nanos,
    /// It has not answered by then: a timeout, and one more after each further timeout.
    deadline: Nanos,
    /// It is overdue already.
    is_overdue: bool,
}

impl LocalIoLink {
    /// `id` must be the link of `own` in `plan`.
    pub fn new(id: LinkId, own: &LocalIoPlan, plan: &Plan) -> LocalIoLink {
        let mut scans: Vec<Scan> = plan
            .scans
            .iter()
            .filter(|(_, scan)| scan.link == id)
            .map(|(scan, planned)| Scan {
                id: scan,
                requests: planned.requests.clone(),
                nominal: Nanos::ZERO,
                cycle: 0,
                open: 0,
                missed: false,
            })
            .collect();
        scans.sort_by_key(|scan| plan.groups[plan.scans[scan.id].group].interval());
        let mut request_of = vec![0; own.tags.len()];
        for (at, request) in own.requests.iter().enumerate() {
            request_of[request.items.start as usize..request.items.end as usize].fill(at as u32);
        }
        LocalIoLink {
            id,
            requests: vec![Request { is_queued: false, is_dead: false }; own.requests.len()].into_boxed_slice(),
            turns: Turns::new(scans.len()),
            scans: scans.into_boxed_slice(),
            request_of: request_of.into_boxed_slice(),
            connection: None,
            out: None,
            writes: Writes::new(plan.links.get(id).map_or(Nanos::ZERO, |link| link.write_spacing)),
            wrote: false,
            sequence: 0,
            receive: Some(Box::new([0; RECEIVE_BYTES])),
            send: Box::default(),
            sweep: Some(Sweep { status: Status::UNCERTAIN_LAST_USABLE, next: 0 }),
            lost_for_good_at: Nanos::ZERO,
            starting: true,
            follows: false,
            plan: Box::new(own.clone()),
        }
    }

    /// As [`LocalIoLink::new`], for a link that goes on with the connection that it has under `before`.
    pub fn following(id: LinkId, own: &LocalIoPlan, plan: &Plan, before: &LocalIoPlan) -> LocalIoLink {
        LocalIoLink { follows: own.setup == before.setup, ..LocalIoLink::new(id, own, plan) }
    }

    /// Every stretch of memory that its executor may touch: address and bytes.
    pub fn regions(&self) -> impl Iterator<Item = (*const u8, usize)> {
        [
            region_of(std::slice::from_ref(self)),
            region_of(std::slice::from_ref(&*self.plan)),
            region_of(&self.plan.requests),
            region_of(&self.plan.tags),
            region_of(&self.requests),
            region_of(&self.scans),
            region_of(&self.request_of),
            region_of(std::slice::from_ref(&*self.send)),
            self.writes.region(),
            self.turns.region(),
        ]
        .into_iter()
        .chain(self.receive.iter().map(|buffer| region_of(&buffer[..])))
    }

    fn scan_at(&self, scan: ScanId) -> Option<usize> {
        self.scans.iter().position(|known| known.id == scan)
    }

    fn scan_of(&self, request: u32) -> Option<usize> {
        self.scan_at(self.plan.requests.get(request as usize)?.scan)
    }

    fn grace(&self) -> Nanos {
        Nanos(self.plan.config.timeout.0 * u64::from(SILENT_AFTER_TIMEOUTS))
    }

    /// The next request, and its scan.
    fn next_request(&self) -> Option<(usize, u32)> {
        let scan = self.turns.next(|scan| self.first_queued(scan).is_some())?;
        Some((scan, self.first_queued(scan)?))
    }

    /// The first request of a scan that waits.
    fn first_queued(&self, scan: usize) -> Option<u32> {
        self.scans.get(scan)?.requests.clone().find(|at| self.requests[*at as usize].is_queued)
    }

    /// Sends what is next, if the thread has nothing to do.
    fn send_next<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        if self.out.is_some() || self.connection.is_none() {
            return;
        }
        let next = self.next_request();
        if (self.wrote && next.is_some()) || !self.send_write(now, floor) {
            let Some((scan, request)) = next else { return };
            self.send_scan(scan, request, now, floor);
        }
    }

    fn send_scan<W: World>(&mut self, scan_at: usize, request: u32, now: Nanos, floor: &mut StepContext<W>) {
        self.sequence = self.sequence.wrapping_add(1);
        self.send.ask(Asked::Scan { request, sequence: self.sequence });
        if !self.hand_over(now, floor) {
            return;
        }
        self.wrote = false;
        let planned = &self.plan.requests[request as usize];
        let (nominal, cycle) = (self.scans[scan_at].nominal, self.scans[scan_at].cycle);
        let deadline = now + self.plan.config.timeout + planned.time + planned.setup_time;
        let (group, link) = (planned.group, self.id);
        self.requests[request as usize].is_queued = false;
        self.turns.went(scan_at, (0..scan_at).any(|scan| self.first_queued(scan).is_some()));
        if self.first_queued(scan_at).is_none() {
            self.turns.is_done(scan_at);
        }
        self.out = Some(Out {
            request: Some(request),
            sequence: self.sequence,
            nominal,
            cycle,
            sent: now,
            deadline,
            is_overdue: false,
        });
        floor.counters.links[link.index()].requests.add(1);
        floor.report(Report::Issued { group, link, nominal, sent: now });
    }

    /// Puts the datagram on the socket. False: the thread is gone, or takes nothing, which it always does while it has
    /// nothing to do.
    fn hand_over<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) -> bool {
        let Some(connection) = &self.connection else { return false };
        match floor.world.send(connection.conn, self.send.bytes()) {
            Io::Done(_) => true,
            Io::WouldBlock => false,
            Io::Closed => {
                self.drop_connection(CloseReason::Lost, now, floor);
                false
            }
        }
    }

    /// A request came to its end.
    fn finish<W: World>(&mut self, out: Out, now: Nanos, result: RequestResult, floor: &mut StepContext<W>) {
        let Some(request) = out.request else { return };
        let counters = &floor.counters.links[self.id.index()];
        match result {
            RequestResult::Good => counters.replies.add(1),
            RequestResult::Exception(_) => counters.exceptions.add(1),
            RequestResult::Timeout => counters.timeouts.add(1),
            RequestResult::Aborted => counters.aborted.add(1),
            RequestResult::Broken => counters.broken.add(1),
        }
        let Some(scan_at) = self.scan_of(request) else { return };
        let scan = &mut self.scans[scan_at];
        scan.open = scan.open.saturating_sub(1);
        if matches!(result, RequestResult::Timeout | RequestResult::Aborted | RequestResult::Broken) {
            scan.missed = true;
        }
        let (scan, link, nominal, sent) = (scan.id, self.id, out.nominal, out.sent);
        floor.report(Report::Finished { scan, link, nominal, sent, received: now, result });
    }
}

impl<W: World> Link<W> for LocalIoLink {
    fn id(&self) -> LinkId {
        self.id
    }

    fn release(&mut self, release: ScanRelease, floor: &mut StepContext<W>) {
        let Some(at) = self.scan_at(release.scan) else { return };
        let scan = &mut self.scans[at];
        // Taken in any case: what was missed in one cycle is not missed again in the next.
        let missed = std::mem::take(&mut scan.missed);
        if scan.open > 0 || missed {
            floor.counters.scans[release.scan.index()].deadline_misses.add(1);
        }
        scan.nominal = release.nominal;
        scan.cycle = release.cycle;
        if self.connection.is_none() {
            let requests = u64::from(scan.requests.end - scan.requests.start);
            scan.missed = !self.starting;
            floor.counters.links[self.id.index()].suppressed.add(requests);
            if self.lost_for_good_at == Nanos::ZERO {
                self.lost_for_good_at = release.nominal + crate::limits::LOCAL_IO_OPEN_TIMEOUT + self.grace();
            }
            return;
        }
        if self.first_queued(at).is_some() {
            self.turns.is_late(at);
        }
        let out = self.out.filter(|out| !out.is_overdue).and_then(|out| out.request);
        let scan = &mut self.scans[at];
        for request in scan.requests.clone() {
            let state = &mut self.requests[request as usize];
            if !state.is_queued && out != Some(request) {
                state.is_queued = true;
                scan.open += 1;
            }
        }
    }

    fn send(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        self.send_next(now, floor);
    }

    fn receive(&mut self, floor: &mut StepContext<W>) {
        let (Some(connection), Some(mut buffer)) = (&self.connection, self.receive.take()) else { return };
        let outcome = floor.world.receive(connection.conn, &mut buffer[..]);
        let now = floor.world.now();
        match outcome {
            Io::WouldBlock => {}
            Io::Closed => self.drop_connection(CloseReason::Lost, now, floor),
            Io::Done(len) => {
                if self.take_datagram(buffer.get(..len).unwrap_or_default(), now, floor) {
                    self.send_next(now, floor);
                } else {
                    floor.counters.links[self.id.index()].garbage.add(1);
                    self.drop_connection(CloseReason::Garbage, now, floor);
                }
            }
        }
        self.receive = Some(buffer);
    }

    fn deadline(&self) -> Nanos {
        if self.sweep.is_some() {
            return Nanos::ZERO;
        }
        let lost = match &self.connection {
            None if self.lost_for_good_at != Nanos::ZERO => self.lost_for_good_at,
            _ => Nanos::NEVER,
        };
        let next = match (&self.connection, self.out) {
            (Some(_), None) => self.writes.next_at(),
            _ => Nanos::NEVER,
        };
        self.out.map_or(Nanos::NEVER, |out| out.deadline).min(lost).min(self.writes.deadline()).min(next)
    }

    fn expire(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        if self.sweep.is_some() {
            self.sweep_step(now, floor);
            return;
        }
        if self.connection.is_none() && self.lost_for_good_at != Nanos::ZERO && now >= self.lost_for_good_at {
            self.lost_for_good_at = Nanos::NEVER;
            self.starting = false;
            self.sweep = Some(Sweep { status: Status::BAD_NO_COMMUNICATION, next: 0 });
            return;
        }
        self.writes.expire(now, floor);
        self.time_out(now, floor);
        self.send_next(now, floor);
    }

    fn adopt(&mut self, conn: Conn, _now: Nanos, floor: &mut StepContext<W>) {
        if self.connection.is_some() {
            floor.give_up(self.id, conn, CloseReason::Refused);
            return;
        }
        self.connection = Some(Connection { conn, quiet_timeouts: 0, answered: false });
        self.out = None;
        self.starting = false;
        self.requests.iter_mut().for_each(|request| request.is_dead = false);
        let counters = &floor.counters.links[self.id.index()];
        counters.connects.add(1);
        counters.set_state(LinkState::Up);
    }

    fn retire(&mut self, reason: CloseReason, floor: &mut StepContext<W>) {
        let now = floor.world.now();
        self.drop_connection(reason, now, floor);
        self.writes.end(now, floor);
    }

    fn write(&mut self, order: &WriteOrder, now: Nanos, floor: &mut StepContext<W>) {
        self.take_order(order, now, floor);
        self.send_next(now, floor);
    }

    fn is_idle(&self) -> bool {
        self.out.is_none() && self.scans.iter().all(|scan| scan.open == 0) && self.writes.is_empty()
    }

    fn take_over(&mut self, old: &mut LocalIoLink, now: Nanos, floor: &mut StepContext<W>) {
        if !self.follows {
            // Its thread reads something else.
            let reason = CloseReason::Removed;
            old.drop_connection(reason, now, floor);
            old.writes.end(now, floor);
            return;
        }
        self.connection = old.connection.take();
        self.sequence = old.sequence;
        self.lost_for_good_at = old.lost_for_good_at;
        self.starting = old.starting;
        self.wrote = old.wrote;
        self.writes.continue_from(&mut old.writes);
        for scan in &mut self.scans {
            if let Some(before) = old.scans.iter().find(|before| before.id == scan.id) {
                (scan.nominal, scan.cycle, scan.missed) = (before.nominal, before.cycle, before.missed);
            }
        }
        // The same setup has the same requests.
        for at in 0..self.requests.len().min(old.requests.len()) {
            self.requests[at] = old.requests[at];
            if self.requests[at].is_queued
                && let Some(scan) = self.scan_of(at as u32)
            {
                self.scans[scan].open += 1;
            }
        }
        self.out = old.out.take();
        if let Some(scan) = self.out.filter(|out| !out.is_overdue).and_then(|out| self.scan_of(out.request?)) {
            self.scans[scan].open += 1;
        }
        // New tags of a device that is away know of it at once.
        let for_good = self.lost_for_good_at == Nanos::NEVER;
        let status = if for_good { Status::BAD_NO_COMMUNICATION } else { Status::UNCERTAIN_LAST_USABLE };
        self.sweep = Some(Sweep { status, next: 0 });
        self.send_next(now, floor);
    }
}
