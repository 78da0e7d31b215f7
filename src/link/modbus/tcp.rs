//! A Modbus TCP connection as a non-blocking state machine: requests queued by scan, a bounded number in
//! flight, replies matched by transaction id, units and refused addresses dealt with on their own.

use super::decode::{self, BlockBytes};
use super::frame::{self, Parsed, Reply};
use super::queue::Queue;
use super::unit::{AfterTimeout, Unit};
use crate::limits::{MODBUS_ADU_BYTES_MAX, MODBUS_PIPELINE_MAX, SILENT_AFTER_TIMEOUTS};
use crate::plan::{LinkPlan, LinkProtocolPlan, ModbusTcpPlan, Plan, ScanId};
use crate::rt::{CloseReason, Conn, Floor, Frame, Io, Link, LinkState, Report, RequestResult, ScanRelease, World};
use crate::tag::{LinkId, Nanos, Status, ValueType};

/// Room for the replies to all that may be in flight.
const RECEIVE_BYTES: usize = MODBUS_PIPELINE_MAX * MODBUS_ADU_BYTES_MAX;
/// A refused address is asked again after this: devices get new programs.
const REFUSED_PAUSE: Nanos = Nanos::from_millis(30_000);

/// See the module.
pub struct ModbusTcp {
    id: LinkId,
    plan: Box<ModbusTcpPlan>,
    frames: Box<[[u8; frame::READ_REQUEST_BYTES]]>,
    units: Box<[Unit]>,
    requests: Box<[Request]>,
    scans: Box<[Scan]>,
    queue: Queue,
    connection: Option<Connection>,
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
}

/// An open connection, and what of a frame the socket would not take yet.
struct Connection {
    conn: Conn,
    unsent: [u8; frame::READ_REQUEST_BYTES],
    unsent_len: usize,
    /// Timeouts in a row, of any unit.
    quiet_timeouts: u32,
}

#[derive(Clone, Copy)]
struct InFlight {
    request: u32,
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

impl ModbusTcp {
    /// `plan` must have a link `id`; scans are served in the order of their periods.
    pub fn new(id: LinkId, plan: &Plan) -> ModbusTcp {
        let LinkPlan { protocol: LinkProtocolPlan::ModbusTcp(modbus), .. } = &plan.links[id.index()];
        let frames = modbus
            .requests
            .iter()
            .map(|r| {
                let unit = modbus.units[usize::from(r.unit)].0;
                frame::read_request(unit, r.table.read_function(), r.first, r.count)
            })
            .collect();
        let mut scans: Vec<Scan> = plan
            .scans
            .iter()
            .enumerate()
            .filter(|(_, s)| s.link == id)
            .map(|(i, s)| Scan {
                id: ScanId(i as u32),
                blocks: s.requests.clone(),
                nominal: Nanos::ZERO,
                cycle: 0,
                open: 0,
                missed: false,
            })
            .collect();
        scans.sort_by_key(|s| plan.groups[plan.scans[s.id.index()].group.index()].period);
        let queue = Queue::new(scans.iter().map(|s| modbus.requests.iter().filter(|r| r.scan == s.id).count()));
        let long_bytes_max = modbus.decodes.iter().map(|d| d.ty.long_bytes_max()).max().unwrap_or(0);
        let idle = Request { state: RequestState::Idle, refused_until: Nanos::ZERO, fell_apart: false };
        ModbusTcp {
            id,
            units: vec![Unit::default(); modbus.units.len()].into_boxed_slice(),
            requests: vec![idle; modbus.requests.len()].into_boxed_slice(),
            frames,
            scans: scans.into_boxed_slice(),
            queue,
            connection: None,
            in_flight: [None; MODBUS_PIPELINE_MAX],
            transaction: 0,
            sent_on_connection: 0,
            receive: Some(Box::new([0; RECEIVE_BYTES])),
            received: 0,
            long: vec![0; long_bytes_max].into_boxed_slice(),
            sweep: None,
            lost_for_good_at: Nanos::ZERO,
            starting: true,
            plan: Box::new(modbus.clone()),
        }
    }

    fn scan_at(&self, scan: ScanId) -> Option<usize> {
        self.scans.iter().position(|s| s.id == scan)
    }

    fn grace(&self) -> Nanos {
        Nanos(self.plan.config.timeout.0 * u64::from(SILENT_AFTER_TIMEOUTS))
    }

