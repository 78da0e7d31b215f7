//! A Modbus connection as a non-blocking state machine: requests queued by scan, a bounded number in flight, units and
//! refused or mute addresses dealt with on their own.
//!
//! Over Modbus TCP, replies are matched by transaction id. On a serial line, and over TCP to a serial server, there is
//! one request at a time and the line's silences are kept: see `line`. Writes go between the reads: see `write`.
//!
//! | file | subject |
//! |---|---|
//! | `ask` | what is asked in a cycle: blocks, or parts of them |
//! | `later` | what gives way to all other requests |
//! | `request` | one request's state |
//! | `slow` | what is read more rarely than once a second |
//! | `trouble`, `refusal` | what is not answered, and what is answered by an exception |
//! | `reasons` | why: what came in place of a reply, or too late |
//! | `wire`, `line` | requests out, replies in; where there are no transaction ids |
//! | `pauses` | what devices need between two requests |
//! | `ending` | connections that devices close by themselves |
//! | `write` | writes between the reads |
//! | `handover` | from one plan to the next |

mod ask;
mod ending;
mod handover;
mod later;
mod line;
mod pauses;
mod reasons;
mod refusal;
mod request;
mod slow;
mod store;
mod trouble;
mod wire;
mod write;

#[cfg(test)]
mod tests;

use ending::Returning;
use handover::Handover;
use later::Later;
use line::Line;
use pauses::Pauses;
use reasons::Reasons;
use request::Request;
use write::Writes;

use super::expected::Expected;
use super::frame;
use super::pdu::Pdu;
use super::unit::Unit;
use crate::lane::{LinkState, region_of};
use crate::limits::{
    ASCII_FRAME_BYTES_MAX, MODBUS_ADU_BYTES_MAX, MODBUS_PIPELINE_MAX, PERIOD_QUICK_MAX, SILENT_AFTER_TIMEOUTS,
};
use crate::plan::{Plan, ScanId};
use crate::protocol::modbus::plan::ModbusPlan;
use crate::protocol::queue::Queue;
use crate::rt::{CloseReason, Conn, Io, Link, ScanRelease, StepContext, World, WriteOrder, WriteOutcome};
use crate::tag::{LinkId, Nanos, Status};

/// Room for the replies to all that may be in flight.
const RECEIVE_BYTES: usize = MODBUS_PIPELINE_MAX * MODBUS_ADU_BYTES_MAX;

/// See the module.
pub struct ModbusLink {
    id: LinkId,
    plan: Box<ModbusPlan>,
    frames: Box<[frame::Request]>,
    units: Box<[Unit]>,
    requests: Box<[Request]>,
    scans: Box<[Scan]>,
    queue: Queue,
    later: Later,
    writes: Writes,
    connection: Option<Connection>,
    /// Where frames carry no transaction id.
    line: Option<Line>,
    /// Elsewhere.
    pauses: Pauses,
    /// When a request that waits for a pause, or for the connection, may go out.
    next_try: Nanos,
    /// When something is to be asked out of its beat: see `slow`.
    slow_at: Nanos,
    /// The last connection ended by itself: see `ending`.
    returning: Returning,
    /// The last request that ended was answered, or one since then.
    well: bool,
    /// Connections in a row that the device closed after one reply.
    closes_after_reply: u32,
    /// The last reply had its own transaction id.
    echoes: bool,
    reasons: Reasons,
    in_flight: [Option<InFlight>; MODBUS_PIPELINE_MAX],
    transaction: u16,
    /// Requests of this connection, to tell late replies from foreign ones; saturates.
    sent_on_connection: u32,
    /// Always there but while frames are cut out of it.
    receive: Option<Box<[u8; RECEIVE_BYTES]>>,
    received: usize,
    /// Bytes that the last frame's header told of beyond its PDU: they may follow.
    excess: usize,
    /// A whole reply has come over this connection.
    framed: bool,
    long: Box<[u8]>,
    /// Statuses still to be given to the tags of every request, one request a step.
    sweep: Option<Sweep>,
    /// When a lost connection turns UncertainLastUsable into BadNoCommunication; zero before the first
    /// release, never once it is done.
    lost_for_good_at: Nanos,
    /// No connection yet, and its first attempt still has time: tags wait for initial data, nothing is missed.
    starting: bool,
    /// How it goes on from the link of an earlier plan.
    handover: Option<Handover>,
}

