//! A Modbus connection as a non-blocking state machine: requests queued by scan, a bounded number in flight, units and
//! refused addresses dealt with on their own.
//!
//! Over Modbus TCP, replies are matched by transaction id. On a serial line, and over TCP to a serial server, there is
//! one request at a time and the line's silences are kept: see `line`. Writes go between the reads: see `write`.

mod handover;
mod line;
mod trouble;
mod wire;
mod write;

#[cfg(test)]
mod tests;

use handover::Handover;
use line::Line;
use write::Writes;

use super::frame;
use super::framing::Expected;
use super::pdu::Pdu;
use super::unit::Unit;
use crate::limits::{ASCII_FRAME_BYTES_MAX, MODBUS_ADU_BYTES_MAX, MODBUS_PIPELINE_MAX, SILENT_AFTER_TIMEOUTS};
use crate::link::queue::Queue;
use crate::plan::{LinkProtocolPlan, ModbusPlan, Plan, ScanId};
use crate::rt::{CloseReason, Conn, Floor, Io, Link, LinkState, ScanRelease, World, WriteOrder, region_of};
use crate::tag::{LinkId, Nanos, Status};

/// Room for the replies to all that may be in flight.
const RECEIVE_BYTES: usize = MODBUS_PIPELINE_MAX * MODBUS_ADU_BYTES_MAX;
/// How deep a block may fall apart: each cut parts two registers, or halves a block of bits.
const HALVES_DEPTH_MAX: usize = 128;
/// A refused address is asked again after this: devices get new programs.
const REFUSED_PAUSE: Nanos = Nanos::from_millis(30_000);

/// See the module.
pub struct ModbusLink {
    id: LinkId,
    plan: Box<ModbusPlan>,
    frames: Box<[frame::Request]>,
    units: Box<[Unit]>,
    requests: Box<[Request]>,
    scans: Box<[Scan]>,
    queue: Queue,
    writes: Writes,
    connection: Option<Connection>,
    /// Where frames carry no transaction id.
    line: Option<Line>,
    in_flight: [Option<InFlight>; MODBUS_PIPELINE_MAX],
    transaction: u16,
    /// Requests of this connection, to tell late replies from foreign ones; saturates.
    sent_on_connection: u32,
    /// Always there but while frames are cut out of it.
    receive: Option<Box<[u8; RECEIVE_BYTES]>>,
    received: usize,
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
    /// Something was answered on it.
    answered: bool,
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

/// A request's life from cycle to cycle.
#[derive(Clone, Copy)]
struct Request {
    state: RequestState,
    /// The device refused its addresses, and it has no halves: not asked before this.
    refused_until: Nanos,
    /// The device refused its addresses: its halves are asked instead.
    fell_apart: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestState {
    Idle,
    Queued,
    InFlight,
}

/// A scan's current cycle on this link.
struct Scan {
    id: ScanId,
    blocks: std::ops::Range<u32>,
    nominal: Nanos,
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
    /// `plan` must have a link `id`; scans are served in the order of their periods.
    pub fn new(id: LinkId, plan: &Plan) -> ModbusLink {
        let LinkProtocolPlan::Modbus(modbus) = &plan.links[id].protocol else {
            panic!("link {} is no Modbus link", id.0)
        };
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
                blocks: s.requests.clone(),
                nominal: Nanos::ZERO,
                cycle: 0,
                open: 0,
                missed: false,
            })
            .collect();
        scans.sort_by_key(|s| plan.groups[plan.scans[s.id].group].period);
        let queue = Queue::new(scans.iter().map(|s| modbus.requests.iter().filter(|r| r.scan == s.id).count()));
        let long_bytes_max = modbus.decodes.iter().map(|d| d.ty.long_bytes_max()).max().unwrap_or(0);
        let idle = Request { state: RequestState::Idle, refused_until: Nanos::ZERO, fell_apart: false };
        ModbusLink {
            id,
            units: vec![Unit::default(); modbus.units.len()].into_boxed_slice(),
            requests: vec![idle; modbus.requests.len()].into_boxed_slice(),
            frames,
            scans: scans.into_boxed_slice(),
            queue,
            writes: Writes::new(modbus, plan.links[id].write_spacing),
            connection: None,
            line,
            in_flight: [None; MODBUS_PIPELINE_MAX],
            transaction: 0,
            sent_on_connection: 0,
            receive: Some(Box::new([0; RECEIVE_BYTES])),
            received: 0,
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
            region_of(self.plan.sensors.entries()),
            region_of(&self.plan.writes),
            region_of(&self.frames),
            region_of(&self.units),
            region_of(&self.requests),
            region_of(&self.scans),
            region_of(&self.long),
        ]
        .into_iter()
        .chain(receive)
        .chain(self.line.iter().map(Line::region))
        .chain(self.queue.regions())
        .chain(self.writes.regions())
        .chain(self.handover.iter().flat_map(Handover::regions))
    }