    /// Queues what a request stands for: itself, or its halves where the device refused it.
    fn enqueue(&mut self, scan_at: usize, root: u32, now: Nanos) -> u64 {
        // Deep enough for halving 2000 single bits.
        let mut stack = [0u32; 16];
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

    fn free_slot(&self) -> Option<usize> {
        let pipeline = usize::from(self.plan.config.pipeline).min(MODBUS_PIPELINE_MAX);
        self.in_flight[..pipeline].iter().position(Option::is_none)
    }

    /// Sends one queued request if a slot and the socket allow. False: nothing more to send now.
    fn send_one<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        if connection.unsent_len > 0 {
            match push_unsent(connection, floor) {
                Io::Done(_) if connection.unsent_len == 0 => {}
                Io::Closed => {
                    self.drop_connection(CloseReason::Lost, now, floor);
                    return false;
                }
                _ => return false,
            }
        }
        let Some(slot) = self.free_slot() else { return false };
        let Some((scan_at, at)) = self.queue.pop() else { return false };
        self.transaction = self.transaction.wrapping_add(1);
        let mut bytes = self.frames[at as usize];
        bytes[..2].copy_from_slice(&self.transaction.to_be_bytes());
        let Some(connection) = &mut self.connection else { return false };
        connection.unsent = bytes;
        connection.unsent_len = bytes.len();
        let outcome = push_unsent(connection, floor);
        let sent = floor.world.now();
        let scan = &self.scans[scan_at];
        self.in_flight[slot] = Some(InFlight {
            request: at,
            transaction: self.transaction,
            nominal: scan.nominal,
            cycle: scan.cycle,
            sent,
            deadline: sent + self.plan.config.timeout,
        });
        self.requests[at as usize].state = RequestState::InFlight;
        self.sent_on_connection = self.sent_on_connection.saturating_add(1);
        floor.counters.links[self.id.index()].requests.add(1);
        let group = self.plan.requests[at as usize].group;
        floor.report(Report::Issued { group, link: self.id, nominal: scan.nominal, sent });
        if outcome == Io::Closed {
            self.drop_connection(CloseReason::Lost, now, floor);
            return false;
        }
        true
    }

    /// Takes a request out of flight and closes its account.
    fn finish<W: World>(&mut self, flight: InFlight, received: Nanos, result: RequestResult, floor: &mut Floor<W>) {
        let request = &self.plan.requests[flight.request as usize];
        self.requests[flight.request as usize].state = RequestState::Idle;
        if let Some(at) = self.scan_at(request.scan) {
            let scan = &mut self.scans[at];
            scan.open -= 1;
            if result != RequestResult::Good && !matches!(result, RequestResult::Exception(_)) {
                scan.missed = true;
            }
        }
        let counters = &floor.counters.links[self.id.index()];
        match result {
            RequestResult::Good => counters.replies.add(1),
            RequestResult::Exception(_) => counters.exceptions.add(1),
            RequestResult::Timeout => counters.timeouts.add(1),
            RequestResult::Aborted => counters.aborted.add(1),
        }
        let InFlight { nominal, sent, .. } = flight;
        floor.report(Report::Finished { scan: request.scan, link: self.id, nominal, sent, received, result });
    }

    /// Gives a request's tags a status; a tag that has it already stays as it is.
    fn hold<W: World>(&mut self, at: u32, cycle: u32, status: Status, now: Nanos, floor: &mut Floor<W>) {
        let request = &self.plan.requests[at as usize];
        let frame = Frame { group: request.group, cycle, t: now };
        for decode in &self.plan.decodes[request.decodes.start as usize..request.decodes.end as usize] {
            floor.sink.hold(frame, decode.tag, decode.ty.code(), decode.ty.is_long(), status);
        }
        floor.sink.flush();
    }

    /// Puts a reply's values into image and ring.
    fn store<W: World>(&mut self, flight: InFlight, values: &[u8], received: Nanos, floor: &mut Floor<W>) {
        let request = &self.plan.requests[flight.request as usize];
        let middle = Nanos(flight.sent.0 + (received - flight.sent).0 / 2);
        let frame = Frame { group: request.group, cycle: flight.cycle, t: middle };
        let block = BlockBytes { bytes: values, first: request.first };
        for d in &self.plan.decodes[request.decodes.start as usize..request.decodes.end as usize] {
            let code = d.ty.code();
            let done = match d.ty {
                ValueType::Scalar(_) => {
                    decode::scalar(d, block).map(|bits| floor.sink.scalar(frame, d.tag, code, bits))
                }
                _ => {
                    decode::long(d, block, &mut self.long).map(|n| floor.sink.long(frame, d.tag, code, &self.long[..n]))
                }
            };
            if done.is_err() {
                floor.sink.hold(frame, d.tag, code, d.ty.is_long(), Status::BAD_DECODING_ERROR);
            }
        }
        floor.sink.flush();
    }