/// An open connection, and its last request.
struct Connection {
    conn: Conn,
    out: Outgoing,
    /// Timeouts in a row, of any unit.
    quiet_timeouts: u32,
    /// Something was answered on it; how often, and when last.
    answered: bool,
    answers: u32,
    answered_at: Nanos,
    /// Nothing goes out before.
    hold_until: Nanos,
}

/// The last request of a connection.
struct Outgoing {
    bytes: [u8; ASCII_FRAME_BYTES_MAX],
    len: usize,
    /// So much of it, at its end, the socket or port would not take yet.
    unsent_len: usize,
}

impl Outgoing {
    /// `fill` puts the bytes in their place and says how many they are.
    fn fill(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) {
        self.len = fill(&mut self.bytes).min(ASCII_FRAME_BYTES_MAX);
        self.unsent_len = self.len;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Nothing of it has left.
    fn is_untouched(&self) -> bool {
        self.len > 0 && self.unsent_len == self.len
    }

    fn clear(&mut self) {
        (self.len, self.unsent_len) = (0, 0);
    }
}

/// Whose reply is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// Of the plan's requests.
    Read(u32),
    /// The write whose turn it is.
    Write,
    /// Nobody wants it any more: the plan has changed, or a write's time is over. The device still has the request, and
    /// on a line its reply is known by what it must look like.
    Nobody(Option<Expected>),
}

#[derive(Clone, Copy)]
struct InFlight {
    asks: Asks,
    transaction: u16,
    nominal: Nanos,
    cycle: u32,
    sent: Nanos,
    deadline: Nanos,
}

/// A scan's current cycle on this link.
struct Scan {
    id: ScanId,
    period: Nanos,
    /// What fails is asked again before its next release: see `slow`.
    is_slow: bool,
    blocks: std::ops::Range<u32>,
    nominal: Nanos,
    /// The next release of its beat.
    next: Nanos,
    cycle: u32,
    /// Requests of the scan that are queued or in flight.
    open: u32,
    /// A request of this cycle could not be asked or was lost: counted once a cycle.
    missed: bool,
}

struct Sweep {
    status: Status,
    next: u32,
}

impl ModbusLink {
    /// `modbus` is the work of the plan's link `id`; scans are served in the order of their periods.
    pub fn new(id: LinkId, modbus: &ModbusPlan, plan: &Plan) -> ModbusLink {
        let line = Line::new(modbus);
        let frames = modbus
            .requests
            .iter()
            .map(|r| {
                let unit = modbus.units[usize::from(r.unit)].0;
                let pdu = Pdu::read(r.table, r.first, r.count);
                frame::Request::new(|out| match &line {
                    Some(line) => line.framing().request(unit, pdu.bytes(), out),
                    None => frame::request(unit, pdu.bytes(), out),
                })
            })
            .collect();
        let mut scans: Vec<Scan> = plan
            .scans
            .iter()
            .filter(|(_, s)| s.link == id)
            .map(|(scan, s)| Scan {
                id: scan,
                period: plan.groups[s.group].interval(),
                is_slow: plan.groups[s.group].interval() > PERIOD_QUICK_MAX,
                blocks: s.requests.clone(),
                nominal: Nanos::ZERO,
                next: Nanos::ZERO,
                cycle: 0,
                open: 0,
                missed: false,
            })
            .collect();
        scans.sort_by_key(|s| s.period);
        let queue = || Queue::new(scans.iter().map(|s| modbus.requests.iter().filter(|r| r.scan == s.id).count()));
        let (queue, later) = (queue(), Later::new(queue()));
        let long_bytes_max = modbus.decodes.iter().map(|d| d.ty.long_bytes_max()).max().unwrap_or(0);
        ModbusLink {
            id,
            units: slow::units(modbus, plan),
            slow_at: Nanos::NEVER,
            requests: vec![Request::IDLE; modbus.requests.len()].into_boxed_slice(),
            frames,
            scans: scans.into_boxed_slice(),
            queue,
            later,
            writes: Writes::new(modbus, plan.links[id].write_spacing),
            connection: None,
            line,
            pauses: Pauses::new(modbus),
            next_try: Nanos::NEVER,
            returning: Returning::No,
            well: false,
            closes_after_reply: 0,
            echoes: true,
            reasons: Reasons::new(modbus.units.len()),
            in_flight: [None; MODBUS_PIPELINE_MAX],
            transaction: 0,
            sent_on_connection: 0,
            receive: Some(Box::new([0; RECEIVE_BYTES])),
            received: 0,
            excess: 0,
            framed: false,
            long: vec![0; long_bytes_max].into_boxed_slice(),
            // What its tags had before, when its device was somewhere else, is in doubt until it is read.
            sweep: Some(Sweep { status: Status::UNCERTAIN_LAST_USABLE, next: 0 }),
            lost_for_good_at: Nanos::ZERO,
            starting: true,
            handover: None,
            plan: Box::new(modbus.clone()),
        }
    }