    fn scan_at(&self, scan: ScanId) -> Option<usize> {
        self.scans.iter().position(|s| s.id == scan)
    }

    fn grace(&self) -> Nanos {
        Nanos(self.plan.config.timeout.0 * u64::from(SILENT_AFTER_TIMEOUTS))
    }

    /// Whether `holds` of all that is asked for a block: itself, or its halves where the device refused it.
    fn each_asked(&self, root: u32, mut holds: impl FnMut(u32, &Request) -> bool) -> bool {
        let mut stack = [0u32; HALVES_DEPTH_MAX];
        let mut depth = 1;
        stack[0] = root;
        while depth > 0 {
            depth -= 1;
            let at = stack[depth];
            let request = &self.requests[at as usize];
            match self.plan.requests[at as usize].halves {
                Some([left, right]) if request.fell_apart && depth + 2 <= stack.len() => {
                    stack[depth] = right;
                    stack[depth + 1] = left;
                    depth += 2;
                }
                _ if !holds(at, request) => return false,
                _ => {}
            }
        }
        true
    }

    /// Queues what a request stands for: itself, or its halves where the device refused it.
    fn enqueue(&mut self, scan_at: usize, root: u32, now: Nanos) -> u64 {
        let mut stack = [0u32; HALVES_DEPTH_MAX];
        let mut depth = 1;
        stack[0] = root;
        let mut suppressed = 0;
        while depth > 0 {
            depth -= 1;
            let at = stack[depth];
            let request = &mut self.requests[at as usize];
            if request.fell_apart
                && let Some([left, right]) = self.plan.requests[at as usize].halves
                && depth + 2 <= stack.len()
            {
                stack[depth] = right;
                stack[depth + 1] = left;
                depth += 2;
                continue;
            }
            if request.state != RequestState::Idle {
                continue;
            }
            let unit = usize::from(self.plan.requests[at as usize].unit);
            if now < request.refused_until {
                continue;
            }
            if !self.units[unit].may_ask(now) {
                suppressed += 1;
                continue;
            }
            request.state = RequestState::Queued;
            self.scans[scan_at].open += 1;
            self.queue.push(scan_at, at);
        }
        suppressed
    }
}

impl<W: World> Link<W> for ModbusLink {
    fn id(&self) -> LinkId {
        self.id
    }

    fn release(&mut self, release: ScanRelease, floor: &mut Floor<W>) {
        let Some(at) = self.scan_at(release.scan) else { return };
        let scan = &mut self.scans[at];
        // Taken in any case: what was missed in one cycle is not missed again in the next.
        let missed = std::mem::take(&mut scan.missed);
        if scan.open > 0 || missed {
            floor.counters.scans[release.scan.index()].deadline_misses.add(1);
        }
        scan.nominal = release.nominal;
        scan.cycle = release.cycle;
        self.queue.released(at);
        let blocks = scan.blocks.clone();
        let mut suppressed = 0;
        if self.connection.is_some() {
            for root in blocks {
                suppressed += self.enqueue(at, root, release.nominal);
            }
        } else {
            suppressed = u64::from(blocks.end - blocks.start);
            if self.lost_for_good_at == Nanos::ZERO {
                self.lost_for_good_at = release.nominal + self.plan.config.connect_timeout + self.grace();
            }
        }
        if suppressed > 0 {
            self.scans[at].missed = !self.starting;
            floor.counters.links[self.id.index()].suppressed.add(suppressed);
        }
    }