    /// A whole frame came in.
    fn take_frame<W: World>(&mut self, frame: frame::Frame<'_>, now: Nanos, floor: &mut Floor<W>) {
        let known = self.in_flight.iter().position(|f| f.is_some_and(|f| f.transaction == frame.transaction));
        let Some((slot, flight)) = known.and_then(|slot| self.in_flight[slot].map(|f| (slot, f))) else {
            let age = self.transaction.wrapping_sub(frame.transaction);
            let counters = &floor.counters.links[self.id.index()];
            if u32::from(age) < self.sent_on_connection {
                counters.late.add(1)
            } else {
                counters.foreign.add(1)
            }
            return;
        };
        let request = &self.plan.requests[flight.request as usize];
        let unit_at = usize::from(request.unit);
        let reply = if frame.unit == self.plan.units[unit_at].0 {
            frame::reply(frame.pdu, request.table.read_function(), request.value_bytes())
        } else {
            Reply::Mismatch
        };
        match reply {
            // Not ours after all: the request goes on waiting for its own reply.
            Reply::Mismatch => floor.counters.links[self.id.index()].foreign.add(1),
            Reply::Values(values) => {
                self.in_flight[slot] = None;
                self.answered(unit_at, floor);
                self.store(flight, values, now, floor);
                self.finish(flight, now, RequestResult::Good, floor);
            }
            Reply::Exception(code) => {
                self.in_flight[slot] = None;
                self.finish(flight, now, RequestResult::Exception(code), floor);
                self.refused(flight, unit_at, code, now, floor);
            }
        }
    }

    /// Exception 02 takes a block apart until the refused address stands alone; 0A and 0B come from a gateway
    /// whose unit is silent; everything else is the device's own trouble.
    fn refused<W: World>(&mut self, flight: InFlight, unit_at: usize, code: u8, now: Nanos, floor: &mut Floor<W>) {
        let at = flight.request;
        if matches!(code, 0x0A | 0x0B) {
            self.unanswered(at, unit_at, flight.cycle, now, floor);
            return;
        }
        self.answered(unit_at, floor);
        if code != 0x02 {
            self.hold(at, flight.cycle, Status::BAD_DEVICE_FAILURE, now, floor);
        } else if self.plan.requests[at as usize].halves.is_some() {
            self.requests[at as usize].fell_apart = true;
        } else {
            self.requests[at as usize].refused_until = now + REFUSED_PAUSE;
            self.hold(at, flight.cycle, Status::BAD_CONFIGURATION_ERROR, now, floor);
        }
    }

    fn answered<W: World>(&mut self, unit_at: usize, floor: &mut Floor<W>) {
        if let Some(connection) = &mut self.connection {
            connection.quiet_timeouts = 0;
        }
        if self.units[unit_at].answered() {
            floor.counters.links[self.id.index()].set_state(LinkState::Up);
        }
    }

    /// A unit gave no answer to a request: its values are held, and with the third they are bad.
    fn unanswered<W: World>(&mut self, at: u32, unit_at: usize, cycle: u32, now: Nanos, floor: &mut Floor<W>) {
        match self.units[unit_at].timed_out(now) {
            AfterTimeout::StillTalking => self.hold(at, cycle, Status::UNCERTAIN_LAST_USABLE, now, floor),
            AfterTimeout::StillSilent => self.hold(at, cycle, Status::BAD_NO_COMMUNICATION, now, floor),
            AfterTimeout::BecameSilent => {
                self.hold(at, cycle, Status::BAD_NO_COMMUNICATION, now, floor);
                self.sweep = Some(Sweep { status: Status::BAD_NO_COMMUNICATION, next: 0 });
                self.unqueue(unit_at, floor);
                if self.units.iter().all(Unit::is_silent) {
                    floor.counters.links[self.id.index()].set_state(LinkState::Silent);
                }
            }
        }
    }

    /// What is queued for a silent unit would hold the line of the others.
    fn unqueue<W: World>(&mut self, unit_at: usize, floor: &mut Floor<W>) {
        let ModbusTcp { queue, requests, scans, plan, .. } = self;
        let suppressed = &floor.counters.links[self.id.index()].suppressed;
        queue.retain(|scan_at, at| {
            let keep = usize::from(plan.requests[at as usize].unit) != unit_at;
            if !keep {
                requests[at as usize].state = RequestState::Idle;
                scans[scan_at].open -= 1;
                scans[scan_at].missed = true;
                suppressed.add(1);
            }
            keep
        });
    }

    /// One step of a sweep: a single request's tags.
    fn sweep_step<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) {
        let Some(Sweep { status, next }) = self.sweep else { return };
        if next >= self.plan.block_count {
            self.sweep = None;
            return;
        }
        self.sweep = Some(Sweep { status, next: next + 1 });
        let request = &self.plan.requests[next as usize];
        let concerned = self.connection.is_none() || self.units[usize::from(request.unit)].is_silent();
        if concerned {
            let cycle = self.scan_at(request.scan).map_or(0, |at| self.scans[at].cycle);
            self.hold(next, cycle, status, now, floor);
        }
    }