    /// Every stretch of memory that its executor may touch: address and bytes.
    pub fn regions(&self) -> impl Iterator<Item = (*const u8, usize)> {
        let receive = self.receive.as_deref().map(|buffer| region_of(buffer));
        [
            region_of(std::slice::from_ref(self)),
            region_of(std::slice::from_ref(&*self.plan)),
            region_of(&self.plan.units),
            region_of(&self.plan.requests),
            region_of(&self.plan.decodes),
            region_of(self.plan.checks.memory().0),
            region_of(self.plan.checks.memory().1),
            region_of(&self.plan.writes),
            region_of(&self.frames),
            region_of(&self.units),
            region_of(&self.requests),
            region_of(&self.scans),
            region_of(&self.long),
            self.pauses.units.region(),
            self.reasons.region(),
        ]
        .into_iter()
        .chain(receive)
        .chain(self.line.iter().map(Line::region))
        .chain(self.queue.regions())
        .chain(self.later.queue.regions())
        .chain(self.writes.regions())
        .chain(self.handover.iter().flat_map(Handover::regions))
    }

    fn scan_at(&self, scan: ScanId) -> Option<usize> {
        self.scans.iter().position(|s| s.id == scan)
    }

    fn grace(&self) -> Nanos {
        Nanos(self.plan.config.timeout.0 * u64::from(SILENT_AFTER_TIMEOUTS))
    }

    /// Takes what has come. When that was; `None`: nothing has, or the connection is gone.
    fn take_in<W: World>(&mut self, floor: &mut StepContext<W>) -> Option<Nanos> {
        let (Some(connection), Some(buffer)) = (&self.connection, &mut self.receive) else { return None };
        let outcome = floor.world.receive(connection.conn, &mut buffer[self.received..]);
        let now = floor.world.now();
        if let Some(line) = &mut self.line {
            line.looked(now);
        }
        match outcome {
            Io::WouldBlock => return None,
            Io::Closed => self.peer_closed(now, floor),
            Io::Done(n) => {
                self.received += n;
                if self.take_frames(now, floor) {
                    return Some(now);
                }
                floor.counters.links[self.id.index()].garbage.add(1);
                self.drop_connection(CloseReason::Garbage, now, floor);
            }
        }
        None
    }
}

impl<W: World> Link<W> for ModbusLink {
    fn id(&self) -> LinkId {
        self.id
    }

    fn release(&mut self, release: ScanRelease, floor: &mut StepContext<W>) {
        let Some(at) = self.scan_at(release.scan) else { return };
        let scan = &mut self.scans[at];
        // Taken in any case: what was missed in one cycle is not missed again in the next.
        let missed = !release.off_beat && std::mem::take(&mut scan.missed);
        let missed = missed || scan.is_slow && self.release_slowly(at, release);
        let scan = &mut self.scans[at];
        if (scan.open > 0 || missed) && !release.off_beat {
            floor.counters.scans[release.scan.index()].deadline_misses.add(1);
        }
        scan.nominal = release.nominal;
        scan.cycle = release.cycle;
        // What gives way to all others is late without harm: see `later`.
        let waits = self.queue.released(at);
        let scan = &self.scans[at];
        let blocks = scan.blocks.clone();
        let mut suppressed = 0;
        if self.connection.is_some() {
            for root in blocks {
                suppressed += self.enqueue(at, root, release.nominal);
            }
        } else if self.returning != Returning::No {
            self.wait_for_return(waits, release.nominal, floor);
            for root in blocks {
                suppressed += self.enqueue(at, root, release.nominal);
            }
        } else {
            suppressed = u64::from(blocks.end - blocks.start);
            if self.lost_for_good_at == Nanos::ZERO {
                self.lost_for_good_at = release.nominal + self.patience();
            }
        }
        if suppressed > 0 {
            self.scans[at].missed |= !self.starting && !release.off_beat;
            floor.counters.links[self.id.index()].suppressed.add(suppressed);
        }
    }