    fn send(&mut self, now: Nanos, floor: &mut Floor<W>) {
        while self.send_one(now, floor) {}
    }

    fn receive(&mut self, floor: &mut Floor<W>) {
        let (Some(connection), Some(buffer)) = (&self.connection, &mut self.receive) else { return };
        let outcome = floor.world.receive(connection.conn, &mut buffer[self.received..]);
        let now = floor.world.now();
        match outcome {
            Io::WouldBlock => {}
            Io::Closed => self.drop_connection(CloseReason::Lost, now, floor),
            Io::Done(n) => {
                self.received += n;
                if self.take_frames(now, floor) {
                    self.send(now, floor);
                } else {
                    floor.counters.links[self.id.index()].garbage.add(1);
                    self.drop_connection(CloseReason::Garbage, now, floor);
                }
            }
        }
    }

    fn deadline(&self) -> Nanos {
        if self.sweep.is_some() {
            return Nanos::ZERO;
        }
        let other = match &self.connection {
            // The socket takes no more: look again when the reply is overdue, which ends the connection.
            Some(_) => self.line.as_ref().map_or(Nanos::NEVER, Line::deadline),
            None if self.lost_for_good_at == Nanos::ZERO => Nanos::NEVER,
            None => self.lost_for_good_at,
        };
        let overdue = self.in_flight.iter().flatten().map(|f| f.deadline).min().unwrap_or(Nanos::NEVER);
        overdue.min(self.writes.deadline()).min(other)
    }

    fn is_punctual(&self) -> bool {
        self.line.as_ref().is_some_and(Line::is_punctual)
    }

    fn expire(&mut self, now: Nanos, floor: &mut Floor<W>) {
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
        self.release_line(now, floor);
        self.time_out_one(now, floor);
        self.expire_writes(now, floor);
        self.send(now, floor);
    }

    fn adopt(&mut self, conn: Conn, now: Nanos, floor: &mut Floor<W>) {
        if self.connection.is_some() {
            floor.give_up(self.id, conn, CloseReason::Refused);
            return;
        }
        self.connection = Some(Connection {
            conn,
            out: Outgoing { bytes: [0; ASCII_FRAME_BYTES_MAX], len: 0, unsent_len: 0 },
            quiet_timeouts: 0,
            answered: false,
        });
        self.sent_on_connection = 0;
        self.received = 0;
        self.starting = false;
        if let Some(line) = &mut self.line {
            line.opened(now);
        }
        for unit in &mut self.units {
            unit.reconnected(now);
        }
        self.writes.opened();
        // It may be another device by now, or the same one with another program.
        for request in &mut self.requests {
            request.refused_until = Nanos::ZERO;
            request.fell_apart = false;
        }
        let counters = &floor.counters.links[self.id.index()];
        counters.connects.add(1);
        counters.set_state(if self.units.iter().all(Unit::is_silent) { LinkState::Silent } else { LinkState::Up });
    }

    fn retire(&mut self, reason: CloseReason, floor: &mut Floor<W>) {
        let now = floor.world.now();
        self.drop_connection(reason, now, floor);
    }

    fn write(&mut self, order: &WriteOrder, now: Nanos, floor: &mut Floor<W>) {
        self.take_order(order, now, floor);
        self.send(now, floor);
    }

    fn is_idle(&self) -> bool {
        self.in_flight.iter().all(Option::is_none)
            && self.scans.iter().all(|scan| scan.open == 0)
            && self.writes.is_idle()
    }

    fn take_over(&mut self, old: &mut ModbusLink, now: Nanos, floor: &mut Floor<W>) {
        self.continue_from(old, now, floor);
        self.send(now, floor);
    }
}