    fn drop_connection<W: World>(&mut self, reason: CloseReason, now: Nanos, floor: &mut Floor<W>) {
        let Some(connection) = self.connection.take() else { return };
        floor.give_up(self.id, connection.conn, reason);
        let counters = &floor.counters.links[self.id.index()];
        counters.disconnects.add(1);
        counters.set_state(LinkState::Down);
        self.received = 0;
        for slot in 0..self.in_flight.len() {
            if let Some(flight) = self.in_flight[slot].take() {
                self.finish(flight, now, RequestResult::Aborted, floor);
            }
        }
        while let Some((scan_at, at)) = self.queue.pop() {
            self.requests[at as usize].state = RequestState::Idle;
            self.scans[scan_at].open -= 1;
            self.scans[scan_at].missed = true;
        }
        self.sweep = Some(Sweep { status: Status::UNCERTAIN_LAST_USABLE, next: 0 });
        self.lost_for_good_at = now + self.grace();
    }

    /// Cuts frames out of what was received. False: the stream is garbage.
    fn take_frames<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) -> bool {
        // Lent out, so that a frame can be read while the rest of the link changes; put back below.
        let Some(mut buffer) = self.receive.take() else { return true };
        let mut at = 0;
        let good = loop {
            match frame::parse(&buffer[at..self.received]) {
                Parsed::Incomplete => break true,
                Parsed::Garbage => break false,
                Parsed::Frame { frame, bytes } => {
                    at += bytes;
                    self.take_frame(frame, now, floor);
                }
            }
        };
        buffer.copy_within(at..self.received, 0);
        self.received -= at;
        self.receive = Some(buffer);
        good
    }

    /// The request that has waited too long, if there is one: one a step.
    fn time_out_one<W: World>(&mut self, now: Nanos, floor: &mut Floor<W>) {
        let overdue = self.in_flight.iter().position(|f| f.is_some_and(|f| f.deadline <= now));
        let Some(flight) = overdue.and_then(|slot| self.in_flight[slot].take()) else { return };
        self.finish(flight, now, RequestResult::Timeout, floor);
        let unit_at = usize::from(self.plan.requests[flight.request as usize].unit);
        self.unanswered(flight.request, unit_at, flight.cycle, now, floor);
        if let Some(connection) = &mut self.connection {
            connection.quiet_timeouts += 1;
            if connection.quiet_timeouts >= SILENT_AFTER_TIMEOUTS && self.units.iter().all(Unit::is_silent) {
                self.drop_connection(CloseReason::Silent, now, floor);
            }
        }
    }
}

fn push_unsent<W: World>(connection: &mut Connection, floor: &mut Floor<W>) -> Io {
    let start = connection.unsent.len() - connection.unsent_len;
    let outcome = floor.world.send(connection.conn, &connection.unsent[start..]);
    if let Io::Done(n) = outcome {
        connection.unsent_len -= n.min(connection.unsent_len);
    }
    outcome
}

impl<W: World> Link<W> for ModbusTcp {
    fn id(&self) -> LinkId {
        self.id
    }

    fn release(&mut self, release: ScanRelease, floor: &mut Floor<W>) {
        let Some(at) = self.scan_at(release.scan) else { return };
        let scan = &mut self.scans[at];
        if scan.open > 0 || std::mem::take(&mut scan.missed) {
            floor.counters.scans[release.scan.index()].deadline_misses.add(1);
        }
        scan.nominal = release.nominal;
        scan.cycle = release.cycle;
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
        let unsent = match &self.connection {
            // The socket takes no more: look again when the reply is overdue, which ends the connection.
            Some(_) => Nanos::NEVER,
            None if self.lost_for_good_at == Nanos::ZERO => Nanos::NEVER,
            None => self.lost_for_good_at,
        };
        self.in_flight.iter().flatten().map(|f| f.deadline).min().unwrap_or(Nanos::NEVER).min(unsent)
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
        self.time_out_one(now, floor);
        self.send(now, floor);
    }

    fn adopt(&mut self, conn: Conn, now: Nanos, floor: &mut Floor<W>) {
        if self.connection.is_some() {
            floor.give_up(self.id, conn, CloseReason::Refused);
            return;
        }
        self.connection =
            Some(Connection { conn, unsent: [0; frame::READ_REQUEST_BYTES], unsent_len: 0, quiet_timeouts: 0 });
        self.sent_on_connection = 0;
        self.received = 0;
        self.starting = false;
        for unit in &mut self.units {
            unit.reconnected(now);
        }
        let counters = &floor.counters.links[self.id.index()];
        counters.connects.add(1);
        counters.set_state(if self.units.iter().all(Unit::is_silent) { LinkState::Silent } else { LinkState::Up });
    }

    fn retire(&mut self, floor: &mut Floor<W>) {
        let now = floor.world.now();
        self.drop_connection(CloseReason::Stopped, now, floor);
    }
}