    fn send(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        while self.send_one(now, floor) {}
    }

    fn receive(&mut self, floor: &mut StepContext<W>) {
        if let Some(now) = self.take_in(floor) {
            self.send(now, floor);
        }
    }

    fn deadline(&self) -> Nanos {
        if self.sweep.is_some() {
            return Nanos::ZERO;
        }
        let other = match &self.connection {
            // Where the socket takes no more, that the request is overdue ends the connection: see `wire`.
            Some(_) => self.line.as_ref().map_or(Nanos::NEVER, Line::deadline),
            None if self.lost_for_good_at == Nanos::ZERO => Nanos::NEVER,
            None => self.lost_for_good_at,
        };
        let overdue = self.in_flight.iter().flatten().map(|f| f.deadline).min().unwrap_or(Nanos::NEVER);
        let slow_at = if self.connection.is_some() { self.slow_at } else { Nanos::NEVER };
        overdue.min(self.writes.deadline()).min(other).min(self.next_try).min(slow_at)
    }

    fn is_punctual(&self) -> bool {
        self.line.as_ref().is_some_and(Line::is_punctual)
    }

    fn expire(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        if self.sweep.is_some() {
            self.sweep_step(now, floor);
            return;
        }
        if self.connection.is_none() && self.lost_for_good_at != Nanos::ZERO && now >= self.lost_for_good_at {
            self.lost_for_good_at = Nanos::NEVER;
            self.starting = false;
            self.stop_returning(WriteOutcome::NoConnection, now, floor);
            self.sweep = Some(Sweep { status: Status::BAD_NO_COMMUNICATION, next: 0 });
            return;
        }
        self.release_line(now, floor);
        self.time_out_one(now, floor);
        self.expire_writes(now, floor);
        self.ask_slowly(now);
        self.send(now, floor);
    }

    fn returns(&self) -> bool {
        self.returning != Returning::No
    }

    fn adopt(&mut self, conn: Conn, now: Nanos, floor: &mut StepContext<W>) {
        if self.connection.is_some() {
            floor.give_up(self.id, conn, CloseReason::Refused);
            return;
        }
        self.connection = Some(Connection {
            conn,
            out: Outgoing { bytes: [0; ASCII_FRAME_BYTES_MAX], len: 0, unsent_len: 0 },
            quiet_timeouts: 0,
            answered: false,
            answers: 0,
            answered_at: now,
            hold_until: now + self.plan.config.connect_delay,
        });
        let returned = std::mem::replace(&mut self.returning, Returning::No) != Returning::No;
        self.sent_on_connection = 0;
        (self.received, self.excess, self.framed) = (0, 0, false);
        self.reasons.opened();
        self.starting = false;
        if let Some(line) = &mut self.line {
            line.opened(now);
            line.hold(now + self.plan.config.connect_delay);
        }
        // It may be another device by now, or the same one with another program; but for one that closes its connections
        // by itself, of which all is known that was.
        if !returned {
            self.opened_anew(now);
        }
        let counters = &floor.counters.links[self.id.index()];
        counters.connects.add(1);
        counters.set_state(if self.units.iter().all(Unit::is_silent) { LinkState::Silent } else { LinkState::Up });
        self.explain_silence();
        // What has waited for it.
        self.send(now, floor);
    }

    fn retire(&mut self, reason: CloseReason, floor: &mut StepContext<W>) {
        let now = floor.world.now();
        self.drop_connection(reason, now, floor);
        let unwritten =
            if reason == CloseReason::Removed { WriteOutcome::PlanChanged } else { WriteOutcome::NoConnection };
        self.stop_returning(unwritten, now, floor);
    }

    fn write(&mut self, order: &WriteOrder, now: Nanos, floor: &mut StepContext<W>) {
        self.take_order(order, now, floor);
        self.send(now, floor);
    }

    fn is_idle(&self) -> bool {
        self.in_flight.iter().all(Option::is_none)
            && self.scans.iter().all(|scan| scan.open == 0)
            && self.writes.is_idle()
    }

    fn take_over(&mut self, old: &mut ModbusLink, now: Nanos, floor: &mut StepContext<W>) {
        self.continue_from(old, now, floor);
        self.send(now, floor);
    }
}
